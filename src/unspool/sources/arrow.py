"""Arrow streams: whatever has `__arrow_c_stream__` (pyarrow, Polars, DuckDB, ADBC, Ibis …).

Their batches stay columns until an encoder sees them; one that knows columns writes them as
they are, any other takes their rows. With the kernel no other package is needed; without it
pyarrow makes the rows. What becomes of values:

| Arrow | Python |
|---|---|
| null, bool, int, utf8, binary | None, bool, int, str, bytes |
| float16, float32, float64 | float; a narrow one widened: float32's 0.1 is 0.10000000149011612 |
| decimal of any width | Decimal with all its digits |
| date32, date64 | date |
| time32, time64 | time |
| timestamp | datetime; with a time zone, if the column has one |
| duration; interval without months | timedelta |
| interval with months | refused: a month has no fixed length |
| list, large list, list view, fixed size list | list |
| struct, map | dict |
| dictionary, run-end encoded, union | the value that is meant |
| extension types | as their storage; `arrow.uuid` is a UUID, `arrow.bool8` a bool |

Nanoseconds are kept: where there are any, the value is a datetime, time or timedelta whose text
has nine digits. A value that Python's types cannot hold (the year 10000, text that is no
UTF-8, a struct with two fields of one name) raises RowError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from unspool import kernel
from unspool._optional import require
from unspool.errors import NotIterable, shown
from unspool.sources import arrow_values
from unspool.sources.arrow_values import interval, maker, refused
from unspool.sources.batches import Records
from unspool.types import Batch

__all__ = ["ArrowReader", "ArrowStreamable", "has_arrow_stream"]


class ArrowStreamable(Protocol):
    """What the Arrow PyCapsule interface calls a stream exporter."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """A capsule named "arrow_array_stream"."""
        ...


def has_arrow_stream(source: object) -> bool:
    """Whether `source` is an Arrow stream exporter.

    Its class says so: a table may make an attribute of any column's name.
    """
    return hasattr(type(source), "__arrow_c_stream__")


class ArrowReader:
    """A reader of the batches of an Arrow stream.

    The stream is asked for with the first batch, and released by `close`; after that the
    source is closed, if its class has `close()`. Holds one of the source's record batches, of
    which it gives slices: nothing is copied.

    >>> import pyarrow
    >>> reader = ArrowReader(pyarrow.table({"id": [1, 2], "name": ["a", None]}))
    >>> batch = reader.read_batch(10)
    >>> batch.columns, list(batch)
    (('id', 'name'), [(1, 'a'), (2, None)])
    >>> reader.close()
    """

    def __init__(self, source: ArrowStreamable) -> None:
        self._source: ArrowStreamable | None = source
        self._stream: Any = None

    @property
    def columns(self) -> Sequence[str] | None:
        """The column names; None before the first batch."""
        return None if self._stream is None else self._stream.columns

    def read_batch(self, want: int) -> Batch:
        """About `want` rows; none after the last.

        Raises:
            NotIterable: it is a stream of single values, not of rows.
            MissingExtra: neither the kernel nor pyarrow is there.
        """
        if self._stream is None:
            self._stream = _open(self._source)
        batch: Batch | None = self._stream.read(want)
        return () if batch is None else batch

    def close(self) -> None:
        """Releases the stream, and closes the source."""
        source, self._source = self._source, None
        try:
            if self._stream is not None:
                self._stream.close()
        finally:
            close = getattr(type(source), "close", None)
            if close is not None:
                close(source)


def _open(source: Any) -> Any:
    try:
        if kernel.ArrowStream is None:
            return _PyArrowStream(source)
        return kernel.ArrowStream(source.__arrow_c_stream__(), arrow_values)
    except TypeError as error:
        if "not a table" not in str(error):
            raise
        raise NotIterable(
            f"the source, a {type(source).__name__}, is no stream of rows: {error}. Hand over a "
            "table with this column."
        ) from None


class _PyArrowStream:
    """The same as the kernel's ArrowStream, by pyarrow; its rows are made at once."""

    def __init__(self, source: Any) -> None:
        self._pyarrow = require("pyarrow", extra="arrow")
        self._reader = self._pyarrow.RecordBatchReader.from_stream(source)
        self.columns = tuple(self._reader.schema.names)
        self._batch: Any = None
        self._given = 0

    def read(self, want: int) -> Records | None:
        """About `want` rows; None after the last."""
        while self._batch is None or self._given == self._batch.num_rows:
            try:
                self._batch, self._given = self._reader.read_next_batch(), 0
            except StopIteration:
                return None
        part = self._batch.slice(self._given, want)
        self._given += part.num_rows
        columns = [self._values(at, part.column(at)) for at in range(len(self.columns))]
        rows = list(zip(*columns, strict=True)) if columns else [()] * part.num_rows
        return Records(rows, self.columns)

    def close(self) -> None:
        """Releases the stream."""
        self._batch = None
        self._reader.close()

    def _values(self, position: int, column: Any) -> list[Any]:
        values = []
        for index, scalar in enumerate(column):
            try:
                values.append(self._value(scalar))
            except Exception as error:
                raise refused(error, index, self.columns[position]) from error
        return values

    def _value(self, scalar: Any) -> Any:
        """A scalar's value, whatever its type."""
        kind, types = scalar.type, self._pyarrow.types
        if not scalar.is_valid:
            return None
        if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
            return self._value(scalar.value)
        if types.is_nested(kind):
            return self._nested(scalar)
        if types.is_timestamp(kind):
            return maker("timestamp", _DIGITS[kind.unit], kind.tz)(scalar.value)
        if types.is_time(kind) or types.is_duration(kind):
            name = "time" if types.is_time(kind) else "duration"
            return maker(name, _DIGITS[kind.unit], None)(scalar.value)
        value = scalar.as_py()
        return interval(*value) if types.is_interval(kind) else value

    def _nested(self, scalar: Any) -> Any:
        kind, types = scalar.type, self._pyarrow.types
        if types.is_union(kind):
            return self._value(scalar.value)
        if types.is_struct(kind):
            names = [field.name for field in kind]
            return _dict_of([(n, self._value(scalar[at])) for at, n in enumerate(names)], "field")
        if types.is_map(kind):
            entries = [(self._value(e[0]), self._value(e[1])) for e in scalar.values]
            return _dict_of(entries, "key")
        return [self._value(item) for item in scalar.values]


def _dict_of(entries: Sequence[tuple[Any, Any]], what: str) -> dict[Any, Any]:
    made = dict(entries)
    if len(made) < len(entries):
        raise ValueError(f"a {what} stands twice in {shown(entries)}")
    return made


_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
