"""The items of an iterable for somebody else's response, in one context."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextvars import Context
from functools import update_wrapper
from typing import Any
from weakref import ref

from unspool.asgi.answer import OwnChunks, open_source
from unspool.coalesce import FLUSH_AFTER_S
from unspool.drive import AsyncChunks
from unspool.errors import NotIterable, shown
from unspool.sources.async_rows import AsyncRowSource
from unspool.sources.pooled import PooledSource
from unspool.sources.workers import Lane

__all__ = ["open_items", "with_context"]

# Plain items are made a batch at a time, of which the slow source makes small ones.
_BATCH_ITEMS = 1024


def open_items(
    items: Iterable[Any] | AsyncIterable[Any],
    context: Context,
    lane: Lane | None = None,
    release: Callable[[], None] | None = None,
) -> AsyncChunks[Any]:
    """The items as they are; every step, and the close, is made in `context`.

    Plain ones are made by threads (those of `lane`), asynchronous ones by a task. They are
    closed once: after the last one, by `aclose`, or when nobody holds the iterator any more.
    When the client leaves they are closed too; by its owner, if there is a `lane`.

    Raises:
        NotIterable: neither an iterable nor an async one.
    """
    source = open_source(items, context, lane, release)
    return _Items(source, owned=lane is not None)


class _Items(OwnChunks):
    """Notices when the task that iterates it is cancelled or fails.

    Frameworks cancel it when the client leaves, and do not close what it iterated.
    """

    def __init__(self, source: AsyncRowSource[Any] | PooledSource[Any], *, owned: bool) -> None:
        super().__init__(_steps(source), source, lambda outcome, error: None)
        self._items = source
        self._owned = owned
        self._task: asyncio.Task[Any] | None = None

    def left(self) -> None:
        """Closes the items, or at least makes no more."""
        if isinstance(self._items, PooledSource):
            self._items.stop()
        if not self._owned:
            self.close_soon()

    async def _step(self) -> Any:
        task = asyncio.current_task()
        if task is not None and task is not self._task:
            self._task = task
            me = ref(self)
            task.add_done_callback(lambda task: _close_after(task, me()))
        return await super()._step()


def _close_after(task: asyncio.Task[Any], items: _Items | None) -> None:
    # A task can have been cancelled and have ended well all the same: Django's do.
    if items is not None and (task.cancelled() or task.cancelling() or task.exception()):
        items.left()


async def _steps(source: AsyncRowSource[Any] | PooledSource[Any]) -> AsyncIterator[Any]:
    # A task hands over each item as it comes; a thread the first one, and then what it has
    # made in a batch or in that time.
    more = 1 if isinstance(source, AsyncRowSource) else _BATCH_ITEMS
    want = 1
    while (batch := await source.pull(want, FLUSH_AFTER_S)) is not None:
        want = more
        for item in batch:
            yield item


def with_context(items_or_function: Any, open: Callable[[Any], Any]) -> Any:
    """What `open` makes of the items, or a function that does so with those of its call.

    Raises:
        NotIterable: neither an iterable nor a function.
    """
    if isinstance(items_or_function, (Iterable, AsyncIterable)):
        return open(items_or_function)
    if not callable(items_or_function):
        raise NotIterable(
            "stream_with_context() takes an iterable, an async iterable, or a generator function; "
            f"got {shown(items_or_function)} ({type(items_or_function).__name__})."
        )

    def decorator(*args: Any, **kwargs: Any) -> Any:
        return open(items_or_function(*args, **kwargs))

    return update_wrapper(decorator, items_or_function)
