"""The contract of unspool.testing, served by Flask."""

from wsgiref.validate import validator

import flask
from live import contract

from unspool.flask import stream

app = flask.Flask(__name__)


def answer():
    name, args = flask.request.endpoint, flask.request.args.to_dict()
    return stream(contract.Rows(name, args, lambda: flask.request.args["id"]), "ndjson")


for name in contract.STREAMS:
    app.add_url_rule(f"/{name}", name, answer)


@app.get("/database")
def database():
    return stream(contract.database(flask.request.args), "ndjson")


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


validated = validator(app)
