"""XML: rows as elements that bear the names of their columns.

What becomes of values; numbers, booleans and times are written as XML Schema 1.1 has them:

| value | element, for a column `a` |
|---|---|
| None | `<a xsi:nil="true"/>` |
| str | `<a>text</a>`, with `&`, `<`, `>` and CR as `&amp;` `&lt;` `&gt;` `&#13;` |
| bool | `true` or `false` |
| int, Decimal | what `str()` gives |
| float | what `repr()` gives; `NaN`, `INF` and `-INF` |
| date, datetime, time | ISO 8601, `2026-01-02T03:04:05+00:00` |
| timedelta | seconds as a duration, `PT1.5S` |
| an Enum | its value, as above |
| UUIDs and other objects with a text form of their own | that text, escaped |

Bytes, lists, dicts, sets, other objects, characters that XML 1.0 does not have (most below
U+0020, lone surrogates, U+FFFE, U+FFFF) and column names that are no XML names raise RowError.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from typing import Any

from unspool.errors import RowError, shown
from unspool.formats.plain import PLAIN, RowLoop, refuse_type
from unspool.formats.table import Names, TableEncoder

__all__ = ["Xml", "XmlEncoder", "xml_rows"]

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<rows xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
)

# XML 1.0 (fifth edition) 2.3, less the colon, which would be a namespace, and less characters
# from U+10000 on, which expat takes in no name.
_START = (
    "A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c-\u200d"
    "\u2070-\u218f\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd"
)
_NAME = re.compile(f"[{_START}][{_START}\\-.0-9\u00b7\u0300-\u036f\u203f-\u2040]*")

# XML 1.0, 2.2: what is no character in it.
_NO_CHARACTER = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


@dataclass(frozen=True)
class Xml:
    """A document `<rows>` with a `<row>` a line.

    >>> encoder = Xml().encoder(["id", "note"])
    >>> data = encoder.feed([(1, "a & b"), (2, None)]) + encoder.end()
    >>> print(data.decode().partition("instance\\">\\n")[2], end="")
    <row><id>1</id><note>a &amp; b</note></row>
    <row><id>2</id><note xsi:nil="true"/></row>
    </rows>
    """

    @property
    def media_type(self) -> str:
        """The value of Content-Type; the document itself says that it is UTF-8 (RFC 7303)."""
        return "application/xml"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".xml"

    def encoder(self, columns: Sequence[str] | None) -> XmlEncoder:
        """A new encoder for one stream."""
        return XmlEncoder(columns)


class XmlEncoder(TableEncoder):
    """Writes elements. Holds nothing of the rows."""

    format = "XML"
    foot = "</rows>\n"
    needs_names = False

    def loop(self, names: Names) -> RowLoop:
        """The loop that writes elements of these names.

        Raises:
            RowError: there are no names, or one is no XML name.
        """
        if names is None:
            raise RowError(
                "XML needs column names for its elements. Pass columns=[...], or rows with names.",
                index=0,
            )
        for name in names:
            if not _NAME.fullmatch(name):
                raise RowError(
                    f"{shown(name)} is no name for an XML element: it must begin with a letter "
                    "or _, and go on with letters, digits, _, - and dots. Pass columns=[...].",
                    index=0,
                    column=name,
                )
        return partial(xml_rows, names=names)

    def head(self, names: Names, row: Sequence[Any] | None) -> str:
        """The XML declaration and the opening tag."""
        return _HEAD


def xml_rows(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> str:
    """The row loop: a `<row>` for each of `rows`, whose cells are elements of these names.

    Raises TypeError for types that are not plain, ValueError for characters that XML does not
    have.

    >>> xml_rows([(1, None)], ["a", "b"])
    '<row><a>1</a><b xsi:nil="true"/></row>\\n'
    """
    row = "<row>" + "".join([f"<{name}%s" for name in names]) + "</row>\n"
    ends = [f"</{name}>" for name in names]
    try:
        return "".join(
            [
                row
                % tuple(
                    [
                        _NIL if value is None else f">{_CELLS[type(value)](value)}{end}"
                        for value, end in zip(cells, ends, strict=True)
                    ]
                )
                for cells in rows
            ]
        )
    except KeyError as error:
        raise refuse_type(error.args[0]) from None


_NIL = ' xsi:nil="true"/>'


def _text(text: str) -> str:
    wrong = _NO_CHARACTER.search(text)
    if wrong:
        raise ValueError(
            f"it has the character U+{ord(wrong[0]):04X}, which XML 1.0 does not have. Take it "
            "out first, or use format='csv' or 'ndjson'."
        )
    return text.translate(_ESCAPES)


def _float(value: float) -> str:
    return repr(value).replace("inf", "INF") if not isnan(value) else "NaN"


def _duration(value: datetime.timedelta) -> str:
    sign = "-" if value < datetime.timedelta(0) else ""
    value = abs(value)
    fraction = f"{value.microseconds:06}".rstrip("0")
    dot = "." if fraction else ""
    return f"{sign}PT{value.days * 86_400 + value.seconds}{dot}{fraction}S"


_CELLS: dict[type, Callable[[Any], str]] = {
    **dict.fromkeys(PLAIN, str),
    str: _text,
    bool: lambda value: "true" if value else "false",
    float: _float,
    datetime.date: datetime.date.isoformat,
    datetime.datetime: datetime.datetime.isoformat,
    datetime.time: datetime.time.isoformat,
    datetime.timedelta: _duration,
}
