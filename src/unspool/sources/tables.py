"""Rows out of tables that come one after the other: record batches of Arrow, frames of Polars.

With the kernel they stay columns, and are given by slices; without it their rows are made. Holds
one table, and the rows that are asked for. Values: see `unspool.sources.arrow`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

from unspool import kernel
from unspool.sources import arrow_values
from unspool.sources.queries import QueryReader
from unspool.types import Batch

__all__ = ["Part", "TableReader", "ToRows"]

ToRows = Callable[[Any], list[Any]]

Open = Callable[[ExitStack], tuple[Iterable[Any], Sequence[str], ToRows]]


class Part(Protocol):
    """A table that is given bit by bit."""

    def read(self, want: int) -> Batch | None:
        """About `want` rows; None after the last."""
        ...

    def close(self) -> None:
        """Lets go of the table."""
        ...


class TableReader(QueryReader):
    """The rows of the tables that `open` gives, with the names of the columns, at the first read.

    Args:
        open: is given a stack for what must be closed; gives the tables, the names, and what
            turns a table into a list of tuples. A table can be cut by `slice(start, rows)`.
        interrupt: ends a call that waits for a table, from another thread.
        columnar: whether the kernel can take the tables, by `__arrow_c_stream__`.
    """

    def __init__(
        self,
        open: Open,
        interrupt: Callable[[], object] = lambda: None,
        *,
        columnar: bool = True,
    ) -> None:
        super().__init__()
        self._open = open
        self._interrupt_call = interrupt
        self._columnar = columnar and kernel.ArrowStream is not None
        self._tables: Iterator[Any] = iter(())
        self._to_rows: ToRows = list
        self._part: Part = _Rows((), list)

    def begin(self) -> None:
        """Opens the tables."""
        tables, columns, self._to_rows = self._open(self.opened)
        self.columns = tuple(columns)
        self._tables = iter(tables)
        self.opened.callback(self._let_go)

    def fetch(self, want: int) -> Batch:
        """The next rows of the table, or of the one after it."""
        while (rows := self._part.read(want)) is None:
            self._let_go_of_part()  # It need not be there beside the next one.
            table = next(self._tables, None)
            if table is None:
                return ()
            self._part = self._part_of(table)
        return rows

    def _part_of(self, table: Any) -> Part:
        if self._columnar:
            part: Part = kernel.ArrowStream(table.__arrow_c_stream__(), arrow_values)
            return part
        return _Rows(table, self._to_rows)

    def interrupt(self) -> None:
        """Ends the wait for a table."""
        self._interrupt_call()

    def _let_go(self) -> None:
        self._let_go_of_part()
        self._tables = iter(())

    def _let_go_of_part(self) -> None:
        part, self._part = self._part, _Rows((), list)
        part.close()


class _Rows:
    """A table whose rows are made."""

    def __init__(self, table: Any, to_rows: ToRows) -> None:
        self._table: Any = table
        self._to_rows = to_rows
        self._at = 0

    def read(self, want: int) -> Batch | None:
        """The next rows; None after the last."""
        if self._at >= len(self._table):
            return None
        rows = self._to_rows(self._table.slice(self._at, want))
        self._at += want
        return rows

    def close(self) -> None:
        """Lets go of the table."""
        self._table, self._at = (), 0
