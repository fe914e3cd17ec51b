"""Arrow and Parquet: types and values of columns, groups, and readers that others wrote."""

import datetime
import decimal
import io
import json
import subprocess
from pathlib import Path

import pytest
from formats.columns import COLUMNS, MISFITS, NOT_IN_PARQUET, OTHER_IN_PARQUET, zoo
from helpers import encode, new_pipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from unspool import Arrow, EmptySource, Parquet, RowError, UsageError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROOT = Path(__file__).parents[2]
NPM = ROOT / ".cache" / "npm"  # `make test` fetches what is in it.


def read_arrow(data):
    return pa.ipc.open_stream(data).read_all()


def read_parquet(data):
    return pq.read_table(io.BytesIO(data))


FORMATS = [(Arrow, read_arrow), (Parquet, read_parquet)]
both = pytest.mark.parametrize(("format", "read"), FORMATS, ids=["arrow", "parquet"])


@both
@pytest.mark.parametrize(
    ("values", "kind", "expected"), COLUMNS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_column_has_the_narrowest_type_and_the_values_come_back(
    format, read, values, kind, expected
):
    rows = [{"v": value, "n": n} for n, value in enumerate(values)]
    tables = [read(encode(rows, format(), None, size)) for size in range(1, len(rows) + 1)]
    assert str(tables[0].schema.field("v").type).replace("item:", "element:") == kind
    assert tables[0]["v"].to_pylist() == (values if expected is None else expected)
    assert all(table.equals(tables[0]) for table in tables)


@both
@pytest.mark.parametrize(("values", "message"), MISFITS)
def test_a_value_that_does_not_fit_is_named_with_row_column_and_the_way_out(
    format, read, values, message
):
    rows = [(n, value) for n, value in enumerate(values)]
    for size in (1, len(rows)):
        pipeline = new_pipeline(format(), ["n", "v"])
        pipeline.begin()
        with pytest.raises(RowError) as caught:
            for at in range(0, len(rows), size):
                pipeline.feed(rows[at : at + size], 0.0, 0.0)
        error = caught.value
        assert (error.row, error.column) == (len(rows), "v")
        assert message in str(error)
        assert f"{format.__name__}(schema=" in str(error)
        # The rows before it are whole.
        if len(rows) > 1:
            assert read(pipeline.end())["v"].to_pylist() == values[:-1]


@both
def test_the_types_are_those_of_the_first_group(format, read):
    size = {"batch_rows" if format is Arrow else "row_group_rows": 2}
    rows = [(1,), (2.5,), (3,)]
    assert read(encode(rows, format(**size), ["a"]))["a"].to_pylist() == [1.0, 2.5, 3.0]
    with pytest.raises(
        RowError, match=r"row 3, column 'a': 2.5 is a double, but .* int64"
    ) as caught:
        encode([(1,), (2,), (2.5,)], format(**size), ["a"])
    assert caught.value.value == 2.5


@both
def test_a_schema_is_kept_and_converts_what_it_can(format, read):
    schema = pa.schema(
        [pa.field("a", pa.int16(), nullable=False), ("b", pa.string()), ("c", pa.timestamp("ms"))],
        {"k": "v"},
    )
    rows = [{"a": 1, "b": None, "c": datetime.datetime(2026, 1, 1)}]
    for data in (encode(rows, format(schema)), encode([(1, None, rows[0]["c"])], format(schema))):
        table = read(data)
        assert table.to_pylist() == rows
        assert table.schema.metadata[b"k"] == b"v"
        assert table.schema.field("a").type == pa.int16()
        assert not table.schema.field("a").nullable
    with pytest.raises(RowError, match="row 2, column 'a': 40000 does not fit an int16"):
        encode([(1, None, None), (40000, None, None)], format(schema))
    assert read(encode([], format(schema))).schema.names == ["a", "b", "c"]
    with pytest.raises(UsageError, match="columns=.*are not those of the schema"):
        format(schema).encoder(["a", "b"])
    assert format(schema).encoder(["a", "b", "c"])


@both
def test_values_of_a_given_type_may_be_enums_and_uuids(format, read):
    from formats.columns import Colour, uuid

    schema = pa.schema([("c", pa.string()), ("u", pa.uuid())])
    rows = [(Colour.RED, uuid.UUID(int=1))]
    assert read(encode(rows, format(schema))).to_pylist() == [{"c": "red", "u": uuid.UUID(int=1)}]


@both
def test_without_rows_there_are_columns_of_null_or_an_error(format, read):
    table = read(encode([], format(), ["a", "b"]))
    assert (table.num_rows, table.schema.names) == (0, ["a", "b"])
    with pytest.raises(EmptySource, match=r"columns=\[...\]"):
        encode([], format())


@both
def test_rows_without_names_are_refused_with_the_way_out(format, read):
    with pytest.raises(RowError, match=r"row 1: has no column names, .* Pass columns=\[...\]"):
        encode([(1, 2)], format())


@both
def test_rows_of_another_width_are_refused(format, read):
    with pytest.raises(RowError, match="row 2: has 1 cells; the columns given are 2"):
        encode([(1, 2), (3,)], format(), ["a", "b"])


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "1"])
def test_a_group_has_a_whole_number_of_rows(value):
    with pytest.raises(UsageError, match="batch_rows must be a whole number of at least 1"):
        Arrow(batch_rows=value)
    with pytest.raises(UsageError, match="row_group_rows must be a whole number of at least 1"):
        Parquet(row_group_rows=value)


