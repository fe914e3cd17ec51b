import datetime

import pytest
from helpers import encode
from hypothesis import given
from hypothesis import strategies as st

from unspool import Csv, Ndjson, NotAcceptable, Stream, Text, UsageError
from unspool.headers import Asked
from unspool.negotiation import chosen_format, named_file

FORMATS = ["csv", "ndjson", "json", "parquet"]
JSON = "application/json"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

# The value of Accept, and the format; None: there is none.
ACCEPT = [
    (None, "csv"),
    ("", "csv"),
    (" , ,", "csv"),
    ("*/*", "csv"),
    (BROWSER, "csv"),
    (JSON, "json"),
    ("APPLICATION/JSON", "json"),
    ("application/json, text/plain, */*", "json"),
    ("text/html, text/csv;q=0", None),
    ("text/html", None),
    ("text/*", "csv"),
    ("application/*", "ndjson"),
    ("application/*, application/x-ndjson;q=0", "json"),
    ("application/*;q=0.5, text/csv;q=0.4", "ndjson"),
    ("text/csv;q=0.4, application/json;q=0.5", "json"),
    ("text/csv;q=0.5, application/json;q=0.5", "csv"),
    ("application/json;q=0.001", "json"),
    ("application/json;q=0.000", None),
    ("*/*;q=0.1, application/json;q=0.2", "json"),
    ("*/*;q=0.2, application/json;q=0.1", "csv"),
    ("text/csv;q=0, */*", "ndjson"),
    ("text/csv;charset=utf-8", "csv"),
    ('text/csv ; charset="UTF-8" ; q=0.5', "csv"),
    ("text/csv;charset=latin-1", None),
    ("text/csv;charset=latin-1, application/json;q=0.1", "json"),
    ("text/csv;charset=utf-8;q=0, text/csv, application/json;q=0.1", "json"),
    ("application/vnd.apache.parquet", "parquet"),
    # Malformed members are passed over.
    ("text/csv;q=2, application/json", "json"),
    ("text/csv;q=x, application/json", "json"),
    ("text/csv;q=0.1234, application/json", "json"),
    ("text/csv;q=-1, application/json", "json"),
    ("json, application/json", "json"),
    ("*/csv, application/json", "json"),
    ("a/b/c, application/json", "json"),
    ('a/b;x="c, text/csv", application/json', "json"),
    ("nonsense", "csv"),
]


@pytest.mark.parametrize(("accept", "format"), ACCEPT)
def test_accept_chooses(accept, format):
    if format is None:
        with pytest.raises(NotAcceptable):
            chosen_format(FORMATS, Asked(accept=accept))
    else:
        assert chosen_format(FORMATS, Asked(accept=accept)) == format


# Query, path and the format.
NAMED = [
    ("format=json", "/rows", "json"),
    ("format=JSON", "/rows", "json"),
    ("a=1&format=json&format=csv", "/rows", "json"),
    ("format=json", "/rows.csv", "json"),
    ("format=", "/rows.json", "json"),
    ("formats=json", "/rows", "csv"),
    ("", "/rows.json", "json"),
    ("", "/Rows.JSON", "json"),
    ("", "/rows.ndjson", "ndjson"),
    ("", "/rows.json/", "csv"),
    ("", "/rows.json/x", "csv"),
    ("", "/v1.2", "csv"),
    ("", "/.csv", "csv"),
    ("", "", "csv"),
    ("format=text", "/rows", None),
    ("format=%00", "/rows", None),
    ("format=text", "/rows.csv", None),
    ("", "/rows.txt", None),
]


@pytest.mark.parametrize(("query", "path", "format"), NAMED)
def test_the_query_and_then_the_path_decide_before_accept(query, path, format):
    for accept in (None, "application/vnd.apache.parquet"):
        asked = Asked(accept=accept, query=query, path=path)
        if format is None:
            with pytest.raises(NotAcceptable):
                chosen_format(FORMATS, asked)
        elif accept and format == "csv" and not path.endswith(".csv"):
            assert chosen_format(FORMATS, asked) == "parquet"
        else:
            assert chosen_format(FORMATS, asked) == format


