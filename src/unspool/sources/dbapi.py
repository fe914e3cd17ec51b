"""Rows of any driver that keeps to the Python Database API (PEP 249), or its awaited twin.

- Rows come by `fetchmany`, as the driver makes them; the names from `description`.
- Memory: whatever the driver holds. Most drivers read the whole result when a query is executed,
  unless the cursor is a server-side or unbuffered one: see `postgres` and `mysql` here.
- Close: closes the cursor, once; a connection that was given stays open.
- Cancel: by what the driver has for it: `interrupt()` (sqlite3, DuckDB), `cancel_safe()`
  (psycopg), `cancel()` (psycopg2, oracledb, pyodbc), `KILL QUERY` (MySQL). Without any of them a
  stuck query is closed when it comes back.
- Threads: read by one thread at a time, not always the same; sqlite3 stays on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from inspect import iscoroutinefunction
from typing import Any

from unspool.errors import UsageError
from unspool.sources.batches import AsyncBatchRows
from unspool.sources.queries import (
    AsyncQueryReader,
    Closing,
    Fetch,
    QueryReader,
    column_names,
    keeping,
    open_connection,
    package_of,
)

__all__ = [
    "AsyncCursorReader",
    "CursorReader",
    "Interrupt",
    "Query",
    "close_with",
    "connection_of",
    "interrupter",
    "naming",
    "query",
    "reader_of",
]

# What ends a call that another thread is in, best first.
_INTERRUPTS = ("interrupt", "cancel_safe", "cancel")

Interrupt = Callable[[], object]

_MYSQL = ("pymysql", "MySQLdb", "mysql")


def query(connection: Any, sql: Any, parameters: Any = None) -> Query:
    """The rows of `sql`, which is executed by a cursor of `connection` when the first is read.

    Args:
        connection: a connection, a pool, or a function that opens a connection.
        sql: the query, in the driver's own parameter style.
        parameters: what `execute` takes beside the query; nothing, if None.

    >>> import sqlite3
    >>> rows = query(sqlite3.connect(":memory:"), "SELECT ? AS n", [5])
    >>> rows.read_batch(10), rows.columns
    ([(5,)], ('n',))
    >>> rows.close()
    """
    return Query(connection, sql, parameters)


def reader_of(cursor: Any) -> CursorReader | AsyncBatchRows:
    """A reader of what an executed cursor has to give."""
    if iscoroutinefunction(cursor.fetchmany):
        return AsyncBatchRows(AsyncCursorReader(cursor))
    return CursorReader(cursor)


class Query(QueryReader):
    """A query on a cursor of its own. Holds what its driver holds, and one batch."""

    def __init__(self, connection: Any, sql: Any, parameters: Any = None) -> None:
        super().__init__()
        self._given = connection
        self._sql = sql
        self._parameters = () if parameters is None else (parameters,)
        self._interrupt_call: Interrupt | None = None
        self.thread_bound = package_of(connection) == "sqlite3"

    def cursor(self, connection: Any) -> Any:
        """A new cursor of `connection`."""
        return connection.cursor()

    def interrupter(self, connection: Any, cursor: Any) -> Interrupt | None:
        """What ends a call of this connection's, or cursor's, that another thread is in."""
        return interrupter(connection)

    def begin(self) -> None:
        """Executes the query."""
        connection = open_connection(self.opened, self._given)
        self.thread_bound = package_of(connection) == "sqlite3"
        cursor = self.cursor(connection)
        interrupt = self.interrupter(connection, cursor)
        self._interrupt_call = close_with(self.opened, cursor, connection, interrupt)
        self.execute(cursor)

    def execute(self, cursor: Any) -> None:
        """Executes the query; finds `columns` and `fetch`."""
        cursor.execute(self._sql, *self._parameters)
        self.columns = column_names(cursor)
        self.fetch = keeping(cursor) if self.thread_bound else cursor.fetchmany

    def interrupt(self) -> None:
        """Asks the driver."""
        if self._interrupt_call is not None:
            self._interrupt_call()


class CursorReader(QueryReader):
    """What an executed cursor has to give. Closes the cursor."""

    def __init__(self, cursor: Any) -> None:
        super().__init__()
        self._cursor = cursor
        connection = connection_of(cursor)
        interrupt = interrupter(connection)
        self._interrupt_call = close_with(self.opened, cursor, connection, interrupt)
        self.thread_bound = package_of(cursor) == "sqlite3"

    def begin(self) -> None:
        """Finds the names.

        Raises:
            UsageError: the cursor has no result.
        """
        if not getattr(self._cursor, "name", None):
            _check_result(self._cursor)
        fetch = keeping(self._cursor) if self.thread_bound else self._cursor.fetchmany
        self.fetch = naming(self, self._cursor, fetch)

    def interrupt(self) -> None:
        """Asks the driver."""
        if self._interrupt_call is not None:
            self._interrupt_call()


class AsyncCursorReader(AsyncQueryReader):
    """What an executed cursor of an asynchronous driver has to give. Closes the cursor."""

    def __init__(self, cursor: Any) -> None:
        super().__init__()
        self._cursor = cursor
        self.opened.push_async_callback(cursor.close)

    async def begin(self) -> None:
        """Finds the names.

        Raises:
            UsageError: the cursor has no result.
        """
        _check_result(self._cursor)
        self.columns = column_names(self._cursor)
        self.fetch = self._cursor.fetchmany


def naming(reader: QueryReader, cursor: Any, fetch: Fetch) -> Fetch:
    """`fetch`, and the names: psycopg2's server-side cursors have them with the first rows."""

    def fetch_and_name(want: int) -> Sequence[Any]:
        rows = fetch(want)
        if not reader.columns:
            reader.columns = column_names(cursor)
        return rows

    return fetch_and_name


def _check_result(cursor: Any) -> None:
    if cursor.description is None:
        raise UsageError(
            f"the cursor has no result to stream ({type(cursor).__name__}). Execute a SELECT with "
            "it first."
        )


def interrupter(connection: Any) -> Interrupt | None:
    """What another thread calls to end a call of this connection's, if the driver has it."""
    if package_of(connection) in _MYSQL:
        kill: Interrupt = _mysql().killer(connection)
        return kill
    return next(
        (getattr(connection, name) for name in _INTERRUPTS if hasattr(connection, name)), None
    )


def connection_of(cursor: Any) -> Any:
    """The connection of a cursor, where it is known: PEP 249 recommends the attribute."""
    return getattr(cursor, "connection", None) or getattr(cursor, "_connection", None)


def close_with(
    opened: ExitStack, cursor: Any, connection: Any, interrupt: Interrupt | None
) -> Interrupt | None:
    """Lets `opened` close the cursor, without reading what was not read; gives `interrupt`."""
    opened.push(Closing(cursor).__exit__)
    if interrupt is None or package_of(cursor) not in _MYSQL:
        return interrupt
    unread = _mysql().Unread(cursor, connection, interrupt)
    opened.push(unread)
    return unread.kill  # type: ignore[no-any-return]


def _mysql() -> Any:
    return import_module("unspool.sources.mysql")  # It builds on this module.
