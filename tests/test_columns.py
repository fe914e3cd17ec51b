"""Arrow columns give the bytes that their Python values give as rows: every type, every part."""

import arrow_zoo
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources.reading import drained, memory

from unspool import kernel
from unspool.errors import RowError
from unspool.formats.csv import Csv
from unspool.formats.html import Html
from unspool.formats.json import Json, Ndjson
from unspool.formats.xlsx import Xlsx
from unspool.sources.arrow import ArrowReader
from unspool.sources.batches import Records
from unspool.types import is_columnar

ZOO = list(arrow_zoo.all_columns())
IDS = [f"{at} {name}" for at, (name, _, _) in enumerate(ZOO)]

FORMATS = {
    "csv": Csv(),
    "csv, all quoted": Csv(quoting="all", null="NULL", line_end="\n"),
    "csv, text quoted": Csv(quoting="nonnumeric", delimiter=";", null="-"),
    "csv, delimiter in numbers": Csv(delimiter="1"),
    "csv, wide delimiter": Csv(delimiter="ü", formula_guard=True),
    "ndjson": Ndjson(),
    "json": Json(),
    "html": Html(),
    "xlsx": Xlsx(),
}

pytestmark = pytest.mark.skipif(not kernel.ACTIVE, reason="the kernel was not built")


def batches(table, want=1000):
    reader = ArrowReader(table)
    while len(batch := reader.read_batch(want)):
        yield batch
    reader.close()


def result(format, some):
    """The bytes of some batches, and the error that ended them."""
    encoder = format.encoder(None)
    parts = [encoder.begin()]
    try:
        parts.extend(encoder.feed(batch) for batch in some)
    except RowError as error:
        return b"".join(parts), (error.row, error.column, str(error))
    return b"".join([*parts, encoder.end()]), None


def rows_of(names, columns, want=1000):
    rows = list(zip(*columns, strict=True))
    return [Records(rows[at : at + want], names) for at in range(0, len(rows), want)]


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize(("name", "column", "values"), ZOO, ids=IDS)
def test_the_bytes_are_those_of_the_rows(name, column, values, format):
    numbers = list(range(len(values)))
    table = pa.table({"n": numbers, "ü": column})
    expected = result(format, rows_of(["n", "ü"], [numbers, values]))
    assert result(format, batches(table)) == expected
    alone = result(format, rows_of(["ü"], [values]))
    assert result(format, batches(pa.table({"ü": column}))) == alone


@pytest.mark.parametrize("format", [Csv(), Ndjson()], ids=["csv", "ndjson"])
@pytest.mark.parametrize(("name", "column", "values"), ZOO, ids=IDS)
def test_any_part_gives_its_part_of_the_bytes(name, column, values, format):
    # Many times over, so that validity and bools begin at every bit of a byte.
    long = pa.concat_arrays([column] * 24)
    many = values * 24
    for start in (0, 3, 9):
        for want in (1, 9):
            part = pa.table({"v": long.slice(start, 11)})
            expected = result(format, rows_of(["v"], [many[start : start + 11]]))
            got = result(format, batches(part, want))
            assert bool(got[1]) == bool(expected[1])
            assert got[1] or got[0] == expected[0]


def makes_rows(format, column, values):
    """Whether a column is of those rare ones that the kernel leaves to Python."""
    kind = column.type
    if pa.types.is_run_end_encoded(kind) or pa.types.is_union(kind):
        return False
    precise = [v for v in values if type(v) is arrow_zoo.PreciseTimedelta]
    if isinstance(format, Ndjson):
        zoned_inside = pa.types.is_nested(kind) and "tz=" in str(kind)
        return precise or zoned_inside or kind == pa.map_(pa.int64(), pa.string())
    if isinstance(format, Xlsx) and "tz=" in str(kind):
        return [v for v in values if hasattr(v, "nanos")]
    if isinstance(format, Xlsx) and precise:
        return [v for v in precise if v.days < 0]
    return pa.types.is_nested(kind)


@pytest.mark.parametrize("format", [Csv(), Ndjson(), Html(), Xlsx()], ids=lambda f: f.suffix)
@pytest.mark.parametrize(("name", "column", "values"), ZOO, ids=IDS)
def test_rows_are_made_only_of_what_is_refused_and_what_is_rare(
    name, column, values, format, monkeypatch
):
    seen = []
    for loop in ("csv_rows", "html_rows", "json_rows", "sheet_rows"):
        monkeypatch.setattr(kernel, loop, spied(getattr(kernel, loop), seen))
    _, error = result(format, batches(pa.table({"v": column})))
    made = any(batch.made for batch in seen)
    assert made == (error is not None or bool(makes_rows(format, column, values)))


