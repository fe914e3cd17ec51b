"""Databases with something in them."""

from importlib.util import find_spec

import databases
import pytest

# On the other Pythons only what the core needs is installed.
if not find_spec("psycopg"):
    collect_ignore = [
        "test_arrow.py",
        "test_django_rows.py",
        "test_duckdb.py",
        "test_leaving.py",
        "test_mysql.py",
        "test_postgres.py",
        "test_sqlalchemy.py",
        "test_tables.py",
    ]

ROWS = 150_000

# About 100 bytes a row: held as a whole, they would be seen.
POSTGRES_TABLES = f"""
CREATE TABLE many AS SELECT i AS id, 'name ' || i AS name, md5(i::text) AS digest, i / 4.0::float8 AS part
FROM generate_series(1, {ROWS}) i;
CREATE TABLE none AS SELECT 1 AS id, 'a' AS name WHERE false;
CREATE FUNCTION wait(i int, from_row int) RETURNS int LANGUAGE plpgsql AS
$$ BEGIN IF i >= from_row THEN PERFORM pg_sleep(60); END IF; RETURN i; END $$;
"""

MARIADB_TABLES = [
    f"""CREATE TABLE many AS SELECT seq AS id, concat('name ', seq) AS name, md5(seq) AS digest,
    cast(seq / 4 AS double) AS part FROM seq_1_to_{ROWS}""",
    "CREATE TABLE none (id int, name text)",
]


@pytest.fixture(scope="session")
def postgres_url():
    import psycopg

    with databases.postgres() as url:
        with psycopg.connect(url) as connection:
            connection.execute(POSTGRES_TABLES)
        yield url


@pytest.fixture(scope="session")
def mariadb():
    import pymysql

    with databases.mariadb() as settings:
        connection = pymysql.connect(**settings)
        cursor = connection.cursor()
        for table in MARIADB_TABLES:
            cursor.execute(table)
        connection.commit()
        connection.close()
        yield settings
