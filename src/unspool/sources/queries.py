"""The life of a query as a source: begun by the first read, read, interrupted, closed once.

Every module here that reads from a database says three things: how its query begins, how some
rows are fetched, and how another thread makes a call that waits for the database come back. The
rest is the same everywhere and stands here.

A connection is given as the connection itself, which stays open; as a pool, from which one is
taken when the query begins and given back when it is closed; or as a function that opens one,
which is closed (and not committed) when the query is.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from inspect import iscoroutinefunction
from itertools import islice
from types import TracebackType
from typing import Any, cast

from unspool.sources.batches import Records
from unspool.types import Batch, is_columnar

__all__ = [
    "AsyncQueryReader",
    "Closing",
    "QueryReader",
    "aopen_connection",
    "column_names",
    "is_async_connection",
    "keeping",
    "open_connection",
    "package_of",
]

# An interrupt that comes before the database has begun to work is lost: it is repeated.
_REPEAT_AFTER_S = 0.05

Fetch = Callable[[int], Sequence[Any]]
AsyncFetch = Callable[[int], Awaitable[Sequence[Any]]]


class QueryReader:
    """A `BatchReader` of one query. `begin`, `fetch` and `interrupt` are the subclass's part.

    What `begin` puts into `opened` is closed by `close`, last first. If not all rows were read,
    it is told of the failure, or of GeneratorExit, as a generator would be: transactions are
    rolled back.
    """

    columns: Sequence[str] | None = None
    thread_bound = False
    fetch: Fetch
    """Some rows, as a method or as what `begin` found in the cursor."""

    def __init__(self) -> None:
        self.opened = ExitStack()
        self._unfinished: BaseException | None = GeneratorExit()
        self._begun = False
        self._state = threading.Condition()
        self._busy = False
        self._stopped = False
        self._interrupting: threading.Thread | None = None

    def begin(self) -> None:
        """Sends the query; finds `columns` and `fetch`."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Makes a call that waits for the database, on another thread, come back."""

    def read_batch(self, want: int) -> Batch:
        """Some `want` rows; none after the last, or after `cancel`."""
        if not self._enter():
            return ()
        try:
            if not self._begun:
                self._begun = True
                self.begin()
            rows = self.fetch(want) if not self._stopped else ()
        except BaseException as error:
            self._unfinished = error
            raise
        finally:
            self._leave()
        if not rows and not self._stopped:
            self._unfinished = None
        return rows if is_columnar(rows) else Records(rows, self.columns)

    def cancel(self) -> None:
        """Interrupts a read that is under way on another thread, and prevents further ones.

        Returns at once: a thread of its own interrupts until the read has come back.
        """
        with self._state:
            self._stopped = True
            if self._busy and self._interrupting is None:
                self._interrupting = threading.Thread(
                    target=self._interrupt, name="unspool-cancel", daemon=True
                )
                self._interrupting.start()

    def close(self) -> None:
        """Closes what `begin` opened.

        No interrupt is under way after it: the connection is the next user's.
        """
        if self._interrupting is not None:
            self._interrupting.join()
        self.opened.__exit__(*_exit_arguments(self._unfinished))

    def _enter(self) -> bool:
        with self._state:
            self._busy = not self._stopped
            return self._busy

    def _leave(self) -> None:
        with self._state:
            self._busy = False
            self._state.notify_all()

    def _interrupt(self) -> None:
        with self._state:
            while self._busy:
                self._state.release()
                try:
                    with suppress(Exception):  # It is gone already, or cannot be reached.
                        self.interrupt()
                finally:
                    self._state.acquire()
                self._state.wait_for(lambda: not self._busy, _REPEAT_AFTER_S)


class AsyncQueryReader:
    """The same, awaited. A read is interrupted by cancelling the task that awaits it."""

    columns: Sequence[str] | None = None
    fetch: AsyncFetch

    def __init__(self) -> None:
        self.opened = AsyncExitStack()
        self._unfinished: BaseException | None = GeneratorExit()
        self._begun = False

    async def begin(self) -> None:
        """Sends the query; finds `columns` and `fetch`."""
        raise NotImplementedError

    async def read_batch(self, want: int) -> Batch:
        """Some `want` rows; none after the last."""
        try:
            if not self._begun:
                self._begun = True
                await self.begin()
            rows = await self.fetch(want)
        except BaseException as error:
            self._unfinished = error
            raise
        if not rows:
            self._unfinished = None
        return Records(rows, self.columns)

    async def aclose(self) -> None:
        """Closes what `begin` opened."""
        await self.opened.__aexit__(*_exit_arguments(self._unfinished))


def _exit_arguments(error: BaseException | None) -> tuple[Any, Any, Any]:
    """What context managers are told: of nothing, of a failure, or of an early close."""
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)


class Closing:
    """Closes a cursor on leaving. After a failure, that it cannot be closed is no news."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        try:
            self._cursor.close()
        except Exception:
            if kind is None:
                raise


def keeping(rows: Iterable[Any]) -> Fetch:
    """Fetches from an iterator; where that fails, the rows before come first.

    (`fetchmany` of most drivers loses them.)
    """
    iterator: Iterator[Any] = iter(rows)
    failure: list[Exception] = []

    def fetch(want: int) -> list[Any]:
        if failure:
            raise failure[0]
        batch: list[Any] = []
        try:
            batch.extend(islice(iterator, want))
        except Exception as error:
            if not batch:
                raise
            failure.append(error)
        return batch

    return fetch


def column_names(cursor: Any) -> tuple[str, ...]:
    """The names in a cursor's description (PEP 249); none, if it has no result."""
    return tuple(column[0] for column in cursor.description or ())


def package_of(thing: object) -> str:
    """The name of the package that made a thing's class."""
    return thing.__class__.__module__.partition(".")[0]  # A weak proxy's, too.


def is_async_connection(given: Any) -> bool:
    """Whether what stands for a connection is to be awaited."""
    if hasattr(given, "getconn"):
        return iscoroutinefunction(given.getconn)
    if hasattr(given, "acquire") and not hasattr(given, "cursor"):
        return True
    if _is_function(given):
        return iscoroutinefunction(getattr(given, "func", given))
    return iscoroutinefunction(getattr(given, "execute", None))


def open_connection(opened: ExitStack, given: Any) -> Any:
    """The connection for which `given` stands; `opened` gives back what is opened for it."""
    if hasattr(given, "getconn"):
        if hasattr(given, "connection"):
            return opened.enter_context(given.connection())
        connection = given.getconn()
        opened.callback(given.putconn, connection)
        return connection
    if not _is_function(given):
        return given
    made = given()
    if not hasattr(made, "cursor"):
        return opened.enter_context(made)
    opened.callback(made.close)
    return made


async def aopen_connection(opened: AsyncExitStack, given: Any) -> Any:
    """The same for connections that are awaited."""
    if hasattr(given, "getconn"):
        return await opened.enter_async_context(given.connection())
    if hasattr(given, "acquire") and not hasattr(given, "cursor"):
        return await opened.enter_async_context(given.acquire())
    if not _is_function(given):
        return given
    connection = await cast(Awaitable[Any], given())
    opened.push_async_callback(connection.close)
    return connection


def _is_function(given: Any) -> bool:
    # A sqlite3 connection can be called, too.
    return callable(given) and not hasattr(given, "cursor")
