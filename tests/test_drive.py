import asyncio
import contextvars
import gc
import threading
import time

import pytest
from helpers import Clock, encode, new_pipeline, new_source

from unspool import DeadlineExceeded, RowError, Stream, UsedTwice
from unspool.drive import Chunks, adrive, drive
from unspool.sources.async_rows import AsyncRowSource

ROWS = [(n, f"text {n}", n / 7) for n in range(300)]


def chunks_of(rows, **limits):
    return list(drive(new_pipeline(**limits), new_source(rows)))


def achunks_of(rows, **limits):
    async def arows():
        for row in rows:
            yield row

    async def main():
        source = AsyncRowSource(arows(), contextvars.copy_context())
        return [chunk async for chunk in adrive(new_pipeline(**limits), source)]

    return asyncio.run(main())


@pytest.mark.parametrize("format", ["csv", "json", "ndjson"])
@pytest.mark.parametrize("chunk_bytes", [1, 10, 100, 10**6])
@pytest.mark.parametrize("batch_rows", [1, 2, 7, 512])
def test_the_same_bytes_for_every_batch_and_chunk_size_in_both_drivers(
    format, chunk_bytes, batch_rows
):
    limits = {"format": format, "chunk_bytes": chunk_bytes, "batch_rows": batch_rows}
    expected = encode(ROWS, format)
    assert b"".join(chunks_of(ROWS, **limits)) == expected
    assert b"".join(chunks_of((row for row in ROWS), **limits)) == expected
    assert b"".join(achunks_of(ROWS, **limits)) == expected


class Timed:
    """A source whose pulls take so many seconds by `clock`, and give a row each but the last."""

    def __init__(self, clock, took):
        self.clock, self.took = clock, list(took)

    def pull(self, want, timeout_s):
        self.clock.now += self.took.pop(0)
        return [(1,)] if self.took else None


class AsyncTimed(Timed):
    async def pull(self, want, timeout_s):
        return super().pull(want, timeout_s)


@pytest.mark.parametrize("took", [[6, 0], [0, 6], [3, 3, 0], [0, 3, 3], [6], [0, 0, 5.001]])
def test_a_deadline_that_passes_in_any_pull_is_noticed(took):
    """The first pull and the last one count too."""
    clock = Clock()
    plan = Stream([], "ndjson", deadline_s=5)
    with pytest.raises(DeadlineExceeded, match="the limit is 5 s"):
        list(drive(plan.pipeline(), Timed(clock, took), clock))

    async def main():
        async for _ in adrive(plan.pipeline(), AsyncTimed(clock, took), clock):
            pass

    with pytest.raises(DeadlineExceeded, match="the limit is 5 s"):
        asyncio.run(main())


def test_a_deadline_that_is_just_kept_is_no_failure():
    clock = Clock()
    plan = Stream([], "ndjson", deadline_s=5)
    assert list(drive(plan.pipeline(), Timed(clock, [2, 1, 2]), clock)) == [b"[1]\n", b"[1]\n"]


def test_no_chunk_is_empty():
    assert all(chunks_of(ROWS, chunk_bytes=50))
    assert all(achunks_of(ROWS, chunk_bytes=50))


def test_chunks_have_the_size_asked_for():
    sizes = [len(chunk) for chunk in chunks_of(ROWS, chunk_bytes=1000, flush_after_s=60)]
    assert all(1000 <= size < 2500 for size in sizes[1:-1])


def test_row_n_is_sent_before_row_n_plus_a_batch_is_pulled():
    log = []

    def rows():
        for n in range(60):
            log.append(("pull", n))
            yield (n,)

    source = new_source(rows(), same_thread=True)
    for chunk in drive(new_pipeline("ndjson", chunk_bytes=1, batch_rows=8), source):
        for line in chunk.split():
            log.append(("sent", int(line[1:-1])))
    for n in range(60 - 8):
        assert log.index(("sent", n)) < log.index(("pull", n + 8))


def test_with_a_thread_of_its_own_a_source_is_one_batch_ahead_at_most():
    log = []

    def rows():
        for n in range(200):
            log.append(("pull", n))
            yield (n,)

    for chunk in drive(new_pipeline("ndjson", chunk_bytes=1, batch_rows=8), new_source(rows())):
        for line in chunk.split():
            log.append(("sent", int(line[1:-1])))
        time.sleep(0.002)
    for n in range(200 - 16):
        assert log.index(("sent", n)) < log.index(("pull", n + 16))


@pytest.mark.alone
def test_a_source_stuck_for_a_second_delays_no_byte_by_more_than_100_ms():
    made, sent = {}, {}

    def rows():
        n = 0
        for burst in (1, 40, 3, 1000):
            for _ in range(burst):
                made[n] = time.monotonic()
                yield (n,)
                n += 1
            time.sleep(1)

    for chunk in drive(new_pipeline("ndjson"), new_source(rows())):
        now = time.monotonic()
        for line in chunk.split():
            sent[int(line[1:-1])] = now
    assert len(sent) == len(made) == 1044
    assert max(sent[n] - made[n] for n in made) < 0.1


