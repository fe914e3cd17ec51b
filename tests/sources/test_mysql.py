"""MariaDB, by every driver, on a real server."""

import asyncio
import gc
from functools import partial

import MySQLdb
import MySQLdb.cursors
import pymysql
import pymysql.cursors
import pytest
from mysql import connector
from sources.conftest import ROWS
from sources.reading import (
    AT_ONCE_S,
    abandon,
    aleave,
    answer,
    drained,
    failing,
    leave,
    memory,
    until,
)

from unspool import UsageError
from unspool.sources import mysql

DRIVERS = {
    "pymysql": pymysql.connect,
    "mysqlclient": MySQLdb.connect,
    "mysql.connector": partial(connector.connect, connection_timeout=10),
}

# Of a driver that keeps no password, a connection that was given is lost when its query is stuck.
LOST = "mysqlclient"

STUCK = "SELECT seq, repeat('x', 20000) AS pad, if(seq > 5, sleep(60), 0) AS zero FROM seq_1_to_100"

MORE_THAN_ENOUGH = "SELECT seq, repeat('x', 100) AS pad FROM seq_1_to_1000000000"


@pytest.fixture(params=DRIVERS)
def kind(request):
    return request.param


@pytest.fixture
def connect(kind, mariadb):
    return partial(DRIVERS[kind], **mariadb)


@pytest.fixture
def connection(connect):
    connection = connect()
    yield connection
    connection.close()


@pytest.fixture
def watch(mariadb):
    """Asks the server which queries its other sessions are at."""
    connection = pymysql.connect(**mariadb, autocommit=True)
    cursor = connection.cursor()

    def queries():
        cursor.execute(
            "SELECT info FROM information_schema.processlist"
            " WHERE info IS NOT NULL AND id != connection_id()"
        )
        return [info for (info,) in cursor.fetchall()]

    yield queries
    connection.close()


def usable(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT 7")
    try:
        return list(cursor.fetchall()) == [(7,)]
    finally:
        cursor.close()


def test_a_query_gives_all_rows_under_the_names_of_its_columns(connection):
    sql = f"SELECT * FROM many LIMIT {ROWS // 5}"
    lines = answer(mysql.query(connection, sql)).decode().split("\r\n")
    assert lines[:2] == ["id,name,digest,part", "1,name 1,c4ca4238a0b923820dcc509a6f75849b,0.25"]
    assert len(lines) == ROWS // 5 + 2
    assert usable(connection)


def test_no_rows_make_a_header_alone(connection):
    assert answer(mysql.query(connection, "SELECT * FROM none")) == b"id,name\r\n"


def test_a_query_takes_parameters(connection):
    rows = mysql.query(connection, "SELECT id FROM many WHERE id < %s", (3,))
    assert answer(rows) == b"id\r\n1\r\n2\r\n"


def test_what_is_wrong_with_a_query_is_raised_as_the_driver_raises_it(connection, kind):
    sent, error = failing(mysql.query(connection, "SELECT nothing FROM many"))
    assert sent == b""
    assert type(error).__module__.startswith(kind.replace("mysqlclient", "MySQLdb"))
    assert usable(connection)


def test_memory_does_not_grow_with_the_rows(connection):
    with memory() as grown:
        assert drained(mysql.query(connection, "SELECT * FROM many")) > 7_000_000
    assert grown[0] < 8


def test_a_query_that_is_closed_early_is_killed(connection, watch):
    sent, took_s = abandon(mysql.query(connection, MORE_THAN_ENOUGH))
    assert sent.startswith(b"seq,pad\r\n1,")
    until(lambda: not watch())
    assert took_s < AT_ONCE_S  # What was on its way is read, in pure Python.


def test_its_connection_can_be_used_again(connection, kind):
    abandon(mysql.query(connection, MORE_THAN_ENOUGH))
    if kind == LOST:
        with pytest.raises(MySQLdb.OperationalError):
            usable(connection)
    else:
        until(lambda: is_read(connection))
        assert usable(connection)


def is_read(connection):
    """Whether what was on its way is read: a driver in Python takes its time on a busy machine."""
    result = getattr(connection, "_result", None)  # PyMySQL's.
    is_unread = getattr(result, "unbuffered_active", False)
    return not (is_unread or getattr(connection, "unread_result", False))


def test_a_function_opens_a_connection_and_the_one_that_kills(connect, watch):
    sent, _ = abandon(mysql.query(connect, MORE_THAN_ENOUGH))
    assert sent
    until(lambda: not watch())


def test_a_stuck_query_ends_when_the_client_leaves(connect, watch):
    sent, took_s = leave(mysql.query(connect, STUCK))
    assert sent.startswith(b"seq,pad,zero\r\n1,")
    assert took_s < AT_ONCE_S
    until(lambda: not watch())


def test_a_thread_of_a_loop_may_be_stuck_before_the_first_row(connect, watch):
    sent, took_s = asyncio.run(aleave(mysql.query(connect, "SELECT sleep(60)")))
    assert sent == b""
    assert took_s < AT_ONCE_S
    until(lambda: not watch())


def test_a_query_that_fails_late_gives_the_rows_before(connection):
    connection.cursor().execute("SET sql_mode = 'STRICT_ALL_TABLES'")
    # A subquery that gives two rows is an error at the row where it does.
    sql = (
        "SELECT id, (SELECT m.id FROM many m WHERE m.id <= if(o.id = 5000, 2, 1)) AS n"
        " FROM (SELECT seq AS id FROM seq_1_to_6000) o"
    )
    sent, error = failing(
        mysql.query(connection, sql.replace("many m", "seq_1_to_3 m").replace("m.id", "m.seq"))
    )
    assert "more than 1 row" in str(error)
    lines = sent.decode().split("\r\n")
    assert lines[:2] == ["id,n", "1,1"]
    assert len(lines) > 2000
    assert usable(connection)


# PyMySQL's cursors try to read from a lost connection when they are collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_connection_that_dies_is_a_failure(connection, kind, mariadb):
    query_id = connection.connection_id if kind == "mysql.connector" else connection.thread_id()
    rows = mysql.query(connection, MORE_THAN_ENOUGH)
    rows.read_batch(1)
    with pymysql.connect(**mariadb) as killer:
        killer.cursor().execute(f"KILL CONNECTION {query_id}")
    with pytest.raises(Exception, match=r"Lost connection|killed|interrupted|gone away"):
        while rows.read_batch(1000):
            pass
    rows.close()
    del rows
    gc.collect()


@pytest.mark.parametrize("driver", [pymysql, MySQLdb])
def test_an_unbuffered_cursor_is_recognised(driver, mariadb, watch):
    connection = driver.connect(**mariadb)
    cursor = connection.cursor(driver.cursors.SSCursor)
    cursor.execute("SELECT id FROM many LIMIT 2")
    assert answer(cursor) == b"id\r\n1\r\n2\r\n"
    cursor = connection.cursor(driver.cursors.SSCursor)
    cursor.execute(MORE_THAN_ENOUGH)
    assert abandon(cursor)[1] < AT_ONCE_S
    until(lambda: not watch())
    connection.close()


def test_a_connection_of_another_driver_is_refused():
    class Connection:
        def cursor(self):
            raise NotImplementedError

    _, error = failing(mysql.query(Connection(), "SELECT 1"))
    assert isinstance(error, UsageError)
