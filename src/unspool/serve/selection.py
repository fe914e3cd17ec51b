"""The query string of a table: which rows and columns, in which order. See docs/serve.md."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from unspool.errors import shown
from unspool.serve.catalog import Column, Table
from unspool.serve.problems import BadParameter

__all__ = ["OPERATORS", "PARAMETERS_MAX", "Filter", "Selection", "whole_number"]

OPERATORS = ("eq", "ne", "gt", "ge", "lt", "le", "contains", "startswith", "in", "isnull")

# More conditions than a person makes; every one is a part of the statement.
PARAMETERS_MAX = 200
_VALUES_MAX = 1000
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class Filter:
    """One condition. `value` is of the column's type: of `in` a list, of `isnull` a bool."""

    column: Column
    operator: str
    value: Any


@dataclass(frozen=True)
class Selection:
    """What is wanted of a table."""

    table: Table
    columns: Sequence[Column]
    filters: Sequence[Filter] = ()
    sort: Sequence[tuple[Column, bool]] = ()
    """Columns, and whether they go down."""
    limit: int | None = None
    offset: int = 0

    @property
    def is_filter(self) -> bool:
        """Whether nothing but filters is chosen."""
        chosen = self.columns is not self.table.columns or self.sort or self.offset
        return not chosen and self.limit is None

    @classmethod
    def of(cls, table: Table, parameters: Iterable[tuple[str, str]]) -> Selection:
        """What these parameters select.

        Raises:
            BadParameter: one that cannot be; the message names it.
        """
        return _Reader(table).read(parameters)


@dataclass
class _Reader:
    table: Table
    columns: list[Column] = field(default_factory=list)
    filters: list[Filter] = field(default_factory=list)
    sort: list[tuple[Column, bool]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def read(self, parameters: Iterable[tuple[str, str]]) -> Selection:
        for count, (name, value) in enumerate(parameters, 1):
            if count > PARAMETERS_MAX:
                raise BadParameter(
                    f"there are more than {PARAMETERS_MAX} parameters. Ask for less."
                )
            self._take(name, value)
        return Selection(
            self.table,
            self.columns or self.table.columns,
            self.filters,
            self.sort,
            self.numbers.get("_limit"),
            self.numbers.get("_offset", 0),
        )

    def _take(self, name: str, value: str) -> None:
        column, _, operator = name.rpartition("__")
        if column and operator in OPERATORS:
            self.filters.append(_filter(self._column(column, name), operator, value))
        elif name == "_column":
            self.columns.append(self._column(value, name))
        elif name == "_sort":
            self.sort.append(self._sorted(value))
        elif name in {"_limit", "_offset"}:
            if name in self.numbers:
                raise BadParameter(f"{name} is there twice. Leave one out.")
            self.numbers[name] = whole_number(name, value)
        else:
            raise BadParameter(
                f"there is no parameter {shown(name)}. Parameters are COLUMN__OPERATOR with one "
                f"of {', '.join(OPERATORS)}; _column, _sort, _limit, _offset and _stream."
            )

    def _sorted(self, value: str) -> tuple[Column, bool]:
        name, _, direction = value.rpartition(":")
        if direction in {"asc", "desc"}:
            return self._column(name, "_sort"), direction == "desc"
        return self._column(value, "_sort"), False

    def _column(self, name: str, parameter: str) -> Column:
        for column in self.table.columns:
            if column.name == name:
                return column
        raise BadParameter(
            f"{parameter}: {self.table.name} has no column {shown(name)}. It has "
            f"{_listed(column.name for column in self.table.columns)}."
        )


def _listed(names: Iterable[str]) -> str:
    text = ", ".join(names)
    most = 500
    return text if len(text) <= most else text[:most] + " …"


def whole_number(name: str, value: str) -> int:
    """The value of a parameter that counts rows.

    Raises:
        BadParameter: it is no whole number from 0 to 2**63 - 1.
    """
    if value.isascii() and value.isdigit() and len(value) <= len(str(_INT64_MAX)):
        number = int(value)
        if number <= _INT64_MAX:
            return number
    raise BadParameter(f"{name} is {shown(value)}; it must be a whole number of at least 0.")


def _filter(column: Column, operator: str, value: str) -> Filter:
    if operator == "isnull":
        if value not in {"0", "1"}:
            raise BadParameter(f"{column.name}__isnull is {shown(value)}; it must be 0 or 1.")
        return Filter(column, operator, value == "1")
    family = column.family
    if operator in {"contains", "startswith"}:
        if not family.is_text:
            raise BadParameter(
                f"{column.name}__{operator}: the column has the type {column.type}; only text "
                "can be searched. Use eq, gt, lt and their kin."
            )
        return Filter(column, operator, _checked_text(column, operator, value))
    if operator == "in":
        return Filter(
            column, operator, [_value(column, operator, each) for each in _split(column, value)]
        )
    return Filter(column, operator, _value(column, operator, value))


def _split(column: Column, value: str) -> list[str]:
    """The values of `in`: one line of CSV, so that commas can be quoted."""
    try:
        rows = list(csv.reader([value], strict=True))
    except csv.Error as error:
        raise BadParameter(
            f"{column.name}__in is {shown(value)}, which is no line of CSV: {error}."
        ) from None
    values = rows[0] if rows else [""]
    if len(values) > _VALUES_MAX:
        raise BadParameter(
            f"{column.name}__in has {len(values)} values; the limit is {_VALUES_MAX}."
        )
    return values


def _value(column: Column, operator: str, text: str) -> Any:
    family = column.family
    try:
        if family.parse is None:
            raise ValueError(text)
        value = family.parse(text)
    except (ValueError, KeyError, ArithmeticError):
        raise BadParameter(
            f"{column.name}__{operator} is {shown(text)}; the column has the type {column.type}, "
            f"which takes {family.label}."
        ) from None
    return _checked_text(column, operator, value) if isinstance(value, str) else value


def _checked_text(column: Column, operator: str, text: str) -> str:
    if "\0" in text:
        raise BadParameter(f"{column.name}__{operator} has a null character in it. Leave it out.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadParameter(f"{column.name}__{operator} is no text in UTF-8.") from None
    return text
