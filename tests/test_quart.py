import asyncio
import gc
import time

import pytest
from asgi_cases import AsgiCases, expected
from asgi_client import AwaitedRows, PlainRows, ask, get
from quart import Quart, current_app, g, request, session

from unspool import Csv
from unspool.quart import stream, stream_csv


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

        return new_app(view)

    def check_late_error(self, error):
        assert isinstance(error, LookupError)


def watching_app(rows, log, **options):
    """An app that notes when it is torn down, and what of."""

    async def view():
        return await stream(rows, "ndjson", **options)

    app = new_app(view)
    app.teardown_request(lambda error: log.append(("request", error and str(error))))
    app.teardown_appcontext(lambda error: log.append(("app", error and str(error))))
    return app


TORN_DOWN = [("request", None), ("app", None)]


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
    assert isinstance(get(watching_app(rows, rows.log)).error, LookupError)
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

        await ask(leaving, leave_after_s=0.1)
        await rows.closed_after(time.monotonic())
        await asyncio.sleep(0.05)

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
        await rows.closed_after(time.monotonic())
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
    assert answer.headers[-1] == ("x-more", "1")
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
