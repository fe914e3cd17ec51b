"""What is seen of streams by those who watch, in every framework, and how streams are cancelled."""

import asyncio
import gc
import itertools
import logging
import os
import threading
import time
from contextlib import closing
from wsgiref.util import setup_testing_defaults

import flask
import jinja2
import pytest
import quart
from asgi_client import get
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django_project import route
from helpers import new_pipeline
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.templating import Jinja2Templates

import unspool.django
import unspool.flask
import unspool.quart
import unspool.starlette
from unspool import Cancelled, asgi, observe, wsgi
from unspool.drive import Chunks, adrive, drive
from unspool.headers import Asked
from unspool.observe import UNSEEN, born, running_streams, unseen, watch
from unspool.pipeline import CLIENT, MAKING, SOURCE, Pipeline
from unspool.templates import TemplateStream


class Watcher:
    """An observer that notes what it is told."""

    def __init__(self):
        self.log = []
        self.streams = []

    def began(self, stream):
        self.log.append(("began", stream.id))
        self.streams.append(stream)

    def goes_on(self, stream):
        self.log.append(("goes on", stream.id))

    def ended(self, stream):
        self.log.append((stream.state, stream.id))


@pytest.fixture
def watcher():
    watcher = Watcher()
    unwatch = watch(watcher)
    yield watcher
    unwatch()
    if running_streams():
        gc.collect()
    assert running_streams() == []


@pytest.fixture(autouse=True)
def nobody_else_watches(monkeypatch):
    monkeypatch.setattr(observe, "_observers", ())


class Rows:
    """Endless rows; the one that is `cancel_at` cancels the stream itself. Notes its close."""

    def __init__(self, cancel_at=None, count=None):
        self.cancel_at = cancel_at
        self.count = count
        self.closed = 0
        self.hooks = []

    def plain(self):
        try:
            for n in itertools.count() if self.count is None else range(self.count):
                if n == self.cancel_at:
                    (stream,) = running_streams()
                    assert stream.cancel()
                yield (n,)
        finally:
            self.closed += 1

    def text(self):
        for (n,) in self.plain():
            yield f"{n}\n"

    async def awaited(self):
        with closing(self.plain()) as rows:
            for row in rows:
                yield row
                await asyncio.sleep(0)

    def options(self):
        return {
            "on_close": lambda outcome, rows, sent: self.hooks.append(outcome),
            "on_error": lambda error: self.hooks.append(type(error)),
            "on_disconnect": lambda: self.hooks.append("left"),
        }


TEXT = "{% for line in lines %}{{ line }}{% endfor %}"
ENVIRONMENT = jinja2.Environment(autoescape=True)


def over_wsgi(app, method="GET", **environ):
    """What a client gets, and what the server did not."""
    setup_testing_defaults(environ)
    environ |= {"REQUEST_METHOD": method, "PATH_INFO": "/a b", "REMOTE_ADDR": "10.0.0.7"}
    body, error = b"", None
    iterable = app(environ, lambda status, headers, exc_info=None: None)
    try:
        for chunk in iterable:
            body += chunk
    except Exception as failure:
        error = failure
    finally:
        if hasattr(iterable, "close"):
            iterable.close()
    return body, error


def over_asgi(app, method="GET"):
    answer = get(app, "/a b", method)
    error = answer.error
    if not answer.ended and error is None:
        error = "the client left"
    if isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return answer.body, error


def flask_app(view):
    app = flask.Flask(__name__)
    app.add_url_rule("/a b", "view", view, provide_automatic_options=False)
    return app


def quart_app(view):
    app = quart.Quart(__name__)
    app.add_url_rule("/a b", "view", view, provide_automatic_options=False)
    return app


def starlette_app(view):
    return Starlette(routes=[Route("/a b", view)])


def django_app(view, handler):
    route(view)
    import django_project
    from django.urls import path

    django_project.urlpatterns[:] = [path("a b", view)]
    return handler()


