"""The live view of apps on real servers: what it shows of streams, and that they can be cancelled."""

import json
import socket
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from live.servers import STACKS, serve

# Its streams end cleanly whatever happens, and its connections are hidden (docs/servers.md).
HIDDEN = {"granian wsgi", "mod_wsgi daemon", "mod_wsgi embedded"}
WSGI = [name for name, stack in STACKS.items() if stack.kind == "wsgi" and name not in HIDDEN]
ASGI = [name for name, stack in STACKS.items() if stack.kind == "asgi"]


def look(server, path):
    with urlopen(f"{server.url}/-/streams/{path}", timeout=30) as answer:
        return json.load(answer)


def cancel(server, id):
    headers = {"X-Requested-With": "test"}
    url = f"{server.url}/-/streams/{id}/cancel"
    with urlopen(Request(url, method="POST", headers=headers), timeout=30) as answer:
        return answer.status


def wait_for(server, id, *states, within_s=30):
    """The record of a stream, once it is in one of these states."""
    deadline = time.monotonic() + within_s
    record = None
    while time.monotonic() < deadline:
        try:
            record = look(server, f"{id}.json")
        except HTTPError as error:
            assert error.code == 404
        if record and record["state"] in states:
            return record
        time.sleep(0.05)
    raise AssertionError(f"never {states}: {record}")


def ask(server, path):
    """A connection that has asked for `path`, and has a small window."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.settimeout(30)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return sock


def read_to_the_end(sock):
    """What comes until the connection ends, however it does."""
    data = bytearray()
    try:
        while part := sock.recv(1 << 16):
            data += part
    except ConnectionError:
        pass
    return bytes(data)


def cancelled_in_its_source(server, path, id):
    with ask(server, f"{path}/slow?n=2&gap=6&id={id}&_stream={id}") as sock:
        read = b""
        while b'{"n":0}' not in read:
            assert (part := sock.recv(1 << 16)), read
            read += part
        record = wait_for(server, id, "waiting for the source")
        assert record["path"].endswith(f"{path}/slow")
        assert (record["rows"], record["bytes"], record["format"]) == (1, 8, "ndjson")
        assert (record["method"], record["client"]) == ("GET", "127.0.0.1")
        began = time.monotonic()
        assert cancel(server, id) == 202
        rest = read_to_the_end(sock)
        assert time.monotonic() - began < 5
    assert not rest.endswith(b"0\r\n\r\n")
    assert b'"n":1' not in rest
    assert wait_for(server, id, "cancelled")["rows"] == 1


def cancelled_at_a_slow_client(server, path, id):
    with ask(server, f"{path}/endless?pad=50000&id={id}&_stream={id}") as sock:
        wait_for(server, id, "waiting for the client")
        stalled(server, id)
        began = time.monotonic()
        assert cancel(server, id) == 202
        rest = read_to_the_end(sock)
        assert time.monotonic() - began < 8
    assert not rest.endswith(b"0\r\n\r\n")
    assert wait_for(server, id, "cancelled")["bytes"] > 50_000
    closed(server, id)


def stalled(server, id):
    """Waits until nothing moves: the buffers are full."""
    before, deadline = None, time.monotonic() + 20
    while (now := look(server, f"{id}.json")["bytes"]) != before:
        assert time.monotonic() < deadline
        before = now
        time.sleep(0.4)


def closed(server, id):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with urlopen(f"{server.url}/log", timeout=30) as answer:
            events = [each["event"] for each in json.load(answer) if each["id"] == id]
        if "closed" in events:
            assert events.count("closed") == 1
            return
        time.sleep(0.05)
    raise AssertionError(f"the source was not closed: {events}")


@pytest.mark.parametrize(
    ("name", "app", "path"),
    [(name, "watched:flask", "") for name in WSGI]
    + [(name, "watched:starlette", "") for name in ASGI]
    + [("gunicorn gthread", "watched:django_wsgi", "/sync")]
    + [("uvicorn httptools", "watched:starlette", "/sync")]
    + [
        (name, f"watched:{app}", path)
        for name in ("uvicorn h11", "hypercorn")
        for app, path in [
            ("bridged", ""),
            ("guarded", ""),
            ("django", ""),
            ("django", "/sync"),
            ("quart", ""),
            ("quart", "/sync"),
        ]
    ],
)
def test_a_stream_that_is_stuck_in_its_source_or_on_its_client_is_seen_and_cancelled(
    name, app, path
):
    with serve(name, app) as server:
        cancelled_in_its_source(server, path, "stuck-in-its-source")
        if name != "daphne":  # It takes all into memory: to it no client is slow.
            cancelled_at_a_slow_client(server, path, "stuck-on-its-client")
