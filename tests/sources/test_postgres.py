"""PostgreSQL, by every driver, on a real server."""

import asyncio
import datetime
import decimal
import io
import uuid
from functools import partial

import asyncpg
import psycopg
import psycopg2
import psycopg2.extensions
import psycopg_pool
import pytest
from psycopg.types.numeric import FloatLoader
from sources.conftest import ROWS
from sources.reading import (
    AT_ONCE_S,
    aabandon,
    aanswer,
    abandon,
    adrained,
    afailing,
    aleave,
    answer,
    drained,
    failing,
    leave,
    memory,
    until,
)

from unspool import Csv, Stream, UsageError
from unspool.sources import postgres

COLUMNS = "id,name,digest,part"
FIRST = "1,name 1,c4ca4238a0b923820dcc509a6f75849b,0.25"

SYNC = {"psycopg": psycopg.connect, "psycopg2": psycopg2.connect}
ASYNC = {"asyncpg": asyncpg.connect, "async psycopg": psycopg.AsyncConnection.connect}
COPYING = ["psycopg", *ASYNC]


class Client:
    """One driver's way to a database, the same for all: everything returns when it is done."""

    def __init__(self, kind, url):
        self.kind = kind
        self.is_async = kind in ASYNC
        self.mark = "%s" if kind != "asyncpg" else "$1"
        self._connect = {**SYNC, **ASYNC}[kind]
        self._url = url
        self._runner = asyncio.Runner()

    def run(self, awaited):
        return self._runner.run(_awaited(awaited)) if self.is_async else awaited

    def connect(self):
        return self._connect(self._url)

    def _do(self, sync, awaited, *args, **options):
        return self.run((awaited if self.is_async else sync)(*args, **options))

    def answer(self, *args, **options):
        return self._do(answer, aanswer, *args, **options)

    def failing(self, *args):
        return self._do(failing, afailing, *args)

    def leave(self, *args):
        return self._do(leave, partial(aleave, first=True), *args)

    def abandon(self, *args):
        return self._do(abandon, aabandon, *args)

    def connect_function(self):
        return partial(self._connect, self._url)

    def close(self, connection):
        self.run(connection.close())
        self._runner.close()


async def _awaited(awaited):
    return await awaited


def clients(kinds):
    return pytest.fixture(params=kinds)(_client)


def _client(request, postgres_url):
    client = Client(request.param, postgres_url)
    yield client
    client._runner.close()


any_client = clients([*SYNC, *ASYNC])
copying = clients(COPYING)


@pytest.fixture
def connection(any_client):
    connection = any_client.run(any_client.connect())
    yield connection
    any_client.close(connection)


@pytest.fixture
def copying_connection(copying):
    connection = copying.run(copying.connect())
    yield connection
    copying.close(connection)


