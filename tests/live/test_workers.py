"""The live view across the processes of one app: any of them shows, and cancels, the streams of all."""

import os
import signal
import socket
import stat
import time
from contextlib import ExitStack, contextmanager

import pytest
from live.test_watched import ask, cancel, look, read_to_the_end, wait_for

GUNICORN = "gunicorn --no-control-socket --log-level warning -b 127.0.0.1:{port} -w 3 "
SERVERS = {
    "gunicorn gthread": GUNICORN + "-k gthread --threads 40 watched:flask",
    "gunicorn preload": GUNICORN + "-k gthread --threads 40 --preload watched:flask",
    "gunicorn gevent": GUNICORN + "-k gevent watched:flask",
    "uvicorn workers": "uvicorn --log-level warning --port {port} --workers 2 watched:starlette",
    "granian workers": "granian --host 127.0.0.1 --port {port} --workers 2 --interface asgi "
    "watched:starlette",
}


# Each of their processes has a queue of its own: what waits in one, no other accepts.
OWN_QUEUES = {"granian workers"}


@contextmanager
def stopped(pids):
    """Within this, another process must accept: all streams have come to these so far."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def running_streams(server):
    streams = look(server, "all.json")["streams"]
    return [each for each in streams if each["state"] != "cancelled"]


@pytest.mark.parametrize("name", SERVERS)
def test_any_process_shows_the_streams_of_all_and_passes_a_cancel_on(start, name, short_path):
    server = start(SERVERS[name])
    with ExitStack() as connections:
        socks = {}
        while len(pids := {each["pid"] for each in running_streams(server)}) < 2:
            assert len(socks) < 40
            id = f"stream-{len(socks):03}"
            path = f"/endless?every=100000&pad=1000&_stream={id}"
            with stopped(pids if len(socks) > 8 and name not in OWN_QUEUES else ()):
                socks[id] = connections.enter_context(ask(server, path))
                assert socks[id].recv(100)
        for _ in range(10):
            assert {each["id"] for each in running_streams(server)} == set(socks)
            assert look(server, f"{id}.json")["id"] == id
        for id, sock in socks.items():
            assert cancel(server, id) == 202
            assert not read_to_the_end(sock).endswith(b"0\r\n\r\n")
        assert running_streams(server) == []
        (folder,) = (short_path / f"unspool-{os.geteuid()}").iterdir()
        for path in (folder.parent, folder):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_process_that_was_killed_is_forgotten_and_the_others_answer(start, short_path):
    server = start(SERVERS["gunicorn gthread"])
    with ExitStack() as connections:
        for n in range(6):
            sock = connections.enter_context(ask(server, f"/slow?n=2&gap=20&_stream=stream-{n:03}"))
            assert sock.recv(1 << 16)
        dead = running_streams(server)[0]["pid"]
        os.kill(dead, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while any(each["pid"] == dead for each in running_streams(server)):
            assert time.monotonic() < deadline
        took = []
        for _ in range(6):
            began = time.monotonic()
            running_streams(server)
            took.append(time.monotonic() - began)
        assert min(took) < 1
        assert list(short_path.rglob(f"{dead}.sock")) == []
        assert list(short_path.rglob("*.sock"))


def test_a_process_that_does_not_answer_is_left_out(start, short_path):
    server = start(SERVERS["gunicorn gthread"], ANSWER_WITHIN_S="1")
    look(server, "all.json")
    (folder,) = (short_path / f"unspool-{os.geteuid()}").iterdir()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "1.sock"))
        silent.listen()
        began = time.monotonic()
        assert look(server, "all.json") == {"streams": []}
        assert 0.9 < time.monotonic() - began < 8


def test_nothing_is_left_behind_when_the_server_stops(start, short_path):
    server = start(SERVERS["gunicorn gthread"])
    with ask(server, "/rows?n=1&_stream=stream-of-one-row") as sock:
        assert sock.recv(1 << 16)
    wait_for(server, "stream-of-one-row", "complete")
    server.process.terminate()
    server.process.wait(10)
    assert list(short_path.rglob("*.sock")) == []
