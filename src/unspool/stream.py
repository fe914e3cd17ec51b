"""The plan of one streamed answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from unspool.coalesce import CHUNK_BYTES, FLUSH_AFTER_S, Coalescer
from unspool.compress import Compressor, offered
from unspool.errors import UsageError
from unspool.formats import find
from unspool.headers import (
    IDENTITY,
    Asked,
    chosen_coding,
    coding_headers,
    merged,
    stream_headers,
)
from unspool.negotiation import check_formats, chosen_format, named_file
from unspool.observe import Hooks, Outcome, Running, Unseen, born
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
        formats: the formats that a request may choose from, as names or objects, with
            `?format=`, the suffix of the path, or Accept; the first by default. See `asked`.
        columns: the column names; taken from the first row if it has any.
        filename: makes it a download of this name; without a suffix it gets the format's.
        chunk_bytes: a chunk leaves when it is this long, or …
        flush_after_s: … so many seconds after its first row was asked for: what comes after a
            silence leaves at once.
        batch_rows: the most rows that are taken from the source at a time.
        same_thread: iterate `rows` on the thread of the request, always. What a source
            that gets stuck has given before then waits with it.
        deadline_s: a stream that takes longer than this many seconds fails.
        max_bytes: an answer that is longer than this many bytes, as they are sent, fails.
        keep_alive_s: send a byte that means nothing when there was nothing to send for this
            many seconds; for formats that have such a byte (json).
        compress: offer the client zstd, br and gzip; for the first two see the extra `compress`.
            Its Accept-Encoding decides. A format that is compressed already stays as it is.
        coding: the content coding of this very answer, which `asked` chooses.
        release: called as soon as the last row came, or the rows were closed: gives back
            what they need (a database connection) long before a slow client is done.
        on_close: called with outcome ("complete", "error", "disconnect"), rows and bytes (those
            that were sent, compressed or not).
        on_error: called with what the source raised, or with `Cancelled`.
        on_disconnect: called if the client left before the end.

    Holds one batch, one more in the making, and less than two chunks, however long the
    answer is; a compressed one up to 430 KiB more.

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
    formats: Sequence[str | Format] | None = None
    same_thread: bool = False
    deadline_s: float | None = None
    max_bytes: int | None = None
    keep_alive_s: float | None = None
    compress: bool = False
    coding: str = IDENTITY
    release: Callable[[], None] | None = None
    on_close: Callable[[Outcome, int, int], object] | None = None
    on_error: Callable[[BaseException], object] | None = None
    on_disconnect: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        for name, kinds, least in (
            ("chunk_bytes", int, 1),
            ("flush_after_s", (int, float), 0),
            ("batch_rows", int, 1),
            ("deadline_s", (int, float), 0),
            ("max_bytes", int, 0),
            ("keep_alive_s", (int, float), 0),
        ):
            value = getattr(self, name)
            if value is None and name in {"deadline_s", "max_bytes", "keep_alive_s"}:
                continue
            if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
                whole = "a whole number" if kinds is int else "a number"
                raise UsageError(f"{name} must be {whole} of at least {least}; got {value!r}.")
        if not isinstance(self.compress, bool):
            raise UsageError(f"compress must be True or False; got {self.compress!r}.")
        if self.formats is not None:
            check_formats(self.formats)
            if self.format not in self.formats:
                object.__setattr__(self, "format", self.formats[0])
        if self.coding != IDENTITY and not self._compressible():
            raise UsageError(
                f"coding is {self.coding!r}, but this answer is not to be compressed. Leave it "
                "out: compress=True lets the client choose."
            )
        self.pipeline()
        self.headers()

    def asked(self, asked: Asked) -> Stream:
        """The plan of the answer to this request: with the format and coding it asked for.

        Raises:
            NotAcceptable: none of the `formats`.

        >>> Stream([], compress=True).asked(Asked("gzip")).headers()[-1]
        ('Content-Encoding', 'gzip')
        """
        plan = self
        if self.formats is not None:
            plan = replace(self, format=chosen_format(self.formats, asked))
        if not plan._compressible():
            return plan
        return replace(plan, coding=chosen_coding(asked.accept_encoding, offered()))

    def headers(self) -> list[tuple[str, str]]:
        """The headers of the answer."""
        filename = self.filename
        if filename is not None:
            filename = named_file(filename, self.format, self.formats)
        headers = stream_headers(self._format().media_type, filename)
        if self.formats is not None:
            headers = merged(headers, [("Vary", "Accept")])
        return merged(headers, coding_headers(self.coding)) if self._compressible() else headers

    def pipeline(self) -> Pipeline[bytes]:
        """A new pipeline from rows to chunks."""
        return Pipeline(
            self._format().encoder(self.columns),
            Coalescer(b"", self.chunk_bytes, self.flush_after_s),
            None if self.coding == IDENTITY else Compressor(self.coding),
            batch_rows=self.batch_rows,
            deadline_s=self.deadline_s,
            max_bytes=self.max_bytes,
            keep_alive=self._keep_alive(),
        )

    def hooks(self) -> Hooks:
        """Whom to tell about the end."""
        return Hooks(self.on_close, self.on_error, self.on_disconnect)

    def born(self, asked: Callable[[], Asked], pipeline: Pipeline[bytes]) -> Running | Unseen:
        """The answer begins, made by `pipeline`: those who watch are told, if there are any."""
        format = find(self.format)
        page = format.media_type.startswith("text/html")  # Its files would be of text.
        return born(asked, "html" if page else format.suffix.lstrip("."), pipeline)

    def _format(self) -> Format:
        """The format; where the rows are bytes that are encoded already, the one of those."""
        format = find(self.format)
        encoded_as = getattr(self.rows, "encoded_as", None)
        return format if encoded_as is None else cast(Format, encoded_as(format))

    def _compressible(self) -> bool:
        return self.compress and not getattr(find(self.format), "compressed", False)

    def _keep_alive(self) -> tuple[bytes, float] | None:
        if self.keep_alive_s is None:
            return None
        blank = getattr(find(self.format), "blank", b"")
        if not blank:
            raise UsageError(
                f"keep_alive_s={self.keep_alive_s!r}, but {find(self.format)!r} has no byte that "
                "means nothing. Leave it out, or use format='json'."
            )
        return blank, self.keep_alive_s
