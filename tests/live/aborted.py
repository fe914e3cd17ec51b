"""A Flask app that counts what its streams leave behind: `app` over WSGI, `bridged` over ASGI."""

import gc
import os
import threading
from collections import Counter
from contextvars import ContextVar
from pathlib import Path

import flask

from unspool.asgi import from_wsgi
from unspool.flask import stream, stream_with_context

app = flask.Flask(__name__)
counts = Counter()
counting = threading.Lock()
inside = ContextVar("inside", default=False)


def count(what):
    with counting:
        counts[what] += 1


@app.before_request
def open_file():
    if flask.request.endpoint not in ("rows", "pieces"):
        return
    if inside.get() or "file" in flask.g:
        count("seen from another request")
    flask.g.file = Path(os.devnull).open("rb")
    count("opened")


@app.teardown_appcontext
def close_file(error):
    if "file" in flask.g:
        flask.g.pop("file").close()
        count("torn down")


def lines():
    inside.set(True)
    try:
        while True:
            yield f"{flask.request.args['n']} {flask.g.file.name}".ljust(999) + "\n"
    finally:
        inside.set(False)
        count("closed")


@app.get("/stream")
def rows():
    return stream(lines(), "text", on_close=lambda outcome, rows, sent: count(outcome))


@app.get("/pieces")
def pieces():
    """As in flask#6123, where the abandoned generator kept its context on the thread."""
    return flask.Response(stream_with_context(lines()))


@app.get("/gauges")
def gauges():
    gc.collect()
    kinds = {getattr(flask.ctx, name, None) for name in ("AppContext", "RequestContext")} - {None}
    return {
        "counts": counts,
        "other contexts": sum(type(each) in kinds for each in gc.get_objects()) - len(kinds),
        "threads": threading.active_count(),
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }


bridged = from_wsgi(app)
