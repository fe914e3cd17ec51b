import sqlite3
import threading
import time

import flask
import jinja2
import pytest

from unspool.flask import stream_template, stream_template_string

TABLE = "<table>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>\n{% endfor %}</table>"


def test_a_template_by_name_with_the_apps_template_context(app, life):
    app.jinja_loader = jinja2.DictLoader(
        {"a.html": "{{ request.path }} {{ g.x }} {{ session.s }} {{ extra }} {{ n }}"}
    )
    app.context_processor(lambda: {"extra": "processed"})

    @app.get("/")
    def view():
        flask.g.x = "g"
        flask.session["s"] = "session"
        return stream_template(["missing.html", "a.html"], n=5)

    assert app.test_client().get("/").text == "/ g session processed 5"
    assert [event for event, _ in life.log] == ["teardown_request", "teardown_appcontext"]


def test_many_pieces_leave_as_few_chunks(app, call):
    rows = [[n, "<&>", n / 3, "text", None] for n in range(5000)]

    @app.get("/")
    def view():
        return stream_template_string(TABLE, rows=rows)

    _, _, iterable = call()
    chunks = list(iterable)
    iterable.close()
    assert b"".join(chunks).decode() == app.jinja_env.from_string(TABLE).render(rows=rows)
    assert len(chunks) < 40
    assert len(chunks[0]) < 100


@pytest.mark.alone
def test_what_is_rendered_leaves_while_the_template_is_stuck(app, call):
    def rows():
        yield ["first"]
        yield ["second"]
        time.sleep(1)
        yield ["third"]

    @app.get("/")
    def view():
        return stream_template_string(TABLE, rows=rows())

    started = time.monotonic()
    _, _, iterable = call()
    arrived = {}
    for chunk in iterable:
        for word in (b"first", b"second", b"third"):
            if word in chunk:
                arrived[word] = time.monotonic() - started
    iterable.close()
    assert arrived[b"second"] < 0.2 < 1 < arrived[b"third"]


def test_signals_are_sent_in_order_around_the_rendering(app, life):
    log = []

    def before(app, template, context):
        log.append(("before", context["n"]))

    def after(app, template, context):
        log.append(("rendered", context["n"]))

    flask.before_render_template.connect(before, app)
    flask.template_rendered.connect(after, app)

    @app.get("/")
    def view():
        return stream_template_string("{{ note() }}", note=lambda: log.append("rendering"), n=1)

    assert app.test_client().get("/").text == "None"
    assert log == [("before", 1), "rendering", ("rendered", 1)]


def test_an_early_failure_reaches_the_error_handler_and_a_late_one_breaks(app, call):
    @app.get("/early")
    def early():
        return stream_template_string("{{ 1 // 0 }}")

    @app.get("/late")
    def late():
        return stream_template_string("fine {{ 1 // n }}", n=0)

    assert app.test_client().get("/early").status_code == 500
    status, _, iterable = call("/late")
    assert status == "200 OK"
    body = []
    with pytest.raises(ZeroDivisionError):
        for chunk in iterable:
            body.append(chunk)
    iterable.close()
    assert b"".join(body) == b"fine "


def test_closing_early_closes_what_the_template_iterates(app, call, life):
    def rows():
        try:
            for n in range(10**6):
                yield [n]
        finally:
            life("rows closed")

    @app.get("/")
    def view():
        return stream_template_string(TABLE, rows=rows())

    _, _, iterable = call()
    iterator = iter(iterable)
    next(iterator)
    next(iterator)
    iterable.close()
    assert life.log[0] == "rows closed"
    assert len(life.log) == 3


def test_a_template_over_a_sqlite_cursor_works(app):
    @app.teardown_appcontext
    def close_database(error):
        flask.g.con.close()

    @app.get("/")
    def view():
        flask.g.con = sqlite3.connect(":memory:")
        rows = flask.g.con.execute(
            "with recursive n(i) as (select 1 union all select i+1 from n where i<3000) select i from n"
        )
        return stream_template_string(TABLE, rows=rows)

    assert app.test_client().get("/").text.count("<tr>") == 3000


def test_buffering_by_count_for_those_who_want_it(app, call):
    @app.get("/")
    def view():
        stream = stream_template_string("{% for n in range(7) %}{{ n }};{% endfor %}")
        stream.enable_buffering(4)
        return stream

    _, _, iterable = call()
    assert list(iterable) == [b"0;1;", b"2;3;", b"4;5;", b"6;"]
    iterable.close()


def test_without_a_request_only_the_app_is_needed(app):
    with app.app_context():
        assert "".join(stream_template_string("{{ config.SECRET_KEY }} {{ n }}", n=1)) == "test 1"


def test_head_renders_nothing(app, call, life):
    @app.get("/")
    def view():
        return stream_template_string("{{ note() }}", note=lambda: life("rendered"))

    _, _, iterable = call(method="HEAD")
    assert list(iterable) == []
    del iterable
    assert life.count("rendered") == 0
    assert len(life.log) == 2


def test_no_thread_is_left_behind(app, call):
    @app.get("/")
    def view():
        return stream_template_string(TABLE, rows=([n] for n in range(10**6)))

    before = set(threading.enumerate())
    for _ in range(20):
        _, _, iterable = call()
        next(iter(iterable))
        iterable.close()
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before
