"""The contract of unspool.testing, served by Flask."""

import flask
from live import contract

from unspool.flask import stream

app = flask.Flask(__name__)


def answer():
    name = flask.request.endpoint
    return stream(contract.Rows(name, flask.request.args.to_dict()), "ndjson")


for name in contract.STREAMS:
    app.add_url_rule(f"/{name}", name, answer)


@app.get("/log")
def log():
    return flask.jsonify(contract.events())


@app.get("/reset")
def reset():
    contract.reset()
    return "ok"


@app.get("/small")
def small():
    return "ok"
