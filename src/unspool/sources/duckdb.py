"""Rows of DuckDB, 1.4 to 2.x.

- Values: as DuckDB's Python client makes them.
- Memory: the engine's own (a scan some tens of megabytes; a sort or an aggregation what it needs,
  up to `memory_limit`), and one batch. The result is not materialised: that needs another call
  in each version, and `query` makes the right one.
- Close: closes the cursor that the stream has of its own; the connection stays open, and can be
  used meanwhile.
- Cancel: `interrupt()` on that cursor: the query ends at once.
- Threads: any, one at a time. The engine uses all cores.
- A relation is run when the first row is read. DuckDB gives its rows by way of pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

from unspool._optional import require
from unspool.sources.dbapi import CursorReader, Interrupt, Query
from unspool.sources.tables import TableReader, ToRows, arrow_rows

__all__ = ["query", "reader_of"]

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
    >>> rows.read_batch(10), rows.columns
    ([(0,), (1,)], ('n',))
    >>> rows.close()
    """
    require("duckdb", extra="duckdb")
    return _Query(connection, sql, parameters)


class _Query(Query):
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
    require("pyarrow", extra="duckdb")
    batches = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
    return batches(_ROWS), relation.columns, arrow_rows
