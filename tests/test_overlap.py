"""Columnar batches are encoded ahead: beside what compresses on threads, always on a loop."""

import asyncio
import threading
import time
import zlib
from contextvars import ContextVar

import pyarrow as pa
import pytest

from unspool import RowError, Stream, asgi, kernel, wsgi
from unspool.formats.csv import Csv
from unspool.headers import Asked
from unspool.sources.arrow import ArrowReader

pytestmark = pytest.mark.skipif(not kernel.ACTIVE, reason="the kernel was not built")

user = ContextVar("user", default="nobody")


class Watched:
    """CSV, and what its encoder was asked for, by which thread, as whom."""

    media_type = Csv().media_type
    suffix = ".csv"

    def __init__(self):
        self.batches = 0
        self.sizes = []
        self.threads = set()
        self.ended_by = []
        self.users = set()
        self.more = threading.Condition()

    def encoder(self, columns):
        encoder = Csv().encoder(columns)
        feed = encoder.feed

        def watched(batch):
            self.threads.add(threading.get_ident())
            self.users.add(user.get())
            data = feed(batch)
            with self.more:
                self.batches += len(batch) > 0
                self.sizes.append(len(data))
                self.more.notify_all()
            return data

        end = encoder.end

        def ended():
            self.ended_by.append(threading.get_ident())
            return end()

        encoder.feed, encoder.end = watched, ended
        return encoder

    def wait_for(self, batches):
        """Whether so many batches were encoded in time."""
        with self.more:
            return self.more.wait_for(lambda: self.batches >= batches, timeout=5)


class Reader(ArrowReader):
    """Notes its close, and may fail after so many batches."""

    def __init__(self, table, fails_after=None):
        super().__init__(table)
        self.closed, self.left = 0, fails_after

    def read_batch(self, want):
        if self.left == 0:
            raise LookupError("the query failed")
        if self.left is not None:
            self.left -= 1
        return super().read_batch(want)

    def close(self):
        self.closed += 1
        super().close()


class Opened:
    """A compressed stream on a thread: its chunks, unpacked one by one."""

    def __init__(self, *args, **options):
        plan = Stream(*args, compress=True, **options).asked(Asked("gzip"))
        self.chunks = wsgi.open_chunks(plan, {})
        self.unpack = zlib.decompressobj(31).decompress

    def __iter__(self):
        return self

    def __next__(self):
        return self.unpack(next(self.chunks))

    def close(self):
        self.chunks.close()


def table(rows=200_000):
    return pa.table({"n": pa.array(range(rows), pa.int64()), "text": ["some text"] * rows})


def expected(rows=200_000):
    return b"n,text\r\n" + b"".join(b"%d,some text\r\n" % n for n in range(rows))


def test_the_next_batch_is_encoded_while_the_last_chunk_is_being_sent():
    format = Watched()
    chunks = Opened(table(), format)
    taken = [next(chunks)]
    for number in range(2, 6):
        taken.append(next(chunks))
        assert format.wait_for(number + 1)  # And nobody asks for it meanwhile.
    assert len(format.threads) == 2  # The first batch was made by the caller.
    assert b"".join([*taken, *chunks]) == expected()


def test_no_more_than_two_batches_are_ahead():
    format, sent = Watched(), 0
    chunks = Opened(table(), format)
    for _ in range(20):
        sent += len(next(chunks))
        time.sleep(0.03)
        assert sum(format.sizes) - sent <= sum(sorted(format.sizes)[-2:])
    chunks.close()


def test_rows_are_encoded_by_the_thread_that_sends():
    format = Watched()
    rows = iter([(n, "some text") for n in range(20_000)])
    chunks = Opened(rows, format, columns=["n", "text"])
    assert b"".join(chunks) == expected(20_000)
    assert format.threads == {threading.get_ident()}


def test_what_is_not_compressed_is_encoded_by_the_thread_that_sends():
    format = Watched()
    assert b"".join(wsgi.open_chunks(Stream(table(), format), {})) == expected()
    assert format.threads == {threading.get_ident()}


def test_on_one_thread_all_stays_there():
    format = Watched()
    chunks = Opened(table(), format, same_thread=True)
    assert b"".join(chunks) == expected()
    assert format.threads == {threading.get_ident()}


def test_encoding_happens_in_the_context_of_the_stream():
    format = Watched()
    user.set("ada")
    chunks = Opened(table(), format)
    user.set("nobody")
    assert b"".join(chunks) == expected()
    assert format.users == {"ada"}


