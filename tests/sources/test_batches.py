"""Readers of batches: cursors and their kin, on every driver."""

import asyncio
import threading
import time
from contextvars import copy_context

import pytest
from helpers import new_source

from unspool import RowError, Stream, asgi, wsgi
from unspool.sources.async_rows import AsyncRowSource
from unspool.sources.batches import AsyncBatchRows, BatchRows, Records
from unspool.sources.pooled import PooledSource
from unspool.sources.rows import Puller, rows_of
from unspool.sources.workers import Lane, Workers


class Reader:
    """`rows` rows of two columns; notes what is asked of it."""

    columns = ("id", "name")

    def __init__(self, rows, fails_at=None, seconds=0.0):
        self.left = [(n, f"name {n}") for n in range(rows)]
        self.fails_at = fails_at
        self.seconds = seconds
        self.log = []
        self.threads = set()

    def read_batch(self, want):
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        self.log.append(want)
        if self.fails_at is not None and not self.left[self.fails_at :]:
            raise LookupError("the query failed")
        batch, self.left = self.left[:want], self.left[want:]
        return Records(batch, self.columns)

    def cancel(self):
        self.log.append("cancel")

    def close(self):
        self.log.append("close")


def answer(rows, format="csv", **options):
    environ = {"REQUEST_METHOD": "GET", "wsgi.multithread": True}
    body = wsgi.stream(rows, format, **options)(environ, lambda status, headers: None)
    try:
        return b"".join(body)
    finally:
        body.close()


def test_the_names_of_the_columns_come_from_the_reader():
    assert answer(Reader(2)) == b"id,name\r\n0,name 0\r\n1,name 1\r\n"
    assert answer(Reader(1), "ndjson") == b'{"id":0,"name":"name 0"}\n'


def test_no_rows_make_a_header_alone():
    assert answer(Reader(0)) == b"id,name\r\n"
    assert answer(Reader(0), "json") == b"[\n]\n"


def test_chosen_columns_come_before_the_readers():
    assert answer(Reader(1), columns=["a", "b"]) == b"a,b\r\n0,name 0\r\n"


@pytest.mark.parametrize("rows", [1, 2, 9, 10, 5000])
def test_every_row_comes_once_and_in_order(rows):
    lines = answer(Reader(rows)).decode().splitlines()
    assert lines == ["id,name", *(f"{n},name {n}" for n in range(rows))]


def test_the_first_batch_has_one_row_and_the_next_ones_more():
    reader = Reader(5000)
    answer(reader)
    wants = [want for want in reader.log if isinstance(want, int)]
    assert wants[0] == 1
    assert 500 < max(wants) <= 1024


def test_a_slow_reader_is_asked_for_fewer_rows():
    reader = Reader(40, seconds=0.02)
    answer(reader)
    assert max(want for want in reader.log if isinstance(want, int)) == 1


def test_the_reader_is_closed_once_after_the_last_row_and_on_failure():
    for reader in (Reader(3), Reader(3, fails_at=2)):
        try:
            answer(reader)
        except LookupError:
            assert reader.fails_at
        assert reader.log.count("close") == 1


def test_a_failure_comes_after_the_rows_before_it():
    sent = []
    body = wsgi.stream(Reader(20, fails_at=2))(
        {"REQUEST_METHOD": "GET"}, lambda status, headers: None
    )
    with pytest.raises(LookupError):
        sent.extend(body)
    assert b"".join(sent).startswith(b"id,name\r\n0,name 0\r\n1,name 1\r\n")


def test_a_row_that_cannot_be_sent_keeps_the_rows_and_names_before_it():
    class Bad(Reader):
        def read_batch(self, want):
            batch = super().read_batch(4)
            return Records([*batch[:2], (2, b"bytes"), *batch[3:]], self.columns)

    sent = []
    with pytest.raises(RowError, match="row 3, column 'name'"):
        chunks = wsgi.open_chunks(Stream(Bad(4)), {})
        sent.extend(chunks)
    assert b"".join(sent) == b"id,name\r\n0,name 0\r\n1,name 1\r\n"


def test_closing_early_cancels_a_read_on_another_thread():
    reader = Reader(100_000)
    chunks = wsgi.open_chunks(Stream(reader), {})
    next(chunks)
    next(chunks)
    chunks.close()
    assert reader.log[-1] == "close"
    assert "cancel" in reader.log
    assert len(reader.threads) == 2  # The first row here, the others on a thread of their own.


def test_a_reader_that_says_so_stays_on_its_thread():
    reader = Reader(3000)
    reader.thread_bound = True
    answer(reader)
    assert reader.threads == {threading.get_ident()}


def test_peeking_keeps_the_row():
    source = new_source(Reader(2))
    source.peek()
    assert list(source.pull(5, 0.1)) == [(0, "name 0")]
    source.close(lambda: None)


def test_it_is_iterated_by_its_batches():
    rows = rows_of(Reader(3))
    assert isinstance(rows, BatchRows)
    rows.want = 2
    assert [list(batch) for batch in rows] == [[(0, "name 0")], [(1, "name 1"), (2, "name 2")]]


def test_on_a_loop_threads_read_and_close_it():
    async def run():
        reader = Reader(3000)
        source = PooledSource(Puller(rows_of(reader), copy_context()), Lane(Workers(2)))
        rows = []
        while (batch := await source.pull(100, 1.0)) is not None:
            rows.extend(batch)
        await source.aclose(lambda: None)
        return reader, rows

    reader, rows = asyncio.run(run())
    assert rows == [(n, f"name {n}") for n in range(3000)]
    assert reader.log.count("close") == 1
    assert threading.get_ident() not in reader.threads


class AsyncReader(Reader):
    async def read_batch(self, want):
        await asyncio.sleep(0)
        return super().read_batch(want)

    async def aclose(self):
        self.close()


def test_an_awaited_reader_is_read_by_a_task():
    async def run(reader):
        source = AsyncRowSource(AsyncBatchRows(reader), copy_context())
        rows, columns = [], set()
        while (batch := await source.pull(100, 1.0)) is not None:
            rows.extend(batch)
            columns.add(batch.columns)
        await source.aclose()
        return rows, columns

    reader = AsyncReader(3000)
    assert asyncio.run(run(reader)) == ([(n, f"name {n}") for n in range(3000)], {("id", "name")})
    assert reader.log.count("close") == 1


def test_an_awaited_reader_goes_out_over_asgi():
    async def run():
        chunks = asgi.open_chunks(Stream(AsyncBatchRows(AsyncReader(0))))
        try:
            return b"".join([chunk async for chunk in chunks])
        finally:
            await chunks.aclose()

    assert asyncio.run(run()) == b"id,name\r\n"


def test_records_keep_their_names_when_they_are_cut():
    records = Records([(1,), (2,)], ["n"])
    assert records[:1] == [(1,)]
    assert records[:1].columns == ("n",)
    assert records[1] == (2,)
