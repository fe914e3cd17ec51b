"""Arrow's raw values as Python's, one at a time; the table is in `unspool.sources.arrow`."""

from __future__ import annotations

import datetime
import struct
import sys
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from unspool.errors import RowError
from unspool.sources.zones import Offsets, zone_named

__all__ = [
    "PreciseDatetime",
    "PreciseTime",
    "PreciseTimedelta",
    "interval",
    "maker",
    "refused",
]

_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 (Arrow's timestamps without a zone)
_FIRST_DAY = _EPOCH.date()
_DAY_S = 86_400

Make = Callable[[Any], Any]


def refused(error: Exception, index: int, column: str) -> RowError:
    """The error of a value that has no Python form; the kernel asks for it."""
    return RowError(
        f"this Arrow value has no Python form: {error}. Cast the column to text, or mend the "
        "value, before you send it.",
        index=index,
        column=column,
    )


def maker(kind: str, number: int, zone: str | None) -> Make:
    """What makes Python values of an Arrow type's raw ones; the kernel asks once a column.

    Raw are numbers, or the bytes of decimals, UUIDs and intervals. `number` says how many digits
    follow the second, or the decimal point.

    >>> str(maker("timestamp", 3, "+01:00")(1))
    '1970-01-01 01:00:00.001000+01:00'
    """
    if kind == "timestamp":
        return _Timestamps(number, None if zone is None else zone_named(zone))
    if kind == "decimal":
        return lambda raw: Decimal(f"{_integer(raw)}E{-number}")
    if kind in {"time", "duration"}:
        unit = 10 ** (9 - number)
        make = _time if kind == "time" else _duration
        return lambda count: make(count * unit)
    return _MAKERS[kind]


class _Timestamps:
    """Makes datetimes of numbers of 10^-digits seconds since 1970."""

    def __init__(self, digits: int, zone: datetime.tzinfo | None) -> None:
        self._unit = 10 ** (9 - digits)
        self._zone = zone
        self._offsets = None if zone is None else Offsets(zone)

    def __call__(self, count: int) -> datetime.datetime:
        micros, nanos = divmod(count * self._unit, 1000)
        moment = _EPOCH + datetime.timedelta(microseconds=micros)
        if self._zone is not None:
            moment = moment.replace(tzinfo=datetime.UTC).astimezone(self._zone)
        return PreciseDatetime.of(moment, nanos) if nanos else moment

    def offsets(self, low: int, high: int) -> tuple[bytes, bytes] | None:
        """What the kernel must know of the zone, for times between two seconds."""
        return None if self._offsets is None else self._offsets.between(low, high)


def _time(nanos: int) -> datetime.time:
    micros, rest = divmod(nanos, 1000)
    moment = _EPOCH + datetime.timedelta(microseconds=micros)
    if moment.date() != _FIRST_DAY:
        raise ValueError(f"{nanos / 1e9} seconds after midnight are no time of a day")
    return PreciseTime.of(moment.time(), rest) if rest else moment.time()


def _duration(nanos: int) -> datetime.timedelta:
    micros, rest = divmod(nanos, 1000)
    duration = datetime.timedelta(microseconds=micros)
    return PreciseTimedelta.of(duration, rest) if rest else duration


def interval(months: int, days: int, nanos: int) -> datetime.timedelta:
    """The timedelta of an interval without months."""
    if months:
        raise ValueError(f"{months} months have no fixed length")
    return _duration(days * _DAY_S * 10**9 + nanos)


def _integer(raw: bytes) -> int:
    return int.from_bytes(raw, sys.byteorder, signed=True)


_MAKERS: dict[str, Make] = {
    "date": lambda days: _FIRST_DAY + datetime.timedelta(days=days),
    "integer": _integer,
    "uuid": lambda raw: uuid.UUID(bytes=raw),
    "months": lambda months: interval(months, 0, 0),
    "days": lambda raw: interval(0, *_days_and_nanos(*struct.unpack("=ii", raw))),
    "interval": lambda raw: interval(*struct.unpack("=iiq", raw)),
}


def _days_and_nanos(days: int, millis: int) -> tuple[int, int]:
    return days, millis * 10**6


# What follows has nanoseconds, and no more of them than a text needs: arithmetic forgets them.
# They are a text to HTML, too, which would else make a plain datetime of a kind of it.


class PreciseDatetime(datetime.datetime):
    """A datetime whose text has nine digits after the second."""

    nanos: int

    @classmethod
    def of(cls, moment: datetime.datetime, nanos: int) -> PreciseDatetime:
        """`moment`, and so many nanoseconds after it."""
        precise = cls.combine(moment.date(), moment.timetz())
        precise.nanos = nanos
        return precise

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        """As datetime's, with the nanoseconds."""
        return _with_nanos(super().isoformat(sep, "microseconds"), self.nanos, 26)

    def __str__(self) -> str:
        return self.isoformat(" ")

    __html__ = __str__


class PreciseTime(datetime.time):
    """The same for a time."""

    nanos: int

    @classmethod
    def of(cls, moment: datetime.time, nanos: int) -> PreciseTime:
        """`moment`, and so many nanoseconds after it."""
        precise = cls(moment.hour, moment.minute, moment.second, moment.microsecond)
        precise.nanos = nanos
        return precise

    def isoformat(self, timespec: str = "auto") -> str:
        """As time's, with the nanoseconds."""
        return _with_nanos(super().isoformat("microseconds"), self.nanos, 15)

    def __str__(self) -> str:
        return self.isoformat()

    __html__ = __str__


class PreciseTimedelta(datetime.timedelta):
    """The same for a timedelta."""

    nanos: int

    @classmethod
    def of(cls, duration: datetime.timedelta, nanos: int) -> PreciseTimedelta:
        """`duration`, and so many nanoseconds."""
        precise = cls(duration.days, duration.seconds, duration.microseconds)
        precise.nanos = nanos
        return precise

    def total_seconds(self) -> float:
        """As timedelta's, with the nanoseconds."""
        micros = self // datetime.timedelta(microseconds=1)
        return (micros * 1000 + self.nanos) / 10**9

    def __str__(self) -> str:
        text = super().__str__()
        return (text if self.microseconds else text + ".000000") + f"{self.nanos:03}"

    __html__ = __str__


def _with_nanos(text: str, nanos: int, at: int) -> str:
    return f"{text[:at]}{nanos:03}{text[at:]}"
