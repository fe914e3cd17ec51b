"""Thousands of clients that leave in the middle: nothing is left behind."""

import itertools
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from live.servers import serve

ABORTED = 3000
AT_ONCE = 8
WAIT_S = 60


def abort(port, path, read):
    """Asks, reads a little or nothing, and is gone."""
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while read > 0:
            got = client.recv(min(read, 65536))
            assert got
            read -= len(got)


def abort_many(port, many):
    # Before the head, after the first chunk, and in the middle of a later one.
    kinds = itertools.product(["/stream", "/pieces"], [1, 2000, 100_000])
    asks = zip(range(many), itertools.cycle(kinds))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(abort, port, f"{path}?n={n}", read) for n, (path, read) in asks]:
            done.result()


def gauges_at_rest(server, opened):
    """What the app says of itself when all that was opened is closed, or after a while."""
    deadline = time.monotonic() + WAIT_S
    while True:
        found = httpx.get(server.url + "/gauges", trust_env=False, timeout=30).json()
        if found["counts"].get("torn down") == opened or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("stack", "app"),
    [("gunicorn gthread", "aborted:app"), ("uvicorn httptools", "aborted:bridged")],
)
def test_3000_aborted_downloads_leave_no_thread_file_connection_or_context_behind(stack, app):
    with serve(stack, app) as server:
        abort_many(server.port, 60)
        before = gauges_at_rest(server, 60)
        abort_many(server.port, ABORTED)
        after = gauges_at_rest(server, 60 + ABORTED)
    total = 60 + ABORTED
    assert after["counts"] == {
        "opened": total,
        "closed": total,
        "torn down": total,
        "disconnect": total // 2,
    }
    assert after["other contexts"] == 0
    # The server may have begun more of its threads; a leak would be of hundreds.
    assert after["threads"] <= before["threads"] + AT_ONCE
    assert after["files"] <= before["files"] + AT_ONCE
