"""Jinja2 templates as answers."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import current_app, has_request_context, request, template_rendered
from flask.globals import app_ctx
from flask.signals import before_render_template, got_request_exception
from jinja2 import Template

from unspool import observe
from unspool.compress import offered
from unspool.connection import LEAVING, Watch
from unspool.errors import OutsideContext
from unspool.flask.context import ONE_CONTEXT, hold
from unspool.flask.response import StreamResponse, response_class
from unspool.headers import Asked, chosen_coding, coding_headers
from unspool.observe import Running, Unseen
from unspool.pipeline import Pipeline
from unspool.templates import TemplateStream
from unspool.templates.pieces import Asking, log_failure, pieces

__all__ = ["compressed", "stream_template", "stream_template_string"]


def stream_template(
    template_name_or_list: str | Template | list[str | Template],
    mode: str = "auto",
    /,
    **context: Any,
) -> TemplateStream:
    """A template by name, rendered piece by piece with the app's template context.

    Stands in for `flask.stream_template`. Gives text in chunks by size and age instead of
    one piece at a time, which is many times faster and still timely. The first piece is
    rendered here, in the view, so that an early failure reaches the app's error handlers.
    The request stays alive until the last piece; without a request, only the app does.

    If the app's Jinja environment has the extension `unspool.templates.Streaming`, this may be
    a page with holes. Then its shell is made here, until it is whole, `{% flush %}`, a chunk or
    50 ms. `mode` is "auto", "inorder" or "whole" (see `unspool.templates.mode`); by position
    only: `mode=…` is a variable of the template, like any other name. What a block fails with
    is logged like an exception of a view, and sent to `got_request_exception`.

    Raises:
        UsageError: no such mode; or one that is not "auto", without the extension.

    >>> import flask
    >>> app = flask.Flask("example")
    >>> with app.test_request_context():
    ...     "".join(stream_template(app.jinja_env.from_string("Hi {{ name }}"), name="Ann"))
    'Hi Ann'
    """
    app = _current(current_app)
    return _stream(app, app.jinja_env.get_or_select_template(template_name_or_list), context, mode)


def stream_template_string(source: str, mode: str = "auto", /, **context: Any) -> TemplateStream:
    """A template from its source text, rendered like `stream_template`.

    >>> import flask
    >>> app = flask.Flask("example")
    >>> with app.test_request_context("/hello"):
    ...     "".join(stream_template_string("{{ request.path }} {{ n }}", n=1))
    '/hello 1'
    """
    app = _current(current_app)
    return _stream(app, app.jinja_env.from_string(source), context, mode)


def compressed(template: TemplateStream) -> StreamResponse:
    """A response that sends `template` as HTML, compressed as its client likes it.

    `template` is what `stream_template` gave. Its Content-Encoding is zstd, br, gzip or none,
    see `unspool.Stream`; each chunk can be decoded as it arrives. Changed by nobody else:
    compressing middlewares leave it alone.

    Raises:
        OutsideContext: not in a view.
        UsedTwice: the template's chunks were asked for before.

    >>> import flask
    >>> app = flask.Flask("example")
    >>> @app.get("/")
    ... def page():
    ...     return compressed(stream_template_string("{{ n }} rows", n=3))
    >>> response = app.test_client().get("/", headers={"Accept-Encoding": "gzip"})
    >>> response.content_encoding
    'gzip'
    """
    if not has_request_context():
        raise OutsideContext("compressed() was called outside of a view: there is no request.")
    asked = Asked.by_environ(request.environ)
    coding = chosen_coding(asked.accept_encoding, offered())
    chunks = template.encoded(coding)
    if request.method != "HEAD":
        chunks.prime()
    kind = response_class(current_app.response_class)  # type: ignore[arg-type]
    return kind(chunks, headers=coding_headers(coding))


def _stream(app: Any, template: Template, context: dict[str, Any], mode: str) -> TemplateStream:
    _update_template_context(app, context)
    _send(before_render_template, app, template, context)
    then = partial(_send, template_rendered, app, template, context)
    failed = partial(_block_failed, app)
    if not has_request_context():
        made, _ = pieces(template, context, then, Asking(mode, on_error=failed))
        stream = TemplateStream(made, beside=context.values)
    else:
        asking = Asking(mode, Asked.by_environ(request.environ), request.method, failed)
        made, when_idle = pieces(template, context, then, asking)
        held = hold()
        watch = Watch(held.environ)

        def born(pipeline: Pipeline[Any]) -> Running | Unseen:
            running = observe.born(lambda: asking.asked, "html", pipeline)
            watch.heed(running)
            return running

        def closed(error: BaseException | None) -> None:
            watch.close()
            when_idle(lambda: held.release(error))

        stream = TemplateStream(
            made,
            context=held.context,
            on_closed=closed,
            born=born,
            beside=lambda: [*context.values(), *held.g_values],
        )
        if LEAVING in held.environ:
            held.environ[LEAVING].tell(stream.stop)
        if held.environ["REQUEST_METHOD"] == "HEAD":
            return stream
    stream.peek()
    return stream


def _block_failed(app: Any, error: BaseException) -> None:
    """Logs it, as Flask does what fails in a view, and tells who listens."""
    if has_request_context():
        app.log_exception((type(error), error, error.__traceback__))
    else:
        log_failure(error)
    got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=error)


def _current(proxy: Any) -> Any:
    return proxy._get_current_object()


def _update_template_context(app: Any, context: dict[str, Any]) -> None:
    if ONE_CONTEXT:
        app.update_template_context(_current(app_ctx), context)
    else:
        app.update_template_context(context)


def _send(signal: Any, app: Any, template: Template, context: dict[str, Any]) -> None:
    signal.send(app, _async_wrapper=app.ensure_sync, template=template, context=context)
