"""Families of column types: how a value of the query string becomes one of the column's type."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

__all__ = ["Family", "family_of"]

# What a parameter can be bound as. DuckDB has whole numbers of 128 bits; see `Family.HUGE`.
_INT64 = 2**63
_INT128 = 2**127

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,40}", re.ASCII)
_DIGITS_MAX = 100


def _whole(text: str, beyond: int) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    value = int(text)
    if not -beyond <= value < beyond:
        raise ValueError(text)
    return value


def _integer(text: str) -> int:
    return _whole(text, _INT64)


def _huge(text: str) -> int:
    return _whole(text, _INT128)


def _decimal(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text) or len(text) > _DIGITS_MAX:
        raise ValueError(text)
    return Decimal(text)


def _float(text: str) -> float:
    value = float(_decimal(text))
    if math.isinf(value):
        raise ValueError(text)
    return value


def _single(text: str) -> float:
    return _float(text)


def _label(text: str) -> str:
    return text


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


def _timestamp(text: str) -> datetime.datetime:
    value = datetime.datetime.fromisoformat(text)
    if value.tzinfo is not None:
        raise ValueError(text)
    return value


def _instant(text: str) -> datetime.datetime:
    """Without an offset it is UTC, as the answers of this server are."""
    value = datetime.datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=datetime.UTC)


def _time(text: str) -> datetime.time:
    value = datetime.time.fromisoformat(text)
    if value.tzinfo is not None:
        raise ValueError(text)
    return value


def _any(text: str) -> int | float | str:
    """For columns of SQLite without a type: a number if it looks like one."""
    if _WHOLE.fullmatch(text):
        return _integer(text)
    return _float(text) if _NUMBER.fullmatch(text) else text


class Family(Enum):
    """Types that are compared in the same way; the value makes one of its values from text."""

    # (Members of one value would be one member: each has a function of its own.)
    def __init__(self, label: str, parse: Callable[[str], Any] | None) -> None:
        self.label = label
        self.parse = parse

    INTEGER = ("a whole number of 64 bits", _integer)
    HUGE = ("a whole number of 128 bits", _huge)
    DECIMAL = ("a number", _decimal)
    SINGLE = ("a number", _single)
    FLOAT = ("a number", _float)
    BOOLEAN = ("true or false", _boolean)
    TEXT = ("text", str)
    ENUM = ("text", _label)
    DATE = ("a date such as 2013-01-31", datetime.date.fromisoformat)
    TIME = ("a time such as 13:30:00", _time)
    TIMESTAMP = ("a time such as 2013-01-31T13:30:00, without an offset", _timestamp)
    INSTANT = ("a time such as 2013-01-31T13:30:00+01:00", _instant)
    UUID = ("a UUID", UUID)
    ANY = ("a number or text", _any)
    NESTED = ("nothing: lists and objects are not compared", None)
    BINARY = ("nothing: bytes are not compared", None)
    OPAQUE = ("nothing: values of this type are not compared", None)

    @property
    def is_text(self) -> bool:
        """Whether parts of its values can be looked for."""
        return self in {Family.TEXT, Family.ENUM, Family.ANY}

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        numbers = {Family.INTEGER, Family.HUGE, Family.DECIMAL, Family.SINGLE, Family.FLOAT}
        return self in numbers


_NAMES = {
    Family.INTEGER: """tinyint smallint mediumint integer int bigint int1 int2 int4 int8 utinyint
        usmallint uinteger year smallserial serial bigserial oid""",
    Family.HUGE: "ubigint hugeint uhugeint bigint_unsigned",
    Family.DECIMAL: "decimal numeric dec fixed money",
    Family.SINGLE: "real float4 float",
    Family.FLOAT: "double double_precision float8",
    Family.BOOLEAN: "boolean bool logical",
    Family.TEXT: """varchar char text string character character_varying bpchar name tinytext
        mediumtext longtext nvarchar nchar clob citext""",
    Family.ENUM: "enum set",
    Family.DATE: "date",
    Family.TIME: "time time_without_time_zone time_ns",
    Family.TIMESTAMP: """timestamp datetime timestamp_without_time_zone timestamp_s timestamp_ms
        timestamp_ns""",
    Family.INSTANT: "timestamptz timestamp_with_time_zone",
    Family.UUID: "uuid",
    Family.BINARY: "blob tinyblob mediumblob longblob binary varbinary bytea",
    Family.NESTED: "json jsonb",
}
_BY_NAME = {name: family for family, names in _NAMES.items() for name in names.split()}

_NESTED = re.compile(r".*\[\d*\]|(struct|map)\(.*", re.DOTALL)
_ARGUMENTS = re.compile(r"\([^()]*\)")


def family_of(type: str) -> Family:
    """The family of a type as databases call it.

    >>> family_of("DECIMAL(10,2)").name, family_of("timestamp(3) with time zone").name
    ('DECIMAL', 'INSTANT')
    >>> family_of("STRUCT(a INTEGER)").name, family_of("ENUM('a')[]").name
    ('NESTED', 'NESTED')
    """
    if _NESTED.fullmatch(type.lower()):
        return Family.NESTED
    if type.lower().startswith("enum("):
        return Family.ENUM  # Its labels can have parentheses, or anything else, in them.
    name = "_".join(_ARGUMENTS.sub("", type.lower()).split())
    return _BY_NAME.get(name, Family.OPAQUE)
