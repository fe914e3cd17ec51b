"""The layers inside a Django handler: the middlewares that the settings list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from unspool.doctor.layers import Layer, Stack, is_a, name_of, patched
from unspool.doctor.measure import Standing
from unspool.doctor.probe import Probe

__all__ = ["django_layers", "is_django"]

# What `load_middleware` sets.
_LOADED = (
    "_view_middleware",
    "_template_response_middleware",
    "_exception_middleware",
    "_middleware_chain",
)


def is_django(app: Any) -> bool:
    """Whether it is what `get_wsgi_application` or `get_asgi_application` gave."""
    return is_a(app, "django.core.handlers.base", "BaseHandler")


def django_layers(outermost: Any, handler: Any) -> Stack:
    """What there is between `handler` and the views."""
    paths = list(import_module("django.conf").settings.MIDDLEWARE)
    asgi = is_a(handler, "django.core.handlers.asgi", "ASGIHandler")
    stack = Stack(together=_standing(handler, outermost, paths, asgi=asgi))
    for n, path in enumerate(paths):
        # Some need another one outside: authentication needs sessions.
        tried = [[path], *([outer, path] for outer in paths[:n]), paths[: n + 1]]
        alone, *fallbacks = [_standing(handler, handler, each, asgi=asgi) for each in tried]
        stack.layers.append(Layer(path, alone, asgi=asgi, fallbacks=fallbacks))
    bare = _standing(handler, handler, [], asgi=asgi)
    stack.layers.append(Layer(name_of(handler), bare, asgi=asgi))
    return stack


def _standing(handler: Any, outermost: Any, paths: Sequence[str], *, asgi: bool) -> Standing:
    """The probe in the place of all views, below the middlewares of `paths`."""
    override = import_module("django.test.utils").override_settings
    # The probe's request is for "localhost", over http.
    settings = {"MIDDLEWARE": paths, "ALLOWED_HOSTS": ["*"], "SECURE_SSL_REDIRECT": False}

    @contextmanager
    def standing(probe: Probe) -> Iterator[Any]:
        async def async_view(_request: Any) -> Any:
            return _response(probe, asgi=True)

        def view(_request: Any) -> Any:
            return _response(probe, asgi=asgi)

        loaded = {name: getattr(handler, name) for name in _LOADED}
        with (
            override(**settings),
            patched(handler, _get_response=view, _get_response_async=async_view, **loaded),
        ):
            handler.load_middleware(is_async=asgi)
            yield outermost

    return standing


def _response(probe: Probe, *, asgi: bool) -> Any:
    streaming = import_module("django.http").StreamingHttpResponse
    rows = probe.async_rows() if asgi else probe.body()
    return streaming(rows, headers=dict(probe.headers))
