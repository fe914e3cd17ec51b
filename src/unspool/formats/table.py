"""The encoder that table formats made of text share: a head, rows by a row loop, a foot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unspool.errors import EmptySource
from unspool.formats.plain import Plain, RowLoop
from unspool.formats.rows import Cells
from unspool.types import Batch

__all__ = ["Names", "TableEncoder"]

Names = tuple[str, ...] | None


class TableEncoder:
    """Writes the head before the first row, each batch with one call of a row loop, the foot.

    A format gives `format` (its name in messages), `loop(names)` and `head(names, row)`, where
    `row` has the cells of the first row, or is None if there is none. Holds no row.
    """

    format: str
    foot = ""
    needs_names = True
    """Whether a table without a row needs to know its columns."""

    def __init__(
        self, columns: Sequence[str] | None, keeps: Callable[[type], bool] | None = None
    ) -> None:
        self._cells = Cells(columns)
        self._plain = Plain(self.format, self._cells, keeps)
        self._loop: RowLoop | None = None

    def loop(self, names: Names) -> RowLoop:
        """The row loop for columns of these names."""
        raise NotImplementedError

    def in_kernel(self, *batch_shape_converts: Any) -> bytes | None:
        """The same loop in C; None where it leaves the batch to Python, or there is none."""
        return None

    def head(self, names: Names, row: Sequence[Any] | None) -> str:
        """What stands before the first row."""
        raise NotImplementedError

    def begin(self) -> bytes:
        """Nothing: the head needs the names of the columns."""
        return b""

    def feed(self, batch: Batch) -> bytes:
        """These rows, the head before the first."""
        if self._loop is None:
            self._cells.start(batch)
        if not batch:
            return b""
        loop = self._loop or self.loop(self._cells.columns)
        data = self.in_kernel(batch, self._cells.shape, self._plain.converts)
        if data is None:
            data = self._plain.encode(loop, self._cells.take(batch))
        if self._loop is None:
            data = self._head(self._cells.take([batch[0]])[0]) + data
            self._loop = loop
        return data

    def end(self) -> bytes:
        """The foot, after the head, if no row came.

        Raises:
            EmptySource: no row came, and nothing else names the columns.
        """
        if self._loop:
            return self.foot.encode()
        if self._cells.columns is None and self.needs_names:
            raise EmptySource(
                f"the source gave no rows, and so no column names for the head of the "
                f"{self.format} table. Pass columns=[...] to send the head alone."
            )
        return self._head(None) + self.foot.encode()

    def _head(self, row: Sequence[Any] | None) -> bytes:
        names = self._cells.columns
        if names:  # A name is checked like a cell under it.
            self._plain.encode(self.loop(names), [names])
        return self.head(names, row).encode()
