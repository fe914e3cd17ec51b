"""The content of compressed files."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO, Any

from unspool._optional import found
from unspool.errors import MissingExtra, UsageError
from unspool.verdict.types import READ_BYTES, Broken, blocks

__all__ = ["decoded"]


def decoded(coding: str, file: IO[bytes]) -> Iterator[bytes]:
    """The content of a compressed file, of one or more streams."""
    if coding not in {"gz", "zst"}:
        raise UsageError(f"verify knows no coding {coding!r}; it knows gz and zst.")
    return _gzip(file) if coding == "gz" else _zstd(file)


def _gzip(file: IO[bytes]) -> Iterator[bytes]:
    stream: Any = None
    for block in blocks(file):
        rest = block
        while rest:
            stream = stream or zlib.decompressobj(wbits=31)
            try:
                yield stream.decompress(rest, READ_BYTES)
            except zlib.error as error:
                raise Broken(f"the gzip data are damaged: {error}") from error
            rest = stream.unconsumed_tail or stream.unused_data
            stream = None if stream.eof else stream
    if stream is not None:
        raise Broken("ends before the trailer of its gzip data")


def _zstd(file: IO[bytes]) -> Iterator[bytes]:
    zstd = found("compression.zstd") or found("backports.zstd")
    if zstd is None:
        raise MissingExtra("backports.zstd", "compress")
    stream: Any = None
    for block in blocks(file):
        rest = block
        while rest or (stream is not None and not stream.needs_input):
            stream = stream or zstd.ZstdDecompressor()
            try:
                yield stream.decompress(rest, READ_BYTES)
            except zstd.ZstdError as error:
                raise Broken(f"the zstd data are damaged: {error}") from error
            rest = stream.unused_data if stream.eof else b""
            stream = None if stream.eof else stream
    if stream is not None:
        raise Broken("ends before the end of its zstd data")
