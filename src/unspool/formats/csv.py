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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from unspool import kernel
from unspool.errors import EmptySource, RowError, UsageError
from unspool.formats.csv_rows import CsvRows, NotCarried
from unspool.formats.rows import Cells
from unspool.types import Batch

__all__ = ["Csv", "CsvEncoder"]

Quoting = Literal["minimal", "all", "nonnumeric"]

_QUOTINGS: tuple[str, ...] = get_args(Quoting)


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
        decimal: the mark before the fraction of a float or Decimal: "." or ",".
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
    decimal: Literal[".", ","] = "."
    end_mark: bool = False

    @classmethod
    def for_excel(cls, decimal: Literal[".", ","] = ".") -> Csv:
        """The dialect for files that people open in a spreadsheet, and programs do not read.

        Args:
            decimal: the mark that their country writes: where it is a comma, Excel wants `;`
                between cells, and gets it.

        It begins with a byte order mark and has the formula guard on.

        >>> Csv.for_excel(decimal=",").encoder(None).feed([(1.5, "=1+1", "-2")])
        b"1,5;'=1+1;-2\\r\\n"
        """
        delimiter = ";" if decimal == "," else ","
        return cls(delimiter=delimiter, bom=True, formula_guard=True, decimal=decimal)

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return "text/csv; charset=utf-8"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".csv"

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n \ufeff' or _is_lone(self.delimiter):
            raise UsageError(
                f"delimiter {self.delimiter!r} must be one character, and no quote, space or "
                "line end; use ',', ';', '|' or '\\t'."
            )
        if self.line_end not in {"\r\n", "\n", "\r"}:
            raise UsageError(f"line_end {self.line_end!r} must be '\\r\\n', '\\n' or '\\r'.")
        if self.quoting not in _QUOTINGS:
            raise UsageError(f"quoting {self.quoting!r} must be one of {', '.join(_QUOTINGS)}.")
        if self.decimal not in {".", ","}:
            raise UsageError(f"decimal {self.decimal!r} must be '.' or ','.")

    def encoder(self, columns: Sequence[str] | None) -> CsvEncoder:
        """A new encoder for one stream."""
        return CsvEncoder(self, columns)


class CsvEncoder:
    """Writes batches, in the kernel or column by column. Holds the types of values met."""

    def __init__(self, dialect: Csv, columns: Sequence[str] | None) -> None:
        self._dialect = dialect
        self._cells = Cells(columns)
        self._loop = CsvRows(
            delimiter=dialect.delimiter,
            line_end=dialect.line_end,
            quoting=dialect.quoting,
            null=dialect.null,
            formula_guard=dialect.formula_guard,
            decimal_comma=dialect.decimal == ",",
        )
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
        data = self._encode(batch)
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
        return self._encode([self._cells.columns])

    def _encode(self, batch: Batch) -> bytes:
        loop = self._loop
        in_kernel = kernel.no_rows if loop.decimal_comma else kernel.csv_rows
        data = in_kernel(batch, self._cells.shape, loop.dialect, loop.converts)
        return self._in_python(self._cells.take(batch)) if data is None else data

    def _in_python(self, rows: Sequence[Sequence[Any]]) -> bytes:
        try:
            text = self._loop.text(rows)
        except NotCarried as error:
            raise self._row_error(rows) from error.__cause__
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise self._row_error(rows) from error

    def _row_error(self, rows: Sequence[Sequence[Any]]) -> RowError:
        """The error of the first cell at fault: the slow way, cell for cell."""
        for index, position, value in self._cells.cells(rows):
            problem = self._loop.problem(value)
            if problem:
                column = self._cells.name(position)
                return RowError(problem, index=index, column=column, value=value)
        return RowError("a value changed while it was written.", index=0)


def _is_lone(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"
