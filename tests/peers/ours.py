"""A pytest plugin that puts our functions in the place of a peer's (PEER says whose)."""

import os
import socket
import sys
import types
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests():
    replace = {
        "fastapi": replace_starlettes,
        "flask": replace_flasks,
        "jinja2": replace_jinjas,
        "starlette": replace_starlettes,
        "werkzeug": replace_werkzeugs,
    }
    replace[os.environ["PEER"]]()


def put_module(name, **what):
    """Stands in for a package that their tests import and ours need not install."""
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(what)


def replace_flasks():
    import flask
    import flask.helpers
    import flask.templating

    import unspool.flask as ours

    for name in ("stream_with_context", "stream_template", "stream_template_string"):
        for module in (flask, flask.helpers, flask.templating):
            if hasattr(module, name):
                setattr(module, name, getattr(ours, name))
    # Every template is compiled by our code generator, and a page.
    flask.Flask.jinja_options = {"extensions": ["unspool.templates.Streaming"]}


def replace_jinjas():
    import jinja2

    from unspool.templates import TemplateStream
    from unspool.templates.codegen import StreamingCodeGenerator

    jinja2.Environment.code_generator_class = StreamingCodeGenerator

    def stream(template, *args, **kwargs):
        return TemplateStream(template.generate(*args, **kwargs))

    jinja2.Template.stream = stream


def replace_starlettes():
    import starlette.responses

    from unspool import Stream, Text
    from unspool.starlette import StreamResponse

    class StreamingResponse(StreamResponse):
        def __init__(
            self, content, status_code=200, headers=None, media_type=None, background=None
        ):
            plan = Stream(content, Text(media_type or "text/plain"))
            super().__init__(plan, status_code, headers, background)

        async def __call__(self, scope, receive, send):
            # Some of their tests leave out what ASGI demands.
            await super().__call__({"method": "GET", **scope}, receive, send)

    starlette.responses.StreamingResponse = StreamingResponse
    replace_template_response()
    put_module("python_multipart", MultipartParser=None)


def replace_template_response():
    """Streams what theirs renders whole."""
    from starlette.templating import Jinja2Templates

    from unspool.starlette import stream_template

    def response(templates, request, name, context=None, status_code=200, headers=None, **more):
        options = {"status": status_code, "headers": headers}
        return stream_template(request, templates, name, context, **options, **more)

    Jinja2Templates.TemplateResponse = response


# Their app, as `live_apps/streaming_app.py` has it, with our stream.
STREAMING_APP = """
from unspool.wsgi import stream


def app(environ, start_response):
    def gen():
        for x in range(5):
            yield f"{x}\\n"

        if environ["PATH_INFO"] == "/crash":
            raise Exception("crash requested")

    return stream(gen(), "text")(environ, start_response)
"""


def replace_werkzeugs():
    Path("tests/live_apps/streaming_app.py").write_text(STREAMING_APP)

    def reserve(host):
        with socket.create_server((host, 0)) as free:
            return free.getsockname()[1]

    put_module("ephemeral_port_reserve", reserve=reserve)
