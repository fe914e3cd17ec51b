import asyncio
import gzip
import socket

import brotli
import pytest
from asgi_cases import AsgiCases, expected
from asgi_client import PlainRows, ask, get
from fastapi import FastAPI
from helpers import encode
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

import unspool.asgi
from unspool import Csv, Stream, StreamError
from unspool.asgi import Answer, guard
from unspool.starlette import stream, stream_csv


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
        headers = [("Vary", "Cookie"), ("Content-Length", "7")]
        self.check_compressed_headers(Answer(plan, headers=headers))

    def test_a_failure_before_the_first_row_is_a_real_status(self, new_rows):
        """The server gives it: nothing was sent."""
        rows = new_rows(fail_at=0)
        answer = get(self.watched(rows))
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


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_the_guard_lets_everything_else_pass(kind):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    scope = {"type": kind}
    asyncio.run(guard(app)(scope, len, max))
    assert seen == [({"type": kind}, len, max)]


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
