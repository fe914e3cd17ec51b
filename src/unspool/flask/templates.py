"""Jinja2 templates as answers."""

from __future__ import annotations

from collections.abc import Iterator
from types import GeneratorType
from typing import Any

from flask import current_app, has_request_context, request, template_rendered
from flask.globals import app_ctx
from flask.signals import before_render_template
from jinja2 import Template

from unspool.compress import offered
from unspool.errors import OutsideContext
from unspool.flask.context import ONE_CONTEXT, hold
from unspool.flask.response import StreamResponse, response_class
from unspool.headers import Asked, chosen_coding, coding_headers
from unspool.templates import TemplateStream

__all__ = ["compressed", "stream_template", "stream_template_string"]


def stream_template(
    template_name_or_list: str | Template | list[str | Template], **context: Any
) -> TemplateStream:
    """A template by name, rendered piece by piece with the app's template context.

    Stands in for `flask.stream_template`. Gives text in chunks by size and age instead of
    one piece at a time, which is many times faster and still timely. The first piece is
    rendered here, in the view, so that an early failure reaches the app's error handlers.
    The request stays alive until the last piece; without a request, only the app does.

    >>> import flask
    >>> app = flask.Flask("example")
    >>> with app.test_request_context():
    ...     "".join(stream_template(app.jinja_env.from_string("Hi {{ name }}"), name="Ann"))
    'Hi Ann'
    """
    app = _current(current_app)
    return _stream(app, app.jinja_env.get_or_select_template(template_name_or_list), context)


def stream_template_string(source: str, **context: Any) -> TemplateStream:
    """A template from its source text, rendered like `stream_template`.

    >>> import flask
    >>> app = flask.Flask("example")
    >>> with app.test_request_context("/hello"):
    ...     "".join(stream_template_string("{{ request.path }} {{ n }}", n=1))
    '/hello 1'
    """
    app = _current(current_app)
    return _stream(app, app.jinja_env.from_string(source), context)


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


def _stream(app: Any, template: Template, context: dict[str, Any]) -> TemplateStream:
    _update_template_context(app, context)
    _send(before_render_template, app, template, context)

    def pieces() -> Iterator[str]:
        try:
            yield from template.generate(context)
            _send(template_rendered, app, template, context)
        finally:
            _close_generators(context)

    if not has_request_context():
        stream = TemplateStream(pieces(), beside=context.values)
    else:
        held = hold()
        stream = TemplateStream(
            pieces(),
            context=held.context,
            on_closed=held.release,
            beside=lambda: [*context.values(), *held.g_values],
        )
        if held.environ["REQUEST_METHOD"] == "HEAD":
            return stream
    stream.peek()
    return stream


def _current(proxy: Any) -> Any:
    return proxy._get_current_object()


def _update_template_context(app: Any, context: dict[str, Any]) -> None:
    if ONE_CONTEXT:
        app.update_template_context(_current(app_ctx), context)
    else:
        app.update_template_context(context)


def _close_generators(context: dict[str, Any]) -> None:
    """Closes the generators that the template was given; `context` would keep them alive."""
    for value in context.values():
        if isinstance(value, GeneratorType):
            value.close()


def _send(signal: Any, app: Any, template: Template, context: dict[str, Any]) -> None:
    signal.send(app, _async_wrapper=app.ensure_sync, template=template, context=context)
