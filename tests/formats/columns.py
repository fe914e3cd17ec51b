"""Rows of every kind of value, and what Arrow and Parquet give back for them."""

import datetime
import decimal
import enum
import uuid
from collections import namedtuple
from dataclasses import dataclass

UTC = datetime.UTC
PARIS = datetime.timezone(datetime.timedelta(hours=2))
Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


@dataclass
class Place:
    name: str
    at: Point


D = decimal.Decimal

# Values of a column; the type it gets; the values read back, where they are others.
COLUMNS = [
    ([1, None, -(2**63), 2**63 - 1], "int64", None),
    ([1, 2.5, None, float("inf")], "double", [1.0, 2.5, None, float("inf")]),
    ([2**53, 0.5], "double", [float(2**53), 0.5]),
    ([2**63], "decimal128(38, 0)", [D(2**63)]),
    ([1, 10**38 - 1], "decimal128(38, 0)", [D(1), D(10**38 - 1)]),
    ([D("1.10"), D("2"), 3, None], "decimal128(38, 2)", [D("1.10"), D("2.00"), D("3.00"), None]),
    ([D("1E+3"), D("-0.001")], "decimal128(38, 3)", [D("1000.000"), D("-0.001")]),
    ([True, False, None], "bool", None),
    (["", "é😀\x00", None], "string", None),
    ([b"", b"\xff", bytearray(b"a"), memoryview(b"b")], "binary", [b"", b"\xff", b"a", b"b"]),
    ([datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None], "date32[day]", None),
    (
        [datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)],
        "timestamp[us]",
        None,
    ),
    (
        [
            datetime.datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
            datetime.datetime(2026, 1, 2, 3, tzinfo=PARIS),
        ],
        "timestamp[us, tz=UTC]",
        [
            datetime.datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
            datetime.datetime(2026, 1, 2, 1, tzinfo=UTC),
        ],
    ),
    ([datetime.time(23, 59, 59, 999999), None], "time64[us]", None),
    ([datetime.timedelta(days=-1, microseconds=1), None], "duration[us]", None),
    ([uuid.UUID(int=1)], "string", ["00000000-0000-0000-0000-000000000001"]),
    ([Colour.RED, "blue"], "string", ["red", "blue"]),
    ([Size.BIG, 1], "int64", [3, 1]),
    ([[1, None], (), None], "list<element: int64>", [[1, None], [], None]),
    ([[], [1], [2.5]], "list<element: double>", [[], [1.0], [2.5]]),
    ([[Colour.RED, uuid.UUID(int=2)]], "list<element: string>", [["red", str(uuid.UUID(int=2))]]),
    (
        [{"a": 1}, {"a": 2.5, "b": [{"c": None}]}, None],
        "struct<a: double, b: list<element: struct<c: null>>>",
        [{"a": 1.0, "b": None}, {"a": 2.5, "b": [{"c": None}]}, None],
    ),
    (
        [Place("Ann", Point(1, 2))],
        "struct<name: string, at: list<element: int64>>",
        [{"name": "Ann", "at": [1, 2]}],
    ),
    ([None, None], "null", None),
]

# Values of a column, of which the last cannot be told in the type of those before.
MISFITS = [
    (["a", 1], "1 is an int64, but the column is a string"),
    ([1, "a"], "'a' is a string, but the column is an int64"),
    ([1, True], "True is a bool, but the column is an int64"),
    ([True, 1], "1 is an int64, but the column is a bool"),
    (["a", b"a"], "b'a' is a binary, but the column is a string"),
    ([2**53 + 1, 0.5], "0.5 makes the column double, and a value before it does not fit"),
    ([0.5, 2**53 + 1], "9007199254740993 does not fit a double"),
    ([0.5, D("0.5")], "Decimal('0.5') is a decimal128(38, 1), but the column is a double"),
    ([D("0.5"), 0.5], "0.5 is a double, but the column is a decimal128(38, 1)"),
    ([D("NaN")], "Decimal('NaN') is no number"),
    ([D("1E+38")], "Decimal('1E+38') has more than 38 digits"),
    ([10**37, D("0.01")], "Decimal('0.01') makes the column decimal128(38, 2), and a value before"),
    ([D("0.01"), 10**37], "does not fit a decimal128(38, 2)"),
    ([-(10**38)], "has more than 38 digits"),
    (
        [datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1)],
        "is a timestamp[us], but the column is a date32[day]",
    ),
    (
        [datetime.datetime(2026, 1, 1), datetime.date(2026, 1, 1)],
        "is a date32[day], but the column is a timestamp[us]",
    ),
    (
        [datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 1, tzinfo=UTC)],
        "is a timestamp[us, tz=UTC], but",
    ),
    ([datetime.time(1, tzinfo=UTC)], "is a time of a zone"),
    ([datetime.timedelta.max], "does not fit a duration[us]"),
    (["\ud800"], "does not fit a string"),
    ([{1}], "a set, has no Arrow type"),
    ([{}], "is a dict without keys"),
    ([{1: 2}], "is a dict without keys, or with keys that are no text"),
    ([[1, "a"]], "'a' does not go with what stands before it in its list"),
    ([[1], ["a"]], "['a'] is a list<item: string>, but the column is a list<item: int64>"),
    (
        [{"a": 1}, {"a": "x"}],
        "{'a': 'x'} is a struct<a: string>, but the column is a struct<a: int64>",
    ),
    ([object()], "has no Arrow type"),
    ([1, range(3)], "has no Arrow type"),
]