def test_format_objects_are_called_by_their_suffix():
    formats = [Csv(delimiter=";"), Text("text/html")]
    for query in ("format=txt", "format=TXT"):
        assert chosen_format(formats, Asked(query=query)) is formats[1]
    assert chosen_format(formats, Asked(accept="text/html")) is formats[1]
    assert chosen_format(formats, Asked(query="format=csv")) is formats[0]
    assert chosen_format(["text"], Asked(query="format=txt")) == "text"


def test_what_is_there_is_listed():
    with pytest.raises(NotAcceptable) as caught:
        chosen_format(["csv", Ndjson()], Asked(query="format=xls"))
    error = caught.value
    assert error.status == 406
    assert error.formats == [("csv", "text/csv; charset=utf-8"), ("ndjson", "application/x-ndjson")]
    assert str(error).endswith(
        "\n  ?format=csv  (text/csv; charset=utf-8)\n  ?format=ndjson  (application/x-ndjson)\n"
    )
    assert error.headers() == [("Content-Type", "text/plain; charset=utf-8"), ("Vary", "Accept")]


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ([], "formats must be a sequence"),
        ("csv", "formats must be a sequence"),
        (["csv", "csv"], "'csv' twice"),
        (["csv", Csv(delimiter=";")], "'csv' twice"),
        (["csv", "zip"], "'zip', whose rows are members"),
        (["csv", "xslx"], "unknown format 'xslx'"),
    ],
)
def test_formats_that_are_no_choice_are_refused(formats, message):
    with pytest.raises(UsageError, match=message):
        Stream([], formats=formats)


@pytest.mark.parametrize(
    ("filename", "format", "formats", "name"),
    [
        ("flights", "csv", None, "flights.csv"),
        ("flights.csv", "csv", None, "flights.csv"),
        ("flights.dat", "csv", None, "flights.dat"),
        ("flights", "json", FORMATS, "flights.json"),
        ("flights.csv", "json", FORMATS, "flights.json"),
        ("flights.json", "json", FORMATS, "flights.json"),
        ("flights v1.2", "json", FORMATS, "flights v1.2.json"),
        ("flights.txt", "json", FORMATS, "flights.txt.json"),
    ],
)
def test_a_file_gets_the_suffix_of_its_format(filename, format, formats, name):
    assert named_file(filename, format, formats) == name
    plan = Stream([], format, filename=filename, formats=formats)
    assert dict(plan.headers())["Content-Disposition"] == f'attachment; filename="{name}"'


def test_a_plan_follows_what_was_asked():
    plan = Stream([], formats=["ndjson", "csv"], filename="a", columns=["n"], compress=True)
    assert plan.format == "csv"
    asked = plan.asked(Asked(accept_encoding="gzip", accept="application/x-ndjson"))
    assert asked.format == "ndjson"
    assert asked.headers() == [
        ("Content-Type", "application/x-ndjson"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Disposition", 'attachment; filename="a.ndjson"'),
        ("Vary", "Accept, Accept-Encoding"),
        ("Content-Encoding", "gzip"),
    ]
    parquet = Stream([], formats=["parquet"], compress=True).asked(Asked(accept_encoding="gzip"))
    assert parquet.headers()[4:] == [("Vary", "Accept")]
    assert Stream([], formats=["ndjson"]).headers()[0] == ("Content-Type", "application/x-ndjson")


KINDS = [
    "text/csv",
    "application/json",
    "application/x-ndjson",
    "text/*",
    "application/*",
    "*/*",
    "image/png",
]


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(["", ";q=1", ";q=0.5", ";q=0.3", ";q=0"])), min_size=1, max_size=5, unique_by=lambda pair: pair[0]))  # fmt: skip
def test_the_weight_of_the_choice_is_the_highest_that_werkzeug_finds(members):
    datastructures = pytest.importorskip("werkzeug.datastructures")
    http = pytest.importorskip("werkzeug.http")
    accept = ", ".join(kind + weight for kind, weight in members)
    theirs = http.parse_accept_header(accept, datastructures.MIMEAccept)
    types = {"csv": "text/csv", "ndjson": "application/x-ndjson", "json": "application/json"}
    weights = {name: theirs.quality(kind) for name, kind in types.items()}
    try:
        choice = chosen_format(list(types), Asked(accept=accept))
    except NotAcceptable:
        assert max(weights.values()) == 0
    else:
        assert weights[choice] == max(weights.values()) > 0