def wsgi_stream(rows):
    return over_wsgi(
        lambda environ, start: wsgi.stream(rows.plain(), **rows.options())(environ, start)
    )


def wsgi_template(rows):
    template = ENVIRONMENT.from_string(TEXT)
    app = wsgi.stream_template(template, {"lines": rows.text()}, **rows.options())
    return over_wsgi(app)


def flask_stream(rows):
    return over_wsgi(flask_app(lambda: unspool.flask.stream(rows.plain(), **rows.options())))


def flask_same_thread(rows):
    options = rows.options() | {"same_thread": True}
    return over_wsgi(flask_app(lambda: unspool.flask.stream(rows.plain(), **options)))


def flask_template(rows):
    def view():
        return flask.Response(unspool.flask.stream_template_string(TEXT, lines=rows.text()))

    return over_wsgi(flask_app(view))


def flask_compressed(rows):
    def view():
        return unspool.flask.compressed(
            unspool.flask.stream_template_string(TEXT, lines=rows.text())
        )

    return over_wsgi(flask_app(view), HTTP_ACCEPT_ENCODING="gzip")


def django_wsgi(rows):
    def view(request):
        return unspool.django.stream(request, rows.plain(), **rows.options())

    return over_wsgi(django_app(view, WSGIHandler))


def django_asgi(rows):
    async def view(request):
        return unspool.django.stream(request, rows.plain(), **rows.options())

    return over_asgi(django_app(view, ASGIHandler))


def django_awaited(rows):
    async def view(request):
        return unspool.django.stream(request, rows.awaited(), **rows.options())

    return over_asgi(django_app(view, ASGIHandler))


def asgi_stream(rows):
    async def app(scope, receive, send):
        await asgi.stream(rows.plain(), **rows.options())(scope, receive, send)

    return over_asgi(app)


def asgi_awaited(rows):
    async def app(scope, receive, send):
        await asgi.stream(rows.awaited(), **rows.options())(scope, receive, send)

    return over_asgi(asgi.guard(app))


def asgi_template(rows):
    async def app(scope, receive, send):
        template = ENVIRONMENT.from_string(TEXT)
        answer = asgi.stream_template(template, {"lines": rows.text()}, **rows.options())
        await answer(scope, receive, send)

    return over_asgi(app)


def starlette_stream(rows):
    async def view(request):
        return unspool.starlette.stream(rows.plain(), **rows.options())

    return over_asgi(starlette_app(view))


def starlette_template(rows):
    async def view(request):
        return unspool.starlette.stream_template_string(
            request,
            Jinja2Templates(env=ENVIRONMENT),
            TEXT,
            {"lines": rows.text()},
            **rows.options(),
        )

    return over_asgi(starlette_app(view))


def quart_stream(rows):
    async def view():
        return await unspool.quart.stream(rows.plain(), **rows.options())

    return over_asgi(quart_app(view))


def quart_awaited(rows):
    async def view():
        return await unspool.quart.stream(rows.awaited(), **rows.options())

    return over_asgi(quart_app(view))


def bridged_stream(rows):
    app = flask_app(lambda: unspool.flask.stream(rows.plain(), **rows.options()))
    return over_asgi(asgi.from_wsgi(app))


def bridged_template(rows):
    def view():
        return flask.Response(unspool.flask.stream_template_string(TEXT, lines=rows.text()))

    return over_asgi(asgi.from_wsgi(flask_app(view)))


PAGES = {
    wsgi_template,
    flask_template,
    flask_compressed,
    asgi_template,
    starlette_template,
    bridged_template,
}
WITHOUT_HOOKS = {flask_template, flask_compressed, bridged_template}
CASES = [
    wsgi_stream,
    wsgi_template,
    flask_stream,
    flask_same_thread,
    flask_template,
    flask_compressed,
    django_wsgi,
    django_asgi,
    django_awaited,
    asgi_stream,
    asgi_awaited,
    asgi_template,
    starlette_stream,
    starlette_template,
    quart_stream,
    quart_awaited,
    bridged_stream,
    bridged_template,
]
in_every_framework = pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)


