"""Iterables of rows as sources.

The first row is pulled where the stream is made, so that an early failure is found there.
After that a source that could block is pulled by a thread of its own: what it has given
can be sent while it is stuck. A source that cannot block, or that is bound to its thread,
stays with its caller.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextvars import Context, ContextVar
from itertools import chain, compress, islice
from queue import Empty, SimpleQueue
from time import monotonic
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from unspool.errors import NotIterable, UsedTwice, shown
from unspool.sources.affinity import is_thread_bound
from unspool.sources.arrow import ArrowReader, has_arrow_stream
from unspool.sources.batches import BatchRows, encode_ahead, unpacked
from unspool.sources.known import recognised
from unspool.types import Batch

__all__ = [
    "END",
    "ContextRows",
    "Puller",
    "RowSource",
    "refuse_used",
    "rows_of",
    "stay_here",
    "taken",
]

T = TypeVar("T")

# These have all they will ever give, so asking them never blocks.
NEVER_BLOCK = (list, tuple, dict, set, frozenset, range, deque)

# A caller that pulls by itself asks for fewer rows when they take longer than this, so
# that a slow source is not held up by a big batch.
_SLOW_PULL_S = 0.01

# How long `close` waits for a source that is busy. Its thread closes it when it can.
CLOSE_WAIT_S = 0.5

END: Any = object()
"""Stands after the last row."""

stay_here: ContextVar[bool] = ContextVar("stay_here", default=False)
"""Set where the caller's threads are shared with care already: see `unspool.asgi.from_wsgi`."""


def rows_of(source: object) -> Iterator[Any]:
    """The iterator of `source`; of its batches, if it is a `BatchReader` or becomes one.

    Raises:
        NotIterable: it is none, or one that is certainly not meant (text, a function).
        UsedTwice: it is a generator that is over.
    """
    refuse_used(source)
    if isinstance(source, (str, bytes, bytearray, memoryview)):
        raise NotIterable(
            f"the source is one {type(source).__name__}, {shown(source)}, which would be sent "
            "character by character. Put it in a list: [text]."
        )
    source = recognised(source)
    if callable(getattr(source, "read_batch", None)):
        return BatchRows(source)  # type: ignore[arg-type]
    if has_arrow_stream(source):
        return BatchRows(ArrowReader(source))  # type: ignore[arg-type]
    if isinstance(source, AsyncIterable):
        raise NotIterable(
            f"the source is asynchronous ({type(source).__name__}), and this stream is driven "
            "by a thread. Hand over a plain iterable."
        )
    try:
        return iter(source)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        call = " It is a function: call it." if callable(source) else ""
        raise NotIterable(
            f"the source must be an iterable of rows; got {shown(source)} "
            f"({type(source).__name__}).{call}"
        ) from None


@runtime_checkable
class Cancellable(Protocol):
    """Rows whose wait for the next one can be ended from another thread."""

    def cancel(self) -> None: ...


def refuse_used(source: object) -> None:
    """Raises `UsedTwice` for a generator that is over: its empty answer would look whole."""
    over = (isinstance(source, GeneratorType) and source.gi_frame is None) or (
        isinstance(source, AsyncGeneratorType) and source.ag_frame is None
    )
    if over:
        raise UsedTwice(
            f"the rows are a generator ({shown(source)}) that is over: it gives its rows once. "
            "Make a new one for each answer."
        )


class ContextRows(Iterator[T]):
    """An iterator whose every step runs in one Context, on the thread that asks."""

    def __init__(self, rows: Iterator[T], context: Context) -> None:
        self._rows = rows
        self._context = context

    def __next__(self) -> T:
        return self._context.run(next, self._rows)

    def close(self, then: Callable[[], None]) -> None:
        """Closes the rows there, and calls `then`."""
        try:
            self._context.run(_close, self._rows)
        finally:
            then()


