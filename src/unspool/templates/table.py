"""`{{ rows|table }}`: the rows of an HTML table, made a batch at a time."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextvars import copy_context
from typing import Any

from unspool.coalesce import FLUSH_AFTER_S
from unspool.errors import RowError
from unspool.formats.html import Html, HtmlEncoder
from unspool.formats.table import Names
from unspool.pipeline import BATCH_ROWS
from unspool.sources.async_rows import AsyncRowSource
from unspool.sources.batches import unpacked
from unspool.sources.rows import Puller, rows_of
from unspool.types import Batch

__all__ = ["TableRows", "table"]


class TableRows:
    """The rows of a table as HTML, in pieces; or as one text, for who asks for that.

    The rows are pulled once, and closed. Holds one batch of at most 1,024 rows; the first ones
    are small, and those of a slow source stay so.
    """

    def __init__(
        self, rows: Iterable[Any] | AsyncIterable[Any], columns: Sequence[str] | None
    ) -> None:
        self._rows = rows
        self._encoder = _Rows(columns)
        self._count = 0

    def __iter__(self) -> Iterator[str]:
        puller = Puller(rows_of(self._rows), copy_context())
        try:
            while (batch := puller.pull(puller.items(BATCH_ROWS), 0.0)) is not None:
                yield self._html(unpacked(puller.rows, batch))
        finally:
            puller.close_rows()

    async def __aiter__(self) -> AsyncIterator[str]:
        if not isinstance(self._rows, AsyncIterable):
            for html in self:
                yield html
            return
        source: AsyncRowSource[Any] = AsyncRowSource(self._rows, copy_context())
        try:
            while (batch := await source.pull(BATCH_ROWS, FLUSH_AFTER_S)) is not None:
                yield self._html(batch)
        finally:
            await source.aclose()

    def __html__(self) -> str:
        return "".join(self)

    __str__ = __html__

    def _html(self, batch: Batch | None) -> str:
        if not batch:
            return ""
        try:
            html = self._encoder.feed(batch)
        except RowError as error:
            error.place_after(self._count)
            raise
        self._count += len(batch)
        return html.decode()


class _Rows(HtmlEncoder):
    """The rows alone."""

    def __init__(self, columns: Sequence[str] | None) -> None:
        super().__init__(Html(), columns)

    def head(self, names: Names, row: Sequence[Any] | None) -> str:
        return ""


def table(
    rows: Iterable[Any] | AsyncIterable[Any], columns: Sequence[str] | None = None
) -> TableRows:
    """A `<tr>` for each of `rows`, with a `<td>` for each value, escaped.

    Takes the rows, and the values, that `Html` takes: tuples, mappings, objects with names.
    `columns` chooses and orders by name. Far faster than loops of a template, and as timely.

    Raises:
        NotIterable: no rows; async ones, in a template that is not.
        RowError: while they are made: a row or value that cannot be written.

    >>> str(table([(1, "a & b"), (2, None)]))
    '<tr><td>1</td><td>a &amp; b</td></tr>\\n<tr><td>2</td><td></td></tr>\\n'
    """
    return TableRows(rows, columns)
