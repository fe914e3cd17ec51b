"""The two loops that move a stream, and the owner that closes it exactly once."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from time import monotonic
from typing import AnyStr, Generic, Protocol

from unspool.pipeline import Pipeline
from unspool.types import AsyncSource, Row, Source

__all__ = ["Chunks", "adrive", "drive"]

Clock = Callable[[], float]


def drive(
    pipeline: Pipeline[AnyStr], source: Source[Row], clock: Clock = monotonic
) -> Iterator[AnyStr]:
    """The chunks of `source`, each as soon as it is due.

    A failure is raised after everything that came before it has been given. Blocks while
    the source makes its first row, then never longer than the flush time, if the source
    keeps to its time-out. Does not close the source: its owner does (see `Chunks`).
    """
    pipeline.begin()
    try:
        while True:
            asked_at = clock()
            batch = source.pull(pipeline.want, pipeline.due_in_s(asked_at))
            if batch is None:
                break
            if chunk := pipeline.feed(batch, asked_at, clock()):
                yield chunk
        if chunk := pipeline.end():
            yield chunk
    except Exception:
        if chunk := pipeline.flush():
            yield chunk
        raise


async def adrive(
    pipeline: Pipeline[AnyStr], source: AsyncSource[Row], clock: Clock = monotonic
) -> AsyncIterator[AnyStr]:
    """The same for an asynchronous source: the chunks, each as soon as it is due."""
    pipeline.begin()
    try:
        while True:
            asked_at = clock()
            batch = await source.pull(pipeline.want, pipeline.due_in_s(asked_at))
            if batch is None:
                break
            if chunk := pipeline.feed(batch, asked_at, clock()):
                yield chunk
        if chunk := pipeline.end():
            yield chunk
    except Exception:
        if chunk := pipeline.flush():
            yield chunk
        raise


class Closable(Protocol):
    """What `Chunks` owns: closes itself once, then calls `then`, maybe on another thread."""

    def close(self, then: Callable[[], None]) -> None: ...


class Chunks(Generic[AnyStr]):
    """An iterator over the chunks of one stream that owns the source.

    The source is closed and `on_closed` called exactly once: after the last chunk, on a
    failure (which `on_closed` is given), by `close`, or when nobody holds the iterator any
    more; also if it was never started.
    """

    def __init__(
        self,
        steps: Iterator[AnyStr],
        source: Closable,
        on_closed: Callable[[BaseException | None], None],
    ) -> None:
        self.steps: Iterator[AnyStr] = steps
        self._source = source
        self._on_closed = on_closed
        self._first: AnyStr | None = None
        self._once = threading.Lock()

    def prime(self) -> None:
        """Makes the first chunk now, so that an early failure is raised here."""
        self._first = next(self, None)

    def __iter__(self) -> Iterator[AnyStr]:
        return self

    def __next__(self) -> AnyStr:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            return next(self.steps)
        except StopIteration:
            self.close()
            raise
        except BaseException as error:
            self._close(error)
            raise

    def close(self) -> None:
        """Stops the stream and closes the source; after the first time it does nothing."""
        self._close(None)

    def _close(self, error: BaseException | None) -> None:
        if not self._once.acquire(blocking=False):
            return
        self._first = None
        self.steps = iter(())
        self._source.close(lambda: self._on_closed(error))

    def __del__(self) -> None:
        self.close()
