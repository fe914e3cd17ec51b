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

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

from unspool import kernel
from unspool._optional import require
from unspool.errors import NotIterable
from unspool.sources.arrow_rows import arrow_rows
from unspool.sources.tables import Part, TableReader

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


class ArrowReader(TableReader):
    """A reader of the batches of an Arrow stream.

    The stream is asked for with the first batch, and released by `close`; after that the
    source is closed, if its class has `close()`. Holds one of the source's record batches, of
    which it gives slices: nothing is copied.

    Raises, when the first batch is read:
        NotIterable: it is a stream of single values, not of rows.
        MissingExtra: neither the kernel nor pyarrow is there.

    >>> import pyarrow
    >>> reader = ArrowReader(pyarrow.table({"id": [1, 2], "name": ["a", None]}))
    >>> batch = reader.read_batch(10)
    >>> batch.columns, list(batch)
    (('id', 'name'), [(1, 'a'), (2, None)])
    >>> reader.close()
    """

    def __init__(self, source: ArrowStreamable) -> None:
        super().__init__(self._tables_of)
        self._source = source
        close = getattr(type(source), "close", None)
        if close is not None:
            self.opened.callback(close, source)

    def _tables_of(self, opened: ExitStack) -> tuple[Iterable[Any], Sequence[str], Any]:
        """The stream as the one table; without the kernel, as pyarrow's record batches."""
        if kernel.ArrowStream is not None:
            return [self._source], (), None
        record_batches = require("pyarrow", extra="arrow").RecordBatchReader
        reader = record_batches.from_stream(self._source)
        opened.callback(reader.close)
        return reader, reader.schema.names, arrow_rows

    def _part_of(self, table: Any) -> Part:
        try:
            part: Any = super()._part_of(table)
        except TypeError as error:
            if "not a table" not in str(error):
                raise
            raise NotIterable(
                f"the source, a {type(table).__name__}, is no stream of rows: {error}. Hand over a "
                "table with this column."
            ) from None
        self.columns = getattr(part, "columns", self.columns)
        return part  # type: ignore[no-any-return]
