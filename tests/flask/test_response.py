import flask
import pytest

from unspool import TooLate, WouldBuffer
from unspool.flask import StreamResponse, stream, stream_csv
from unspool.formats import FORMATS


def rows(count=3):
    for n in range(count):
        yield (n, "x")


def view_of(app, **options):
    @app.get("/")
    def view():
        return stream(rows(), columns=["n", "t"], **options)


def test_the_whole_list_of_headers(app, call):
    view_of(app, filename="a.csv")
    _, headers, iterable = call()
    iterable.close()
    assert headers == [
        ("Content-Type", "text/csv; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Disposition", 'attachment; filename="a.csv"'),
    ]


def test_status_and_headers_can_be_said(app, call):
    view_of(app, status=203, headers={"Cache-Control": "private", "X-Mine": "1"})
    status, headers, iterable = call()
    iterable.close()
    assert status == "203 NON AUTHORITATIVE INFORMATION"
    assert dict(headers)["Cache-Control"] == "private"
    assert dict(headers)["X-Mine"] == "1"


def test_head_has_the_headers_and_no_body(app, call):
    view_of(app)
    get, head = call(), call(method="HEAD")
    get[2].close()
    assert head[:2] == get[:2]
    assert list(head[2]) == []
    head[2].close()


def test_the_header_of_an_empty_answer_is_sent(app):
    @app.get("/")
    def view():
        return stream(iter(()), columns=["a", "b"])

    assert app.test_client().get("/").data == b"a,b\r\n"


@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_an_empty_source_without_columns_is_an_error_with_a_real_status(app, format):
    @app.get("/")
    def view():
        return stream(iter(()), format)

    assert app.test_client().get("/").status_code == 500


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("format", sorted(FORMATS))
def test_a_failure_before_the_first_row_is_an_error_page_in_every_format(app, format, compress):
    """Also where something stands before the first row: a bracket, the parts of a workbook."""

    def failing():
        raise LookupError("no such table")
        yield

    @app.get("/")
    def view():
        return stream(failing(), format, compress=compress)

    @app.errorhandler(LookupError)
    def tell(error):
        return str(error), 404

    answer = app.test_client().get("/", headers={"Accept-Encoding": "gzip"})
    assert (answer.status_code, answer.text) == (404, "no such table")


@pytest.mark.parametrize(
    "use",
    [
        lambda r: r.get_data(),
        lambda r: r.data,
        lambda r: r.set_data(b""),
        lambda r: setattr(r, "data", b""),
        lambda r: r.json,
        lambda r: r.get_json(),
        lambda r: r.add_etag(),
        lambda r: r.make_conditional(flask.request),
        lambda r: r.freeze(),
        lambda r: r.make_sequence(),
    ],
)
def test_what_would_read_the_stream_into_memory_is_refused(app, use):
    pulled = []

    def rows():
        for n in range(1000):
            pulled.append(n)
            yield (n,)

    with app.test_request_context():
        response = stream(rows())
        with pytest.raises(WouldBuffer, match="is_streamed"):
            use(response)
        assert len(pulled) == 1
        response.close()


def test_after_request_functions_that_ask_first_leave_it_alone(app):
    @app.after_request
    def etag(response):
        if not response.is_streamed:
            response.add_etag()
        response.headers["X-After"] = "1"
        return response

    view_of(app)
    response = app.test_client().get("/")
    assert response.text == "n,t\r\n0,x\r\n1,x\r\n2,x\r\n"
    assert response.headers["X-After"] == "1"
    assert "Content-Length" not in response.headers


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.headers.__setitem__("X-Late", "1"),
        lambda r: r.headers.add("X-Late", "1"),
        lambda r: r.headers.pop("Content-Type"),
        lambda r: r.headers.update({"X-Late": "1"}),
        lambda r: r.set_cookie("late", "1"),
        lambda r: setattr(r, "mimetype", "text/html"),
        lambda r: setattr(r, "status_code", 500),
        lambda r: setattr(r, "status", "500 Oops"),
        lambda r: setattr(r, "headers", {}),
        lambda r: setattr(r, "response", []),
    ],
)
def test_changes_after_the_headers_were_sent_are_errors(app, call, change):
    kept = []

    @app.get("/")
    def view():
        def rows():
            yield (1,)
            yield (2,)
            change(kept[0])
            yield (3,)

        kept.append(stream(rows(), columns=["n"]))
        return kept[0]

    _, headers, iterable = call()
    assert ("Content-Type", "text/csv; charset=utf-8") in headers
    assert kept[0].headers["Content-Type"] == "text/csv; charset=utf-8"
    with pytest.raises(TooLate, match="view or in an after_request"):
        list(iterable)
    iterable.close()