@in_every_framework
def test_a_stream_is_seen_from_its_start_to_the_close_of_its_source(case, watcher):
    rows = Rows(count=3000)
    body, error = case(rows)
    assert error is None
    (stream,) = watcher.streams
    assert [what for what, _ in watcher.log if what != "goes on"] == ["began", "complete"]
    record = stream.record()
    assert record["format"] == ("html" if case in PAGES else "csv")
    assert record["method"] == "GET"
    assert record["path"] == "/a b"
    assert record["client"] == ("10.0.0.7" if case.__name__ in OVER_WSGI else "127.0.0.1")
    assert record["bytes"] == len(body) > 0
    assert record["rows"] == 3000 or case in PAGES
    assert record["state"] == "complete"
    assert record["pid"] == os.getpid()
    assert stream.error is None
    assert 0 < stream.first_byte_s <= stream.age_s == pytest.approx(record["age_s"], abs=0.001)
    assert rows.closed == 1
    assert rows.hooks == ([] if case in WITHOUT_HOOKS else ["complete"])


OVER_WSGI = {
    "wsgi_stream",
    "wsgi_template",
    "flask_stream",
    "flask_same_thread",
    "flask_template",
    "flask_compressed",
    "django_wsgi",
}


@in_every_framework
@pytest.mark.parametrize("cancel_at", [1, 40_000])
def test_a_cancelled_stream_breaks_is_closed_once_and_tells_its_hooks(case, cancel_at, watcher):
    rows = Rows(cancel_at)
    body, error = case(rows)
    assert isinstance(error, Cancelled)
    assert error.id == watcher.streams[0].id
    assert [what for what, _ in watcher.log if what != "goes on"] == ["began", "cancelled"]
    assert watcher.streams[0].error is not None
    assert rows.closed == 1
    if case not in WITHOUT_HOOKS:
        assert sorted(map(str, rows.hooks)) == sorted(map(str, [Cancelled, "error"]))


@in_every_framework
def test_nothing_is_kept_of_a_stream_that_nobody_watches(case):
    rows = Rows(count=3)
    assert case(rows)[1] is None
    assert running_streams() == []


def test_while_nobody_watches_not_even_the_request_is_looked_at():
    assert born(lambda: pytest.fail("looked"), "csv", new_pipeline()) is UNSEEN


@pytest.mark.parametrize(
    "app",
    [
        flask_app(lambda: unspool.flask.stream([(1,)], formats=["csv", "json"])),
        lambda environ, start: wsgi.stream([(1,)], formats=["csv", "json"])(environ, start),
    ],
)
def test_an_answer_to_head_and_a_refusal_are_no_streams(app, watcher):
    over_wsgi(app, "HEAD")
    over_wsgi(app, QUERY_STRING="format=xlsx")
    assert watcher.log == []
    over_wsgi(app)
    assert [what for what, _ in watcher.log] == ["began", "complete"]


def test_an_asgi_answer_to_head_and_a_refusal_are_no_streams(watcher):
    async def view(request):
        return unspool.starlette.stream([(1,)], formats=["csv", "json"])

    async def quart_view():
        return await unspool.quart.stream([(1,)], formats=["csv", "json"])

    async def plain(scope, receive, send):
        await asgi.stream([(1,)], formats=["csv", "json"])(scope, receive, send)

    async def django_view(request):
        return unspool.django.stream(request, [(1,)], formats=["csv", "json"])

    for app in [
        starlette_app(view),
        quart_app(quart_view),
        plain,
        django_app(django_view, ASGIHandler),
    ]:
        get(app, "/a b", "HEAD")
        assert get(app, "/a b?format=xlsx").status == 406
        assert watcher.log == []


# States


