"""One column of each Arrow type, and the Python values that it stands for.

The values are written out, or come from pyarrow where it has the same opinion.
"""

import datetime
import decimal
import uuid
from zoneinfo import ZoneInfo

import pyarrow as pa

from unspool.sources.arrow_values import PreciseDatetime, PreciseTime, PreciseTimedelta

DAY = datetime.timedelta(days=1)
TEXTS = [
    "",
    "plain",
    None,
    "comma, comma",
    'say "hi"',
    "two\nlines",
    "cr\rlf\r\n",
    "Zürich",
    "漢字 and 😀, a long text that fits in no view",
    "=1+1",
    "-5",
    " leads and trails ",
    "tab\there",
    "back\\slash / slash",
    "\x01\x1f\x7f",
    "<b>&'\"</b>",
    "\u2028",
    "x" * 100,
]
DAYS = [0, None, 1, -1, 11016, 20000, -719162, 2932896, 59, 60]
SECONDS = [0, None, 1, -1, 86399, 951782399, 951782400, -86400, 1729990800, 253402300799]


def column(kind, values):
    return pa.array(values, kind)


def cast(kind, raw, values):
    """A column of raw numbers, seen as `kind`."""
    return pa.array(values, raw).view(kind)


def ints():
    for bits in (8, 16, 32, 64):
        signed, most = 1 << bits - 1, (1 << bits) - 1
        values = [0, 1, None, 9, 10, 99, 100, 127]
        yield getattr(pa, f"int{bits}")(), [*values, -1, -signed, signed - 1]
        yield getattr(pa, f"uint{bits}")(), [*values, most, most - 1]


def floats():
    common = [0.0, -0.0, 1.0, None, -1.5, 0.1, 100.0, 65504.0, 5.9604644775390625e-08]
    odd = [float("inf"), float("-inf"), float("nan")]
    for kind in (pa.float16(), pa.float32(), pa.float64()):
        yield kind, pa.array(common, pa.float64()).cast(kind).to_pylist()
        yield kind, odd
    yield pa.float32(), pa.array([1e-45, 3.4028235e38, 1 / 3], pa.float32()).to_pylist()
    yield pa.float64(), [5e-324, 1.7976931348623157e308, 1e16, 1e15, 1e-4, 1e-5, 1 / 3, 123456.789]


def decimals():
    numbers = ["0", "1", None, "-1", "123", "-999", "100"]
    for kind in (pa.decimal32, pa.decimal64, pa.decimal128, pa.decimal256):
        for precision, scale in ((9, 0), (9, 2), (9, 9), (9, 6), (9, 7), (7, -3)):
            values = [
                None
                if n is None
                else decimal.Decimal(n).scaleb(-scale).quantize(decimal.Decimal(1).scaleb(-scale))
                for n in numbers
            ]
            yield kind(precision, scale), values
    big = decimal.Decimal("9" * 38)
    yield (
        pa.decimal128(38, 0),
        [
            big,
            big.copy_negate(),
            decimal.Decimal(2**64),
            decimal.Decimal(-(2**64)),
            decimal.Decimal(2**64 - 1),
        ],
    )
    wide = decimal.Context(prec=80)
    yield (
        pa.decimal256(76, 10),
        [wide.create_decimal("-" + "1234567890" * 6 + "123456." + "9" * 10)],
    )
    yield pa.decimal256(76, 0), [wide.create_decimal("9" * 76), wide.create_decimal("1" + "0" * 75)]


def moments(zone, seconds, micros):
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    for value in seconds:
        if value is None:
            yield None
            continue
        moment = epoch + datetime.timedelta(seconds=value, microseconds=micros)
        yield moment.replace(tzinfo=None) if zone is None else moment.astimezone(zone)


def timestamps():
    zones = {
        None: None,
        "UTC": datetime.UTC,
        "+05:30": datetime.timezone(datetime.timedelta(hours=5, minutes=30)),
        "-03:00": datetime.timezone(-datetime.timedelta(hours=3)),
        "Europe/Berlin": ZoneInfo("Europe/Berlin"),
        "America/New_York": ZoneInfo("America/New_York"),
        "Africa/Monrovia": ZoneInfo("Africa/Monrovia"),  # 44 minutes and 30 seconds, until 1972.
    }
    changes = [-3000000000, 1774745999, 1774746000, 1792889999, 1792890000, 4102444800]
    units = (("s", 1, 0, 0), ("ms", 1000, 7, 7000), ("us", 10**6, 7, 7), ("ns", 10**9, 7000, 7))
    for name, zone in zones.items():
        for unit, factor, more, micros in units:
            seconds = SECONDS if zone in (None, datetime.UTC) else [*SECONDS[:-1], *changes]
            if unit == "ns":
                seconds = [s for s in seconds if s is None or abs(s) < 9_000_000_000]
            raw = [None if s is None else s * factor + more for s in seconds]
            yield (
                cast(pa.timestamp(unit, name), pa.int64(), raw),
                list(moments(zone, seconds, micros)),
            )


