"""Rows of SQLite, by Python's `sqlite3`.

- Values: as sqlite3 gives them; a column may change its type from row to row, and each format
  says what it does with a value. Rows before a failure are given first (but the last one, if it is
  the next step of the query that fails: sqlite3 drops it).
- Memory: a row at a time is read from the file; one batch is held. (Sorting without an index is
  SQLite's own memory.)
- Close: closes the cursor; and the connection, if it was opened here.
- Cancel: `Connection.interrupt()`: the query ends at once.
- Threads: a connection belongs to the thread that made it. A stream of one stays there, and
  where that is the thread that sends (WSGI), a client that leaves is noticed with the next chunk.
  A path is opened for the stream, which then moves freely between threads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from typing import Any
from urllib.parse import quote

from unspool.sources.dbapi import CursorReader, Query

__all__ = ["query", "reader_of"]

Parameters = Sequence[Any] | Mapping[str, Any]


def query(
    database: str | PathLike[str] | sqlite3.Connection | Callable[[], sqlite3.Connection],
    sql: str,
    parameters: Parameters = (),
) -> Query:
    """The rows of `sql`.

    Args:
        database: the path of a database file, which is opened for reading only; an open
            connection, for use on its thread; or a function that opens one, with
            `check_same_thread=False`.
        sql: a query.
        parameters: the values of its placeholders.

    Raises, when the first row is read: what sqlite3 raises.

    >>> rows = query(sqlite3.connect(":memory:"), "SELECT ? AS n, 'a' AS name", [5])
    >>> rows.read_batch(10), rows.columns
    ([(5, 'a')], ('n', 'name'))
    >>> rows.close()
    """
    if isinstance(database, sqlite3.Connection):
        return Query(database, sql, parameters)
    if callable(database):
        return _OwnQuery(database, sql, parameters)
    path = fspath(database)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, check_same_thread=False)

    return _OwnQuery(connect, sql, parameters)


class _OwnQuery(Query):
    """A query on a connection of its own, which may move between threads."""

    def begin(self) -> None:
        super().begin()
        self.thread_bound = False


def reader_of(source: object) -> CursorReader | None:
    """A reader of a cursor."""
    return CursorReader(source) if isinstance(source, sqlite3.Cursor) else None
