"""CSV read back by readers that others wrote: Python's csv, DuckDB and pandas."""

import csv
import io
import json
from pathlib import Path

import pytest
from helpers import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from unspool import Csv

duckdb = pytest.importorskip("duckdb")
pandas = pytest.importorskip("pandas")

# `make test` fetches it; see the Makefile.
SPECTRUM = (
    Path(__file__).parents[2] / ".cache/npm/csv-spectrum@2.0.0/node_modules/csv-spectrum/json"
)


def by_python(data, path):
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def by_duckdb(data, path):
    path.write_bytes(data)
    with duckdb.connect() as con:
        read = "select * from read_csv(?, header=false, all_varchar=true, sep=',', quote='\"', escape='\"', nullstr='NO NULLS', new_line='\\r\\n', null_padding=false, parallel=false, max_line_size=10000000)"
        return [list(row) for row in con.execute(read, [str(path)]).fetchall()]


def by_pandas(data, path):
    frame = pandas.read_csv(
        io.BytesIO(data),
        header=None,
        dtype=str,
        keep_default_na=False,
        skip_blank_lines=False,
        lineterminator=None,
    )
    return frame.values.tolist()


READERS = [by_python, by_duckdb, by_pandas]


def spectrum():
    """Name, and rows as the JSON beside each CSV file has them."""
    for path in SPECTRUM.iterdir():
        yield path.stem, json.loads(path.read_text("utf-8"))


@pytest.mark.skipif(
    not SPECTRUM.exists(), reason="csv-spectrum is not there; `make test` fetches it"
)
@pytest.mark.parametrize("reader", READERS)
def test_csv_spectrum_goes_through_and_comes_back(reader, tmp_path):
    names = set()
    for name, rows in spectrum():
        rows = rows if isinstance(rows, list) else [rows]
        columns = list(rows[0])
        got = reader(encode(rows, "csv"), tmp_path / "a.csv")
        assert got == [columns, *([str(row[column]) for column in columns] for row in rows)], name
        names.add(name)
    assert len(names) == 12


# The characters that CSV is about, and all others.
texts = st.text(
    st.sampled_from(",\"\r\n;' \té")
    | st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
)
tables = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.tuples(*[texts] * width), min_size=1, max_size=12)
)


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=150)
@given(rows=tables, size=st.integers(1, 12))
def test_any_text_comes_back_from_any_batch_size(reader, rows, size, tmp_path_factory):
    data = encode(rows, Csv(), None, size)
    got = reader(data, tmp_path_factory.getbasetemp() / "any.csv")
    assert got == [list(row) for row in rows]
