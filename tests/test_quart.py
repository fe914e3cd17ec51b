import asyncio
import gc
import sqlite3
import time

import jinja2
import pytest
from asgi_cases import AsgiCases, expected
from asgi_client import AwaitedRows, PlainRows, ask, get
from quart import Quart, before_render_template, current_app, g, request, session, template_rendered
from template_cases import TABLE, PageCases, TemplateCases, Watched

from unspool import Csv, NotIterable, OutsideContext
from unspool.quart import (
    ONE_CONTEXT,
    stream,
    stream_csv,
    stream_template,
    stream_template_string,
    stream_with_context,
)


def without_cookie(app):
    """`app` without the `Vary: Cookie` that Quart adds from 0.23 on, to every answer."""

    async def plain(scope, receive, send):
        async def send_plain(message):
            if ONE_CONTEXT and "headers" in message:
                headers = [
                    (
                        name,
                        value.removesuffix(b"Cookie").rstrip(b", ") if name == b"vary" else value,
                    )
                    for name, value in message["headers"]
                ]
                message = {**message, "headers": [header for header in headers if header[1]]}
            await send(message)

        await app(scope, receive, send_plain)

    return plain


def failure_of(answer):
    """What the server got; from Quart 0.23 on it comes in a group."""
    error = answer.error
    return error.exceptions[0] if ONE_CONTEXT and error is not None else error


def new_app(view):
    app = Quart(__name__)
    app.secret_key = "test"
    app.add_url_rule("/", view_func=view, endpoint="view", provide_automatic_options=False)
    return app


class TestQuart(AsgiCases):
    def app(self, rows, format="ndjson", *, before=lambda: None, **options):
        async def view():
            before()
            return await stream(rows(), format, **options)

        return without_cookie(new_app(view))

    def check_late_error(self, error):
        assert isinstance(error.exceptions[0] if ONE_CONTEXT else error, LookupError)


def watching_app(rows, log, **options):
    """An app that notes when it is torn down, and what of."""

    async def view():
        return await stream(rows, "ndjson", **options)

    app = new_app(view)
    app.teardown_request(lambda error: log.append(("request", error and str(error))))
    app.teardown_appcontext(lambda error: log.append(("app", error and str(error))))
    return app


TORN_DOWN = [("request", None), ("app", None)]


async def torn_down(rows):
    """Waits until the rows are closed and all is torn down, and whether that happens again."""
    await rows.closed_after(0)
    async with asyncio.timeout(5):
        while len(rows.log) < 4:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["plain", "awaited"])
def test_the_request_lives_until_the_last_row(kind):
    def rows():
        for _ in range(2000):
            yield (request.path, session["user"], g.value, current_app.name)

    async def arows():
        for row in rows():
            yield row

    async def view():
        session["user"] = "Ada"
        g.value = ["open"]
        return await stream(rows() if kind == "plain" else arows(), "ndjson")

    app = new_app(view)
    app.teardown_request(lambda error: g.value.clear())
    answer = get(app)
    assert answer.error is None
    assert answer.body == b'["/","Ada",["open"],"%s"]\n' % app.name.encode() * 2000


@pytest.mark.parametrize("new_rows", [PlainRows, AwaitedRows])
def test_teardown_functions_run_once_after_the_rows_are_closed(new_rows):
    rows = new_rows(2000)
    assert get(watching_app(rows, rows.log)).ended
    assert rows.log == ["started", "closed", *TORN_DOWN]


@pytest.mark.parametrize("new_rows", [PlainRows, AwaitedRows])
def test_teardown_functions_get_the_failure_of_the_rows(new_rows):
    rows = new_rows(fail_at=3)
    assert isinstance(failure_of(get(watching_app(rows, rows.log))), LookupError)
    assert rows.log == ["started", "closed", ("request", "boom"), ("app", "boom")]


def test_an_early_failure_is_torn_down_once():
    rows = PlainRows(fail_at=0)
    assert get(watching_app(rows, rows.log)).status == 500
    assert [event for event in rows.log[2:] if event[0] == "request"] == [("request", None)]
    assert [event for event in rows.log[2:] if event[0] == "app"] == [("app", None)]


@pytest.mark.parametrize("new_rows", [PlainRows, AwaitedRows])
@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_teardown_functions_run_once_when_the_client_leaves(new_rows, chunks):
    rows = new_rows(gap_s=0.01)
    get(watching_app(rows, rows.log, chunk_bytes=1), leave_after=chunks)
    assert rows.log == ["started", "closed", *TORN_DOWN]


