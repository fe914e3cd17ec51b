"""Each line of the context matrix: order and number of teardowns, threads, interleaving …

Every test runs for `stream_with_context` and for `stream`.
"""

import gc
import io
import threading

import flask
import pytest

from unspool import NotIterable, OutsideContext, TooLate
from unspool.flask import stream, stream_with_context
from unspool.flask.context import _cv_app, _cv_request

DONE = [("teardown_request", None), ("teardown_appcontext", None)]


@pytest.fixture(params=["stream_with_context", "stream", "stream_same_thread"])
def send(request):
    """A function that makes the answer of a view from pieces of text."""
    return {
        "stream_with_context": lambda pieces: flask.Response(stream_with_context(pieces)),
        "stream": lambda pieces: stream(pieces, "text", chunk_bytes=1),
        "stream_same_thread": lambda pieces: stream(
            pieces, "text", chunk_bytes=1, same_thread=True
        ),
    }[request.param]


@pytest.fixture(autouse=True)
def nothing_is_left_on_the_thread():
    yield
    assert _cv_app.get(None) is None
    assert _cv_request.get(None) is None


def close(iterable):
    if hasattr(iterable, "close"):
        iterable.close()


def test_request_session_and_g_work_and_teardown_is_once_after_the_last_byte(app, call, life, send):
    @app.get("/")
    def view():
        flask.g.name = "g"
        flask.session["name"] = "session"

        def rows():
            for n in range(20):
                life(n)
                yield f"{flask.request.args['q']} {flask.g.name} {flask.session['name']} {n}\n"

        return send(rows())

    status, _, iterable = call("/?q=query")
    assert status == "200 OK"
    assert not life.count(DONE[0])
    body = b"".join(iterable)
    assert body.decode().splitlines() == [f"query g session {n}" for n in range(20)]
    close(iterable)
    close(iterable)
    assert life.log == [*range(20), *DONE]


def test_uploaded_files_can_be_read_while_the_answer_is_sent(app, life, send):
    @app.post("/")
    def view():
        upload = flask.request.files["f"]
        return send(line.decode() for line in upload)

    response = app.test_client().post("/", data={"f": (io.BytesIO(b"a\nb\n"), "f.txt")})
    assert response.text == "a\nb\n"


def test_chunks_pulled_from_different_threads(app, call, life, send):
    @app.get("/")
    def view():
        return send(f"{flask.request.path}{n}\n" for n in range(10))

    _, _, iterable = call()
    iterator = iter(iterable)
    body = []

    def step():
        body.append(next(iterator, b""))

    for _ in range(30):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    closer = threading.Thread(target=close, args=(iterable,))
    closer.start()
    closer.join()
    assert b"".join(body) == b"".join(b"/%d\n" % n for n in range(10))
    assert life.log == DONE


def test_streams_interleaved_on_one_thread_see_their_own_request(app, call, life, send):
    @app.get("/<name>")
    def view(name):
        flask.g.name = name

        def rows():
            for _ in range(10):
                yield f"{flask.request.path}={flask.g.name};"

        return send(rows())

    iterables = [call(f"/{name}")[2] for name in "abc"]
    iterators = [iter(iterable) for iterable in iterables]
    bodies = [b"", b"", b""]
    for _ in range(30):
        for at, iterator in enumerate(iterators):
            bodies[at] += next(iterator, b"")
            assert not flask.has_request_context()
    for iterable in iterables:
        close(iterable)
    assert bodies == [f"/{name}={name};".encode() * 10 for name in "abc"]
    assert life.log == DONE * 3


def test_nothing_of_the_request_is_visible_between_chunks(app, call, send):
    @app.get("/")
    def view():
        return send(flask.request.path for _ in range(10))

    _, _, iterable = call()
    for _ in iterable:
        assert not flask.has_request_context()
        assert not flask.has_app_context()
    close(iterable)


@pytest.mark.parametrize("taken", [0, 1, 2, 5])
def test_a_client_that_left_after_some_chunks(app, call, life, send, taken):
    @app.get("/")
    def view():
        def rows():
            try:
                for n in range(1000):
                    yield f"{n}\n"
            finally:
                life(flask.request.path)

        return send(rows())

    _, _, iterable = call()
    iterator = iter(iterable)
    for _ in range(taken):
        next(iterator)
    close(iterator if not hasattr(iterable, "close") else iterable)
    assert life.log in (["/", *DONE], DONE)  # A generator that never started has no finally.
    assert life.count("/") or taken == 0


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_an_abandoned_stream_is_torn_down_and_the_next_request_is_fine(
    app, call, life, send, taken
):
    @app.get("/")
    def view():
        return send(f"{n}\n" for n in range(1000))

    @app.get("/small")
    def small():
        return flask.request.path

    _, _, iterable = call()
    iterator = iter(iterable)
    for _ in range(taken):
        next(iterator)
    assert app.test_client().get("/small").text == "/small"
    assert life.log == DONE
    del iterable, iterator
    gc.collect()
    assert life.log == DONE * 2


