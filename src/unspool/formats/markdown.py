"""Markdown: one table, as GitHub, GitLab and others show it (GitHub Flavored Markdown, 4.10).

What becomes of values:

| value | text between the bars |
|---|---|
| None | nothing |
| str | itself, so escaped that it is shown as it is; line breaks as `<br>` |
| bool, int, float, Decimal, date, datetime, time, timedelta | what `str()` gives |
| an Enum | its value, as above |
| UUIDs and other objects with a text form of their own | that text, escaped |

Bytes, lists, dicts, sets, other objects, U+0000 and lone surrogates raise RowError. Spaces at
the ends of a text are not shown, nor more than one in a row: Markdown has none.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from unspool.formats.plain import PLAIN, RowLoop, refuse_type
from unspool.formats.table import Names, TableEncoder

__all__ = ["Markdown", "MarkdownEncoder", "markdown_rows"]

_NUMBERS = (int, float, decimal.Decimal)

# What would mean something in a cell. `_` within a word, `&` before no entity and `~` in a
# path mean nothing, and such text stays readable.
_MARKS = re.compile(r"[\\|`*\[<]|(?<![^\W_])_|_(?![^\W_])|(?<!/)~|&(?=#?\w+;)|\r\n|\r|\n|\0")


@dataclass(frozen=True)
class Markdown:
    """A table with the column names as its header, and numbers to the right.

    Which columns have numbers is told by the first row. Without names the header is empty,
    for there is no table without one.

    >>> encoder = Markdown().encoder(["id", "note"])
    >>> print(encoder.feed([(1, "a|b"), (2, None)]).decode(), end="")
    | id | note |
    | ---: | --- |
    | 1 | a\\|b |
    | 2 |  |
    """

    @property
    def media_type(self) -> str:
        """The value of Content-Type (RFC 7763)."""
        return "text/markdown; charset=utf-8; variant=GFM"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".md"

    def encoder(self, columns: Sequence[str] | None) -> MarkdownEncoder:
        """A new encoder for one stream."""
        return MarkdownEncoder(columns)


class MarkdownEncoder(TableEncoder):
    """Writes lines. Holds nothing of the rows."""

    format = "Markdown"

    def loop(self, names: Names) -> RowLoop:
        """The same for all columns."""
        return markdown_rows

    def head(self, names: Names, row: Sequence[Any] | None) -> str:
        """The header, and the line that sets each column to a side."""
        row = row or [None] * len(names or ())
        sides = ["---:" if _is_number(value) else "---" for value in row]
        return markdown_rows([names or [None] * len(row)]) + f"| {' | '.join(sides)} |\n"


def markdown_rows(rows: Sequence[Sequence[Any]]) -> str:
    """The row loop: a line for each of `rows`.

    Raises TypeError for types that are not plain, ValueError for U+0000.

    >>> markdown_rows([(1, "*a*"), (None, "b\\nc")])
    '| 1 | \\\\*a\\\\* |\\n|  | b<br>c |\\n'
    """
    try:
        return "".join(
            [f"| {' | '.join([_CELLS[type(value)](value) for value in row])} |\n" for row in rows]
        )
    except KeyError as error:
        raise refuse_type(error.args[0]) from None


def _escaped(text: str) -> str:
    return _MARKS.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    mark = match[0]
    if mark == "\0":
        raise ValueError("it has the character U+0000, which Markdown cannot carry. Take it out.")
    return "<br>" if mark in {"\r\n", "\r", "\n"} else "\\" + mark


_CELLS: dict[type, Callable[[Any], str]] = {
    **dict.fromkeys(PLAIN, str),
    type(None): lambda _: "",
    str: _escaped,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)
