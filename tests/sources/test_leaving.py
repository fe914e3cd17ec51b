"""Clients that leave real servers while a query of theirs is stuck."""

import socket
import sqlite3
import time
from pathlib import Path

import psycopg
import pymysql
import pytest
from live.servers import serve
from sources.reading import until

pytestmark = pytest.mark.live


@pytest.fixture(scope="module", autouse=True)
def environment(postgres_url, mariadb, tmp_path_factory):
    path = tmp_path_factory.mktemp("queries") / "a.db"
    sqlite3.connect(path).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUERIES_POSTGRES", postgres_url)
        keys = ("host", "port", "user", "password")
        patch.setenv("QUERIES_MARIADB", " ".join(str(mariadb[key]) for key in keys))
        patch.setenv("QUERIES_SQLITE", str(path))
        yield


@pytest.fixture
def queries(postgres_url, mariadb):
    """How many queries the databases are at."""
    with psycopg.connect(postgres_url, autocommit=True) as postgres:
        other = pymysql.connect(**mariadb, autocommit=True)
        cursor = other.cursor()

        def count():
            active = postgres.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE state != 'idle'"
                " AND backend_type = 'client backend' AND pid != pg_backend_pid()"
            ).fetchone()[0]
            cursor.execute(
                "SELECT count(*) FROM information_schema.processlist"
                " WHERE info IS NOT NULL AND id != connection_id()"
            )
            return active + cursor.fetchone()[0]

        yield count
        other.close()


def leave(server, path):
    """A client that leaves 0.2 s after the first rows."""
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received or b"\n1," not in received:
            got = client.recv(65536)
            assert got, received
            received += got
        time.sleep(0.2)
    assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.alone
@pytest.mark.parametrize("path", ["/copy", "/query", "/mysql"])
def test_with_threads_the_query_ends(path, queries):
    with serve("gunicorn gthread", "live.queries_flask:app") as server:
        for _ in range(3):
            leave(server, path)
            until(lambda: not queries(), 0.5)


@pytest.mark.alone
@pytest.mark.parametrize("path", ["/copy", "/query", "/psycopg-copy", "/psycopg-query"])
def test_on_a_loop_the_query_ends(path, queries):
    with serve("uvicorn h11", "live.queries_starlette:app") as server:
        for _ in range(3):
            leave(server, path)
            until(lambda: not queries(), 0.5)


@pytest.mark.alone
def test_a_query_of_sqlite_that_uses_a_core_ends():
    with serve("gunicorn gthread", "live.queries_flask:app") as server:
        leave(server, "/sqlite")
        time.sleep(0.5)
        before = cpu_s(server)
        time.sleep(0.5)
        assert cpu_s(server) - before < 0.1


def cpu_s(server):
    stats = [Path(f"/proc/{pid}/stat").read_text() for pid in server.pids()]
    ticks = [stat.rpartition(")")[2].split()[11:13] for stat in stats]
    return sum(int(user) + int(system) for user, system in ticks) / 100
