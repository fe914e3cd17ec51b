"""A Flask app on an ASGI server."""

import itertools

import flask

from unspool.asgi import from_wsgi
from unspool.flask import stream

flask_app = flask.Flask(__name__)
made = itertools.count()  # Counts atomically: threads share it.


def line(n):
    next(made)
    return f"line {n} ".ljust(1023, "=") + "\n"


@flask_app.get("/lines")
def lines():
    return stream(map(line, range(flask.request.args.get("n", type=int))), "text")


@flask_app.get("/made")
def lines_made():
    return str(made.__reduce__()[1][0])


@flask_app.get("/small")
def small():
    return "ok"


app = from_wsgi(flask_app, threads=8)
