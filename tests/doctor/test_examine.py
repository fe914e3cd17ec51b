"""`examine`: it names the layer that breaks a stream, and no other."""

import asyncio
import gzip
import itertools
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import fastapi
import flask
import httpx
import pytest
from flask_caching import Cache
from flask_compress import Compress
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from werkzeug.debug import DebuggedApplication
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.profiler import ProfilerMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from unspool import UsageError
from unspool.asgi import from_wsgi, guard
from unspool.doctor import examine
from unspool.doctor.layers import find_slot, name_of
from unspool.doctor.measure import Measured
from unspool.doctor.verdicts import findings
from unspool.wsgi import limit

COLLECTS = "collects the whole answer before it gives the first byte"
HIDES = "ends a failed answer as if it were complete"
SRC = str(Path(__file__).parent.parent.parent / "src")


def plain_flask():
    return flask.Flask("shop")


def of(app):
    """What is found, as layer and problem."""
    diagnosis = examine(app)
    return [(finding.layer, finding.problem) for finding in diagnosis.findings]


def row_of(diagnosis, layer):
    (row,) = [row for row in diagnosis.rows if row[0] == layer]
    return dict(zip(diagnosis.columns, row))


def test_the_profiler_collects():
    app = ProxyFix(ProfilerMiddleware(plain_flask(), stream=None))
    assert of(app) == [("werkzeug.middleware.profiler.ProfilerMiddleware", COLLECTS)]


def test_the_debugger_hides_failures():
    app = DebuggedApplication(ProxyFix(plain_flask()))
    assert of(app) == [("werkzeug.debug.DebuggedApplication", HIDES)]


def test_a_middleware_inside_the_flask_app_is_found_too():
    app = plain_flask()
    app.wsgi_app = ProxyFix(ProfilerMiddleware(app.wsgi_app, stream=None))
    assert of(app) == [("werkzeug.middleware.profiler.ProfilerMiddleware", COLLECTS)]
    names = [row[0] for row in examine(app).rows]
    assert names == [
        "werkzeug.middleware.proxy_fix.ProxyFix",
        "werkzeug.middleware.profiler.ProfilerMiddleware",
        "flask.app.Flask",
        "all together",
    ]


def test_flask_compress_collects_what_it_compresses_and_loses_the_close():
    app = plain_flask()
    Compress(app)
    layer = "flask_compress.flask_compress.Compress.after_request"
    assert of(app) == [
        (layer, COLLECTS + " (application/json, text/html)"),
        (
            layer,
            "closes the source never when the client leaves early (application/json, text/html)",
        ),
    ]
    app.config["COMPRESS_STREAMS"] = False
    assert of(app) == []


def test_flask_caching_collects_generators_and_caches_nothing_of_the_probe():
    app = plain_flask()
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    called = []

    @app.get("/cached")
    @cache.cached(key_prefix="one-key")
    def view():
        called.append(1)
        return "page"

    backend = app.extensions["cache"][cache]
    layer = "flask_caching.Cache.cached.decorator.decorated_function"
    assert of(app) == [(layer, COLLECTS)]
    assert app.extensions["cache"][cache] is backend
    assert called == []
    assert app.test_client().get("/cached").text == "page"


def test_after_request_functions_are_layers_of_their_own():
    app = plain_flask()

    @app.after_request
    def fine(response):
        response.headers["X-Fine"] = "1"
        return response

    @app.after_request
    def tag(response):
        response.add_etag()
        return response

    @app.after_request
    def careful(response):
        if not response.is_streamed:
            response.add_etag()
        return response

    name = f"{__name__}.{test_after_request_functions_are_layers_of_their_own.__name__}."
    diagnosis = examine(app)
    assert [(f.layer, f.problem) for f in diagnosis.findings] == [(name + "tag", COLLECTS)]
    assert "is_streamed" in diagnosis.findings[0].remedy
    assert row_of(diagnosis, name + "tag")["headers"] == "+Content-Length +ETag"
    assert row_of(diagnosis, name + "careful")["headers"] == ""


def test_an_after_request_function_that_needs_a_before_request_function_is_asked_with_it():
    app = plain_flask()

    @app.before_request
    def begin():
        flask.g.began = 1

    @app.after_request
    def end(response):
        response.headers["X-Began"] = str(flask.g.began)
        return response

    diagnosis = examine(app)
    assert diagnosis.passed
    assert not any("not seen" in row[1] for row in diagnosis.rows)


