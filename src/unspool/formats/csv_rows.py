"""The row loop of CSV in Python, with the bytes of csv.writer, and what it knows of types.

It goes column by column, as the values of a column are mostly of one type: some steps for a
column of many rows cost less than csv.writer's for each value.
"""

from __future__ import annotations

import datetime
import decimal
import numbers
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any

from unspool.errors import shown

__all__ = ["CsvRows", "NotCarried"]

Convert = Callable[[Any], Any]

# As the csv module numbers them.
_QUOTING = {"minimal": 0, "all": 1, "nonnumeric": 2}

# What csv.writer knows: how each type becomes text. All give what `str()` gives; some sooner.
_TEXTS: dict[type, Callable[[Any], str]] = {
    str: str,
    int: int.__repr__,
    float: float.__repr__,
    bool: str,
    decimal.Decimal: str,
    datetime.date: datetime.date.isoformat,
    datetime.datetime: lambda moment: moment.isoformat(" "),
    datetime.time: datetime.time.isoformat,
    datetime.timedelta: str,
    uuid.UUID: str,
}

# Types whose text has only these characters, and is quoted only if the delimiter is one of them.
_BARE = frozenset(_TEXTS) - {str, datetime.timedelta}
_BARE_CHARACTERS = frozenset("0123456789abcdefinsTFrulEINty+-.: ")

_NOT_CELLS = (bytes, bytearray, memoryview, list, tuple, dict, set, frozenset)

# How a text must start to be run by a spreadsheet (OWASP, "CSV Injection").
_FORMULA_START = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)*|[.,]\d+)([eE][+-]?\d+)?%?")


