"""The row loop of XLSX: cells in, `<row>` elements of SpreadsheetML out (ECMA-376 part 1, 18.3).

What becomes of a cell, where A1 stands for its place:

| cell | element |
|---|---|
| None | none at all |
| bool | `<c r="A1" t="b"><v>1</v></c>`, or 0 |
| int of at most 15 digits | `<c r="A1"><v>12</v></c>` |
| finite float | `<c r="A1"><v>1.5</v></c>`, the digits of `repr()` |
| Decimal of at most 15 digits | `<c r="A1"><v>1.10</v></c>`, as `str()` |
| date | `<c r="A1" s="2"><v>46024</v></c>`, days since 1899-12-30 |
| datetime without a time zone | `<c r="A1" s="3"><v>46024.5</v></c>`, days as a float |
| time without a time zone | `<c r="A1" s="4"><v>0.5</v></c>`, days as a float |
| timedelta from 0 | `<c r="A1" s="5"><v>1.5</v></c>`, days as a float |
| str | `<c r="A1" t="inlineStr"><is><t>text</t></is></c>` |
| any other value of these types | `str()` of it, as str |

Days as a float are whole milliseconds, rounded down, divided by 86,400,000, as `repr()` shows
the double (`46024.0`): readers round to milliseconds, and would make the next day of a day's
last microsecond.

Text, too, become dates and datetimes before 1900-03-01, where readers disagree, for Excel has a
29 February 1900; and Decimals other than 0 below 1e-306 or from 1e308 on, which are no doubles.
Numbers of more digits would lose some in Excel.

In text `&`, `<`, `>` become `&amp;` `&lt;` `&gt;`. U+0000 to U+001F but for tab and LF, and
U+FFFE and U+FFFF, become `_x0000_` and so on, in upper-case digits. Where the text itself has
such an escape (`_`, `x` or `X`, one to four hexadecimal digits, `_`: some readers are that
lenient) its first `_` becomes `_x005F_`. Text that begins or ends with a space, tab or LF has
`<t xml:space="preserve">`.

Types are compared exactly: a subclass, or any other type, raises TypeError. Text of more than
32,767 UTF-16 units raises ValueError. Lone surrogates pass, but fail when the text is encoded.
Neither error says where.
"""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from math import isfinite
from typing import Any

from unspool.formats.plain import refuse_type

__all__ = ["MAX_COLUMNS", "MAX_ROWS", "column_letters", "sheet_rows", "text_cell"]

# Excel's limits ("Excel specifications and limits", Microsoft).
MAX_ROWS = 1_048_576
MAX_COLUMNS = 16_384
MAX_TEXT_UNITS = 32_767

# Excel computes with 15 decimal digits.
_MAX_DIGITS = 15
_MAX_INT = 10**_MAX_DIGITS

# Decimals with exponents beyond these are no doubles.
_EXPONENTS = range(-306, 308)

_EPOCH_DATE = datetime.date(1899, 12, 30)
_EPOCH = datetime.datetime(1899, 12, 30)  # noqa: DTZ001 - a sheet knows no time zones
_EPOCH_DAY = _EPOCH_DATE.toordinal()
_FIRST_DATE = datetime.date(1900, 3, 1)
_FIRST = datetime.datetime(1900, 3, 1)  # noqa: DTZ001
_MILLISECOND = datetime.timedelta(milliseconds=1)
_DAY_MS = 86_400_000
_NOTHING = datetime.timedelta(0)

_UNSAFE = re.compile("[&<>\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=[xX][0-9A-Fa-f]{1,4}_)")
_XML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}  # `&` comes first.
_EDGES = (" ", "\t", "\n")

# Stands for the row number until the row is made; no text has it unescaped.
_ROW = "\0"

_NUMBER = "><v>%s</v></c>"
_STYLED = ' s="{}"><v>%s</v></c>'
_DATE, _DATETIME, _TIME, _DURATION = (_STYLED.format(style) for style in (2, 3, 4, 5))
_BOOL = ' t="b"><v>%d</v></c>'
_TEXT = ' t="inlineStr"><is><t>%s</t></is></c>'
_SPACED = ' t="inlineStr"><is><t xml:space="preserve">%s</t></is></c>'

# How all values of a column are written: one template for each, and what to put in.
Column = tuple[str, Iterable[Any]]


def sheet_rows(rows: Sequence[Sequence[Any]], number: int) -> str:
    """A `<row>` for each of `rows`, which are equally wide; the first is row `number` (from 1).

    >>> sheet_rows([(1, None, "a < b")], 7)
    '<row r="7"><c r="A7"><v>1</v></c><c r="C7" t="inlineStr"><is><t>a &lt; b</t></is></c></row>'
    """
    template = f'<row r="{_ROW}">'
    columns = []
    for letters, values in zip(column_letters(len(rows[0])), zip(*rows, strict=True), strict=True):
        cell, contents = _column(f'<c r="{letters}{_ROW}"', values)
        template += cell
        if cell:
            columns.append(contents)
    template += "</row>"
    if not columns:
        return "".join([template.replace(_ROW, str(number + at)) for at in range(len(rows))])
    cells = enumerate(zip(*columns, strict=True), number)
    return "".join([(template % row).replace(_ROW, str(at)) for at, row in cells])


