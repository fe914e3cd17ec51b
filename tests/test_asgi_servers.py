import asyncio
import sys
import warnings
from types import SimpleNamespace

import pytest

from unspool import connection
from unspool.asgi import servers
from unspool.asgi.servers import warn_of_server
from unspool.connection import StreamWarning


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(connection, "_warned", set())
    monkeypatch.setattr(servers, "_looked", False)


def on_hypercorn(grace_s):
    """Looks twice, in a loop with a task of hypercorn's."""
    names = {"__name__": "hypercorn.asyncio.run", "asyncio": asyncio}
    exec("async def worker_serve(app, config): await asyncio.Event().wait()", names)

    async def main():
        config = SimpleNamespace(graceful_timeout=grace_s)
        task = asyncio.create_task(names["worker_serve"](None, config))
        await asyncio.sleep(0)
        warn_of_server()
        warn_of_server()
        task.cancel()

    asyncio.run(main())


def test_hypercorn_is_warned_of_once_while_its_grace_is_short():
    with pytest.warns(StreamWarning, match="still being sent 3 s after .* --graceful") as warned:
        on_hypercorn(3)
    assert len(warned) == 1


def test_hypercorn_with_a_longer_grace_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        on_hypercorn(3.5)


@pytest.mark.parametrize("running", [True, False])
def test_daphne_is_warned_of_where_it_runs(monkeypatch, caplog, running):
    monkeypatch.setitem(sys.modules, "daphne.server", SimpleNamespace())
    reactor = SimpleNamespace(running=running)
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", reactor)

    async def main():
        warn_of_server()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(main())
    assert [w.category for w in warned] == [StreamWarning] * running
    assert [record.name for record in caplog.records] == ["unspool"] * running