class NotCarried(Exception):
    """Among the rows is a value that CSV cannot carry; says what kind of value, not where."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.advice = advice


class CsvRows:
    """Turns cells into lines. Holds one function for each type met.

    Attributes:
        dialect: what the kernel must know of it.
        converts: what to make of a value of each type, before it is written as csv.writer
            would; None: nothing. The kernel leaves batches with other types to Python.
        decimal_comma: whether floats have one, which the kernel does not know.
    """

    def __init__(
        self,
        *,
        delimiter: str,
        line_end: str,
        quoting: str,
        null: str,
        formula_guard: bool,
        decimal_comma: bool,
    ) -> None:
        starts = "".join(_FORMULA_START) if formula_guard else ""
        self.dialect = (delimiter, line_end, _QUOTING[quoting], null, starts)
        self.converts: dict[type, Convert | None] = dict.fromkeys([*_TEXTS, type(None)])
        if formula_guard:
            self.converts[str] = _guarded
        if decimal_comma:
            self.converts |= dict.fromkeys([float, decimal.Decimal], _with_comma)
        self.decimal_comma = decimal_comma
        self._delimiter, self._line_end, self._null = delimiter, line_end, null
        self._guards = formula_guard
        self._specials = (delimiter, '"', "\n", "\r")
        self._quote_numbers = quoting == "all"
        self._quote_others = quoting != "minimal"
        self._bare = frozenset() if delimiter in _BARE_CHARACTERS else _BARE

    def text(self, rows: Sequence[Sequence[Any]]) -> str:
        """A line for each of `rows`, which are equally wide.

        Raises:
            NotCarried: a value that CSV cannot carry. A lone surrogate passes.
        """
        columns = [self._fields(values) for values in zip(*rows, strict=True)]
        if len(columns) == 1:
            return self._joined([field or '""' for field in columns[0]])
        if not columns:
            return self._line_end * len(rows)
        return self._joined(map(self._delimiter.join, zip(*columns, strict=True)))

    def _joined(self, lines: Iterable[str]) -> str:
        return self._line_end.join([*lines, ""])

    def _fields(self, values: Sequence[Any]) -> Sequence[str]:
        """The values of a column as they stand in the file."""
        kinds = set(map(type, values))
        if len(kinds) == 1:
            return self._alike(kinds.pop(), values)
        parts = {
            kind: iter(self._alike(kind, [value for value in values if type(value) is kind]))
            for kind in kinds
        }
        return [next(parts[type(value)]) for value in values]

    def _alike(self, kind: type, values: Sequence[Any]) -> Sequence[str]:
        """The same for values of one type."""
        convert = self.converts[kind] if kind in self.converts else self._learn(kind)
        if convert is None:
            return self._plain(kind, values)
        made = list(map(convert, values))
        if set(map(type, made)) == {str}:
            return self._quoted(made, always=self._quote_others)
        return [self._made(value) for value in made]

    def _made(self, value: Any) -> str:
        """The field of one value that a function gave, which may be of any type."""
        kind = type(value)
        if kind is type(None) or kind in _TEXTS:
            return self._plain(kind, [value])[0]
        # A subclass of str is taken by its characters, whatever its methods do.
        text = str.__str__(value if isinstance(value, str) else str(value))
        return self._quoted([text], always=self._always(kind))[0]

    def _plain(self, kind: type, values: Sequence[Any]) -> Sequence[str]:
        """The fields of values that csv.writer knows."""
        if kind is type(None):
            return self._quoted([self._null] * len(values), always=self._quote_others)
        always = self._always(kind)
        texts = values if kind is str else _texts(kind, values)
        if kind in self._bare and not always:
            return texts
        return self._quoted(texts, always=always)

    def _always(self, kind: type) -> bool:
        """Whether values of this type are quoted, whatever they are."""
        if self._quote_numbers == self._quote_others or not _is_number(kind):
            return self._quote_others
        return self._quote_numbers

    def _quoted(self, texts: Sequence[str], *, always: bool) -> Sequence[str]:
        if always:
            return ['"' + text.replace('"', '""') + '"' for text in texts]
        seen = "".join(texts)
        if not any(special in seen for special in self._specials):
            return texts
        delimiter = self._delimiter
        return [
            '"' + text.replace('"', '""') + '"'
            if delimiter in text or '"' in text or "\n" in text or "\r" in text
            else text
            for text in texts
        ]

    def problem(self, value: Any) -> str | None:
        """What keeps CSV from carrying this value; None if nothing does."""
        try:
            self.text([[value]]).encode()
        except NotCarried as error:
            return f"CSV cannot carry {error}: {shown(value)}. {error.advice}"
        except UnicodeEncodeError:
            return (
                f"{shown(value)} has a lone surrogate, which UTF-8 cannot carry. Decode the text "
                "with errors='replace', or clean it, before you send it."
            )
        return None

    def _learn(self, kind: type) -> Convert:
        convert = self._convert_for(kind)
        if convert is None:
            raise NotCarried(
                f"a {kind.__name__}",
                "Turn it into text or numbers first, or use a format with nested values "
                "(json, ndjson).",
            )
        self.converts[kind] = convert = self._guard(kind, convert)
        return convert

    def _convert_for(self, kind: type) -> Convert | None:
        """How CSV shows a type that it meets for the first time; None if it cannot."""
        if issubclass(kind, Enum):
            return self._convert_enum(kind)
        if self.decimal_comma and _has_fraction(kind):
            return _with_comma
        if issubclass(kind, (str, int, float)):
            return str
        if issubclass(kind, _NOT_CELLS) or kind.__str__ is object.__str__:
            return None
        return str

    def _convert_enum(self, kind: type[Enum]) -> Convert | None:
        """A table of the members' values, each as CSV shows it."""
        table: dict[Enum, Any] = {}
        for member in kind:
            known = type(member.value) in self.converts
            convert = (
                self.converts[type(member.value)]
                if known
                else self._convert_for(type(member.value))
            )
            if convert is None and not known:
                return None
            table[member] = convert(member.value) if convert else member.value
        return lambda member: table.get(member, member.value)

    def _guard(self, kind: type, convert: Convert) -> Convert:
        """The same, with the formula guard, if wanted and if it gives text."""
        if not self._guards or issubclass(kind, (int, float)):
            return convert
        return lambda value: _guarded(text) if isinstance(text := convert(value), str) else text


def _texts(kind: type, values: Sequence[Any]) -> Sequence[str]:
    try:
        return list(map(_TEXTS[kind], values))
    except ValueError as error:
        if kind is not int:
            raise
        raise NotCarried(
            f"an int of more than {sys.get_int_max_str_digits()} digits",
            "Turn it into text first, or raise the limit with sys.set_int_max_str_digits().",
        ) from error


def _is_number(kind: type) -> bool:
    """As csv.writer decides it."""
    names = ("__index__", "__int__", "__float__")
    return issubclass(kind, complex) or any(hasattr(kind, name) for name in names)


def _has_fraction(kind: type) -> bool:
    """Whether such numbers have a decimal point; those of numpy are no floats, all but one."""
    real = issubclass(kind, numbers.Real) and not issubclass(kind, numbers.Rational)
    return real or issubclass(kind, decimal.Decimal)


def _with_comma(value: object) -> str:
    return str(value).replace(".", ",")


def _guarded(text: str) -> str:
    if text.startswith(_FORMULA_START) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text
