import asyncio
import contextvars
import gzip
import socket
import sqlite3
import threading
import time

import brotli
import jinja2
import pytest
from asgi_cases import AsgiCases, expected, variable
from asgi_client import PlainRows, ask, get
from fastapi import FastAPI
from helpers import encode
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates
from starlette.testclient import TestClient
from template_cases import PageCases, TemplateCases

import unspool.asgi
from unspool import Csv, NotIterable, Stream, StreamError
from unspool.asgi import Answer, guard
from unspool.starlette import (
    stream,
    stream_csv,
    stream_template,
    stream_template_string,
    stream_with_context,
)


def new_app(endpoint, middleware=()):
    routes = [Route("/", endpoint, methods=["GET", "HEAD"])]
    return Starlette(routes=routes, middleware=list(middleware))


class TestAsyncEndpoint(AsgiCases):
    def app(self, rows, format="ndjson", *, before=lambda: None, **options):
        async def endpoint(request):
            before()
            return stream(rows(), format, **options)

        return new_app(endpoint)


class TestPlainEndpoint(AsgiCases):
    def app(self, rows, format="ndjson", *, before=lambda: None, **options):
        def endpoint(request):
            before()
            return stream(rows(), format, **options)

        return new_app(endpoint)


class TestFastAPI(AsgiCases):
    def app(self, rows, format="ndjson", *, before=lambda: None, **options):
        app = FastAPI()

        @app.api_route("/", methods=["GET", "HEAD"])
        async def endpoint():
            before()
            return stream(rows(), format, **options)

        return app


class PassOn(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)


class PassOnToo(PassOn):
    pass


class TestGuardedUnderTwoBaseHTTPMiddlewares(AsgiCases):
    def app(self, rows, format="ndjson", *, before=lambda: None, **options):
        async def endpoint(request):
            before()
            return stream(rows(), format, **options)

        return guard(new_app(endpoint, [Middleware(PassOn), Middleware(PassOnToo)]))

    def check_late_error(self, error):
        assert isinstance(error, StreamError)
        assert isinstance(error.__cause__, LookupError)


class TestPlainAsgi(AsgiCases):
    def app(self, rows, format="ndjson", *, before=lambda: None, **options):
        async def app(scope, receive, send):
            before()
            await unspool.asgi.stream(rows(), format, **options)(scope, receive, send)

        return app

    def test_status_and_headers_can_be_given(self):
        answer = get(Answer(Stream([(1,)]), 203, [("X-More", "1")]))
        assert answer.status == 203
        assert answer.headers[-1] == ("x-more", "1")

    def test_headers_of_the_view_are_joined_or_left_out_when_compressed(self, new_rows):
        plan = Stream(new_rows(10), "ndjson", compress=True)
        headers = [("Vary", "Origin"), ("Content-Length", "7")]
        self.check_compressed_headers(Answer(plan, headers=headers))

    @pytest.mark.parametrize("format", ["csv", "json", "xlsx"])
    def test_a_failure_before_the_first_row_is_a_real_status(self, new_rows, format):
        """The server gives it: nothing was sent."""
        rows = new_rows(fail_at=0)
        answer = get(self.watched(rows, format=format))
        assert isinstance(answer.error, LookupError)
        assert (answer.status, answer.ended) == (None, False)
        assert rows.hooks == [("on_error", "boom"), ("error", 0, 0)]


def test_csv_has_the_dialect_that_was_given():
    async def endpoint(request):
        return stream_csv([(1, "a")], Csv(delimiter=";"))

    assert get(new_app(endpoint)).body == b"1;a\r\n"
    answer = get(unspool.asgi.stream_csv([(1, "a")], Csv(delimiter=";")))
    assert answer.body == b"1;a\r\n"


def test_headers_can_be_changed_until_they_are_sent():
    async def endpoint(request):
        response = stream([(1,)])
        response.headers["X-More"] = "1"
        response.set_cookie("a", "b")
        return response

    names = [name for name, _ in get(new_app(endpoint)).headers]
    assert names[-2:] == ["x-more", "set-cookie"]


def background_app(rows, log):
    async def endpoint(request):
        task = BackgroundTask(lambda: log.append(list(rows.log)))
        return stream(rows, "ndjson", background=task)

    return new_app(endpoint)


def test_the_background_task_runs_after_the_rows_are_closed():
    log, rows = [], PlainRows(10)
    answer = get(background_app(rows, log))
    assert answer.ended
    assert log == [["started", "closed"]]


def test_the_background_task_of_a_failed_stream_does_not_run():
    log, rows = [], PlainRows(fail_at=3)
    assert isinstance(get(background_app(rows, log)).error, LookupError)
    assert log == []


def test_gzip_gets_all_chunks():
    async def endpoint(request):
        return stream(PlainRows(1000), "ndjson")

    app = new_app(endpoint, [Middleware(GZipMiddleware)])
    answer = get(app, headers=[(b"accept-encoding", b"gzip")])
    assert gzip.decompress(answer.body) == expected(1000)


