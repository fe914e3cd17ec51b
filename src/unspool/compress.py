"""Chunks in, compressed chunks out: gzip, zstd and br, each chunk decodable as it arrives.

Sans I/O. A chunk is flushed as it is compressed, so that its client can decode all of it at
once; for chunks of some 100 KiB this costs next to nothing. The levels are the cheapest that
still earn their keep: a stream is compressed while someone waits for it, on the thread or the
loop that sends it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from unspool._optional import found
from unspool.errors import UsageError

__all__ = ["CODINGS", "Compressor", "offered"]

# A million rows of ten mixed columns (130 MB), flushed every 120 KiB, MB/s of CPU and ratio:
#   isal 1    363  2.80     zstd 1, 256 KiB   321  3.13     br 1   227  2.95
#   isal 2    372  2.84     zstd 1, 512 KiB   322  3.13     br 2   120  3.01
#   zlib 1     96  2.69     zstd 3, 256 KiB   176  3.17     br 4    69  3.14
_LEVEL = 1

# A window of 256 KiB, where zstd itself would take twice that: nothing is lost by it here.
_ZSTD_WINDOW_LOG = 18

# Quality 1 looks back as far as a chunk, whatever the window is.
_BR_WINDOW_LOG = 18

_GZIP_WBITS = 31  # A window of 32 KiB, and a gzip header without name or time.

Steps = tuple[Callable[[bytes], bytes], Callable[[], bytes]]


class Compressor:
    """One stream's compression by `coding`, a name of `CODINGS`.

    What `feed` gives decodes to all that was fed so far. Without `end` the whole is cut off,
    and every decoder says so: that is how a failed stream looks. The same chunks give the same
    bytes (of the same library). Holds 230 KiB (gzip), 430 KiB (zstd) or 290 KiB (br) from
    `begin` on, and no chunk. Used by one thread at a time.

    Raises:
        UsageError: no such coding, or one whose package is not installed.

    >>> gzip = Compressor("gzip")
    >>> gzip.begin()
    >>> first = gzip.feed(b"id,name")
    >>> zlib.decompressobj(31).decompress(first)
    b'id,name'
    >>> zlib.decompress(first + gzip.end(), 31)
    b'id,name'
    """

    def __init__(self, coding: str) -> None:
        if coding not in offered():
            raise UsageError(
                f"the content coding {coding!r} cannot be made here; there are "
                f"{', '.join(offered())}. For the others: pip install unspool[compress]"
            )
        self._coding = coding

    def begin(self) -> None:
        """Takes the memory. What stands first leaves with the first chunk."""
        self._compress, self._finish = CODINGS[self._coding]()

    def feed(self, chunk: bytes) -> bytes:
        """The chunk, compressed and flushed; nothing for nothing."""
        return self._compress(chunk) if chunk else b""

    def end(self) -> bytes:
        """What tells the decoder that this was all."""
        return self._finish()


def offered() -> tuple[str, ...]:
    """The codings that can be made here, the preferred one first.

    zstd is of the standard library from Python 3.14 on; else it needs `backports.zstd`, and br
    needs `brotli`. gzip is always there; with `isal` it costs a quarter.

    >>> offered()[-1]
    'gzip'
    """
    return tuple(coding for coding in CODINGS if _library(coding) is not None)


def _library(coding: str) -> ModuleType | None:
    """The module that makes `coding`."""
    if coding == "zstd":
        return found("compression.zstd") or found("backports.zstd")
    return found("brotli") if coding == "br" else found("isal.isal_zlib") or zlib


def _zstd() -> Steps:
    zstd: Any = _library("zstd")
    parameter = zstd.CompressionParameter
    options = {parameter.compression_level: _LEVEL, parameter.window_log: _ZSTD_WINDOW_LOG}
    stream = zstd.ZstdCompressor(options=options)
    return lambda chunk: stream.compress(chunk, stream.FLUSH_BLOCK), stream.flush


def _br() -> Steps:
    brotli: Any = _library("br")
    stream = brotli.Compressor(quality=_LEVEL, lgwin=_BR_WINDOW_LOG)
    return lambda chunk: stream.process(chunk) + stream.flush(), stream.finish


def _gzip() -> Steps:
    library: Any = _library("gzip")
    stream = library.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WBITS)
    return lambda chunk: stream.compress(chunk) + stream.flush(zlib.Z_SYNC_FLUSH), stream.flush


CODINGS: dict[str, Callable[[], Steps]] = {"zstd": _zstd, "br": _br, "gzip": _gzip}
"""How to make each content coding, the smallest answers first."""