def test_what_answers_by_itself_is_not_seen_and_its_neighbours_are():
    app = plain_flask()
    app.before_request(lambda: flask.abort(401))
    app.wsgi_app = ProfilerMiddleware(app.wsgi_app, stream=None)
    diagnosis = examine(app)
    assert [f.problem for f in diagnosis.findings] == [COLLECTS]
    together = row_of(diagnosis, "all together")["holds back"]
    assert together == "not seen: it answered by itself, with status 401"


def test_base_http_middleware_hides_failures_and_the_guard_mends_it():
    async def timing(request, call_next):
        return await call_next(request)

    class Timing(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    app = fastapi.FastAPI()
    app.middleware("http")(timing)
    here = f"{__name__}.{test_base_http_middleware_hides_failures_and_the_guard_mends_it.__name__}"
    layer = f"starlette.middleware.base.BaseHTTPMiddleware ({here}.timing)"
    assert of(app) == [(layer, HIDES)]
    assert examine(guard(app)).passed

    own = Starlette()
    own.add_middleware(Timing)
    (finding,) = examine(own).findings
    assert (finding.layer, finding.problem) == (f"{here}.Timing", HIDES)
    assert "guard" in finding.remedy


def test_the_gzip_of_starlette_streams_and_is_named_as_what_sets_the_coding():
    app = Starlette()
    app.add_middleware(GZipMiddleware)
    diagnosis = examine(app)
    assert diagnosis.passed
    changed = {row[0]: row[-1] for row in diagnosis.rows if row[-1]}
    assert changed == {
        "starlette.middleware.gzip.GZipMiddleware": "+Content-Encoding",
        "all together": "+Content-Encoding",
    }


@pytest.mark.parametrize(
    "app",
    [
        ProxyFix(limit(DispatcherMiddleware(plain_flask()), streams_max=4)),
        Starlette(),
        guard(fastapi.FastAPI()),
        from_wsgi(ProxyFix(plain_flask())),
    ],
    ids=["wsgi", "starlette", "fastapi", "bridge"],
)
def test_nothing_is_wrong_with_a_clean_stack(app):
    diagnosis = examine(app)
    assert diagnosis.passed, str(diagnosis)
    assert len(diagnosis.rows) > 1
    assert not any("not seen" in cell for row in diagnosis.rows for cell in row)


def test_the_app_is_left_as_it_was_and_no_view_runs():
    app = plain_flask()
    ran = []
    app.get("/")(lambda: ran.append(1) or "ok")
    app.after_request(lambda response: response)
    app.wsgi_app = inner = ProxyFix(app.wsgi_app)
    below = inner.app
    before = dict(vars(app))
    examine(app)
    assert vars(app) == before
    assert app.wsgi_app is inner and inner.app == below
    assert ran == []
    assert app.test_client().get("/").text == "ok"


def test_a_plain_app_has_no_layers():
    def app(environ, start_response):
        raise AssertionError("never called")

    diagnosis = examine(app)
    assert (diagnosis.rows, diagnosis.findings) == ((), ())


def test_what_is_no_app_is_refused():
    with pytest.raises(UsageError, match="must be a WSGI or ASGI application; got 'shop'"):
        examine("shop")


# Middlewares that do one thing wrong, and what is found.


class Wrapped:
    """A WSGI middleware whose body does something to that of the app."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        return self.body(self.app(environ, start_response))


class Passing(Wrapped):
    body = staticmethod(lambda body: body)


class Holding(Wrapped):
    """Passes rows on when so many have come."""

    rows = 3

    def body(self, body):
        try:
            while chunk := list(itertools.islice(body, self.rows)):
                yield b"".join(chunk)
        finally:
            body.close()


class HoldingTwo(Holding):
    rows = 2


class Swallowing(Wrapped):
    def body(self, body):
        try:
            yield from body
        except Exception:
            pass
        finally:
            pass


class Losing(Wrapped):
    def body(self, body):
        try:
            next(body)
            for row in body:
                yield row
        finally:
            body.close()


class NeverClosing(Wrapped):
    class Body:
        def __init__(self, body):
            self.__iter__ = body.__iter__
            self.body = body

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.body)

    def body(self, body):
        return self.Body(body)


class ClosingTwice(NeverClosing):
    class Body(NeverClosing.Body):
        def close(self):
            self.body.close()
            self.body.close()


class Headers(Wrapped):
    def __call__(self, environ, start_response):
        def start(status, headers, *rest):
            return start_response(status, self.changed(headers), *rest)

        return self.app(environ, start)


class AddingLength(Headers):
    def changed(self, headers):
        return [*headers, ("Content-Length", "131072")]


class DroppingAccel(Headers):
    def changed(self, headers):
        return [each for each in headers if each[0] != "X-Accel-Buffering"]


class Failing(Wrapped):
    def body(self, body):
        body.close()
        raise TypeError("no list")


def closure(app):
    def middleware(environ, start_response):
        return [b"".join(app(environ, start_response))]

    return middleware


class Odd:
    """Keeps the app under a name that nobody has heard of."""

    def __init__(self, app):
        self._what_comes_then = app
        self.helper = len

    def __call__(self, environ, start_response):
        return [b"".join(self._what_comes_then(environ, start_response))]


@pytest.mark.parametrize(
    ("middleware", "problems"),
    [
        (Passing, []),
        (HoldingTwo, []),
        (Holding, ["holds back up to 3 rows, 0.4 KiB"]),
        (Swallowing, [HIDES]),
        (Losing, ["changes the rows, or loses some"]),
        (NeverClosing, ["closes the source never when the client leaves early"]),
        (ClosingTwice, ["closes the source 2 times when the client leaves early"]),
        (AddingLength, ["adds a Content-Length to an answer whose length it cannot know"]),
        (DroppingAccel, ["takes X-Accel-Buffering away, so that nginx collects the answer"]),
        (Failing, ["fails when the answer is a stream (TypeError: no list)"]),
        (closure, [COLLECTS, "closes the source never when the client leaves early"]),
        (Odd, [COLLECTS, "closes the source never when the client leaves early"]),
    ],
)
def test_each_fault_of_a_wsgi_middleware_is_found_in_it_alone(middleware, problems):
    wrong = middleware(plain_flask())
    diagnosis = examine(ProxyFix(wrong))
    assert [f.problem for f in diagnosis.findings] == problems
    assert {f.layer for f in diagnosis.findings} <= {name_of(wrong)}


class Queueing:
    """Runs the app in a task, and keeps what it gives in a queue."""

    def __init__(self, app, size=0):
        self.app = app
        self.size = size

    async def __call__(self, scope, receive, send):
        queue = asyncio.Queue(self.size)

        async def run():
            try:
                await self.app(scope, receive, queue.put)
            except Exception as error:
                await self.failed(queue, error)

        task = asyncio.ensure_future(run())
        try:
            while True:
                message = await queue.get()
                if isinstance(message, Exception):
                    raise message
                await send(message)
                if not message.get("more_body", True):
                    break
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def failed(self, queue, error):
        await queue.put(error)


class Bounded(Queueing):
    def __init__(self, app):
        super().__init__(app, size=100)


class Hanging(Bounded):
    """Forgets that the app can fail."""

    async def failed(self, queue, error):
        pass


class Deaf:
    """Never tells the app that the client has left."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        requests = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def never():
            return next(requests, None) or await asyncio.Event().wait()

        await self.app(scope, never, send)


class Pairing:
    """Sends two chunks as one."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        held = b""

        async def pair(message):
            nonlocal held
            held += message.get("body", b"")
            if len(held) >= 3 * 128 or not message.get("more_body"):
                message, held = {**message, "body": held}, b""
                await send(message)

        await self.app(scope, receive, pair)


@pytest.mark.parametrize(
    ("middleware", "problem"),
    [
        (Deaf, "goes on when the client has left"),
        (Pairing, "holds back up to 3 rows, 0.4 KiB"),
        (Queueing, "runs 1021 rows ahead of a client that has stopped reading"),
        (Hanging, "hangs when the answer fails"),
        (Bounded, None),
    ],
)
def test_each_fault_of_an_asgi_middleware_is_found_in_it_alone(middleware, problem, monkeypatch):
    patience_s = 2.0 if middleware is Hanging else 20.0
    monkeypatch.setattr("unspool.doctor.measure._PATIENCE_S", patience_s)
    monkeypatch.setattr("unspool.doctor.measure._STILL_S", 0.2)
    monkeypatch.setattr("unspool.doctor.measure._PAUSE_S", 5.0)
    monkeypatch.setattr("unspool.client._LEAVE_S", 1.0)
    monkeypatch.setattr("unspool.doctor.app.MEDIA_TYPES", ("text/csv",))
    wrong = middleware(Starlette())
    diagnosis = examine(guard(wrong))
    found = [(f.layer, f.problem) for f in diagnosis.findings]
    assert found == ([] if problem is None else [(name_of(wrong), problem)])


@pytest.mark.parametrize(
    ("name", "fine", "wrong"),
    [
        ("waited_rows", 2, 3),
        ("ahead_rows", 256, 257),
        ("after_leaving_rows", 100, 101),
        ("members", 1, 2),
        ("closed", 1, 0),
        ("closed", 1, 2),
    ],
)
def test_each_limit_of_a_verdict(name, fine, wrong):
    good = {"reached": True, "whole": True, "closed": 1, "waited_rows": 1}
    assert findings("layer", [Measured("text/csv", **{**good, name: fine})]) == []
    assert len(findings("layer", [Measured("text/csv", **{**good, name: wrong})])) == 1


def test_a_slot_is_what_takes_a_request_and_no_other_callable():
    class Layer:
        def __init__(self):
            self.call = self.method
            self.kind = dict
            self.one = lambda request: None
            self.then = lambda environ, start_response: None

        def method(self, environ, start_response):
            pass

    layer = Layer()
    assert find_slot(layer).get() is layer.then
    del layer.then
    assert find_slot(layer) is None


# What cannot be had twice in a process, or not be got rid of again, has one of its own.


def doctor(tmp_path, source, target="project:app"):
    (tmp_path / "project.py").write_text(textwrap.dedent(source))
    command = [sys.executable, "-m", "unspool", "doctor", target]
    env = {"PYTHONPATH": SRC, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, done.stdout


DJANGO = """
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    ROOT_URLCONF=__name__,
    SECURE_SSL_REDIRECT=True,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.auth"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        {gzip}
        "django.middleware.http.ConditionalGetMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
)
urlpatterns = []