class Recorder:
    """A source, and a format's encoder, that note the phase in which they are asked."""

    def __init__(self, batches):
        self.phases = []
        self.batches = iter(batches)
        self.pipeline = None

    def pull(self, want, timeout_s):
        self.phases.append(self.pipeline.phase)
        return next(self.batches)

    def begin(self):
        return b""

    def feed(self, batch):
        self.phases.append(self.pipeline.phase)
        return b"x" * len(batch)

    def end(self):
        return b"end"


def new_recorder():
    recorder = Recorder([[1], [2], None])
    recorder.pipeline = new_pipeline(flush_after_s=0)
    recorder.pipeline._encoder = recorder
    return recorder


SEEN = [SOURCE, MAKING, CLIENT, SOURCE, MAKING, CLIENT, SOURCE, CLIENT]


def test_a_driver_says_what_it_waits_for():
    recorder = new_recorder()
    for _ in drive(recorder.pipeline, recorder):
        recorder.phases.append(recorder.pipeline.phase)
    assert recorder.phases == SEEN


def test_the_asynchronous_driver_says_what_it_waits_for():
    recorder = new_recorder()

    class Awaited:
        async def pull(self, want, timeout_s):
            return recorder.pull(want, timeout_s)

    async def run():
        async for _ in adrive(recorder.pipeline, Awaited()):
            recorder.phases.append(recorder.pipeline.phase)

    asyncio.run(run())
    assert recorder.phases == SEEN


# What names a stream


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("_stream=" + "a" * 7, False),
        ("_stream=" + "a" * 8, True),
        ("_stream=" + "A-z_0" * 12 + "abcd", True),
        ("_stream=" + "a" * 65, False),
        ("_stream=abcd%0Aefgh", False),
        ("_stream=abcdefg.", False),
        ("_stream=abcdefgh%0A", False),
        ("a=1&_stream=abcdefgh&_stream=other-one", True),
        ("stream=abcdefgh", False),
        ("", False),
    ],
)
def test_a_query_can_name_its_stream_if_the_name_is_well_formed(query, kept, watcher):
    stream = born(lambda: Asked(query=query), "csv", new_pipeline())
    assert (stream.id in query and bool(query)) == kept
    assert 8 <= len(stream.id) <= 64
    stream.end("complete", None)


def test_a_name_is_given_once_at_a_time(watcher):
    def asked():
        return Asked(query="_stream=the-same-name")

    first, second = (born(asked, "csv", new_pipeline()) for _ in range(2))
    assert first.id == "the-same-name"
    assert second.id != first.id
    first.end("complete", None)
    third = born(asked, "csv", new_pipeline())
    assert third.id == "the-same-name"
    assert running_streams() == [second, third]
    second.end("complete", None)
    third.end("complete", None)


def test_random_names_cannot_be_guessed(watcher):
    streams = [born(Asked, "csv", new_pipeline()) for _ in range(100)]
    assert len({stream.id for stream in streams}) == 100
    assert all(len(stream.id) == 16 for stream in streams)  # 96 bits
    for stream in streams:
        stream.end("complete", None)


# Numbers


def test_rates_are_of_the_last_seconds_and_of_the_whole_once_it_is_over(watcher, monkeypatch):
    now = 100.0
    monkeypatch.setattr(observe, "monotonic", lambda: now)
    stream = born(Asked, "csv", pipeline := new_pipeline())
    for _ in range(10):
        pipeline.rows += 50
        pipeline.sent += 1000
        now += 1
        stream.sample()
    for _ in range(2):  # It gets stuck.
        now += 1
        stream.sample()
    now += 0.5
    record = stream.record()
    # The oldest of four samples is one second before it got stuck, 3.5 s ago.
    assert (record["rows_per_s"], record["bytes_per_s"]) == (
        round(50 / 3.5, 1),
        round(1000 / 3.5, 1),
    )
    assert record["age_s"] == 12.5
    stream.end("complete", None)
    now += 100
    record = stream.record()
    assert (record["rows_per_s"], record["bytes_per_s"]) == (40.0, 800.0)
    assert record["age_s"] == 12.5


