import asyncio
import contextvars
import time
from statistics import median

import pytest

from unspool import NotIterable, UsedTwice
from unspool.sources.async_rows import AsyncRowSource

LOOPS = ["asyncio"]
try:
    import uvloop

    LOOPS.append("uvloop")
except ImportError:
    pass


@pytest.fixture(params=LOOPS)
def run(request):
    def run(coroutine):
        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(coroutine)

    return run


def new_source(rows, context=None):
    return AsyncRowSource(rows, context or contextvars.copy_context())


async def drain(source, want=7, timeout_s=1.0):
    rows = []
    while (batch := await source.pull(want, timeout_s)) is not None:
        rows.extend(batch)
    return rows


async def numbers(count, log=None):
    try:
        for n in range(count):
            yield n
    finally:
        if log is not None:
            log.append("closed")


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 500])
def test_every_row_comes_once_and_in_order(run, count):
    async def main():
        source = new_source(numbers(count))
        assert await drain(source) == list(range(count))
        await source.aclose()

    run(main())


def test_rows_before_a_stuck_one_are_given_after_the_time_out(run):
    async def main():
        stuck = asyncio.Event()

        async def rows():
            yield 0
            yield 1
            await stuck.wait()
            yield 2

        source = new_source(rows())
        started = time.monotonic()
        assert list(await source.pull(100, 0.05)) == [0, 1]
        assert list(await source.pull(100, 0.05)) == []
        assert time.monotonic() - started < 5
        stuck.set()
        assert await drain(source) == [2]

    run(main())


def test_a_failure_comes_after_the_rows_before_it(run):
    async def main():
        async def rows():
            yield 0
            yield 1
            raise LookupError("boom")

        source = new_source(rows())
        assert list(await source.pull(10, 1)) == [0, 1]
        with pytest.raises(LookupError, match="boom"):
            await source.pull(10, 1)
        await source.aclose()

    run(main())


@pytest.mark.alone
def test_a_generator_that_never_waits_leaves_the_loop_to_others(run):
    async def main():
        ticks = []

        async def ticker():
            while True:
                ticks.append(time.monotonic())
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(ticker())

        async def busy():
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                yield 1

        source = new_source(busy())
        await drain(source, want=10**9)
        ticking.cancel()
        gaps = [after - before for before, after in zip(ticks, ticks[1:])]
        assert len(ticks) > 2
        assert median(gaps) < 0.1  # A busy machine can be elsewhere for once.

    run(main())


def test_closing_stops_a_waiting_generator_and_runs_its_finally_once(run):
    async def main():
        log = []

        async def rows():
            try:
                yield 0
                await asyncio.sleep(60)
            finally:
                log.append("closed")

        source = new_source(rows())
        assert list(await source.pull(1, 1)) == [0]
        started = time.monotonic()
        await source.aclose()
        await source.aclose()
        assert time.monotonic() - started < 10
        assert log == ["closed"]

    run(main())


def test_closing_before_the_first_pull_runs_nothing(run):
    async def main():
        log = []
        source = new_source(numbers(3, log))
        await source.aclose()
        assert log == []

    run(main())


def test_rows_run_in_the_context(run):
    variable = contextvars.ContextVar("variable", default="outside")

    async def main():
        async def rows():
            for _ in range(20):
                yield variable.get()

        context = contextvars.copy_context()
        context.run(variable.set, "inside")
        source = new_source(rows(), context)
        assert set(await drain(source)) == {"inside"}

    run(main())


def test_the_source_is_at_most_one_batch_ahead(run):
    async def main():
        made = []

        async def rows():
            for n in range(1000):
                made.append(n)
                yield n

        source = new_source(rows())
        await source.pull(10, 1)
        await asyncio.sleep(0.05)
        assert len(made) <= 20
        await source.aclose()

    run(main())


def test_a_plain_iterable_is_refused(run):
    async def main():
        with pytest.raises(NotIterable, match="async iterable"):
            new_source([1])

    run(main())


def test_closing_before_the_first_pull_closes_and_releases_rows_that_are_no_generator(run):
    log = []

    class Rows:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise AssertionError

        async def aclose(self):
            log.append("closed")

    async def main():
        source = AsyncRowSource(Rows(), contextvars.copy_context(), lambda: log.append("released"))
        await source.aclose(lambda: log.append("told"))

    run(main())
    assert log == ["closed", "released", "told"]


def test_a_cancelled_pull_ends_though_a_row_comes_at_the_same_moment(run):
    async def main():
        tick = asyncio.Event()

        async def rows():
            yield 0
            await tick.wait()
            yield 1

        source = new_source(rows())
        await source.pull(1, 1)
        pulling = asyncio.create_task(source.pull(1, 10))
        await asyncio.sleep(0.01)
        tick.set()
        source._wake_reader.set()
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        await source.aclose()

    run(main())


def test_a_generator_that_is_over_is_refused(run):
    async def main():
        rows = numbers(3)
        assert await drain(new_source(rows)) == [0, 1, 2]
        with pytest.raises(UsedTwice, match="gives its rows once"):
            new_source(rows)

    run(main())
