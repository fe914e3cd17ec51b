"""Plain rows for an event loop: made by shared threads, a batch at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from unspool.sources.affinity import is_thread_bound
from unspool.sources.batches import encode_ahead, unpacked
from unspool.sources.rows import Puller, taken
from unspool.sources.workers import Lane
from unspool.types import Batch

__all__ = ["PooledSource"]

T = TypeVar("T")

# How long `aclose` waits for a thread that is busy with the rows. It closes them when it can.
_CLOSE_WAIT_S = 0.5

# How often a stream looks up that waits for a thread, and has nothing left to send meanwhile.
# There can be hundreds of them, just when the loop has no time to waste.
_IN_LINE_S = 0.25


class PooledSource(Generic[T]):
    """The rows of a `Puller` as an asynchronous source.

    A thread is busy with them only while a batch is made, not while the client takes it;
    except if the rows, or what is `beside` them, have become bound to the thread of a batch:
    then it is theirs until the end. Holds one batch; one more, as bytes, where the next is
    encoded while the last is sent.
    """

    def __init__(
        self,
        puller: Puller[T],
        lane: Lane,
        beside: Callable[[], Iterable[object]] = tuple,
        *,
        deep: bool = False,
    ) -> None:
        self._puller = puller
        self._lane = lane
        self._beside = beside
        self._deep = deep
        self._first: deque[T] = deque()
        self._making: deque[T] = deque()
        self._job: Future[None] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._in_line = False
        self._started = False
        self._bound = False

    def start(self) -> None:
        """Makes the first row on this thread, a worker's; closes the rows if that fails."""
        try:
            self._puller.fill(self._first, 1)
        except BaseException:
            self._puller.close_rows()
            raise
        self.bind()

    def bind(self) -> None:
        """Keeps this thread, a worker's, if the rows or what is beside them need it.

        Called after each batch: rows may open their database late. (Once, if `deep`: looking
        through any object takes longer.)
        """
        self._started = True
        self._bound = self._deep
        if is_thread_bound(self._puller.rows, *self._beside(), deep=self._deep):
            self._bound = True
            self._lane.keep()

    def encode_ahead(self, encode: Callable[[Batch], Any], end: Callable[[], None]) -> None:
        """See `unspool.sources.batches.encode_ahead`."""
        encode_ahead(self._puller.rows, encode, end)

    async def pull(self, want: int, timeout_s: float) -> Sequence[T] | None:
        """At most `want` rows; none, if none came in `timeout_s`; None after the last."""
        if self._first:
            first, self._first = self._first, deque()
            return unpacked(self._puller.rows, first)
        if self._job is None:
            self._job = self._submit(want)
        job = self._waiting = self._waiting or _wrapped(self._job)
        if self._in_line and self._lane.stands_in_line(self._job):
            timeout_s = max(timeout_s, _IN_LINE_S)
        done, _ = await asyncio.wait([job], timeout=timeout_s if self._started else None)
        self._started = True
        if not done:
            self._in_line = self._lane.stands_in_line(self._job)
            return unpacked(self._puller.rows, taken(self._making))
        self._job = None
        job.result()
        made, self._making = self._making, deque()
        if self._puller.encodes_ahead:
            self._job = self._submit(want)  # Two chunks at the most: this one, and the next.
        return unpacked(self._puller.rows, made if made or not self._puller.ended else None)

    def _submit(self, want: int) -> Future[None]:
        self._making = deque()
        self._waiting = None
        self._in_line = False
        return self._lane.submit(self._make, self._making, self._puller.items(want))

    def _make(self, making: deque[T], want: int) -> None:
        self._puller.fill(making, want)
        if not self._bound:
            self.bind()

    def stop(self) -> None:
        """Ends the batch in the making at its next row, which is lost."""
        self._puller.stop()

    async def aclose(self, then: Callable[[], None]) -> None:
        """Closes the rows on one of their threads, and calls `then` there."""
        self.stop()
        closing = self._closing(then)
        await asyncio.wait([closing], timeout=_CLOSE_WAIT_S)
        if closing.done():
            closing.result()

    def _closing(self, then: Callable[[], None]) -> asyncio.Future[None]:
        job: Future[None] = Future()

        def close(_: object = None) -> None:
            closed = self._lane.submit(self._puller.close, then)
            closed.add_done_callback(partial(_pass_on, job))
            self._lane.close()

        if self._job is None:
            close()
        else:
            context = copy_context()  # Where it runs can depend on who is closing: in Django.
            self._job.add_done_callback(partial(context.run, close))
        return asyncio.wrap_future(job)


def _wrapped(job: Future[None]) -> asyncio.Future[None]:
    """`job` for the loop; that nobody asks for its failure, after `aclose`, is fine."""
    waiting = asyncio.wrap_future(job)
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
    return waiting


def _pass_on(job: Future[None], closed: Future[None]) -> None:
    error = closed.exception()
    if not job.cancelled():
        job.set_exception(error) if error else job.set_result(None)
