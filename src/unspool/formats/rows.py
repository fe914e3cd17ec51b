"""Rows of any kind, seen as equally wide sequences of cells under column names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Any

from unspool.errors import RowError, UsageError, shown
from unspool.types import Batch, Row, is_columnar

__all__ = ["Cells", "Shape", "check_columns", "columns_of", "names_of"]

_NOT_ROWS = (str, bytes, bytearray, memoryview)

Cut = Callable[[Row], Sequence[Any]]
Shape = tuple[tuple[str, ...] | None, bool, int, dict[type, Cut | None]]


def check_columns(columns: Sequence[str] | None) -> tuple[str, ...] | None:
    """The column names as a tuple.

    Raises:
        UsageError: no names, a name that is no text, or the same name twice.
    """
    if columns is None:
        return None
    names = () if isinstance(columns, str) else tuple(columns)
    if not names:
        raise UsageError(
            f"columns must be a sequence of names, such as ['id', 'name']; got {columns!r}."
        )
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"column name {name!r} is a {type(name).__name__}; names are text.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"column name {twice!r} stands twice in columns={list(names)!r}.")
    return names


def names_of(row: Row) -> tuple[str, ...] | None:
    """The column names that a row brings along; None for a plain tuple or list."""
    if isinstance(row, Mapping):
        return tuple(row)
    if is_dataclass(row):
        return tuple(field.name for field in fields(row))
    if hasattr(row, "_fields"):
        return tuple(row._fields)
    if hasattr(row, "_asdict"):
        return tuple(row._asdict())
    if hasattr(row, "keys"):
        return tuple(row.keys())  # sqlite3.Row
    return None


def columns_of(batch: Batch) -> tuple[str, ...] | None:
    """The column names that a batch or its first row brings along, if any."""
    columns = getattr(batch, "columns", None)
    if columns is not None or not batch:
        return columns
    return names_of(batch[0])


class Cells:
    """Turns batches of rows into batches of cells, all as wide as the first.

    Takes tuples, lists and other sequences by position; mappings, dataclasses and objects
    with `_asdict()` by name. Named columns come from `columns` or from the first row.
    With `columns`, a row with names may have more than these; without, it must have the
    same. Holds the names and one function per kind of row.
    """

    def __init__(self, columns: Sequence[str] | None) -> None:
        self.columns = check_columns(columns)
        self.width = len(self.columns) if self.columns else 0
        self._chosen = columns is not None
        self._cuts: dict[type, Cut | None] = {}

    def start(self, batch: Batch) -> None:
        """Learns names and width from the first batch: from its `columns` or its first row."""
        if self.columns is None:
            columns = columns_of(batch)
            self.columns = None if columns is None else tuple(columns)
        if self.columns or batch:
            self.width = len(self.columns) if self.columns else len(self._cut(batch[0], 0))

    @property
    def shape(self) -> Shape:
        """Names, whether rows may have more names than these, width, and functions learned.

        It is what the kernel must know to cut rows itself.
        """
        return (self.columns or None, self._chosen, self.width, self._cuts)

    def take(self, batch: Batch) -> Sequence[Sequence[Any]]:
        """The cells of each row of `batch`, in order.

        Raises:
            RowError: a row of another width or with other names, or that is no row.
        """
        if is_columnar(batch) and len(columns_of(batch) or ()) == self.width:
            return batch
        cuts = [self._cut_for(kind, batch) for kind in set(map(type, batch))]
        rows = batch if cuts == [None] else [self._cut(row, i) for i, row in enumerate(batch)]
        if set(map(len, rows)) - {self.width}:
            index = next(i for i, row in enumerate(rows) if len(row) != self.width)
            raise self._width_error(rows[index], index)
        return rows

    def name(self, position: int) -> str | int:
        """What to call the column at `position` (from 0) in a message."""
        return self.columns[position] if self.columns else position + 1

    def _cut(self, row: Row, index: int) -> Sequence[Any]:
        cut = self._cut_for(type(row), (row,))
        if cut is None:
            return row  # type: ignore[no-any-return]
        try:
            return cut(row)
        except (KeyError, AttributeError) as error:
            missing = next((name for name in self.columns or () if not _has(row, name)), None)
            if missing is None:
                raise
            raise RowError("has no such value", index=index, column=missing, value=row) from error

    def _cut_for(self, kind: type, batch: Batch) -> Cut | None:
        """How to cut a row of this kind; None if it is a sequence of cells already."""
        try:
            return self._cuts[kind]
        except KeyError:
            index, row = next((i, row) for i, row in enumerate(batch) if type(row) is kind)
            cut = self._cuts[kind] = self._new_cut(row, index)
            return cut

    def _new_cut(self, row: Row, index: int) -> Cut | None:
        if isinstance(row, _NOT_ROWS):
            raise RowError(
                f"a row must be a tuple, list, mapping, dataclass or have _asdict(); got the "
                f"{type(row).__name__} {shown(row)}. For ready text use format='text'.",
                index=index,
                value=row,
            )
        if isinstance(row, Mapping):
            return self._cut_mapping
        if is_dataclass(row):
            return self._cut_attributes(row)
        if hasattr(row, "keys") and hasattr(row, "__getitem__"):
            return self._cut_mapping if self._chosen else tuple  # sqlite3.Row
        if isinstance(row, Sequence):
            return None
        if hasattr(row, "_asdict"):
            return lambda row: self._cut_mapping(row._asdict())
        raise RowError(
            f"a row must be a tuple, list, mapping, dataclass or have _asdict(); got "
            f"{shown(row)} ({type(row).__name__}).",
            index=index,
            value=row,
        )

    def _cut_mapping(self, row: Mapping[str, Any]) -> Sequence[Any]:
        if self.columns is None:
            return tuple(row.values())
        if not self._chosen and len(row) > len(self.columns):
            return tuple(row.values())  # Too wide, which the width check will say.
        return tuple([row[name] for name in self.columns])

    def _cut_attributes(self, row: Row) -> Cut:
        names = self.columns or names_of(row) or ()
        if len(names) == 1:
            get = attrgetter(names[0])
            return lambda row: (get(row),)
        return attrgetter(*names)

    def _width_error(self, row: Sequence[Any], index: int) -> RowError:
        given = "the columns given are" if self._chosen else "the first row has"
        return RowError(
            f"has {len(row)} cells; {given} {self.width}. "
            "Give every row the same cells, None where there is no value.",
            index=index,
            value=row,
        )

    def cells(self, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[int, int, Any]]:
        """Row index, column position and value of each cell: the slow way, to find one."""
        for index, row in enumerate(rows):
            for position, value in enumerate(row):
                yield index, position, value


def _has(row: Row, name: str) -> bool:
    if isinstance(row, Mapping):
        return name in row
    if hasattr(row, "_asdict"):
        return name in row._asdict()
    return hasattr(row, name)
