"""Values of any type made plain: turned into those few types that every row loop knows."""

from __future__ import annotations

import datetime
import decimal
import numbers
import operator
from bisect import bisect_left
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import chain
from typing import Any

from unspool.errors import RowError, shown
from unspool.formats.rows import Cells

__all__ = ["PLAIN", "Plain", "RowLoop", "refuse_type"]

PLAIN = frozenset(
    {
        type(None),
        bool,
        int,
        float,
        str,
        decimal.Decimal,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
    }
)
"""What a row loop knows, compared exactly: no subclass is meant."""

RowLoop = Callable[[Sequence[Sequence[Any]]], str]
"""Rows of plain cells, equally wide, as text.

Raises TypeError for a type that it does not know, and ValueError for a value that the format
cannot carry; neither says where, so that the loop stays small and fast.
"""

_NOT_CELLS = (bytes, bytearray, memoryview, list, tuple, dict, set, frozenset)

Convert = Callable[[Any], Any]


class Plain:
    """Calls row loops with rows whose cells may have any type, and names what is at fault.

    An Enum becomes its value, a subclass its base, a foreign integer or float (numpy's) an
    int or float, any other object that has a text form of its own that text. Bytes, lists,
    dicts, sets and objects without one raise RowError. Holds one function per type met.

    Args:
        format: what to call the format in a message.
        cells: where the rows come from; names the columns.
        keeps: whether the loop takes this type, too.
    """

    def __init__(
        self, format: str, cells: Cells, keeps: Callable[[type], bool] | None = None
    ) -> None:
        self._format = format
        self._cells = cells
        self._keeps = keeps or (lambda _: False)
        # The kernel takes types that are kept only when they stand in the table.
        self._needed = keeps is not None
        self._converts: dict[type, Convert | None] = dict.fromkeys(PLAIN)

    @property
    def converts(self) -> dict[type, Convert | None]:
        """How to make values of each type plain, as far as types were met; None: they are."""
        return self._converts

    def encode(self, loop: RowLoop, rows: Sequence[Sequence[Any]]) -> bytes:
        """What `loop` gives for `rows`, as UTF-8.

        Raises:
            RowError: a value that the format cannot carry.
        """
        try:
            return self._encode(loop, rows)
        except TypeError:
            if self._needed:
                raise
        self._needed = True  # From now on the types are looked at before the loop is called.
        return self._encode(loop, rows)

    def _encode(self, loop: RowLoop, rows: Sequence[Sequence[Any]]) -> bytes:
        if self._needed:
            self._learn(loop, rows)
            rows = self._made_plain(rows)
        try:
            return loop(rows).encode()
        except ValueError as error:
            raise self._fault(loop, rows, error) from error

    def _learn(self, loop: RowLoop, rows: Sequence[Sequence[Any]]) -> None:
        """Learns the types that are new. A row before one that cannot be is looked at first."""
        new = set(map(type, chain.from_iterable(rows))) - self._converts.keys()
        for kind in list(new):
            convert = None if self._keeps(kind) else _convert_for(kind)
            if convert or self._keeps(kind):
                self._converts[kind] = convert
                new.remove(kind)
        if new:
            index, position, value = next(
                cell for cell in self._cells.cells(rows) if type(cell[2]) in new
            )
            if index:
                self._encode(loop, list(rows)[:index])
            raise self._error(_no_cell(type(value)), index, position, value)

    def _made_plain(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        converts = self._converts
        if not any(converts[kind] for kind in set(map(type, chain.from_iterable(rows)))):
            return rows
        return [
            [
                value if (convert := converts[type(value)]) is None else convert(value)
                for value in row
            ]
            for row in rows
        ]

    def _fault(self, loop: RowLoop, rows: Sequence[Sequence[Any]], error: ValueError) -> RowError:
        """Where it went wrong: the slow way, by trying row for row and then part for part."""
        index, row = next((i, row) for i, row in enumerate(rows) if _problem(loop, row))
        position = bisect_left(
            range(len(row)), 1, key=lambda end: _problem(loop, _head(row, end + 1)) is not None
        )
        problem = _problem(loop, _head(row, position + 1)) or error
        return self._error(_sentence(problem), index, position, row[position])

    def _error(self, problem: str, index: int, position: int, value: object) -> RowError:
        return RowError(
            f"{self._format} cannot carry {shown(value)}: {problem}",
            index=index,
            column=self._cells.name(position),
            value=value,
        )


def refuse_type(value: object) -> TypeError:
    """What a row loop raises for a type that it does not know."""
    return TypeError(f"{type(value).__name__} is not plain")


def _no_cell(kind: type) -> str:
    return (
        f"it is a {kind.__name__}. Turn it into text or numbers first, or use format='ndjson' "
        "for nested values."
    )


def _problem(loop: RowLoop, row: Sequence[Any]) -> ValueError | None:
    try:
        loop([row]).encode()
    except ValueError as error:
        return error
    return None


def _head(row: Sequence[Any], end: int) -> Sequence[Any]:
    """The row with nothing in its cells from `end` on."""
    return [*row[:end], *[None] * (len(row) - end)]


def _sentence(problem: ValueError) -> str:
    if isinstance(problem, UnicodeEncodeError):
        return (
            "it has a lone surrogate, which UTF-8 cannot carry. Decode the text with "
            "errors='replace', or clean it, before you send it."
        )
    return str(problem)


def _convert_for(kind: type) -> Convert | None:
    """How to make a value of this type plain; None if there is no way."""
    if issubclass(kind, Enum):
        return _convert_enum(kind)
    for base, convert in _BASES:
        if issubclass(kind, base):
            return convert
    if issubclass(kind, _NOT_CELLS) or kind.__str__ is object.__str__:
        return None
    return str


def _convert_enum(kind: type[Enum]) -> Convert | None:
    """A table of the members' values, made plain."""
    table: dict[Enum, Any] = {}
    for member in kind:
        value = member.value
        convert = _itself if type(value) in PLAIN else _convert_for(type(value))
        if convert is None:
            return None
        table[member] = convert(value)
    return lambda member: table.get(member, member.value)


def _itself(value: Any) -> Any:
    return value


def _plain_datetime(value: datetime.datetime) -> datetime.datetime | str:
    try:
        return datetime.datetime.combine(value.date(), value.timetz())
    except ValueError:
        return str(value)  # pandas.NaT, a datetime by its class only.


# Each base, and how to come from a subclass to it. Kinds of Decimal and Fraction that are no
# Decimal stay text, as a float would lose digits. A foreign float is taken by the digits that
# it shows: numpy.float32(0.1) is 0.1.
_BASES: tuple[tuple[type, Convert], ...] = (
    (str, str),
    (float, float),
    (numbers.Integral, operator.index),
    (numbers.Rational, str),
    (numbers.Real, lambda value: float(str(value))),
    (decimal.Decimal, decimal.Decimal),
    (datetime.datetime, _plain_datetime),
    (datetime.date, lambda value: datetime.date(value.year, value.month, value.day)),
    (datetime.time, lambda value: datetime.time.fromisoformat(value.isoformat())),
    (
        datetime.timedelta,
        lambda value: datetime.timedelta(value.days, value.seconds, value.microseconds),
    ),
)
