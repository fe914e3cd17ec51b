"""DuckDB, in the version that is installed; `make duckdbs` runs this with others."""

import asyncio
import sys

import duckdb
import pytest
from sources.reading import AT_ONCE_S, abandon, aleave, answer, drained, failing, memory

from unspool import kernel
from unspool.sources import duckdb as source
from unspool.types import is_columnar

MANY = "SELECT range AS id, 'name ' || range AS name FROM range(1000000)"

# A million rows of a million joined and counted: hours.
STUCK = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 1"


# What follows goes by way of Arrow, which older releases cannot do lazily for every query.
by_columns = pytest.mark.skipif(
    int(duckdb.__version__.split(".")[0]) < 2, reason="DuckDB 1 gives rows"
)


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
    assert list(rows.read_batch(2)) == [(0, "name 0"), (1, "name 1")]
    assert connection.execute("SELECT 7").fetchone() == (7,)
    assert list(rows.read_batch(1)) == [(2, "name 2")]
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
    sql = "SELECT CASE WHEN range = 6000000 THEN error('boom') ELSE range END AS n FROM range(10000000)"
    sent, error = failing(source.query(connection, sql))
    assert "boom" in str(error)
    assert sent.startswith(b"n\r\n0\r\n1\r\n")
    # The engine is ahead: what it had made by then is lost with it.
    assert 10_000 < sent.count(b"\n") < 6_000_001


def test_a_stuck_query_is_interrupted_when_the_client_leaves(connection):
    sent, took_s = asyncio.run(aleave(source.query(connection, STUCK)))
    assert sent == b""
    assert took_s < AT_ONCE_S
    assert connection.execute("SELECT 7").fetchone() == (7,)


def test_closing_early_takes_no_time(connection):
    sent, took_s = abandon(source.query(connection, MANY))
    assert sent
    assert took_s < AT_ONCE_S


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


ALIKE = """SELECT true AS b, 1::tinyint AS t, 2::ubigint AS u, sum(3) AS h, -(2::hugeint ** 120)::hugeint AS g,
    0.1::float AS f, 0.1 AS d, 'a,b' AS s, DATE '2026-01-02' AS day, TIME '03:04:05.000006' AS clock,
    TIMESTAMP '2026-01-02 03:04:05' AS moment, TIMESTAMPTZ '2026-07-01 12:00:00+00' AS zoned,
    uuid '00000000-0000-0000-0000-00000000000f' AS id, 'x'::ENUM ('x', 'y') AS e, NULL AS nothing,
    [1, NULL] AS l, {'a': 1, 'b': [2]} AS st, MAP {'k': 1::hugeint} AS m"""

OTHERS = [
    "'101'::bit",
    "'12:00:00+01'::timetz",
    "INTERVAL 1 MONTH",
    "[INTERVAL 1 DAY]",
    "[1, 2]::int[2]",
]


@by_columns
@pytest.mark.skipif(not kernel.ACTIVE, reason="the kernel was not built")
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_columns_have_the_values_of_rows(connection, zone):
    connection.execute(f"SET TimeZone = '{zone}'")
    reader = source.query(connection, ALIKE)
    batch = reader.read_batch(5)
    assert is_columnar(batch)
    values = list(batch)
    reader.close()
    cursor = connection.cursor()
    assert [repr(v) for v in values[0]] == [repr(v) for v in cursor.execute(ALIKE).fetchone()]


@pytest.mark.parametrize("expression", OTHERS)
def test_types_that_arrow_has_otherwise_come_as_rows(connection, expression):
    sql = f"SELECT 1 AS n, {expression} AS v"
    reader = source.query(connection, sql)
    assert reader.read_batch(5) == connection.cursor().execute(sql).fetchall()
    reader.close()


def test_what_is_no_select_is_executed_once(connection):
    connection.execute("CREATE TABLE t (n int)")
    assert answer(source.query(connection, "INSERT INTO t VALUES (1) RETURNING n")) == b"n\r\n1\r\n"
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)
    both = source.query(connection, "INSERT INTO t VALUES (2); SELECT n FROM t")
    assert answer(both) == b"n\r\n1\r\n2\r\n"


def test_what_a_stream_sets_is_not_set_on_the_connection(connection):
    setting = "SELECT current_setting('arrow_lossless_conversion')"
    assert answer(source.query(connection, "SELECT 1 AS n")) == b"n\r\n1\r\n"
    assert connection.execute(setting).fetchone() == (False,)


@by_columns
@pytest.mark.skipif(not kernel.ACTIVE, reason="the kernel was not built")
def test_pyarrow_is_not_needed(connection, monkeypatch):
    monkeypatch.setattr(source, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    expected = b"id,name\r\n0,name 0\r\n1,name 1\r\n"
    assert answer(source.query(connection, MANY + " LIMIT 2")) == expected
    assert answer(connection.sql(MANY + " LIMIT 2")) == expected