def test_head_runs_nothing_and_tears_down_once(app, call, life, send):
    class Rows:
        def __iter__(self):
            return self

        def __next__(self):
            raise AssertionError("HEAD must not run the source")

        def close(self):
            life("rows closed")

    @app.get("/")
    def view():
        return send(Rows())

    status, _, iterable = call(method="HEAD")
    assert status == "200 OK"
    assert list(iterable) == []
    close(iterable)
    del iterable
    gc.collect()
    assert life.log == ["rows closed", *DONE]


def test_async_views(app, call, life, send):
    pytest.importorskip("asgiref")

    @app.get("/")
    async def view():
        flask.g.n = 7
        return send(f"{flask.request.path}{flask.g.n}" for _ in range(5))

    _, _, iterable = call()
    assert b"".join(iterable) == b"/7" * 5
    close(iterable)
    assert life.log == DONE


def test_a_late_failure_goes_to_the_server_and_to_the_teardown_functions(app, call, life, send):
    seen = []

    @app.get("/")
    def view():
        def rows():
            yield "a"
            yield "b"
            raise LookupError("boom")

        return send(rows())

    def on_exception(app, exception):
        seen.append((str(exception), flask.request.path))

    flask.got_request_exception.connect(on_exception, app)
    _, _, iterable = call()
    body = []
    with pytest.raises(LookupError, match="boom"):
        body.extend(collect(body, iterable))
    close(iterable)
    assert b"".join(body) == b"ab"
    assert life.log == [("teardown_request", "boom"), ("teardown_appcontext", "boom")]
    assert seen == [("boom", "/")]


def collect(body, iterable):
    for chunk in iterable:
        body.append(chunk)
    return []


def test_an_early_failure_reaches_the_apps_error_handler(app, call, life):
    @app.errorhandler(LookupError)
    def handle(error):
        return f"sorry: {error}", 503

    @app.get("/")
    def view():
        def rows():
            raise LookupError("boom")
            yield

        return stream(rows())

    @app.get("/abort")
    def aborting():
        def rows():
            flask.abort(404)
            yield

        return stream(rows())

    status, _, iterable = call()
    assert (status, b"".join(iterable)) == ("503 SERVICE UNAVAILABLE", b"sorry: boom")
    assert call("/abort")[0] == "404 NOT FOUND"
    assert life.log == DONE * 2


def test_a_session_written_while_the_answer_is_sent_is_an_error(app, call, life, send):
    @app.get("/")
    def view():
        flask.session["early"] = 1

        def rows():
            yield "a"
            yield "b"
            flask.session["late"] = 1
            yield "c"

        return send(rows())

    _, headers, iterable = call()
    assert "Set-Cookie" in dict(headers)
    with pytest.raises(TooLate, match="session was changed"):
        list(iterable)
    close(iterable)
    assert life.count(("teardown_request", None)) == 0
    assert len(life.log) == 2


def test_flash_while_the_answer_is_sent_is_an_error(app, call, send):
    @app.get("/")
    def view():
        def rows():
            yield "a"
            yield "b"
            flask.flash("late")

        return send(rows())

    _, _, iterable = call()
    with pytest.raises(TooLate):
        list(iterable)
    close(iterable)


def test_after_this_request_while_the_answer_is_sent_is_an_error(app, call, send):
    @app.get("/")
    def view():
        flask.after_this_request(lambda response: response)

        def rows():
            yield "a"
            yield "b"
            flask.after_this_request(lambda response: response)

        return send(rows())

    _, _, iterable = call()
    with pytest.raises(TooLate, match="after_this_request"):
        list(iterable)
    close(iterable)


def test_a_session_written_by_the_first_row_is_saved(app, call):
    @app.get("/")
    def view():
        def rows():
            flask.session["first"] = 1
            yield "a"

        return stream(rows(), "text")

    _, headers, iterable = call()
    assert "Set-Cookie" in dict(headers)
    assert b"".join(iterable) == b"a"
    close(iterable)


