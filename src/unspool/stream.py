"""The plan of one streamed answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unspool.coalesce import CHUNK_BYTES, FLUSH_AFTER_S, Coalescer
from unspool.errors import UsageError
from unspool.formats import find
from unspool.headers import stream_headers
from unspool.pipeline import BATCH_ROWS, Pipeline
from unspool.types import Format

__all__ = ["Stream"]


@dataclass(frozen=True)
class Stream:
    """What to send and how; made by the view, used once.

    Args:
        rows: an iterable of tuples, lists, mappings, dataclasses or objects with
            `_asdict()`. It is iterated once, and closed if it has `close()`.
        format: a name ("csv", "json", "ndjson", "text") or a format object, such as
            `Csv(delimiter=";")`.
        columns: the column names; taken from the first row if it has any.
        filename: makes it a download of this name.
        chunk_bytes: a chunk leaves when it is this long, or …
        flush_after_s: … when its oldest byte is this many seconds old.
        batch_rows: the most rows that are taken from the source at a time.
        same_thread: iterate `rows` on the thread of the request, always. What a source
            that gets stuck has given before then waits with it.

    Holds one batch, one more in the making, and less than two chunks, however long the
    answer is.

    Raises:
        UsageError: a value out of its range, a file name or columns that cannot be.
        UnknownFormat: no such format.

    >>> plan = Stream([(1, "a")], format="csv", columns=["id", "name"])
    >>> plan.headers()[0]
    ('Content-Type', 'text/csv; charset=utf-8')
    """

    rows: Any
    format: str | Format = "csv"
    columns: Sequence[str] | None = None
    filename: str | None = None
    chunk_bytes: int = CHUNK_BYTES
    flush_after_s: float = FLUSH_AFTER_S
    batch_rows: int = BATCH_ROWS
    same_thread: bool = False

    def __post_init__(self) -> None:
        for name, kinds, least in (
            ("chunk_bytes", int, 1),
            ("flush_after_s", (int, float), 0),
            ("batch_rows", int, 1),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
                whole = "a whole number" if kinds is int else "a number"
                raise UsageError(f"{name} must be {whole} of at least {least}; got {value!r}.")
        self.pipeline()
        self.headers()

    def headers(self) -> list[tuple[str, str]]:
        """The headers of the answer."""
        return stream_headers(find(self.format).media_type, self.filename)

    def pipeline(self) -> Pipeline[bytes]:
        """A new pipeline from rows to chunks."""
        return Pipeline(
            find(self.format).encoder(self.columns),
            Coalescer(b"", self.chunk_bytes, self.flush_after_s),
            chunk_bytes=self.chunk_bytes,
            batch_rows=self.batch_rows,
        )
