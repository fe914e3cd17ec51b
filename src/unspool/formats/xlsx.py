"""XLSX that streams: written front to back as rows come, for Excel and what reads its files.

What becomes of values:

| value | cell |
|---|---|
| None | none |
| str, also one of digits or with a leading `=` | text, never a formula |
| int, Decimal | a number; of more than 15 digits text, as Excel would lose some |
| float | a number; NaN and infinities are the text `nan`, `inf`, `-inf` |
| bool | TRUE or FALSE |
| date, datetime, time, timedelta | a number that is shown as such; readers keep milliseconds |
| datetime or time with a time zone, date before 1900-03-01, timedelta below 0 | text, as `str()` |
| an Enum | its value, as above |
| UUIDs and other objects with a text form of their own | that text |

Bytes, lists, dicts, sets, other objects, text of more than 32,767 characters (UTF-16 units) and
lone surrogates raise RowError. Characters that XML cannot have are escaped as Excel does
(`_x0001_`). `xlsx_rows.py` has the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from unspool import kernel
from unspool.errors import EmptySource, RowError, UsageError
from unspool.formats import xlsx_parts as parts
from unspool.formats.archive import Archive
from unspool.formats.plain import Plain
from unspool.formats.rows import Cells
from unspool.formats.xlsx_rows import MAX_COLUMNS, MAX_ROWS, sheet_rows
from unspool.types import Batch, is_columnar

__all__ = ["Xlsx", "XlsxEncoder"]

# A sheet ends before 2 GiB, where readers that count in signed 32 bits are lost.
MAX_SHEET_BYTES = 1_900_000_000

# Without ZIP64, which Excel does not read in every case, no place is further in than this.
MAX_FILE_BYTES = 2**32 - 1

# What the parts after the last row, and data that does not compress, may take at the most.
_RESERVED_BYTES = 16 * 1024 * 1024

# Excel's limits for a sheet's name.
_MAX_NAME = 31
_NOT_IN_NAMES = frozenset("[]:*?/\\")


@dataclass(frozen=True)
class Xlsx:
    """An Excel workbook, typed and ready to be filtered, with no row of it held back.

    The column names are a bold header that stays in sight, with filters. Column widths suit
    names and first row. When a sheet is full, at 1,048,576 rows or 1.9 GB of XML, the next one
    begins, with the header again: `Data`, `Data (2)`, ….

    Args:
        sheet: the name of the sheet.

    Raises:
        UsageError: Excel allows no such name.

    >>> Xlsx(sheet="Flights").encoder(["to"]).begin()[:4]
    b'PK\\x03\\x04'
    """

    compressed: ClassVar[bool] = True
    sheet: str = "Data"

    def __post_init__(self) -> None:
        name = self.sheet
        if (
            not isinstance(name, str)
            or not 1 <= _units(name) <= _MAX_NAME
            or _NOT_IN_NAMES & set(name)
            or not name.isprintable()
            or name.startswith("'")
            or name.endswith("'")
            or name.casefold() == "history"
        ):
            raise UsageError(
                f"sheet={name!r} is no name for a sheet in Excel: it must have 1 to {_MAX_NAME} "
                "characters, no control character and none of []:*?/\\, no ' at its ends, and "
                "must not be 'History'."
            )

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".xlsx"

    def sheet_name(self, number: int) -> str:
        """The name of the first sheet, the second and so on.

        >>> Xlsx().sheet_name(2)
        'Data (2)'
        """
        end = f" ({number})" if number > 1 else ""
        name = self.sheet
        while _units(name + end) > _MAX_NAME:
            name = name[:-1]
        return name + end

    def encoder(self, columns: Sequence[str] | None) -> XlsxEncoder:
        """A new encoder for one stream.

        Raises:
            UsageError: more columns than the 16,384 of a sheet.
        """
        if columns is not None and len(columns) > MAX_COLUMNS:
            raise UsageError(_too_wide(len(columns)))
        return XlsxEncoder(self, columns)


class XlsxEncoder:
    """Writes sheets into a ZIP archive, and the list of them after the last row.

    Holds 64 KiB of rows, some 0.5 MB in the compressor, and 300 bytes for each sheet. Rows leave
    in compressed blocks, so that they wait for those after them.
    """

    def __init__(self, book: Xlsx, columns: Sequence[str] | None) -> None:
        self._book = book
        self._cells = Cells(columns)
        self._plain = Plain("XLSX", self._cells)
        self._zip = Archive()
        self._head: bytes | None = None
        self._sheets: list[tuple[str, str | None]] = []
        self._place = _FULL

    def begin(self) -> bytes:
        """The parts that are known before the first row."""
        return b"".join([self._zip.add(path, data) for path, data in parts.FIRST_PARTS])

    def feed(self, batch: Batch) -> bytes:
        """These rows, as far as they are compressed by now.

        Raises:
            RowError: also for a row of more than 16,384 cells, and past 4 GiB of the file.
        """
        if self._head is None:
            self._cells.start(batch)
        if not batch:
            return b""
        taken = self._cells.take(batch)
        rows = taken if is_columnar(taken) else list(taken)
        head = self._head or self._new_head(rows[0])
        pieces = list(self._lay(rows, head))
        self._check_file(sum(len(piece.data) for piece in pieces))
        self._head = head
        return b"".join(map(self._write, pieces))

    def end(self) -> bytes:
        """The foot of the last sheet, and the parts that list all sheets.

        Raises:
            EmptySource: no row came, and nothing else names the columns.
        """
        data = []
        if self._head is None:
            if self._cells.columns is None:
                raise EmptySource(
                    "the source gave no rows, and so no column names for the header of the "
                    "sheet. Pass columns=[...] to send the header alone."
                )
            self._head = self._new_head(())
            data.append(self._write(_Piece(b"", self._top(self._head), new_sheet=True)))
        data += [
            self._end_sheet(),
            self._zip.add("xl/_rels/workbook.xml.rels", parts.workbook_rels(len(self._sheets))),
            self._zip.add("xl/workbook.xml", parts.workbook(self._sheets)),
            self._zip.add("[Content_Types].xml", parts.content_types(len(self._sheets))),
            self._zip.end(),
        ]
        return b"".join(data)

    def _new_head(self, row: Sequence[Any]) -> bytes:
        """What each sheet begins with."""
        names = self._cells.columns
        if self._cells.width > MAX_COLUMNS:
            raise RowError(_too_wide(self._cells.width), index=0)
        if names:  # A name is checked like a cell under it.
            self._plain.encode(partial(sheet_rows, number=1), [names])
        return parts.sheet_head(names, row)

    def _lay(self, rows: Sequence[Sequence[Any]], head: bytes) -> Iterator[_Piece]:
        """The rows, cut where a sheet is full: the same for batches of any size."""
        place, new_sheet = self._place, False
        done, take = 0, len(rows)
        while done < len(rows):
            part = rows[done : done + min(take, place.room)]
            data = self._encode(part, place.row, done)
            fits = place.size + len(data) <= MAX_SHEET_BYTES
            if part and (fits or (new_sheet and len(part) == 1)):
                place = _Place(place.row + len(part), place.size + len(data))
                yield _Piece(data, place, new_sheet)
                done, new_sheet = done + len(part), False
            elif len(part) > 1:
                take = len(part) // 2
            else:
                place, new_sheet, take = self._top(head), True, len(rows)

    def _encode(self, rows: Sequence[Sequence[Any]], number: int, done: int) -> bytes:
        if not rows:
            return b""
        data = kernel.sheet_rows(number, rows, self._cells.shape, self._plain.converts)
        if data is not None:
            return data
        try:
            return self._plain.encode(partial(sheet_rows, number=number), rows)
        except RowError as error:
            error.row += done
            raise

    def _top(self, head: bytes) -> _Place:
        """Where the first row of a sheet goes."""
        return _Place(2 if self._cells.columns else 1, len(head))

    def _check_file(self, size: int) -> None:
        if self._zip.offset + size + _RESERVED_BYTES > MAX_FILE_BYTES:
            raise RowError(
                "with it the file would pass 4 GiB, beyond which Excel reads none. Send less, "
                "or use format='csv'.",
                index=0,
            )

    def _write(self, piece: _Piece) -> bytes:
        before = self._begin_sheet() if piece.new_sheet else b""
        self._place = piece.end
        return before + self._zip.write(piece.data)

    def _begin_sheet(self) -> bytes:
        end = self._end_sheet() if self._sheets else b""
        self._sheets.append((self._book.sheet_name(len(self._sheets) + 1), None))
        path = parts.sheet_path(len(self._sheets))
        return end + self._zip.open(path) + self._zip.write(self._head or b"")

    def _end_sheet(self) -> bytes:
        area = parts.filter_area(self._cells.columns, self._place.row - 1)
        self._sheets[-1] = (self._sheets[-1][0], area)
        return self._zip.write(parts.sheet_foot(area)) + self._zip.close()


@dataclass(frozen=True)
class _Place:
    """Where the next row of a sheet goes: its number, and how many bytes are before it."""

    row: int
    size: int

    @property
    def room(self) -> int:
        """How many rows fit."""
        return MAX_ROWS + 1 - self.row


# Before the first sheet: no row fits.
_FULL = _Place(MAX_ROWS + 1, 0)


@dataclass(frozen=True)
class _Piece:
    """Rows for one sheet, and the place behind them."""

    data: bytes
    end: _Place
    new_sheet: bool


def _units(text: str) -> int:
    """The length of a text as Excel counts it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _too_wide(width: int) -> str:
    return (
        f"there are {width:,} columns, and a sheet in Excel has {MAX_COLUMNS:,} at the most. "
        "Send fewer, or use format='csv'."
    )
