import gc
import weakref

import arrow_zoo
import pyarrow as pa
import pytest

from unspool import kernel
from unspool.errors import NotIterable, RowError
from unspool.sources import arrow_values
from unspool.sources.arrow import ArrowReader

ZOO = list(arrow_zoo.all_columns())
IDS = [f"{at} {name}" for at, (name, _, _) in enumerate(ZOO)]


@pytest.fixture(params=["kernel", "pyarrow"])
def way(request, monkeypatch):
    if request.param == "pyarrow":
        monkeypatch.setattr(kernel, "ArrowStream", None)
    return request.param


class Exporter:
    """Nothing but a stream, as other libraries see it."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def batches(table, want):
    reader = ArrowReader(Exporter(table))
    while len(batch := reader.read_batch(want)):
        yield batch
    reader.close()


def same(left, right):
    """Equal, in type too, and NaN is itself."""
    return repr(left) == repr(right) and str(left) == str(right)


@pytest.mark.parametrize(("name", "column", "values"), ZOO, ids=IDS)
def test_rows_have_the_values_of_python(name, column, values, way):
    rows = [row for batch in batches(pa.table({"a": column}), 3) for row in batch]
    assert same(rows, [(value,) for value in values])
    assert list(map(type, rows)) == [tuple] * len(values)


@pytest.mark.parametrize(("name", "column", "values"), ZOO, ids=IDS)
def test_any_part_of_a_column_is_the_same_part_of_its_values(name, column, values):
    for start in range(len(values)):
        for stop in range(start, min(len(values), start + 4)):
            part = pa.table({"a": column.slice(start, stop - start)})
            rows = [row for batch in batches(part, 2) for row in batch]
            assert same(rows, [(value,) for value in values[start:stop]])


@pytest.mark.parametrize(
    ("name", "column", "what"), arrow_zoo.unfit(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_value_that_python_does_not_have_is_named(name, column, what, way):
    with pytest.raises(RowError, match=what) as raised:
        [list(batch) for batch in batches(pa.table({"ok": [1, 2], "bad": column}), 10)]
    assert (raised.value.row, raised.value.column) == (2, "bad")


def test_a_batch_is_a_sequence_with_names():
    (batch,) = batches(pa.table({"n": range(10), "s": ["x"] * 10}), 100)
    assert (len(batch), batch.columns) == (10, ("n", "s"))
    assert batch[3] == (3, "x")
    assert batch[-1] == (9, "x")
    assert list(batch[2:4]) == [(2, "x"), (3, "x")]
    assert list(batch[2:8][1:3]) == [(3, "x"), (4, "x")]
    assert batch[2:4].columns == ("n", "s")
    assert batch[::4] == [(0, "x"), (4, "x"), (8, "x")]
    assert len(batch[5:2]) == 0
    with pytest.raises(IndexError):
        batch[10]


def test_no_part_of_a_batch_is_made_rows_before_it_is_asked_for():
    (batch,) = batches(pa.table({"n": range(10)}), 100)
    part = batch[2:4]
    assert list(part) == [(2,), (3,)]
    assert (batch.made, part.made) == (False, True)


@pytest.mark.parametrize("want", [1, 2, 3, 10, 100])
def test_batches_have_about_as_many_rows_as_are_wanted(want):
    table = pa.concat_tables([pa.table({"n": range(at, at + 10)}) for at in (0, 10, 20)])
    sizes = [len(batch) for batch in batches(table, want)]
    assert sum(sizes) == 30
    assert max(sizes) <= max(1.5 * want, 1)
    assert [n for batch in batches(table, want) for (n,) in batch] == list(range(30))


def test_empty_batches_are_left_out_and_names_stay(way):
    schema = pa.schema({"n": pa.int64(), "s": pa.string()})
    empty = schema.empty_table().to_batches(max_chunksize=1) or [
        pa.RecordBatch.from_pylist([], schema)
    ]
    some = pa.RecordBatch.from_pylist([{"n": 1, "s": "a"}], schema)
    table = pa.Table.from_batches([*empty, some, *empty, some, *empty], schema)
    assert [list(batch) for batch in batches(table, 5)] == [[(1, "a")], [(1, "a")]]
    reader = ArrowReader(schema.empty_table())
    assert len(reader.read_batch(5)) == 0
    assert reader.columns == ("n", "s")


def test_rows_without_columns_are_counted(way):
    table = pa.table({"n": [1, 2, 3]}).select([])
    assert [row for batch in batches(table, 1) for row in batch] == [(), (), ()]


def test_a_stream_of_single_values_is_refused():
    with pytest.raises(NotIterable, match="it is one column"):
        ArrowReader(pa.chunked_array([[1, 2]])).read_batch(1)


def test_offsets_beyond_two_gigabytes_are_followed():
    """Two values, the second behind a hole of 2^31 bytes that nobody touches."""
    import mmap

    hole = mmap.mmap(-1, 2**31 + 16)
    hole[:2] = b"ab"
    hole[2**31 + 8 : 2**31 + 11] = b"end"
    offsets = pa.array([0, 2, 2**31 + 8, 2**31 + 11], pa.int64()).buffers()[1]
    text = pa.LargeStringArray.from_buffers(3, offsets, pa.py_buffer(hole))
    first, last = pa.table({"s": text.slice(0, 1)}), pa.table({"s": text.slice(2, 1)})
    assert encode_columns(first) == b"s\r\nab\r\n"
    assert encode_columns(last) == b"s\r\nend\r\n"


def encode_columns(table, format="csv"):
    return encode_batches(format, batches(table, 1000))


def encode_batches(format, some):
    from unspool.formats import find

    encoder = find(format).encoder(None)
    return encoder.begin() + b"".join(map(encoder.feed, some)) + encoder.end()


class Released:
    """Counts how often the arrays of a stream were given back: once, when nothing holds them."""

    def __init__(self, batches=3, rows=10, fails_at=None):
        self.given, self.freed = 0, []
        schema = pa.schema({"n": pa.int64()})

        def record(at):
            if at == fails_at:
                raise LookupError("the query failed")
            data = Data(8 * rows)
            weakref.finalize(data, self.freed.append, at)
            self.given += 1
            column = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(data)])
            return pa.RecordBatch.from_arrays([column], schema=schema)

        self.reader = pa.RecordBatchReader.from_batches(
            schema, (record(at) for at in range(batches))
        )


class Data(bytearray):
    __slots__ = ("__weakref__",)


def free(counts):
    gc.collect()
    return counts.given, sorted(counts.freed)


def test_record_batches_are_given_back_one_by_one():
    counts = Released()
    reader = ArrowReader(Exporter(counts.reader))
    first = reader.read_batch(10)
    reader.read_batch(10)
    assert free(counts) == (2, [])
    part = first[2:4]
    del first
    assert free(counts) == (2, [])
    assert list(part) == [(0,), (0,)]
    del part
    assert free(counts) == (2, [0])
    reader.close()
    assert free(counts) == (2, [0, 1])


def test_a_failed_stream_is_given_back_and_its_error_passes():
    counts = Released(fails_at=1)
    reader = ArrowReader(Exporter(counts.reader))
    assert len(reader.read_batch(100)) == 10
    with pytest.raises((LookupError, OSError), match="the query failed"):
        reader.read_batch(100)
    reader.close()
    assert free(counts) == (1, [0])


def test_what_was_read_outlives_the_reader():
    counts = Released()
    reader = ArrowReader(Exporter(counts.reader))
    batch = reader.read_batch(5)
    reader.close()
    del reader
    assert list(batch) == [(0,)] * 5
    assert free(counts) == (1, [])
    del batch
    assert free(counts) == (1, [0])


def test_a_stream_that_was_never_read_is_never_asked_for(way):
    class Untouched(Exporter):
        asked = closed = 0

        def __arrow_c_stream__(self, requested_schema=None):
            self.asked += 1
            return super().__arrow_c_stream__(requested_schema)

        def close(self):
            self.closed += 1

    source = Untouched(pa.table({"n": [1]}))
    ArrowReader(source).close()
    assert (source.asked, source.closed) == (0, 1)
    reader = ArrowReader(source)
    list(reader.read_batch(1))
    reader.close()
    assert (source.asked, source.closed) == (1, 2)


def test_a_capsule_is_used_once():
    capsule = pa.table({"n": [1]}).__arrow_c_stream__()
    kernel.ArrowStream(capsule, arrow_values)
    with pytest.raises(ValueError, match="used before"):
        kernel.ArrowStream(capsule, arrow_values)


def test_reading_after_the_close_raises():
    stream = kernel.ArrowStream(pa.table({"n": [1]}).__arrow_c_stream__(), arrow_values)
    stream.close()
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_a_column_named_close_is_no_method():
    import pandas

    frame = pandas.DataFrame({"open": [1.5], "close": [2.5]})
    assert encode_columns(frame) == b"open,close\r\n1.5,2.5\r\n"


def test_polars_duckdb_and_nanoarrow_export_to_it():
    import duckdb
    import nanoarrow
    import polars

    frame = polars.DataFrame({"n": [1, None], "s": ["a", "long enough to be no inline view"]})
    expected = b"n,s\r\n1,a\r\n,long enough to be no inline view\r\n"
    assert encode_columns(frame) == expected
    with duckdb.connect() as connection:
        connection.register("frame", frame.to_arrow())
        assert encode_columns(connection.sql("select * from frame")) == expected
    stream = nanoarrow.ArrayStream(frame)
    assert encode_columns(stream) == expected


def test_polars_integers_of_128_bits():
    import polars

    values = [2**127 - 1, -(2**127), 0, None]
    frame = polars.DataFrame({"n": polars.Series(values, dtype=polars.Int128)})
    assert [row for batch in batches(frame, 10) for row in batch] == [(v,) for v in values]


def test_a_null_row_is_refused():
    rows = pa.StructArray.from_arrays([pa.array([1, 2])], names=["n"], mask=pa.array([False, True]))
    with pytest.raises(ValueError, match="row 2 of an Arrow batch is null"):
        list(batches(pa.chunked_array([rows]), 10))


@pytest.mark.parametrize(("name", "column", "values"), ZOO, ids=IDS)
def test_other_libraries_take_a_batch_as_it_is(name, column, values):
    table = pa.table({"a": column, "n": range(len(column))})
    for start in range(min(len(values), 3)):
        (batch,) = batches(table.slice(start), 100)
        again = pa.record_batch(batch[1:] if start else batch)
        again.validate(full=True)
        assert again.schema == table.schema
        part = table.slice(start + 1 if start else 0)
        assert repr(again.column("a").to_pylist()) == repr(part.column("a").to_pylist())


def test_what_another_library_took_outlives_the_batch():
    counts = Released()
    reader = ArrowReader(Exporter(counts.reader))
    batch = reader.read_batch(5)
    taken = pa.record_batch(batch[1:])
    column = taken.column(0)
    unused = batch.__arrow_c_array__()
    reader.close()
    del reader, batch, taken
    assert free(counts) == (1, [])
    assert column.to_pylist() == [0] * 4
    del column
    assert free(counts) == (1, [])
    del unused
    assert free(counts) == (1, [0])


@pytest.mark.parametrize("format", ["arrow", "parquet"])
def test_arrow_and_parquet_take_batches_whole(format):
    import io

    import pyarrow.parquet as pq

    from unspool import Stream, wsgi

    table = pa.table(
        {"n": range(5000), "s": [f"text {n}" for n in range(5000)], "d": [arrow_zoo.DAY] * 5000}
    )
    data = b"".join(wsgi.open_chunks(Stream(table, format), {}))
    if format == "arrow":
        assert pa.ipc.open_stream(data).read_all() == table
    else:
        assert pq.read_table(io.BytesIO(data)).equals(table)