def test_an_unknown_compression_is_refused():
    with pytest.raises(UsageError, match="compression 'lzw' must be one of snappy, zstd"):
        Parquet(compression="lzw")


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "brotli", "lz4", "none"])
def test_pages_are_compressed_as_asked(compression):
    file = pq.ParquetFile(io.BytesIO(encode([{"a": 1}], Parquet(compression=compression))))
    found = file.metadata.row_group(0).column(0).compression
    assert found.lower() == {"none": "uncompressed"}.get(compression, compression)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 9, 10, 11, 3000])
def test_groups_have_their_number_of_rows(count):
    rows = [(n,) for n in range(count)]
    file = pq.ParquetFile(io.BytesIO(encode(rows, Parquet(row_group_rows=5), ["n"])))
    groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert groups == [5] * (count // 5) + [count % 5] * bool(count % 5)
    batches = list(pa.ipc.open_stream(encode(rows, Arrow(batch_rows=5), ["n"])))
    assert [len(batch) for batch in batches] == groups
    assert [n for batch in batches for n in batch["n"].to_pylist()] == list(range(count))


def test_large_rows_make_smaller_groups_the_same_ones_for_every_batch_size():
    rows = [
        {"n": n, "text": chr(65 + n % 26) * 10_000, "list": [n], "none": None if n % 3 else n / 2}
        for n in range(3000)
    ]
    files = {size: encode(rows, "parquet", None, size) for size in (7, 512, 1000, 3000)}
    assert len(set(files.values())) == 1
    file = pq.ParquetFile(io.BytesIO(files[7]))
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [
        1024,
        1024,
        952,
    ]
    assert file.read().to_pylist() == rows


@both
def test_a_batch_of_arrow_data_passes_as_it_is(format, read):
    schema = pa.schema(
        [("a", pa.int8()), ("b", pa.dictionary(pa.int32(), pa.string())), ("c", pa.string_view())]
    )
    tables = [
        pa.table(
            [
                pa.array([n, 2, None]),
                pa.array(["x", None, f"y{n}"]).dictionary_encode(),
                ["a", "b", None],
            ],
            ["a", "b", "c"],
        )
        for n in range(3)
    ]
    batches = [Batch(table.cast(schema).to_batches()[0]) for table in tables]
    encoder = format().encoder(None)
    data = encoder.begin() + b"".join(map(encoder.feed, batches)) + encoder.end()
    assert not any(batch.iterated for batch in batches)
    table = read(data)
    assert table.to_pylist() == [row for batch in batches for row in batch.record.to_pylist()]
    assert table.schema.field("a").type == pa.int8()


class Batch:
    """A batch of Arrow data as sources give it."""

    def __init__(self, record):
        self.record = record
        self.columns = record.schema.names
        self.iterated = False

    def __len__(self):
        return len(self.record)

    def __iter__(self):
        self.iterated = True
        return iter([tuple(row.values()) for row in self.record.to_pylist()])

    def __getitem__(self, at):
        return Batch(self.record[at])

    def __arrow_c_array__(self, requested_schema=None):
        return self.record.__arrow_c_array__(requested_schema)


@both
def test_a_batch_of_arrow_data_of_another_schema_is_refused_if_it_does_not_fit(format, read):
    encoder = format().encoder(None)
    encoder.feed(Batch(pa.record_batch({"a": pa.array([1], pa.int8())})))
    encoder.feed(Batch(pa.record_batch({"a": pa.array([2], pa.int64())})))
    for bad in ({"a": pa.array([300])}, {"b": pa.array([1])}):
        with pytest.raises(RowError, match="row 1: begins a batch of Arrow data that does not fit"):
            encoder.feed(Batch(pa.record_batch(bad)))
    assert read(encoder.end())["a"].to_pylist() == [1, 2]


@both
def test_chosen_columns_are_taken_from_arrow_data(format, read):
    encoder = format().encoder(["b", "a"])
    encoder.feed(Batch(pa.record_batch({"a": [1], "x": [2], "b": [3]})))
    assert read(encoder.end()).to_pylist() == [{"b": 3, "a": 1}]


@both
def test_an_empty_batch_of_arrow_data_names_the_columns(format, read):
    encoder = format().encoder(None)
    encoder.feed(Batch(pa.record_batch({"a": pa.array([], pa.int8())})))
    assert read(encoder.end()).schema.field("a").type == pa.int8()


def test_large_arrow_data_makes_the_same_groups_for_every_cut():
    """Of every kind of array, with bitmaps of nulls that slices share."""
    n = 20_000
    table = pa.table({
        "s": pa.array([None if i % 9 == 0 else "x" * (i % 1500) for i in range(n)]),
        "v": pa.array(["y" * (i % 20) for i in range(n)], pa.large_string()),
        "l": pa.array([None if i % 5 == 0 else [i] * (i % 4) for i in range(n)]),
        "st": pa.array([{"a": i, "b": "z"} for i in range(n)]),
        "d": pa.array([f"{i % 7}" for i in range(n)]).dictionary_encode(),
        "u": pa.array([bytes(16)] * n, pa.binary(16)),
        "n": pa.nulls(n),
        "b": pa.array([i % 2 == 0 for i in range(n)]),
    })  # fmt: skip
    files = set()
    for size in (1, 999, 1024, 5000, n):
        if size == 1:
            batches = [Batch(b) for b in table.slice(0, 50).to_batches(max_chunksize=1)]
            batches += [Batch(b) for b in table.slice(50).to_batches(max_chunksize=700)]
        else:
            batches = [Batch(b) for b in table.to_batches(max_chunksize=size)]
        encoder = Parquet().encoder(None)
        files.add(b"".join(map(encoder.feed, batches)) + encoder.end())
    assert len(files) == 1
    file = pq.ParquetFile(io.BytesIO(files.pop()))
    assert file.num_row_groups > 1
    assert file.read().equals(table)


ROWS = [
    {"id": n, "name": f"näme {n}", "ratio": n / 8, "ok": n % 3 == 0, "day": datetime.date(2026, 1, 1 + n % 28),
     "price": decimal.Decimal(n) / 4, "none": None, "list": [n, n + 1], "deep": {"a": n, "b": None if n % 2 else "x"}}
    for n in range(2500)
]  # fmt: skip


def by_duckdb(path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as con:
        con.execute("set python_enable_replacements=false")
        names = list(ROWS[0])
        return [
            dict(zip(names, row))
            for row in con.execute(f"select * from read_parquet('{path}')").fetchall()
        ]


def by_polars(path):
    polars = pytest.importorskip("polars")
    return (
        polars.read_parquet(path) if path.suffix == ".parquet" else polars.read_ipc_stream(path)
    ).to_dicts()


def by_pandas(path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(path, dtype_backend="pyarrow")
    return [{**row, "none": None} for row in pa.Table.from_pandas(frame).to_pylist()]


@pytest.mark.parametrize("reader", [by_duckdb, by_polars, by_pandas])
@pytest.mark.parametrize("compression", ["snappy", "zstd"])
def test_parquet_is_read_back_equal_by(reader, compression, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(encode(ROWS, Parquet(row_group_rows=1000, compression=compression), None, 300))
    assert reader(path) == ROWS


def node(script, package, path):
    folder = NPM / package / "node_modules" / package.split("@")[0]
    if not folder.exists():
        pytest.skip(f"{package} is not there; `make test` fetches it")
    script = ROOT / "tests" / "readers" / script
    done = subprocess.run(
        ["node", script, folder, path], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_parquet_is_read_back_equal_by_hyparquet(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(encode(ROWS, Parquet(row_group_rows=1000), None, 300))
    rows = node("parquet.mjs", "hyparquet@1.33.0", path)
    assert rows == [
        {**row, "day": f"{row['day']}T00:00:00.000Z", "price": float(row["price"])} for row in ROWS
    ]


def test_arrow_is_read_back_equal_by_polars(tmp_path):
    path = tmp_path / "a.arrows"
    path.write_bytes(encode(ROWS, Arrow(batch_rows=1000), None, 300))
    assert by_polars(path) == ROWS


def test_arrow_is_read_back_equal_by_nanoarrow():
    nanoarrow = pytest.importorskip("nanoarrow")
    data = encode(ROWS, Arrow(batch_rows=1000), None, 300)
    names = [
        name for name in ROWS[0] if name not in {"price", "none"}
    ]  # It has no Python form of these.
    array = nanoarrow.ArrayStream.from_readable(data).read_all()
    columns = {
        name: array.child(position).to_pylist()
        for position, name in enumerate(ROWS[0])
        if name in names
    }
    assert columns == {name: [row[name] for row in ROWS] for name in names}


def test_arrow_is_read_back_equal_by_apache_arrow_for_javascript(tmp_path):
    path = tmp_path / "a.arrows"
    path.write_bytes(encode(ROWS, Arrow(batch_rows=1000), None, 300))
    read = node("arrow.cjs", "apache-arrow@21.2.0", path)
    assert read["batches"] == 3
    names = list(ROWS[0])
    for name in ("id", "name", "ratio", "ok", "none", "deep", "list"):
        at = names.index(name)
        assert [row[at] for row in read["rows"]] == [row[name] for row in ROWS], name
    day, price = names.index("day"), names.index("price")
    epoch = datetime.date(1970, 1, 1)
    assert [row[day] for row in read["rows"]] == [
        (row["day"] - epoch).days * 86_400_000 for row in ROWS
    ]
    assert read["types"][price] == "Decimal[38e+2]"


cells = st.one_of(
    st.none(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-1000, max_value=1000, places=3),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans(),
    st.lists(
        st.one_of(st.none(), st.integers(), st.text(st.characters(exclude_categories=["Cs"]))),
        max_size=3,
    ),
)


@both
@settings(max_examples=200)
@given(values=st.lists(cells, min_size=1, max_size=12), size=st.integers(1, 12))
def test_any_values_come_back_equal_or_are_refused_alike_for_every_batch_size(
    format, read, values, size
):
    rows = [(value,) for value in values]

    def outcome(size):
        try:
            return encode(rows, format(), ["v"], size)
        except RowError as error:
            return str(error).rpartition(": ")[0]

    data = outcome(size)
    assert (type(data), type(outcome(1))) in {(bytes, bytes), (str, str)}
    if isinstance(data, bytes):
        assert data == outcome(1)
        assert read(data)["v"].to_pylist() == values


ZOO = zoo(pa)


@both
@pytest.mark.parametrize("name", ZOO)
def test_every_type_of_arrow_goes_through_or_is_refused_with_column_and_way_out(format, read, name):
    record = pa.record_batch({"n": pa.array([1, 2]), "v": ZOO[name]})
    encoder = format().encoder(None)
    if format is Parquet and name in NOT_IN_PARQUET:
        with pytest.raises(
            RowError, match=r"row 1, column 'v': Parquet cannot carry .*format='arrow'"
        ):
            encoder.feed(Batch(record))
        with pytest.raises(UsageError, match="schema, column 'v': Parquet cannot carry"):
            Parquet(record.schema).encoder(None)
        return
    # Twice a part, and then enough for a block to be measured.
    data = b"".join(encoder.feed(Batch(record)) for _ in range(600)) + encoder.end()
    table = read(data)
    expected = pa.Table.from_batches([record] * 600)
    if format is Parquet and name in OTHER_IN_PARQUET:
        assert str(table.schema.field("v").type) == OTHER_IN_PARQUET[name]
        expected = expected.cast(table.schema)
    assert table.equals(expected)


@both
def test_memory_holds_one_group_however_many_rows_there_are(format, read):
    encoder = format().encoder(["n", "text"])
    batch = [(n, f"text {n}" * 10) for n in range(1024)]
    before = pa.total_allocated_bytes()
    peaks = []
    for _ in range(3):
        peak = 0
        for _ in range(150):
            encoder.feed(batch)
            peak = max(peak, pa.total_allocated_bytes() - before)
        peaks.append(peak)
    assert max(peaks) < 3 * 2**23
    assert peaks[2] < 1.1 * peaks[0]