@given(st.text(max_size=40) | st.text('text/csv;q=.01*", \t\\', max_size=60))
def test_no_value_of_accept_is_an_error(accept):
    assert chosen_format(["csv", "text"], Asked(accept=accept + ", */*;q=0.001"))


def test_a_very_long_value_of_accept_takes_no_time():
    from time import process_time

    for part in ('"', '\\"', ";", " ; ", "a/b;", ",", 'a/b; c="', "\t"):
        started = process_time()
        chosen_format(["csv"], Asked(accept=part * 20_000 + ", */*"))
        assert process_time() - started < 0.5


# Through Flask and through plain WSGI; the ASGI adapters are in asgi_cases.py.

ROWS = [{"n": n, "day": datetime.date(2026, 1, n)} for n in (1, 2)]


class Rows:
    def __init__(self, log):
        self.log = log
        self.rows = iter(ROWS)

    def __iter__(self):
        return self.rows

    def close(self):
        self.log.append("closed")


class Closing(Rows):
    def __iter__(self):
        return self

    def __next__(self):
        return next(self.rows)


def flask_client(log):
    flask = pytest.importorskip("flask")
    from unspool.flask import stream

    app = flask.Flask("example")
    app.teardown_request(lambda _: log.append("torn down"))

    @app.get("/flights", defaults={"suffix": None})
    @app.get("/flights.<suffix>")
    def flights(suffix):
        return stream(Closing(log), formats=FORMATS, filename="flights", headers={"Vary": "Cookie"})

    return app, app.test_client()


@pytest.mark.parametrize(
    ("path", "headers", "format"),
    [
        ("/flights", {}, "csv"),
        ("/flights?format=ndjson", {}, "ndjson"),
        ("/flights.json", {}, "json"),
        ("/flights", {"Accept": "application/vnd.apache.parquet"}, "parquet"),
    ],
)
def test_a_flask_view_gives_every_format(path, headers, format):
    log = []
    answer = flask_client(log)[1].get(path, headers=headers)
    assert answer.data == encode(ROWS, format)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="flights.{format}"'
    assert answer.headers["Vary"] == "Accept, Cookie"
    assert log == ["closed", "torn down"]


def test_flask_answers_406_and_error_handlers_see_it():
    log = []
    answer = flask_client(log)[1].get("/flights?format=xls")
    assert (answer.status_code, answer.headers["Vary"]) == (406, "Accept")
    assert answer.mimetype == "text/plain"
    assert "?format=parquet  (application/vnd.apache.parquet)" in answer.text
    assert log == ["closed", "torn down"]
    app, client = flask_client(log)
    app.register_error_handler(406, lambda error: (f"mine: {error.description}", 406))
    assert client.get("/flights.txt").text.startswith("mine: This is not to be had")


def test_plain_wsgi_answers_406_and_closes_the_rows():
    from wsgiref.util import setup_testing_defaults

    import unspool.wsgi

    log, started = [], []
    for query, status in (("format=json", "200 OK"), ("format=xls", "406 Not Acceptable")):
        environ = {"QUERY_STRING": query}
        setup_testing_defaults(environ)
        app = unspool.wsgi.stream(Closing(log), formats=FORMATS)
        body = b"".join(app(environ, lambda *args: started.append(args)))
        assert started[-1][0] == status
    assert started[0][1][0] == ("Content-Type", "application/json")
    assert started[1][1] == [("Content-Type", "text/plain; charset=utf-8"), ("Vary", "Accept")]
    assert b"?format=csv" in body
    assert log == ["closed", "closed"]


@pytest.mark.parametrize(
    "query",
    ["format=xlsx", "format=html", "format=tsv", "format=markdown", "format=md", "format=xml"],
)
def test_every_format_of_the_table_can_be_chosen(query):
    from unspool.formats import FORMATS, find

    formats = sorted(FORMATS.keys() - {"zip"})
    name = {"format=md": "markdown"}.get(query, query.partition("=")[2])
    assert chosen_format(formats, Asked(query=query)) == name
    assert chosen_format(formats, Asked(path="/a" + find(name).suffix)) == name
    assert chosen_format(formats, Asked(accept=find(name).media_type)) == name
