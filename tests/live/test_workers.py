"""The live view across the processes of one app: any of them shows, and cancels, the streams of all."""

import os
import signal
import socket
import stat
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from live.servers import HERE, ROOT, Server, free_port, running
from live.test_watched import ask, cancel, look, read_to_the_end, wait_for

BIN = Path(sys.executable).parent
GUNICORN = "gunicorn --no-control-socket --log-level warning -b 127.0.0.1:{port} -w 3 "
SERVERS = {
    "gunicorn gthread": GUNICORN + "-k gthread --threads 40 watched:flask",
    "gunicorn preload": GUNICORN + "-k gthread --threads 40 --preload watched:flask",
    "gunicorn gevent": GUNICORN + "-k gevent watched:flask",
    "uvicorn workers": "uvicorn --log-level warning --port {port} --workers 2 watched:starlette",
    "granian workers": "granian --host 127.0.0.1 --port {port} --workers 2 --interface asgi "
    "watched:starlette",
}


@pytest.fixture
def short_path():
    """A folder whose path is short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture
def start(short_path):
    """Starts a server whose processes meet below `short_path`."""
    with ExitStack() as servers:

        def start(command):
            port = free_port()
            (short_path / "contract.json").touch()
            env = {
                **os.environ,
                "CONTRACT_LOG": str(short_path / "contract.json"),
                "PYTHONPATH": os.pathsep.join(map(str, [HERE, HERE.parent, ROOT / "src"])),
                "XDG_RUNTIME_DIR": str(short_path),
            }
            words = command.format(port=port).split()
            words[0] = str(BIN / words[0])
            log = short_path / f"{port}.log"
            process = servers.enter_context(running(words, port, HERE, env, log))
            return Server(process, port, short_path, {port})

        yield start


def running_streams(server):
    streams = look(server, "all.json")["streams"]
    return [each for each in streams if each["state"] != "cancelled"]


@pytest.mark.parametrize("name", SERVERS)
def test_any_process_shows_the_streams_of_all_and_passes_a_cancel_on(start, name, short_path):
    server = start(SERVERS[name])
    with ExitStack() as connections:
        socks = {}
        for n in range(40):
            id = f"stream-{n:03}"
            path = f"/endless?every=100000&pad=1000&_stream={id}"
            socks[id] = connections.enter_context(ask(server, path))
            assert socks[id].recv(100)
            if len({each["pid"] for each in running_streams(server)}) == 2:
                break
        else:
            raise AssertionError("all streams are in one process")
        for _ in range(10):
            assert {each["id"] for each in running_streams(server)} == set(socks)
            assert look(server, f"stream-{n:03}.json")["id"] == f"stream-{n:03}"
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
        deadline = time.monotonic() + 5
        while any(each["pid"] == dead for each in running_streams(server)):
            assert time.monotonic() < deadline
        for _ in range(6):
            began = time.monotonic()
            running_streams(server)
            assert time.monotonic() - began < 1
        assert list(short_path.rglob(f"{dead}.sock")) == []
        assert list(short_path.rglob("*.sock"))


def test_a_process_that_does_not_answer_is_left_out(start, short_path):
    server = start(SERVERS["gunicorn gthread"])
    look(server, "all.json")
    (folder,) = (short_path / f"unspool-{os.geteuid()}").iterdir()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "1.sock"))
        silent.listen()
        began = time.monotonic()
        assert look(server, "all.json") == {"streams": []}
        assert 0.9 < time.monotonic() - began < 3


def test_nothing_is_left_behind_when_the_server_stops(start, short_path):
    server = start(SERVERS["gunicorn gthread"])
    with ask(server, "/rows?n=1&_stream=stream-of-one-row") as sock:
        assert sock.recv(1 << 16)
    wait_for(server, "stream-of-one-row", "complete")
    server.process.terminate()
    server.process.wait(10)
    assert list(short_path.rglob("*.sock")) == []
