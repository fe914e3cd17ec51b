"""Rows of DuckDB, 1.4 to 2.x.

- Values: as DuckDB's Python client makes them.
- Memory: the engine's own (a scan some tens of megabytes; a sort or an aggregation what it needs,
  up to `memory_limit`), and one batch. The result is not materialised: that needs another call
  in each version, and `query` makes the right one.
- Close: closes the cursor that the stream has of its own; the connection stays open, and can be
  used meanwhile.
- Cancel: `interrupt()` on that cursor: the query ends at once.
- Threads: any, one at a time. The engine uses all cores.
- With the kernel, rows come by way of Arrow, as columns, where that gives the same values; of a
  relation always, of which whole numbers of 128 bits are decimals then, for example.
- A relation is run when the first row is read. Without the kernel it needs pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

from unspool import kernel
from unspool._optional import require
from unspool.sources import arrow_values
from unspool.sources.arrow_rows import arrow_rows
from unspool.sources.dbapi import CursorReader, Interrupt, Query
from unspool.sources.tables import TableReader, ToRows

__all__ = ["DuckDbQuery", "query", "reader_of"]

# Before, `sql()` with parameters computes the whole result.
_LAZY_SINCE = 2

_NESTED = ("list", "struct", "map")

# By Arrow others lose a time zone or digits, or come in another form.
_ALIKE = frozenset(
    {
        "boolean",
        "tinyint",
        "smallint",
        "integer",
        "bigint",
        "hugeint",
        "utinyint",
        "usmallint",
        "uinteger",
        "ubigint",
        "float",
        "double",
        "decimal",
        "varchar",
        "blob",
        "uuid",
        "enum",
        "date",
        "time",
        "timestamp",
        "timestamp_s",
        "timestamp_ms",
        "timestamp with time zone",
        "null",
    }
)

# DuckDB works in vectors of 2,048 rows; its own default for batches is a million.
_ROWS = 8 * 2048


def query(connection: Any, sql: str, parameters: Any = None) -> Query:
    """The rows of `sql`, on a cursor of its own, which is executed when the first is read.

    Args:
        connection: a connection, or a function that opens one.
        sql: a query.
        parameters: the values of its placeholders.

    Raises, when the first row is read: what DuckDB raises.

    >>> import duckdb
    >>> rows = query(duckdb.connect(), "SELECT range AS n FROM range($1)", [2])
    >>> list(rows.read_batch(10)), rows.columns
    ([(0,), (1,)], ('n',))
    >>> rows.close()
    """
    require("duckdb", extra="duckdb")
    return DuckDbQuery(connection, sql, parameters)


class DuckDbQuery(Query):
    """A query on a cursor of its own; see `query`."""

    def execute(self, cursor: Any) -> None:
        """Executes the query, by way of Arrow where that gives the same values."""
        relation = self._relation(cursor)
        if relation is None:
            super().execute(cursor)
            return
        self.columns = tuple(relation.columns)
        stream = kernel.ArrowStream(_stream_of(relation).__arrow_c_stream__(), arrow_values)
        self.opened.callback(stream.close)
        self.fetch = lambda want: stream.read(want) or ()

    def _relation(self, cursor: Any) -> Any:
        """What `cursor.sql` gives, which is not executed yet, if it is to be streamed so."""
        duckdb = require("duckdb", extra="duckdb")
        if kernel.ArrowStream is None or _major(duckdb) < _LAZY_SINCE:
            return None
        statements = cursor.extract_statements(self._sql)
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            return None
        # Otherwise large integers and UUIDs would come as decimals and text.
        if not _is_lossless(cursor):  # Where the configuration is locked, setting it again fails.
            cursor.execute("SET SESSION arrow_lossless_conversion = true")
        relation = cursor.sql(self._sql, params=next(iter(self._parameters), None))
        return relation if all(map(_is_alike, relation.types)) else None

    def interrupter(self, connection: Any, cursor: Any) -> Interrupt:
        """The cursor is interrupted, not the connection: others may use that."""
        interrupt: Interrupt = cursor.interrupt
        return interrupt


def reader_of(source: object) -> CursorReader | TableReader | None:
    """A reader of a relation, or of a connection (or cursor) on which a query was executed."""
    duckdb = require("duckdb", extra="duckdb")
    if isinstance(source, duckdb.DuckDBPyRelation):
        return TableReader(lambda _: _relation(source))
    if isinstance(source, duckdb.DuckDBPyConnection):
        return _Executed(source)
    return None


class _Executed(CursorReader):
    """What was executed on a connection; that stays open, its owner closes it."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.opened = ExitStack()
        self._interrupt_call = connection.interrupt


def _relation(relation: Any) -> tuple[Iterable[Any], Sequence[str], ToRows]:
    stream = _stream_of(relation)
    return [stream] if kernel.ArrowStream else stream, relation.columns, arrow_rows


def _stream_of(relation: Any) -> Any:
    """The rows of a relation as an Arrow stream, in small batches, if pyarrow is there."""
    lazy = _major(require("duckdb", extra="duckdb")) >= _LAZY_SINCE
    if kernel.ArrowStream and lazy and not find_spec("pyarrow"):
        return relation
    require("pyarrow", extra="arrow")
    batches = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
    return batches(_ROWS)


def _is_lossless(cursor: Any) -> bool:
    setting = "SELECT current_setting('arrow_lossless_conversion')"
    return bool(cursor.execute(setting).fetchall()[0][0])


def _major(duckdb: Any) -> int:
    return int(duckdb.__version__.partition(".")[0])


def _is_alike(kind: Any) -> bool:
    """Whether values of this type are the same by way of Arrow as by `fetchmany`."""
    if kind.id in _NESTED:
        return all(_is_alike(inner) for _, inner in kind.children)
    return kind.id in _ALIKE