@pytest.mark.parametrize("fails_after", [1, 2, 5])
def test_a_failure_comes_after_all_bytes_before_it_and_closes_once(fails_after):
    reader, closed = Reader(table(), fails_after), []
    chunks = Opened(reader, on_close=lambda *how: closed.append(how))
    sent = []
    with pytest.raises(LookupError):
        sent.extend(chunks)
    data = b"".join(sent)
    assert data.endswith(b"\r\n") and expected().startswith(data)
    rows = data.count(b"\n") - 1
    assert [how[:2] for how in closed] == [("error", rows)]
    assert rows >= fails_after
    assert reader.closed == 1


@pytest.mark.parametrize("bad", [0, 1, 2, 9_999, 123_456, 199_999])
def test_a_row_at_fault_is_named_and_those_before_it_are_sent(bad):
    dates = pa.array([0] * bad + [2**31 - 1] + [0] * (199_999 - bad), pa.int32()).view(pa.date32())
    reader = Reader(pa.table({"day": dates}))
    sent = []
    with pytest.raises(RowError) as raised:
        sent.extend(Opened(reader))
    assert (raised.value.row, raised.value.column) == (bad + 1, "day")
    lines = b"".join(sent).split(b"\r\n")
    assert lines == ([b"day", *[b"1970-01-01"] * bad, b""] if bad else [b""])
    assert reader.closed == 1


def test_closing_early_closes_the_source_once():
    for taken in range(5):
        reader = Reader(table())
        chunks = Opened(reader)
        for _ in range(taken):
            next(chunks)
        chunks.close()
        chunks.close()
        assert reader.closed == 1


def test_on_a_loop_workers_encode_ahead_in_order():
    async def run(format):
        user.set("ada")
        chunks = asgi.open_chunks(Stream(table(), format))
        user.set("nobody")
        taken = []
        async for chunk in chunks:
            taken.append(chunk)
            if len(taken) in (2, 3, 4):
                assert await asyncio.to_thread(format.wait_for, len(taken) + 1)
        return b"".join(taken)

    format = Watched()
    assert asyncio.run(run(format)) == expected()
    assert threading.get_ident() not in format.threads
    [ended_by] = format.ended_by
    assert ended_by in format.threads
    assert format.users == {"ada"}


def test_on_a_loop_what_stands_after_the_rows_is_not_sent_if_the_source_fails_at_its_end():
    class Closing(Reader):
        def close(self):
            super().close()
            raise LookupError("the connection was lost")

    async def run():
        sent = []
        with pytest.raises(LookupError):
            async for chunk in asgi.open_chunks(Stream(Closing(table(3)), "json")):
                sent.append(chunk)
        return b"".join(sent)

    sent = asyncio.run(run())
    assert sent.startswith(b"[") and not sent.rstrip().endswith(b"]")


def test_stalled_streams_on_a_loop_hold_no_thread_and_one_batch_ahead():
    async def run(formats):
        streams = [asgi.open_chunks(Stream(table(), format)) for format in formats]
        sent = [0] * len(streams)
        for _ in range(6):
            for number, stream in enumerate(streams):
                sent[number] += len(await anext(stream))
        await asyncio.sleep(0.3)
        # All 32 workers are free, though 60 streams wait for their clients.
        extra = asgi.open_chunks(Stream(table(10)))
        assert await asyncio.wait_for(anext(extra), 10)
        for stream in [extra, *streams]:
            await stream.aclose()
        return sent

    formats = [Watched() for _ in range(60)]
    for sent, format in zip(asyncio.run(run(formats)), formats, strict=True):
        assert sum(format.sizes) - sent <= max(format.sizes)


@pytest.mark.parametrize("fails_after", [1, 2, 5])
def test_on_a_loop_a_failure_comes_after_all_bytes_before_it(fails_after):
    async def run(reader):
        sent = []
        chunks = asgi.open_chunks(Stream(reader))
        with pytest.raises(LookupError):
            async for chunk in chunks:
                sent.append(chunk)
        await chunks.aclose()
        return b"".join(sent)

    reader = Reader(table(), fails_after)
    data = asyncio.run(run(reader))
    assert expected().startswith(data) and data.endswith(b"\r\n")
    assert data.count(b"\n") - 1 >= fails_after
    assert reader.closed == 1


def test_on_a_loop_closing_early_closes_the_source_once():
    async def run(taken):
        reader = Reader(table())
        chunks = asgi.open_chunks(Stream(reader))
        for _ in range(taken):
            await anext(chunks)
        await chunks.aclose()
        await chunks.aclose()
        return reader.closed

    assert [asyncio.run(run(taken)) for taken in range(5)] == [1] * 5


def test_narrow_columns_fill_a_chunk_with_one_batch():
    format = Watched()
    numbers = pa.table({"n": pa.array([7] * 500_000, pa.int8())})
    chunks = list(Opened(numbers, format))
    assert sum(map(len, chunks)) == 3 + 3 * 500_000
    assert format.batches < 2 * len(chunks)
