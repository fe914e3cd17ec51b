"""HTML: a whole page with one accessible table.

What becomes of each value:

| value | text between `<td>` and `</td>` |
|---|---|
| None | nothing |
| str | itself, with `&`, `<`, `>`, `'`, `"` as `&amp;` `&lt;` `&gt;` `&#39;` `&#34;` |
| bool, int, float, Decimal, date, datetime, time, timedelta | what `str()` gives |
| anything with `__html__()`, such as markupsafe.Markup | what that gives, as it is |
| an Enum | its value, as above |
| UUIDs and other objects with a text form of their own | that text, escaped |

Bytes, lists, dicts, sets, other objects, U+0000 and lone surrogates raise RowError. Line
breaks and spaces are shown as they are (HTML readers take CR LF and CR for LF).
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from unspool import kernel
from unspool.errors import UsageError
from unspool.formats.plain import PLAIN, RowLoop, refuse_type
from unspool.formats.table import Names, TableEncoder

__all__ = ["Html", "HtmlEncoder", "escape", "html_rows"]

# The characters that markupsafe escapes, as it writes them; `&` comes first.
_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ('"', "&#34;"))

_NUMBERS = (int, float, decimal.Decimal)

_PAGE = """\
<!doctype html>
<html lang="{lang}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root{{color-scheme:light dark;font-family:system-ui,sans-serif}}
table{{border-collapse:collapse}}
caption{{font-weight:bold;text-align:start}}
th,td{{border:1px solid #8888;padding:.2em .6em;text-align:start;vertical-align:top}}
td{{white-space:pre-wrap}}
th{{position:sticky;top:0;background:Canvas}}
{numbers}</style>
<table>
{caption}{thead}<tbody>
"""

_FOOT = "</tbody>\n</table>\n</html>\n"


@dataclass(frozen=True)
class Html:
    """A page with one table: header cells that name their columns, one row a line.

    Columns whose value in the first row is a number are set to the right, by a style rule of
    the page. Rows that come late show as they come.

    Args:
        title: the title of the page and the caption of the table.
        lang: the language of title and rows, as BCP 47 has it.

    Raises:
        UsageError: a title or language that is no text.

    >>> page = Html(title="Flights").encoder(["to"])
    >>> page.feed([("Oslo",)]).decode().splitlines()[-6:]  # doctest: +NORMALIZE_WHITESPACE
    ['<caption>Flights</caption>', '<thead>', '<tr><th scope="col">to</th></tr>', '</thead>',
     '<tbody>', '<tr><td>Oslo</td></tr>']
    """

    title: str = ""
    lang: str = "en"

    def __post_init__(self) -> None:
        for name in ("title", "lang"):
            if not isinstance(getattr(self, name), str):
                raise UsageError(f"{name} must be text; got {getattr(self, name)!r}.")

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return "text/html; charset=utf-8"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".html"

    def encoder(self, columns: Sequence[str] | None) -> HtmlEncoder:
        """A new encoder for one stream."""
        return HtmlEncoder(self, columns)


class HtmlEncoder(TableEncoder):
    """Writes the page. Holds nothing of the rows."""

    format = "HTML"
    foot = _FOOT

    def __init__(self, page: Html, columns: Sequence[str] | None) -> None:
        super().__init__(columns, keeps=_is_html)
        self._page = page

    def loop(self, names: Names) -> RowLoop:
        """The same for all columns."""
        return html_rows

    def in_kernel(self, *batch_shape_converts: Any) -> bytes | None:
        """The same loop in C."""
        return kernel.html_rows(*batch_shape_converts)

    def head(self, names: Names, row: Sequence[Any] | None) -> str:
        """The page up to the first row; the column names, if there are any, are its header."""
        title = escape(self._page.title)
        return _PAGE.format(
            lang=escape(self._page.lang),
            title=title or "Table",
            numbers=_right(row or ()),
            caption=f"<caption>{title}</caption>\n" if title else "",
            thead=_thead(names) if names else "",
        )


def html_rows(rows: Sequence[Sequence[Any]]) -> str:
    """The row loop: a `<tr>` for each of `rows`, which are equally wide; each ends with LF.

    Cells of the first four kinds in the module's table, whose types are compared exactly: any
    other type, a subclass too, raises TypeError. U+0000 raises ValueError. A lone surrogate
    passes, and fails when the text is encoded. The errors do not say where.

    >>> html_rows([(1, "a & b"), (None, "")])
    '<tr><td>1</td><td>a &amp; b</td></tr>\\n<tr><td></td><td></td></tr>\\n'
    """
    values = list(chain.from_iterable(rows))
    kinds = set(map(type, values))
    if not kinds <= PLAIN:
        return "".join([_row([_cell(value) for value in row]) for row in rows])
    if type(None) in kinds:
        values = ["" if value is None else value for value in values]
    # All cells in one text, so that each step is one call for the whole batch.
    cells = escape("\0".join(map(str, values))).split("\0") if values else []
    if len(cells) != len(values):
        raise _nul()
    width = len(cells) // len(rows) if rows else 0
    return "".join([_row(cells[at * width : (at + 1) * width]) for at in range(len(rows))])


def escape(text: str) -> str:
    """`text` as HTML, fit for an attribute too."""
    for character, escaped in _ESCAPES:
        text = text.replace(character, escaped)
    return text


def _row(cells: Sequence[str]) -> str:
    if not cells:
        return "<tr></tr>\n"
    return "<tr><td>" + "</td><td>".join(cells) + "</td></tr>\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if type(value) in PLAIN:
        text = escape(str(value))
    elif _is_html(type(value)):
        text = str(value.__html__())
    else:
        raise refuse_type(value)
    if "\0" in text:
        raise _nul()
    return text


def _nul() -> ValueError:
    return ValueError("it has the character U+0000, which HTML readers drop. Take it out first.")


def _is_html(kind: type) -> bool:
    return hasattr(kind, "__html__")


def _thead(names: Sequence[str]) -> str:
    cells = "".join([f'<th scope="col">{escape(name)}</th>' for name in names])
    return f"<thead>\n<tr>{cells}</tr>\n</thead>\n"


def _right(row: Sequence[Any]) -> str:
    """The style rule for the columns that begin with a number; there is no cost per cell."""
    positions = [
        number
        for number, value in enumerate(row, 1)
        if isinstance(value, _NUMBERS) and not isinstance(value, bool)
    ]
    if not positions:
        return ""
    cells = ",".join([f"td:nth-child({number})" for number in positions])
    return cells + "{text-align:end;font-variant-numeric:tabular-nums}\n"
