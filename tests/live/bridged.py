"""A Flask app on an ASGI server."""

import flask

from unspool.asgi import from_wsgi
from unspool.flask import stream

flask_app = flask.Flask(__name__)


@flask_app.get("/lines")
def lines():
    count = flask.request.args.get("n", type=int)
    return stream((f"line {n} ".ljust(1023, "=") + "\n" for n in range(count)), "text")


@flask_app.get("/small")
def small():
    return "ok"


app = from_wsgi(flask_app, threads=8)
