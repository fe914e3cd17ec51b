"""DuckDB, in the version that is installed; `make duckdbs` runs this with others."""

import asyncio

import duckdb
import pytest
from sources.reading import abandon, aleave, answer, drained, failing, memory

from unspool.sources import duckdb as source

MANY = "SELECT range AS id, 'name ' || range AS name FROM range(1000000)"

# A million rows of a million joined and counted: hours.
STUCK = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 1"


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '1GB'")
        yield connection


def test_a_query_gives_rows_under_the_names_of_its_columns(connection):
    body = answer(source.query(connection, MANY + " WHERE range < ?", [2]))
    assert body == b"id,name\r\n0,name 0\r\n1,name 1\r\n"


def test_the_connection_can_be_used_meanwhile(connection):
    rows = source.query(connection, MANY)
    assert rows.read_batch(2) == [(0, "name 0"), (1, "name 1")]
    assert connection.execute("SELECT 7").fetchone() == (7,)
    assert rows.read_batch(1) == [(2, "name 2")]
    rows.close()
    assert connection.execute("SELECT 7").fetchone() == (7,)


def test_no_rows_make_a_header_alone(connection):
    assert answer(source.query(connection, MANY + " WHERE range < 0")) == b"id,name\r\n"


def test_a_function_opens_a_connection(tmp_path):
    path = str(tmp_path / "a.duckdb")
    duckdb.connect(path).close()
    rows = source.query(lambda: duckdb.connect(path, read_only=True), "SELECT 1 AS n")
    assert answer(rows) == b"n\r\n1\r\n"
    duckdb.connect(path).execute("CREATE TABLE t (i int)").close()  # Nobody has it open any more.


def test_what_is_wrong_with_a_query_is_raised_as_duckdb_raises_it(connection):
    sent, error = failing(source.query(connection, "SELECT nothing"))
    assert sent == b""
    assert isinstance(error, duckdb.BinderException)


def test_a_query_that_fails_late_gives_the_rows_before(connection):
    sql = (
        "SELECT CASE WHEN range = 600000 THEN error('boom') ELSE range END AS n FROM range(1000000)"
    )
    sent, error = failing(source.query(connection, sql))
    assert "boom" in str(error)
    assert sent.startswith(b"n\r\n0\r\n1\r\n")
    assert 100_000 < sent.count(b"\n") < 600_001


def test_a_stuck_query_is_interrupted_when_the_client_leaves(connection):
    sent, took_s = asyncio.run(aleave(source.query(connection, STUCK)))
    assert sent == b""
    assert took_s < 0.5
    assert connection.execute("SELECT 7").fetchone() == (7,)


def test_closing_early_takes_no_time(connection):
    sent, took_s = abandon(source.query(connection, MANY))
    assert sent
    assert took_s < 0.5


def test_the_result_is_not_materialised(connection):
    drained(source.query(connection, MANY + " LIMIT 300000"))  # What the engine needs for itself.
    with memory() as grown:
        assert drained(source.query(connection, MANY + " WHERE range >= ?", [0])) > 19_000_000
    assert grown[0] < 40


def test_a_connection_on_which_a_query_was_executed_is_recognised(connection):
    executed = connection.execute(MANY + " LIMIT 2")
    assert answer(executed) == b"id,name\r\n0,name 0\r\n1,name 1\r\n"
    assert connection.execute("SELECT 7").fetchone() == (7,)


def test_a_relation_is_recognised(connection):
    pytest.importorskip("pyarrow")
    relation = connection.sql(MANY)
    lines = answer(relation).decode().split("\r\n")
    assert lines[:2] == ["id,name", "0,name 0"]
    assert len(lines) == 1_000_002


def test_a_relation_of_no_rows_has_its_header(connection):
    pytest.importorskip("pyarrow")
    assert answer(connection.sql(MANY + " WHERE range < 0")) == b"id,name\r\n"


def test_a_relation_is_not_materialised(connection):
    pytest.importorskip("pyarrow")
    drained(connection.sql(MANY + " LIMIT 300000"))
    with memory() as grown:
        assert drained(connection.sql(MANY)) > 19_000_000
    assert grown[0] < 40
