"""NDJSON (one JSON value a line) and JSON (one array), row by row.

A row with column names becomes an object, one without an array. What becomes of values:

- text, numbers, True, False and None as JSON has them; ints of any size keep all digits
  (readers that hold numbers as doubles lose some beyond 2**53);
- Decimal and UUID as text, so that no digit is lost; dates and times as ISO 8601 text; a
  timedelta as seconds; an Enum as its value;
- lists, tuples, dicts and dataclasses nested, to any depth;
- NaN, infinities, bytes, sets, other objects and lone surrogates raise RowError.
"""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from unspool import kernel
from unspool.errors import RowError, shown
from unspool.formats.rows import Cells, Shape, check_columns, names_of
from unspool.types import Batch

__all__ = ["Json", "JsonEncoder", "Ndjson"]


@dataclass(frozen=True)
class Ndjson:
    """One JSON value a line, each line ended with LF.

    Args:
        end_mark: a last line `{"unspool":{"rows":3}}`, by which a reader knows that it has
            them all; for servers that hide a failure.

    >>> Ndjson().encoder(["id", "name"]).feed([(1, "é")])
    b'{"id":1,"name":"\\xc3\\xa9"}\\n'
    """

    end_mark: bool = False

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return "application/x-ndjson"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".ndjson"

    def encoder(self, columns: Sequence[str] | None) -> JsonEncoder:
        """A new encoder for one stream."""
        end = '{{"unspool":{{"rows":{rows}}}}}\n' if self.end_mark else ""
        return JsonEncoder(columns, begin="", before="", between="", after="\n", end=end)


@dataclass(frozen=True)
class Json:
    """One JSON array, a row a line.

    Args:
        end_mark: an object around the array, `{"rows":[...],"unspool":{"rows":3}}`, by which a
            reader knows that it has all rows. (Without it the `]` says so.)

    >>> rows = Json().encoder(None)
    >>> rows.begin() + rows.feed([(1, 2), (3, 4)]) + rows.end()
    b'[\\n[1,2],\\n[3,4]\\n]\\n'
    """

    end_mark: bool = False

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return "application/json"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".json"

    @property
    def blank(self) -> bytes:
        """What may be sent between rows to keep a connection alive (RFC 8259 §2)."""
        return b"\n"

    def encoder(self, columns: Sequence[str] | None) -> JsonEncoder:
        """A new encoder for one stream."""
        begin, end = "[", "\n]\n"
        if self.end_mark:
            begin, end = '{"rows":[', '\n],"unspool":{{"rows":{rows}}}}}\n'
        return JsonEncoder(columns, begin=begin, before="\n", between=",\n", after="", end=end)


class JsonEncoder:
    """Writes rows as the json module does, in the kernel or with it. Holds nothing of them."""

    def __init__(
        self,
        columns: Sequence[str] | None,
        *,
        begin: str,
        before: str,
        between: str,
        after: str,
        end: str,
    ) -> None:
        self._begin, self._end = begin, end
        self._before, self._between, self._after = before, between, after
        self._rows = 0
        self._cells = Cells(columns)
        # How to make a value of each type of row without column names; None: it is one.
        self._as_values: dict[type, Callable[[Any], Any] | None] = {}
        self._dumps = json.JSONEncoder(
            ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_default
        ).encode

    def begin(self) -> bytes:
        """The opening bracket of an array."""
        return self._begin.encode()

    def feed(self, batch: Batch) -> bytes:
        """These rows, each as one JSON value."""
        if not batch:
            return b""
        data = kernel.json_rows(
            batch,
            self._shape(batch),
            self._as_values,
            _default,
            self._before.encode(),
            (self._after + self._between).encode(),
            self._after.encode(),
        )
        if data is None:
            data = self._in_python(self._values(batch))
        self._before = self._between
        self._rows += len(batch)
        return data

    def end(self) -> bytes:
        """The closing bracket of an array, or the end mark."""
        return self._end.format(rows=self._rows).encode()

    def _shape(self, batch: Batch) -> Shape | None:
        """What is known of the columns; None if rows have no names, or bring their own."""
        if not self._cells.width:
            columns = getattr(batch, "columns", None)
            if columns is None:
                return None
            check_columns(columns)
            self._cells.start(batch)
        return self._cells.shape

    def _values(self, batch: Batch) -> Sequence[Any]:
        columns = self._cells.columns
        if columns:
            return [dict(zip(columns, row, strict=True)) for row in self._cells.take(batch)]
        return [self._value(row, index) for index, row in enumerate(batch)]

    def _value(self, row: Any, index: int) -> Any:
        kind = type(row)
        if kind not in self._as_values:
            is_value = isinstance(row, (dict, list)) or kind is tuple
            self._as_values[kind] = None if is_value else _as_value
        as_value = self._as_values[kind]
        try:
            return row if as_value is None else as_value(row)
        except RowError as error:
            raise RowError(error.problem, index=index, column=error.column, value=row) from error

    def _in_python(self, values: Sequence[Any]) -> bytes:
        try:
            text = (self._after + self._between).join(map(self._dumps, values))
            return (self._before + text + self._after).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise self._row_error(values, error) from error

    def _row_error(self, values: Sequence[Any], error: Exception) -> RowError:
        found = ((index, value) for index, value in enumerate(values) if self._fails(value))
        index, value = next(found, (0, None))
        cells = value.items() if isinstance(value, dict) else enumerate(value or (), 1)
        column, cell = next(
            ((name, cell) for name, cell in cells if self._fails(cell)), (None, value)
        )
        return RowError(
            f"JSON cannot carry {shown(cell)} ({type(cell).__name__}): {error}. "
            "Turn it into text or a number first, or into None.",
            index=index,
            column=column,
            value=cell,
        )

    def _fails(self, value: Any) -> bool:
        try:
            self._dumps(value).encode()
        except (TypeError, ValueError, RecursionError):
            return True
        return False


def _as_value(row: Any) -> Any:
    """A row with names as a dict, one without as a list."""
    if isinstance(row, Mapping):
        return dict(row)
    cells = Cells(None)
    names = names_of(row)
    cells.start([row])
    values = cells.take([row])[0]
    return list(values) if names is None else dict(zip(names, values, strict=True))


def _default(value: Any) -> Any:
    """What json.JSONEncoder asks for values that it does not know."""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal) and not value.is_finite():
        raise ValueError(f"the Decimal {value} is no JSON number")
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"a {type(value).__name__} has no JSON form")