def zoo(pa):
    """An array of every type that Arrow has, of two values, by name."""
    simple = [
        (1, "int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"),
        ("a", "string large_string string_view"),
        (b"a", "binary large_binary binary_view"),
        (datetime.date(2026, 1, 2), "date32 date64"),
        (True, "bool_"),
        (1, "bool8"),
        ('{"a":1}', "json_"),
        (b"0" * 16, "uuid"),
    ]
    types = {
        name: (value, getattr(pa, name)()) for value, names in simple for name in names.split()
    }
    for unit in ("s", "ms", "us", "ns"):
        clock = pa.time32 if unit in {"s", "ms"} else pa.time64
        types |= {f"time {unit}": (datetime.time(1, 2), clock(unit))}
        types |= {f"duration {unit}": (datetime.timedelta(1), pa.duration(unit))}
        types |= {f"timestamp {unit}": (datetime.datetime(2026, 1, 2), pa.timestamp(unit))}
        types |= {
            f"zoned {unit}": (
                datetime.datetime(2026, 1, 2, tzinfo=UTC),
                pa.timestamp(unit, "Europe/Paris"),
            )
        }
    for name, digits in (
        ("decimal32", 9),
        ("decimal64", 18),
        ("decimal128", 38),
        ("decimal256", 76),
    ):
        types |= {name: (D("1.5"), getattr(pa, name)(digits, 2))}
    for name in ("list_", "large_list", "list_view", "large_list_view"):
        types |= {name: ([1], getattr(pa, name)(pa.int8()))}
    types |= {
        "binary(1)": (b"a", pa.binary(1)),
        "list_(1)": ([1], pa.list_(pa.int8(), 1)),
        "map_": ([("k", 1)], pa.map_(pa.string(), pa.int8())),
        "struct": ({"a": {"b": 1}}, pa.struct([("a", pa.struct([("b", pa.int8())]))])),
        "interval": (pa.MonthDayNano([1, 2, 3]), pa.month_day_nano_interval()),
        "empty struct": ({}, pa.struct([])),
    }
    arrays = {name: pa.array([value, None], kind) for name, (value, kind) in types.items()}
    numbers, texts = pa.array([1, 2]), pa.array(["a", "b"])
    tags, at = pa.array([0, 1], pa.int8()), pa.array([0, 1], pa.int32())
    return arrays | {
        "null": pa.nulls(2),
        "dictionary": pa.array(["a", None]).dictionary_encode(),
        "run ends": pa.RunEndEncodedArray.from_arrays([1, 2], ["a", "b"]),
        "sparse union": pa.UnionArray.from_sparse(tags, [numbers, texts]),
        "dense union": pa.UnionArray.from_dense(tags, at, [numbers, texts]),
    }


# What Parquet has no type for, and what it keeps in another one.
NOT_IN_PARQUET = {"interval", "empty struct", "run ends", "sparse union", "dense union"}
OTHER_IN_PARQUET = {
    "date64": "date32[day]",
    "time s": "time32[ms]",
    "timestamp s": "timestamp[ms]",
    "zoned s": "timestamp[ms, tz=Europe/Paris]",
}
