"""Rows of PostgreSQL by psycopg 3 (sync and async), asyncpg and psycopg2.

`copy` has PostgreSQL write the CSV: the cheapest way by far. `query` gives rows for any format.

- Values of `query`: as the driver makes them. psycopg is asked for binary values where these are
  the same ones and cheaper to make: numbers, text, dates, times, UUIDs, bytes, with its own
  loaders; else, as it is by default, for text. With psycopg2 all values come as text.
- Bytes of `copy`: PostgreSQL's, not ours. Lines end with LF. True is `t`. NULL is nothing, and an
  empty text is `""`. Times have the session's zone and `DateStyle`; bytea is `\\x` and hex digits;
  arrays and composite values have PostgreSQL's text form. UTF-8, whatever the client's encoding.
- Memory of `query`: one batch: a server-side cursor, in a transaction (a savepoint, if one is
  open). Of `copy`: 120 KiB and the driver's read buffer.
- Close: rolls the transaction back, unless all rows were read; nothing is left active.
- Cancel: a cancel request on a second connection, which the driver makes (asyncpg and async
  psycopg: when the reading task is cancelled). The connection can be used again.
- Threads: any, one at a time. While rows come, the connection does nothing else.
- `statement_timeout` counts all of a `copy`, slow client included; of a `query` each fetch.
"""

from __future__ import annotations

from typing import Any

from unspool.sources import dbapi
from unspool.sources.batches import AsyncBatchRows
from unspool.sources.postgres.copying import AsyncCopy, AsyncCopyRows, Copy
from unspool.sources.postgres.cursors import AsyncCursor, Cursor
from unspool.sources.queries import QueryReader, is_async_connection

__all__ = ["copy", "query", "reader_of"]


def query(connection: Any, sql: Any, parameters: Any = None) -> QueryReader | AsyncBatchRows:
    """The rows of `sql`, by a server-side cursor, which is declared when the first is read.

    Args:
        connection: a connection of psycopg, asyncpg or psycopg2; a pool of theirs; or a
            function that opens a connection.
        sql: a query that can have a cursor: `SELECT` or `VALUES`.
        parameters: the values of its placeholders: `%s` and a sequence or `%(name)s` and a
            mapping; with asyncpg `$1` and a sequence.

    Raises, when the first row is read: what the driver raises; UsageError, if the connection is
    none of these drivers'.
    """
    if is_async_connection(connection):
        return AsyncBatchRows(AsyncCursor(connection, sql, parameters))
    return Cursor(connection, sql, parameters)


def copy(connection: Any, sql: Any, parameters: Any = None) -> Copy | AsyncCopyRows:
    """The result of `sql` as the CSV that PostgreSQL writes, by `COPY (sql) TO STDOUT`.

    For `format="csv"`, in which `delimiter`, `null`, `header`, `bom` and `quoting="all"` may
    be chosen. What leaves are pieces of bytes, and hooks are told their number, not the rows'.

    Args:
        connection: as for `query`, but not psycopg2's.
        sql: a query.
        parameters: the values of its placeholders.

    Raises, when the first row is read: what the driver raises; UsageError, if the connection is
    none of these drivers'.
    """
    if is_async_connection(connection):
        return AsyncCopyRows(AsyncCopy(connection, sql, parameters))
    return Copy(connection, sql, parameters)


def reader_of(source: object) -> object | None:
    """A reader of a psycopg cursor."""
    return dbapi.reader_of(source) if hasattr(source, "fetchmany") else None