@pytest.mark.parametrize("new_rows", [PlainRows, AwaitedRows])
def test_teardown_functions_run_once_when_the_answer_cannot_even_begin(new_rows):
    rows = new_rows()

    async def main():
        app = watching_app(rows, rows.log, **rows.options())

        async def never(message):
            await asyncio.Event().wait()

        async def leaving(scope, receive, send):
            await app(scope, receive, never)

        await ask(leaving, leave_after_s=1)
        await torn_down(rows)

    asyncio.run(main())
    assert rows.log == ["started", "closed", *TORN_DOWN]


def test_teardown_functions_wait_for_a_stuck_row():
    rows = PlainRows(gap_s=0.8)
    get(watching_app(rows, rows.log), leave_after=1)
    assert rows.log == ["started", "closed", *TORN_DOWN]


def test_teardown_functions_run_once_for_head():
    rows = PlainRows()
    get(watching_app(rows, rows.log), method="HEAD")
    assert rows.log == ["closed", *TORN_DOWN]


@pytest.mark.parametrize("new_rows", [PlainRows, AwaitedRows])
def test_a_stream_that_is_replaced_is_closed(new_rows):
    rows = new_rows()

    async def main():
        app = watching_app(rows, rows.log, **rows.options())

        @app.after_request
        async def replace(response):
            return await app.make_response("small")

        answer = await ask(app)
        gc.collect()
        await torn_down(rows)
        return answer

    assert asyncio.run(main()).body == b"small"
    assert sorted(rows.log, key=str) == [*reversed(TORN_DOWN), "closed", "started"]
    assert rows.hooks[0] == "on_disconnect"


def test_an_error_handler_answers_an_early_failure():
    async def view():
        return await stream(PlainRows(fail_at=0))

    app = new_app(view)

    @app.errorhandler(LookupError)
    async def sorry(error):
        return f"Sorry: {error}", 503

    answer = get(app)
    assert (answer.status, answer.body) == (503, b"Sorry: boom")


def test_no_time_limit_cuts_a_stream():
    async def view():
        return await stream(PlainRows(5, gap_s=0.1), "ndjson")

    app = new_app(view)
    app.config["RESPONSE_TIMEOUT"] = 0.2
    answer = get(app)
    assert (answer.ended, answer.body) == (True, expected(5))


def test_headers_can_be_changed_after_the_view():
    async def view():
        return await stream_csv([(1, "a")], Csv(delimiter=";"))

    app = new_app(view)

    @app.after_request
    async def more(response):
        response.headers["X-More"] = "1"
        return response

    answer = get(app)
    assert ("x-more", "1") in answer.headers
    assert answer.body == b"1;a\r\n"


def test_the_response_class_of_the_app_is_used():
    async def view():
        response = await stream([(1,)])
        assert isinstance(response, OwnResponse)
        return response

    app = new_app(view)

    class OwnResponse(app.response_class):
        pass

    app.response_class = OwnResponse
    assert get(app).body == b"1\r\n"


def test_the_test_client_of_quart_gets_the_whole_answer():
    rows = PlainRows(2000)
    app = watching_app(rows, rows.log)

    async def main():
        async with app.test_client() as client:
            response = await client.get("/")
            return await response.get_data()

    assert asyncio.run(main()) == expected(2000)
    assert rows.log[:2] == ["started", "closed"]


# Templates


class TestTemplate(TemplateCases, PageCases):
    @pytest.fixture(params=[True], ids=["awaited"])
    def is_async(self, request):
        return request.param

    def app(self, source, context, is_async, *, before=lambda: None, extensions=()):
        async def view():
            before()
            return await stream_template_string(source, **context)

        app = new_app(view)
        for extension in extensions:
            app.jinja_env.add_extension(extension)
        return without_cookie(app)

    def check_late_error(self, error):
        assert isinstance(error.exceptions[0] if ONE_CONTEXT else error, ZeroDivisionError)

    def test_a_template_over_a_sqlite_cursor_works(self):
        """It is rendered on the loop, with what the view opened there."""

        async def view():
            g.database = sqlite3.connect(":memory:")
            return await stream_template_string(TABLE, rows=g.database.execute("select 1, 2"))

        app = new_app(view)

        @app.teardown_request
        async def close(error):
            g.database.close()

        assert get(app).body.count(b"<td>") == 2


