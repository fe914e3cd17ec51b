"""SQLite: paths, connections and cursors."""

import asyncio
import sqlite3
import threading

import pytest
from sources.reading import (
    AT_ONCE_S,
    aanswer,
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
from unspool.sources import sqlite

ROWS = 100_000

COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n{}) SELECT i FROM n"

# The fifth row is never found.
STUCK = COUNT.format("") + " WHERE i < 5"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "odd name?.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE many (id, name, digest)")
        rows = ((n, f"name {n}", f"{n:064}") for n in range(1, ROWS + 1))
        connection.executemany("INSERT INTO many VALUES (?, ?, ?)", rows)
    connection.close()
    return path


@pytest.fixture
def connection(path):
    connection = sqlite3.connect(path)
    yield connection
    connection.close()


def test_a_path_is_opened_for_reading_and_closed(path):
    body = answer(sqlite.query(path, "SELECT * FROM many"))
    lines = body.decode().split("\r\n")
    assert lines[:2] == ["id,name,digest", f"1,name 1,{1:064}"]
    assert len(lines) == ROWS + 2
    sent, error = failing(sqlite.query(str(path), "DELETE FROM many"))
    assert sent == b""
    assert "readonly" in str(error)


def test_a_path_that_is_not_there_is_not_made(tmp_path):
    path = tmp_path / "none.db"
    assert isinstance(failing(sqlite.query(path, "SELECT 1"))[1], sqlite3.OperationalError)
    assert not path.exists()


def test_a_connection_stays_open_and_on_its_thread(connection):
    rows = sqlite.query(connection, "SELECT id FROM many WHERE id < :n", {"n": 3})
    assert answer(rows) == b"id\r\n1\r\n2\r\n"
    assert connection.execute("SELECT 7").fetchone() == (7,)


def test_a_cursor_is_recognised_and_closed(connection):
    cursor = connection.execute("SELECT id, name FROM many LIMIT 2")
    assert answer(cursor) == b"id,name\r\n1,name 1\r\n2,name 2\r\n"
    with pytest.raises(sqlite3.ProgrammingError):
        cursor.fetchone()


def test_a_cursor_with_rows_of_its_own_is_recognised(connection):
    connection.row_factory = sqlite3.Row
    cursor = connection.execute("SELECT id, name FROM many LIMIT 1")
    assert answer(cursor, "ndjson") == b'{"id":1,"name":"name 1"}\n'


def test_a_cursor_without_a_result_is_refused(connection):
    _, error = failing(connection.cursor())
    assert isinstance(error, UsageError)
    assert "Execute a SELECT" in str(error)


def test_no_rows_make_a_header_alone(path):
    assert answer(sqlite.query(path, "SELECT * FROM many WHERE id < 0")) == b"id,name,digest\r\n"


def test_a_column_may_change_its_type(path):
    sql = "SELECT * FROM (VALUES (1), ('two'), (3.5), (NULL))"
    assert answer(sqlite.query(path, sql)) == b'column1\r\n1\r\ntwo\r\n3.5\r\n""\r\n'


def test_bytes_midway_are_named_and_the_rows_before_them_sent(path):
    sql = "SELECT column1 AS v FROM (VALUES (1), ('two'), (x'ff'), (4))"
    sent, error = failing(sqlite.query(path, sql))
    assert sent == b"v\r\n1\r\ntwo\r\n"
    assert str(error).startswith("row 3, column 'v': CSV cannot carry a bytes")


def test_text_that_is_none_fails_after_all_rows_before_it(path):
    sql = "SELECT iif(id = 500, CAST(x'ff' AS text), id) AS v FROM many"
    sent, error = failing(sqlite.query(path, sql))
    assert isinstance(error, sqlite3.OperationalError)
    assert sent.decode().split("\r\n")[-2] == "499"


def test_a_query_that_fails_late_gives_all_rows_before(connection):
    def checked(n):
        if n == 90_000:
            raise ValueError(n)
        return n

    connection.create_function("checked", 1, checked)
    sent, error = failing(sqlite.query(connection, "SELECT checked(id) AS n FROM many"))
    assert isinstance(error, sqlite3.OperationalError)
    # sqlite3 steps to the next row before it gives one, and drops this when that fails.
    assert sent.decode().split("\r\n")[-2] in {"89998", "89999"}


def test_a_stuck_query_is_interrupted_when_the_client_leaves(path):
    sent, took_s = leave(sqlite.query(path, STUCK))
    assert sent.startswith(b"i\r\n1\r\n")
    assert took_s < AT_ONCE_S


def test_on_a_loop_it_may_be_stuck_before_the_first_row(path):
    sent, took_s = asyncio.run(aleave(sqlite.query(path, STUCK + " AND i > 6")))
    assert sent == b""
    assert took_s < AT_ONCE_S
    until(lambda: "unspool-cancel" not in {thread.name for thread in threading.enumerate()})


def test_closing_early_takes_no_time(path):
    sent, took_s = abandon(sqlite.query(path, COUNT.format("")))
    assert sent
    assert took_s < AT_ONCE_S


def test_memory_does_not_grow_with_the_rows(path):
    with memory() as grown:
        assert drained(sqlite.query(path, "SELECT * FROM many")) > 7_000_000
    assert grown[0] < 6


def test_a_cursor_of_aiosqlite_is_recognised(path):
    aiosqlite = pytest.importorskip("aiosqlite")

    async def run():
        async with aiosqlite.connect(path) as connection:
            cursor = await connection.execute("SELECT id FROM many LIMIT 3000")
            return await aanswer(cursor)

    lines = asyncio.run(run()).decode().split("\r\n")
    assert lines[:2] == ["id", "1"]
    assert len(lines) == 3002


def test_a_function_that_opens_a_connection_is_closed_after_its_query(path):
    opened = []

    def connect():
        opened.append(sqlite3.connect(path, check_same_thread=False))
        return opened[-1]

    assert answer(sqlite.query(connect, "SELECT id FROM many LIMIT 2")) == b"id\r\n1\r\n2\r\n"
    assert len(opened) == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")
