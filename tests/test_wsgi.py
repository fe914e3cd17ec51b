import gc
import gzip
import itertools
import json
import socket
import sys
import threading
import time
from contextlib import contextmanager
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import flask
import jinja2
import pytest
from helpers import reader

import unspool.flask
from unspool import BrokenApp, Csv, DeadlineExceeded, LengthMismatch, UsageError, UsedTwice
from unspool.wsgi import limit, stream, stream_csv, stream_template

ROWS = [(n, f"text {n}") for n in range(5)]
BYTES = b"id,text\r\n" + b"".join(b"%d,text %d\r\n" % (n, n) for n in range(5))


class Answer:
    """What a WSGI app gave to a server, which has iterated nothing yet."""

    def __init__(self, app, **environ):
        self.environ = environ
        setup_testing_defaults(self.environ)
        self.started = []
        self.sent = False
        self.iterable = app(self.environ, self.start_response)

    def start_response(self, status, headers, exc_info=None):
        if exc_info and self.sent:
            raise exc_info[1]
        self.started.append((status, headers))
        return lambda data: None

    @property
    def status(self):
        return self.started[-1][0]

    @property
    def headers(self):
        return self.started[-1][1]

    def read(self):
        body = b""
        try:
            for chunk in self.iterable:
                self.sent = True
                body += chunk
        finally:
            self.close()
        return body

    def close(self):
        if hasattr(self.iterable, "close"):
            self.iterable.close()


class Rows:
    """An iterator of rows that knows how often it was closed."""

    def __init__(self, rows):
        self.rows = iter(rows)
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.rows)

    def close(self):
        self.closed += 1


def new_template(source, **options):
    return jinja2.Environment(autoescape=True, **options).from_string(source)


# Streams


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_validator_of_the_standard_library_is_content(method):
    app = validator(stream(iter(ROWS), columns=["id", "text"], filename="a.csv"))
    answer = Answer(app, REQUEST_METHOD=method, QUERY_STRING="")
    assert answer.read() == (b"" if method == "HEAD" else BYTES)
    assert answer.status == "200 OK"
    assert answer.headers == [
        ("Content-Type", "text/csv; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Disposition", 'attachment; filename="a.csv"'),
    ]


def test_status_and_dialect_can_be_said():
    answer = Answer(stream_csv(ROWS, Csv(delimiter=";"), status="203 Fine"))
    assert answer.status == "203 Fine"
    assert answer.read().startswith(b"0;text 0\r\n1;text 1\r\n")


def test_an_early_failure_is_raised_before_the_answer_starts():
    def rows():
        raise LookupError("boom")
        yield

    started = []
    with pytest.raises(LookupError, match="boom"):
        stream(rows())({"REQUEST_METHOD": "GET"}, lambda *start: started.append(start))
    assert started == []


