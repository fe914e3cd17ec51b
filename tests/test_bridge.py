import asyncio
import itertools
import sqlite3
import threading
import time
import zlib
from collections import deque
from contextlib import contextmanager

import flask
import pytest
from helpers import reader

import unspool.wsgi
from unspool import BrokenApp, DeadlineExceeded, LengthMismatch, UsageError
from unspool.asgi import LEAVING, from_wsgi
from unspool.flask import compressed, stream, stream_template_string, stream_with_context

OK = "200 OK"
NUMBERS = (
    "with recursive n(i) as (select 1 union all select i+1 from n where i<3000) select i from n"
)


class Client:
    """One request to an ASGI app, by hand: what it sent, and when the client leaves."""

    def __init__(self, app, path="/", body=(), **scope):
        self.app = app
        self.scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "http_version": "1.1",
            "headers": [],
            **scope,
        }
        self.requests = deque(
            {"type": "http.request", "body": piece, "more_body": more}
            for piece, more in zip(body or [b""], [True] * (len(body) - 1) + [False])
        )
        self.sent = []
        self.times = []
        self.left = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()

    async def receive(self):
        if self.requests:
            return self.requests.popleft()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)
        self.times.append(time.monotonic())
        await self.reads.wait()

    async def run(self):
        await self.app(self.scope, self.receive, self.send)
        return self

    async def until(self, chunks):
        while len(self.sent) < chunks + 1:
            await asyncio.sleep(0.005)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return self.sent[0]["headers"]

    @property
    def body(self):
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def complete(self):
        last = self.sent[-1] if self.sent else {"type": None}
        return last["type"] == "http.response.body" and not last.get("more_body")


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


def get(app, path="/", body=(), **scope):
    """What an ASGI app answers to a client that stays."""

    async def main():
        client = await Client(app, path, body, **scope).run()
        assert client.complete
        return client

    return run(main())


def failing(app, **scope):
    """What an ASGI app sent before it raised, and what it raised."""

    async def main():
        client = Client(app, **scope)
        try:
            await client.run()
        except Exception as error:
            return client, error
        raise AssertionError("nothing was raised")

    return run(main())


def wait_for(condition, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


class Closing:
    """A WSGI body that knows how often it was closed."""

    def __init__(self, pieces):
        self.pieces = iter(pieces)
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.pieces)

    def close(self):
        self.closed += 1


# Plain applications


def list_app(environ, start_response):
    start_response("203 Fine", [("X-One", "1"), ("X-One", "2"), ("Content-Length", "2")])
    return [b"a", b"b"]


def generator_app(environ, start_response):
    start_response("203 Fine", [("X-One", "1"), ("X-One", "2"), ("Content-Length", "2")])
    yield b"a"
    yield b"b"


def writing_app(environ, start_response):
    write = start_response("203 Fine", [("X-One", "1"), ("X-One", "2"), ("Content-Length", "2")])
    write(b"a")
    return [b"b"]


def writing_and_yielding_app(environ, start_response):
    start_response("203 Fine", [("X-One", "1"), ("X-One", "2"), ("Content-Length", "2")])(b"a")
    return iter([b"b"])


def only_writing_app(environ, start_response):
    write = start_response("203 Fine", [("X-One", "1"), ("X-One", "2"), ("Content-Length", "2")])
    write(b"a")
    write(b"b")
    return iter(())


@pytest.mark.parametrize(
    "app", [list_app, generator_app, writing_app, writing_and_yielding_app, only_writing_app]
)
def test_a_plain_app_is_passed_through(app):
    client = get(from_wsgi(app))
    assert client.status == 203
    assert client.headers == [(b"x-one", b"1"), (b"x-one", b"2"), (b"content-length", b"2")]
    assert client.body == b"ab"


@pytest.mark.parametrize("app", [list_app, generator_app, writing_and_yielding_app])
def test_head_sends_headers_only(app):
    client = get(from_wsgi(app), method="HEAD")
    assert client.status == 203
    assert client.body == b""


def test_pieces_are_put_together_to_chunks():
    def app(environ, start_response):
        start_response(OK, [])
        return (b"12345678" for _ in range(100_000))

    client = get(from_wsgi(app))
    assert len(client.body) == 800_000
    assert len(client.sent) < 60


def test_the_body_is_closed_once_after_the_last_byte():
    body = Closing([b"a", b"b"])

    def app(environ, start_response):
        start_response(OK, [])
        return body

    assert get(from_wsgi(app)).body == b"ab"
    assert body.closed == 1


