"""The layers inside a Flask app: its `after_request` functions, and decorators of its views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any

from unspool.doctor.layers import Layer, Slot, Stack, cell_of, is_a, name_of, patched
from unspool.doctor.measure import Standing
from unspool.doctor.probe import Probe

__all__ = ["flask_app", "flask_layers"]

View = Callable[[Probe], Any]


def flask_app(value: Any) -> Any:
    """The Flask app that `value` is, or whose own `wsgi_app` it is; else None."""
    if type(value) is MethodType and value.__name__ == "wsgi_app":
        value = value.__self__
    return value if is_a(value, "flask", "Flask") else None


def flask_layers(outermost: Any, app: Any, own: Any) -> Stack:
    """What there is between `own`, the app's own `wsgi_app`, and its views."""
    respond = _Responder(app)
    stack = Stack(together=_standing(app, outermost, respond))
    for function in _after_request(app):
        alone = _standing(app, own, respond, after=[function], before={})
        fallback = _standing(app, own, respond, after=[function])
        stack.layers.append(Layer(name_of(function), alone, asgi=False, fallbacks=[fallback]))
    stack.layers.append(
        Layer(name_of(app), _standing(app, own, respond, after=[], before={}), asgi=False)
    )
    for view, slot in _decorators(app):
        standing = _standing(app, own, _Decorated(app, view, slot), after=[], before={})
        stack.layers.append(Layer(name_of(view), standing, asgi=False))
    return stack


def _after_request(app: Any) -> list[Any]:
    """The functions, the outermost first: Flask runs the last one first."""
    return [each for many in app.after_request_funcs.values() for each in many]


def _decorators(app: Any) -> Iterator[tuple[FunctionType, Slot]]:
    """The functions around views, and where each keeps its view; one of each kind."""
    seen = set()
    for view in app.view_functions.values():
        while (slot := _below(view)) is not None:
            if view.__code__ not in seen:
                seen.add(view.__code__)
                yield view, slot
            view = slot.get()  # noqa: PLW2901


def _below(view: Any) -> Slot | None:
    if not isinstance(view, FunctionType):
        return None
    wrapped = getattr(view, "__wrapped__", None)
    return None if wrapped is None else cell_of(view, wrapped)


def _standing(
    app: Any,
    outermost: Any,
    view: View,
    *,
    after: Sequence[Any] | None = None,
    before: dict[Any, Any] | None = None,
) -> Standing:
    """The probe in the place of all views, with other functions around it where given."""
    changed: dict[str, Any] = {"_got_first_request": app._got_first_request}
    if after is not None:
        changed["after_request_funcs"] = {None: list(after)}
    if before is not None:
        changed["before_request_funcs"] = before

    @contextmanager
    def standing(probe: Probe) -> Iterator[Any]:
        def dispatch(*_: object) -> Any:
            return view(probe)

        with patched(app, dispatch_request=dispatch, **changed), _no_caches(app):
            yield outermost

    return standing


class _Responder:
    """Answers with the probe as a response that is streamed."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, probe: Probe) -> Any:
        return self._app.response_class(probe.body(), headers=probe.headers)


class _Decorated:
    """Answers with what a decorator makes of a view that returns the probe as a generator."""

    def __init__(self, app: Any, view: Any, slot: Slot) -> None:
        self._app = app
        self._view = view
        self._slot = slot

    def __call__(self, probe: Probe) -> Any:
        with self._slot.put(lambda *_args, **_kwargs: probe.rows()):
            made = self._app.ensure_sync(self._view)()
        response = self._app.make_response(made)
        response.headers.update(dict(probe.headers))
        return response


@contextmanager
def _no_caches(app: Any) -> Iterator[None]:
    """Keeps Flask-Caching from remembering the probe in the place of an answer."""
    with ExitStack() as undo:
        caches = app.extensions.get("cache")
        if isinstance(caches, dict) and any(is_a(c, "flask_caching", "Cache") for c in caches):
            null = import_module("flask_caching.backends.nullcache").NullCache
            undo.callback(app.extensions.__setitem__, "cache", caches)
            app.extensions["cache"] = {cache: null() for cache in caches}
        yield
