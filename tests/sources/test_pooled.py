import asyncio
import contextvars
import gc
import random
import sqlite3
import threading
import time

import pytest

from unspool.sources import pooled
from unspool.sources.pooled import PooledSource
from unspool.sources.rows import Puller
from unspool.sources.workers import Lane, Workers

LOOPS = ["asyncio"]
try:
    import uvloop

    LOOPS.append("uvloop")
except ImportError:
    pass

NUMBERS = (
    "with recursive n(i) as (select 1 union all select i+1 from n where i<2000) select i from n"
)


@pytest.fixture(params=LOOPS)
def run(request):
    def run(coroutine):
        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(asyncio.wait_for(coroutine, 30))

    return run


def new_source(rows, context=None, lane=None, **options):
    puller = Puller(iter(rows), context or contextvars.copy_context())
    return PooledSource(puller, lane or Lane(Workers(2)), **options)


async def drain(source, want=7, timeout_s=1.0):
    rows = []
    while (batch := await source.pull(want, timeout_s)) is not None:
        rows.extend(batch)
    return rows


async def close(source):
    done = []
    await source.aclose(lambda: done.append(threading.current_thread()))
    return done


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 6, 7, 8, 500])
def test_every_row_comes_once_and_in_order(run, count, started):
    async def main():
        lane = Lane(Workers(1))
        source = new_source(iter(range(count)), lane=lane)
        if started:
            await asyncio.wrap_future(lane.submit(source.start))
        assert await drain(source) == list(range(count))
        assert await source.pull(1, 0.01) is None
        assert len(await close(source)) == 1

    run(main())


@pytest.mark.parametrize("trial", range(10))
def test_a_source_with_random_pauses_loses_and_repeats_nothing(run, trial):
    rng = random.Random(trial)

    def rows():
        for n in range(300):
            if rng.random() < 0.05:
                time.sleep(rng.random() * 0.01)
            yield n

    async def main():
        source = new_source(rows())
        got = []
        while (batch := await source.pull(rng.randint(1, 40), rng.random() * 0.005)) is not None:
            got.extend(batch)
        assert got == list(range(300))
        await close(source)

    run(main())


def test_batches_are_never_larger_than_wanted(run):
    async def main():
        source = new_source(range(100))
        sizes = []
        while (batch := await source.pull(5, 1)) is not None:
            sizes.append(len(batch))
        assert max(sizes) == 5
        await close(source)

    run(main())


@pytest.mark.parametrize("started", [True, False])
def test_rows_before_a_stuck_one_are_given_after_the_time_out(run, started):
    stuck = threading.Event()

    def rows():
        yield from range(5)
        stuck.wait(30)
        yield 5

    async def main():
        lane = Lane(Workers(1))
        source = new_source(rows(), lane=lane)
        if started:
            await asyncio.wrap_future(lane.submit(source.start))
        assert list(await source.pull(1, 0.05)) == [0]
        got = []
        while len(got) < 4:
            got += await source.pull(100, 0.05)
        assert got == [1, 2, 3, 4]
        assert list(await source.pull(100, 0.05)) == []
        stuck.set()
        assert await drain(source) == [5]
        await close(source)

    run(main())


@pytest.mark.parametrize("good", [0, 1, 2, 5, 30])
def test_a_failure_comes_after_the_rows_before_it(run, good):
    def rows():
        yield from range(good)
        raise LookupError("boom")

    async def main():
        source = new_source(rows())
        got = []
        with pytest.raises(LookupError, match="boom"):
            while True:
                got.extend(await source.pull(4, 1))
        assert got == list(range(good))
        assert len(await close(source)) == 1

    run(main())


def test_a_failure_of_the_first_row_closes_the_rows_where_it_is_made():
    log = []

    def rows():
        try:
            raise LookupError("boom")
            yield
        finally:
            log.append(threading.current_thread())

    source = new_source(rows())
    with pytest.raises(LookupError):
        source.start()
    assert log == [threading.current_thread()]


@pytest.mark.parametrize("pulled", [0, 1, 3])
def test_closing_early_closes_the_rows_and_then_calls_then_once(run, pulled):
    async def main():
        log = []

        def rows():
            try:
                yield from range(100)
            finally:
                log.append("rows closed")

        source = new_source(rows())
        for _ in range(pulled):
            await source.pull(1, 1)
        await source.aclose(lambda: log.append("then"))
        assert log == ["rows closed", "then"][not pulled :]

    run(main())


def test_a_stuck_source_is_not_waited_for_long_and_closed_when_it_is_free(run, monkeypatch):
    monkeypatch.undo()  # The wait of a close is as it is for users.
    stuck = threading.Event()

    async def main():
        log = []

        def rows():
            try:
                yield 0
                stuck.wait(10)
                yield 1
                log.append("went on")
            finally:
                log.append("rows closed")

        source = new_source(rows())
        await source.pull(1, 1)
        await source.pull(100, 0.05)
        before = time.monotonic()
        await source.aclose(lambda: log.append("then"))
        assert time.monotonic() - before < 5
        assert log == []
        stuck.set()
        await until(lambda: len(log) == 2)
        assert log == ["rows closed", "then"]

    run(main())


def test_a_slow_source_makes_no_more_rows_after_the_close(run):
    async def main():
        made = []

        def rows():
            for n in range(1000):
                time.sleep(0.02)
                made.append(n)
                yield n

        source = new_source(rows())
        await source.pull(1, 1)
        await source.pull(1000, 0.05)
        before = len(made)
        assert len(await close(source)) == 1
        assert len(made) <= before + 2

    run(main())


