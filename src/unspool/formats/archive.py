"""ZIP archives (PKWARE APPNOTE 6.3.10) as bytes that come one after another: never seeks.

Sizes and checksums stand behind each member's data, in a data descriptor with its signature,
and in the directory at the end. Every member is deflated, also if it is compressed already:
then in "stored" blocks of deflate, which cost 5 bytes in 64 KiB. Readers of streams find the
end of deflated data; of stored data without a size they cannot (stream-unzip refuses them).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from struct import pack
from typing import Any

from unspool._optional import found
from unspool.errors import StreamError

__all__ = ["Archive"]

# What a member without ZIP64 may have, compressed or not (APPNOTE §4.4.8).
_MEMBER_BYTES_MAX = 0xFFFF_FFFF
_COUNT_MAX = 0xFFFF

# Streamed, and the name is UTF-8 (APPNOTE §4.4.4).
_FLAGS = 0x0008 | 0x0800
_DEFLATED = 8
_UNIX = 3 << 8
_MODE = 0o100644 << 16

# 1980-01-01, the first day that ZIP knows: the same rows make the same bytes on every day.
_TIME, _DATE = 0, 0x0021

# Some deflaters give other bytes when data come in other portions: all get them in these.
_PORTION_BYTES = 64 * 1024

# Its output is 15 % larger than that of 6, in a third of the time.
_LEVEL = 1


@dataclass
class _Member:
    name: bytes
    large: bool
    offset: int
    crc: int = 0
    size: int = 0
    compressed: int = 0

    @property
    def version(self) -> int:
        """What a reader must know: deflate, or ZIP64 (APPNOTE §4.4.3)."""
        return 45 if self.large else 20


class Archive:
    """The bytes of an archive: of `open`, `write` and `close` for each member, then of `end`.

    Holds 64 KiB, what a deflater holds, and some 100 bytes and the name of each member, for the
    directory at the end.
    """

    def __init__(self) -> None:
        self._members: list[_Member] = []
        self.offset = 0
        """How many bytes the archive has by now."""
        self._deflater: Any = None
        self._portion = bytearray()

    def open(self, name: str, *, compressed: bool = False, large: bool = False) -> bytes:
        """What stands before a member; `large` if it may have 4 GiB or more."""
        self._deflater = _deflater(0 if compressed else _LEVEL)
        member = _Member(name.encode(), large, self.offset)
        self._members.append(member)
        # ZIP64 must be said here, or readers of streams misread the descriptor (§4.3.9.2).
        size = _MEMBER_BYTES_MAX if large else 0
        extra = pack("<HHQQ", 1, 16, 0, 0) if large else b""
        fields = (member.version, _FLAGS, _DEFLATED, _TIME, _DATE, 0, size, size)
        lengths = (len(member.name), len(extra))
        return self._counted(pack("<L5H3L2H", 0x04034B50, *fields, *lengths) + member.name + extra)

    def write(self, data: bytes) -> bytes:
        """The deflated data, as far as it is ready.

        Raises:
            StreamError: a member of 4 GiB that was not said to be `large`.
        """
        member = self._members[-1]
        member.crc = zlib.crc32(data, member.crc)
        member.size += len(data)
        self._portion += data
        whole = len(self._portion) - len(self._portion) % _PORTION_BYTES
        if not whole:
            return b""
        with memoryview(self._portion) as view:
            portions = range(0, whole, _PORTION_BYTES)
            deflated = [self._deflater.compress(view[at : at + _PORTION_BYTES]) for at in portions]
        del self._portion[:whole]
        return self._deflated(b"".join(deflated))

    def close(self) -> bytes:
        """The rest of the member's data, and what stands behind it."""
        member = self._members[-1]
        rest = self._deflated(self._deflater.compress(self._portion) + self._deflater.flush())
        self._portion.clear()
        layout = "<LLQQ" if member.large else "<LLLL"
        sizes = (member.compressed, member.size)
        return rest + self._counted(pack(layout, 0x08074B50, member.crc, *sizes))

    def add(self, name: str, data: bytes) -> bytes:
        """A whole member."""
        return self.open(name) + self.write(data) + self.close()

    def end(self) -> bytes:
        """The directory."""
        start = self.offset
        directory = b"".join(map(_entry, self._members))
        return directory + _end(len(self._members), len(directory), start)

    def _deflated(self, data: bytes) -> bytes:
        member = self._members[-1]
        member.compressed += len(data)
        if not member.large and max(member.size, member.compressed) > _MEMBER_BYTES_MAX:
            raise StreamError(
                f"member {member.name.decode()!r} has more than {_MEMBER_BYTES_MAX} bytes, which "
                "needs ZIP64, and that must be said at its start: Member(..., large=True)."
            )
        return self._counted(data)

    def _counted(self, data: bytes) -> bytes:
        self.offset += len(data)
        return data


def _entry(member: _Member) -> bytes:
    """A member in the directory (APPNOTE §4.3.12), with ZIP64 where a number needs it."""
    numbers = [member.size, member.compressed, member.offset]
    big = [number for number in numbers if number >= _MEMBER_BYTES_MAX]
    extra = pack(f"<HH{len(big)}Q", 1, 8 * len(big), *big) if big else b""
    size, compressed, offset = (min(number, _MEMBER_BYTES_MAX) for number in numbers)
    version = 45 if big else member.version
    fields = (version | _UNIX, version, _FLAGS, _DEFLATED, _TIME, _DATE)
    lengths = (len(member.name), len(extra), 0, 0, 0)
    return (
        pack("<L6H3L", 0x02014B50, *fields, member.crc, compressed, size)
        + pack("<5HLL", *lengths, _MODE, offset)
        + member.name
        + extra
    )


def _end(count: int, size: int, start: int) -> bytes:
    """The end of the directory (APPNOTE §4.3.14 to 16)."""
    large = b""
    if count >= _COUNT_MAX or start + size >= _MEMBER_BYTES_MAX:
        fields = (45 | _UNIX, 45, 0, 0, count, count, size, start)
        large = pack("<LQ2H2L4Q", 0x06064B50, 44, *fields)
        large += pack("<LLQL", 0x07064B50, 0, start + size, 1)
    counts = (min(count, _COUNT_MAX),) * 2
    places = (min(size, _MEMBER_BYTES_MAX), min(start, _MEMBER_BYTES_MAX))
    return large + pack("<L4H2LH", 0x06054B50, 0, 0, *counts, *places, 0)


def _deflater(level: int) -> Any:
    """A compressor without header: ISA-L's, several times as fast, where it is installed."""
    fast = found("isal.isal_zlib") if level else None
    return (fast or zlib).compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