@cache
def column_letters(width: int) -> tuple[str, ...]:
    """The names of the first columns in a sheet: A, B, …, Z, AA and so on.

    >>> column_letters(28)[24:]
    ('Y', 'Z', 'AA', 'AB')
    """
    return tuple([_letters(number) for number in range(1, width + 1)])


def _letters(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("A") + digit) + text
    return text


def _column(start: str, values: Sequence[Any]) -> Column:
    """The template of each cell and what it takes; no template if all cells are empty."""
    kinds = set(map(type, values))
    empty = type(None) in kinds
    kinds.discard(type(None))
    if not kinds:
        return "", ()
    if len(kinds) == 1:
        there = [value for value in values if value is not None] if empty else values
        column = _alike(kinds.pop(), there)
        if column is not None:
            return _with_gaps(start, column, values) if empty else (start + column[0], column[1])
    return "%s", [_cell(start, value) for value in values]


def _with_gaps(start: str, column: Column, values: Sequence[Any]) -> Column:
    template, contents = start + column[0], iter(column[1])
    return "%s", ["" if value is None else template % next(contents) for value in values]


def _alike(kind: type, values: Sequence[Any]) -> Column | None:
    """The column where all values are of this type and none needs a look of its own."""
    try:
        return _ALIKE[kind](values)
    except KeyError:
        raise refuse_type(values[0]) from None


def _bools(values: Sequence[bool]) -> Column:
    return _BOOL, values


def _ints(values: Sequence[int]) -> Column | None:
    return (_NUMBER, values) if min(values) > -_MAX_INT and max(values) < _MAX_INT else None


def _floats(values: Sequence[float]) -> Column | None:
    return (_NUMBER, values) if all(map(isfinite, values)) else None


def _dates(values: Sequence[datetime.date]) -> Column | None:
    if min(values) < _FIRST_DATE:
        return None
    return _DATE, [value.toordinal() - _EPOCH_DAY for value in values]


def _datetimes(values: Sequence[datetime.datetime]) -> Column | None:
    if not all(value.tzinfo is None for value in values):
        return None
    if min(values) < _FIRST:
        return None
    return _DATETIME, [_days(value - _EPOCH) for value in values]


def _durations(values: Sequence[datetime.timedelta]) -> Column | None:
    return (_DURATION, list(map(_days, values))) if min(values) >= _NOTHING else None


def _texts(values: Sequence[str]) -> Column | None:
    """The column if all texts can be written by looking at all of them at once."""
    if max(map(len, values)) > MAX_TEXT_UNITS // 2:
        return None
    if list(map(str.strip, values)) != list(values):  # Space at an edge, of any kind.
        return None
    text = "\0".join(values)
    if "_x" in text or "_X" in text:
        return None
    seen = text.replace("\0", "").replace("\n", "")
    if not seen.isprintable():  # A control character, or harmless but no ASCII space.
        return None
    if not any(character in seen for character in _XML):
        return (_TEXT, values) if text.count("\0") == len(values) - 1 else None
    for character, escaped in _XML.items():
        text = text.replace(character, escaped)
    contents = text.split("\0")
    return (_TEXT, contents) if len(contents) == len(values) else None


def _decimals(values: Sequence[decimal.Decimal]) -> Column | None:
    return (_NUMBER, values) if all(map(_is_number, values)) else None


def _is_number(value: decimal.Decimal) -> bool:
    """Whether a double holds it with all digits."""
    if not value.is_finite():
        return False
    digits = len(value.as_tuple().digits)
    return digits <= _MAX_DIGITS and (not value or value.adjusted() in _EXPONENTS)


def _times(values: Sequence[datetime.time]) -> Column | None:
    if not all(value.tzinfo is None for value in values):
        return None
    moments = [datetime.datetime.combine(_EPOCH_DATE, value) for value in values]
    return _TIME, [_days(moment - _EPOCH) for moment in moments]


def _days(span: datetime.timedelta) -> float:
    return span // _MILLISECOND / _DAY_MS


_ALIKE: dict[type, Callable[[Sequence[Any]], Column | None]] = {
    bool: _bools,
    int: _ints,
    float: _floats,
    str: _texts,
    decimal.Decimal: _decimals,
    datetime.date: _dates,
    datetime.datetime: _datetimes,
    datetime.time: _times,
    datetime.timedelta: _durations,
}


def _cell(start: str, value: Any) -> str:
    """One cell by itself."""
    if value is None:
        return ""
    column = None if type(value) is str else _alike(type(value), (value,))
    if column is None:
        return start + text_cell(str(value))
    template, contents = column
    return start + template % tuple(contents)


def text_cell(text: str) -> str:
    """A cell of this text, from behind its place and style on.

    Raises:
        ValueError: the text is too long.
    """
    if len(text) > MAX_TEXT_UNITS // 2:
        _check_length(text)
    spaced = text.startswith(_EDGES) or text.endswith(_EDGES)
    return (_SPACED if spaced else _TEXT) % _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return _XML.get(character) or f"_x{ord(character):04X}_"


def _check_length(text: str) -> None:
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    if units > MAX_TEXT_UNITS:
        raise ValueError(
            f"it has {units:,} characters, and an Excel cell holds {MAX_TEXT_UNITS:,} at the "
            "most. Shorten it first, or use format='csv'."
        )
