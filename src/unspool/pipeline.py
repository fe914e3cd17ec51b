"""Rows in, chunks out: encoder, coalescer and compressor as one machine, with counters.

Sans I/O: it knows no socket, thread, loop, clock or framework. Times come in as arguments.
"""

from __future__ import annotations

from typing import AnyStr, Final, Generic, Literal, NoReturn

from unspool.coalesce import Coalescer
from unspool.errors import DeadlineExceeded, RowError, TooManyBytes
from unspool.types import Batch, Encoder, Stage, is_columnar

__all__ = ["BATCH_ROWS", "CLIENT", "MAKING", "SOURCE", "Encoded", "Phase", "Pipeline"]

Phase = Literal["waiting for the source", "making", "waiting for the client"]
SOURCE: Final = "waiting for the source"
MAKING: Final = "making"
CLIENT: Final = "waiting for the client"

# How much larger than the last a batch may be: the guess of what fills a chunk may be wrong.
_GROWTH = 8

# A batch that is meant to fill a chunk has this part more: rows are not all of one length, and
# one that falls just short would make a chunk of twice the size, and a copy, with the next.
_SLACK = 32

# Above some hundred rows a batch gains nothing more. Narrow rows fill a chunk with this many.
BATCH_ROWS = 1024

# Rows of a columnar batch cost so much less: narrow ones still fill a chunk.
_COLUMNAR = 16


class Encoded(Generic[AnyStr]):
    """A batch that became bytes before it was fed, or some of it, and what ended it."""

    def __init__(
        self, piece: AnyStr, rows: int, error: Exception | None = None, *, columnar: bool = False
    ) -> None:
        self.piece: AnyStr = piece
        self.rows = rows
        self.error = error
        self.columnar = columnar

    def __len__(self) -> int:
        return self.rows