class RowSource(Generic[T]):
    """An iterable as a source. Every step of it, and its close, runs in `context`.

    Args:
        rows: an iterable of rows.
        context: where the rows are made.
        same_thread: never use a thread of its own.
        beside: gives other objects that share the source's thread (asked once, after the
            first row); if one of them is bound to its thread, the source stays there.
        release: called in `context` as soon as the rows are closed, which is when the last
            one came: long before a slow client has it.

    Holds one batch at the most. A row is given once; an exception of the source comes
    after the rows that came before it.
    """

    def __init__(
        self,
        rows: Iterable[T],
        context: Context,
        *,
        same_thread: bool = False,
        beside: Callable[[], Iterable[object]] = tuple,
        release: Callable[[], None] | None = None,
    ) -> None:
        self.beside = beside
        self.puller: Puller[T] = Puller(rows_of(rows), context, release)
        self.never_blocks = isinstance(rows, NEVER_BLOCK)
        self._stays = same_thread or self.never_blocks or stay_here.get()
        self._now: Puller[T] | _Elsewhere[T] = self.puller
        self._peeked: deque[T] | None = None
        self._asked = False

    def encode_ahead(self, encode: Callable[[Batch], Any], end: Callable[[], None]) -> None:
        """See `unspool.sources.batches.encode_ahead`."""
        encode_ahead(self.puller.rows, encode, end)

    def peek(self) -> None:
        """Pulls the first row and keeps it for `pull`; raises what the source raises."""
        if self._peeked is None and not self._asked:
            self._peeked = self._pull(1, 0.0)

    def pull(self, want: int, timeout_s: float) -> Sequence[T] | None:
        """At most `want` rows; none, if none came in `timeout_s`; None after the last.

        Blocks at most `timeout_s`; as long as the source does for the first row, and
        always where the source stays with its caller.
        """
        if self._peeked is not None:
            peeked, self._peeked = self._peeked, None
            return unpacked(self.puller.rows, peeked)
        return unpacked(self.puller.rows, self._pull(self.puller.items(want), timeout_s))

    def _pull(self, want: int, timeout_s: float) -> deque[T] | None:
        if self._asked and not self._stays:
            self._stays = True  # Decided once, now that the source has opened what it needs.
            if not is_thread_bound(self.puller.rows, *self.beside()):
                self._now = self.puller.moved(self.beside, want)
        self._asked = True
        return self._now.pull(want, timeout_s)

    def stop(self) -> None:
        """Ends what another thread is pulling at its next row, which is lost."""
        self.puller.stop()

    def close(self, then: Callable[[], None]) -> None:
        """Closes the rows, on the thread that pulled them, and calls `then`, once each.

        Waits 0.5 s at the most: a source that is busy for longer is closed by its own
        thread as soon as it gives a row, and `then` is called there.
        """
        self._peeked = None
        self._asked = True
        self._now.close(then)