def test_a_stream_that_the_view_reads_itself_changes_nothing(app, call, life):
    @app.get("/")
    def view():
        def rows():
            flask.session["ok"] = 1
            yield flask.request.path

        return "".join(stream_with_context(rows()))

    _, headers, iterable = call()
    assert "Set-Cookie" in dict(headers)
    assert b"".join(iterable) == b"/"
    assert life.log == DONE


def test_two_streams_of_one_request_tear_down_after_the_second(app, call, life):
    streams = []

    @app.get("/")
    def view():
        streams.append(stream_with_context(flask.request.path for _ in range(2)))
        return flask.Response(stream_with_context(flask.request.path for _ in range(2)))

    _, _, iterable = call()
    assert b"".join(iterable) == b"//"
    close(iterable)
    assert life.log == []
    assert "".join(streams.pop()) == "//"
    assert life.log == DONE


def test_a_stream_inside_a_stream(app, call, life):
    @app.get("/")
    def view():
        inner = stream_with_context(flask.request.path for _ in range(2))

        @stream_with_context
        def outer():
            yield flask.request.method
            yield from inner

        return flask.Response(outer())

    _, _, iterable = call()
    assert b"".join(iterable) == b"GET//"
    close(iterable)
    assert life.log == DONE


def test_with_an_app_context_already_there(app, call, life, send):
    @app.get("/")
    def view():
        return send(flask.request.path for _ in range(3))

    with app.app_context():
        _, _, iterable = call()
        assert b"".join(iterable) == b"///"
        close(iterable)
        assert life.count(DONE[0]) == 1
    assert life.log[0] == DONE[0]


def test_teardown_errors_do_not_stop_the_rest(app, call, life, send):
    @app.teardown_request
    def fail(error):
        raise ValueError("teardown failed")

    @app.get("/")
    def view():
        return send(iter("abc"))

    _, _, iterable = call()
    with pytest.raises(Exception, match="teardown"):
        list(iterable)
    close(iterable)
    assert life.count(DONE[1]) == 1


def test_without_the_helper_flask_says_that_there_is_no_context(app, call):
    @app.get("/")
    def view():
        def rows():
            yield flask.request.path

        return flask.Response(rows())

    _, _, iterable = call()
    with pytest.raises(RuntimeError, match="outside of request context"):
        list(iterable)


def test_outside_of_a_request_the_error_says_what_to_do():
    for make in (lambda: stream_with_context(iter("abc")), lambda: stream([(1,)])):
        with pytest.raises(OutsideContext, match="inside a view function") as caught:
            make()
        assert isinstance(caught.value, RuntimeError)


def test_async_generators_are_refused(app):
    async def rows():
        yield "a"

    with app.test_request_context():
        for source in (rows, rows()):
            with pytest.raises(NotIterable, match="asynchronous"):
                stream_with_context(source)
        with pytest.raises(NotIterable, match="asynchronous"):
            stream(rows())


def test_a_refused_source_lets_the_request_go(app, life):
    @app.get("/")
    def view():
        return stream(5)

    assert app.test_client().get("/").status_code == 500
    assert [event for event, _ in life.log] == ["teardown_request", "teardown_appcontext"]


def test_teardown_is_once_with_the_test_client_that_keeps_contexts(app, life, send):
    @app.get("/")
    def view():
        return send(flask.request.path for _ in range(3))

    client = app.test_client()
    with client:
        response = client.get("/")
        assert response.text == "///"
        assert flask.request.path == "/"
        response.close()


def test_a_decorated_generator_function_keeps_its_name(app, call):
    @stream_with_context
    def generate(greeting):
        """Docs."""
        yield greeting
        yield flask.request.path

    assert (generate.__name__, generate.__doc__) == ("generate", "Docs.")

    @app.get("/")
    def view():
        return flask.Response(generate("hi "))

    _, _, iterable = call()
    assert b"".join(iterable) == b"hi /"
    close(iterable)


def test_300_abandoned_streams_leave_nothing_behind(app, call, life, send):
    @app.get("/")
    def view():
        return send(f"{n}\n" for n in range(1000))

    before = set(threading.enumerate())
    for taken in range(300):
        _, _, iterable = call()
        iterator = iter(iterable)
        for _ in range(taken % 3):
            next(iterator)
        del iterable, iterator
    gc.collect()
    assert life.log == DONE * 300
    import time

    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before
