"""ZIP: several streams in one download, each a member in a format of its own.

The rows of a ZIP are `Member`s, which have rows themselves. Names that lead out of the folder
where they are unpacked, and names that are equal on some system, raise UsageError.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from unspool.errors import MemberError, RowError, UsageError, shown
from unspool.formats.archive import Archive
from unspool.types import Batch, Encoder, Format

__all__ = ["Member", "Opened", "Zip", "ZipEncoder", "check_names"]

_NAME_BYTES_MAX = 0xFFFF
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Member:
    """One stream in a ZIP.

    Args:
        name: its name in the archive, with folders before "/" if it is to have some.
        rows: its rows, as `unspool.Stream` takes them; or awaited rows, if those of all members
            are. They are read when the members before are sent, and closed after that.
        format: a name or a format object; by default what the name's suffix says.
        columns: the column names; see `unspool.Stream`.
        large: whether it may have 4 GiB or more. Then it is written with ZIP64, which macOS's
            Archive Utility does not unpack.

    Raises:
        UsageError: a name that cannot be, or whose suffix is that of no format; a format that
            cannot stand in a ZIP.

    >>> Member("2013/flights.csv", [(1, "UA")], columns=["id", "carrier"]).format
    'csv'
    """

    name: str
    rows: Any
    format: str | Format | None = None
    columns: Sequence[str] | None = None
    large: bool = False

    def __post_init__(self) -> None:
        from unspool.formats import by_suffix, find  # noqa: PLC0415 (the table knows this module)

        _check_name(self.name)
        if self.format is None:
            object.__setattr__(self, "format", by_suffix(self.name))
        format = find(self.format or "csv")
        if isinstance(format, Zip):
            raise UsageError(f"member {self.name!r} is a ZIP in a ZIP; give its members instead.")
        format.encoder(self.columns)

    def found(self) -> Format:
        """The format object."""
        from unspool.formats import find  # noqa: PLC0415

        return find(self.format or "csv")


@dataclass(frozen=True)
class Zip:
    """An archive of members, each sent while its rows are made.

    Holds what the format of one member holds, some 270 KiB for deflate, and some 100 bytes and the
    name of each member. In hooks, each member counts as one more row.

    >>> from unspool import Stream
    >>> plan = Stream([Member("a.csv", [(1, 2)])], "zip", filename="all.zip")
    """

    compressed: ClassVar[bool] = True

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return "application/zip"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".zip"

    def encoder(self, columns: Sequence[str] | None) -> ZipEncoder:
        """A new encoder for one stream.

        Raises:
            UsageError: columns were given; each member has its own.
        """
        if columns is not None:
            raise UsageError(
                f"format 'zip' has no columns; got columns={[*columns]!r}. Give them to members."
            )
        return ZipEncoder()


@dataclass(frozen=True)
class Opened:
    """Stands before the rows of a member. `head` has no rows, and may name their columns."""

    member: Member
    head: Batch


class ZipEncoder:
    """Writes batches, each of which is an `Opened`, or rows of the member opened last."""

    def __init__(self) -> None:
        self._archive = Archive()
        self._names: dict[str, str] = {}
        self._opened: Opened | None = None
        self._encoder: Encoder[bytes] | None = None
        self._waiting = b""
        self._rows = 0

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def feed(self, batch: Batch) -> bytes:
        """These rows, in the format of their member, deflated as far as it goes."""
        if not len(batch):
            return b""
        if isinstance(batch[0], Opened):
            return self._end_member() + self._open(batch[0])
        if self._encoder is None or self._opened is None:
            raise RowError(_no_member(batch[0]), index=0, value=batch[0])
        try:
            data = self._encoder.feed(batch)
        except RowError as error:
            raise MemberError(self._opened.member.name, self._rows, error) from error
        self._rows += len(batch)
        return self._written(data)

    def end(self) -> bytes:
        """The rest of the last member, and the directory."""
        return self._end_member() + self._archive.end()

    def _open(self, opened: Opened) -> bytes:
        member = opened.member
        _check_new(member.name, self._names)
        format = member.found()
        compressed = getattr(format, "compressed", False)
        # It waits for the first bytes of the member: an error in its first row comes before.
        self._waiting = self._archive.open(member.name, compressed=compressed, large=member.large)
        self._opened, self._rows = opened, 0
        self._encoder = format.encoder(member.columns)
        return self._written(self._encoder.begin() + self._encoder.feed(opened.head))

    def _end_member(self) -> bytes:
        if self._encoder is None:
            return b""
        data = self._encoder.end()
        self._encoder = None
        before, self._waiting = self._waiting, b""
        return before + self._archive.write(data) + self._archive.close()

    def _written(self, data: bytes) -> bytes:
        if not data:
            return b""
        before, self._waiting = self._waiting, b""
        return before + self._archive.write(data)


def check_names(members: Sequence[Member]) -> None:
    """Raises UsageError if two of them have one name, or names that are equal on some system."""
    names: dict[str, str] = {}
    for member in members:
        _check_new(member.name, names)


def _check_new(name: str, names: dict[str, str]) -> None:
    key = unicodedata.normalize("NFC", name).casefold()  # As Windows and macOS compare them.
    if key in names:
        raise UsageError(
            f"member name {shown(name)} stands twice in the ZIP (before as {shown(names[key])})."
        )
    names[key] = name


def _no_member(row: object) -> str:
    return (
        f"the rows of a ZIP are members, such as Member('a.csv', rows); got {shown(row)} "
        f"({type(row).__name__})."
    )


def _check_name(name: str) -> None:
    problem = None
    parts = name.split("/")
    if not name or not parts[-1]:
        problem = "is not a file name"
    elif not parts[0] or _DRIVE.match(name) or "\\" in name:
        problem = "has a drive, a backslash or a '/' at its start; name folders like 'a/b.csv'"
    elif {"", ".", ".."} & set(parts):
        problem = "leads out of its folder, or has a folder without a name"
    elif any(unicodedata.category(char) in {"Cc", "Cs"} for char in name):
        problem = "has a control character"
    elif len(name.encode()) > _NAME_BYTES_MAX:
        problem = f"is {len(name.encode())} bytes long; the limit is {_NAME_BYTES_MAX}"
    if problem:
        raise UsageError(f"member name {shown(name)} {problem}.")