def durations():
    for unit, factor in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        raw = [
            0,
            None,
            1,
            -1,
            factor,
            -factor,
            86400 * factor,
            -86401 * factor,
            3 * 86400 * factor + 5,
        ]
        yield (
            cast(
                pa.duration(unit),
                pa.int64(),
                [r for r in raw if unit != "ns" or r is None or r % 1000 == 0],
            ),
            [
                None if r is None else datetime.timedelta(microseconds=r * 10**6 // factor)
                for r in raw
                if unit != "ns" or r is None or r % 1000 == 0
            ],
        )


def times():
    for unit, kind, raw, factor in (
        ("s", pa.time32, pa.int32(), 1),
        ("ms", pa.time32, pa.int32(), 10**3),
        ("us", pa.time64, pa.int64(), 10**6),
    ):
        numbers = [0, None, 1, factor, 86400 * factor - 1, 43200 * factor]
        values = [
            None
            if n is None
            else (
                datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=n * 10**6 // factor)
            ).time()
            for n in numbers
        ]
        yield cast(kind(unit), raw, numbers), values
    numbers = [0, None, 1000, 86_399_999_999_000]
    yield (
        cast(pa.time64("ns"), pa.int64(), numbers),
        [datetime.time(0), None, datetime.time(microsecond=1), datetime.time(23, 59, 59, 999999)],
    )


def nanoseconds():
    """What Python's own types have no room for; ours show it."""
    raw = [0, None, 1, 1_000_000_123, -1, 86_399_999_999_999]
    day, second = datetime.datetime(1970, 1, 1), datetime.timedelta(seconds=1)
    last = day + datetime.timedelta(days=1, microseconds=-1)
    berlin = ZoneInfo("Europe/Berlin")
    moments = [
        (day, 0),
        (day, 1),
        (day + second, 123),
        (day - datetime.timedelta(microseconds=1), 999),
        (last, 999),
    ]
    made = [PreciseDatetime.of(moment, nanos) if nanos else moment for moment, nanos in moments]
    yield cast(pa.timestamp("ns"), pa.int64(), raw), [made[0], None, *made[1:]]
    local = [
        PreciseDatetime.of(v.replace(tzinfo=datetime.UTC).astimezone(berlin), n)
        for v, n in moments[1:]
    ]
    yield cast(pa.timestamp("ns", "Europe/Berlin"), pa.int64(), raw[2:]), local
    times = [PreciseTime.of(moment.time(), nanos) for moment, nanos in moments[1:3]]
    yield cast(pa.time64("ns"), pa.int64(), raw[2:4]), times
    spans = [PreciseTimedelta.of(moment - day, nanos) for moment, nanos in moments[1:]]
    yield cast(pa.duration("ns"), pa.int64(), raw[2:]), spans
    interval = PreciseTimedelta.of(datetime.timedelta(days=1), 5)
    yield pa.array([(0, 1, 5)], pa.month_day_nano_interval()), [interval]


def nested():
    yield pa.list_(pa.int64()), [[1, 2], [], None, [None, -3]]
    yield pa.large_list(pa.string()), [["a", None], [], None, ["c,d"]]
    yield pa.list_(pa.float32(), 2), [[1.5, 2.5], None, [None, 0.5]]
    yield pa.list_view(pa.int8()), [[1, 2], [], None, [3]]
    yield pa.large_list_view(pa.int8()), [[1, 2], [], None, [3]]
    yield pa.list_(pa.list_(pa.bool_())), [[[True], []], None, [None, [False, None]]]
    yield (
        pa.struct({"a": pa.int64(), 'quo"ted': pa.string()}),
        [{"a": 1, 'quo"ted': "x"}, None, {"a": None, 'quo"ted': "Zürich"}],
    )
    yield pa.struct([]), [{}, None, {}]
    yield (
        pa.list_(pa.struct({"d": pa.date32(), "t": pa.timestamp("us")})),
        [
            [{"d": datetime.date(2026, 1, 2), "t": datetime.datetime(2026, 1, 2, 3, 4, 5, 6)}],
            None,
            [],
        ],
    )
    yield (
        pa.struct({"t": pa.timestamp("s", "Europe/Berlin"), "z": pa.decimal128(5, 2)}),
        [
            {
                "t": datetime.datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")),
                "z": decimal.Decimal("1.50"),
            },
            {"t": None, "z": None},
        ],
    )


def all_columns():
    """(name, column, values): what the column holds, as Python has it."""
    plain = [
        (pa.null(), [None, None, None]),
        (pa.bool_(), [True, False, None, True, True, False, False, None, True]),
        *ints(),
        *floats(),
        *decimals(),
        *((kind, TEXTS) for kind in (pa.string(), pa.large_string(), pa.string_view())),
        (
            pa.date32(),
            [d and (datetime.date(1970, 1, 1) + d * DAY if d else None) for d in DAYS if d != 0],
        ),
        (
            pa.date64(),
            [
                datetime.date(1970, 1, 1),
                None,
                datetime.date(1969, 12, 31),
                datetime.date(9999, 12, 31),
            ],
        ),
        *(
            (kind, [b"raw", None, b"", b"\xff\x00" * 20])
            for kind in (pa.binary(), pa.large_binary(), pa.binary_view())
        ),
        (pa.binary(3), [b"abc", None, b"\xff\x00\x01"]),
        *nested(),
    ]
    for kind, values in plain:
        yield str(kind), column(kind, values), values
    for made, values in [*timestamps(), *durations(), *times(), *nanoseconds()]:
        yield str(made.type), made, values
    yield from special()


def special():
    words = pa.array(["red", "green, blue", None], pa.string())
    for kind in (pa.int8(), pa.uint16(), pa.int32(), pa.uint64()):
        made = pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 2, 1], kind), words)
        yield str(made.type), made, ["green, blue", "red", None, None, "green, blue"]
    dates = pa.array([datetime.date(2026, 1, 2)], pa.date32()).dictionary_encode()
    yield "dictionary of dates", dates, [datetime.date(2026, 1, 2)]
    for ends in (pa.int16(), pa.int32(), pa.int64()):
        made = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3, 7], ends), pa.array([5, None, -6]))
        yield str(made.type), made, [5, 5, None, -6, -6, -6, -6]
    ids = [uuid.UUID(int=n) for n in (0, 2**128 - 1, 0x12345678_1234_5678_1234_567812345678)]
    yield (
        "uuid",
        pa.ExtensionArray.from_storage(
            pa.uuid(), pa.array([*(i.bytes for i in ids), None], pa.binary(16))
        ),
        [*ids, None],
    )
    bools = pa.array([1, 0, None, 5, -1], pa.int8())
    yield (
        "bool8",
        pa.ExtensionArray.from_storage(pa.bool8(), bools),
        [True, False, None, True, True],
    )
    json = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}', None]))
    yield "json", json, ['{"a":1}', None]
    opaque = pa.ExtensionArray.from_storage(pa.opaque(pa.int64(), "geo", "me"), pa.array([1, None]))
    yield "opaque", opaque, [1, None]
    maps = [[("a", 1), ("b,c", None)], None, []]
    yield "map", pa.array(maps, pa.map_(pa.string(), pa.int64())), [{"a": 1, "b,c": None}, None, {}]
    numbered = [[(1, "a")], None, []]
    yield "map of ints", pa.array(numbered, pa.map_(pa.int64(), pa.string())), [{1: "a"}, None, {}]
    kinds = pa.array([0, 1, 0, 1], pa.int8())
    sparse = pa.UnionArray.from_sparse(
        kinds, [pa.array([1, 2, None, 4]), pa.array(["a", "b", "c", "d"])]
    )
    yield "sparse union", sparse, [1, "b", None, "d"]
    dense = pa.UnionArray.from_dense(
        kinds, pa.array([0, 0, 1, 1], pa.int32()), [pa.array([1, None]), pa.array(["b", "d"])]
    )
    yield "dense union", dense, [1, "b", None, "d"]
    intervals = pa.array(
        [(0, 1, 0), None, (0, -1, 1000), (0, 2, 90_000_000_000_000)], pa.month_day_nano_interval()
    )
    yield (
        "interval",
        intervals,
        [
            DAY,
            None,
            -DAY + datetime.timedelta(microseconds=1),
            2 * DAY + datetime.timedelta(hours=25),
        ],
    )


