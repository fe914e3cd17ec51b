"""A client that leaves, and a server that is told to stop, end what runs for it."""

import signal
import socket
import time
from urllib.parse import quote

import pytest
from serve import zoo
from serve.running import get, serving

pytestmark = pytest.mark.live

ENDLESS = "SELECT count(*) AS n FROM zoo a, zoo b, zoo c, zoo d, zoo e, zoo f, zoo g"


@pytest.fixture(scope="module")
def server(places, tmp_path_factory):
    sources = [f"{name}={place}" for name, place in places.items()]
    options = ["--max-seconds", "30", "--max-streams", "1"]
    with serving(*sources, *options, cwd=tmp_path_factory.mktemp("cwd")) as (port, _, _):
        yield port


def begin(port, path):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


def is_free(port):
    """Whether nothing runs: one stream is all that a client may have."""
    return get(port, "/duckdb/zoo.csv?_limit=1")[0] == 200


def soon(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("source", zoo.ENGINES)
def test_a_query_ends_when_the_client_leaves_before_its_first_row(server, source):
    with begin(server, f"/{source}/-/sql.csv?sql={quote(ENDLESS)}"):
        time.sleep(2)  # Nothing tells when it runs, and to ask takes its place.
        assert not is_free(server)
    assert soon(lambda: is_free(server))


@pytest.mark.parametrize("source", zoo.ENGINES)
def test_a_query_ends_when_the_client_leaves_in_the_middle(server, source):
    sql = "SELECT a.id, a.name FROM zoo a, zoo b, zoo c LIMIT 8000000"
    with begin(server, f"/{source}/-/sql.csv?sql={quote(sql)}") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert not is_free(server)
    assert soon(lambda: is_free(server))


def test_a_server_that_is_told_to_stop_breaks_its_streams_off(places, tmp_path):
    with serving(places["duckdb"], cwd=tmp_path) as (port, process, _):
        sql = "SELECT a.id, a.name FROM zoo a, zoo b, zoo c LIMIT 8000000"
        connection = begin(port, f"/zoo/-/sql.csv?sql={quote(sql)}")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        received = b""
        try:
            while chunk := connection.recv(1 << 20):
                received = (received + chunk)[-20:]
        except ConnectionError:
            pass
        assert not received.endswith(b"\r\n0\r\n\r\n")
        assert process.wait(20) == 0
        connection.close()
    assert "Traceback" not in (tmp_path / "server.log").read_text()
