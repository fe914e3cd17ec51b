"""What is served: sources, their tables, and the columns of those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from unspool.errors import UsageError
from unspool.types import BatchReader

__all__ = ["Catalog", "Column", "Source", "Table"]


@dataclass(frozen=True)
class Column:
    """A column, with its type as the database calls it."""

    name: str
    type: str


@dataclass(frozen=True)
class Table:
    """A table or view. `path` is where the database has it: schema and name."""

    name: str
    kind: Literal["table", "view"]
    columns: Sequence[Column]
    path: tuple[str, ...]


class Source(Protocol):
    """One database, or some files as one."""

    name: str
    kind: str

    def tables(self) -> list[Table]:
        """All tables, by name."""
        ...

    def table(self, name: str) -> Table:
        """The table of this name.

        Raises:
            NotFound: there is none.
        """
        ...

    def query(self, sql: str, parameters: Sequence[Any]) -> BatchReader:
        """The rows of a query, which is run when the first is read."""
        ...


class Catalog:
    """The sources by name."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources: dict[str, Source] = {}
        for source in sources:
            if source.name in self.sources:
                raise UsageError(
                    f"two sources are called {source.name!r}. Name one of them: OTHER=SOURCE."
                )
            self.sources[source.name] = source
