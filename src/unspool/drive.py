"""The two loops that move a stream, and the owner that closes it exactly once."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from time import monotonic
from typing import AnyStr, Generic, Protocol

from unspool.errors import UsedTwice
from unspool.observe import UNSEEN, Outcome, Running, Unseen
from unspool.pipeline import CLIENT, MAKING, SOURCE, Pipeline
from unspool.types import AsyncSource, Row, Source

__all__ = ["AsyncChunks", "Chunks", "adrive", "drive"]

Clock = Callable[[], float]


def drive(
    pipeline: Pipeline[AnyStr],
    source: Source[Row],
    clock: Clock = monotonic,
    idle: Callable[[], None] = lambda: None,
) -> Iterator[AnyStr]:
    """The chunks of `source`, each as soon as it is due.

    A failure is raised after everything that came before it has been given. Blocks while
    the source makes its first row, then never longer than the flush time, if the source
    keeps to its time-out; `idle` is called whenever that passed without a row. Does not
    close the source: its owner does (see `Chunks`).
    """
    pipeline.begin()
    if pipeline.compresses:
        # One core encodes while the other compresses: 1.3 to 1.7 times as fast. What is only sent
        # goes out in less time than it takes to wake a thread up for it.
        _encode_ahead(source, pipeline)
    try:
        while True:
            asked_at = clock()
            pipeline.phase = SOURCE
            batch = source.pull(pipeline.want, pipeline.due_in_s(asked_at))
            if batch is None:
                pipeline.check_deadline(asked_at, clock())
                break
            if not batch:
                idle()
            pipeline.phase = MAKING
            chunk = pipeline.feed(batch, asked_at, clock())
            del batch  # A slow client takes its time: its rows need not wait with it.
            if chunk:
                pipeline.phase = CLIENT
                yield chunk
        if chunk := pipeline.end():
            pipeline.phase = CLIENT
            yield chunk
        pipeline.check_cancelled()
    except Exception:
        if chunk := pipeline.rest():
            pipeline.phase = CLIENT
            yield chunk
        raise


async def adrive(
    pipeline: Pipeline[AnyStr], source: AsyncSource[Row], clock: Clock = monotonic
) -> AsyncIterator[AnyStr]:
    """The same for an asynchronous source: the chunks, each as soon as it is due."""
    pipeline.begin()
    _encode_ahead(source, pipeline)  # A thread reads the batch anyway, and the loop is free.
    try:
        while True:
            asked_at = clock()
            pipeline.phase = SOURCE
            batch = await source.pull(pipeline.want, pipeline.due_in_s(asked_at))
            if batch is None:
                pipeline.check_deadline(asked_at, clock())
                break
            pipeline.phase = MAKING
            chunk = pipeline.feed(batch, asked_at, clock())
            del batch
            if chunk:
                pipeline.phase = CLIENT
                yield chunk
        if chunk := pipeline.end():
            pipeline.phase = CLIENT
            yield chunk
        pipeline.check_cancelled()
    except Exception:
        if chunk := pipeline.rest():
            pipeline.phase = CLIENT
            yield chunk
        raise


def _used_twice() -> UsedTwice:
    return UsedTwice(
        "the stream is over, and was asked for its chunks again. It can be sent once: make "
        "a new one for each answer."
    )


def _encode_ahead(source: object, pipeline: Pipeline[AnyStr]) -> None:
    """Offers the source to encode columnar batches where it reads them, if it can."""
    encode_ahead = getattr(source, "encode_ahead", None)
    if encode_ahead is not None:
        encode_ahead(pipeline.encode, pipeline.encode_end)


class Closable(Protocol):
    """What `Chunks` owns: closes itself once, then calls `then`, maybe on another thread."""

    def close(self, then: Callable[[], None]) -> None: ...


class AsyncClosable(Protocol):
    """What `AsyncChunks` owns: closes itself once, then calls `then`."""

    async def aclose(self, then: Callable[[], None]) -> None: ...


OnClosed = Callable[[Outcome, BaseException | None], None]


class Chunks(Generic[AnyStr]):
    """An iterator over the chunks of one stream that owns the source.

    The source is closed and `on_closed` called exactly once: after the last chunk, on a
    failure (which `on_closed` is given), by `close`, or when nobody holds the iterator any
    more; also if it was never started. To iterate it again, then, raises `UsedTwice`.
    """

    def __init__(
        self,
        steps: Iterator[AnyStr],
        source: Closable,
        on_closed: OnClosed,
        pipeline: Pipeline[AnyStr] | None = None,
        running: Running | Unseen = UNSEEN,
    ) -> None:
        self.steps: Iterator[AnyStr] = steps
        self.source = source
        self.pipeline: Pipeline[AnyStr] | None = pipeline
        self.running = running
        self._on_closed = on_closed
        self._first: list[AnyStr] = []
        self._used = False
        self._once = threading.Lock()

    def prime(self, chunks: int = 1) -> int | None:
        """Makes the first chunks now, so that an early failure is raised here.

        Gives the length of the whole answer, if that was all of it.
        """
        for _ in range(chunks):
            try:
                self._first.append(self._step())
            except StopIteration:
                return sum(map(len, self._first))
        return None

    def __iter__(self) -> Iterator[AnyStr]:
        if self._used:
            raise _used_twice()
        return self

    def __next__(self) -> AnyStr:
        if self._first:
            return self._first.pop(0)
        try:
            return self._step()
        except BaseException:
            self._used = True
            raise

    def _step(self) -> AnyStr:
        try:
            return next(self.steps)
        except StopIteration:
            self._close("complete", None)
            raise
        except GeneratorExit:
            self._close("disconnect", None)
            raise StopIteration from None
        except BaseException as error:
            self._close("error", error)
            raise

    def close(self) -> None:
        """Stops the stream and closes the source; after the first time it does nothing."""
        self._used = True
        self._first.clear()
        self._close("disconnect", None)

    def detach(self) -> tuple[list[AnyStr], OnClosed] | None:
        """Gives the source to the caller: what is made already, and what to call at the end.

        None if the stream is over.
        """
        if not self._once.acquire(blocking=False):
            return None
        self.steps = iter(())
        return self._first, self._on_closed

    def _close(self, outcome: Outcome, error: BaseException | None) -> None:
        if not self._once.acquire(blocking=False):
            return
        self.steps = iter(())
        self.source.close(lambda: self._on_closed(outcome, error))

    def __del__(self) -> None:
        self.close()


class AsyncChunks(Generic[AnyStr]):
    """The same for asynchronous steps; whoever makes it must `aclose` it."""

    running: Running | Unseen = UNSEEN

    def __init__(
        self, steps: AsyncIterator[AnyStr], source: AsyncClosable, on_closed: OnClosed
    ) -> None:
        self._steps: AsyncIterator[AnyStr] = steps
        self._source = source
        self._on_closed = on_closed
        self.first: list[AnyStr] = []
        self._used = False
        self._once = threading.Lock()

    @property
    def over(self) -> bool:
        """Whether the source has been told to close."""
        return self._once.locked()

    async def prime(self) -> None:
        """Makes the first chunk now, if there is none, so that an early failure is raised here.

        Raises:
            UsedTwice: the stream is over.
        """
        aiter(self)
        if self.first:
            return
        try:
            self.first.append(await self._step())
        except StopAsyncIteration:
            return

    def __aiter__(self) -> AsyncIterator[AnyStr]:
        if self._used:
            raise _used_twice()
        return self

    async def __anext__(self) -> AnyStr:
        if self.first:
            return self.first.pop(0)
        try:
            return await self._step()
        except BaseException:
            self._used = True
            raise

    async def _step(self) -> AnyStr:
        if self.over:  # `adrive` would ask the source for more.
            raise StopAsyncIteration
        try:
            return await anext(self._steps)
        except StopAsyncIteration:
            await self._aclose("complete", None)
            raise
        except Exception as error:
            await self._aclose("error", error)
            raise

    async def aclose(self) -> None:
        """Stops the stream and closes the source; after the first time it does nothing.

        (What is closed can be iterated, once: frameworks do so for HEAD. It gives nothing.)
        """
        self.first.clear()
        await self._aclose("disconnect", None)

    async def _aclose(self, outcome: Outcome, error: BaseException | None) -> None:
        if self._once.acquire(blocking=False):
            await self._source.aclose(lambda: self._on_closed(outcome, error))
