"""The protocols that the parts of Unspool meet in, and that users plug into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, AnyStr, Protocol, TypeVar

__all__ = [
    "AsyncBatchReader",
    "AsyncSource",
    "Batch",
    "BatchReader",
    "Encoder",
    "Format",
    "Row",
    "Source",
    "Stage",
    "is_columnar",
]

T_co = TypeVar("T_co", covariant=True)
Piece_co = TypeVar("Piece_co", str, bytes, covariant=True)

Row = Any
"""A tuple, a list, a mapping, a dataclass, or an object with `_asdict()`."""

Batch = Sequence[Row]
"""Some rows, in order; may be empty, which means "nothing came in time".

A batch with an attribute `columns` (see `unspool.sources.batches.Records`) names the columns of
its rows, also if it is empty."""


def is_columnar(batch: object) -> bool:
    """Whether a batch has columns, which encoders in C take while other threads run.

    Such a batch says so by `nogil = True`. It can still be used as a sequence of tuples, but that
    makes them.
    """
    return getattr(batch, "nogil", False)


class Encoder(Protocol[Piece_co]):
    """Turns batches of rows into bytes. Used for one stream, by one thread at a time.

    `feed` either takes the whole batch or raises and changes nothing, so that the rows
    before a bad one can be fed again and are not lost.
    """

    def begin(self) -> Piece_co:
        """What stands before the first row."""
        ...

    def feed(self, batch: Batch) -> Piece_co:
        """The bytes of these rows; empty means "nothing yet".

        Raises:
            RowError: a row of another width, or a value that the format cannot carry.
        """
        ...

    def end(self) -> Piece_co:
        """What stands after the last row."""
        ...


class Stage(Protocol[AnyStr]):
    """Turns chunks into other chunks. Used for one stream, by one thread at a time."""

    def begin(self) -> None:
        """Gets ready."""
        ...

    def feed(self, chunk: AnyStr) -> AnyStr:
        """The chunk, changed; nothing of it is kept back. Nothing for nothing."""
        ...

    def end(self) -> AnyStr:
        """What stands after the last chunk."""
        ...


class Format(Protocol):
    """The frozen description of a format; makes one encoder a stream.

    One whose bytes are compressed already says so with `compressed = True`.
    """

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        ...

    @property
    def suffix(self) -> str:
        """How names of such files end, with the dot."""
        ...

    def encoder(self, columns: Sequence[str] | None) -> Encoder[bytes]:
        """A new encoder. `columns` are the column names, or None to take the first row's."""
        ...


class BatchReader(Protocol):
    """What gives many rows in one go, such as a cursor. Pass it where rows are wanted.

    It is read and closed by one thread at a time, not always the same one, except if it has
    `thread_bound = True`. If it has `cancel()`, that is called from another thread when the
    client has left, maybe between two reads and after the last.
    """

    @property
    def columns(self) -> Sequence[str] | None:
        """The column names, known once the first batch was read; None if rows bring names."""
        ...

    def read_batch(self, want: int) -> Batch:
        """Some `want` rows, fewer or more; none after the last."""
        ...

    def close(self) -> None:
        """Gives back what the rows need. Called once."""
        ...


class AsyncBatchReader(Protocol):
    """The same, awaited, by one task."""

    @property
    def columns(self) -> Sequence[str] | None:
        """The column names, known once the first batch was read; None if rows bring names."""
        ...

    async def read_batch(self, want: int) -> Batch:
        """Some `want` rows, fewer or more; none after the last."""
        ...

    async def aclose(self) -> None:
        """Gives back what the rows need. Called once."""
        ...


class Source(Protocol[T_co]):
    """Rows that can be asked for, in batches, by one caller at a time."""

    def pull(self, want: int, timeout_s: float) -> Sequence[T_co] | None:
        """At most `want` rows; none, if none came in `timeout_s`; None after the last."""
        ...


class AsyncSource(Protocol[T_co]):
    """The same, awaited."""

    async def pull(self, want: int, timeout_s: float) -> Sequence[T_co] | None:
        """At most `want` rows; none, if none came in `timeout_s`; None after the last."""
        ...
