"""Ten million rows: read back by three readers, and the server's memory stays flat."""

import csv
import subprocess
from pathlib import Path

import duckdb
import pandas
import pytest

ROWS = 10_000_000
FLIGHTS = Path(__file__).parents[2] / ".cache" / "flights.duckdb"


@pytest.fixture(scope="module")
def flights(example, tmp_path_factory):
    path = tmp_path_factory.mktemp("flights") / "flights.csv"
    subprocess.run(
        [
            "curl",
            "-sf",
            "--noproxy",
            "*",
            "-o",
            str(path),
            f"{example.url}/flights.csv?rows={ROWS}",
        ],
        check=True,
    )
    return path


def test_duckdb_reads_back_every_row_as_it_is_in_the_database(flights):
    con = duckdb.connect()
    con.execute(f"attach '{FLIGHTS}' as db (read_only)")
    con.execute(
        "create table got as select * from read_csv(?, header=true, all_varchar=true, nullstr='')",
        [str(flights)],
    )
    assert con.execute("select count(*), count(distinct id) from got").fetchone() == (ROWS, ROWS)
    columns = "carrier, flight, tailnum, origin, dest, dep_delay, air_time, distance".split(", ")
    differs = " or ".join(f"g.{name} is distinct from f.{name}::varchar" for name in columns)
    (total,) = con.execute("select count(*) from db.flights").fetchone()
    joined, different = con.execute(
        f"""
        with f as (select * exclude day, make_date(year, month, day) as day, rowid as place from db.flights),
             g as (select *, (id::bigint - 1) % {total} as place from got)
        select count(*), count(*) filter ({differs} or g.day is distinct from f.day::varchar)
        from g join f using (place)
        """
    ).fetchone()
    assert (joined, different) == (ROWS, 0)
    con.close()


def test_pythons_csv_reader_reads_back_every_row(flights):
    with flights.open(newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        count = 0
        for row in reader:
            count += 1
            if len(row) != len(header) or row[0] != str(count):
                raise AssertionError((count, row))
    assert count == ROWS


def test_pandas_reads_back_every_row(flights):
    count = 0
    for frame in pandas.read_csv(flights, chunksize=1_000_000):
        assert frame["id"].tolist() == list(range(count + 1, count + 1 + len(frame)))
        assert frame["distance"].min() > 0
        count += len(frame)
    assert count == ROWS


def test_the_servers_memory_is_flat_from_ten_thousand_to_ten_million_rows(gunicorn, curl):
    assert curl(f"{gunicorn.url}/rows.csv?n=10000", "-o", "/dev/null")[0] == 0
    small = gunicorn.peak_kib()
    assert curl(f"{gunicorn.url}/rows.csv?n={ROWS}", "-o", "/dev/null")[0] == 0
    growth_mib = (gunicorn.peak_kib() - small) / 1024
    print(f"peak memory grew {growth_mib:.1f} MiB")
    assert growth_mib < 8
