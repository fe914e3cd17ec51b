"""ZIP archives written front to back, for readers that take no ZIP64, such as Excel.

PKWARE's APPNOTE.TXT 6.3: a member whose size is not known yet has bit 3 of its flags set, and
its size and checksum in a data descriptor behind it (4.3.9). Times are 1980-01-01, the first
that the format has, so that the same members are the same bytes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["ZIP32_BYTES", "Zip32"]

ZIP32_BYTES = 2**32 - 1
"""What no size and no offset may pass without ZIP64."""

_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIPTOR = struct.Struct("<4s3L")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")

_VERSION = 20  # 2.0: deflate.
_DEFLATED = 8
_STREAMED = 1 << 3
_DATE = 1 << 5 | 1  # 1980-01-01

_Sizes = tuple[int, int, int]  # Checksum, bytes in the archive, bytes outside.

# What the compressor gets at a time. isal's bytes depend on how its input is cut, so that it
# must always be cut alike; and for fewer bytes the call would cost more than the work.
_BLOCK_BYTES = 64 * 1024


class Zip32:
    """One archive, as the bytes that each call adds; members come one after the other.

    Deflates with isal where it is installed, else with zlib, both at their level 1. Holds a
    block of 64 KiB, some 0.5 MB in the compressor, and 80 bytes for each member to the end.

    >>> archive = Zip32()
    >>> data = archive.open("a.txt") + archive.write(b"text") + archive.close() + archive.end()
    >>> data.startswith(b"PK"), len(data) == archive.offset
    (True, True)
    """

    def __init__(self) -> None:
        self.offset = 0
        """How many bytes the archive has by now."""
        self._codec = _codec()
        self._central = bytearray()
        self._members = 0

    def add(self, name: str, data: bytes) -> bytes:
        """A whole member."""
        deflate = self._compressor()
        packed = deflate.compress(data) + deflate.flush()
        member = _Member(name.encode("ascii"), self.offset, flags=0)
        sizes = self._codec.crc32(data), len(packed), len(data)
        self._list(member, sizes)
        return self._counted(member.head(sizes) + packed)

    def open(self, name: str) -> bytes:
        """The head of a new member, which `write` and `close` go on with."""
        self._member = _Member(name.encode("ascii"), self.offset, _STREAMED)
        self._deflate = self._compressor()
        self._pending = bytearray()
        self._crc = self._size = self._packed = 0
        return self._counted(self._member.head((0, 0, 0)))

    def write(self, data: bytes) -> bytes:
        """More of the member, as far as it is compressed by now."""
        self._crc = self._codec.crc32(data, self._crc)
        self._size += len(data)
        self._pending += data
        whole = len(self._pending) - len(self._pending) % _BLOCK_BYTES
        with memoryview(self._pending) as view:
            blocks = [
                self._deflate.compress(view[at : at + _BLOCK_BYTES])
                for at in range(0, whole, _BLOCK_BYTES)
            ]
        del self._pending[:whole]
        return self._body(b"".join(blocks))

    def close(self) -> bytes:
        """The rest of the member, and its checksum and sizes."""
        rest = self._body(self._deflate.compress(self._pending) + self._deflate.flush())
        sizes = self._crc, self._packed, self._size
        self._list(self._member, sizes)
        return rest + self._counted(_DESCRIPTOR.pack(b"PK\7\x08", *sizes))

    def end(self) -> bytes:
        """The directory of the members."""
        count = self._members
        end = _END.pack(b"PK\5\6", 0, 0, count, count, len(self._central), self.offset, 0)
        return self._counted(bytes(self._central) + end)

    def _compressor(self) -> Any:
        return self._codec.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)

    def _list(self, member: _Member, sizes: _Sizes) -> None:
        self._central += member.entry(sizes)
        self._members += 1

    def _body(self, data: bytes) -> bytes:
        self._packed += len(data)
        return self._counted(data)

    def _counted(self, data: bytes) -> bytes:
        self.offset += len(data)
        return data


@dataclass(frozen=True)
class _Member:
    """What is said of a member both in front of it and in the directory."""

    name: bytes
    offset: int
    flags: int

    def head(self, sizes: _Sizes) -> bytes:
        return _LOCAL.pack(b"PK\3\4", *self._fields(sizes), len(self.name), 0) + self.name

    def entry(self, sizes: _Sizes) -> bytes:
        rest = len(self.name), 0, 0, 0, 0, 0, self.offset
        return _CENTRAL.pack(b"PK\1\2", _VERSION, *self._fields(sizes), *rest) + self.name

    def _fields(self, sizes: _Sizes) -> tuple[int, ...]:
        return _VERSION, self.flags, _DEFLATED, 0, _DATE, *sizes


def _codec() -> Any:
    try:
        return import_module("isal.isal_zlib")
    except ImportError:
        return zlib