class Pipeline(Generic[AnyStr]):
    """One stream's encoder and coalescer, and its compressor, if it has one.

    `rows` counts what went in, `sent` what came out. Holds less than one chunk and what the
    compressor holds. Used by one thread at a time, except that one more may `encode`.
    """

    def __init__(
        self,
        encoder: Encoder[AnyStr],
        coalescer: Coalescer[AnyStr],
        compressor: Stage[AnyStr] | None = None,
        *,
        batch_rows: int = BATCH_ROWS,
        deadline_s: float | None = None,
        max_bytes: int | None = None,
        keep_alive: tuple[AnyStr, float] | None = None,
    ) -> None:
        self._encoder: Encoder[AnyStr] = encoder
        self._coalescer: Coalescer[AnyStr] = coalescer
        self._compressor: Stage[AnyStr] | None = compressor
        self._batch_rows = batch_rows
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes
        self._keep_alive: tuple[AnyStr, float] | None = keep_alive
        self._began_at: float | None = None
        self._sent_at = 0.0
        self._begun = False
        self._end: AnyStr | None = None
        self.rows = 0
        self.sent = 0
        self.first_at: float | None = None
        """When the first chunk was made."""
        self.phase: Phase = SOURCE
        """What the driver of this stream does now. It sets this, once a batch."""
        self.cancelled: Exception | None = None
        """What the stream is to fail with as soon as its source has answered; set from any
        thread."""
        self.want = 1
        """How many rows the next batch should have at the most: few at first, so that the
        first rows leave early, and never many more than fill a chunk."""

    @property
    def compresses(self) -> bool:
        """Whether what was encoded is worked on once more."""
        return self._compressor is not None

    def begin(self) -> None:
        """Makes what stands before the first row, once; it leaves together with that row."""
        if not self._begun:
            self._begun = True
            self._coalescer.hold(self._encoder.begin())
            if self._compressor is not None:
                self._compressor.begin()

    def feed(self, batch: Batch | Encoded[AnyStr], made_at: float, now: float) -> AnyStr:
        """A chunk, if one is due; else nothing. An empty batch only lets time pass.

        Raises:
            RowError: with the row's number in the stream. The rows before it are held,
                and `rest` gives them.
            DeadlineExceeded: see `check_deadline`.
        """
        self.check_deadline(made_at, now)
        encoded: Encoded[AnyStr] = batch if isinstance(batch, Encoded) else self.encode(batch)
        if encoded.error is not None:
            self._fail(encoded, encoded.error)
        if encoded.rows:
            self.want = self._next_want(encoded)
            self.rows += encoded.rows
        chunk = self._coalescer.feed(encoded.piece, made_at, now)
        if chunk:
            self._sent_at = now
            if self.first_at is None:
                self.first_at = now
        elif self._keep_alive and self.sent and now - self._sent_at >= self._keep_alive[1]:
            self._sent_at = now
            chunk = self._keep_alive[0]
        return self._out(chunk)

    def encode(self, batch: Batch) -> Encoded[AnyStr]:
        """The batch as bytes, for `feed`, which raises what went wrong.

        May run on another thread than `feed`, ahead of it: batch by batch, in order.
        """
        self.begin()
        try:
            return Encoded(self._encoder.feed(batch), len(batch), columnar=is_columnar(batch))
        except RowError as error:
            return self._up_to(batch, error)
        except Exception as error:
            return Encoded(self._coalescer.empty, 0, error)

    def encode_end(self) -> None:
        """Makes what stands after the last row, for `end`, where the batches were encoded."""
        self._end = self._encoder.end()

    def _up_to(self, batch: Batch, error: RowError) -> Encoded[AnyStr]:
        """The rows before the first that is at fault, and what is wrong with that one."""
        piece = self._coalescer.empty
        while good := error.row - 1:
            try:
                piece = self._encoder.feed(_head(batch, good))
                break
            except RowError as earlier:  # The encoder had looked at something else first.
                error = earlier
        return Encoded(piece, good, error)

    def _fail(self, encoded: Encoded[AnyStr], error: Exception) -> NoReturn:
        self._coalescer.hold(encoded.piece)
        if isinstance(error, RowError):
            error.place_after(self.rows)
        self.rows += encoded.rows
        raise error from error.__cause__

    def flush(self) -> AnyStr:
        """All that is held, now."""
        return self._out(self._coalescer.flush())

    def rest(self) -> AnyStr:
        """All that is held, after a failure: nothing, if no row was before it.

        What stands before the first row leaves with that row, or a failure could no longer have a
        status of its own.
        """
        return self.flush() if self.rows or self.sent else self._coalescer.empty

    def end(self) -> AnyStr:
        """What is held and what stands after the last row."""
        self._coalescer.hold(self._encoder.end() if self._end is None else self._end)
        chunk = self.flush()
        if self._compressor is not None:
            chunk += self._counted(self._compressor.end())
        return chunk

    def due_in_s(self, now: float) -> float:
        """Seconds until something held must leave."""
        return self._coalescer.due_in_s(now)

    def check_deadline(self, asked_at: float, now: float) -> None:
        """Called when the source has answered, whatever it gave; `asked_at` is when it was asked.

        Raises:
            DeadlineExceeded: `deadline_s` after the source was asked for the first time.
            Exception: `cancelled`.
        """
        self.check_cancelled()
        if self._began_at is None:
            self._began_at = asked_at
        took = now - self._began_at
        if self._deadline_s is not None and took > self._deadline_s:
            raise DeadlineExceeded(
                f"the stream has taken {took:.1f} s; the limit is {self._deadline_s} s "
                f"(deadline_s). {self.rows} rows were made. Raise the limit or send less."
            )

    def check_cancelled(self) -> None:
        """Raises `cancelled`, if there is something."""
        if self.cancelled is not None:
            raise self.cancelled

    def _next_want(self, encoded: Encoded[AnyStr]) -> int:
        most = self._batch_rows * (_COLUMNAR if encoded.columnar else 1)
        size = len(encoded.piece)
        fill = self._coalescer.target * encoded.rows // size if size else most
        fill += fill // _SLACK + 1
        batches = -(-fill // most)
        return max(1, min(self.want * _GROWTH, -(-fill // batches)))

    def _out(self, chunk: AnyStr) -> AnyStr:
        if self._compressor is not None:
            chunk = self._compressor.feed(chunk)
        return self._counted(chunk)

    def _counted(self, chunk: AnyStr) -> AnyStr:
        if self._max_bytes is not None and self.sent + len(chunk) > self._max_bytes:
            raise TooManyBytes(self._max_bytes, self.rows)
        self.sent += len(chunk)
        return chunk


def _head(batch: Batch, rows: int) -> Batch:
    """The first rows of a batch, still under its names; a deque cannot be cut otherwise."""
    return batch[:rows] if hasattr(batch, "columns") else list(batch)[:rows]