def test_a_second_start_response_without_exc_info_is_refused():
    def app(environ, start_response):
        start_response(OK, [])
        start_response(OK, [])
        return [b""]

    client, error = failing(from_wsgi(app))
    assert isinstance(error, BrokenApp)
    assert "called twice" in str(error)
    assert client.sent == []


def test_a_second_start_response_with_exc_info_takes_the_place_of_the_first():
    def app(environ, start_response):
        import sys

        start_response(OK, [("X-First", "1")])
        try:
            raise LookupError("boom")
        except LookupError:
            start_response("500 Oops", [("X-Second", "1")], sys.exc_info())
        yield b"sorry"

    client = get(from_wsgi(app))
    assert (client.status, client.headers, client.body) == (500, [(b"x-second", b"1")], b"sorry")


def test_start_response_with_exc_info_raises_it_once_the_answer_has_begun():
    def app(environ, start_response):
        import sys

        start_response(OK, [])
        yield b"a"
        try:
            raise LookupError("boom")
        except LookupError:
            start_response("500 Oops", [], sys.exc_info())
        yield b"sorry"

    client, error = failing(from_wsgi(app))
    assert isinstance(error, LookupError)
    assert client.body == b"a"
    assert not client.complete


@pytest.mark.parametrize("piece", ["text", None, 5, bytearray(b"a")])
@pytest.mark.parametrize("kind", [list, iter])
def test_pieces_that_are_no_bytes_are_refused(piece, kind):
    def app(environ, start_response):
        start_response(OK, [])
        return kind([piece])

    client, error = failing(from_wsgi(app))
    assert isinstance(error, BrokenApp)
    assert type(piece).__name__ in str(error)
    assert client.sent == []


@pytest.mark.parametrize("kind", [list, Closing])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_app_that_does_not_call_start_response_is_refused_and_closed(kind, method):
    body = kind([b"a"])
    client, error = failing(from_wsgi(lambda environ, start_response: body), method=method)
    assert isinstance(error, BrokenApp)
    assert "without calling start_response" in str(error)
    assert client.sent == []
    assert getattr(body, "closed", 1) == 1


@pytest.mark.parametrize("status", ["OK", "", None])
def test_a_status_without_a_number_is_refused(status):
    def app(environ, start_response):
        start_response(status, [])
        return [b""]

    assert isinstance(failing(from_wsgi(app))[1], BrokenApp)


def test_a_failure_before_the_first_piece_closes_the_body_and_sends_nothing():
    def pieces():
        raise LookupError("boom")
        yield

    body = Closing(pieces())

    def app(environ, start_response):
        start_response(OK, [])
        return body

    client, error = failing(from_wsgi(app))
    assert isinstance(error, LookupError)
    assert client.sent == []
    assert body.closed == 1


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_at_all_are_refused(threads):
    with pytest.raises(UsageError, match="threads must be at least 1"):
        from_wsgi(list_app, threads=threads)


def test_lifespan_is_answered():
    async def main():
        sent = []
        coming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive():
            return coming.pop(0)

        async def send(message):
            sent.append(message["type"])

        await from_wsgi(list_app)({"type": "lifespan"}, receive, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    run(main())


def test_websockets_are_refused():
    with pytest.raises(BrokenApp, match="'websocket'"):
        get(from_wsgi(list_app), type="websocket")


# The environment


def environ_of(path="/", **scope):
    seen = []

    def app(environ, start_response):
        seen.append(environ)
        start_response(OK, [])
        return [b""]

    get(from_wsgi(app), path, **scope)
    return seen[0]


def test_the_environment_is_that_of_pep_3333():
    environ = environ_of(
        "/app/Grüße/a",
        root_path="/app",
        method="POST",
        scheme="https",
        query_string=b"q=%C3%BC&r",
        server=("example.org", 8443),
        client=("10.0.0.9", 1234),
        headers=[
            (b"host", b"example.org"),
            (b"content-type", b"text/plain"),
            (b"content-length", b"0"),
            (b"x-twice", b"1"),
            (b"x-twice", b"2"),
            (b"cookie", b"a=1"),
            (b"cookie", b"b=2"),
            (b"x-latin", b"\xfc"),
        ],
    )
    rest = {
        key: value for key, value in environ.items() if not key.startswith(("wsgi.", "unspool."))
    }
    assert rest == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "/Grüße/a".encode().decode("latin-1"),
        "QUERY_STRING": "q=%C3%BC&r",
        "REQUEST_URI": "/app/Grüße/a".encode().decode("latin-1"),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "unspool",
        "SERVER_NAME": "example.org",
        "SERVER_PORT": "8443",
        "REMOTE_ADDR": "10.0.0.9",
        "REMOTE_PORT": "1234",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "0",
        "HTTP_HOST": "example.org",
        "HTTP_X_TWICE": "1,2",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_LATIN": "ü",
    }
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["wsgi.version"] == (1, 0)
    assert environ["wsgi.multithread"] is True


