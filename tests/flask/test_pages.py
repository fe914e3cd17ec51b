import logging
import threading
import time

import flask
import pytest
from flask.signals import got_request_exception
from werkzeug.test import Client

from unspool.flask import compressed, stream_template, stream_template_string
from unspool.templates import SCRIPT, defer

WAIT_S = 20


@pytest.fixture
def app(app):
    app.jinja_env.add_extension("unspool.templates.Streaming")
    return app


def parts(iterable):
    for chunk in iterable:
        yield chunk.decode()


def test_the_shell_is_out_while_a_block_is_stuck_and_the_request_lives_on(app, call, life):
    gate = threading.Event()

    @app.get("/")
    def view():
        flask.g.user = "Ann"
        return stream_template_string(
            "<body>{% defer a %}{{ wait() }}{{ request.path }} {{ g.user }} {{ url_for('view') }}"
            "{% placeholder %}…{% enddefer %}</body>",
            wait=lambda: gate.wait(WAIT_S) and "",
        )

    status, headers, iterable = call()
    chunks = parts(iterable)
    shell = next(chunks)
    assert status == "200 OK"
    assert dict(headers)["Content-Type"] == "text/html; charset=utf-8"
    assert shell.startswith('<body><?start name="')
    assert life.log == []
    gate.set()
    rest = "".join(chunks)
    assert ">/ Ann /</template>\n" in rest
    assert rest.endswith("</body>")
    iterable.close()
    assert [event for event, _ in life.log] == ["teardown_request", "teardown_appcontext"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?unspool=inorder", {}),
        ("", {"HX-Request": "true"}),
        ("", {"User-Agent": "Googlebot/2.1"}),
    ],
)
def test_whoever_cannot_fill_holes_gets_the_page_in_order(app, query, headers):
    @app.get("/")
    def view():
        return stream_template_string("<{% defer a %}1{% placeholder %}…{% enddefer %}>")

    assert app.test_client().get("/" + query, headers=headers).text == "<1>"
    assert SCRIPT in app.test_client().get("/").text


def test_the_mode_is_given_by_position_and_is_no_variable(app):
    text = "<{% defer a %}1{% enddefer %}>{{ mode }}"

    @app.get("/<way>")
    def view(way):
        return stream_template_string(text, way, mode="dark")

    client = app.test_client()
    assert client.get("/inorder").text == client.get("/whole").text == "<1>dark"
    assert "<template" in client.get("/auto").text
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(ValueError, match="got 'sideways'"):
        client.get("/sideways")


def test_a_mode_needs_the_extension():
    app = flask.Flask("plain")
    with app.test_request_context(), pytest.raises(ValueError, match="Add the extension"):
        stream_template_string("x", "whole")


@pytest.mark.parametrize("mode", ["auto", "inorder", "whole"])
def test_an_error_or_abort_in_the_shell_is_the_apps_own_page(app, mode, monkeypatch):
    monkeypatch.setattr("unspool.templates.page.FLUSH_AFTER_S", 5)  # A busy machine takes its time.

    @app.errorhandler(404)
    def not_found(error):
        return "no such page", 404

    @app.get("/")
    def view():
        return stream_template_string(
            "<h1>Lots of text</h1>{% defer a %}1{% enddefer %}{{ abort(404) }}",
            mode,
            abort=flask.abort,
        )

    response = app.test_client().get("/")
    assert (response.status_code, response.text) == (404, "no such page")


def test_a_block_that_fails_is_logged_and_signalled_and_the_page_goes_on(app, caplog):
    told = []

    def listener(sender, exception, **more):
        told.append((exception, flask.request.path))

    @app.get("/page")
    def view():
        return stream_template_string(
            "<body>{% defer a %}{{ 1 // 0 }}{% error e %}sorry{% enddefer %}"
            "{% defer b %}fine{% enddefer %}</body>"
        )

    with got_request_exception.connected_to(listener, app), caplog.at_level(logging.ERROR):
        response = app.test_client().get("/page")
        assert response.text.endswith("</body>")
    assert response.status_code == 200
    assert ">sorry</template>" in response.text
    assert ">fine</template>" in response.text
    ((error, path),) = told
    assert (type(error), path) == (ZeroDivisionError, "/page")
    (record,) = caplog.records
    assert record.getMessage() == "Exception on /page [GET]"
    assert record.exc_info[1] is error