def test_an_apps_own_response_class_is_kept(app):
    class Mine(flask.Response):
        def mine(self):
            return "mine"

    app.response_class = Mine
    kept = []

    @app.get("/")
    def view():
        kept.append(stream(rows()))
        return kept[0]

    assert app.test_client().get("/").text == "0,x\r\n1,x\r\n2,x\r\n"
    assert isinstance(kept[0], StreamResponse)
    assert kept[0].mine() == "mine"


def test_every_call_on_close_function_runs_once_even_if_one_raises(app, call, life):
    @app.get("/")
    def view():
        response = stream(rows())

        @response.call_on_close
        def first():
            life("first")
            raise LookupError("close failed")

        response.call_on_close(lambda: life("second"))
        return response

    _, _, iterable = call()
    assert b"".join(iterable)
    with pytest.raises(LookupError, match="close failed"):
        iterable.close()
    iterable.close()
    assert life.log == [
        ("teardown_request", None),
        ("teardown_appcontext", None),
        "first",
        "second",
    ]


def test_a_204_sends_nothing_and_closes(app, call, life):
    @app.get("/")
    def view():
        response = stream(rows())
        response.status_code = 204
        return response

    _, _, iterable = call()
    assert list(iterable) == []
    iterable.close()
    assert len(life.log) == 2


def test_stream_csv_takes_a_dialect(app):
    from unspool import Csv

    @app.get("/")
    def view():
        return stream_csv(rows(1), Csv(delimiter="\t"), columns=["n", "t"], filename="x.tsv")

    response = app.test_client().get("/")
    assert response.text == "n\tt\r\n0\tx\r\n"
    assert response.headers["Content-Disposition"] == 'attachment; filename="x.tsv"'


def test_wsgi_validators_are_content(app):
    from wsgiref.validate import validator

    from werkzeug.middleware.lint import LintMiddleware
    from werkzeug.test import Client

    view_of(app)
    for check in (validator, LintMiddleware):
        response = Client(check(app)).get("/")
        assert response.data == b"n,t\r\n0,x\r\n1,x\r\n2,x\r\n"
        response.close()


def test_a_database_of_the_request_is_used_and_closed_on_its_thread(app):
    import sqlite3

    def db():
        if "db" not in flask.g:
            flask.g.db = sqlite3.connect(":memory:")
        return flask.g.db

    closed = []

    @app.teardown_appcontext
    def close_db(error):
        flask.g.pop("db").close()
        closed.append(error)

    numbers = (
        "with recursive n(i) as (select 1 union all select i+1 from n where i<3000) select i from n"
    )

    @app.get("/cursor")
    def cursor():
        return stream(db().execute(numbers))

    @app.get("/generator")
    def generator():
        def rows():
            for row in db().execute(numbers):
                yield row

        return stream(rows())

    @app.get("/header-first")
    def header_first():
        def rows():
            yield (0,)
            yield from db().execute(numbers)

        return stream(rows())

    expected = b"".join(b"%d\r\n" % n for n in range(1, 3001))
    response = app.test_client().get("/header-first")
    assert response.data == b"0\r\n" + expected
    response.close()
    assert closed == [None]
    closed.clear()
    assert app.test_client().get("/cursor").data == b"i\r\n" + expected
    assert app.test_client().get("/generator").data == expected
    assert closed == [None, None]