def test_a_page_with_holes_follows_its_request():
    def page(**options):
        environment = jinja2.Environment(extensions=["unspool.templates.Streaming"])
        template = environment.from_string(
            "<{% defer a %}{{ 1 // 0 }}{% error e %}e{% enddefer %}>"
        )
        return stream_template(template, **options)

    told = []
    assert Answer(page(), QUERY_STRING="unspool=inorder").read() == b"<e>"
    assert Answer(page(), HTTP_HX_REQUEST="true").read() == b"<e>"
    assert Answer(page(mode="whole", on_error=told.append)).read() == b"<e>"
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert b">e</template>" in Answer(page()).read()
    with pytest.raises(UsageError, match="got 'no'"):
        page(mode="no")
    with pytest.raises(UsageError, match="Add the extension"):
        stream_template(new_template("x"), mode="whole")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_template_is_sent_as_a_page(method):
    told = []
    template = new_template("<p>{% for n in rows %}{{ n }};{% endfor %}")
    rows = Rows(["<", *range(5000)])
    app = stream_template(
        template, {"rows": rows}, status="203 Fine", on_close=lambda *args: told.append(args)
    )
    answer = Answer(validator(app), REQUEST_METHOD=method, QUERY_STRING="")
    page = "<p>&lt;;" + "".join(f"{n};" for n in range(5000))
    assert answer.read().decode() == ("" if method == "HEAD" else page)
    assert answer.status == "203 Fine"
    assert answer.headers == [
        ("Content-Type", "text/html; charset=utf-8"),
        ("X-Accel-Buffering", "no"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    pieces = 1 + 2 * 5001
    assert told == (
        [("disconnect", 0, 0)] if method == "HEAD" else [("complete", pieces, len(page))]
    )


def test_a_template_fails_early_before_and_late_after_the_answer_starts():
    with pytest.raises(ZeroDivisionError):
        Answer(stream_template(new_template("{{ 1 // 0 }}")))
    answer = Answer(stream_template(new_template("fine {{ 1 // n }}"), {"n": 0}))
    assert next(iter(answer.iterable)) == b"fine "
    with pytest.raises(ZeroDivisionError):
        next(answer.iterable)
    answer.close()


def test_closing_a_template_closes_the_generators_that_it_was_given():
    log = []

    def rows():
        try:
            yield from range(10**9)
        finally:
            log.append("closed")

    answer = Answer(
        stream_template(new_template("a{% for n in rows %}{{ n }};{% endfor %}"), {"rows": rows()})
    )
    next(iter(answer.iterable))
    next(answer.iterable)
    answer.close()
    assert log == ["closed"]


def test_a_template_of_an_asynchronous_environment_is_refused_on_wsgi():
    template = new_template("x", enable_async=True)
    with pytest.raises(
        UsageError, match=r"has enable_async=True: without an event loop .* Use one"
    ):
        stream_template(template)


def test_a_body_that_is_over_cannot_be_asked_again():
    answer = Answer(stream(iter(ROWS), columns=["id", "text"]))
    assert b"".join(answer.iterable) == BYTES
    with pytest.raises(UsedTwice, match="make a new one"):
        iter(answer.iterable)
    answer.close()


def test_a_body_can_be_asked_on_while_it_is_not_over():
    answer = Answer(stream(iter(ROWS), columns=["id", "text"], chunk_bytes=1))
    first = next(iter(answer.iterable))
    assert first + b"".join(answer.iterable) == BYTES
    answer.close()


# Compression


@pytest.mark.parametrize(
    ("accept", "coding"), [("zstd, gzip", "zstd"), ("br", "br"), ("gzip", "gzip"), ("", None)]
)
def test_the_client_chooses_how_the_answer_is_compressed(accept, coding):
    app = stream(iter(ROWS), columns=["id", "text"], compress=True)
    answer = Answer(app, HTTP_ACCEPT_ENCODING=accept)
    body = answer.read()
    assert (reader(coding)(body) if coding else body) == BYTES
    assert answer.headers[4:] == [
        ("Vary", "Accept-Encoding"),
        *([("Content-Encoding", coding)] if coding else []),
    ]


def test_head_has_the_headers_of_the_compressed_answer():
    answers = [
        Answer(
            stream(iter(ROWS), columns=["id", "text"], compress=True),
            REQUEST_METHOD=method,
            HTTP_ACCEPT_ENCODING="gzip",
        )
        for method in ("GET", "HEAD")
    ]
    got, head = answers
    assert head.headers == got.headers
    assert ("Content-Encoding", "gzip") in head.headers
    assert (head.read(), gzip.decompress(got.read())) == (b"", BYTES)


def test_a_compressed_answer_that_fails_has_no_end():
    def rows():
        yield from ROWS
        raise LookupError("boom")

    app = stream(rows(), columns=["id", "text"], compress=True)
    answer = Answer(app, HTTP_ACCEPT_ENCODING="gzip")
    body = b""
    with pytest.raises(LookupError):
        for chunk in answer.iterable:
            body += chunk
    decoder = reader("gzip")
    assert decoder(body) == BYTES
    with pytest.raises(EOFError):
        gzip.decompress(body)


# Lengths


def flask_answer(view, **environ):
    app = flask.Flask("test")
    app.add_url_rule("/", view_func=view)
    return Answer(app, **environ)


def lengths(answer):
    return [value for name, value in answer.headers if name == "Content-Length"]


def test_a_list_of_rows_has_a_right_length_and_a_generator_none():
    answer = flask_answer(lambda: unspool.flask.stream(ROWS, columns=["id", "text"]))
    assert lengths(answer) == [str(len(BYTES))]
    assert answer.read() == BYTES
    answer = flask_answer(lambda: unspool.flask.stream(iter(ROWS), columns=["id", "text"]))
    assert lengths(answer) == []
    assert answer.read() == BYTES


def test_the_length_of_a_compressed_list_is_that_of_what_is_sent():
    def view():
        return unspool.flask.stream(ROWS, columns=["id", "text"], compress=True)

    answer = flask_answer(view, HTTP_ACCEPT_ENCODING="gzip")
    told = lengths(answer)
    body = answer.read()
    assert told == [str(len(body))]
    assert gzip.decompress(body) == BYTES


def test_a_length_that_the_view_declares_is_that_of_the_plain_answer():
    def view():
        headers = {"Content-Length": str(len(BYTES))}
        return unspool.flask.stream(
            iter(ROWS), columns=["id", "text"], compress=True, headers=headers
        )

    answer = flask_answer(view)
    assert (lengths(answer), answer.read()) == ([str(len(BYTES))], BYTES)
    answer = flask_answer(view, HTTP_ACCEPT_ENCODING="gzip")
    assert (lengths(answer), gzip.decompress(answer.read())) == ([], BYTES)


def test_a_long_list_has_no_length():
    rows = [(n, "x" * 100) for n in range(3000)]
    answer = flask_answer(lambda: unspool.flask.stream(rows))
    assert lengths(answer) == []
    assert answer.read().count(b"\r\n") == 3000


@pytest.mark.parametrize("by", [-9, -1, 1, 100])
def test_a_length_that_is_not_kept_breaks_off_and_closes_the_rows(by):
    rows = Rows(ROWS)
    headers = {"Content-Length": str(len(BYTES) + by)}

    def view():
        return unspool.flask.stream(rows, columns=["id", "text"], chunk_bytes=1, headers=headers)

    answer = flask_answer(view)
    sent = b""
    with pytest.raises(LengthMismatch, match="Content-Length says") as caught:
        for chunk in answer.iterable:
            sent += chunk
    assert caught.value.declared == len(BYTES) + by
    assert BYTES.startswith(sent)
    assert len(sent) <= caught.value.declared
    assert rows.closed == 1
    answer.close()


def test_a_length_that_is_kept_is_fine():
    headers = {"Content-Length": str(len(BYTES))}
    answer = flask_answer(
        lambda: unspool.flask.stream(iter(ROWS), columns=["id", "text"], headers=headers)
    )
    assert answer.read() == BYTES


# Limits on the number of streams


def bodies_of(app, count):
    return [Answer(app) for _ in range(count)]


@pytest.mark.parametrize("streams_max", [1, 3])
def test_one_stream_more_than_the_limit_is_refused_and_closed(streams_max):
    made = []

    def app(environ, start_response):
        start_response("200 OK", [])
        made.append(Rows([b"a", b"b"]))
        return made[-1]

    limited = limit(app, streams_max=streams_max, retry_after_s=7)
    sending = bodies_of(limited, streams_max)
    assert [answer.status for answer in sending] == ["200 OK"] * streams_max
    refused = Answer(limited)
    assert refused.started == [
        ("503 Service Unavailable", [("Content-Type", "text/plain"), ("Retry-After", "7")])
    ]
    assert b"Too many downloads" in refused.read()
    assert [rows.closed for rows in made] == [0] * streams_max + [1]
    assert sending.pop().read() == b"ab"
    again = Answer(limited)
    assert again.status == "200 OK"
    for answer in [*sending, again]:
        answer.close()
    assert [rows.closed for rows in made] == [1] * (streams_max + 2)


def test_streams_that_come_at_the_same_time_do_not_pass_the_limit_together():
    gate = threading.Barrier(8)

    def app(environ, start_response):
        start_response("200 OK", [])
        gate.wait(10)
        return iter([b"a"])

    limited = limit(app, streams_max=2)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(Answer(limited))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        sorted(answer.status for answer in answers)
        == ["200 OK"] * 2 + ["503 Service Unavailable"] * 6
    )


def test_lists_pass_untouched_however_many_streams_are_sent():
    def app(environ, start_response):
        write = start_response("200 OK", [("X-Path", environ["PATH_INFO"])])
        if environ["PATH_INFO"] == "/stream":
            return iter([b"a"])
        write(b"a")
        return [b"b"]

    limited = limit(app, streams_max=1)
    stream = Answer(limited, PATH_INFO="/stream")
    answer = Answer(limited)
    assert answer.started == [("200 OK", [("X-Path", "/")])]
    assert answer.read() == b"ab"
    stream.close()


def test_a_generator_as_the_app_and_the_write_function_work():
    def generator(environ, start_response):
        start_response("200 OK", [])
        yield b"a"
        yield b"b"

    def writer(environ, start_response):
        start_response("200 OK", [])(b"a")
        return iter([b"b"])

    def empty(environ, start_response):
        start_response("200 OK", [])
        yield from ()

    for app, body in ((generator, b"ab"), (writer, b"ab"), (empty, b"")):
        limited = limit(app, streams_max=1)
        for _ in range(2):
            answer = Answer(limited)
            assert (answer.status, answer.read()) == ("200 OK", body)


@pytest.mark.parametrize("kind", [list, Rows])
def test_an_app_that_does_not_call_start_response_is_refused_and_closed(kind):
    body = kind([b"a"])
    with pytest.raises(BrokenApp, match="without calling start_response"):
        Answer(limit(lambda environ, start_response: body, streams_max=1))
    assert getattr(body, "closed", 1) == 1


def test_a_failure_that_the_app_reports_too_late_reaches_the_server():
    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"a"
        try:
            raise LookupError("boom")
        except LookupError:
            start_response("500 Oops", [], sys.exc_info())
        yield b"sorry"

    answer = Answer(limit(app, streams_max=1))
    with pytest.raises(LookupError, match="boom"):
        answer.read()


def test_a_generator_that_fails_first_does_not_count_on():
    def app(environ, start_response):
        start_response("200 OK", [])
        raise LookupError("boom")
        yield

    limited = limit(app, streams_max=1)
    for _ in range(3):
        with pytest.raises(LookupError):
            Answer(limited).read()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"streams_max": 0}, "streams_max must be at least 1; got 0"),
        ({"streams_max": -1}, "streams_max"),
        ({"grace_s": 0}, "grace_s must be more than 0 seconds; got 0"),
        ({"grace_s": -1.5}, "grace_s"),
    ],
)
def test_limits_that_let_nothing_through_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        limit(lambda environ, start_response: [], **options)