@pytest.fixture
def watch(postgres_url):
    """Asks the server what its sessions, but this one, are doing."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:

        def states():
            found = connection.execute(
                "SELECT state FROM pg_stat_activity WHERE pid != pg_backend_pid()"
                " AND backend_type = 'client backend'"
            )
            return {state for (state,) in found}

        yield states


def usable(client, connection):
    """Whether the connection answers."""
    return client.answer(postgres.query(connection, "SELECT 7 AS n")) == b"n\r\n7\r\n"


# Rows


def test_a_query_gives_all_rows_under_the_names_of_its_columns(any_client, connection):
    sql = f"SELECT * FROM many LIMIT {ROWS // 2}"
    lines = any_client.answer(postgres.query(connection, sql)).decode().split("\r\n")
    assert lines[:2] == [COLUMNS, FIRST]
    assert len(lines) == ROWS // 2 + 2
    assert lines[-2].startswith(f"{ROWS // 2},name {ROWS // 2},")


def test_no_rows_make_a_header_alone(any_client, connection):
    assert any_client.answer(postgres.query(connection, "SELECT * FROM none")) == b"id,name\r\n"


def test_a_query_takes_parameters(any_client, connection):
    sql = f"SELECT id FROM many WHERE id < {any_client.mark}"
    assert any_client.answer(postgres.query(connection, sql, [3])) == b"id\r\n1\r\n2\r\n"


def test_a_percent_sign_needs_no_escape_without_parameters(any_client, connection):
    rows = postgres.query(connection, "SELECT 'a%s' AS n WHERE 'x' LIKE '%x'")
    assert any_client.answer(rows) == b"n\r\na%s\r\n"


def test_what_is_wrong_with_a_query_is_raised_as_the_driver_raises_it(any_client, connection):
    sent, error = any_client.failing(postgres.query(connection, "SELECT nothing FROM many"))
    assert sent == b""
    assert type(error).__name__ in {"UndefinedColumn", "UndefinedColumnError"}
    assert usable(any_client, connection)


def test_a_query_that_fails_late_gives_the_rows_before(any_client, connection):
    rows = postgres.query(connection, "SELECT id, 1 / (100000 - id) AS n FROM many")
    sent, error = any_client.failing(rows)
    assert type(error).__name__ in {"DivisionByZero", "DivisionByZeroError"}
    lines = sent.decode().split("\r\n")
    assert lines[1] == "1,0"
    assert 90_000 < len(lines) < 100_001
    assert lines[-1] == ""
    assert usable(any_client, connection)


def test_a_connection_that_dies_is_a_failure(any_client, connection, postgres_url):
    name = f"kill {any_client.kind}"
    sql = f"SELECT id, '{name}' AS t FROM many"

    def kill(*_):
        with psycopg.connect(postgres_url, autocommit=True) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE %s OR query LIKE 'FETCH%%' OR state = 'idle in transaction'",
                [f"%{name}%"],
            )

    class Killing(Csv):
        """Kills the server's end of the connection when the first rows are through."""

        def encoder(self, columns):
            encoder, feed, count = super().encoder(columns), None, []
            feed = encoder.feed

            def fed(batch):
                count.extend([1] if batch else [])
                if len(count) == 3:
                    kill()
                return feed(batch)

            encoder.feed = fed
            return encoder

    sent, error = any_client.failing(postgres.query(connection, sql), Killing())
    assert sent.startswith(f"id,t\r\n1,{name}\r\n".encode())
    assert type(error).__module__.split(".")[0] == any_client.kind.split()[-1]
    with pytest.raises(Exception):
        usable(any_client, connection)


# The end of a stream


SQL_STUCK = "SELECT wait(i, 3) AS i, repeat('x', 9000) AS pad FROM generate_series(1, 100) i"


def test_a_stuck_query_ends_when_the_client_leaves(any_client, connection, watch):
    sent, took_s = any_client.leave(postgres.query(connection, SQL_STUCK))
    assert sent.startswith(b"i,pad\r\n1,")
    assert took_s < AT_ONCE_S
    until(lambda: watch() <= {"idle"})
    assert usable(any_client, connection)


def test_a_stuck_copy_ends_when_the_client_leaves(copying, copying_connection, watch):
    sent, took_s = copying.leave(postgres.copy(copying_connection, SQL_STUCK))
    assert sent.startswith(b"i,pad\n1,")
    assert took_s < AT_ONCE_S
    until(lambda: watch() <= {"idle"})
    assert usable(copying, copying_connection)


@pytest.mark.parametrize("call", [postgres.query, postgres.copy])
@pytest.mark.parametrize("kind", ASYNC)
def test_on_a_loop_a_query_may_be_stuck_before_its_first_row(call, kind, postgres_url, watch):
    async def run():
        connection = await ASYNC[kind](postgres_url)
        sent, took_s = await aleave(call(connection, "SELECT pg_sleep(60)"))
        assert sent == b""
        assert took_s < AT_ONCE_S
        assert await aanswer(postgres.query(connection, "SELECT 7 AS n")) == b"n\r\n7\r\n"
        await connection.close()

    asyncio.run(run())
    until(lambda: watch() <= {"idle"})


@pytest.mark.parametrize("call", [postgres.query, postgres.copy])
def test_a_thread_of_a_loop_may_be_stuck_before_the_first_row(call, postgres_url, watch):
    with psycopg.connect(postgres_url) as connection:
        sent, took_s = asyncio.run(aleave(call(connection, "SELECT pg_sleep(60)")))
        assert sent == b""
        assert took_s < AT_ONCE_S
        until(lambda: watch() <= {"idle"})
        assert connection.execute("SELECT 7").fetchone() == (7,)


MORE_THAN_ENOUGH = "SELECT generate_series(1, 1000000000) AS i, repeat('x', 100) AS pad"


def test_a_query_that_is_closed_early_leaves_nothing_behind(any_client, connection, watch):
    sent, took_s = any_client.abandon(postgres.query(connection, MORE_THAN_ENOUGH))
    assert sent.startswith(b"i,pad\r\n1,")
    assert took_s < AT_ONCE_S
    until(lambda: watch() <= {"idle"})
    assert usable(any_client, connection)


