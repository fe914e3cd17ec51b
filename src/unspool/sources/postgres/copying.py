"""`COPY (query) TO STDOUT`: the CSV that PostgreSQL writes, as it comes from the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from unspool.coalesce import CHUNK_BYTES
from unspool.errors import UsageError
from unspool.formats.csv import Csv
from unspool.formats.text import TextEncoder
from unspool.sources.batches import AsyncBatchRows
from unspool.sources.postgres.cursors import psycopg, unknown
from unspool.sources.queries import (
    AsyncFetch,
    AsyncQueryReader,
    QueryReader,
    aopen_connection,
    is_async_connection,
    open_connection,
    package_of,
)
from unspool.types import Format

__all__ = ["AsyncCopy", "AsyncCopyRows", "Copy"]

# Pieces of this size leave as chunks, uncopied; more would only wait.
_PIECE_BYTES = CHUNK_BYTES

# PostgreSQL sends 8 KiB at a time, and each piece costs a change of threads: one waits so long
# for more, but the first, which leaves at once.
_FILL_S = 0.005


@dataclass(frozen=True)
class _PostgresCsv:
    """CSV that is written already: the bytes go out as they are."""

    bom: bool

    media_type = "text/csv; charset=utf-8"
    suffix = ".csv"

    def encoder(self, columns: Sequence[str] | None) -> TextEncoder:
        if columns is not None:
            raise UsageError(
                f"postgres.copy writes the names that the query has; got columns="
                f"{list(columns)!r}. Name the columns in SQL: SELECT … AS name."
            )
        return _Bytes(self.bom)


class _Bytes(TextEncoder):
    def __init__(self, bom: bool) -> None:  # noqa: FBT001
        self._bom = bom

    def begin(self) -> bytes:
        return "\ufeff".encode() if self._bom else b""


class _CopyQuery:
    """`COPY (sql) TO STDOUT`, in the dialect that is asked for."""

    def __init__(self, sql: Any, parameters: Any) -> None:
        self.sql = sql
        self.parameters = parameters
        self.dialect = Csv()

    def encoded_as(self, format: Format) -> Format:
        """The format of the bytes, where `format` was asked for.

        Raises:
            UsageError: PostgreSQL does not write it.
        """
        if not isinstance(format, Csv):
            raise UsageError(
                f"postgres.copy gives CSV; got format={format!r}. For other formats use "
                "postgres.query."
            )
        wrong = [
            name
            for name, value in (
                ("formula_guard", format.formula_guard),
                ("end_mark", format.end_mark),
                ("quoting", format.quoting == "nonnumeric"),
            )
            if value
        ]
        if wrong:
            raise UsageError(
                f"PostgreSQL cannot write CSV with {wrong[0]}={getattr(format, wrong[0])!r}. Use "
                "postgres.query, or leave it out."
            )
        self.dialect = format
        return _PostgresCsv(format.bom)

    def options(self) -> dict[str, Any]:
        """The options of COPY that are not the default."""
        options: dict[str, Any] = {"header": self.dialect.header}
        if self.dialect.delimiter != ",":
            options["delimiter"] = self.dialect.delimiter
        if self.dialect.null:
            options["null"] = self.dialect.null
        if self.dialect.quoting == "all":
            options["force_quote"] = True
        return options

    def statement(self, connection: Any) -> bytes:
        """The statement for psycopg, with the parameters in it: COPY takes none."""
        sql = psycopg().sql
        query = self.sql if isinstance(self.sql, sql.Composable) else sql.SQL(self.sql)
        parts = [sql.SQL("FORMAT csv"), sql.SQL("ENCODING 'UTF8'")]
        for name, value in self.options().items():
            literal = sql.SQL("*") if name == "force_quote" else sql.Literal(value)
            parts.append(sql.SQL(name.upper() + " {}").format(literal))
        whole = sql.SQL("COPY ({}\n) TO STDOUT ({})").format(query, sql.SQL(", ").join(parts))
        if self.parameters is None:
            return whole.as_bytes(connection)  # type: ignore[no-any-return]
        return self._filled(connection, whole)

    def _filled(self, connection: Any, whole: Any) -> bytes:
        driver = psycopg()
        kind = driver.AsyncClientCursor if is_async_connection(connection) else driver.ClientCursor
        text: str = kind(connection).mogrify(whole, self.parameters)
        return text.encode(connection.info.encoding)


class _Libpq:
    """One COPY on a libpq connection, as generators that psycopg's `Connection.wait` runs.

    (psycopg's own `Copy` makes a call for every row, which costs as much again as the rows.)
    """

    def __init__(self, pgconn: Any) -> None:
        driver = psycopg()
        self._pgconn = pgconn
        self._execute = driver.generators.execute
        self._readable = driver.waiting.Wait.R
        self._error = driver.errors.error_from_result
        self._status = driver.pq.ExecStatus
        self._rows_over = False
        self._fill_s = 0.0
        self.active = False

    def start(self, statement: bytes) -> Generator[Any, Any, None]:
        """Sends the statement, and waits until the data are about to come."""
        self._pgconn.send_query(statement)
        self.active = True
        yield from self._result(self._status.COPY_OUT)
        self.active = True

    def piece(self) -> Generator[Any, Any, bytes]:
        """What comes in 5 ms, up to 120 KiB; waits for the first row; nothing after the last.

        To be run with an interval of that time.
        """
        piece, tried, until = bytearray(), False, 0.0
        while len(piece) < _PIECE_BYTES and not self._rows_over:
            if self._take(piece):
                tried = False
                until = until or monotonic() + self._fill_s
            elif piece:
                if tried or monotonic() >= until or not (yield self._readable):
                    break
                tried = True
                with suppress(Exception):  # It will be raised again, when these are sent.
                    self._pgconn.consume_input()
            elif not self._rows_over:
                while not (yield self._readable):
                    pass
                self._pgconn.consume_input()
        self._fill_s = _FILL_S
        if not piece and self.active:
            yield from self._result(self._status.COMMAND_OK)
        return bytes(piece)

    def _take(self, piece: bytearray) -> bool:
        """Adds the rows that libpq has; False if it has none. Here each step is for one row."""
        get, had, length = self._pgconn.get_copy_data, len(piece), 1
        while length > 0 and len(piece) < _PIECE_BYTES:
            length, data = get(1)
            piece += data
        self._rows_over = length < 0
        return len(piece) > had

    def drain(self) -> Generator[Any, Any, None]:
        """Reads on to the end of a COPY that was cancelled."""
        while self.active:
            yield from self.piece()

    def _result(self, expected: Any) -> Generator[Any, Any, None]:
        results = yield from self._execute(self._pgconn)
        self.active = False
        if results[-1].status != expected:
            raise self._error(results[-1])


class Copy(QueryReader):
    """COPY by psycopg."""

    def __init__(self, connection: Any, sql: Any, parameters: Any) -> None:
        super().__init__()
        self._given = connection
        self._query = _CopyQuery(sql, parameters)
        self.encoded_as = self._query.encoded_as
        self._interrupt_call: Callable[[], object] | None = None

    def begin(self) -> None:
        """Starts the COPY."""
        connection = open_connection(self.opened, self._given)
        if package_of(connection) != "psycopg":
            raise unknown(connection, "copy", "psycopg or asyncpg")
        self._interrupt_call = connection.cancel_safe
        self.opened.enter_context(connection.transaction())
        self.opened.enter_context(connection.lock)
        libpq = _Libpq(connection.pgconn)
        self.opened.callback(_end, connection, libpq)
        connection.wait(libpq.start(self._query.statement(connection)))

        def fetch(_: int) -> list[bytes]:
            piece = connection.wait(libpq.piece(), _FILL_S)
            return [piece] if piece else []

        self.fetch = fetch

    def interrupt(self) -> None:
        """Sends a cancel request."""
        if self._interrupt_call is not None:
            self._interrupt_call()


def _end(connection: Any, libpq: _Libpq) -> None:
    """Ends a COPY that is under way."""
    if libpq.active:
        with suppress(Exception):  # That it was cancelled, or that the connection is lost.
            connection.cancel_safe()
            connection.wait(libpq.drain())


class AsyncCopy(AsyncQueryReader):
    """COPY by async psycopg or by asyncpg."""

    def __init__(self, connection: Any, sql: Any, parameters: Any) -> None:
        super().__init__()
        self._given = connection
        self.query = _CopyQuery(sql, parameters)

    async def begin(self) -> None:
        """Starts the COPY."""
        connection = await aopen_connection(self.opened, self._given)
        if package_of(connection) == "asyncpg":
            self.fetch = await self._begin_asyncpg(connection)
        elif package_of(connection) == "psycopg":
            self.fetch = await self._begin_psycopg(connection)
        else:
            raise unknown(connection, "copy", "psycopg or asyncpg")

    async def _begin_psycopg(self, connection: Any) -> AsyncFetch:
        await self.opened.enter_async_context(connection.transaction())
        await self.opened.enter_async_context(connection.lock)
        libpq = _Libpq(connection.pgconn)
        self.opened.push_async_callback(_aend, connection, libpq)
        await connection.wait(libpq.start(self.query.statement(connection)))

        async def fetch(_: int) -> list[bytes]:
            piece = await connection.wait(libpq.piece(), _FILL_S)
            return [piece] if piece else []

        return fetch

    async def _begin_asyncpg(self, connection: Any) -> AsyncFetch:
        # Its end waits until a COPY that was cancelled is over.
        await self.opened.enter_async_context(connection.transaction())
        pushed = _Pushed()
        arguments = self.query.parameters or ()
        options = {"encoding": "utf-8", **self.query.options()}
        copying = connection.copy_from_query(
            f"{self.query.sql}\n", *arguments, output=pushed.put, format="csv", **options
        )
        self.opened.push_async_callback(pushed.end)
        pushed.start(copying)
        return pushed.fetch


async def _aend(connection: Any, libpq: _Libpq) -> None:
    if libpq.active:
        with suppress(Exception):
            await connection.cancel_safe()
            await connection.wait(libpq.drain())


class _Pushed:
    """What asyncpg pushes, to be pulled. Holds 120 KiB and one piece of asyncpg's."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()
        self._task: asyncio.Future[Any] | None = None

    def start(self, copying: Awaitable[Any]) -> None:
        self._task = asyncio.ensure_future(copying)
        self._task.add_done_callback(lambda _: self._filled.set())

    async def put(self, piece: bytes) -> None:
        """Takes a piece, and makes asyncpg wait if there are enough."""
        self._pieces.append(piece)
        self._size += len(piece)
        self._filled.set()
        while self._size >= _PIECE_BYTES:
            self._taken.clear()
            await self._taken.wait()

    async def fetch(self, want: int) -> list[bytes]:
        """What is there, as one piece; waits for the first; nothing after the last."""
        await self._filled.wait()
        if not self._pieces and self._task is not None:
            await self._task  # Over: raises what was wrong.
            return []
        piece = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._task is not None and not self._task.done():
            self._filled.clear()
        self._taken.set()
        return [piece]

    async def end(self) -> None:
        """Stops asyncpg, which cancels the COPY."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


class AsyncCopyRows(AsyncBatchRows):
    """The pieces of an awaited COPY."""

    def __init__(self, reader: AsyncCopy) -> None:
        super().__init__(reader)
        self.encoded_as = reader.query.encoded_as
