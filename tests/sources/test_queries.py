"""The life of a query: what is opened, interrupted and closed, and when; what is recognised."""

import threading
import time
from contextlib import contextmanager

import pytest
from sources.reading import AT_ONCE_S, aanswer, answer, until

from unspool import NotIterable
from unspool.sources import dbapi
from unspool.sources.known import is_async, recognised
from unspool.sources.queries import AsyncQueryReader, QueryReader, keeping
from unspool.sources.rows import rows_of


class Slow(QueryReader):
    """Waits in its first fetch until it is interrupted; the first interrupts are lost."""

    columns = ("n",)

    def __init__(self, deaf_for=0):
        super().__init__()
        self.deaf_for = deaf_for
        self.log = []
        self.reading = threading.Event()
        self.interrupted = threading.Event()
        self.opened.push(self.note)

    def note(self, kind, *_):
        self.log.append(kind and kind.__name__)

    def begin(self):
        self.log.append("begin")

    def fetch(self, want):
        self.reading.set()
        assert self.interrupted.wait(5)
        raise InterruptedError("the query was cancelled")

    def interrupt(self):
        self.log.append("interrupt")
        if self.deaf_for:
            self.deaf_for -= 1
            raise OSError("not now")
        self.interrupted.set()


@pytest.mark.alone
@pytest.mark.parametrize("deaf_for", [0, 3])
def test_an_interrupt_is_repeated_until_the_read_has_come_back(deaf_for):
    reader = Slow(deaf_for)
    failures = []

    def read():
        try:
            reader.read_batch(1)
        except InterruptedError as error:
            failures.append(error)
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    reader.reading.wait(5)
    started = time.monotonic()
    reader.cancel()
    assert time.monotonic() - started < 0.05  # It does not wait for the database.
    thread.join(5)
    assert len(failures) == 1
    assert reader.log == ["begin", *["interrupt"] * (deaf_for + 1), "InterruptedError"]


def test_after_a_cancel_nothing_is_begun():
    reader = Slow()
    reader.cancel()
    assert not reader.read_batch(1)
    reader.close()
    assert reader.log == ["GeneratorExit"]


class Given(QueryReader):
    """Three rows."""

    columns = ("n",)

    def __init__(self):
        super().__init__()
        self.fetch = keeping([(1,), (2,), (3,)])
        self.ends = []
        self.opened.push(lambda kind, *_: self.ends.append(kind and kind.__name__))

    def begin(self):
        pass


def test_what_was_opened_is_told_whether_all_rows_were_read():
    reader = Given()
    assert [list(reader.read_batch(2)) for _ in range(3)] == [[(1,), (2,)], [(3,)], []]
    reader.close()
    assert reader.ends == [None]
    reader = Given()
    reader.read_batch(2)
    reader.close()
    assert reader.ends == ["GeneratorExit"]


def test_rows_before_a_failure_are_kept():
    def rows():
        yield 1
        yield 2
        raise LookupError("boom")

    fetch = keeping(rows())
    assert fetch(1) == [1]
    assert fetch(5) == [2]
    for _ in range(2):
        with pytest.raises(LookupError):
            fetch(5)


class Cursor:
    """A cursor of PEP 249 of a driver that nobody here knows."""

    description = None
    closed = 0

    def __init__(self, connection=None):
        self.connection = connection

    def execute(self, sql, parameters=()):
        self.description = [("n", None)]
        self.left = [(n,) for n in range(int(sql))]

    def fetchmany(self, size):
        batch, self.left = self.left[:size], self.left[size:]
        return batch

    def close(self):
        self.closed += 1


class Connection:
    closed = 0

    def cursor(self):
        self.last = Cursor(self)
        return self.last

    def close(self):
        self.closed += 1


def test_any_driver_that_keeps_to_the_standard():
    connection = Connection()
    assert answer(dbapi.query(connection, "3")) == b"n\r\n0\r\n1\r\n2\r\n"
    assert (connection.last.closed, connection.closed) == (1, 0)


def test_any_cursor():
    cursor = Cursor()
    cursor.execute("3000")
    assert answer(cursor).count(b"\n") == 3001
    assert cursor.closed == 1


def test_a_cursor_is_closed_also_if_its_stream_never_starts():
    cursor = Cursor()
    rows_of(cursor).close()
    assert cursor.closed == 1


class AsyncCursor(Cursor):
    async def fetchmany(self, size):
        return super().fetchmany(size)

    async def close(self):
        super().close()


def test_any_awaited_cursor():
    import asyncio

    cursor = AsyncCursor()
    cursor.execute("3000")
    assert is_async(cursor)
    assert asyncio.run(aanswer(cursor)).count(b"\n") == 3001
    assert cursor.closed == 1


def test_an_awaited_cursor_needs_a_loop():
    cursor = AsyncCursor()
    cursor.execute("1")
    with pytest.raises(NotIterable, match="asynchronous"):
        rows_of(cursor)


def test_functions_and_pools_stand_for_connections():
    made = []

    def connect():
        made.append(Connection())
        return made[-1]

    @contextmanager
    def lend():
        yield connect()
        made.append("given back")

    class Pool:
        def getconn(self):
            return connect()

        def putconn(self, connection):
            made.append("put back")

    answer(dbapi.query(connect, "1"))
    assert made[0].closed == 1
    made.clear()
    answer(dbapi.query(lend, "1"))
    assert made[0].closed == 0
    assert made[1] == "given back"
    made.clear()
    answer(dbapi.query(Pool(), "1"))
    assert made[1] == "put back"


def test_what_no_library_made_stays_as_it_is():
    for source in ([1], iter(()), {"a": 1}, (n for n in ()), Connection()):
        assert recognised(source) is source


def test_an_awaited_query_is_told_of_its_failure():
    class Failing(AsyncQueryReader):
        async def begin(self):
            raise LookupError("boom")

    import asyncio

    ends = []

    async def run():
        reader = Failing()

        async def note(kind, *_):
            ends.append(kind.__name__)

        reader.opened.push_async_exit(note)
        with pytest.raises(LookupError):
            await reader.read_batch(1)
        await reader.aclose()

    asyncio.run(run())
    assert ends == ["LookupError"]


def test_a_cancel_from_the_loop_does_not_hold_it_up():
    import asyncio

    from sources.reading import aleave

    reader = Slow(deaf_for=2)
    sent, took_s = asyncio.run(aleave(reader, 0.1))
    assert sent == b""
    assert took_s < AT_ONCE_S
    until(lambda: reader.log[-1:] == ["InterruptedError"])
