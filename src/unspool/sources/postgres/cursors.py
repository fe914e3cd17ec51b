"""Server-side cursors of psycopg, psycopg2 and asyncpg."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any
from uuid import uuid4

from unspool._optional import require
from unspool.errors import UsageError
from unspool.sources.dbapi import naming
from unspool.sources.queries import (
    AsyncFetch,
    AsyncQueryReader,
    Closing,
    QueryReader,
    aopen_connection,
    column_names,
    open_connection,
    package_of,
)

__all__ = ["AsyncCursor", "Cursor", "psycopg", "unknown"]

# The types (by their OIDs, which are fixed) whose binary values psycopg makes into the same
# Python values as their text, and the name of its own loader of that text.
_SAME_IN_BINARY = {
    16: "BoolLoader",
    17: "ByteaLoader",
    19: "TextLoader",  # name
    20: "IntLoader",
    21: "IntLoader",
    23: "IntLoader",
    25: "TextLoader",
    26: "IntLoader",  # oid
    701: "FloatLoader",  # Not float4: its text has fewer digits.
    1042: "TextLoader",
    1043: "TextLoader",
    1082: "DateLoader",
    1083: "TimeLoader",
    1114: "TimestampLoader",
    1184: "TimestamptzLoader",
    1700: "NumericLoader",
    2950: "UUIDLoader",
}


def unknown(connection: Any, call: str, drivers: str) -> UsageError:
    """What to raise for a connection that no driver known here has made."""
    return UsageError(
        f"postgres.{call} takes a connection or pool of {drivers}, or a function that opens one; "
        f"got {type(connection).__name__} of {package_of(connection)}."
    )


class Cursor(QueryReader):
    """A server-side cursor of psycopg or psycopg2."""

    def __init__(self, connection: Any, sql: Any, parameters: Any) -> None:
        super().__init__()
        self._given = connection
        self._query = (sql,) if parameters is None else (sql, parameters)
        self._interrupt_call: Callable[[], object] | None = None

    def begin(self) -> None:
        """Declares the cursor."""
        connection = open_connection(self.opened, self._given)
        if package_of(connection) == "psycopg":
            self._begin_psycopg(connection)
        elif package_of(connection) == "psycopg2":
            self._begin_psycopg2(connection)
        else:
            raise unknown(connection, "query", "psycopg, asyncpg or psycopg2")

    def _begin_psycopg(self, connection: Any) -> None:
        self._interrupt_call = connection.cancel_safe
        self.opened.enter_context(connection.transaction())
        cursor = connection.cursor(_name(), row_factory=psycopg().rows.tuple_row)
        self.opened.push(Closing(cursor).__exit__)
        cursor.execute(*self._query, binary=True)
        if not _same_in_binary(cursor):
            cursor.execute(*self._query, binary=False)
        self.columns = column_names(cursor)
        self.fetch = cursor.fetchmany

    def _begin_psycopg2(self, connection: Any) -> None:
        self._interrupt_call = connection.cancel
        in_transaction = connection.info.transaction_status != 0
        if not in_transaction:  # It begins with the first statement, if no autocommit is set.
            self.opened.callback(connection.rollback)
        cursor = connection.cursor(_name(), withhold=False)
        self.opened.push(Closing(cursor).__exit__)
        cursor.execute(*self._query)
        self.fetch = naming(self, cursor, cursor.fetchmany)

    def interrupt(self) -> None:
        """Sends a cancel request."""
        if self._interrupt_call is not None:
            self._interrupt_call()


class AsyncCursor(AsyncQueryReader):
    """A server-side cursor of async psycopg or of asyncpg."""

    def __init__(self, connection: Any, sql: Any, parameters: Any) -> None:
        super().__init__()
        self._given = connection
        self._sql = sql
        self._parameters = parameters

    async def begin(self) -> None:
        """Declares the cursor."""
        connection = await aopen_connection(self.opened, self._given)
        if package_of(connection) == "asyncpg":
            self.fetch = await self._begin_asyncpg(connection)
        elif package_of(connection) == "psycopg":
            self.fetch = await self._begin_psycopg(connection)
        else:
            raise unknown(connection, "query", "psycopg, asyncpg or psycopg2")

    async def _begin_psycopg(self, connection: Any) -> AsyncFetch:
        await self.opened.enter_async_context(connection.transaction())
        cursor = connection.cursor(_name(), row_factory=psycopg().rows.tuple_row)
        self.opened.push_async_callback(cursor.close)
        arguments = (self._sql,) if self._parameters is None else (self._sql, self._parameters)
        await cursor.execute(*arguments, binary=True)
        if not _same_in_binary(cursor):
            await cursor.execute(*arguments, binary=False)
        self.columns = column_names(cursor)
        fetch: AsyncFetch = cursor.fetchmany
        return fetch

    async def _begin_asyncpg(self, connection: Any) -> AsyncFetch:
        await self.opened.enter_async_context(connection.transaction())
        statement = await connection.prepare(self._sql)
        self.columns = tuple(attribute.name for attribute in statement.get_attributes())
        cursor = await statement.cursor(*self._parameters or ())

        async def fetch(want: int) -> Sequence[Any]:
            return list(map(tuple, await cursor.fetch(want)))

        return fetch


def _name() -> str:
    """The name of a server-side cursor: no other may have it in the same transaction."""
    return f"unspool_{uuid4().hex}"


def psycopg() -> ModuleType:
    """The package."""
    require("psycopg.generators", extra="postgres")
    return require("psycopg", extra="postgres")


def _same_in_binary(cursor: Any) -> bool:
    """Whether binary values of all columns become the same Python values as text would."""
    text, binary = 0, 1
    loader = cursor.adapters.get_loader
    return all(
        (of_text := loader(column.type_code, text)) is not None
        and of_text.__name__ == _SAME_IN_BINARY.get(column.type_code)
        and of_text.__module__.startswith("psycopg")
        and loader(column.type_code, binary) is not None
        for column in cursor.description or ()
    )