def test_gzip_leaves_what_is_compressed_alone():
    async def endpoint(request):
        return stream(PlainRows(1000), "ndjson", compress=True)

    app = new_app(endpoint, [Middleware(GZipMiddleware)])
    answer = get(app, headers=[(b"accept-encoding", b"gzip, br")])
    assert brotli.decompress(answer.body) == expected(1000)
    assert [value for name, value in answer.headers if name == "content-encoding"] == ["br"]
    assert [value for name, value in answer.headers if name == "vary"] == ["Accept-Encoding"]


def test_an_endpoint_may_add_to_vary_and_the_length_of_the_plain_answer_goes():
    async def endpoint(request):
        response = stream(PlainRows(1000), "ndjson", compress=True)
        response.headers.add_vary_header("Origin")
        response.headers["Content-Length"] = str(len(expected(1000)))
        return response

    app = new_app(endpoint)
    answer = get(app, headers=[(b"accept-encoding", b"br")])
    assert brotli.decompress(answer.body) == expected(1000)
    assert ("vary", "Accept-Encoding, Origin") in answer.headers
    assert "content-length" not in dict(answer.headers)
    plain = get(app)
    assert (plain.body, dict(plain.headers)["content-length"]) == (
        expected(1000),
        str(len(expected(1000))),
    )


def test_a_compressed_stream_that_is_replaced_is_closed():
    rows = PlainRows()

    async def endpoint(request):
        stream(rows, "ndjson", compress=True, **rows.options())
        return stream([(1,)], "ndjson")

    assert get(new_app(endpoint)).body == b"[1]\n"
    assert rows.log == ["closed"]
    assert rows.hooks == ["on_disconnect", ("disconnect", 0, 0)]


def test_a_thousand_streams_at_once_do_not_mix():
    async def app(scope, receive, send):
        name = scope["path"]
        rows = ((name, n) for n in range(20))
        await unspool.asgi.stream(rows, "ndjson")(scope, receive, send)

    async def main():
        return await asyncio.gather(*(ask(app, f"/{n}") for n in range(1000)))

    for n, answer in enumerate(asyncio.run(main())):
        assert answer.body == encode([(f"/{n}", row) for row in range(20)], "ndjson")


def test_the_guard_lets_everything_else_pass():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    scope = {"type": "websocket"}
    asyncio.run(guard(app)(scope, len, max))
    assert seen == [({"type": "websocket"}, len, max)]


@pytest.mark.parametrize("port_type", [int, str])
def test_a_failure_resets_the_connection_of_its_client(port_type):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    host, port = client.getsockname()

    async def app(scope, receive, send):
        scope["client"] = (host, port_type(port))
        await unspool.asgi.stream(PlainRows(fail_at=1))(scope, receive, send)

    assert isinstance(get(app).error, LookupError)
    with client, server, pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_client_that_left_is_no_failure_if_sending_says_so():
    rows = PlainRows()

    async def app(scope, receive, send):
        async def broken_send(message):
            await send(message)
            if message.get("body"):
                raise ConnectionResetError

        await unspool.asgi.stream(rows, **rows.options())(scope, receive, broken_send)

    assert get(app).error is None
    assert [told[0] for told in rows.hooks[1:]] == ["disconnect"]


# Templates


def new_templates(is_async=False, **options):
    env = jinja2.Environment(autoescape=True, enable_async=is_async, **options)
    return Jinja2Templates(env=env)


class TestTemplate(TemplateCases, PageCases):
    def app(self, source, context, is_async, *, before=lambda: None, extensions=()):
        templates = new_templates(is_async, extensions=extensions)

        async def endpoint(request):
            before()
            return stream_template_string(request, templates, source, context)

        return new_app(endpoint)


class TestTemplateOverPlainAsgi(TemplateCases, PageCases):
    def app(self, source, context, is_async, *, before=lambda: None, extensions=()):
        template = new_templates(is_async, extensions=extensions).env.from_string(source)

        async def app(scope, receive, send):
            before()
            await unspool.asgi.stream_template(template, context)(scope, receive, send)

        return app

    def test_a_failure_before_the_first_piece_is_a_real_status(self, is_async):
        """The server gives it: nothing was sent."""
        answer = get(self.app("{{ 1 // 0 }}", {}, is_async))
        assert isinstance(answer.error, ZeroDivisionError)
        assert answer.status is None


