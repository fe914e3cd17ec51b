"""The URLs of tables, and what the form of a table's page asks for as the query of one.

The form works without JavaScript, so its filters come as three lists, `-column`, `-op` and
`-value`; the page is redirected to the query that says the same as the data's URLs do:
`carrier__eq=UA`. Names of the form begin with `-`, which no parameter of data does without
a `__op` at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from unspool.serve.catalog import Table

__all__ = [
    "OPERATORS",
    "View",
    "count_url",
    "data_url",
    "from_form",
    "is_form",
    "page_url",
    "sql_data_url",
    "sql_url",
]

Pairs = list[tuple[str, str]]

OPERATORS = {
    "eq": "=",
    "ne": "≠",
    "gt": ">",
    "ge": "≥",
    "lt": "<",
    "le": "≤",
    "contains": "contains",
    "startswith": "starts with",
    "in": "is one of (a,b)",
    "isnull": "is null",
    "notnull": "is not null",
}
"""Operators as the form offers them; `notnull` is `isnull=0`."""

# Names of which browsers or servers make other paths: dots alone, a slash at either end or two in
# a row, and what looks like a path of the server's own.
_UNSTABLE = re.compile(r"^$|^\.\.?$|^/|/$|//|^-/")

# Of no data URL; how a client without JavaScript gets a page in order (`templates.mode`).
_OF_PAGE = "unspool"


@dataclass(frozen=True)
class View:
    """What the query of a table's page says: which rows, in which order, which columns."""

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> View:
        """Of the parameters of a request, but for those that are no affair of the data.

        >>> View.of([("n__gt", "1"), ("unspool", "inorder")]).query()
        'n__gt=1'
        """
        return cls(tuple((name, value) for name, value in pairs if name != _OF_PAGE))

    @property
    def filters(self) -> list[tuple[str, str, str]]:
        """Column, operator of the form and value of each filter, but for what is none.

        >>> View((("a__b__isnull", "0"), ("_sort", "n"))).filters
        [('a__b', 'notnull', '')]
        """
        found = [_filter(name, value) for name, value in self.pairs if not _own(name)]
        return [each for each in found if each[0]]

    @property
    def columns(self) -> list[str]:
        """The columns that are asked for; none stands for all."""
        return self._values("_column")

    def columns_first(self, names: Sequence[str]) -> list[str]:
        """These columns, those that are asked for first: so a form keeps their order."""
        return self.columns + [name for name in names if name not in self.columns]

    @property
    def sorts(self) -> list[str]:
        """The keys of the order, as they stand in the URL."""
        return self._values("_sort")

    def sorted_by(self, column: str) -> str | None:
        """`asc` or `desc`, if the first key of the order is this column."""
        if not self.sorts:
            return None
        name, direction = _sort_key(self.sorts[0])
        return direction if name == column else None

    def window(self) -> tuple[str, str]:
        """The values of `_offset` and `_limit`, "" where there is none."""
        return tuple(next(iter(self._values(name)), "") for name in ("_offset", "_limit"))  # type: ignore[return-value]

    def query(self, **other: str) -> str:
        """The query string; parameters given here stand in the place of those of their name."""
        kept = [pair for pair in self.pairs if pair[0] not in other]
        return urlencode([*kept, *other.items()], quote_via=quote)

    def with_columns(self, columns: Iterable[str]) -> View:
        """The same rows with these columns."""
        kept = [pair for pair in self.pairs if pair[0] != "_column"]
        return View((*kept, *(("_column", name) for name in columns)))

    def filter_query(self) -> str:
        """The query string of the filters alone, for a count."""
        return urlencode([pair for pair in self.pairs if not _own(pair[0])], quote_via=quote)

    def _values(self, name: str) -> list[str]:
        return [value for each, value in self.pairs if each == name]


def _own(name: str) -> bool:
    """Whether it is a parameter of ours: it is no filter, then."""
    return name in {"_column", "_sort", "_limit", "_offset", "_stream"}