def test_a_copy_that_is_closed_early_leaves_nothing_behind(copying, copying_connection, watch):
    sent, took_s = copying.abandon(postgres.copy(copying_connection, MORE_THAN_ENOUGH))
    assert sent.startswith(b"i,pad\n1,")
    assert took_s < AT_ONCE_S
    until(lambda: watch() <= {"idle"})
    # asyncpg closes its connection where its server does not answer the cancel request in time.
    closed = getattr(copying_connection, "is_closed", lambda: False)
    assert closed() or usable(copying, copying_connection)


def test_a_stream_that_never_starts_touches_nothing(any_client, connection):
    rows = postgres.query(connection, "this is no SQL")
    stream = Stream(rows)
    if any_client.is_async:
        any_client.run(rows.aclose())
    else:
        rows.close()
    assert stream.headers()
    assert usable(any_client, connection)


def test_nothing_is_left_open_after_the_last_row(any_client, connection, watch):
    any_client.answer(postgres.query(connection, "SELECT 1 AS n"))
    until(lambda: watch() <= {"idle"})


def test_a_transaction_that_is_open_stays_open(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TEMPORARY TABLE own AS SELECT 5 AS n")
        assert answer(postgres.query(connection, "SELECT * FROM own")) == b"n\r\n5\r\n"
        assert answer(postgres.copy(connection, "SELECT * FROM own")) == b"n\n5\n"
        assert isinstance(failing(postgres.copy(connection, "SELECT 1/0"))[1], psycopg.Error)
        assert connection.execute("SELECT * FROM own").fetchone() == (5,)
        connection.rollback()


def test_a_connection_in_autocommit_can_be_streamed_from(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        assert answer(postgres.query(connection, "SELECT 1 AS n")) == b"n\r\n1\r\n"
        assert connection.info.transaction_status == 0


# What stands for a connection


def test_a_function_opens_a_connection_that_is_closed(any_client, watch):
    rows = postgres.query(any_client.connect_function(), "SELECT 1 AS n")
    assert any_client.answer(rows) == b"n\r\n1\r\n"
    until(lambda: not watch())


@pytest.mark.parametrize("call", [postgres.query, postgres.copy])
def test_a_pool_gets_its_connection_back(call, postgres_url):
    end = b"\n" if call is postgres.copy else b"\r\n"
    with psycopg_pool.ConnectionPool(postgres_url, min_size=1, max_size=1) as pool:
        for _ in range(3):
            assert answer(call(pool, "SELECT 1 AS n")) == b"n" + end + b"1" + end
            assert isinstance(failing(call(pool, "SELECT 1/0"))[1], psycopg.Error)


@pytest.mark.parametrize("call", [postgres.query, postgres.copy])
def test_an_awaited_pool_gets_its_connection_back(call, postgres_url):
    async def run():
        async with psycopg_pool.AsyncConnectionPool(
            postgres_url, min_size=1, max_size=1, open=False
        ) as pool:
            return [await aanswer(call(pool, "SELECT 1 AS n")) for _ in range(3)]

    async def run_asyncpg():
        async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
            return [await aanswer(call(pool, "SELECT 1 AS n")) for _ in range(3)]

    end = b"\n" if call is postgres.copy else b"\r\n"
    expected = [b"n" + end + b"1" + end] * 3
    assert asyncio.run(run()) == expected
    assert asyncio.run(run_asyncpg()) == expected


def test_a_connection_of_something_else_is_refused():
    class Connection:
        def cursor(self):
            raise NotImplementedError

    for call in (postgres.query, postgres.copy):
        _, error = failing(call(Connection(), "SELECT 1"))
        assert isinstance(error, UsageError)
        assert "got Connection of" in str(error)


def test_copy_refuses_psycopg2(postgres_url):
    connection = psycopg2.connect(postgres_url)
    assert isinstance(failing(postgres.copy(connection, "SELECT 1"))[1], UsageError)
    connection.close()


# Values


VALUES = """SELECT true AS b, 1::int2 AS i2, 2 AS i4, 3::int8 AS i8, 0.1::float4 AS f4, 0.1::float8 AS f8,
1.10::numeric AS num, 'NaN'::numeric AS nan, 'é'::text AS t, 'ab'::char(3) AS c, 'x'::name AS na,
date '2013-01-02' AS d, time '03:04:05.6' AS ti, timestamp '2013-01-02 03:04:05' AS ts,
timestamptz '2013-01-02 03:04:05+00' AS tz, uuid '00000000-0000-0000-0000-000000000001' AS u,
'\\x0102'::bytea AS by, NULL::text AS nothing"""

UNUSUAL = """SELECT 1 AS i, interval '1 day 2 seconds' AS iv, '{"a": 1}'::jsonb AS j, ARRAY[1,2] AS a,
'on'::mood AS m, inet '10.0.0.1' AS ip, 0.1::float4 AS f4"""


@pytest.mark.parametrize("sql", [VALUES, UNUSUAL])
def test_values_are_those_that_psycopg_gives_by_default(sql, postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TYPE pg_temp.mood AS ENUM ('on', 'off')")
        expected = connection.execute(sql).fetchall()
        reader = postgres.query(connection, sql)
        assert repr(reader.read_batch(10)) == repr(expected)
        reader.close()


def test_binary_values_are_asked_for_where_they_are_the_same(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        for sql, binary in ((VALUES.replace("0.1::float4 AS f4, ", ""), True), (UNUSUAL, False)):
            connection.execute("CREATE TYPE pg_temp.mood AS ENUM ('on', 'off')")
            reader = postgres.query(connection, sql)
            reader.read_batch(1)
            assert reader.fetch.__self__.pgresult.fformat(0) == binary
            reader.close()
            connection.rollback()


def test_a_loader_of_the_users_is_used(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.adapters.register_loader("numeric", FloatLoader)
        reader = postgres.query(connection, "SELECT 1.5::numeric AS n")
        assert repr(reader.read_batch(1)) == "[(1.5,)]"
        reader.close()


def test_asyncpg_and_psycopg_agree(postgres_url):
    async def run():
        connection = await asyncpg.connect(postgres_url)
        reader = postgres.query(connection, VALUES.replace("0.1::float4 AS f4, ", "")).reader
        rows = await reader.read_batch(1)
        await reader.aclose()
        await connection.close()
        return rows

    ((*values, nothing),) = asyncio.run(run())
    assert nothing is None
    assert values[0] is True
    assert values[5] == decimal.Decimal("1.10")
    assert values[10] == datetime.date(2013, 1, 2)
    assert values[14] == uuid.UUID(int=1)


# COPY


def copied(url, sql, options):
    """The same by a foreign hand."""
    connection = psycopg2.connect(url)
    file = io.BytesIO()
    connection.cursor().copy_expert(f"COPY ({sql}) TO STDOUT WITH ({options})", file)
    connection.close()
    return file.getvalue()


AWKWARD = """SELECT * FROM (VALUES (1, 'a,b', NULL, true, 0.1::float8), (2, 'say "x"', '', false, 'NaN'),
(3, E'two\\nlines', 'é', NULL, 1e300), (4, 'a;b', 'NULL', true, -0.0)) AS t(id, "a name", b, c, d)"""

DIALECTS = {
    "header": Csv(),
    "header, delimiter ';'": Csv(delimiter=";"),
    "header, delimiter E'\\t', null 'NULL'": Csv(delimiter="\t", null="NULL"),
    "header, force_quote *": Csv(quoting="all"),
    "header false": Csv(header=False),
}


@pytest.mark.parametrize("options", DIALECTS)
def test_copy_gives_the_bytes_of_postgresql(options, copying, copying_connection, postgres_url):
    expected = copied(postgres_url, AWKWARD, f"FORMAT csv, {options}")
    rows = postgres.copy(copying_connection, AWKWARD)
    assert copying.answer(rows, DIALECTS[options]) == expected


def test_all_of_a_big_copy_arrives(copying, copying_connection, postgres_url):
    expected = copied(postgres_url, "SELECT * FROM many", "FORMAT csv, header")
    assert copying.answer(postgres.copy(copying_connection, "SELECT * FROM many")) == expected


def test_what_differs_from_our_csv(postgres_url):
    sql = "SELECT true AS b, NULL AS nothing, '' AS blank, '\\x01'::bytea AS bytes, ARRAY[1,2] AS a"
    with psycopg.connect(postgres_url) as connection:
        assert (
            answer(postgres.copy(connection, sql))
            == b'b,nothing,blank,bytes,a\nt,,"",\\x01,"{1,2}"\n'
        )


def test_copy_takes_parameters_and_a_comment_at_the_end(copying, copying_connection):
    sql = f"SELECT id, '{'%%' if copying.mark == '%s' else '%'}' AS p FROM many WHERE id < {copying.mark} -- done"
    assert copying.answer(postgres.copy(copying_connection, sql, [3])) == b"id,p\n1,%\n2,%\n"


def test_copy_is_utf8_whatever_the_client_speaks(postgres_url):
    with psycopg.connect(postgres_url, client_encoding="latin1") as connection:
        rows = postgres.copy(connection, "SELECT 'é' || %s AS n", ["ü"])
        assert answer(rows, Csv(bom=True)) == "\ufeffn\néü\n".encode()


def test_a_copy_of_no_rows_has_its_header(copying, copying_connection):
    assert copying.answer(postgres.copy(copying_connection, "SELECT * FROM none")) == b"id,name\n"


def test_the_headers_are_those_of_csv(copying, copying_connection):
    headers = Stream(postgres.copy(copying_connection, "SELECT 1"), filename="a.csv").headers()
    assert headers[0] == ("Content-Type", "text/csv; charset=utf-8")


@pytest.mark.parametrize(
    ("format", "columns", "message"),
    [
        ("ndjson", None, "use postgres.query"),
        (Csv(formula_guard=True), None, "formula_guard=True"),
        (Csv(end_mark=True), None, "end_mark=True"),
        (Csv(quoting="nonnumeric"), None, "quoting='nonnumeric'"),
        ("csv", ["a"], "SELECT … AS name"),
    ],
)
def test_what_copy_cannot_do_is_refused_at_once(
    format, columns, message, copying, copying_connection
):
    rows = postgres.copy(copying_connection, "SELECT 1")
    with pytest.raises(UsageError, match=message.replace("…", ".")):
        Stream(rows, format, columns=columns)


def test_a_copy_that_fails_late_gives_the_rows_before(copying, copying_connection):
    sql = "SELECT id, 1 / (100000 - id) AS n FROM many"
    sent, error = copying.failing(postgres.copy(copying_connection, sql))
    assert type(error).__name__ in {"DivisionByZero", "DivisionByZeroError"}
    lines = sent.decode().split("\n")
    assert lines[:2] == ["id,n", "1,0"]
    assert lines[-1] == ""
    # asyncpg throws away what it has received together with the error, up to 256 KiB.
    assert len(lines) > 70_000 if copying.kind == "asyncpg" else lines[-2] == "99999,1"
    assert usable(copying, copying_connection)


def test_a_copy_that_is_wrong_is_raised_as_the_driver_raises_it(copying, copying_connection):
    sent, error = copying.failing(postgres.copy(copying_connection, "SELECT nothing"))
    assert sent == b""
    assert type(error).__name__ in {"UndefinedColumn", "UndefinedColumnError"}
    assert usable(copying, copying_connection)


# Memory


@pytest.mark.parametrize("call", [postgres.query, postgres.copy])
def test_memory_does_not_grow_with_the_rows(call, postgres_url):
    with psycopg.connect(postgres_url) as connection, memory() as grown:
        assert drained(call(connection, "SELECT * FROM many")) > 7_000_000
    assert grown[0] < 8


@pytest.mark.parametrize("call", [postgres.query, postgres.copy])
@pytest.mark.parametrize("kind", ASYNC)
def test_memory_does_not_grow_with_the_rows_on_a_loop(call, kind, postgres_url):
    async def run():
        connection = await ASYNC[kind](postgres_url)
        size = await adrained(call(connection, "SELECT * FROM many"))
        await connection.close()
        return size

    with memory() as grown:
        assert asyncio.run(run()) > 7_000_000
    assert grown[0] < 8


# Recognised


def test_a_named_cursor_is_recognised(postgres_url):
    for connect in SYNC.values():
        connection = connect(postgres_url)
        cursor = connection.cursor("mine")
        cursor.execute("SELECT id FROM many LIMIT 2")
        assert answer(cursor).endswith(b"1\r\n2\r\n")
        assert cursor.closed
        connection.close()


def test_an_awaited_cursor_is_recognised(postgres_url):
    async def run():
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
            cursor = connection.cursor("mine")
            await cursor.execute("SELECT id FROM many LIMIT 2")
            body = await aanswer(cursor)
            return body, cursor.closed

    assert asyncio.run(run()) == (b"id\r\n1\r\n2\r\n", True)