@pytest.mark.alone
def test_an_async_source_stuck_for_a_second_delays_no_byte_by_more_than_100_ms():
    made, sent = {}, {}

    async def rows():
        n = 0
        for burst in (1, 40, 1000):
            for _ in range(burst):
                made[n] = time.monotonic()
                yield (n,)
                n += 1
            await asyncio.sleep(1)

    async def main():
        source = AsyncRowSource(rows(), contextvars.copy_context())
        async for chunk in adrive(new_pipeline("ndjson"), source):
            now = time.monotonic()
            for line in chunk.split():
                sent[int(line[1:-1])] = now

    asyncio.run(main())
    assert len(sent) == len(made) == 1041
    assert max(sent[n] - made[n] for n in made) < 0.1


def test_time_is_what_the_clock_says():
    clock = Clock()

    class Slow:
        def __init__(self):
            self.rows = iter([[(n,)] for n in range(6)])

        def pull(self, want, timeout_s):
            clock.now += 0.02
            return next(self.rows, None)

    chunks = list(drive(new_pipeline("ndjson"), Slow(), clock))
    assert chunks == [b"[0]\n", b"[1]\n[2]\n[3]\n", b"[4]\n[5]\n"]


@pytest.mark.parametrize("good", [0, 1, 5, 100])
def test_everything_before_a_failure_is_sent_before_it_is_raised(good):
    def rows():
        for n in range(good):
            yield (n,)
        raise LookupError("boom")

    expected = b"".join(b"[%d]\n" % n for n in range(good))
    got = []
    with pytest.raises(LookupError, match="boom"):
        got.extend(iter_into(got, drive(new_pipeline("ndjson"), new_source(rows()))))
    assert b"".join(got) == expected

    async def arows():
        for row in rows():
            yield row

    async def main(got):
        async for chunk in adrive(
            new_pipeline("ndjson"), AsyncRowSource(arows(), contextvars.copy_context())
        ):
            got.append(chunk)

    agot = []
    with pytest.raises(LookupError, match="boom"):
        asyncio.run(main(agot))
    assert b"".join(agot) == expected


def iter_into(got, chunks):
    for chunk in chunks:
        got.append(chunk)
    return []


def test_everything_before_a_bad_row_is_sent_before_it_is_raised():
    rows = [(n, n) for n in range(100)] + [(1,)] + [(n, n) for n in range(100)]
    got = []
    with pytest.raises(RowError, match="row 101: has 1 cells"):
        iter_into(got, drive(new_pipeline("csv"), new_source(rows)))
    assert b"".join(got) == encode(rows[:100])


def new_chunks(rows, log):
    source = new_source(rows)
    steps = drive(new_pipeline("ndjson", chunk_bytes=1), source)
    return Chunks(steps, source, lambda outcome, error: log.append(error or outcome))


def logged(log, count=50, fail=None):
    try:
        for n in range(count):
            if n == fail:
                raise LookupError("boom")
            yield (n,)
    finally:
        log.append("rows closed")


def test_after_the_last_chunk_the_source_is_closed_once():
    log = []
    chunks = new_chunks(logged(log), log)
    list(chunks)
    chunks.close()
    del chunks
    assert log == ["rows closed", "complete"]


def test_a_failure_closes_the_source_and_is_told():
    log = []
    chunks = new_chunks(logged(log, fail=20), log)
    with pytest.raises(LookupError):
        list(chunks)
    chunks.close()
    assert log[0] == "rows closed"
    assert isinstance(log[1], LookupError)
    assert len(log) == 2


@pytest.mark.parametrize("taken", range(12))
def test_closing_after_any_chunk_closes_the_source_once(taken):
    log = []
    chunks = new_chunks(logged(log), log)
    for _ in range(taken):
        next(chunks)
    chunks.close()
    chunks.close()
    assert log == (["rows closed", "disconnect"] if taken else ["disconnect"])
    with pytest.raises(UsedTwice, match="make a new one"):
        list(chunks)


def test_an_abandoned_stream_closes_its_source():
    log = []
    chunks = new_chunks(logged(log), log)
    next(chunks)
    next(chunks)
    del chunks
    gc.collect()
    assert log == ["rows closed", "disconnect"]


def test_no_thread_is_left_behind():
    before = set(threading.enumerate())
    for taken in range(20):
        chunks = new_chunks(logged([]), [])
        for _ in range(taken):
            next(chunks)
        chunks.close()
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def test_prime_makes_the_first_chunk_and_raises_early_failures():
    log = []
    chunks = new_chunks(logged(log), log)
    chunks.prime()
    assert next(chunks) == b"[0]\n"
    chunks.close()
    with pytest.raises(LookupError):
        new_chunks(logged([], fail=0), log).prime()


def test_priming_an_empty_stream_is_fine():
    log = []
    chunks = new_chunks([], log)
    chunks.prime()
    assert list(chunks) == []
    assert log == ["complete"]
