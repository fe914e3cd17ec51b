"""What the live tests ask for."""

import itertools
import threading
import time

import flask

from unspool import Event, Sse
from unspool.flask import (
    compressed,
    stream,
    stream_csv,
    stream_template_string,
    stream_with_context,
)

app = flask.Flask(__name__)


@app.get("/rows.csv")
def rows_csv():
    count = flask.request.args.get("n", type=int)
    return stream_csv(
        ((n, f"text {n}", n / 8, None) for n in range(count)),
        columns=["n", "text", "x", "none"],
        compress=True,
    )


@app.get("/fail")
def fail():
    at = flask.request.args.get("at", type=int)

    def rows():
        for n in itertools.count():
            if n == at:
                raise LookupError("boom")
            yield {"n": n}

    return stream(rows(), "ndjson", compress=True)


@app.get("/stuck")
def stuck():
    def rows():
        for n in range(20):
            if n % 10 == 9:
                time.sleep(1)
            yield {"n": n, "made": time.time()}

    return stream(rows(), "ndjson", compress=True)


@app.get("/template")
def template():
    rows = ([n, n * n] for n in range(20_000))
    return stream_template_string(
        "<table>{% for r in rows %}<tr><td>{{ r[0] }}<td>{{ r[1] }}{% endfor %}</table>", rows=rows
    )


@app.get("/compressed-template")
def compressed_template():
    return compressed(template())


@app.get("/compressed-slow-table")
def compressed_slow_table():
    return compressed(slow_table())


gate = threading.Event()


@app.get("/open")
def open_gate():
    gate.set()
    return "open"


@app.get("/slow-table")
def slow_table():
    """Three rows, and three more when the gate is open."""

    def rows():
        for n in range(6):
            if n == 3:
                gate.wait(60)
            yield n

    return stream_template_string(
        "<table>{% for n in rows %}<tr><td>row {{ n }}{% endfor %}</table>", rows=rows()
    )


@app.get("/context")
def context():
    @stream_with_context
    def pieces():
        for _ in range(5):
            yield flask.request.args["name"] + ";"

    return flask.Response(pieces())


@app.get("/events")
def events():
    """Numbers from the one after Last-Event-ID; the first answer breaks after three."""
    last = int(flask.request.headers.get("Last-Event-ID", 0))

    def rows():
        yield Event(f"first line\nsecond, after {last}", event="hello")
        for n in range(last + 1, 7):
            if last == 0 and n == 4:
                time.sleep(3)  # What was sent is read before the connection is reset.
                raise LookupError("boom")
            yield {"n": n, "text": "é\n"}

    return stream(rows(), Sse(id_column="n", retry_ms=50, end_mark=True), keep_alive_s=0.1)


@app.get("/blank")
def blank():
    return "<!doctype html>"


@app.get("/named")
def named():
    return stream([(1, "a")], columns=["n", "t"], filename=flask.request.args["name"])
