"""Sources that give many rows in one go: cursors, readers of files and of record batches.

Their batches travel as single items through the machinery that moves rows, so that nothing is
done for each row before the encoder sees it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any, SupportsIndex, overload

from unspool.types import AsyncBatchReader, Batch, BatchReader, is_columnar

__all__ = ["AsyncBatchRows", "BatchRows", "Records", "encode_ahead", "unpacked"]

# A batch that took longer than this to read asks for fewer rows the next time, so that the
# rows of a slow source are not held up by a big batch.
_SLOW_READ_S = 0.01


class Records(list[Any]):
    """Rows as tuples, with the names of their columns; may be empty, and name them still.

    >>> Records([(1, "a"), (2, "b")], ["id", "name"])[:1].columns
    ('id', 'name')
    """

    __slots__ = ("columns",)

    def __init__(self, rows: Iterable[Any], columns: Sequence[str] | None) -> None:
        super().__init__(rows)
        self.columns = None if columns is None else tuple(columns)

    @overload
    def __getitem__(self, at: SupportsIndex) -> Any: ...

    @overload
    def __getitem__(self, at: slice) -> Records: ...

    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        """One row, or some of them under the same names."""
        found = super().__getitem__(at)
        return Records(found, self.columns) if isinstance(at, slice) else found


class _Pace:
    """How many rows to ask for: what is wanted, fewer of a slow source."""

    def __init__(self) -> None:
        self.want = 1
        self._most = 1

    def rows(self) -> int:
        return min(self.want, self._most)

    def took(self, seconds: float, rows: int) -> None:
        slow = seconds > _SLOW_READ_S
        self._most = max(1, self._most // 4) if slow else max(8 * rows, self._most)


class BatchRows(Iterator[Batch]):
    """The batches of a reader, one an item. `want` says how many rows the next should have.

    If the reader has no rows, the one batch is empty and has the reader's columns. With
    `encode_ahead`, columnar batches are encoded where they are read.
    """

    def __init__(self, reader: BatchReader) -> None:
        self.reader = reader
        self.want = 1
        self._encode: Callable[[Batch], Any] | None = None
        self._end: Callable[[], None] | None = None
        self._decided: bool | None = None
        self._pace = _Pace()
        self._started = False

    @property
    def ahead(self) -> bool:
        """Whether batches are encoded here: reading the next one while one is sent pays."""
        return bool(self._decided)

    @property
    def thread_bound(self) -> bool:
        """Whether the reader must stay on the thread that reads first."""
        return bool(getattr(self.reader, "thread_bound", False))

    def __next__(self) -> Batch:
        self._pace.want = self.want
        asked_at = monotonic()
        batch = self.reader.read_batch(self._pace.rows())
        self._pace.took(monotonic() - asked_at, len(batch))
        if self._decided and self._end is not None and not len(batch):
            self._end()
        batch = _first_or_stop(self, batch, StopIteration)
        if self._encode is None:
            return batch
        if self._decided is None:  # Once: an encoder takes all batches from one thread.
            self._decided = is_columnar(batch)
        return self._encode(batch) if self._decided else batch

    def cancel(self) -> None:
        """Ends a read that is under way on another thread, if the reader can."""
        cancel = getattr(self.reader, "cancel", None)
        if cancel is not None:
            cancel()

    def close(self) -> None:
        """Closes the reader."""
        self.reader.close()


class AsyncBatchRows(AsyncIterator[Batch]):
    """The same for a reader that is awaited. Wrap it in this where async rows are wanted."""

    def __init__(self, reader: AsyncBatchReader) -> None:
        self.reader = reader
        self.want = 1
        self._pace = _Pace()
        self._started = False

    async def __anext__(self) -> Batch:
        self._pace.want = self.want
        asked_at = monotonic()
        batch = await self.reader.read_batch(self._pace.rows())
        self._pace.took(monotonic() - asked_at, len(batch))
        return _first_or_stop(self, batch, StopAsyncIteration)

    async def aclose(self) -> None:
        """Closes the reader."""
        await self.reader.aclose()


def encode_ahead(rows: object, encode: Callable[[Batch], Any], end: Callable[[], None]) -> None:
    """Has the thread that reads `rows` encode them as well, if they are columnar batches.

    `encode` is called with each, and `end` after the last.

    The thread that sends then runs beside it: making bytes of columns needs no Python. Where
    Python is needed the two would only wait for each other.
    """
    if isinstance(rows, BatchRows):
        rows._encode, rows._end = encode, end


def _first_or_stop(rows: Any, batch: Batch, stop: type[Exception]) -> Batch:
    """`batch`; an empty one only if it is the first, and stands for the columns."""
    first, rows._started = not rows._started, True
    if len(batch):
        return batch
    if first and rows.reader.columns is not None:
        return Records((), rows.reader.columns)
    raise stop


def unpacked(rows: object, pulled: Sequence[Any] | None) -> Batch | None:
    """What was pulled from `rows`, as a batch of rows."""
    if isinstance(rows, (BatchRows, AsyncBatchRows)) and pulled:
        (batch,) = pulled
        return batch  # type: ignore[no-any-return]
    return pulled