class Puller(Generic[T]):
    """The rows of an iterator, pulled on the thread that asks, in `context`.

    The rows are closed as soon as the last one came, and `release` is called then, once.
    """

    def __init__(
        self, rows: Iterator[T], context: Context, release: Callable[[], None] | None = None
    ) -> None:
        self.rows = rows
        self.context = context
        self.with_end: Iterator[T] = chain(rows, (END,))
        self._release = release
        self._closed = False
        self._pace = 1
        self._stopped = False
        self._go = bytearray()
        self._error: BaseException | None = None
        self.ended = False

    def pull(self, want: int, timeout_s: float) -> deque[T] | None:
        """At most `want` rows, fewer of a slow source; None after the last."""
        batch: deque[T] = deque()
        return None if self.fill(batch, min(want, self._pace)) is None else batch

    def fill(self, batch: deque[T], want: int) -> deque[T] | None:
        """Extends `batch` row by row, for others to see; None if there was none left."""
        if self._error:
            raise self._error
        if self.ended:
            return None
        started = monotonic()
        try:
            self.context.run(batch.extend, self.some(want))
        except BaseException as error:
            self._error = error
            if not batch:
                raise
        slow = monotonic() - started > _SLOW_PULL_S
        self._pace = max(1, self._pace // 4) if slow else max(2 * len(batch), 1)
        if cut_end(batch):
            self.ended = True
            self.close_rows()
        return None if self.ended and not batch else batch

    def items(self, want: int) -> int:
        """How many items have `want` rows: one, if it is a batch, which is told the number."""
        if isinstance(self.rows, BatchRows):
            self.rows.want = want
            return 1
        return want

    @property
    def encodes_ahead(self) -> bool:
        """Whether there is a next batch, whose making and encoding pays while this one is sent."""
        return isinstance(self.rows, BatchRows) and self.rows.ahead and not self.ended

    def some(self, want: int) -> Iterator[T]:
        """The next `want` rows, and the end mark; fewer if `stop` is called meanwhile."""
        self._go = bytearray(b"\1" * want)
        if self._stopped:
            self._go.clear()
        return compress(islice(self.with_end, want), self._go)

    def stop(self) -> None:
        """Ends a `fill` on another thread at its next row, which is lost."""
        self._stopped = True
        self._go.clear()
        if isinstance(self.rows, Cancellable):
            self.rows.cancel()

    def moved(self, beside: Callable[[], Iterable[object]], want: int) -> Puller[T] | _Elsewhere[T]:
        """The same rows, pulled by another thread from now on."""
        return self if self.ended or self._error else _Elsewhere(self, beside, want)

    def close(self, then: Callable[[], None]) -> None:
        """Closes the rows, if they are not, and calls `then`."""
        try:
            self.close_rows()
        finally:
            then()

    def close_rows(self) -> None:
        """Closes the rows and calls `release`, the first time."""
        if self._closed:
            return
        self._closed = True
        try:
            self.context.run(_close, self.rows)
        finally:
            if self._release is not None:
                self.context.run(self._release)


class _Elsewhere(Generic[T]):
    """Pulls on a thread of its own, one batch ahead.

    The rows of the batch in the making are visible at once: the thread extends a deque,
    and the caller takes from its other end when it has waited long enough. What the rows
    have made `beside` them that is bound to this thread is closed on it: the thread then
    calls what `close` would have called.
    """

    def __init__(
        self, puller: Puller[T], beside: Callable[[], Iterable[object]], want: int
    ) -> None:
        self._puller = puller
        self._beside = beside
        self._making: deque[T] = deque()
        self._made: SimpleQueue[deque[T]] = SimpleQueue()
        self._go: SimpleQueue[None] = SimpleQueue()
        self._want = want
        self._error: BaseException | None = None
        self._closing = False
        self._last_words: Callable[[], None] | None = None
        self._ended = False
        self._closed: Future[None] = Future()
        threading.Thread(target=self._run, name="unspool-source", daemon=True).start()

    def pull(self, want: int, timeout_s: float) -> deque[T] | None:
        if self._ended:
            return None
        batch = self._some(want, timeout_s)
        if not batch and self._error:
            raise self._error
        self._ended = cut_end(batch)
        return None if self._ended and not batch else batch

    def _some(self, want: int, timeout_s: float) -> deque[T]:
        """The batch that was made, and has the next one begun; or what is there of it."""
        try:
            batch = self._made.get(timeout=0 if self._error else timeout_s)
        except Empty:
            return taken(self._making)
        self._making = deque()  # Now, while the thread waits: `batch` is for the caller alone.
        self._want = want
        self._go.put(None)
        return batch

    def close(self, then: Callable[[], None]) -> None:
        self._tell(then if is_thread_bound(*self._beside()) else None)
        wait([self._closed], CLOSE_WAIT_S)
        if not self._closed.done():
            self._closed.add_done_callback(lambda _: self._call(then))
            return
        try:
            self._call(then)
        finally:
            self._closed.result()

    def _tell(self, last_words: Callable[[], None] | None) -> None:
        self._last_words = last_words
        self._closing = True
        self._puller.stop()
        self._go.put(None)

    def _call(self, then: Callable[[], None]) -> None:
        """Calls `then`, unless the thread itself has."""
        if self._last_words is None:
            then()

    def _run(self) -> None:
        try:
            while self._make_batch():
                self._go.get()
        except BaseException as error:
            self._error = error
            self._made.put(self._making)
        try:
            self._close_rows()
        except BaseException as error:
            self._closed.set_exception(error)
        else:
            self._closed.set_result(None)

    def _close_rows(self) -> None:
        try:
            self._puller.close_rows()
        finally:
            while not self._closing:
                self._go.get()
            if self._last_words is not None:
                self._last_words()

    def _make_batch(self) -> bool:
        """Fills `_making` and gives it; False after the last row, or if nobody wants it."""
        making = self._making
        if not self._closing:
            self._puller.context.run(making.extend, self._puller.some(self._want))
        ended = has_end(making)
        self._made.put(making)
        return not (ended or self._closing)


def taken(making: deque[T]) -> deque[T]:
    """The rows made so far; the end mark stays, for the thread that makes them to see."""
    batch: deque[T] = deque()
    try:
        while making[0] is not END:
            batch.append(making.popleft())
    except IndexError:
        pass  # Empty: another thread may cut the end mark off meanwhile.
    return batch


def has_end(making: deque[T]) -> bool:
    try:
        return making[-1] is END
    except IndexError:
        return False  # Empty, maybe since this moment: its rows are taken by another thread.


def cut_end(batch: deque[T]) -> bool:
    if has_end(batch):
        batch.pop()
        return True
    return False


def _close(rows: Iterator[Any]) -> None:
    close = getattr(rows, "close", None)
    if close is not None:
        close()
