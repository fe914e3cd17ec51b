"""The examination of an app: its layers, one by one and all together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

from unspool.client import is_asgi
from unspool.doctor.in_django import django_layers, is_django
from unspool.doctor.in_flask import flask_app, flask_layers
from unspool.doctor.in_starlette import is_router, is_starlette, starlette_layers
from unspool.doctor.layers import Layer, Stack, find_slot, name_of, plain_layer, under
from unspool.doctor.measure import MEDIA_TYPES, Measured, measure
from unspool.doctor.report import Diagnosis, Finding
from unspool.doctor.verdicts import COLUMNS, HIDES, cells, findings
from unspool.errors import UsageError, shown

__all__ = ["examine", "walk"]


def examine(app: Any) -> Diagnosis:
    """Which layers of a WSGI or ASGI application break streaming, and what to do about each.

    Each layer is sent streams of rows by a probe that stands in for what is below it: one that
    is read to the end, one that fails, and one whose client leaves; as CSV, as JSON and as
    HTML, which layers treat differently. Layers are the middlewares around the app and inside
    Flask (`after_request`, decorators of views), Starlette, FastAPI and Django.

    `before_request` functions and middlewares run, your views and databases do not, as far as
    those leave them alone. While it runs, which takes a second or two, parts of `app` are
    replaced: call it in a test or a process of its own, not where requests are answered.

    Raises:
        UsageError: `app` is no application.

    >>> from werkzeug.middleware.profiler import ProfilerMiddleware
    >>> import flask
    >>> found = examine(ProfilerMiddleware(flask.Flask("shop"), stream=None))
    >>> found.passed, found.findings[0].layer
    (False, 'werkzeug.middleware.profiler.ProfilerMiddleware')
    """
    if not callable(app):
        raise UsageError(f"app must be a WSGI or ASGI application; got {shown(app)}.")
    with _quiet():
        stack = walk(app)
        seen = [(layer, _measured(layer)) for layer in stack.layers]
        together = None
        if stack.together is not None:
            whole = Layer("together", stack.together, is_asgi(app))
            together = _measured(whole)
    return _diagnosis(app, seen, together)


def walk(app: Any) -> Stack:
    """The layers of `app`, from the outermost one to where the views are."""
    stack, current = Stack(), app
    while True:
        inside = _framework(app, current)
        if inside is not None:
            return Stack(stack.layers + inside.layers, inside.together)
        flask = flask_app(current)
        if flask is not None:
            current = flask.wsgi_app  # Somebody put another one there.
            continue
        slot = None if is_router(current) else find_slot(current)
        if slot is None:
            return stack
        stack.layers.append(plain_layer(current, slot))
        stack.together = under(app, slot)
        current = slot.get()


def _framework(outermost: Any, current: Any) -> Stack | None:
    """What is inside a framework's app, if `current` is one with nothing around it."""
    if is_django(current):
        return django_layers(outermost, current)
    if is_starlette(current):
        return starlette_layers(outermost, current)
    flask = flask_app(current)
    own = current if type(current) is MethodType else getattr(flask, "wsgi_app", None)
    return flask_layers(outermost, flask, own) if type(own) is MethodType else None


def _measured(layer: Layer) -> list[Measured]:
    """What the layer does with each media type; asked with others around it if it must be."""
    return [_measured_as(media_type, layer) for media_type in MEDIA_TYPES]


def _measured_as(media_type: str, layer: Layer) -> Measured:
    found = measure(layer.alone, media_type, asgi=layer.asgi)
    for standing in layer.fallbacks:
        if found.reached and not found.problem:
            break
        found = measure(standing, media_type, asgi=layer.asgi)
        found.alone = False
    return found


def _diagnosis(
    app: Any, seen: Sequence[tuple[Layer, list[Measured]]], together: list[Measured] | None
) -> Diagnosis:
    found: list[Finding] = []
    for layer, measured in seen:
        # What could not be asked alone shows what those around it do as well.
        known = set() if all(each.alone for each in measured) else {each.problem for each in found}
        found += [
            each
            for each in findings(layer.name, measured, layer.kinds)
            if each.problem not in known
        ]
    rows = [(layer.name, *cells(measured)) for layer, measured in seen]
    if together is not None:
        rows.append(("all together", *cells(together)))
        if all(each.reached and not each.hides_failure for each in together):
            # Something further out mends it: `unspool.asgi.guard`.
            found = [each for each in found if HIDES not in each.problem]
        if not found:
            found = findings("all together", together)
    kind = "ASGI" if is_asgi(app) else "WSGI"
    return Diagnosis(f"{name_of(app)} ({kind})", COLUMNS, tuple(rows), tuple(found))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the failures of the probe out of the logs."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
