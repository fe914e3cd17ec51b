import gc
import socket
import threading
import time
import warnings
from contextlib import ExitStack
from pathlib import Path

import pytest

from unspool import connection
from unspool.connection import (
    StreamWarning,
    Watch,
    break_off,
    ends_cleanly,
    socket_of,
    socket_to,
    warn_of,
)

SOCKETS = Path("/proc/self/fd")
linux = pytest.mark.skipif(not SOCKETS.is_dir(), reason="asks Linux for sockets")


@pytest.fixture
def new_pair():
    """Makes TCP connections: the client's and the server's end."""
    with ExitStack() as held:

        def new_pair():
            with socket.create_server(("127.0.0.1", 0)) as listener:
                client = held.enter_context(socket.create_connection(listener.getsockname()))
                server, _ = listener.accept()
            held.enter_context(server)
            client.settimeout(10)
            return client, server

        yield new_pair


@pytest.fixture
def pair(new_pair):
    return new_pair()


# Finding a connection


@linux
@pytest.mark.parametrize("duplicates", [0, 1, 5])
def test_a_connection_is_found_however_often_it_is_duplicated(pair, duplicates):
    client, server = pair
    with ExitStack() as held:
        for _ in range(duplicates):
            held.enter_context(server.dup())
        with socket_to(*client.getsockname()) as found:
            assert found.getpeername() == client.getsockname()


@linux
def test_the_right_connection_is_found_among_others(new_pair):
    for client, server in [new_pair() for _ in range(10)]:
        with socket_to(*client.getsockname()) as found:
            assert found.getsockname() == server.getsockname()
            assert found.fileno() != server.fileno()


@linux
def test_a_connection_that_is_not_there_is_not_found(pair):
    client, _ = pair
    assert socket_to("192.0.2.1", client.getsockname()[1]) is None
    assert socket_to(client.getsockname()[0], 1) is None


@linux
def test_of_two_connections_from_one_address_none_is_taken():
    with ExitStack() as held:
        ends = []
        for _ in range(2):
            listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            client = held.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            client.bind(ends[0].getsockname() if ends else ("127.0.0.1", 0))
            client.connect(listener.getsockname())
            held.enter_context(listener.accept()[0])
            ends.append(client)
        assert ends[0].getsockname() == ends[1].getsockname()
        assert socket_to(*ends[0].getsockname()) is None


@linux
def test_looking_for_a_connection_leaves_no_socket_open(new_pair):
    pairs = [new_pair() for _ in range(3)]
    gc.collect()  # What other tests have left.
    before = len(list(SOCKETS.iterdir()))
    for client, _ in pairs:
        socket_to(*client.getsockname()).close()
        socket_to("192.0.2.1", client.getsockname()[1])
    assert len(list(SOCKETS.iterdir())) <= before


@pytest.mark.parametrize("name", ["gunicorn.socket", "werkzeug.socket"])
def test_the_socket_that_a_server_gives_is_duplicated(pair, name):
    _, server = pair
    with socket_of({name: server}) as found:
        assert found.getpeername() == server.getpeername()
        assert found.fileno() != server.fileno()


@linux
def test_else_the_client_s_address_says_which_it_is(pair):
    host, port = pair[0].getsockname()
    with socket_of({"REMOTE_ADDR": host, "REMOTE_PORT": str(port)}) as found:
        assert found.getpeername() == (host, port)


@pytest.mark.parametrize("environ", [{}, {"REMOTE_PORT": ""}, {"werkzeug.socket": None}])
def test_a_hidden_connection_is_none(environ):
    assert socket_of(environ) is None


# Breaking it off


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000, 1_000_000])
@pytest.mark.parametrize("duplicated", [False, True])
def test_the_client_gets_what_was_sent_before_and_then_a_reset(pair, size, duplicated):
    client, server = pair
    other = server.dup() if duplicated else None
    got = bytearray()
    errors = []

    def read():
        try:
            while piece := client.recv(4096):
                got.extend(piece)
        except OSError as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    server.sendall(b"x" * size)
    break_off(server.dup(), drain_s=10)
    reader.join(10)
    assert len(got) == size
    assert [type(error) for error in errors] == [ConnectionResetError]
    if other:
        other.close()


