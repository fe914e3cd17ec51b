"""CSV (RFC 4180), with the bytes of Python's csv.writer.

What becomes of values:

- text as it is, quoted where it must be; numbers as `str()` gives them, so floats and
  Decimals keep every digit; NaN and infinities are `nan`, `inf`, `-inf`;
- True and False as `True`, `False`; dates and times as `str()` gives them (ISO 8601 with
  a space); UUIDs as text; an Enum as its value;
- None as `null` (nothing, unless you say otherwise: then None and "" look the same);
- bytes, lists, dicts, sets and objects without a text form of their own raise RowError.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any, Literal

from unspool.errors import EmptySource, RowError, UsageError, shown
from unspool.formats.rows import Cells
from unspool.types import Batch

__all__ = ["Csv", "CsvEncoder"]

Convert = Callable[[Any], Any]
Quoting = Literal["minimal", "all", "nonnumeric"]

_QUOTING: dict[str, Literal[0, 1, 2]] = {
    "minimal": csv.QUOTE_MINIMAL,
    "all": csv.QUOTE_ALL,
    "nonnumeric": csv.QUOTE_NONNUMERIC,
}

# The writer always ends rows so, whatever `line_end` says: Python before 3.13 quotes
# only those line breaks that its own line end has.
_WRITER_LINE_END = "\r\n"

_PLAIN_TYPES = (
    str,
    int,
    float,
    bool,
    decimal.Decimal,
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
)

_NOT_CELLS = (bytes, bytearray, memoryview, list, tuple, dict, set, frozenset)

# How a text must start to be run by a spreadsheet (OWASP, "CSV Injection").
_FORMULA_START = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)*|[.,]\d+)([eE][+-]?\d+)?%?")


@dataclass(frozen=True)
class Csv:
    """The CSV format and its dialect.

    Args:
        delimiter: one character between cells.
        line_end: what ends a row: CR LF as RFC 4180 has it, LF or CR.
        quoting: "minimal" quotes a cell only if it must be, "all" every cell,
            "nonnumeric" every cell that is not a number.
        null: the text that stands for None.
        bom: a byte order mark first, by which Excel knows UTF-8.
        header: whether the first line has the column names, where they are known.
        formula_guard: puts a `'` before text that a spreadsheet would run as a formula.
            Numbers, typed or as text, are never touched.
        end_mark: a last line `# 3 rows`, by which a reader knows that it has them all;
            for servers that hide a failure.

    Raises:
        UsageError: a dialect that no reader could read back.

    >>> Csv(delimiter=";").encoder(["id", "note"]).feed([(1, "a;b")])
    b'id;note\\r\\n1;"a;b"\\r\\n'
    """

    delimiter: str = ","
    line_end: str = "\r\n"
    quoting: Quoting = "minimal"
    null: str = ""
    bom: bool = False
    header: bool = True
    formula_guard: bool = False
    end_mark: bool = False

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return "text/csv; charset=utf-8"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".csv"

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n \ufeff':
            raise UsageError(
                f"delimiter {self.delimiter!r} must be one character, and no quote, space or "
                "line end; use ',', ';', '|' or '\\t'."
            )
        if self.line_end not in {"\r\n", "\n", "\r"}:
            raise UsageError(f"line_end {self.line_end!r} must be '\\r\\n', '\\n' or '\\r'.")
        if self.quoting not in _QUOTING:
            raise UsageError(f"quoting {self.quoting!r} must be one of {', '.join(_QUOTING)}.")

    def encoder(self, columns: Sequence[str] | None) -> CsvEncoder:
        """A new encoder for one stream."""
        return CsvEncoder(self, columns)


class CsvEncoder:
    """Writes batches with csv.writer. Holds nothing but the kinds of values it has met."""

    def __init__(self, dialect: Csv, columns: Sequence[str] | None) -> None:
        self._dialect = dialect
        self._cells = Cells(columns)
        self._lines: list[str] = []
        self._writer = csv.writer(
            _Lines(self._lines),
            delimiter=dialect.delimiter,
            lineterminator=_WRITER_LINE_END,
            quoting=_QUOTING[dialect.quoting],
        )
        # How to treat each type of value; None: csv.writer does what we want.
        self._converts: dict[type, Convert | None] = dict.fromkeys(_PLAIN_TYPES)
        self._converts[type(None)] = (lambda _: dialect.null) if dialect.null else None
        if dialect.formula_guard:
            self._converts[str] = _guarded
        self._started = False
        self._rows = 0

    def begin(self) -> bytes:
        """The byte order mark, if wanted."""
        return "\ufeff".encode() if self._dialect.bom else b""

    def feed(self, batch: Batch) -> bytes:
        """These rows as CSV lines, the header before the first."""
        if not self._started:
            self._cells.start(batch)
        if not batch:
            return b""
        data = self._encode(self._convert(self._cells.take(batch)))
        if not self._started:
            data = self._header() + data
            self._started = True
        self._rows += len(batch)
        return data

    def end(self) -> bytes:
        """The end mark, if wanted, after the header, if no row came."""
        mark = f"# {self._rows} rows{self._dialect.line_end}" if self._dialect.end_mark else ""
        return self._header_alone() + mark.encode()

    def _header_alone(self) -> bytes:
        if self._started or not self._dialect.header:
            return b""
        if self._cells.columns is None:
            raise EmptySource(
                "the source gave no rows, and so no column names for the CSV header. Pass "
                "columns=[...] to send the header alone, or Csv(header=False) to send nothing."
            )
        return self._header()

    def _header(self) -> bytes:
        if self._cells.columns is None or not self._dialect.header:
            return b""
        return self._encode(self._convert([self._cells.columns]))

    def _convert(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        kinds = set(map(type, chain.from_iterable(rows)))
        for kind in kinds - self._converts.keys():
            self._learn(kind, rows)
        converts = self._converts
        if not any(converts[kind] for kind in kinds):
            return rows
        return [
            [
                value if (convert := converts[type(value)]) is None else convert(value)
                for value in row
            ]
            for row in rows
        ]

    def _learn(self, kind: type, rows: Sequence[Sequence[Any]]) -> None:
        convert = self._convert_for(kind)
        if convert is None:
            index, position, value = next(
                cell for cell in self._cells.cells(rows) if type(cell[2]) is kind
            )
            raise RowError(
                f"CSV cannot carry a {kind.__name__}: {shown(value)}. Turn it into text or "
                "numbers first, or use a format with nested values (json, ndjson).",
                index=index,
                column=self._cells.name(position),
                value=value,
            )
        self._converts[kind] = self._guard(kind, convert)

    def _convert_for(self, kind: type) -> Convert | None:
        """How CSV shows a type that it meets for the first time; None if it cannot."""
        if issubclass(kind, Enum):
            return self._convert_enum(kind)
        if issubclass(kind, (str, int, float)):
            return str
        if issubclass(kind, _NOT_CELLS) or kind.__str__ is object.__str__:
            return None
        return str

    def _convert_enum(self, kind: type[Enum]) -> Convert | None:
        """A table of the members' values, each as CSV shows it."""
        table: dict[Enum, Any] = {}
        for member in kind:
            known = type(member.value) in self._converts
            convert = (
                self._converts[type(member.value)]
                if known
                else self._convert_for(type(member.value))
            )
            if convert is None and not known:
                return None
            table[member] = convert(member.value) if convert else member.value
        return lambda member: table.get(member, member.value)

    def _guard(self, kind: type, convert: Convert) -> Convert:
        """The same, with the formula guard, if wanted and if it gives text."""
        if not self._dialect.formula_guard or issubclass(kind, (int, float)):
            return convert
        return lambda value: _guarded(text) if isinstance(text := convert(value), str) else text

    def _encode(self, rows: Sequence[Sequence[Any]]) -> bytes:
        lines = self._lines
        lines.clear()
        self._writer.writerows(rows)
        if self._dialect.line_end == _WRITER_LINE_END:
            text = "".join(lines)
        else:
            cut = -len(_WRITER_LINE_END)
            text = "".join([line[:cut] + self._dialect.line_end for line in lines])
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise self._not_text(rows) from error

    def _not_text(self, rows: Sequence[Sequence[Any]]) -> RowError:
        index, position, value = next(
            cell for cell in self._cells.cells(rows) if not _is_utf8(str(cell[2]))
        )
        return RowError(
            f"{shown(value)} has a lone surrogate, which UTF-8 cannot carry. Decode the text "
            "with errors='replace', or clean it, before you send it.",
            index=index,
            column=self._cells.name(position),
            value=value,
        )


class _Lines:
    """What csv.writer writes to: one line a call."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def _guarded(text: str) -> str:
    if text.startswith(_FORMULA_START) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
