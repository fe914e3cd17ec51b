"""Endless streams of Starlette and Flask; notes what becomes of them in CONTRACT_LOG."""

import asyncio
import itertools
import os
import time
from pathlib import Path

import flask
from starlette.applications import Starlette
from starlette.routing import Route

import unspool.flask
from unspool.asgi import from_wsgi, guard
from unspool.starlette import stream


def note(*words):
    with Path(os.environ["CONTRACT_LOG"]).open("a") as log:
        print(*words, file=log)


def plain():
    try:
        for n in itertools.count():
            yield (n,)
            time.sleep(0.05)
    finally:
        note("closed")


async def awaited():
    try:
        for n in itertools.count():
            yield (n,)
            await asyncio.sleep(0.05)
    finally:
        note("closed")


def tell(outcome, rows, sent):
    note(outcome)


flask_app = flask.Flask(__name__)
flask_app.add_url_rule(
    "/plain", view_func=lambda: unspool.flask.stream(plain(), "ndjson", on_close=tell)
)
bridged = from_wsgi(flask_app)


async def answer_plain(request):
    return stream(plain(), "ndjson", on_close=tell)


async def answer_awaited(request):
    return stream(awaited(), "ndjson", on_close=tell)


app = guard(Starlette(routes=[Route("/plain", answer_plain), Route("/awaited", answer_awaited)]))