def test_the_request_is_torn_down_after_the_blocks_when_the_client_leaves(app, call, life):
    began, gate = threading.Event(), threading.Event()

    def slow():
        began.set()
        gate.wait(WAIT_S)
        life(("block ends", flask.request.path))
        return ""

    @app.get("/")
    def view():
        return stream_template_string(
            "<body>{% defer a %}{{ slow() }}{% enddefer %}</body>", slow=slow
        )

    _, _, iterable = call()
    iterator = iter(iterable)
    next(iterator)
    assert began.wait(WAIT_S)
    started = time.monotonic()
    iterable.close()
    assert time.monotonic() - started < 10
    assert life.log == []
    gate.set()
    deadline = time.monotonic() + WAIT_S
    while len(life.log) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [event for event, _ in life.log] == [
        "block ends",
        "teardown_request",
        "teardown_appcontext",
    ]


def test_a_block_that_is_too_slow_does_not_hold_the_end_of_the_page(app, call, life):
    gate = threading.Event()

    @app.get("/")
    def view():
        return stream_template_string(
            "<body>{% defer a timeout=0.5 %}{{ wait() }}{% error e %}late{% enddefer %}</body>",
            wait=lambda: gate.wait(WAIT_S),
        )

    _, _, iterable = call()
    text = b"".join(iterable).decode()
    iterable.close()
    assert ">late</template>" in text
    assert text.endswith("</body>")
    assert life.log == []
    gate.set()
    deadline = time.monotonic() + WAIT_S
    while len(life.log) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(life.log) == 2


def test_values_that_are_deferred_run_beside_the_view_in_its_request(app):
    both = threading.Barrier(2, timeout=WAIT_S)

    def load(name):
        both.wait()
        return f"{name} of {flask.request.args['user']}"

    @app.get("/")
    def view():
        news, mail = defer(load, "news"), defer(load, name="mail")
        return stream_template_string(
            "{% defer a %}{{ news }}{% enddefer %},{% defer b %}{{ mail }}{% enddefer %}",
            "inorder",
            news=news,
            mail=mail,
        )

    assert app.test_client().get("/?user=Ann").text == "news of Ann,mail of Ann"


def test_head_starts_no_block(app, call):
    started = []

    @app.get("/")
    def view():
        return stream_template_string(
            "{% defer a %}{{ f() }}{% enddefer %}", f=lambda: started.append(1)
        )

    _, _, iterable = call(method="HEAD")
    iterable.close()
    assert started == []


def test_a_page_can_be_compressed_and_each_chunk_decodes_as_it_comes(app, call):
    import zlib

    gate = threading.Event()

    @app.get("/")
    def view():
        return compressed(
            stream_template_string(
                "<p>{% defer a %}{{ w() }}x{% enddefer %}</p>", w=lambda: gate.wait(WAIT_S) and ""
            )
        )

    _, headers, iterable = call(HTTP_ACCEPT_ENCODING="gzip")
    assert dict(headers)["Content-Encoding"] == "gzip"
    decoder = zlib.decompressobj(wbits=31)
    chunks = iter(iterable)
    assert decoder.decompress(next(chunks)).startswith(b"<p><?start name=")
    gate.set()
    assert b">x</template>\n" in decoder.decompress(b"".join(chunks))
    iterable.close()


def test_pages_without_a_request_need_only_the_app(app, caplog):
    with app.app_context():
        text = "".join(
            stream_template_string(
                "<{% defer a %}{{ 1 // 0 }}{% error e %}e{% enddefer %}>", "inorder"
            )
        )
    assert text == "<e>"
    assert [record.name for record in caplog.records] == ["unspool"]


def test_a_page_of_an_async_environment_streams_on_a_loop_of_its_own(app):
    import asyncio

    async def slow(n):
        await asyncio.sleep(n)
        return n

    async_app = flask.Flask("async")
    async_app.jinja_options = {"enable_async": True, "extensions": ["unspool.templates.Streaming"]}

    @async_app.get("/")
    def view():
        return stream_template_string(
            "<{% defer a %}{{ slow(0.3) }}{% enddefer %}{% defer b %}{{ slow(0) }}{% enddefer %}>",
            slow=slow,
        )

    text = async_app.test_client().get("/").text
    assert 0 < text.index(">0</template>") < text.index(">0.3</template>")


def test_a_page_by_name_through_a_real_client(app):
    import jinja2

    app.jinja_loader = jinja2.DictLoader({"p.html": "{% defer a %}{{ n }}{% enddefer %}"})
    app.add_url_rule("/", view_func=lambda: stream_template("p.html", "whole", n=3))
    assert Client(app).get("/").text == "3"
