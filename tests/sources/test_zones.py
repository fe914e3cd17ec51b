import datetime
import zoneinfo
from array import array
from bisect import bisect_right
from zoneinfo import _zoneinfo

import pytest

from unspool.sources.zones import STEP_S, Offsets, zone_named

DAY_S = 86_400
YEAR_S = 365 * DAY_S
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def offset_of(table, second):
    edges, offsets = array("q", table[0]), array("i", table[1])
    return offsets[bisect_right(edges, second)]


def python_offset(zone, second):
    moment = EPOCH + datetime.timedelta(seconds=second)
    return moment.astimezone(zone).utcoffset().total_seconds()


def test_no_zone_changes_its_clocks_twice_within_a_step():
    """What the steps rely on, for every zone of the tz database that is installed here."""
    for name in zoneinfo.available_timezones():
        changes = _zoneinfo.ZoneInfo.no_cache(name)._trans_utc
        near = [b - a for a, b in zip(changes, changes[1:], strict=False) if b - a <= STEP_S]
        assert not near, name


@pytest.mark.parametrize(
    "name",
    [
        "Europe/Berlin",
        "America/New_York",
        "Africa/Casablanca",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Monrovia",
    ],
)
def test_every_change_is_found_to_the_second(name):
    zone = zone_named(name)
    table = Offsets(zone).between(-50 * YEAR_S, 70 * YEAR_S)
    edges = array("q", table[0])
    known = [
        change
        for change in _zoneinfo.ZoneInfo.no_cache(name)._trans_utc
        if -50 * YEAR_S < change < 67 * YEAR_S
    ]
    around = [second + more for second in [*edges, *known] for more in (-1, 0, 1)]
    for second in [*around, *range(-50 * YEAR_S, 70 * YEAR_S, 37 * DAY_S)]:
        assert offset_of(table, second) == python_offset(zone, second)


def test_a_span_grows_on_both_sides_and_is_looked_for_once():
    zone = zone_named("Europe/Oslo")
    offsets = Offsets(zone)
    asked = []
    at = offsets._at
    offsets._at = lambda second: (asked.append(second), at(second))[1]
    assert offsets.between(0, 10) is offsets.between(5, 10)
    first = len(asked)
    offsets.between(2, 3)
    assert len(asked) == first
    for low, high in ((-30 * YEAR_S, 0), (20 * YEAR_S, 56 * YEAR_S), (-30 * YEAR_S, 56 * YEAR_S)):
        table = offsets.between(low, high)
        for second in range(low, high, 29 * DAY_S):
            assert offset_of(table, second) == python_offset(zone, second)
    assert len(asked) < 90 * YEAR_S / STEP_S * 1.2


@pytest.mark.parametrize("near", [-400 * YEAR_S, 30 * YEAR_S])
def test_a_span_that_is_refused_is_not_taken_for_known(near):
    zone = zone_named("Europe/Berlin")
    offsets = Offsets(zone)
    assert offsets.between(-400 * YEAR_S, 30 * YEAR_S) is None
    assert offset_of(offsets.between(near, near), near) == python_offset(zone, near)
    assert offsets.between(-400 * YEAR_S, 30 * YEAR_S) is None
    assert offset_of(offsets.between(near, near), near) == python_offset(zone, near)


@pytest.mark.parametrize(
    ("name", "seconds"), [("UTC", 0), ("+05:30", 19800), ("-00:30", -1800), ("+14:00", 50400)]
)
def test_fixed_offsets_hold_at_all_times(name, seconds):
    table = Offsets(zone_named(name)).between(-(2**62), 2**62)
    assert table == (b"", array("i", [seconds]).tobytes())


def test_a_span_of_centuries_or_beyond_python_is_left_to_rows():
    zone = zone_named("Europe/Berlin")
    assert Offsets(zone).between(-300 * YEAR_S, 200 * YEAR_S) is None
    assert Offsets(zone).between(0, 2**60) is None
    assert Offsets(zone).between(253402300000, 253402300799) is None


def test_an_unknown_zone_is_named():
    with pytest.raises(zoneinfo.ZoneInfoNotFoundError, match="Mars/Olympus"):
        zone_named("Mars/Olympus")