def unfit():
    """(name, column, what the message says): values that Python does not have."""
    yield (
        "year 10000",
        cast(pa.timestamp("s"), pa.int64(), [0, 253402300800]),
        "date value out of range",
    )
    yield (
        "infinite date",
        cast(pa.date32(), pa.int32(), [0, 2**31 - 1]),
        "days=2147483647|date value",
    )
    yield "year 0", cast(pa.date32(), pa.int32(), [0, -719163]), "date value out of range"
    yield "24:00", cast(pa.time64("us"), pa.int64(), [0, 86_400_000_000]), "no time of a day"
    yield "long duration", cast(pa.duration("s"), pa.int64(), [0, 2**62]), "days=|too large"
    yield (
        "a month",
        pa.array([(0, 1, 0), (1, 0, 0)], pa.month_day_nano_interval()),
        "1 months have no fixed",
    )
    broken = pa.StringArray.from_buffers(
        2, pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff")
    )
    yield "no UTF-8", broken, "can't decode byte 0xff"
    surrogate = pa.StringArray.from_buffers(
        2, pa.array([0, 1, 4], pa.int32()).buffers()[1], pa.py_buffer(b"a\xed\xa0\x80")
    )
    yield "a surrogate", surrogate, "can't decode"
    twice = pa.StructArray.from_arrays(
        [pa.array([1, 2]), pa.array([3, 4])], names=["a", "a"], mask=pa.array([True, False])
    )
    yield "a field twice", twice, "twice|same name"
    yield (
        "a key twice",
        pa.array([[], [("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64())),
        "twice",
    )