def test_a_stream_that_runs_is_looked_at_once_a_second_and_the_thread_ends_with_the_last(
    watcher, monkeypatch
):
    monkeypatch.setattr(observe, "_SAMPLE_EVERY_S", 0.02)
    stream = born(Asked, "csv", new_pipeline())
    deadline = time.monotonic() + 5
    while ("goes on", stream.id) not in watcher.log:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stream.end("complete", None)
    while any(thread.name == "unspool-observe" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert observe._sampling is False


# Cancelling


def test_a_stream_that_is_over_cannot_be_cancelled(watcher):
    body = wsgi.stream([(1,)])
    over_wsgi(body)
    (stream,) = watcher.streams
    assert stream.cancel() is False
    assert stream.state == "complete"


def chunks_of(rows, watcher, **options):
    environ = {"REQUEST_METHOD": "GET"}
    plan = unspool.Stream(rows.plain(), chunk_bytes=1, **rows.options(), **options)
    chunks = wsgi.open_chunks(plan, environ)
    return chunks, watcher.streams[-1]


@pytest.mark.parametrize("taken", range(8))
def test_at_whichever_chunk_it_is_cancelled_a_stream_never_looks_complete(taken, watcher):
    rows = Rows(count=6)
    chunks, stream = chunks_of(rows, watcher, batch_rows=1, same_thread=True)
    for _ in range(min(taken, 6)):
        next(chunks)
    if taken == 7:
        assert list(chunks) == []
        assert stream.cancel() is False
        assert rows.hooks == ["complete"]
        return
    assert stream.cancel() is True
    assert stream.cancel() is True  # Again: it is no secret that it is cancelled.
    with pytest.raises(Cancelled):
        list(chunks)
    assert sorted(map(str, rows.hooks)) == sorted(map(str, [Cancelled, "error"]))
    assert rows.closed == 1


def test_a_stream_whose_server_gives_up_when_it_is_cancelled_is_told_as_cancelled(watcher):
    rows = Rows()
    chunks, stream = chunks_of(rows, watcher)
    next(chunks)
    stream.cancel()
    chunks.close()  # As servers do when their connection breaks.
    assert sorted(map(str, rows.hooks)) == sorted(map(str, [Cancelled, "error"]))
    assert stream.state == "cancelled"


def test_the_teardown_of_flask_gets_the_cancelled_error(watcher):
    seen = []
    rows = Rows(cancel_at=40_000)
    app = flask_app(lambda: unspool.flask.stream(rows.plain()))
    app.teardown_request(seen.append)
    over_wsgi(app)
    assert [type(error) for error in seen] == [Cancelled]


def test_a_query_that_runs_is_cancelled_in_its_database(watcher):
    timer = threading.Timer(0.1, lambda: running_streams()[0].cancel())

    class Query:
        columns = ("n",)
        cancelled = threading.Event()

        def read_batch(self, want):
            timer.start()
            assert self.cancelled.wait(20)
            raise LookupError("the database says: cancelled")

        def cancel(self):
            self.cancelled.set()

        def close(self):
            pass

    hooks = []
    with pytest.raises(LookupError):
        app = wsgi.stream(Query(), on_error=lambda error: hooks.append(type(error)))
        over_wsgi(app)
    timer.join()
    assert hooks == [Cancelled]


def test_what_is_to_end_a_cancelled_stream_is_called_also_if_it_comes_late(watcher):
    stream = born(Asked, "csv", new_pipeline())
    calls = []
    stream.on_cancel(lambda: calls.append("early"))
    stream.cancel()
    stream.on_cancel(lambda: calls.append("late"))
    assert calls == ["early", "late"]
    stream.end("disconnect", None)


class SlowToBegin:
    """Asynchronous rows, or plain ones, of which the first never comes."""

    closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(60)

    async def aclose(self):
        self.closed = True


def test_a_stream_that_waits_for_its_first_row_is_cancelled_at_once(watcher):
    rows = SlowToBegin()

    async def app(scope, receive, send):
        asyncio.get_running_loop().call_later(0.05, later)
        await asgi.stream(rows)(scope, receive, send)

    def later():
        (stream,) = running_streams()
        stream.cancel()

    began = time.monotonic()
    answer = get(app)
    assert time.monotonic() - began < 5
    assert isinstance(answer.error, Cancelled)
    assert answer.status is None  # Nothing was sent: the app's handlers can answer.
    assert rows.closed


def test_a_stream_that_is_stuck_in_sending_is_cancelled_at_once(watcher):
    async def never_sent(message):
        if message["type"] == "http.response.body":
            threading.Timer(0.05, running_streams()[0].cancel).start()
            await asyncio.sleep(60)

    async def receive():
        await asyncio.sleep(60)

    rows = Rows()
    scope = {"type": "http", "method": "GET", "path": "/", "http_version": "2", "headers": []}
    answer = asgi.stream(rows.plain(), **rows.options())
    began = time.monotonic()
    with pytest.raises(Cancelled):
        asyncio.run(answer(scope, receive, never_sent))
    assert time.monotonic() - began < 5
    assert rows.closed == 1
    assert sorted(map(str, rows.hooks)) == sorted(map(str, [Cancelled, "error"]))


# Those who watch


def test_an_observer_that_fails_breaks_nothing_and_is_logged(watcher, caplog):
    class Broken:
        def began(self, stream):
            raise LookupError("began")

        goes_on = ended = began

    unwatch = watch(Broken())
    rows = Rows(count=3)
    body, error = wsgi_stream(rows)
    unwatch()
    assert (body, error, rows.closed) == (b"0\r\n1\r\n2\r\n", None, 1)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert [what for what, _ in watcher.log] == ["began", "complete"]


def test_an_observer_is_told_once_however_often_it_watches(watcher):
    watch(watcher)
    wsgi_stream(Rows(count=3))
    assert [what for what, _ in watcher.log] == ["began", "complete"]


def test_what_is_opened_unseen_is_not_seen(watcher):
    with unseen():
        wsgi_stream(Rows(count=3))
    assert watcher.log == []
    wsgi_stream(Rows(count=3))
    assert len(watcher.streams) == 1


def test_a_stream_that_nobody_holds_ends(watcher):
    rows = Rows()
    chunks, stream = chunks_of(rows, watcher)
    next(chunks)
    del chunks
    gc.collect()
    assert stream.state == "disconnect"


def test_pages_outside_of_requests_are_not_seen(watcher):
    assert "".join(TemplateStream(["a", "b"])) == "ab"
    assert watcher.log == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_none_of_the_streams_of_its_parent_and_sees_its_own(watcher):
    stream = born(Asked, "csv", new_pipeline())
    with observe._lock:  # As another thread may hold it.
        child = os.fork()
    if not child:
        ok = running_streams() == []
        own = born(Asked, "csv", new_pipeline())
        ok = ok and running_streams() == [own] and own.record()["pid"] == os.getpid()
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert running_streams() == [stream]
    stream.end("complete", None)


def test_a_stream_of_text_is_counted_like_one_of_bytes(watcher):
    pipeline = Pipeline(*new_page())
    stream = born(Asked, "html", pipeline)
    chunks = Chunks(drive(pipeline, Recorded()), Recorded(), stream.end, running=stream)
    assert "".join(chunks) == "aé"
    assert stream.record()["bytes"] == 2
    assert UNSEEN.end("complete", None) == ("complete", None)


def new_page():
    from unspool.coalesce import Coalescer
    from unspool.templates.stream import _Joined

    return _Joined(), Coalescer("")


class Recorded:
    def __init__(self):
        self.batches = iter([["a"], ["é"], None])

    def pull(self, want, timeout_s):
        return next(self.batches)

    def close(self, then):
        then()
