"""What becomes of running streams when the server says `lifespan.shutdown`."""

import asyncio
import threading
import time
from contextlib import asynccontextmanager

import flask
import pytest
from asgi_client import AwaitedRows, PlainRows, ask
from quart import Quart
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Route

import unspool.asgi
import unspool.flask
import unspool.quart
import unspool.starlette
from unspool import UsageError
from unspool.asgi import from_wsgi, guard


def starlette_app(rows, log, middleware=()):
    async def endpoint(request):
        return unspool.starlette.stream(rows, "ndjson", **rows.options())

    @asynccontextmanager
    async def lifespan(app):
        yield
        log.append(["shutdown", *rows.log])

    routes = [Route("/", endpoint)]
    return guard(Starlette(routes=routes, middleware=middleware, lifespan=lifespan))


def under_middlewares(rows, log):
    async def pass_on(request, call_next):
        return await call_next(request)

    middleware = Middleware(BaseHTTPMiddleware, dispatch=pass_on)
    return starlette_app(rows, log, [middleware, middleware])


def quart_app(rows, log):
    app = Quart(__name__)

    @app.get("/")
    async def view():
        return await unspool.quart.stream(rows, "ndjson", **rows.options())

    @app.after_serving
    async def shutdown():
        log.append(["shutdown", *rows.log])

    return guard(app)


def bridged_app(rows, log):
    app = flask.Flask(__name__)

    @app.get("/")
    def view():
        return unspool.flask.stream(rows, "ndjson", **rows.options())

    return from_wsgi(app)


class Lifespan:
    """The lifespan of an app, as a server runs it."""

    def __init__(self, app):
        self._to_app, self._from_app = asyncio.Queue(), asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._task = asyncio.create_task(app(scope, self._to_app.get, self._from_app.put))

    async def say(self, word):
        await self._to_app.put({"type": f"lifespan.{word}"})
        return (await asyncio.wait_for(self._from_app.get(), 20))["type"]

    async def over(self):
        await asyncio.wait_for(self._task, 20)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


APPS = [
    (starlette_app, PlainRows),
    (starlette_app, AwaitedRows),
    (under_middlewares, AwaitedRows),
    (quart_app, AwaitedRows),
    (bridged_app, PlainRows),
]


@pytest.mark.parametrize(("new_app", "new_rows"), APPS)
def test_running_streams_end_broken_and_told_before_the_app_is(new_app, new_rows):
    rows, log = new_rows(gap_s=0.05), []

    async def main():
        app = new_app(rows, log)
        lifespan = Lifespan(app)
        assert await lifespan.say("startup") == "lifespan.startup.complete"
        asking = asyncio.create_task(ask(app))
        await until(lambda: rows.log)
        await asyncio.sleep(0.1)
        began = time.monotonic()
        assert await lifespan.say("shutdown") == "lifespan.shutdown.complete"
        took = time.monotonic() - began
        closed = list(rows.log)
        await lifespan.over()
        await asyncio.wait([asking])
        return closed, took

    closed, took = asyncio.run(main())
    assert closed == ["started", "closed"]
    assert took < 4
    assert log in ([["shutdown", "started", "closed"]], [])
    assert rows.hooks[0] == "on_disconnect"
    assert [told[0] for told in rows.hooks[1:]] == ["disconnect"]


def test_a_stream_cut_by_the_shutdown_has_no_last_message():
    rows, sent = AwaitedRows(gap_s=0.05), []

    async def main():
        app = under_middlewares(rows, [])

        async def noting(scope, receive, send):
            async def note(message):
                sent.append(message)
                await send(message)

            await app(scope, receive, note)

        lifespan = Lifespan(app)
        await lifespan.say("startup")
        asking = asyncio.create_task(ask(noting))
        await until(lambda: len(sent) > 2)
        await lifespan.say("shutdown")
        await asyncio.wait([asking])

    asyncio.run(main())
    assert all(message.get("more_body") for message in sent[1:])


def test_a_shutdown_does_not_wait_long_for_a_stuck_source():
    stuck, free = threading.Event(), threading.Event()

    class Stuck(PlainRows):
        def __next__(self):
            row = super().__next__()
            if row[0] == 1:
                stuck.set()
                free.wait(20)
            return row

    rows = Stuck()

    async def main():
        app = starlette_app(rows, [])
        lifespan = Lifespan(app)
        await lifespan.say("startup")
        asking = asyncio.create_task(ask(app))
        await until(stuck.is_set)
        began = time.monotonic()
        await lifespan.say("shutdown")
        took = time.monotonic() - began
        free.set()
        await asyncio.wait([asking])
        return took

    assert asyncio.run(main()) < 5


@pytest.mark.alone
def test_a_shutdown_without_streams_is_passed_on_at_once():
    async def main():
        lifespan = Lifespan(starlette_app(PlainRows(), []))
        await lifespan.say("startup")
        began = time.monotonic()
        await lifespan.say("shutdown")
        await lifespan.over()
        return time.monotonic() - began

    assert asyncio.run(main()) < 0.2


def test_streams_of_another_loop_go_on():
    rows = PlainRows(40, gap_s=0.02)

    def stop_another_loop():
        async def main():
            lifespan = Lifespan(starlette_app(PlainRows(), []))
            await lifespan.say("startup")
            await lifespan.say("shutdown")

        asyncio.run(main())

    async def main():
        asking = asyncio.create_task(ask(starlette_app(rows, [])))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(stop_another_loop)
        return await asking

    assert asyncio.run(main()).ended


def on_trio(app, *messages, type="http"):
    """What the app says to these messages, on trio."""
    trio = pytest.importorskip("trio")
    sent, messages = [], list(messages)

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": type, "method": "GET", "path": "/", "headers": [], "query_string": b""}
    trio.run(app, scope, receive, send)
    return sent


@pytest.mark.parametrize(
    "new_app",
    [
        lambda: unspool.asgi.stream([(1,)]),
        lambda: guard(unspool.asgi.stream([(1,)])),
        lambda: from_wsgi(lambda environ, start_response: []),
    ],
)
def test_on_trio_there_is_an_early_clear_error(new_app):
    with pytest.raises(UsageError, match="runs on another loop, such as trio"):
        on_trio(new_app(), {"type": "http.request"})


def test_the_guard_lets_an_app_without_streams_stop_on_trio():
    async def app(scope, receive, send):
        await send({"type": (await receive())["type"] + ".complete"})

    sent = on_trio(guard(app), {"type": "lifespan.shutdown"}, type="lifespan")
    assert sent == [{"type": "lifespan.shutdown.complete"}]