def spied(loop, seen):
    """The loop, noting the batches that come."""

    def call(*args):
        seen.extend(arg for arg in args if is_columnar(arg))
        return loop(*args)

    return call


@pytest.mark.parametrize(
    "format", [Csv(), Ndjson(), Csv(formula_guard=True)], ids=["csv", "ndjson", "guarded"]
)
@pytest.mark.parametrize(
    ("name", "column", "what"), arrow_zoo.unfit(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_what_no_row_can_have_is_refused_by_name(name, column, what, format):
    table = pa.table({"ok": ["a", "=b"], "bad": column})
    data, error = result(format, batches(table))
    assert error[:2] == (2, "bad")


@pytest.mark.parametrize("format", ["csv", "ndjson", "html"])
def test_memory_stays_the_same_for_ten_million_rows(format):
    record = pa.record_batch({"n": range(100_000), "s": ["some text"] * 100_000})

    def sent(batches):
        source = pa.RecordBatchReader.from_batches(record.schema, (record for _ in range(batches)))
        return drained(source, format)

    sent(10)
    with memory() as grown:
        assert sent(100) > 140_000_000
    assert grown[0] < 2


def test_columns_under_other_names():
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    for format, expected in (
        (Csv(), b"A,B\r\n1,x\r\n2,y\r\n"),
        (Ndjson(), b'{"A":1,"B":"x"}\n{"A":2,"B":"y"}\n'),
    ):
        encoder = format.encoder(["A", "B"])
        (batch,) = batches(table)
        assert encoder.feed(batch) == expected
        assert not batch.made


def test_fewer_names_than_columns_are_refused_as_for_rows():
    (batch,) = batches(pa.table({"a": [1], "b": [2]}))
    with pytest.raises(RowError, match="has 2 cells; the columns given are 1"):
        Csv().encoder(["a"]).feed(batch)


def test_one_batch_as_rows_among_others_as_columns():
    good = pa.record_batch({"n": pa.array([1, 2], pa.int64()), "t": ["a", "b"]})
    guarded = pa.record_batch({"n": pa.array([3], pa.int64()), "t": ["=c"]})
    table = pa.Table.from_batches([good, guarded, good])
    encoder = Csv(formula_guard=True).encoder(None)
    made = []
    for batch in batches(table):
        encoder.feed(batch)
        made.append(batch.made)
    assert made == [False, True, False]
    assert (
        result(Csv(formula_guard=True), batches(table))[0]
        == b"n,t\r\n1,a\r\n2,b\r\n3,'=c\r\n1,a\r\n2,b\r\n"
    )


PLAIN = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): st.floats(),
    pa.float32(): st.floats(width=32),
    pa.float16(): st.floats(width=16),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(),
    pa.string_view(): st.text(),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "Europe/Berlin"): st.datetimes(
        timezones=st.just(arrow_zoo.ZoneInfo("Europe/Berlin")), allow_imaginary=False
    ).filter(lambda v: 2 < v.year < 9998),
    pa.time64("us"): st.times(),
    pa.duration("us"): st.timedeltas(
        min_value=-(10**5) * arrow_zoo.DAY, max_value=10**5 * arrow_zoo.DAY
    ),
    pa.decimal128(38, 10): st.decimals(
        allow_nan=False, allow_infinity=False, places=10, min_value=-(10**17), max_value=10**17
    ),
    pa.list_(pa.string()): st.lists(st.none() | st.text()),
    pa.struct({"x": pa.float64(), "y": pa.list_(pa.int32())}): st.fixed_dictionaries(
        {
            "x": st.none() | st.floats(),
            "y": st.none() | st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)),
        }
    ),
}


@st.composite
def tables(draw):
    kinds = draw(st.lists(st.sampled_from(list(PLAIN)), min_size=1, max_size=4))
    rows = draw(st.integers(0, 20))
    values = [
        draw(st.lists(st.none() | PLAIN[kind], min_size=rows, max_size=rows)) for kind in kinds
    ]
    names = [f"c{at}" for at in range(len(kinds))]
    columns = [pa.array(v, kind) for v, kind in zip(values, kinds)]
    return pa.table(dict(zip(names, columns))), names, [c.to_pylist() for c in columns]


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
@settings(max_examples=30)
@given(tables(), st.integers(1, 21))
def test_any_table_gives_the_bytes_of_its_rows(format, made, want):
    table, names, values = made
    if not len(table):
        return
    data, error = result(format, batches(table, want))
    expected, expected_error = result(format, rows_of(names, values, want))
    assert bool(error) == bool(expected_error)
    if error is None:
        assert data == expected