def test_headers_with_underscores_cannot_pass_for_others():
    environ = environ_of(headers=[(b"x_user", b"admin"), (b"x-user", b"me")])
    assert environ["HTTP_X_USER"] == "me"


def test_the_validator_of_the_standard_library_is_content():
    from wsgiref.validate import validator

    def app(environ, start_response):
        start_response(OK, [("Content-Type", "text/plain")])
        return [b"fine"]

    scope = {"server": ("127.0.0.1", 80), "query_string": b"a=b"}
    assert get(from_wsgi(validator(app)), **scope).body == b"fine"


BIG = bytes(range(256)) * 12_000


def split(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(
    "body", [[b""], [b"small"], [b"a", b"", b"bc"], split(BIG, 65_536), split(BIG, 1_000_000)]
)
@pytest.mark.parametrize(
    "read",
    [
        lambda body: body.read(),
        lambda body: b"".join(iter(lambda: body.read(10_000), b"")),
        lambda body: b"".join(iter(body.readline, b"")),
        lambda body: b"".join(body),
        lambda body: b"".join(body.readlines()),
    ],
)
def test_the_request_body_can_be_read_in_every_way(body, read):
    def app(environ, start_response):
        start_response(OK, [])
        return [read(environ["wsgi.input"])]

    assert get(from_wsgi(app), body=body, method="POST").body == b"".join(body)


def test_the_request_body_can_be_read_while_the_answer_is_sent():
    def app(environ, start_response):
        start_response(OK, [])
        yield b"begin "
        while piece := environ["wsgi.input"].read(50_000):
            yield piece

    client = get(from_wsgi(app), body=split(BIG, 65_536), method="POST")
    assert client.body == b"begin " + BIG


def test_a_request_body_that_breaks_off_is_not_taken_for_a_whole_one():
    def app(environ, start_response):
        start_response(OK, [])
        return [environ["wsgi.input"].read()]

    async def main(pieces):
        client = Client(from_wsgi(app), method="POST")
        client.requests = deque(
            {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
        )
        client.left.set()
        with pytest.raises(ConnectionError, match="request"):
            await client.run()
        assert client.sent == []

    run(main([b"half"]))
    run(main(split(BIG, 65_536)))


# Flask


@pytest.fixture
def app():
    app = flask.Flask(__name__)
    app.secret_key = "test"
    app.log = []
    app.theirs = False

    @app.teardown_request
    def note(error):
        if not app.theirs:
            app.log.append(("teardown", error and str(error)))

    @app.get("/small")
    def small():
        return "small"

    return app


SENDS = {
    "stream": lambda pieces: stream(pieces, "text", chunk_bytes=1),
    "stream_with_context": lambda pieces: flask.Response(stream_with_context(pieces)),
    "flask's own": lambda pieces: flask.Response(flask.stream_with_context(pieces)),
}


@pytest.fixture(params=SENDS)
def send(request, app):
    """A function that makes the answer of a view from pieces of text."""
    app.theirs = request.param == "flask's own"
    return SENDS[request.param]


def teardowns(app, count=1, error=None):
    """What is logged of them. Flask's own function has two each, one of them too early."""
    return [] if app.theirs else [("teardown", error)] * count


def test_a_flask_answer_is_whole_with_request_session_and_g_and_one_teardown(app, send):
    @app.get("/")
    def view():
        flask.g.name = "g"
        flask.session["name"] = "session"

        def pieces():
            for n in range(200):
                yield f"{flask.request.args['q']} {flask.g.name} {flask.session['name']} {n}\n"
                app.log.append(n)

        return send(pieces())

    client = get(from_wsgi(app), query_string=b"q=query")
    assert client.status == 200
    expected = [f"query g session {n}" for n in range(200)]
    assert client.body.decode().splitlines() == expected
    assert app.log == [*range(200), *teardowns(app)]


def test_a_whole_list_of_rows_has_a_length(app):
    app.add_url_rule("/", view_func=lambda: stream([(1, "a")], columns=["n", "t"]))
    client = get(from_wsgi(app))
    assert client.body == b"n,t\r\n1,a\r\n"
    assert (b"content-length", b"10") in client.headers


def test_head_of_a_stream_runs_nothing_and_tears_down(app, send):
    @app.get("/")
    def view():
        return send(app.log.append("ran") for _ in range(3))

    client = get(from_wsgi(app), method="HEAD")
    assert (client.status, client.body) == (200, b"")
    assert app.log == teardowns(app)


def test_an_early_failure_is_a_500(app):
    @app.get("/")
    def view():
        def pieces():
            raise LookupError("boom")
            yield ""

        return stream(pieces(), "text")

    assert get(from_wsgi(app)).status == 500
    assert len(app.log) == 1


class Odd(OSError):
    pass


@pytest.mark.parametrize("kind", [LookupError, Odd, TimeoutError, ConnectionResetError])
def test_a_late_failure_is_raised_after_what_came_before_and_never_looks_whole(app, send, kind):
    @app.get("/")
    def view():
        def pieces():
            for n in range(100):
                yield f"{n}\n"
            raise kind("boom")

        return send(pieces())

    client, error = failing(from_wsgi(app))
    assert isinstance(error, kind)
    assert client.status == 200
    assert client.body == b"".join(b"%d\n" % n for n in range(100))
    assert not client.complete
    assert app.log == teardowns(app, error="boom")


def test_a_deadline_breaks_the_answer_off(app):
    @app.get("/")
    def view():
        def pieces():
            yield "first\n"
            time.sleep(3)

        return stream(pieces(), "text", deadline_s=1)

    client, error = failing(from_wsgi(app))
    assert isinstance(error, DeadlineExceeded)
    assert client.body == b"first\n"


@pytest.mark.parametrize("length", [3, 1000])
def test_a_length_that_is_not_kept_is_an_error(app, length):
    @app.get("/")
    def view():
        rows = ((n,) for n in range(100))
        return stream(rows, "ndjson", headers={"Content-Length": str(length)})

    client, error = failing(from_wsgi(app))
    assert isinstance(error, LengthMismatch)
    assert not client.complete
    assert len(app.log) == 1


@pytest.mark.alone
@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_a_client_that_leaves_stops_the_stream_once_and_quickly(app, send, chunks):
    @app.get("/")
    def view():
        def pieces():
            try:
                for n in itertools.count():
                    time.sleep(0.01)
                    yield f"{n}\n"
            finally:
                app.log.append("closed")

        return send(pieces())

    async def main():
        client = Client(from_wsgi(app))
        task = asyncio.create_task(client.run())
        await client.until(chunks)
        client.left.set()
        started = time.monotonic()
        await task
        assert time.monotonic() - started < 0.4
        assert not client.complete

    run(main())
    wait_for(lambda: len(app.log) == 1 + len(teardowns(app)))
    assert app.log == ["closed", *teardowns(app)]


def test_a_client_that_leaves_a_stuck_source_is_let_go(app, monkeypatch):
    monkeypatch.undo()  # The wait of a close is as it is for users.
    free = threading.Event()

    @app.get("/")
    def view():
        def pieces():
            try:
                yield "first\n"
                free.wait(10)
                yield "second\n"
            finally:
                app.log.append("closed")

        return stream(pieces(), "text")

    async def main():
        client = Client(from_wsgi(app))
        task = asyncio.create_task(client.run())
        await client.until(1)
        client.left.set()
        started = time.monotonic()
        await task
        assert time.monotonic() - started < 8
        assert app.log == []
        free.set()
        while len(app.log) < 2:
            await asyncio.sleep(0.005)
        assert app.log == ["closed", ("teardown", None)]

    run(main())


@pytest.mark.parametrize("error", [BrokenPipeError, OSError])
def test_a_send_that_says_the_client_has_left_is_no_failure(app, send, error):
    @app.get("/")
    def view():
        return send(f"{n}\n" for n in range(10**6))

    async def main():
        client = Client(from_wsgi(app))

        async def fail(message):
            if len(client.sent) == 3:
                raise error
            client.sent.append(message)

        client.send = fail
        await client.run()

    run(main())
    assert app.log == teardowns(app)


def test_a_request_cancelled_in_its_view_is_closed_and_its_worker_stays():
    entered, free = threading.Event(), threading.Event()
    body = Closing([b"a", b"b"])

    def app(environ, start_response):
        start_response(OK, [])
        if environ["PATH_INFO"] == "/small":
            return [b"small"]
        entered.set()
        free.wait(10)
        return body

    async def main():
        bridged = from_wsgi(app, threads=1)
        task = asyncio.create_task(Client(bridged).run())
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        waiting = asyncio.create_task(Client(bridged).run())
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.wait([waiting])
        free.set()
        assert (await Client(bridged, "/small").run()).body == b"small"
        while not body.closed:
            await asyncio.sleep(0.005)

    run(main())
    assert body.closed == 1


def test_interleaved_streams_see_their_own_request(app, send):
    @app.get("/<name>")
    def view(name):
        flask.g.name = name

        def pieces():
            for n in range(30):
                time.sleep(n % 3 / 1000)
                yield f"{flask.request.path}={flask.g.name};"

        return send(pieces())

    async def main():
        bridged = from_wsgi(app, threads=3)
        clients = [Client(bridged, f"/{name}") for name in "abcdefgh"]
        await asyncio.gather(*[client.run() for client in clients])
        for name, client in zip("abcdefgh", clients):
            assert client.body == f"/{name}={name};".encode() * 30

    run(main())
    assert app.log == teardowns(app, 8)


@pytest.mark.parametrize("kind", ["cursor", "generator", "g"])
def test_sqlite_in_the_view_stays_on_its_thread_under_ten_streams(app, kind):
    def db():
        if "db" not in flask.g:
            flask.g.db = sqlite3.connect(":memory:")
        return flask.g.db

    @app.teardown_appcontext
    def close_db(error):
        flask.g.pop("db").close()
        app.log.append("db closed")

    @app.get("/")
    def view():
        con = db()
        if kind == "cursor":
            return stream(con.execute(NUMBERS), "ndjson")
        if kind == "generator":
            return stream((row for row in con.execute(NUMBERS)), "ndjson")

        def rows():
            for (n,) in flask.g.db.execute(NUMBERS):
                yield f"[{n}]\n"

        return stream(rows(), "text")

    before = threading.active_count()

    async def main():
        bridged = from_wsgi(app, threads=2)
        clients = await asyncio.gather(*[Client(bridged).run() for _ in range(10)])
        row = b'{"i":%d}\n' if kind == "cursor" else b"[%d]\n"  # A cursor names its columns.
        expected = b"".join(row % n for n in range(1, 3001))
        assert all(client.body == expected for client in clients)

    run(main())
    wait_for(lambda: threading.active_count() <= before + 2)
    assert app.log.count("db closed") == 10
    assert app.log.count(("teardown", None)) == 10


def test_sqlite_in_a_plain_generator_stays_on_its_thread_too():
    def app(environ, start_response):
        start_response(OK, [])
        con = sqlite3.connect(":memory:")
        yield b"[0]\n"
        for (n,) in con.execute(NUMBERS):
            yield b"[%d]\n" % n
        con.close()

    async def main():
        bridged = from_wsgi(app, threads=2)
        clients = await asyncio.gather(*[Client(bridged).run() for _ in range(10)])
        expected = b"".join(b"[%d]\n" % n for n in range(3001))
        assert all(client.body == expected for client in clients)

    run(main())


@pytest.mark.alone
def test_a_stuck_source_delays_nothing_by_more_than_100_ms(app):
    made = {}

    @app.get("/")
    def view():
        def rows():
            n = 0
            for burst in (2, 40, 3, 1000):
                for _ in range(burst):
                    made[n] = time.monotonic()
                    yield (n,)
                    n += 1
                time.sleep(0.5)

        return stream(rows(), "ndjson")

    client = get(from_wsgi(app))
    sent = {}
    for message, at in zip(client.sent[1:], client.times[1:]):
        for line in message["body"].split():
            sent[int(line[1:-1])] = at
    assert len(sent) == len(made) == 1045
    assert max(sent[n] - made[n] for n in made) < 0.1


def test_a_stalled_client_holds_no_worker_and_little_is_made_ahead_for_it(app, send):
    made = []

    @app.get("/")
    def view():
        def pieces():
            for n in range(100_000):
                made.append(n)
                yield f"{n:099}\n"

        return send(pieces())

    async def main():
        bridged = from_wsgi(app, threads=1)
        stalled = Client(bridged)
        stalled.reads.clear()
        task = asyncio.create_task(stalled.run())
        await stalled.until(0)
        assert (await Client(bridged, "/small").run()).body == b"small"
        stalled.reads.set()
        await stalled.until(1)
        stalled.reads.clear()
        count = -1
        while count < len(made):
            count = len(made)
            await asyncio.sleep(0.2)
        assert (await Client(bridged, "/small").run()).body == b"small"
        await asyncio.sleep(0.2)
        assert len(made) == count
        ahead = count * 100 - len(stalled.body)
        assert ahead <= 3 * 64 * 1024
        stalled.left.set()
        stalled.reads.set()
        await task

    run(main())


# Streams of plain WSGI


@pytest.mark.parametrize("count", [0, 1, 5, 20_000])
@pytest.mark.parametrize("kind", [iter, list])
def test_a_plain_wsgi_stream_is_whole_and_tells_its_end_once(count, kind):
    told = []

    def app(environ, start_response):
        rows = kind([(n,) for n in range(count)])
        plan = unspool.wsgi.stream(rows, "ndjson", on_close=lambda *end: told.append(end))
        return plan(environ, start_response)

    client = get(from_wsgi(app))
    expected = b"".join(b"[%d]\n" % n for n in range(count))
    assert client.body == expected
    assert told == [("complete", count, len(expected))]


def test_a_limited_stream_is_whole_and_closed():
    def app(environ, start_response):
        return unspool.wsgi.stream(((n,) for n in range(20_000)), "ndjson")(environ, start_response)

    bridged = from_wsgi(unspool.wsgi.limit(app, streams_max=1))
    expected = b"".join(b"[%d]\n" % n for n in range(20_000))
    for _ in range(3):
        client = get(bridged)
        assert (client.status, client.body) == (200, expected)


@pytest.mark.alone
def test_a_limited_stream_sends_each_row_while_the_next_one_is_stuck():
    made = []

    def rows():
        for n in range(3):
            made.append(time.monotonic())
            yield (n, "x" * 10)
            yield (n, "y" * 10)
            time.sleep(0.3)

    def app(environ, start_response):
        return unspool.wsgi.stream(rows(), "ndjson")(environ, start_response)

    async def main():
        return await Client(from_wsgi(unspool.wsgi.limit(app, streams_max=1))).run()

    client = run(main())
    sent = [at for message, at in zip(client.sent, client.times) if message.get("body")]
    first_of_each = [
        at for at, message in zip(client.times, client.sent) if b"y" in message.get("body", b"")
    ]
    assert len(sent) >= 3
    assert max(at - since for since, at in zip(made, first_of_each)) < 0.2


@pytest.mark.alone
def test_a_compressed_template_sends_what_it_made_while_it_is_stuck():
    def rows():
        yield 1
        yield 2
        time.sleep(0.5)
        yield 3

    app = flask.Flask(__name__)

    @app.get("/")
    def view():
        source = "{% for n in rows %}<li>{{ n }}</li>{% endfor %}"
        return unspool.flask.compressed(unspool.flask.stream_template_string(source, rows=rows()))

    async def main():
        started = time.monotonic()
        client = await Client(from_wsgi(app)).run()
        return client.body, {
            message["body"]: at - started for message, at in zip(client.sent[1:], client.times[1:])
        }

    body, times = run(main())
    assert body == b"<li>1</li><li>2</li><li>3</li>"
    assert sum(len(chunk) for chunk, at in times.items() if at < 0.4) >= len("<li>1</li><li>2</li>")


@pytest.mark.parametrize("watch", [False, True])
def test_a_limit_takes_count_and_a_watch_for_slow_clients_keeps_its_chunks(watch):
    """The second stream is refused while the first one is sent."""

    def app(environ, start_response):
        return unspool.wsgi.stream(((n,) for n in range(10**9)), "ndjson")(environ, start_response)

    least = {"bytes_per_s_min": 1.0} if watch else {}
    bridged = from_wsgi(unspool.wsgi.limit(app, streams_max=1, **least))

    async def main():
        first = Client(bridged)
        sending = asyncio.create_task(first.run())
        await first.until(2)
        second = await Client(bridged).run()
        first.left.set()
        await sending
        for _ in range(100):
            await asyncio.sleep(0.01)
        third = Client(bridged)
        sending = asyncio.create_task(third.run())
        await third.until(1)
        third.left.set()
        await sending
        return second.status, third.status

    assert run(main()) == (503, 200)


def test_what_was_written_before_a_stream_comes_before_it():
    def app(environ, start_response):
        def start(status, headers):
            start_response(status, headers)(b"written ")

        return unspool.wsgi.stream(iter([(1,)]), "ndjson")(environ, start)

    for limited in (app, unspool.wsgi.limit(app, streams_max=1)):
        assert get(from_wsgi(limited)).body == b"written [1]\n"


@pytest.mark.parametrize("size", [1, 4, 5])
def test_a_client_that_leaves_in_front_of_an_unread_upload_is_noticed(size):
    """Up to 256 KiB are read ahead to see it: four pieces."""

    def rows():
        for n in itertools.count():
            time.sleep(0.01)
            yield (n,)

    def app(environ, start_response):
        return unspool.wsgi.stream(rows(), "ndjson")(environ, start_response)

    class Uploading(Client):
        async def receive(self):
            if self.requests:
                return {**self.requests.popleft(), "more_body": True}
            return await super().receive()

    async def main():
        client = Uploading(from_wsgi(app), body=[b"x" * 65_536] * (1 + size), method="POST")
        sending = asyncio.create_task(client.run())
        await client.until(2)
        client.left.set()
        done, _ = await asyncio.wait([sending], timeout=10 if size <= 3 else 1)
        sending.cancel()
        return bool(done), len(client.requests)

    seen, unread = run(main())
    assert seen is (size <= 3)
    assert unread == max(0, size - 3)


@pytest.mark.parametrize(
    ("root", "path", "script_name", "path_info"),
    [
        ("", "/a", "", "/a"),
        ("/", "/a", "", "/a"),
        ("/app", "/app/a", "/app", "/a"),
        ("/app", "/app/", "/app", "/"),
        ("/app", "/app", "/app", ""),
        ("/app/", "/app/a", "/app", "/a"),
        ("/app", "/a", "/app", "/a"),
        ("/app", "/application/a", "/app", "/application/a"),
        ("/Grüße", "/Grüße/a", "/GrÃ¼Ã\x9fe", "/a"),
    ],
)
def test_the_root_path_is_split_from_the_path(root, path, script_name, path_info):
    environ = environ_of(path, root_path=root)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)
    assert environ["REQUEST_URI"] == path.encode().decode("latin-1")


# A real server


@contextmanager
def uvicorn_of(app):
    uvicorn = pytest.importorskip("uvicorn")

    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)


