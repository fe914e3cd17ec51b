"""Databases as CSV over HTTP: `stream` beside what people write, and the database's own tool.

For each database: the naive way (a cursor, join per row), the usual recipe (csv.writer in batches
of 1,000), the database's own command line tool, whose output is passed on, and ours. CPU is that
of the app with the tool, and apart from it that of the database server; ratios are of both
together. The query is the same for all; PostgreSQL and MariaDB are started here (see
tests/databases.py). The app has all cores, so that an answer can be made and sent at one time.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import common
from flask import Flask, Response, request
from sources_in_process import make_files, naive, table

from unspool.flask import stream

# No LIMIT: DuckDB would collect the result before it gives the first row.
SQL = "SELECT * FROM t WHERE id <= {rows}"
# Where each database is, for the app.
PLACES = json.loads(os.environ.get("BENCH_PLACES", "{}"))

app = Flask(__name__)


def wanted() -> int:
    return request.args.get("rows", type=int)


def recipe(cursor: Any) -> Iterator[str]:
    """What the manual of csv and the answers on the web come to: a batch at a time."""
    rows = [[column[0] for column in cursor.description]]
    while rows:
        file = io.StringIO()
        csv.writer(file).writerows(rows)
        yield file.getvalue()
        rows = cursor.fetchmany(1000)


def by_thousand(cursor: Any) -> Iterator[Any]:
    while rows := cursor.fetchmany(1000):
        yield from rows


def tool(*command: str, **environment: str) -> Iterator[bytes]:
    """What a program prints, as it comes."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, bufsize=0, env={**os.environ, **environment}
    ) as process:
        while data := process.stdout.read(1 << 16):
            yield data
    if process.returncode:
        raise OSError(f"{command[0]} failed")


def sqlite_cursor(sql: str) -> Any:
    import sqlite3

    return sqlite3.connect(PLACES["sqlite"], check_same_thread=False).execute(sql)


def sqlite_ours(sql: str) -> Any:
    from unspool.sources import sqlite

    return sqlite.query(PLACES["sqlite"], sql)


def sqlite_tool(sql: str) -> Iterator[bytes]:
    return tool("sqlite3", "-csv", "-header", PLACES["sqlite"], sql)


@cache
def duckdb_connection() -> Any:
    """One for the whole app, as it is with DuckDB: each answer has a cursor of it."""
    import duckdb

    return duckdb.connect(PLACES["duckdb"], read_only=True)


def duckdb_cursor(sql: str) -> Any:
    return duckdb_connection().cursor().execute(sql)


def duckdb_ours(sql: str) -> Any:
    from unspool.sources import duckdb

    return duckdb.query(duckdb_connection(), sql)


def duckdb_tool(sql: str) -> Iterator[bytes]:
    """COPY by a process of its own: DuckDB's command line tool is no Python package."""
    copy = f"COPY ({sql}) TO '/dev/stdout' (FORMAT csv)"
    program = "import duckdb, sys; duckdb.connect(sys.argv[1], read_only=True).execute(sys.argv[2])"
    return tool(sys.executable, "-c", program, PLACES["duckdb"], copy)


def of_parquet(sql: str) -> str:
    return sql.replace(" t ", f" read_parquet('{PLACES['parquet']}') ")


def parquet_ours(sql: str) -> Any:
    from unspool.sources import duckdb

    return duckdb.query(duckdb_connection(), of_parquet(sql))


def postgres_connection() -> Any:
    import psycopg

    return psycopg.connect(PLACES["postgres"])


def postgres_cursor(sql: str) -> Any:
    cursor = postgres_connection().cursor("bench")
    cursor.itersize = 2000
    return cursor.execute(sql)


def postgres_ours(sql: str) -> Any:
    from unspool.sources import postgres

    return postgres.query(postgres_connection, sql)


def postgres_copy(sql: str) -> Any:
    from unspool.sources import postgres

    return postgres.copy(postgres_connection, sql)


def postgres_tool(sql: str) -> Iterator[bytes]:
    return tool("psql", PLACES["postgres"], "-qc", f"COPY ({sql}) TO STDOUT (FORMAT csv, HEADER)")


def mariadb_connection() -> Any:
    import pymysql

    return pymysql.connect(**PLACES["mariadb"])


def mariadb_cursor(sql: str) -> Any:
    from pymysql.cursors import SSCursor

    cursor = mariadb_connection().cursor(SSCursor)
    cursor.execute(sql)
    return cursor


def mariadb_ours(sql: str) -> Any:
    from unspool.sources import mysql

    return mysql.query(mariadb_connection, sql)


def mysqlclient_ours(sql: str) -> Any:
    import MySQLdb

    from unspool.sources import mysql

    return mysql.query(lambda: MySQLdb.connect(**PLACES["mariadb"]), sql)


def mariadb_tool(sql: str) -> Iterator[bytes]:
    """Values with tabs between, for it writes no CSV."""
    place = PLACES["mariadb"]
    at = [f"--{name}={place[name]}" for name in ("host", "port", "user", "database")]
    return tool("mariadb", *at, "--quick", "--batch", "-e", sql, MYSQL_PWD=place["password"])


