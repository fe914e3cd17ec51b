"""The layers inside a Starlette or FastAPI app: its middlewares, down to its router."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unspool.doctor.layers import Stack, find_slot, is_a, patched, plain_layer
from unspool.doctor.probe import Probe

__all__ = ["is_router", "is_starlette", "starlette_layers"]


def is_starlette(app: Any) -> bool:
    """Whether it is a Starlette app, such as one of FastAPI."""
    return is_a(app, "starlette.applications", "Starlette")


def is_router(app: Any) -> bool:
    """Whether it is a router, which is where the layers end."""
    return is_a(app, "starlette.routing", "Router")


def starlette_layers(outermost: Any, app: Any) -> Stack:
    """What there is between `app` and its router."""
    built = app.middleware_stack or app.build_middleware_stack()
    stack, current, last = Stack(), built, None
    while not is_router(current) and (slot := find_slot(current)) is not None:
        stack.layers.append(plain_layer(current, slot))
        current, last = slot.get(), slot

    @contextmanager
    def together(probe: Probe) -> Iterator[Any]:
        assert last is not None  # noqa: S101 (there is always ServerErrorMiddleware)
        with patched(app, middleware_stack=built), last.put(probe.app(asgi=True)):
            yield outermost

    stack.together = together
    return stack