def test_a_template_by_name_has_the_apps_template_context():
    async def view():
        g.x = "g"
        session["s"] = "session"
        response = await stream_template(["missing.html", "a.html"], n=5)
        return response, 203, {"X-More": "1"}

    app = new_app(view)
    app.jinja_env.loader = jinja2.DictLoader(
        {"a.html": "{{ request.path }} {{ g.x }} {{ session.s }} {{ extra }} {{ n }}"}
    )
    app.context_processor(lambda: {"extra": "processed"})
    answer = get(app)
    assert (answer.status, answer.body) == (203, b"/ g session processed 5")
    assert ("x-more", "1") in answer.headers


def test_the_request_is_torn_down_once_after_the_template():
    log = []
    rows = Watched(3)

    async def view():
        return await stream_template_string(TABLE, rows=rows.awaited())

    app = new_app(view)
    app.teardown_request(lambda error: log.append([*rows.log, "request"]))
    app.teardown_appcontext(lambda error: log.append("app"))
    assert get(app).ended
    assert log == [[0, 1, 2, "closed", "request"], "app"]


def test_signals_are_sent_in_order_around_the_rendering():
    log = []

    async def before(app, template, context, **more):
        log.append(("before", context["n"]))

    async def after(app, template, context, **more):
        log.append(("rendered", context["n"]))

    async def view():
        return await stream_template_string(
            "{{ note() }}", note=lambda: log.append("rendering"), n=1
        )

    app = new_app(view)
    with (
        before_render_template.connected_to(before, app),
        template_rendered.connected_to(after, app),
    ):
        assert get(app).body == b"None"
    assert log == [("before", 1), "rendering", ("rendered", 1)]


# stream_with_context


def items_app(make, log):
    """An app whose view sends what `make()` gives, by Quart's own means."""

    async def view():
        g.value = ["open"]
        return stream_with_context(make())

    app = new_app(view)
    app.teardown_request(lambda error: (log.append("request"), g.value.clear()))
    app.teardown_appcontext(lambda error: log.append("app"))
    return app


def noted(log, kind, gap_s=0.0, count=300):
    def items():
        try:
            for _ in range(count):
                if gap_s:
                    time.sleep(gap_s)
                yield f"{request.path} {g.value};"
        finally:
            log.append("closed")

    async def awaited():
        try:
            for _ in range(count):
                if gap_s:
                    await asyncio.sleep(gap_s)
                yield f"{request.path} {g.value};"
        finally:
            log.append("closed")

    return awaited if kind == "awaited" else items


@pytest.mark.parametrize("kind", ["plain", "awaited"])
def test_the_request_of_the_view_is_alive_in_the_items(kind):
    log = []
    answer = get(items_app(noted(log, kind), log))
    assert answer.error is None
    assert answer.body == b"/ ['open'];" * 300
    assert log == ["closed", "request", "app"]


@pytest.mark.parametrize("kind", ["plain", "awaited"])
def test_a_client_that_leaves_closes_the_items_before_the_request(kind):
    log = []
    answer = get(items_app(noted(log, kind, 0.01, 10**6), log), leave_after=3)
    assert answer.error is None
    assert log == ["closed", "request", "app"]


def test_generator_functions_can_be_decorated_and_items_be_sent_beside_rows():
    log = []

    async def view():
        g.value = ["open"]

        @stream_with_context
        async def items(text):
            yield text
            yield g.value[0]

        return items("a ")

    app = new_app(view)
    app.teardown_request(lambda error: (log.append("request"), g.value.clear()))
    assert get(app).body == b"a open"
    assert log == ["request"]


def test_without_a_request_there_is_a_clear_error():
    message = "Working outside of request context: a stream needs the request"

    async def main():
        for make in (lambda: stream([]), lambda: stream_template_string("x")):
            with pytest.raises(OutsideContext, match=message):
                await make()
        with pytest.raises(OutsideContext, match=message):
            stream_with_context([])
        async with Quart("example").app_context():
            with pytest.raises(OutsideContext, match=message):
                await stream([])

    asyncio.run(main())


def test_what_gives_no_items_is_refused():
    async def main():
        async with Quart("example").test_request_context("/"):
            with pytest.raises(NotIterable, match="generator function; got 5"):
                stream_with_context(5)

    asyncio.run(main())
