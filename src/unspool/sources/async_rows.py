"""Asynchronous iterables of rows as sources, on asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from time import monotonic
from typing import Any, Generic, TypeVar

from unspool.errors import NotIterable, shown
from unspool.sources.batches import AsyncBatchRows, unpacked
from unspool.sources.rows import refuse_used

__all__ = ["LOOP_SHARE_S", "AsyncRowSource"]

T = TypeVar("T")

LOOP_SHARE_S = 0.005
"""An async generator that never waits would keep the loop to itself; it must let others run
this often."""


class AsyncRowSource(Generic[T]):
    """An async iterable as a source: one task iterates it and closes it, in `context`.

    Holds one batch. Create and use it on one running loop.

    Raises:
        NotIterable: `rows` is no async iterable.
        UsedTwice: it is a generator that is over.
    """

    def __init__(
        self,
        rows: AsyncIterable[T],
        context: Context,
        release: Callable[[], None] | None = None,
    ) -> None:
        if not isinstance(rows, AsyncIterable):
            raise NotIterable(
                f"the source must be an async iterable; got {shown(rows)} ({type(rows).__name__})."
            )
        refuse_used(rows)
        self._rows = rows.__aiter__()
        self._context = context
        self._release = release
        self._made: deque[T] = deque()
        self._want = 1
        self._wake_reader = asyncio.Event()
        self._wake_maker = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def pull(self, want: int, timeout_s: float) -> Sequence[T] | None:
        """At most `want` rows; none, if none came in `timeout_s`; None after the last."""
        if isinstance(self._rows, AsyncBatchRows):
            self._rows.want, want = want, 1
        self._want = want
        task = self._task = self._task or self._start(self._run())
        self._wake_maker.set()
        if len(self._made) < want and not task.done():
            self._wake_reader.clear()
            # (In Python 3.11, `wait_for` can lose the cancellation of its caller.)
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._wake_reader.wait()
        batch, self._made = self._made, deque()
        if not batch and task.done():
            task.result()  # Raises what the source raised.
            return None
        return unpacked(self._rows, batch)

    async def aclose(self, then: Callable[[], None] = lambda: None) -> None:
        """Stops the iteration where it waits, closes the rows, and calls `then`."""
        if self._task is None:
            task = self._task = self._start(self._close_rows())
        else:
            task = self._task
            task.cancel()
        try:
            await asyncio.wait([task])
        finally:
            then()

    def _start(self, steps: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(
            steps, name="unspool-source", context=self._context
        )

    async def _run(self) -> None:
        try:
            await self._make_rows()
        finally:
            await self._close_rows()

    async def _close_rows(self) -> None:
        close = getattr(self._rows, "aclose", None)
        try:
            if close is not None:
                await close()
        finally:
            self._wake_reader.set()
            if self._release is not None:
                self._release()

    async def _make_rows(self) -> None:
        share_ends = monotonic() + LOOP_SHARE_S
        async for row in self._rows:
            self._made.append(row)
            if len(self._made) >= self._want:
                self._wake_reader.set()
                self._wake_maker.clear()
                await self._wake_maker.wait()
            elif monotonic() > share_ends:
                await asyncio.sleep(0)
            else:
                continue
            share_ends = monotonic() + LOOP_SHARE_S
