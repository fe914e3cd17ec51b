"""Rows of every kind, values of every type, any dialect: what kernel and Python must agree on."""

import datetime
import decimal
import enum
import sqlite3
from collections import OrderedDict, UserDict, deque, namedtuple
from dataclasses import make_dataclass
from types import MappingProxyType
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from unspool.formats.csv import Csv
from unspool.formats.html import Html
from unspool.formats.json import Json, Ndjson
from unspool.formats.xlsx import Xlsx
from unspool.sources.batches import Records


class Colour(enum.Enum):
    RED = "red"
    FORMULA = "=1+1"
    NOTHING = None
    NUMBER = 7
    LONE = "\ud800"
    SMALL = decimal.Decimal("0.1")


class Level(enum.IntEnum):
    LOW = 1


class Kind(enum.StrEnum):
    QUOTED = 'a,"b"'


class Lists(enum.Enum):
    ONE = [1]


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "text: " + str.__str__(self)


class Number(int):
    pass


class Ratio(float):
    pass


class Said:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return f"Said({self.text!r})"

    def __str__(self):
        return self.text


class Markup(str):
    __slots__ = ()

    def __html__(self):
        return self


class Fails:
    def __str__(self):
        raise LookupError("no text")

    def __html__(self):
        raise LookupError("no HTML")

    def __repr__(self):
        return "Fails()"


class Zone(datetime.tzinfo):
    def utcoffset(self, at):
        return datetime.timedelta(minutes=90, seconds=1)

    def dst(self, at):
        return None


class Moment(datetime.datetime):
    def isoformat(self, *_):
        return "some moment"


class Record:
    def __init__(self, values):
        self._values = values

    def _asdict(self):
        return self._values


characters = st.one_of(
    st.characters(codec="ascii"),
    st.sampled_from("\",;|\t\r\n\0 \x1f\x7f&<>'_xX=+-@\\"),
    st.characters(min_codepoint=0x80, max_codepoint=0xFF),
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from("\ufffe\uffff\ufeff\u2028é日😀"),
)
texts = st.one_of(
    st.text(characters, max_size=40),
    st.text(characters, min_size=100, max_size=300),
    st.sampled_from(["", "_x0041_", "_X1_x", "_x12345_", " a", "a\n", "x" * 16384, "😀" * 16384]),
)
zones = st.sampled_from(
    [
        None,
        datetime.UTC,
        datetime.timezone(datetime.timedelta(0), "zero"),
        datetime.timezone(-datetime.timedelta(hours=3, minutes=30)),
        ZoneInfo("Europe/Paris"),
        Zone(),
    ]
)
decimals = st.one_of(
    st.decimals(),
    st.sampled_from(
        [
            decimal.Decimal(text)
            for text in (
                "0E-400 0.00 1E-306 9.9E-307 1E307 1E308 123456789012345 1234567890123456 0.0000010 "
                "-0 sNaN12 NaN7 -Infinity 1E+16 100000000000000E+2 0.100000000000001"
            ).split()
        ]
    ),
)
usual = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**15) - 2, 10**15 + 2),
    st.integers(-(2**64), 2**64),
    st.floats(),
    decimals,
    st.dates(),
    st.datetimes(timezones=zones),
    st.sampled_from([datetime.datetime.max, datetime.datetime.min, datetime.date(1900, 2, 28)]),
    st.times(timezones=zones),
    st.timedeltas(),
    st.uuids(),
)
odd = st.one_of(
    st.text(max_size=5).map(lambda text: text + "\ud800"),
    st.sampled_from(
        [
            *Colour,
            Level.LOW,
            Kind.QUOTED,
            Lists.ONE,
            Text("=x"),
            Number(7),
            Number(2**70),
            Ratio(0.1),
            Ratio("nan"),
            Said("=1"),
            Said("a\0,b"),
            Markup("<b>a</b>"),
            Markup("\0"),
            Moment(2026, 1, 2),
            Fails(),
            b"bytes",
            {1, 2},
            object(),
            range(3),
            1j,
            namedtuple("Point", "x y")(1, "y"),
        ]
    ),
    st.binary(max_size=3),
)
keys = st.one_of(texts, st.integers(), st.floats(), st.booleans(), st.none(), st.just(Kind.QUOTED))
nested = st.recursive(
    st.one_of(usual, odd),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(texts, inner, max_size=3).map(OrderedDict),
        st.dictionaries(texts, inner, max_size=3).map(UserDict),
    ),
    max_leaves=6,
)