def test_what_the_close_raises_is_raised_after_then_was_called(run):
    def rows():
        try:
            yield from range(100)
        finally:
            raise LookupError("close failed")

    async def main():
        source = new_source(rows())
        await source.pull(1, 1)
        done = []
        with pytest.raises(LookupError, match="close failed"):
            await source.aclose(lambda: done.append(1))
        assert done == [1]

    run(main())


def test_the_rows_run_and_are_closed_in_the_context(run):
    variable = contextvars.ContextVar("variable", default="outside")
    seen = []

    def rows():
        try:
            for _ in range(20):
                yield variable.get()
        finally:
            seen.append(variable.get())

    async def main():
        context = contextvars.copy_context()
        context.run(variable.set, "inside")
        source = new_source(rows(), context)
        assert set(await drain(source)) == {"inside"}
        await close(source)
        assert seen == ["inside"]

    run(main())


@pytest.mark.parametrize("kind", ["cursor", "generator", "beside"])
@pytest.mark.parametrize("how", ["start", "bind", "pull"])
def test_what_is_bound_to_its_thread_is_pulled_and_closed_there(run, kind, how):
    threads = []
    workers = Workers(1)

    def numbers(con):
        try:
            for row in con.execute(NUMBERS):
                threads.append(threading.current_thread())
                yield row
        finally:
            threads.append(threading.current_thread())

    def make(lane):
        con = sqlite3.connect(":memory:")
        rows = con.execute(NUMBERS) if kind == "cursor" else numbers(con)
        beside = (lambda: [con]) if kind == "beside" else tuple
        source = new_source(rows, lane=lane, beside=beside)
        if how == "start":
            source.start()
        elif how == "bind":
            source.bind()
        return source, con

    async def one():
        lane = Lane(workers)
        if how == "pull":
            # Made by the first pull itself, as a generator that opens its database does.
            def rows():
                con = sqlite3.connect(":memory:")
                yield from numbers(con)
                con.close()

            source, con = new_source(rows(), lane=lane), None
        else:
            source, con = await asyncio.wrap_future(lane.submit(make, lane))
        assert await drain(source, 50) == [(n,) for n in range(1, 2001)]
        await source.aclose(con.close if con else lambda: None)

    async def main():
        await asyncio.gather(*[one() for _ in range(5)])

    run(main())
    assert len(set(threads)) == (0 if kind == "cursor" and how != "pull" else 5)


@pytest.mark.parametrize("rows_before", [1, 2, 100])
def test_a_database_that_the_rows_open_late_keeps_its_thread(run, rows_before):
    def rows():
        yield from range(rows_before)
        con = sqlite3.connect(":memory:")
        for (n,) in con.execute(NUMBERS):
            yield n
        con.close()

    workers = Workers(4)

    async def one():
        source = new_source(rows(), lane=Lane(workers))
        assert await drain(source) == [*range(rows_before), *range(1, 2001)]
        await close(source)

    async def main():
        await asyncio.gather(*[one() for _ in range(10)])

    run(main())


def test_what_is_not_bound_shares_the_threads(run):
    threads = set()

    def rows():
        for n in range(50):
            threads.add(threading.current_thread())
            yield n

    async def main():
        workers = Workers(2)
        sources = [new_source(rows(), lane=Lane(workers)) for _ in range(10)]
        await asyncio.gather(*[drain(source) for source in sources])
        for source in sources:
            await close(source)

    run(main())
    assert len(threads) <= 2


def complaints_of(main):
    """What the loop complains of while `main` runs."""
    complaints = []

    async def watched():
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        await main()
        gc.collect()

    asyncio.run(watched())
    return complaints


def failing_late(free):
    yield 1
    free.wait(20)
    raise LookupError("boom")


def test_a_failure_after_time_outs_is_raised_once_and_not_lost():
    async def main():
        free = threading.Event()
        source = new_source(failing_late(free))
        assert list(await source.pull(1, 1)) == [1]
        assert list(await source.pull(1, 0.05)) == []
        assert list(await source.pull(1, 0.05)) == []
        free.set()
        with pytest.raises(LookupError, match="boom"):
            await source.pull(1, 20)
        await source.aclose(lambda: None)

    assert complaints_of(main) == []


def test_a_failure_after_the_close_is_nobodys():
    async def main():
        free = threading.Event()
        source = new_source(failing_late(free))
        await source.pull(1, 1)
        await source.pull(1, 0.05)
        asyncio.get_running_loop().call_later(0.1, free.set)
        await source.aclose(lambda: None)

    assert complaints_of(main) == []


def test_a_stream_that_stands_in_line_looks_up_less_often(run, monkeypatch):
    monkeypatch.setattr(pooled, "_IN_LINE_S", 20)

    async def main():
        workers, gate = Workers(1), threading.Event()
        busy = Lane(workers).submit(gate.wait, 20)
        source = new_source([1, 2, 3], lane=Lane(workers))
        source.start()
        assert list(await source.pull(3, 0.01)) == [1]
        assert not await source.pull(3, 0.01)  # What is held may have to leave now.
        asyncio.get_running_loop().call_later(0.3, gate.set)
        assert list(await source.pull(3, 0.01)) == [2, 3]
        assert busy.done()
        await close(source)

    run(main())