from django.core.{kind} import get_{kind}_application

app = get_{kind}_application()
"""

GZIP = "django.middleware.gzip.GZipMiddleware"
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"


def found_in(output):
    """The lines that name a finding."""
    return [line[3:] for line in output.splitlines() if line[:1].isdigit()]


def cells_of(output, layer):
    (line,) = [line for line in output.splitlines() if line.startswith(layer + " ")]
    return line.split()[1:]


def test_the_gzip_of_django_holds_back_under_wsgi(tmp_path):
    code, output = doctor(tmp_path, DJANGO.format(gzip=f'"{GZIP}",', kind="wsgi"))
    (found,) = found_in(output)
    assert (code, found.startswith(f"{GZIP} holds back up to ")) == (1, True)
    assert cells_of(output, GZIP)[-1] == "+Content-Encoding"
    assert cells_of(output, CONDITIONAL) == ["no", "no", "no", "once", "visible"]


def test_the_gzip_of_django_compresses_each_chunk_by_itself_under_asgi(tmp_path):
    code, output = doctor(tmp_path, DJANGO.format(gzip=f'"{GZIP}",', kind="asgi"))
    problem = "compresses each chunk by itself, and Chromium, curl and httpx read only the first."
    assert (code, found_in(output)) == (1, [f"{GZIP} {problem}"])
    assert cells_of(output, CONDITIONAL) == ["no", "no", "no", "once", "visible"]


def test_curl_and_httpx_read_only_the_first_of_several_gzip_streams(tmp_path):
    """What that finding is about; Chromium is like them."""
    body = gzip.compress(b"row 1\n") + gzip.compress(b"row 2\n")
    answer = httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=body)
    assert answer.content == b"row 1\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        command = ["curl", "-s", "--noproxy", "*", "--compressed", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(head % len(body) + body)
                assert curl.communicate()[0] == b"row 1\n"
    assert curl.returncode != 0


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_nothing_is_wrong_with_a_clean_django(tmp_path, kind):
    code, output = doctor(tmp_path, DJANGO.format(gzip="", kind=kind))
    assert (code, found_in(output)) == (0, []), output
    assert "not seen" not in output


def test_the_agent_of_new_relic_holds_html_back(tmp_path):
    """In its developer mode, which sends nothing."""
    code, output = doctor(
        tmp_path,
        """
        import os

        os.environ["NEW_RELIC_DEVELOPER_MODE"] = "true"
        os.environ["NEW_RELIC_LICENSE_KEY"] = "x" * 40
        os.environ["NEW_RELIC_APP_NAME"] = "shop"

        import newrelic.agent

        newrelic.agent.initialize()
        assert newrelic.agent.register_application(timeout=10).active

        from unspool import wsgi

        class App:
            def __call__(self, environ, start_response):
                return []

        app = newrelic.agent.WSGIApplicationWrapper(App())
        """,
    )
    (found,) = found_in(output)
    layer = "newrelic.common.object_wrapper.FunctionWrapper"
    assert (code, found) == (1, f"{layer} holds back up to 512 rows, 64.0 KiB (text/html).")
