"""Rows out of tables that come one after the other: record batches of Arrow, frames of Polars.

Holds one table, and the rows that are asked for. Values become Python's: integers, `str`,
`datetime`, `Decimal`, lists and dicts for nested ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from unspool.sources.queries import QueryReader

__all__ = ["TableReader", "arrow_rows"]

ToRows = Callable[[Any], list[Any]]

Open = Callable[[ExitStack], tuple[Iterable[Any], Sequence[str], ToRows]]


class TableReader(QueryReader):
    """The rows of the tables that `open` gives, with the names of the columns, at the first read.

    Args:
        open: is given a stack for what must be closed; gives the tables, the names, and what
            turns a table into a list of tuples. A table can be cut by `slice(start, rows)`.
        interrupt: ends a call that waits for a table, from another thread.
    """

    def __init__(self, open: Open, interrupt: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._open = open
        self._interrupt_call = interrupt
        self._tables: Iterator[Any] = iter(())
        self._to_rows: ToRows = list
        self._table: Any = ()
        self._at = 0

    def begin(self) -> None:
        """Opens the tables."""
        tables, columns, self._to_rows = self._open(self.opened)
        self.columns = tuple(columns)
        self._tables = iter(tables)
        self.opened.callback(self._let_go)

    def fetch(self, want: int) -> list[Any]:
        """The next rows of the table, or of the one after it."""
        while self._at >= len(self._table):
            self._table = ()  # It need not be there beside the next one.
            table = next(self._tables, None)
            if table is None:
                return []
            self._table, self._at = table, 0
        rows = self._to_rows(self._table.slice(self._at, want))
        self._at += want
        return rows

    def interrupt(self) -> None:
        """Ends the wait for a table."""
        self._interrupt_call()

    def _let_go(self) -> None:
        self._table, self._at = (), 0
        self._tables = iter(())


def arrow_rows(batch: Any) -> list[Any]:
    """The rows of a record batch of pyarrow's."""
    return list(zip(*[column.to_pylist() for column in batch.columns], strict=True))
