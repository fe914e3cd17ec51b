"""Frames of Polars, and Parquet and CSV files."""

import datetime
import decimal
import importlib.util

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources.reading import AT_ONCE_S, abandon, answer, drained, failing, memory

from unspool import UsageError
from unspool.sources import files
from unspool.sources import polars as source

ROWS = 150_000


@pytest.fixture(params=["pyarrow", "duckdb"])
def package(request, monkeypatch):
    """Which of the two is there."""
    find = importlib.util.find_spec
    if request.param == "duckdb":
        monkeypatch.setattr(files, "find_spec", lambda name: name != "pyarrow" and find(name))
    return request.param


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "many.parquet"
    duckdb.sql(
        f"COPY (SELECT range AS id, 'name ' || range AS name, md5(range::text) AS digest,"
        f" range / 4 AS part FROM range({ROWS})) TO '{path}' (ROW_GROUP_SIZE 20000)"
    )
    return path


def test_a_parquet_file_gives_its_rows(parquet, package):
    lines = answer(files.parquet(parquet)).decode().split("\r\n")
    assert lines[0] == "id,name,digest,part"
    assert lines[2] == "1,name 1,c4ca4238a0b923820dcc509a6f75849b,0.25"
    assert len(lines) == ROWS + 2


def test_some_columns_of_a_parquet_file(parquet, package):
    body = answer(files.parquet(str(parquet), columns=["part", "id"]))
    assert body.startswith(b"part,id\r\n0.0,0\r\n0.25,1\r\n")


def test_values_keep_their_types(tmp_path, package):
    values = {
        "i": 1,
        "f": 0.5,
        "d": decimal.Decimal("1.10"),
        "t": "é",
        "when": datetime.datetime(2013, 1, 2, 3, 4, 5),
        "day": datetime.date(2013, 1, 2),
        "none": None,
        "list": [1, 2],
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([values]), path)
    rows = files.parquet(path)
    assert list(rows.read_batch(5)) == [tuple(values.values())]
    assert rows.columns == tuple(values)
    assert not len(rows.read_batch(5))
    rows.close()


def test_a_csv_file_gives_its_rows(tmp_path, package):
    path = tmp_path / "a.csv"
    path.write_text('id,name\n1,"a, b"\n2,c\n')
    assert answer(files.csv(path), "ndjson") == b'{"id":1,"name":"a, b"}\n{"id":2,"name":"c"}\n'


def test_a_file_that_is_not_there_is_what_the_package_says(tmp_path, package):
    sent, error = failing(files.parquet(tmp_path / "none.parquet"))
    assert sent == b""
    assert isinstance(error, (OSError, duckdb.IOException))
    assert type(failing(files.csv(tmp_path / "none.csv"))[1]) is type(error)


def test_a_value_that_does_not_fit_fails_late(tmp_path, package):
    path = tmp_path / "a.csv"
    path.write_text("id\n" + "".join(f"{n}\n" for n in range(1_000_000)) + "oops\n")
    sent, error = failing(files.csv(path))
    assert sent.startswith(b"id\r\n0\r\n1\r\n")
    assert "oops" in str(error)


def test_memory_does_not_grow_with_the_file(parquet, package):
    drained(files.parquet(parquet))
    with memory() as grown:
        assert drained(files.parquet(parquet)) > 5_000_000
    assert grown[0] < (30 if package == "pyarrow" else 80)  # DuckDB reads on all cores.


def test_closing_early_takes_no_time(parquet, package):
    sent, took_s = abandon(files.parquet(parquet))
    assert sent
    assert took_s < AT_ONCE_S


FRAME = pl.DataFrame({"id": [1, 2, 3], "name": ["a", "b", None]})


def test_a_frame_and_a_lazy_frame_are_recognised():
    expected = b"id,name\r\n1,a\r\n2,b\r\n3,\r\n"
    assert answer(FRAME) == expected
    assert answer(FRAME.lazy()) == expected


def test_frames_without_rows_have_their_header():
    assert answer(FRAME.filter(pl.col("id") > 5)) == b"id,name\r\n"
    assert answer(FRAME.lazy().filter(pl.col("id") > 5)) == b"id,name\r\n"


def test_a_big_frame_comes_whole_and_in_order():
    frame = pl.DataFrame({"n": range(50_000)})
    expected = "n\r\n" + "".join(f"{n}\r\n" for n in range(50_000))
    assert answer(frame).decode() == expected
    assert answer(frame.lazy()).decode() == expected


def test_a_lazy_frame_that_fails_is_what_polars_says():
    sent, error = failing(FRAME.lazy().select(pl.col("nothing")))
    assert sent == b""
    assert isinstance(error, pl.exceptions.ColumnNotFoundError)


def test_an_older_polars_cannot_do_it(monkeypatch):
    monkeypatch.delattr(pl.LazyFrame, "collect_batches")
    with pytest.raises(UsageError, match=r"1\.34 or newer"):
        source.reader_of(FRAME.lazy())


def test_memory_does_not_grow_with_a_lazy_frame(parquet):
    drained(pl.scan_parquet(parquet))
    with memory() as grown:
        assert drained(pl.scan_parquet(parquet)) > 5_000_000
    assert grown[0] < 60


def test_a_lazy_frame_that_is_left_stops():
    lazy = pl.LazyFrame({"n": range(5_000_000)}).with_columns(m=pl.col("n") * 2)
    sent, took_s = abandon(lazy)
    assert sent.startswith(b"n,m\r\n0,0\r\n")
    assert took_s < AT_ONCE_S
