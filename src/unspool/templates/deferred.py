"""Values that are made beside the page that waits for them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from inspect import iscoroutinefunction
from typing import Any, Generic, TypeVar

from unspool.errors import UsageError
from unspool.sources.workers import Lane, Workers

__all__ = ["Deferred", "defer", "deferred", "run_beside"]

T = TypeVar("T")

# So many values are made at a time; each may wait for a database or a service. The blocks that
# wait for them have threads of their own, or all could be waiting.
_WORKERS = Workers(64)


class Deferred(Generic[T]):
    """A value that is being made beside the page; see `defer`."""

    def __init__(self, future: Future[T]) -> None:
        self.future = future

    def result(self, timeout_s: float | None = None) -> T:
        """The value, once it is there. Blocks; for code outside a `{% defer %}` block.

        Raises:
            TimeoutError: not within `timeout_s`; what made the value may raise anything else.
        """
        return self.future.result(timeout_s)

    def __await__(self) -> Any:
        return asyncio.shield(asyncio.wrap_future(self.future)).__await__()

    def cancel(self) -> None:
        """Keeps it from starting, if it has not; ends it, if it is a task."""
        self.future.cancel()


def defer(
    function: Callable[..., Any] | Awaitable[Any], *args: Any, **kwargs: Any
) -> Deferred[Any]:
    """Starts `function(*args, **kwargs)` at once, beside the view; hand it to a template.

    Inside `{% defer %}`, the name it is handed over by is its value; elsewhere it is a
    `Deferred`. A plain function runs on one of a few shared threads; an async one (or what it
    gave) as a task of the running loop, or without one on a loop of its own on such a thread;
    each in a copy of the current context. Cancelled when the page's client leaves: a task
    where it waits, a thread that has begun not at all.

    Raises:
        UsageError: it is neither a function nor awaitable.

    >>> defer(sum, [1, 2]).result()
    3
    """
    if iscoroutinefunction(function):
        function = function(*args, **kwargs)
    if isinstance(function, Awaitable):
        return _awaited(function)
    if not callable(function):
        raise UsageError(f"defer() takes a function and its arguments; got {function!r}.")
    return Deferred(run_beside(_WORKERS, function, *args, **kwargs))


def _awaited(awaitable: Awaitable[T]) -> Deferred[T]:
    async def value() -> T:
        return await awaitable

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        job = run_beside(_WORKERS, lambda: asyncio.run(value()))
        job.add_done_callback(lambda done: _forget(awaitable) if done.cancelled() else None)
        return Deferred(job)
    return Deferred(asyncio.run_coroutine_threadsafe(value(), loop))


def _forget(awaitable: Awaitable[Any]) -> None:
    """Ends a coroutine that will never begin; Python would warn of it."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()


def run_beside(
    workers: Workers, function: Callable[..., T], *args: Any, **kwargs: Any
) -> Future[T]:
    """The future result of a call on one of these threads, in a copy of the current context."""

    def run() -> T:
        try:
            return function(*args, **kwargs)
        finally:
            _close_connections()

    return Lane(workers).submit(copy_context().run, run)


def _close_connections() -> None:
    """Closes the database connections that Django has opened for this thread, if it is there.

    Nobody else would: it closes those of the request's thread.
    """
    if "django.db" in sys.modules and sys.modules["django.conf"].settings.configured:
        sys.modules["django.db"].connections.close_all()


def deferred(values: Mapping[str, Any]) -> dict[str, Deferred[Any]]:
    """Those of the values that are deferred; awaitables are started, and become so.

    (The type is asked, not the value: that would make lazy objects act.)
    """
    return {
        name: value if isinstance(value, Deferred) else defer(value)
        for name, value in values.items()
        if issubclass(type(value), (Deferred, Awaitable))
    }