def test_a_client_that_does_not_read_is_not_waited_for_longer_than_said(pair):
    _, server = pair
    server.setblocking(False)
    try:
        while True:
            server.send(b"x" * 65_536)
    except BlockingIOError:
        pass
    started = time.monotonic()
    break_off(server.dup(), drain_s=0.2)
    assert 0.15 < time.monotonic() - started < 2


def test_breaking_off_closes_what_it_is_given_also_when_it_is_too_late(pair):
    client, server = pair
    client.close()
    for _ in range(2):
        given = server.dup()
        break_off(given)
        assert given.fileno() == -1


# Watching it


def test_a_watch_notices_that_the_client_has_left_and_not_before(pair):
    client, server = pair
    watch = Watch({"werkzeug.socket": server})
    watch.check()
    client.sendall(b"more")
    watch.check()
    watch.check()
    assert server.recv(10) == b"more"
    watch.check()
    client.close()
    with pytest.raises(GeneratorExit):
        for _ in range(100):
            watch.check()
            time.sleep(0.01)
    watch.close()


def test_a_watch_notices_a_reset(pair):
    client, server = pair
    watch = Watch({"werkzeug.socket": server})
    watch.check()
    break_off(client.dup())
    with pytest.raises(GeneratorExit):
        for _ in range(100):
            watch.check()
            time.sleep(0.01)
    watch.close()


def test_a_watch_of_a_hidden_connection_never_sees_anything():
    watch = Watch({})
    watch.check()
    watch.check()
    watch.close()


def test_a_closed_watch_lets_go_and_looks_no_more(pair):
    client, server = pair
    unused, used = Watch({"werkzeug.socket": server}), Watch({"werkzeug.socket": server})
    used.check()
    unused.close()
    used.close()
    server.close()
    assert client.recv(1) == b""
    unused.check()


# What servers do


@pytest.mark.parametrize(
    ("environ", "cleanly"),
    [
        ({"SERVER_PROTOCOL": "HTTP/1.1"}, False),
        ({"SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "gunicorn/27.0"}, False),
        ({"SERVER_PROTOCOL": "HTTP/2"}, False),
        ({}, False),
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, True),
        ({"SERVER_PROTOCOL": "HTTP/1.1", "uwsgi.version": b"2.0"}, True),
        ({"SERVER_PROTOCOL": "HTTP/1.1", "mod_wsgi.version": (5, 0)}, True),
        ({"SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "Granian"}, True),
        ({"SERVER_PROTOCOL": "HTTP/1.1", "werkzeug.debug.preserve_context": 1}, True),
        ({"werkzeug.socket": None, "wsgi.multithread": True}, False),
        ({"werkzeug.socket": None, "wsgi.multithread": False}, True),
    ],
)
def test_which_servers_end_a_failed_answer_cleanly(environ, cleanly):
    assert ends_cleanly(environ) is cleanly


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"SERVER_SOFTWARE": "Granian"}, "Granian ends an answer cleanly"),
        (
            {
                "SERVER_SOFTWARE": "Apache/2.4",
                "mod_wsgi.version": (5, 0),
                "mod_wsgi.process_group": "app",
            },
            "mod_wsgi in daemon mode ends an answer cleanly",
        ),
        ({"SERVER_SOFTWARE": "gunicorn/27.0", "wsgi.multithread": False}, "--timeout"),
        ({"uwsgi.version": b"2.0"}, "--socket-timeout"),
    ],
)
def test_a_server_that_spoils_streams_is_warned_of_once(monkeypatch, environ, words):
    monkeypatch.setattr(connection, "_warned", set())
    with pytest.warns(StreamWarning) as warned:
        for _ in range(3):
            warn_of(environ)
    assert len(warned) == 1
    assert words in str(warned[0].message)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"SERVER_SOFTWARE": "gunicorn/27.0", "wsgi.multithread": True},
        {"SERVER_SOFTWARE": "waitress", "wsgi.multithread": False},
        {"mod_wsgi.version": (5, 0), "mod_wsgi.process_group": ""},
    ],
)
def test_other_servers_are_not_warned_of(monkeypatch, environ):
    monkeypatch.setattr(connection, "_warned", set())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of(environ)
