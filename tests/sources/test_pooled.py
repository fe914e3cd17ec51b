import asyncio
import contextvars
import gc
import time

import pytest

from unspool.sources.pooled import PooledSource
from unspool.sources.rows import Puller
from unspool.sources.workers import Lane, Workers


def new_source(rows):
    return PooledSource(Puller(rows, contextvars.copy_context()), Lane(Workers(2)))


def complaints_of(main):
    """What the loop complains of while `main` runs."""
    complaints = []

    async def watched():
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        await main()
        gc.collect()

    asyncio.run(watched())
    return complaints


def failing_late():
    yield 1
    time.sleep(0.2)
    raise LookupError("boom")


def test_a_failure_after_time_outs_is_raised_once_and_not_lost():
    async def main():
        source = new_source(failing_late())
        assert list(await source.pull(1, 1)) == [1]
        assert list(await source.pull(1, 0.05)) == []
        assert list(await source.pull(1, 0.05)) == []
        with pytest.raises(LookupError, match="boom"):
            await source.pull(1, 1)
        await source.aclose(lambda: None)

    assert complaints_of(main) == []


def test_a_failure_after_the_close_is_nobodys():
    async def main():
        source = new_source(failing_late())
        await source.pull(1, 1)
        await source.pull(1, 0.05)
        await source.aclose(lambda: None)

    assert complaints_of(main) == []
