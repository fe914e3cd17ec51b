"""What is served: sources, their tables, and the columns of those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from unspool.serve.families import Family, family_of

__all__ = ["Column", "Source", "Table"]


@dataclass(frozen=True)
class Column:
    """A column, with its type as the database calls it, and its family, where that is no help."""

    name: str
    type: str
    known: Family | None = None

    @cached_property
    def family(self) -> Family:
        """How its values are compared."""
        return self.known or family_of(self.type)


@dataclass(frozen=True)
class Table:
    """A table or view. `path` is where the database has it: schema and name, or the name."""

    name: str
    kind: Literal["table", "view"]
    columns: Sequence[Column]
    path: tuple[str, ...]


class Source(Protocol):
    """One database, or some files as one: what pages need of it."""

    name: str

    @property
    def kind(self) -> str:
        """What it is: duckdb, files, sqlite, postgresql, mysql."""
        ...

    def tables(self) -> list[Table]:
        """All tables, by name."""
        ...

    def table(self, name: str) -> Table:
        """The table of this name.

        Raises:
            NotFound: there is none.
        """
        ...
