"""The pieces of a rendered template as chunks of text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from pathlib import Path
from typing import IO, Any

from unspool.coalesce import CHUNK_BYTES, FLUSH_AFTER_S, Coalescer
from unspool.compress import Compressor
from unspool.drive import Chunks, drive
from unspool.errors import UsageError, UsedTwice
from unspool.formats.text import TextEncoder
from unspool.headers import IDENTITY
from unspool.observe import UNSEEN, Outcome, Running, Unseen
from unspool.pipeline import Pipeline
from unspool.sources.rows import RowSource
from unspool.templates.pieces import BATCH_PIECES
from unspool.types import Batch

__all__ = ["TemplateStream"]


class TemplateStream:
    """An iterator over the text of a template, in chunks of a good size.

    Stands in for `jinja2.environment.TemplateStream` and has its methods, but sends
    chunks by size and age instead of one piece at a time, and can be closed.

    Args:
        pieces: what `Template.generate()` gives.
        context: where the template runs; a copy of the current one by default.
        on_closed: called once, after the pieces were closed, with the failure or None.
        born: called with what makes the stream, of which it gives what those see who watch.
        beside: other objects that the template uses; if one is bound to its thread
            (sqlite3), the template is rendered on the thread that asks for chunks.
        chunk_chars: a chunk leaves when it is this long, or …
        flush_after_s: … so many seconds after its first piece was asked for.

    >>> from jinja2 import Template
    >>> pieces = Template("{% for n in range(3) %}{{ n }};{% endfor %}").generate()
    >>> "".join(TemplateStream(pieces))
    '0;1;2;'
    """

    def __init__(
        self,
        pieces: Iterable[str],
        *,
        context: Context | None = None,
        on_closed: Callable[[BaseException | None], None] = lambda error: None,
        born: Callable[[Pipeline[Any]], Running | Unseen] = lambda pipeline: UNSEEN,
        beside: Callable[[], Iterable[object]] = tuple,
        chunk_chars: int = CHUNK_BYTES,
        flush_after_s: float = FLUSH_AFTER_S,
    ) -> None:
        self.buffered = False
        self._chunk_chars = chunk_chars
        self._flush_after_s = flush_after_s
        self._source = RowSource(pieces, context or copy_context(), beside=beside)
        self._pipeline = self._new_pipeline()
        running = born(self._pipeline)
        running.on_cancel(self._source.stop)

        def ended(outcome: Outcome, error: BaseException | None) -> None:
            on_closed(running.end(outcome, error)[1])

        steps = drive(self._pipeline, self._source)
        self._chunks = Chunks(steps, self._source, ended, running=running)

    def peek(self) -> None:
        """Renders up to the first piece, so that an early failure is raised here."""
        try:
            self._source.peek()
        except BaseException:
            self.close()
            raise

    def enable_buffering(self, size: int = 5) -> None:
        """From now on, a chunk is `size` pieces, however long they are or take.

        Raises:
            UsageError: a size of less than two pieces.
        """
        if size <= 1:
            raise UsageError(f"size must be at least 2 pieces; got {size!r}.")
        self.buffered = True
        self._chunks.steps = _by_count(self._pipeline.flush(), self._source, size)

    def disable_buffering(self) -> None:
        """Back to chunks by size and age."""
        self.buffered = False
        self._pipeline = self._new_pipeline()
        self._chunks.running.follow(self._pipeline)
        self._chunks.steps = drive(self._pipeline, self._source)

    def dump(
        self,
        fp: str | os.PathLike[str] | IO[bytes] | IO[str],
        encoding: str | None = None,
        errors: str | None = "strict",
    ) -> None:
        """Writes the whole stream to a file or to a path (as UTF-8, if not said otherwise)."""
        if isinstance(fp, (str, os.PathLike)):
            with Path(fp).open("wb") as file:
                self.dump(file, encoding or "utf-8", errors)
            return
        for chunk in self:
            fp.write(chunk if encoding is None else chunk.encode(encoding, errors or "strict"))  # type: ignore[arg-type]

    def encoded(self, coding: str) -> Chunks[bytes]:
        """The same as chunks of UTF-8, compressed by `coding`. This stream is over then.

        Raises:
            UsedTwice: its chunks were asked for before, or it is over.
        """
        begun = self.buffered or self._pipeline.rows
        detached = None if begun else self._chunks.detach()
        if detached is None:
            raise UsedTwice("the template's stream was begun before it was to be encoded.")
        pipeline = Pipeline(
            TextEncoder(),
            Coalescer(b"", self._chunk_chars, self._flush_after_s),
            None if coding == IDENTITY else Compressor(coding),
            batch_rows=BATCH_PIECES,
        )
        running = self._chunks.running
        running.follow(pipeline)
        steps = drive(pipeline, self._source)
        return Chunks(steps, self._source, detached[1], pipeline, running)

    def close(self) -> None:
        """Stops the template; its generator, with all it holds, is closed."""
        self._chunks.close()

    def stop(self) -> None:
        """Ends a wait for the next piece, from any thread: there will be no more."""
        self._source.stop()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._chunks)

    def _new_pipeline(self) -> Pipeline[str]:
        return Pipeline(
            _Joined(),
            Coalescer("", self._chunk_chars, self._flush_after_s),
            batch_rows=BATCH_PIECES,
        )


class _Joined:
    """Pieces of text as text: the encoder of templates."""

    def begin(self) -> str:
        return ""

    def feed(self, batch: Batch) -> str:
        return "".join(batch)

    def end(self) -> str:
        return ""


def _by_count(held: str, source: RowSource[str], size: int) -> Iterator[str]:
    """What was held, then chunks of `size` non-empty pieces."""
    if held:
        yield held
    pieces: list[str] = []
    while (batch := source.pull(size - len(pieces), FLUSH_AFTER_S)) is not None:
        pieces += filter(None, batch)
        if len(pieces) >= size:
            yield "".join(pieces[:size])
            del pieces[:size]
    for at in range(0, len(pieces), size):
        yield "".join(pieces[at : at + size])
