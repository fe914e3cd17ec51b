"""What goes wrong in apps, on purpose: `app` over WSGI, `bridged` and `native` over ASGI."""

import itertools
from collections import Counter

import flask
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import unspool.starlette
from unspool.asgi import from_wsgi
from unspool.flask import stream

closed = Counter()


class Source:
    """Five lines, or other things in their place; notes when it is closed."""

    def __init__(self, name, items):
        self.name = name
        self.items = iter(items)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.items)

    def close(self):
        closed[self.name] += 1


def five(name):
    return Source(name, (f"line {n}\n" for n in range(5)))


flask_app = flask.Flask(__name__)


@flask_app.get("/length/<int:length>")
def length(length):
    return stream(five(f"length/{length}"), "text", headers={"Content-Length": str(length)})


@flask_app.get("/used")
def used():
    """The chunks of a stream that is over already."""
    response = stream(five("used"), "text")
    b"".join(response.response)
    return response


lines = (line for line in ["line 0\n"])
list(lines)


@flask_app.get("/over")
def generator_over():
    return stream(lines, "text")


@flask_app.get("/closed")
def closed_so_far():
    return dict(closed)


WRONG = {
    "str": ["line 0\n"],
    "none": [None],
    "late-str": [b"line 0\n", "line 1\n"],
    "late-none": [b"line 0\n", None],
}


def wrong(environ, start_response):
    """What PEP 3333 does not allow."""
    name = environ["PATH_INFO"].strip("/")
    if name == "silent":
        return Source(name, [b"line 0\n"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    if name == "nothing":
        return None
    if name == "twice":
        return Source(name, twice(start_response))
    return Source(name, itertools.chain(WRONG[name]))


def twice(start_response):
    yield b"line 0\n"
    start_response("200 OK", [])
    yield b"line 1\n"


def app(environ, start_response):
    known = environ["PATH_INFO"].startswith(("/length", "/used", "/over", "/closed"))
    return (flask_app if known else wrong)(environ, start_response)


bridged = from_wsgi(app)


async def native_length(request):
    length = request.path_params["length"]
    rows = five(f"length/{length}")
    return unspool.starlette.stream(rows, "text", headers={"Content-Length": length})


async def native_closed(request):
    return JSONResponse(dict(closed))


native = Starlette(
    routes=[Route("/length/{length}", native_length), Route("/closed", native_closed)]
)
