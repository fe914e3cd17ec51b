"""What all databases have in common: tables by name, and statements that read them.

Names are quoted by the database's own rule, values are bound: nothing that a client sent is ever
a part of the text of a statement here.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import Any, ClassVar

from unspool.errors import shown
from unspool.serve.catalog import Column, Table
from unspool.serve.families import Family
from unspool.serve.problems import NotFound
from unspool.serve.selection import Filter, Selection
from unspool.sources.queries import QueryReader

__all__ = ["Engine", "Query"]

# Tables that were made meanwhile are seen after so long; until then no request pays for a look.
_CATALOG_AGE_S = 5.0

_SYMBOLS = {"eq": "=", "ne": "<>", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}

Query = tuple[str, list[Any]]
"""A statement and its parameters."""


class Engine(ABC):
    """One source. Its connections are made for a query, and gone after it.

    Text is compared by code point everywhere, whatever the collation, so that a filter means the
    same in each database. NULL is met by `isnull` alone, and comes last in any order.
    """

    kind: ClassVar[str]
    dialect: ClassVar[str]
    """As sqlglot calls it."""
    placeholder: ClassVar[str] = "?"

    def __init__(self, name: str) -> None:
        self.name = name
        self._tables: list[Table] = []
        self._read_at = float("-inf")
        self._reading = threading.Lock()

    @abstractmethod
    def read_tables(self) -> list[Table]:
        """The tables as they are now, in order."""

    @abstractmethod
    def query(self, sql: str, parameters: Sequence[Any] | None, seconds: float) -> QueryReader:
        """The rows of a query, which is run when the first is read, for reading only.

        `seconds` is what the database itself may take for a step, where it can count them.
        """

    def statement(self, sql: str, seconds: float) -> QueryReader:
        """The same for a statement that a client wrote, with all that can be locked locked."""
        return self.query(sql, None, seconds)

    def is_late(self, error: BaseException) -> bool:
        """Whether a failure says that the time of the database's own count is over."""
        return False

    @abstractmethod
    def is_lost(self, error: BaseException) -> bool:
        """Whether a failure says that the database does not answer."""

    @abstractmethod
    def names(self, table: Table) -> list[tuple[str, ...]]:
        """By which names a statement may call the table, folded by `fold`."""

    def fold(self, name: str, *, quoted: bool) -> str:
        """A name as the database compares it; of letters only those of ASCII lose their case."""
        return "".join(each.lower() if each.isascii() else each for each in name)

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Lets go of what is held for all queries."""

    def tables(self) -> list[Table]:
        """All tables, as they were a few seconds ago at most."""
        with self._reading:
            if monotonic() - self._read_at > _CATALOG_AGE_S:
                self._tables = self.read_tables()
                self._read_at = monotonic()
            return self._tables

    def table(self, name: str) -> Table:
        """The table of this name.

        Raises:
            NotFound: there is none.
        """
        for table in self.tables():
            if table.name == name:
                return table
        raise NotFound(f"{self.name} has no table {shown(name)}. /-/sources.json lists them.")

    # Statements ------------------------------------------------------------------------------

    def select(self, selection: Selection, carried: Collection[Family]) -> Query:
        """The rows that are selected.

        Of families that the format of the answer has no form for, which are not `carried`: lists
        and objects come as JSON, bytes in Base64, NaN and infinities as NULL. Types that only
        databases have come as their text.
        """
        columns = ", ".join(self.output(column, carried) for column in selection.columns)
        where, values = self._where(selection.filters)
        order = ", ".join(self.order(column, down) for column, down in selection.sort)
        sql = f"SELECT {columns} FROM {self.place(selection.table)}{where}"  # noqa: S608
        if order:
            sql += f" ORDER BY {order}"
        return sql + self.window(selection.limit, selection.offset), values

    def count(self, selection: Selection, most: int | None = None) -> Query:
        """The number of rows that the filters let through; with `most`, up to that."""
        where, values = self._where(selection.filters)
        rows = f"FROM {self.place(selection.table)}{where}"
        if most is None:
            return f"SELECT count(*) {rows}", values
        rows += self.window(min(most, selection.limit or most), selection.offset)
        return f"SELECT count(*) FROM (SELECT 1 AS n {rows}) AS counted", values  # noqa: S608

    def count_of(self, sql: str, most: int) -> str:
        """The number of rows of a statement, up to `most`."""
        return f"SELECT count(*) FROM (SELECT 1 AS n FROM ({sql}\n) AS a LIMIT {most:d}) AS b"  # noqa: S608

    def place(self, table: Table) -> str:
        """The table in FROM."""
        return ".".join(map(self.quote, table.path)) + " AS served"

    def quote(self, name: str) -> str:
        """A name in a statement."""
        return '"' + name.replace('"', '""') + '"'

    def of(self, column: Column) -> str:
        """What is in the column: its name alone may be that of a form for the answer, too."""
        return f"served.{self.quote(column.name)}"

    def window(self, limit: int | None, offset: int) -> str:
        """How many rows, after how many."""
        text = "" if limit is None else f" LIMIT {limit:d}"
        return text + (f" OFFSET {offset:d}" if offset else "")

    def order(self, column: Column, down: bool) -> str:  # noqa: FBT001
        """A part of ORDER BY."""
        return f"{self.of(column)} IS NULL, {self.key(column)}{' DESC' if down else ''}"

    def key(self, column: Column) -> str:
        """What of a column is compared."""
        return self.of(column)

    def value(self, column: Column) -> str:
        """A placeholder for what it is compared with."""
        return self.placeholder

    def bound(self, column: Column, value: Any) -> Any:
        """A value as the driver takes it."""
        return value

    def text(self, column: Column) -> str:
        """An expression: a value of a type that only this database has, as text."""
        return f"CAST({self.of(column)} AS VARCHAR)"

    def finite(self, column: Column) -> str:
        """An expression: a number, or NULL if it is NaN or infinite."""
        return self.of(column)

    @abstractmethod
    def json(self, column: Column) -> str:
        """An expression: a list or an object as JSON."""

    @abstractmethod
    def base64(self, column: Column) -> str:
        """An expression: bytes in Base64 (RFC 4648), without line breaks."""

    @abstractmethod
    def contains(self, column: Column) -> str:
        """A condition with one placeholder: text that has the value in it."""

    @abstractmethod
    def starts(self, column: Column) -> str:
        """A condition with one placeholder: text that begins with the value."""

    def output(self, column: Column, carried: Collection[Family]) -> str:
        """A part of SELECT: the column, or another form of it."""
        name = self.quote(column.name)
        if column.family in carried:
            return name
        others = {
            Family.NESTED: self.json,
            Family.BINARY: self.base64,
            Family.SINGLE: self.finite,
            Family.FLOAT: self.finite,
            Family.OPAQUE: self.text,
        }
        other = others.get(column.family)
        return f"{other(column)} AS {name}" if other else name

    def _where(self, filters: Sequence[Filter]) -> Query:
        parts, values = [], []
        for each in filters:
            parts.append(self._condition(each))
            if each.operator != "isnull":
                many = each.value if each.operator == "in" else [each.value]
                values += [self.bound(each.column, value) for value in many]
        return (" WHERE " + " AND ".join(parts) if parts else ""), values

    def _condition(self, wanted: Filter) -> str:
        column, operator = wanted.column, wanted.operator
        searches: dict[str, Callable[[Column], str]] = {
            "contains": self.contains,
            "startswith": self.starts,
        }
        if operator == "isnull":
            return f"{self.of(column)} IS {'' if wanted.value else 'NOT '}NULL"
        if operator in searches:
            return searches[operator](column)
        if operator == "in":
            values = ", ".join([self.value(column)] * len(wanted.value))
            return f"{self.key(column)} IN ({values})"
        return f"{self.key(column)} {_SYMBOLS[operator]} {self.value(column)}"