def sqlite_row(names, values):
    if not values:
        return ()
    con = sqlite3.connect(":memory:")
    con.row_factory = sqlite3.Row
    selected = ", ".join(f"{n} as c{n}" for n in range(len(values)))
    row = con.execute(f"select {selected}").fetchone()
    con.close()
    return row


# Names that dataclasses and namedtuples take, too.
NAMES = ("a", "b_2", "été", "d", "e")

ROWS = {
    "tuple": lambda names, values: values,
    "list": lambda names, values: list(values),
    "dict": lambda names, values: dict(zip(names, values, strict=True)),
    "reversed dict": lambda names, values: dict(reversed(list(zip(names, values, strict=True)))),
    "OrderedDict": lambda names, values: OrderedDict(zip(names, values, strict=True)),
    "mapping": lambda names, values: MappingProxyType(dict(zip(names, values, strict=True))),
    "namedtuple": lambda names, values: NAMED[len(names)](*values),
    "dataclass": lambda names, values: DATA[len(names)](*values),
    "_asdict": lambda names, values: Record(dict(zip(names, values, strict=True))),
    "sqlite3.Row": sqlite_row,
    "too wide": lambda names, values: (*values, 1),
    "too many names": lambda names, values: dict(zip(names, values, strict=True)) | {"more": 1},
    "no row": lambda names, values: "text",
}
NAMED = {width: namedtuple(f"Named{width}", NAMES[:width]) for width in range(6)}
DATA = {width: make_dataclass(f"Data{width}", NAMES[:width]) for width in range(6)}
USUAL_ROWS = [name for name in ROWS if name not in {"too wide", "too many names", "no row"}]

BATCHES = {
    "list": lambda rows, names: rows,
    "tuple": lambda rows, names: tuple(rows),
    "deque": lambda rows, names: deque(rows),
    "Records": lambda rows, names: Records(rows, names),
    "Records without names": lambda rows, names: Records(rows, None),
}

dialects = st.builds(
    Csv,
    delimiter=st.sampled_from(",;|\t\0é→😀1-eT:'"),
    line_end=st.sampled_from(["\r\n", "\n", "\r"]),
    quoting=st.sampled_from(["minimal", "all", "nonnumeric"]),
    null=st.sampled_from(["", "NULL", 'say "no"', "é", "\ud800"]),
    bom=st.booleans(),
    header=st.booleans(),
    formula_guard=st.booleans(),
    end_mark=st.booleans(),
)
FORMATS = {
    "csv": dialects,
    "json": st.one_of(st.just(Json()), st.builds(Ndjson, end_mark=st.booleans())),
    "html": st.just(Html()),
    "xlsx": st.just(Xlsx()),
}


@st.composite
def streams(draw, values):
    """Column names or None, and some batches of rows, mostly all of one kind."""
    width = draw(st.sampled_from([1, 1, 2, 3, 4, 5, 5, 0]))
    names = NAMES[:width]
    kinds = draw(
        st.one_of(
            st.sampled_from(USUAL_ROWS).map(lambda kind: [kind]),
            st.just(["tuple"]),
            st.lists(st.sampled_from(list(ROWS)), min_size=1, max_size=3),
        )
    )
    rows = draw(
        st.lists(
            st.builds(
                lambda kind, values: ROWS[kind](names, values),
                st.sampled_from(kinds),
                st.tuples(*[values] * width),
            ),
            max_size=8,
        )
    )
    columns = draw(st.sampled_from([None, list(names) or None, ["b_2", "a"]]))
    size = draw(st.integers(1, 8))
    batch = BATCHES[draw(st.sampled_from(list(BATCHES)))]
    batches = [batch(rows[at : at + size], names) for at in range(0, len(rows), size)]
    return columns, batches
