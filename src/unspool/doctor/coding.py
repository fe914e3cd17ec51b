"""Content codings, taken apart as the bytes come."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from unspool._optional import found

__all__ = ["Decoder", "accept_encoding", "decoder_of"]


def accept_encoding() -> str:
    """What browsers accept, as far as it can be decoded here."""
    return ", ".join(["gzip", "deflate", *(name for name in ("br", "zstd") if _optional(name))])


def _optional(coding: str) -> Callable[[], Any] | None:
    """Makes the decompressors of a package that may be installed."""
    if coding == "br":
        return getattr(found("brotli"), "Decompressor", None)
    zstd = found("compression.zstd") or found("backports.zstd")
    return getattr(zstd, "ZstdDecompressor", None)


class Decoder:
    """Gives the bytes that can be known by now. This one is for answers without a coding.

    `members` counts the compressed streams that the answer is made of; it should be one.
    """

    members = 0

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the answer, decoded."""
        return data


class _Zlib(Decoder):
    """gzip, or deflate as it is meant: in the wrapping of zlib (RFC 9110 §8.4.1.2)."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._member = zlib.decompressobj(wbits)

    def feed(self, data: bytes) -> bytes:
        decoded = b""
        while data:
            if self._member.eof or not self.members:
                self._member = zlib.decompressobj(self._wbits)
                self.members += 1
            decoded += self._member.decompress(data)
            data = self._member.unused_data
        return decoded


class _Package(Decoder):
    members = 1

    def __init__(self, feed: Callable[[bytes], bytes]) -> None:
        self._feed = feed

    def feed(self, data: bytes) -> bytes:
        return self._feed(data)


def decoder_of(coding: str | None) -> Decoder:
    """A decoder for the value of Content-Encoding; of one that is unknown, nothing is decoded."""
    coding = (coding or "").strip().lower()
    if coding in {"gzip", "deflate"}:
        return _Zlib(31 if coding == "gzip" else 15)
    make = _optional(coding) if coding in {"br", "zstd"} else None
    if make is None:
        return Decoder()
    decompressor = make()
    return _Package(getattr(decompressor, "process", None) or decompressor.decompress)