# Slow clients


@contextmanager
def served(app, threaded=True):
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *args):
            pass

    server = make_server("127.0.0.1", 0, app, threaded=threaded, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def asked(port):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        yield client


def wait_for(condition, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def endless(closed, piece, pause_s=0.0):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            for _ in itertools.count():
                time.sleep(pause_s)
                yield piece
        finally:
            closed.append(time.monotonic())

    return app


def test_a_client_that_stops_reading_is_cut_off_and_makes_room_for_others():
    closed = []
    made = endless(closed, b"x" * 1_000_000)
    app = limit(made, streams_max=1, bytes_per_s_min=2_000_000, grace_s=0.3)
    with served(app) as port, asked(port) as client:
        client.recv(1000)
        time.sleep(2)
        with pytest.raises(ConnectionResetError):
            while client.recv(65_536):
                pass
        with asked(port) as another:
            assert b" 200 OK" in another.recv(1000)
    wait_for(lambda: gc.collect() >= 0 and len(closed) == 2)


def test_a_client_that_reads_is_not_cut_off_although_its_source_is_slow():
    closed = []
    app = limit(endless(closed, b"x", pause_s=0.8), bytes_per_s_min=1000, grace_s=0.5)
    with served(app) as port, asked(port) as client:
        for _ in range(3):
            assert client.recv(1000)
        assert closed == []
    wait_for(lambda: closed)


def test_a_slow_client_is_left_alone_if_its_chunk_is_faster_than_the_limit():
    closed = []
    app = limit(endless(closed, b"x" * 10_000_000), bytes_per_s_min=1000, grace_s=0.1)
    with served(app) as port, asked(port) as client:
        client.recv(1000)
        time.sleep(0.8)
        assert closed == []
        assert client.recv(1000)
    wait_for(lambda: closed)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("threaded", [True, False])
def test_a_failed_answer_never_looks_whole_to_the_client(version, threaded):
    def app(environ, start_response):
        def rows():
            yield "some\n"
            raise LookupError("boom")

        return stream(rows(), "text")(environ, start_response)

    with served(app, threaded) as port:
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"GET / HTTP/" + version + b"\r\nHost: localhost\r\n\r\n")
            got = b""
            broken = False
            try:
                while piece := client.recv(1000):
                    got += piece
            except ConnectionResetError:
                broken = True
    head, _, body = got.partition(b"\r\n\r\n")
    assert b" 200 OK" in head
    assert b"some\n" in body
    chunked = b"Transfer-Encoding: chunked" in head
    assert broken or (chunked and not body.endswith(b"0\r\n\r\n"))


# Hooks


class Told:
    """What the hooks of a stream were told, in order."""

    def __init__(self, fails=()):
        self.log = []
        self.fails = fails

    def hook(self, name):
        def hook(*args):
            self.log.append((name, *args))
            if name in self.fails:
                raise ValueError(name)

        return hook

    @property
    def hooks(self):
        names = ("on_close", "on_error", "on_disconnect", "release")
        return {name: self.hook(name) for name in names}

    def rows(self, count=5, error=None):
        try:
            for n in range(count):
                yield (n, f"text {n}")
            if error:
                raise error
        finally:
            self.log.append(("closed",))


@pytest.fixture(params=["wsgi", "flask"])
def answer(request):
    """Answers with rows, through plain WSGI or Flask."""

    def answer(rows, format="csv", method="GET", **options):
        if request.param == "wsgi":
            return Answer(stream(rows, format, **options), REQUEST_METHOD=method)
        return flask_answer(
            lambda: unspool.flask.stream(rows, format, **options), REQUEST_METHOD=method
        )

    return answer


@pytest.mark.parametrize("same_thread", [True, False])
def test_a_whole_stream_releases_when_the_last_row_came_and_then_tells_rows_and_bytes(
    answer, same_thread
):
    told = Told()
    got = answer(told.rows(), columns=["id", "text"], same_thread=same_thread, **told.hooks)
    assert got.read() == BYTES
    assert told.log == [("closed",), ("release",), ("on_close", "complete", 5, len(BYTES))]


@pytest.mark.parametrize("same_thread", [True, False])
def test_a_failure_is_told_with_its_error(answer, same_thread):
    error = LookupError("boom")
    told = Told()
    got = answer(
        told.rows(error=error), columns=["id", "text"], same_thread=same_thread, **told.hooks
    )
    with pytest.raises(LookupError):
        got.read()
    assert told.log == [
        ("closed",),
        ("release",),
        ("on_error", error),
        ("on_close", "error", 5, len(BYTES)),
    ]


@pytest.mark.parametrize("same_thread", [True, False])
@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_client_that_left_is_told_once(answer, same_thread, taken):
    told = Told()
    got = answer(told.rows(10**6), "ndjson", chunk_bytes=1, same_thread=same_thread, **told.hooks)
    for _ in range(taken):
        next(iter(got.iterable))
    got.close()
    got.close()
    assert [event[0] for event in told.log] == ["closed", "release", "on_disconnect", "on_close"]
    assert told.log[-1][1] == "disconnect"


def test_a_head_request_is_told_as_a_client_that_wanted_nothing(answer):
    told = Told()
    rows = Rows(ROWS)
    got = answer(rows, method="HEAD", **told.hooks)
    assert got.read() == b""
    assert told.log == [("release",), ("on_disconnect",), ("on_close", "disconnect", 0, 0)]
    assert rows.closed == 1


def test_an_early_failure_is_told_too(answer):
    error = LookupError("boom")
    told = Told()
    try:
        answer(told.rows(0, error), **told.hooks).read()
    except LookupError:
        pass
    assert told.log == [
        ("closed",),
        ("release",),
        ("on_error", error),
        ("on_close", "error", 0, 0),
    ]


@pytest.mark.parametrize(
    "failing", [["release"], ["on_error"], ["on_close"], ["release", "on_error"]]
)
def test_every_hook_runs_even_if_another_raises(answer, failing):
    told = Told(failing)
    got = answer(told.rows(error=LookupError("boom")), **told.hooks)
    with pytest.raises((ValueError, LookupError)):
        got.read()
    assert [event[0] for event in told.log] == ["closed", "release", "on_error", "on_close"]


# Times


@pytest.mark.parametrize("same_thread", [True, False])
def test_a_deadline_breaks_off_after_the_rows_before_it(answer, same_thread):
    told = Told()

    def rows():
        for n in itertools.count():
            yield (n,)
            time.sleep(0.02)

    got = answer(rows(), "ndjson", deadline_s=1, same_thread=same_thread, **told.hooks)
    sent = b""
    with pytest.raises(DeadlineExceeded, match="deadline_s"):
        for chunk in got.iterable:
            sent += chunk
    got.close()
    lines = sent.splitlines()
    assert lines == [b"[%d]" % n for n in range(len(lines))]
    assert 1 <= len(lines) <= 60
    assert told.log[-1] == ("on_close", "error", len(lines), len(sent))
    assert isinstance(told.log[-2][1], DeadlineExceeded)


def test_a_deadline_is_kept_although_the_source_is_stuck(answer, monkeypatch):
    monkeypatch.undo()  # The wait of a close is as it is for users.
    free = threading.Event()

    def rows():
        yield (1,)
        free.wait(20)
        yield (2,)

    started = time.monotonic()
    got = answer(rows(), "ndjson", deadline_s=0.3)
    with pytest.raises(DeadlineExceeded):
        b"".join(got.iterable)
    assert time.monotonic() - started < 5
    free.set()
    got.close()


def test_keep_alive_sends_blanks_that_leave_the_json_valid(answer):
    def rows():
        for n in range(3):
            yield (n,)
            time.sleep(0.4)

    got = answer(rows(), "json", keep_alive_s=0.1)
    chunks = list(got.iterable)
    got.close()
    assert json.loads(b"".join(chunks)) == [[0], [1], [2]]
    assert chunks.count(b"\n") >= 4


def test_without_keep_alive_nothing_is_added(answer):
    def rows():
        yield (0,)
        time.sleep(0.3)
        yield (1,)

    assert answer(rows(), "json").read() == b"[\n[0],\n[1]\n]\n"


def test_keep_alive_needs_a_format_that_has_a_blank():
    with pytest.raises(UsageError, match="keep_alive_s=1"):
        stream(ROWS, "csv", keep_alive_s=1)


def test_an_empty_answer_can_be_looked_at_twice_and_another_cannot():
    """Werkzeug's test client does so."""
    environ = {}
    setup_testing_defaults(environ)
    empty = stream([], "ndjson")(environ, lambda *_: None)
    assert (list(empty), list(empty)) == ([], [])
    empty.close()
    full = stream([(1,)], "ndjson")(environ, lambda *_: None)
    assert list(full) == [b"[1]\n"]
    with pytest.raises(UsedTwice):
        list(full)
    full.close()
