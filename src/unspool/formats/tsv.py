"""TSV (text/tab-separated-values), with the escapes of PostgreSQL, MySQL and ClickHouse.

The format has no quotes, and no tab or line break within a value (IANA, 1993). What its readers
agree on since is a row a line, whatever is in it:

| value | text |
|---|---|
| None | `\\N` |
| str | itself, with tab, LF, CR and `\\` as `\\t`, `\\n`, `\\r` and `\\\\` |
| bool, int, float, Decimal, date, datetime, time, timedelta | what `str()` gives |
| an Enum | its value, as above |
| UUIDs and other objects with a text form of their own | that text, escaped |

Bytes, lists, dicts, sets, other objects and lone surrogates raise RowError. For programs that
know quotes, but no escapes, take `Csv(delimiter="\\t")`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from unspool.formats.plain import PLAIN, RowLoop, refuse_type
from unspool.formats.table import Names, TableEncoder

__all__ = ["Tsv", "TsvEncoder", "tsv_rows"]

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class Tsv:
    """Tab-separated values: the column names on the first line, where they are known.

    >>> Tsv().encoder(["id", "note"]).feed([(1, "a\\tb"), (2, None)])
    b'id\\tnote\\n1\\ta\\\\tb\\n2\\t\\\\N\\n'
    """

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return "text/tab-separated-values; charset=utf-8"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".tsv"

    def encoder(self, columns: Sequence[str] | None) -> TsvEncoder:
        """A new encoder for one stream."""
        return TsvEncoder(columns)


class TsvEncoder(TableEncoder):
    """Writes lines. Holds nothing of the rows."""

    format = "TSV"

    def loop(self, names: Names) -> RowLoop:
        """The same for all columns."""
        return tsv_rows

    def head(self, names: Names, row: Sequence[Any] | None) -> str:
        """The line of the column names, if there are any."""
        return tsv_rows([names]) if names else ""


def tsv_rows(rows: Sequence[Sequence[Any]]) -> str:
    """The row loop: a line for each of `rows`. Raises TypeError for types that are not plain.

    >>> tsv_rows([(1, None), ("a", "")])
    '1\\t\\\\N\\na\\t\\n'
    """
    try:
        return "".join(
            ["\t".join([_CELLS[type(value)](value) for value in row]) + "\n" for row in rows]
        )
    except KeyError as error:
        raise refuse_type(error.args[0]) from None


def _escaped(text: str) -> str:
    if "\\" in text or "\t" in text or "\n" in text or "\r" in text:
        return text.translate(_ESCAPES)
    return text


_CELLS: dict[type, Callable[[Any], str]] = {
    **dict.fromkeys(PLAIN, str),
    type(None): lambda _: "\\N",
    str: _escaped,
}