def test_on_uvicorn(app, send):
    import http.client

    @app.get("/rows")
    def rows():
        return send(f"{n}\n" for n in range(5_000))

    @app.get("/fail")
    def fail():
        def pieces():
            yield "some\n"
            raise LookupError("boom")

        return send(pieces())

    @app.post("/upload")
    def take_upload():
        data = flask.request.files["file"].read()
        return send(piece.decode() for piece in split(data, 10_000))

    def ask(method, path, body=None, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        try:
            return response.status, response.read()
        finally:
            response.close()
            connection.close()

    data = b"0123456789" * 300_000
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    form, kind = part + data + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"
    with uvicorn_of(from_wsgi(app)) as port:
        assert ask("GET", "/rows") == (200, b"".join(b"%d\n" % n for n in range(5_000)))
        assert ask("HEAD", "/rows") == (200, b"")
        assert ask("GET", "/nowhere")[0] == 404
        assert ask("POST", "/upload", form, {"Content-Type": kind}) == (200, data)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            ask("GET", "/fail")
    wait_for(lambda: len(app.log) == len(teardowns(app, 5)))


# Compression


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("kind", ["rows", "template"])
def test_a_compressed_answer_is_taken_over_at_its_source(kind, coding):
    app = flask.Flask("test")
    threads = set()

    def numbers():
        for n in range(20_000):
            threads.add(threading.current_thread().name)
            yield n

    @app.get("/")
    def view():
        if kind == "rows":
            return stream(((n,) for n in numbers()), "ndjson", compress=True)
        page = "{% for n in numbers %}[{{ n }}]\n{% endfor %}"
        return compressed(stream_template_string(page, numbers=numbers()))

    headers = [(b"accept-encoding", coding.encode())]
    client = get(from_wsgi(app), headers=headers)
    assert dict(client.headers)[b"content-encoding"] == coding.encode()
    assert dict(client.headers)[b"vary"] == b"Accept-Encoding"
    read = reader(coding)
    parts = [read(message["body"]) for message in client.sent[1:] if message["body"]]
    assert b"".join(parts) == b"".join(b"[%d]\n" % n for n in range(20_000))
    assert len(parts) > 3
    assert all(name.startswith("unspool-worker") for name in threads), threads


@pytest.mark.parametrize("fail_at", [1, 5, 5000])
def test_a_compressed_answer_that_fails_has_no_end(fail_at):
    app = flask.Flask("test")

    @app.get("/")
    def view():
        def rows():
            for n in range(fail_at):
                yield (n,)
            raise LookupError("boom")

        return stream(rows(), "ndjson", compress=True)

    client, error = failing(from_wsgi(app), headers=[(b"accept-encoding", b"gzip")])
    assert isinstance(error, LookupError)
    assert not client.complete
    decoder = zlib.decompressobj(31)
    assert decoder.decompress(client.body) == b"".join(b"[%d]\n" % n for n in range(fail_at))
    assert not decoder.eof


@pytest.mark.parametrize("path", ["/", "/page"])
def test_head_has_the_headers_of_the_compressed_answer(path):
    app = flask.Flask("test")
    app.add_url_rule("/", "rows", lambda: stream(iter([(1,)]), "ndjson", compress=True))
    app.add_url_rule("/page", "page", lambda: compressed(stream_template_string("x")))
    headers = [(b"accept-encoding", b"gzip")]
    got = get(from_wsgi(app), path, headers=headers)
    head = get(from_wsgi(app), path, headers=headers, method="HEAD")
    assert head.headers == got.headers
    assert (b"content-encoding", b"gzip") in head.headers
    assert head.body == b""


def test_whoever_asked_is_told_that_the_client_left_while_the_view_runs():
    told, began = threading.Event(), threading.Event()

    def app(environ, start_response):
        environ[LEAVING].tell(told.set)
        began.set()
        in_time.append(told.wait(5))
        environ[LEAVING].tell(late.set)  # It has left: told at once.
        start_response(OK, [])
        return [b"nobody reads this"]

    async def main():
        client = Client(from_wsgi(app))
        running = asyncio.ensure_future(client.run())
        await asyncio.to_thread(began.wait)
        client.left.set()
        await running

    in_time, late = [], threading.Event()
    run(main())
    assert in_time == [True]
    assert late.is_set()


def test_nobody_is_told_of_a_client_that_stays():
    told = []

    def app(environ, start_response):
        environ[LEAVING].tell(lambda: told.append(1))
        start_response(OK, [])
        return [b"x"]

    assert get(from_wsgi(app), body=[b"a", b"b"]).body == b"x"
    assert told == []


def test_whoever_asked_is_told_that_the_client_left_while_the_body_waits():
    told, waits = threading.Event(), threading.Event()
    in_time = []

    def app(environ, start_response):
        environ[LEAVING].tell(told.set)
        start_response(OK, [])
        yield b"x"
        waits.set()
        in_time.append(told.wait(5))

    async def main():
        client = Client(from_wsgi(app))
        running = asyncio.ensure_future(client.run())
        await asyncio.to_thread(waits.wait)
        client.left.set()
        await running

    run(main())
    for _ in range(100):
        if in_time:
            break
        time.sleep(0.05)
    assert in_time == [True]


def test_nobody_is_told_of_a_body_that_ends():
    told = []

    def app(environ, start_response):
        environ[LEAVING].tell(lambda: told.append(1))
        start_response(OK, [])
        yield b"x"

    assert get(from_wsgi(app)).body == b"x"
    assert told == []


@pytest.mark.parametrize("body", [[b"x"], iter([b"x"])], ids=["list", "pieces"])
def test_nobody_is_told_when_the_server_says_after_the_answer_that_the_client_has_left(body):
    told = []

    def app(environ, start_response):
        environ[LEAVING].tell(lambda: told.append(1))
        start_response(OK, [])
        return body

    class AsUvicorn(Client):
        async def send(self, message):
            await super().send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.left.set()
                await asyncio.sleep(0.05)

    assert run(AsUvicorn(from_wsgi(app)).run()).body == b"x"
    assert told == []


def test_a_page_that_waits_for_a_block_lets_go_of_its_thread_when_the_client_leaves():
    from unspool.templates import defer

    app = flask.Flask("test")
    app.jinja_env.add_extension("unspool.templates.Streaming")
    go_on, begun = threading.Event(), threading.Event()

    def wait():
        begun.set()
        go_on.wait(20)

    @app.get("/")
    def page():
        return stream_template_string(
            "shell{% defer x %}{{ slow }}{% enddefer %}", slow=defer(wait)
        )

    @app.get("/small")
    def small():
        return "small"

    bridge = from_wsgi(app, threads=1)

    async def main():
        client = Client(bridge)
        running = asyncio.ensure_future(client.run())
        await asyncio.to_thread(begun.wait)
        client.left.set()
        await running
        return await asyncio.wait_for(asyncio.ensure_future(Client(bridge, "/small").run()), 5)

    try:
        assert run(main()).body == b"small"
    finally:
        go_on.set()