Way = Callable[[str], Any]
# Of each database: the naive way, the recipe, its own tool, and ours; the first is what all are
# held to, the last is what the aim is for.
WAYS: dict[str, dict[str, Way]] = {
    "sqlite": {
        "naive": lambda sql: naive(sqlite_cursor(sql)),
        "csv.writer": lambda sql: recipe(sqlite_cursor(sql)),
        "sqlite3": sqlite_tool,
        "unspool": sqlite_ours,
    },
    "duckdb": {
        "naive": lambda sql: naive(by_thousand(duckdb_cursor(sql))),
        "csv.writer": lambda sql: recipe(duckdb_cursor(sql)),
        "COPY": duckdb_tool,
        "unspool": duckdb_ours,
    },
    "parquet": {
        "naive": lambda sql: naive(by_thousand(duckdb_cursor(of_parquet(sql)))),
        "csv.writer": lambda sql: recipe(duckdb_cursor(of_parquet(sql))),
        "COPY": lambda sql: duckdb_tool(of_parquet(sql)),
        "unspool": parquet_ours,
    },
    "postgresql": {
        "naive": lambda sql: naive(postgres_cursor(sql)),
        "csv.writer": lambda sql: recipe(postgres_cursor(sql)),
        "psql": postgres_tool,
        "unspool-query": postgres_ours,
        "unspool-copy": postgres_copy,
    },
    "mariadb": {
        "naive": lambda sql: naive(mariadb_cursor(sql)),
        "csv.writer": lambda sql: recipe(mariadb_cursor(sql)),
        "mariadb": mariadb_tool,
        "unspool": mariadb_ours,
        "unspool-mysqlclient": mysqlclient_ours,
    },
}
# These send the same bytes: ours are those of csv.writer, or those of PostgreSQL.
SAME = [
    ("sqlite/csv.writer", "sqlite/unspool"),
    ("duckdb/csv.writer", "duckdb/unspool"),
    ("parquet/csv.writer", "parquet/unspool"),
    ("postgresql/csv.writer", "postgresql/unspool-query"),
    ("postgresql/psql", "postgresql/unspool-copy"),
    ("mariadb/csv.writer", "mariadb/unspool", "mariadb/unspool-mysqlclient"),
]
AIMS = {"SQLite": 7, "DuckDB": 30, "Parquet": 30, "PostgreSQL": 18}


@app.get("/<database>/<way>")
def answer(database, way):
    made = WAYS[database][way](SQL.format(rows=wanted()))
    return stream(made) if way.startswith("unspool") else Response(made, mimetype="text/csv")


def fill_postgres(url: str, rows: int) -> common.Server:
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(table("postgres", rows))
        connection.execute("ALTER DATABASE postgres SET synchronize_seqscans = off")
        port, backend = connection.info.port, connection.info.backend_pid
        status = Path("/proc", str(backend), "status").read_text()
    return common.Server(int(status.partition("PPid:")[2].split()[0]), port)


def fill_mariadb(settings: dict[str, Any], rows: int) -> common.Server:
    import pymysql

    with pymysql.connect(**settings) as connection, connection.cursor() as cursor:
        cursor.execute(table("mysql", rows))
        connection.commit()
        cursor.execute("SELECT @@pid_file")
        (file,) = cursor.fetchone()
    return common.Server(int(Path(file).read_text()), settings["port"])


def measured(args: Any, servers: dict[str, common.Server]) -> common.Results:
    common.SERVER_CORES = common.CORES
    results = common.Results()
    for database, ways in WAYS.items():
        cases = [("gunicorn", f"{database}/{way}") for way in ways]
        options = {"app": "databases_over_http:app", "rows": args.rows, "check_rows": 20_000}
        beside = servers.get(database)
        results.update(common.measure_all(cases, args.rounds, beside=beside, **options))
    for ways in SAME:
        results.check_same([("gunicorn", way) for way in ways])
    return results


def main() -> None:
    args = common.arguments(__doc__, rows=500_000)
    sys.path.insert(0, str(common.HERE.parent / "tests"))
    import databases

    with (
        tempfile.TemporaryDirectory() as folder,
        databases.postgres() as url,
        databases.mariadb() as settings,
    ):
        servers = {
            "postgresql": fill_postgres(url, args.rows),
            "mariadb": fill_mariadb(settings, args.rows),
        }
        places = {"postgres": url, "mariadb": settings, **make_files(Path(folder), args.rows)}
        os.environ["BENCH_PLACES"] = json.dumps(places)
        results = measured(args, servers)
    head = ["database/way", "", "rows/s", "app s/1M", "db s/1M", "first ms", "grown MB", "x wall"]
    common.print_table([*head, "x CPU"], [line(results, case, args.rows) for case in results])
    for database, aim in AIMS.items():
        reached = results.times(*aimed_at(database.lower()), "all_cpu_s")
        common.print_aim(f"{database} to CSV, against str.join per row", aim, reached)


def aimed_at(database: str) -> tuple[common.Case, common.Case]:
    """Our way, and the naive one."""
    naive_way, *_, our_way = WAYS[database]
    return ("gunicorn", f"{database}/{our_way}"), ("gunicorn", f"{database}/{naive_way}")


def line(results: common.Results, case: common.Case, rows: int) -> list[str]:
    first = ("gunicorn", case[1].partition("/")[0] + "/naive")
    return [
        case[1],
        "",
        f"{rows / results.middle(case, 'wall_s'):,.0f}",
        f"{results.middle(case, 'cpu_s') / rows * 1e6:.2f}",
        f"{results.middle(case, 'beside_cpu_s') / rows * 1e6:.2f}",
        f"{results.middle(case, 'first_byte_ms'):.1f}",
        f"{results.middle(case, 'grown_mb'):.1f}",
        f"{results.times(case, first, 'wall_s'):.1f}",
        f"{results.times(case, first, 'all_cpu_s'):.1f}",
    ]


if __name__ == "__main__":
    main()
