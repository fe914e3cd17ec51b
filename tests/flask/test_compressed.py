import gzip
import sqlite3
import time

import flask
import pytest
from helpers import reader

from unspool import OutsideContext, UsedTwice
from unspool.flask import compressed, stream, stream_template_string

TABLE = "<table>{% for row in rows %}<tr><td>{{ row }}</td></tr>\n{% endfor %}</table>"
HTML = "<table>" + "".join(f"<tr><td>{n}</td></tr>\n" for n in range(20_000)) + "</table>"


def rows(count=20_000):
    yield from range(count)


def table_view(app, rows=rows):
    @app.get("/")
    def view():
        return compressed(stream_template_string(TABLE, rows=rows()))


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_template_decodes_chunk_by_chunk(app, call, life, coding):
    table_view(app)
    _, headers, iterable = call(HTTP_ACCEPT_ENCODING=coding)
    read = reader(coding)
    parts = [read(chunk) for chunk in iterable]
    iterable.close()
    assert sorted(headers) == [
        ("Content-Encoding", coding),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Vary", "Accept-Encoding"),
    ]
    assert parts[0] == b"<table>"
    assert b"".join(parts).decode() == HTML
    assert 5 < len(parts) < 60
    assert life.log == [("teardown_request", None), ("teardown_appcontext", None)]


def test_a_client_that_asks_for_nothing_gets_the_page_as_it_is(app, call):
    table_view(app)
    _, headers, iterable = call()
    assert b"".join(iterable).decode() == HTML
    iterable.close()
    assert headers == [("Vary", "Accept-Encoding"), ("Content-Type", "text/html; charset=utf-8")]


@pytest.mark.alone
def test_what_is_rendered_leaves_while_the_template_is_stuck(app, call):
    def rows():
        yield "first"
        yield "second"
        time.sleep(1)
        yield "third"

    table_view(app, rows)
    started = time.monotonic()
    _, _, iterable = call(HTTP_ACCEPT_ENCODING="zstd")
    read, arrived = reader("zstd"), {}
    for chunk in iterable:
        text = read(chunk)
        for word in (b"second", b"third"):
            if word in text:
                arrived[word] = time.monotonic() - started
    iterable.close()
    assert arrived[b"second"] < 0.2 < 1 < arrived[b"third"]


def test_a_failure_before_the_first_piece_is_a_real_status(app, life):
    @app.get("/")
    def view():
        return compressed(stream_template_string("{{ 1 // 0 }}"))

    response = app.test_client().get("/", headers={"Accept-Encoding": "gzip"})
    assert response.status_code == 500
    assert response.content_encoding is None
    assert [event for event, _ in life.log] == ["teardown_request", "teardown_appcontext"]


def test_a_later_failure_leaves_the_page_cut_off(app, call, life):
    def failing():
        yield from range(3)
        raise LookupError("boom")

    table_view(app, failing)
    _, _, iterable = call(HTTP_ACCEPT_ENCODING="gzip")
    body = b""
    with pytest.raises(LookupError):
        for chunk in iterable:
            body += chunk
    iterable.close()
    assert reader("gzip")(body).endswith(b"<tr><td>2</td></tr>\n")
    with pytest.raises(EOFError):
        gzip.decompress(body)
    assert life.log == [("teardown_request", "boom"), ("teardown_appcontext", "boom")]


def test_head_has_the_headers_and_renders_nothing(app, call, life):
    rendered = []

    @app.get("/")
    def view():
        return compressed(
            stream_template_string("{{ note(1) }}", note=lambda n: rendered.append(n) or n)
        )

    got, head = (call(method=m, HTTP_ACCEPT_ENCODING="br") for m in ("GET", "HEAD"))
    assert rendered == [1]
    assert head[:2] == got[:2]
    assert list(head[2]) == []
    head[2].close()
    got[2].close()
    assert life.count(("teardown_request", None)) == 2


def test_a_template_with_a_sqlite_cursor_stays_on_its_thread(app):
    @app.get("/")
    def view():
        database = sqlite3.connect(":memory:")
        database.execute("create table t (n)")
        database.executemany("insert into t values (?)", [(n,) for n in range(5000)])
        found = database.execute("select n from t")
        page = "{% for row in found %}{{ row[0] }};{% endfor %}"
        return compressed(stream_template_string(page, found=found))

    response = app.test_client().get("/", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(response.data) == b"".join(b"%d;" % n for n in range(5000))


def test_a_template_that_was_begun_is_refused(app):
    with app.test_request_context():
        template = stream_template_string(TABLE, rows=range(3))
        next(template)
        with pytest.raises(UsedTwice, match="was begun before"):
            compressed(template)
        template.close()
        template = stream_template_string(TABLE, rows=range(3))
        template.enable_buffering(5)
        with pytest.raises(UsedTwice):
            compressed(template)
        template.close()
        template = stream_template_string(TABLE, rows=range(3))
        compressed(template).close()
        with pytest.raises(UsedTwice):
            compressed(template)


def test_outside_of_a_view_there_is_nobody_to_ask(app):
    with app.app_context():
        template = stream_template_string("x")
    with pytest.raises(OutsideContext, match="compressed"):
        compressed(template)


def test_the_response_class_of_the_app_is_used(app):
    class Own(flask.Response):
        default_mimetype = "application/xhtml+xml"

    app.response_class = Own
    table_view(app)
    response = app.test_client().get("/", headers={"Accept-Encoding": "gzip"})
    assert response.mimetype == "application/xhtml+xml"
    assert gzip.decompress(response.data).decode() == HTML


def test_the_session_varies_too(app, call):
    @app.get("/")
    def view():
        flask.session["user"] = "Ada"
        return stream(((n,) for n in rows()), "ndjson", compress=True)

    _, headers, iterable = call(HTTP_ACCEPT_ENCODING="br")
    iterable.close()
    vary = [value for name, value in headers if name == "Vary"]
    assert vary == ["Accept-Encoding, Cookie"]


@pytest.fixture
def compressing(app):
    """The app with Flask-Compress, which is told to compress everything of ours."""
    app.config["COMPRESS_MIMETYPES"] = ["application/x-ndjson", "text/html"]
    app.config["COMPRESS_MIN_SIZE"] = 0
    pytest.importorskip("flask_compress").Compress(app)
    return app


def test_flask_compress_leaves_what_is_compressed_alone(compressing, call):
    table_view(compressing)

    @compressing.get("/rows")
    def other_view():
        return stream(((n,) for n in rows()), "ndjson", compress=True)

    for path, whole in {
        "/": HTML,
        "/rows": "".join(f"[{n}]\n" for n in range(20_000)),
    }.items():
        _, headers, iterable = call(path, HTTP_ACCEPT_ENCODING="zstd, br, gzip")
        body = b"".join(iterable)
        iterable.close()
        assert [value for name, value in headers if name == "Content-Encoding"] == ["zstd"]
        assert [value for name, value in headers if name == "Vary"] == ["Accept-Encoding"]
        assert reader("zstd")(body).decode() == whole


def test_flask_compress_compresses_what_we_do_not(compressing, call):
    """So that the test above can fail."""

    @compressing.get("/")
    def view():
        return stream(((n,) for n in rows()), "ndjson")

    _, headers, iterable = call(HTTP_ACCEPT_ENCODING="br")
    assert ("Content-Encoding", "br") in headers
    assert reader("br")(b"".join(iterable)).startswith(b"[0]\n[1]\n")
    iterable.close()