def _filter(name: str, value: str) -> tuple[str, str, str]:
    column, _, op = name.rpartition("__")
    if op == "isnull" and value in {"0", "1"}:
        return column, "isnull" if value == "1" else "notnull", ""
    return column, op, value


def _sort_key(key: str) -> tuple[str, str]:
    column, colon, direction = key.rpartition(":")
    return (column, direction) if colon and direction in {"asc", "desc"} else (key, "asc")


def is_form(pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether these parameters come from the form."""
    return any(name == "-form" for name, _ in pairs)


def from_form(pairs: Sequence[tuple[str, str]], columns: Sequence[str]) -> View:
    """What the form asks for, of a table with these columns.

    >>> form = [("-column", "n"), ("-op", "gt"), ("-value", "1"), ("-sort", "n:desc")]
    >>> from_form(form, ["n", "m"]).query()
    'n__gt=1&_sort=n%3Adesc'
    """
    chosen = _all(pairs, "_column")
    if sorted(chosen) == sorted(columns) and chosen == [name for name in columns if name in chosen]:
        chosen = []
    sorts = _all(pairs, "-sort") or _all(pairs, "_sort")
    window = [(name, value) for name, value in pairs if name in {"_limit", "_offset"} and value]
    return View(
        (
            *_filters(pairs),
            *(("_sort", key) for key in sorts if key),
            *(("_column", name) for name in chosen),
            *window,
        )
    )


def _filters(pairs: Sequence[tuple[str, str]]) -> Pairs:
    lists = [_all(pairs, name) for name in ("-column", "-op", "-value")]
    removed = _all(pairs, "-remove")
    return [
        _parameter(column, op, value)
        for index, (column, op, value) in enumerate(zip(*lists, strict=False))
        if column and str(index) not in removed
    ]


def _parameter(column: str, op: str, value: str) -> tuple[str, str]:
    if op in {"isnull", "notnull"}:
        return column + "__isnull", "1" if op == "isnull" else "0"
    return f"{column}__{op}", value


def _all(pairs: Iterable[tuple[str, str]], name: str) -> list[str]:
    return [value for each, value in pairs if each == name]


def page_url(source: str, table: Table) -> str:
    """The page of a table. A name that URLs do not carry unchanged comes as a statement.

    >>> page_url("shop", Table("a/b 100%", "table", (), ("main", "a/b 100%")))
    '/shop/a%2Fb%20100%25/'
    >>> page_url("shop", Table("..", "table", (), ("main", "..")))
    '/shop/-/sql/?sql=SELECT%20%2A%20FROM%20%22main%22.%22..%22'
    """
    if _UNSTABLE.search(table.name):
        quoted = ".".join('"' + part.replace('"', '""') + '"' for part in table.path)
        return sql_url(source, f"SELECT * FROM {quoted}")  # noqa: S608
    return f"/{_path(source)}/{_path(table.name)}/"


def sql_url(source: str, sql: str = "") -> str:
    """The page of a statement on a source."""
    return f"/{_path(source)}/-/sql/" + _query({"sql": sql} if sql else {})


def sql_data_url(source: str, suffix: str, sql: str) -> str:
    """The data of a statement."""
    return f"/{_path(source)}/-/sql.{suffix}" + _query({"sql": sql})


def count_url(source: str, table: str, query: str) -> str:
    """The number of rows of a table."""
    return f"/-/count/{_path(source)}/{_path(table)}.json" + ("?" + query if query else "")


def data_url(source: str, table: str, suffix: str, query: str = "") -> str:
    """The data of a table; `suffix` begins with no dot.

    >>> data_url("shop", "orders", "csv", "n__gt=1")
    '/shop/orders.csv?n__gt=1'
    """
    return f"/{_path(source)}/{_path(table)}.{suffix}" + ("?" + query if query else "")


def _query(parameters: dict[str, str]) -> str:
    return "?" + urlencode(parameters, quote_via=quote) if parameters else ""


def _path(name: str) -> str:
    return quote(name, safe="")
