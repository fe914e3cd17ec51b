"""When which offset from UTC holds, for the times of a column."""

from __future__ import annotations

import datetime
import re
from array import array
from bisect import bisect_left
from zoneinfo import ZoneInfo

__all__ = ["Offsets", "zone_named"]

_UTC_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_FIXED = re.compile(r"([+-])(\d\d):(\d\d)")

# Two changes of the clocks of a place have never been closer than 95 hours (Freetown, 1939), so
# that steps of three days miss none. tests/sources/test_zones.py looks at every zone.
STEP_S = 3 * 86_400

# A column that spans more than this is done row by row: looking for changes takes longer.
_SPAN_MAX_S = 400 * 365 * 86_400

# Whether a change is looked for costs a microsecond a step. The times of the next batch are
# mostly near.
_BESIDE_S = 365 * 86_400


def zone_named(name: str) -> datetime.tzinfo:
    """The time zone that Arrow calls `name`: one of the tz database, or an offset as +05:30.

    >>> zone_named("-02:30")
    datetime.timezone(datetime.timedelta(days=-1, seconds=77400))
    """
    fixed = _FIXED.fullmatch(name)
    if fixed is None:
        return datetime.UTC if name == "UTC" else ZoneInfo(name)
    sign, hours, minutes = fixed.groups()
    offset = datetime.timedelta(hours=int(hours), minutes=int(minutes))
    return datetime.timezone(-offset if sign == "-" else offset)


class Offsets:
    """The offsets of a zone, for the span of time that was asked for so far.

    >>> edges, offsets = Offsets(ZoneInfo("Europe/Oslo")).between(1792800000, 1792900000)
    >>> array("i", offsets).tolist()[-3:]
    [7200, 3600, 7200]
    """

    def __init__(self, zone: datetime.tzinfo) -> None:
        self._zone = zone
        self._low = self._high = 0
        self._edges: list[int] = []
        self._offsets = [self._at(0)]
        self._table = self._as_bytes()
        self._fixed = isinstance(zone, datetime.timezone)

    def between(self, low: int, high: int) -> tuple[bytes, bytes] | None:
        """At which seconds the offset changes, between two: (changes, offsets).

        Seconds count from 1970, as int64. There is an offset, as int32, for the time before the
        first change and after each. None if the two are too far apart, or beyond Python's dates.
        """
        if not self._fixed and not self._low <= low <= high <= self._high:
            try:
                self._extend(low, high)
            except OverflowError:
                return None
        return self._table

    def _extend(self, low: int, high: int) -> None:
        """Knows this span as well from now on; nothing new, if it raises OverflowError."""
        old_low, old_high, known = self._low, self._high, self._offsets
        if old_low == old_high:
            old_low = old_high = low
            known = [self._at(low)]
        new_low, new_high = min(old_low, low - _BESIDE_S), max(old_high, high + _BESIDE_S)
        if new_high - new_low > _SPAN_MAX_S:
            raise OverflowError
        edges, offsets = self._changes(new_low, old_low)
        more_edges, more_offsets = self._changes(old_high, new_high)
        self._edges = [*edges, *self._edges, *more_edges]
        self._offsets = [*offsets[:-1], *known, *more_offsets[1:]]
        self._low, self._high = new_low, new_high
        self._table = self._as_bytes()

    def _as_bytes(self) -> tuple[bytes, bytes]:
        return array("q", self._edges).tobytes(), array("i", self._offsets).tobytes()

    def _changes(self, low: int, high: int) -> tuple[list[int], list[int]]:
        """The changes after `low` up to `high`, and the offsets before and after each."""
        edges: list[int] = []
        offsets = [self._at(low)]
        while low < high:
            end = min(low + STEP_S, high)
            if self._at(end) != offsets[-1]:
                before = offsets[-1]
                step = bisect_left(
                    range(low, end), 1, key=lambda second: self._at(second) != before
                )
                edges.append(low + step)
                offsets.append(self._at(end))
            low = end
        return edges, offsets

    def _at(self, second: int) -> int:
        moment = (_UTC_EPOCH + datetime.timedelta(seconds=second)).astimezone(self._zone)
        offset = moment.utcoffset()
        return 0 if offset is None else int(offset.total_seconds())