def test_a_template_by_name_has_what_a_template_response_has():
    templates = new_templates(
        loader=jinja2.DictLoader(
            {"a.html": "{{ request.url.path }} {{ extra }} {{ n }} {{ url_for('page') }}"}
        )
    )
    templates.context_processors.append(lambda request: {"extra": request.method})
    given = {"n": 5}

    async def ours(request):
        headers = {"X-More": "1"}
        return stream_template(request, templates, "a.html", given, status=203, headers=headers)

    async def theirs(request):
        return templates.TemplateResponse(request, "a.html", dict(given), 203, {"X-More": "1"})

    client = TestClient(Starlette(routes=[Route("/", ours, name="page")]))
    response = client.get("/")
    expected = TestClient(Starlette(routes=[Route("/", theirs, name="page")])).get("/")
    assert response.text == expected.text == "/ GET 5 http://testserver/"
    assert response.template.name == expected.template.name == "a.html"
    assert set(response.context) == set(expected.context) == {"n", "request", "extra"}
    assert response.headers["content-type"] == expected.headers["content-type"]
    assert (response.status_code, response.headers["x-more"]) == (203, "1")
    assert given == {"n": 5}


def test_a_template_tells_its_hooks():
    told = []
    templates = new_templates()

    def endpoint(request):
        return stream_template_string(
            request,
            templates,
            "a{{ n }}b",
            {"n": 1},
            on_close=lambda *args: told.append(args),
        )

    assert get(new_app(endpoint)).body == b"a1b"
    assert told == [("complete", 3, 3)]


# stream_with_context


def streaming_app(items, before=lambda: None):
    async def endpoint(request):
        before()
        return StreamingResponse(stream_with_context(items()))

    return new_app(endpoint)


own = contextvars.ContextVar("own", default="unset")


@pytest.mark.parametrize("is_async", [False, True])
def test_all_steps_of_an_iterator_run_in_one_context(is_async):
    def items():
        own.set("set")
        for _ in range(300):
            yield f"{variable.get()} {own.get()};"

    async def awaited():
        for item in items():
            yield item

    app = streaming_app(awaited if is_async else items, lambda: variable.set("inside"))
    answer = get(app)
    assert answer.error is None
    assert answer.body == b"inside set;" * 300


def test_a_plain_iterator_stays_on_its_thread_if_it_must():
    def items():
        database = sqlite3.connect(":memory:")
        try:
            for (n,) in database.execute(
                "with recursive n(i) as (select 1 union all select i+1 from n where i<300) select i from n"
            ):
                yield f"{n};"
        finally:
            database.close()

    async def main():
        return await asyncio.gather(*(ask(streaming_app(items)) for _ in range(10)))

    for answer in asyncio.run(main()):
        assert answer.error is None
        assert answer.body.count(b";") == 300


@pytest.mark.parametrize("is_async", [False, True])
def test_a_client_that_leaves_closes_the_iterator(is_async):
    log = []

    def items():
        try:
            while True:
                time.sleep(0.01)
                yield "x"
        finally:
            log.append(("closed", time.monotonic()))

    async def awaited():
        try:
            while True:
                await asyncio.sleep(0.01)
                yield "x"
        finally:
            log.append(("closed", time.monotonic()))

    async def main():
        answer = await ask(streaming_app(awaited if is_async else items), leave_after=3)
        for _ in range(2000):
            await asyncio.sleep(0.005)
            if log:
                break
        return answer.left_at

    left_at = asyncio.run(main())
    assert [what for what, _ in log] == ["closed"]
    assert log[0][1] - left_at < 5


def test_items_come_one_by_one_and_unchanged():
    async def main():
        seen = []
        async for item in stream_with_context(iter([1, "a", None, b"", []])):
            seen.append(item)
        return seen

    assert asyncio.run(main()) == [1, "a", None, b"", []]


@pytest.mark.alone
def test_a_slow_item_does_not_hold_back_those_before_it():
    def items():
        for n in range(3):
            yield n
            time.sleep(0.3)

    async def main():
        started, times = time.monotonic(), []
        async for _ in stream_with_context(items()):
            times.append(time.monotonic() - started)
        return times

    times = asyncio.run(main())
    assert times[0] < 0.1 < 0.3 < times[1] < 0.45 < 0.6 < times[2] < 0.75


def test_generator_functions_can_be_decorated():
    @stream_with_context
    def items(count, *, text):
        """Some items."""
        for _ in range(count):
            yield text

    async def main():
        return [item async for item in items(2, text="a")]

    assert asyncio.run(main()) == ["a", "a"]
    assert items.__doc__ == "Some items."


def test_an_iterator_can_be_closed_early():
    threads, log = threading.active_count(), []

    def items():
        try:
            yield from range(10**9)
        finally:
            log.append("closed")

    async def main():
        made = stream_with_context(items())
        assert await anext(made) == 0
        await made.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(made)

    asyncio.run(main())
    assert log == ["closed"]
    assert threading.active_count() <= threads + 1


@pytest.mark.parametrize("what", [None, 5])
def test_what_gives_no_items_is_refused(what):
    with pytest.raises(NotIterable, match="generator function; got"):
        stream_with_context(what)


def test_text_is_refused_as_items():
    with pytest.raises(NotIterable, match="character by character"):
        stream_with_context("text")
