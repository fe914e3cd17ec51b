"""Four ways of streaming from Flask, on real data, and a view of it all. `make run` starts it."""

from __future__ import annotations

import inspect
import os
import time

import data
import flask
from markupsafe import escape

from unspool.flask import LiveView, stream, stream_template, stream_with_context
from unspool.templates import defer

app = flask.Flask(__name__)
app.jinja_env.add_extension("unspool.templates.Streaming")
LiveView(app)
con = data.connect()


@app.get("/flights.<any(csv, xlsx, ndjson):suffix>")
def flights(suffix):
    rows = data.flights(con, flask.request.args.get("rows", 10_000_000, int))
    formats = ["csv", "xlsx", "ndjson"]
    return stream(rows, formats=formats, columns=data.COLUMNS, filename="flights")


@app.get("/flights.html")
def flights_html():
    rows = data.flights(con, flask.request.args.get("rows", 100_000, int))
    return stream_template("flights.html", columns=data.COLUMNS, rows=rows)


@app.get("/hello")
def hello():
    @stream_with_context
    def page():
        yield "<!doctype html><meta charset=utf-8><p>Hello "
        yield escape(flask.request.args.get("name", "World"))
        for second in range(1, 6):
            time.sleep(1)
            yield f"<p>{second} s later, <code>request.path</code> is still {flask.request.path}"
        yield "<p>Done."

    return page()


@app.get("/dashboard")
def dashboard():
    return stream_template(
        "dashboard.html",
        carriers=defer(after, 1.0, data.carriers, con),
        routes=defer(after, 0.5, data.routes, con),
        months=defer(after, 2.0, data.months, con),
        weather=defer(after, 1.5, data.weather, con),
        departures=lambda: paced(data.departures(con), 0.2),
        flights=data.flights(con, flask.request.args.get("rows", 5_000, int)),
        columns=data.COLUMNS,
    )


def after(seconds, load, *args):
    """What `load` gives, later: the database is too quick to show anything."""
    time.sleep(seconds)
    return load(*args)


def paced(rows, seconds):
    for row in rows:
        time.sleep(seconds)
        yield row


@app.get("/")
def index():
    ways = [flights, flights_html, hello, dashboard]
    code = [inspect.getsource(view) for view in ways]
    return flask.render_template("index.html", code=code, serve=os.environ.get("SERVE_PORT"))
