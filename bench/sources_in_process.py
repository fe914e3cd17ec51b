"""Each database to the bytes of CSV, in one process: the naive way and ours, as CPU seconds.

Starts its own PostgreSQL and MariaDB (see tests/databases.py). The table has ten columns, as in
the other benchmarks. Each way runs in a process of its own; that process's CPU counts, not the
database server's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

TABLE = """CREATE TABLE t AS SELECT {i} AS id, {concat}('name ', {i}) AS name,
{concat}('city "x", ', {mod}) AS city, md5({text}) AS digest, {i} * 7 AS n, {i} / {three} AS a,
{i} * {half} AS b, {date} AS d, {time} AS ts,
CASE WHEN {mod} = 0 THEN 'plain' ELSE 'other' END AS kind FROM {rows}"""

WORDS = {
    "postgres": {
        "i": "i",
        "concat": "concat",
        "mod": "mod(i, 20)",
        "text": "i::text",
        "three": "3.0::float8",
        "half": "1.5::float8",
        "date": "date '2020-01-01' + mod(i, 1000)",
        "time": "timestamp '2020-01-01' + i * interval '1 second'",
        "rows": "generate_series(1, {n}) i",
    },
    "mysql": {
        "i": "seq",
        "concat": "concat",
        "mod": "mod(seq, 20)",
        "text": "seq",
        "three": "3.0e0",
        "half": "1.5e0",
        "date": "date('2020-01-01') + INTERVAL mod(seq, 1000) DAY",
        "time": "timestamp('2020-01-01') + INTERVAL seq SECOND",
        "rows": "seq_1_to_{n}",
    },
    "duckdb": {
        "i": "i",
        "concat": "concat",
        "mod": "i % 20",
        "text": "i::text",
        "three": "3.0::double",
        "half": "1.5::double",
        "date": "date '2020-01-01' + (i % 1000)::int",
        "time": "timestamp '2020-01-01' + i * interval '1 second'",
        "rows": "range(1, {n} + 1) r(i)",
    },
}

SQL = "SELECT * FROM t"


def table(database: str, rows: int) -> str:
    words = WORDS[database]
    return TABLE.format(**{**words, "rows": words["rows"].format(n=rows)})


def naive(rows: Iterable[Any]) -> Iterator[bytes]:
    for row in rows:
        yield (",".join(map(str, row)) + "\n").encode()


def ours(rows: Any) -> Iterator[bytes]:
    from unspool import Stream, wsgi

    return wsgi.open_chunks(Stream(rows), {})


async def async_ours(rows: Any) -> int:
    from unspool import Stream, asgi

    chunks, size = asgi.open_chunks(Stream(rows)), 0
    async for chunk in chunks:
        size += len(chunk)
    await chunks.aclose()
    return size


def size(chunks: Iterable[bytes]) -> int:
    return sum(map(len, chunks))


def postgres_naive(url: str) -> int:
    import psycopg

    with psycopg.connect(url) as connection, connection.cursor("c") as cursor:
        cursor.itersize = 2000
        return size(naive(cursor.execute(SQL)))


def by_postgres(call: str) -> Callable[[str], int]:
    def run(url: str) -> int:
        import psycopg

        from unspool.sources import postgres

        return size(ours(getattr(postgres, call)(lambda: psycopg.connect(url), SQL)))

    return run


def by_psycopg2(url: str) -> int:
    import psycopg2

    from unspool.sources import postgres

    return size(ours(postgres.query(lambda: psycopg2.connect(url), SQL)))


def by_async(driver: str, call: str) -> Callable[[str], int]:
    def run(url: str) -> int:
        import asyncpg
        import psycopg

        from unspool.sources import postgres

        connect = {"asyncpg": asyncpg.connect, "psycopg": psycopg.AsyncConnection.connect}[driver]

        async def go() -> int:
            connection = await connect(url)
            try:
                return await async_ours(getattr(postgres, call)(connection, SQL))
            finally:
                await connection.close()

        return asyncio.run(go())

    return run


def by_sqlalchemy(url: str) -> int:
    import sqlalchemy

    from unspool.sources import sqlalchemy as source

    engine = sqlalchemy.create_engine(url.replace("://", "+psycopg://"))
    return size(ours(source.query(engine, SQL)))


def mysql_naive(driver: str) -> Callable[[str], int]:
    def run(settings: str) -> int:
        connection = mysql_driver(driver).connect(**json.loads(settings))
        kinds = getattr(mysql_driver(driver), "cursors", None)
        cursor = connection.cursor(kinds.SSCursor) if kinds else connection.cursor()
        cursor.execute(SQL)
        return size(naive(cursor))

    return run


def mysql_ours(driver: str) -> Callable[[str], int]:
    def run(settings: str) -> int:
        from unspool.sources import mysql

        connect = mysql_driver(driver).connect
        return size(ours(mysql.query(lambda: connect(**json.loads(settings)), SQL)))

    return run


def mysql_driver(name: str) -> Any:
    from importlib import import_module

    module = import_module(name)
    if name != "mysql.connector":
        import_module(f"{name}.cursors")
    return module


def sqlite_naive(path: str) -> int:
    import sqlite3

    return size(naive(sqlite3.connect(path).execute(SQL)))


def sqlite_ours(path: str) -> int:
    from unspool.sources import sqlite

    return size(ours(sqlite.query(path, SQL)))


def duckdb_naive(path: str) -> int:
    import duckdb

    result = duckdb.connect(path).execute(SQL)
    return size(naive(row for rows in iter(lambda: result.fetchmany(1000), []) for row in rows))


def duckdb_ours(path: str) -> int:
    import duckdb

    from unspool.sources import duckdb as source

    return size(ours(source.query(lambda: duckdb.connect(path), SQL)))


def parquet_ours(path: str) -> int:
    from unspool.sources import files

    return size(ours(files.parquet(path)))


def polars_ours(path: str) -> int:
    import polars

    return size(ours(polars.scan_parquet(path)))


# database, way, function. The first of each database is the naive one.
WAYS: list[tuple[str, str, Callable[[str], int]]] = [
    ("postgres", "naive: psycopg named cursor, join per row", postgres_naive),
    ("postgres", "query, psycopg", by_postgres("query")),
    ("postgres", "query, psycopg2", by_psycopg2),
    ("postgres", "query, asyncpg", by_async("asyncpg", "query")),
    ("postgres", "query, SQLAlchemy", by_sqlalchemy),
    ("postgres", "copy, psycopg", by_postgres("copy")),
    ("postgres", "copy, async psycopg", by_async("psycopg", "copy")),
    ("postgres", "copy, asyncpg", by_async("asyncpg", "copy")),
    ("mysql", "naive: PyMySQL SSCursor, join per row", mysql_naive("pymysql")),
    ("mysql", "query, PyMySQL", mysql_ours("pymysql")),
    ("mysql", "query, mysqlclient", mysql_ours("MySQLdb")),
    ("mysql", "query, MySQL Connector", mysql_ours("mysql.connector")),
    ("sqlite", "naive: cursor, join per row", sqlite_naive),
    ("sqlite", "query", sqlite_ours),
    ("duckdb", "naive: fetchmany(1000), join per row", duckdb_naive),
    ("duckdb", "query", duckdb_ours),
    ("parquet", "naive: DuckDB, as above", duckdb_naive),
    ("parquet", "files.parquet (pyarrow)", parquet_ours),
    ("parquet", "Polars scan_parquet", polars_ours),
]


def measure(index: int, place: str) -> dict[str, float]:
    """CPU and wall seconds and MiB of growth, of one way in a fresh process."""
    command = [sys.executable, __file__, "--way", str(index), "--place", place]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def run_one(index: int, place: str) -> None:
    _, _, function = WAYS[index]
    cpu, wall = time.process_time(), time.perf_counter()
    length = function(place)
    result = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({**result, "bytes": length, "peak": int(peak.split()[1]) / 1024}))


def make_files(folder: Path, rows: int) -> dict[str, str]:
    import sqlite3

    import duckdb

    places = {kind: str(folder / kind) for kind in ("sqlite", "duckdb", "parquet")}
    with duckdb.connect(places["duckdb"]) as connection:
        connection.execute(table("duckdb", rows))
        connection.execute(f"COPY t TO '{places['parquet']}' (FORMAT parquet)")
        result = connection.execute("SELECT * REPLACE (d::text AS d, ts::text AS ts) FROM t")
        other = sqlite3.connect(places["sqlite"])
        other.execute("CREATE TABLE t (id, name, city, digest, n, a, b, d, ts, kind)")
        while batch := result.fetchmany(10_000):
            other.executemany("INSERT INTO t VALUES (?,?,?,?,?,?,?,?,?,?)", batch)
        other.commit()
        other.close()
    return places


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--way", type=int)
    arguments.add_argument("--place")
    args = arguments.parse_args()
    if args.way is not None:
        return run_one(args.way, args.place)

    import databases
    import psycopg
    import pymysql

    with (
        tempfile.TemporaryDirectory() as folder,
        databases.postgres() as url,
        databases.mariadb() as settings,
    ):
        with psycopg.connect(url) as connection:
            connection.execute(table("postgres", args.rows))
        with pymysql.connect(**settings) as connection:
            connection.cursor().execute(table("mysql", args.rows))
            connection.commit()
        places = {
            "postgres": url,
            "mysql": json.dumps(settings),
            **make_files(Path(folder), args.rows),
        }
        print_table(places, args.rows)
    return None


def print_table(places: dict[str, str], rows: int) -> None:
    base: dict[str, float] = {}
    print(f"{rows:,} rows; CPU and wall seconds a million rows; Python {sys.version.split()[0]},")
    print(f"{os.cpu_count()} cores")
    print("database  way                                          CPU    wall  peak MiB  x naive")
    for index, (database, way, _) in enumerate(WAYS):
        place = places["duckdb" if way.startswith("naive: DuckDB, as") else database]
        result = measure(index, place)
        cpu, wall = (result[name] / rows * 1e6 for name in ("cpu", "wall"))
        base.setdefault(database, cpu)
        ratio = base[database] / cpu
        print(f"{database:9} {way:42} {cpu:6.2f} {wall:7.2f} {result['peak']:9.0f} {ratio:8.2f}")


if __name__ == "__main__":
    main()
