"""`unspool top`: the streams of running servers in the terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from live.test_watched import ask, look, read_to_the_end, wait_for

from unspool.cli import main

SERVER = (
    "gunicorn --no-control-socket --log-level warning -b 127.0.0.1:{port} -w 2 -k gthread "
    "--threads 8 watched:flask"
)
ID = "a-stream-to-watch"


@contextmanager
def stream_of(server, id=ID):
    with ask(server, f"/slow?n=3&gap=20&_stream={id}") as sock:
        assert sock.recv(1 << 16)
        yield sock


def unspool(*arguments):
    command = [sys.executable, "-m", "unspool", "top", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


@pytest.fixture
def server(start, short_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))
    return start(SERVER)


def test_the_streams_are_printed_once_whatever_names_the_app(server, short_path):
    with stream_of(server):
        pid = wait_for(server, ID, "waiting for the source")["pid"]
        (folder,) = (short_path / f"unspool-{os.geteuid()}").iterdir()
        url = server.url + "/-/streams/"
        for target in [
            (),
            (url,),
            (url.rstrip("/"),),
            (server.url,),
            (server.process.pid,),
            (pid,),
            (folder,),
        ]:
            done = unspool(*target, "--once")
            assert (done.returncode, done.stderr) == (0, "")
            assert "1 streams" in done.stdout
            line = next(line for line in done.stdout.splitlines() if ID in line)
            assert re.fullmatch(
                rf"\s*{ID}\s+GET /slow\s+ndjson\s+waiting for the source\s+1\s+8 B\s+\d+\s+\d+ B"
                rf"\s+0:0\d\s+127\.0\.0\.1\s+{pid}\s*",
                line,
            )


def test_a_stream_is_cancelled_by_name_and_the_exit_code_says_whether_there_was_one(server):
    for target, id in [(server.process.pid, "stream-1"), (server.url + "/-/streams", "stream-2")]:
        with stream_of(server, id) as sock:
            wait_for(server, id, "waiting for the source")
            done = unspool(target, "--cancel", id)
            assert (done.returncode, done.stdout) == (0, f"Cancelled {id}.\n")
            assert not read_to_the_end(sock).endswith(b"0\r\n\r\n")
        assert look(server, f"{id}.json")["state"] == "cancelled"
        done = unspool(target, "--cancel", "no-such-stream")
        assert (done.returncode, done.stderr) == (1, "No stream no-such-stream runs.\n")


def test_a_token_is_asked_for_and_goes_into_the_url(start):
    server = start(SERVER, LIVE_TOKEN="a secret/of:ours")
    done = unspool(server.url, "--once")
    assert done.returncode == 2
    assert "answers 401: give its token, as in http://:TOKEN@host/-/streams." in done.stderr
    url = server.url.replace("//", "//:a%20secret%2Fof%3Aours@")
    assert unspool(url, "--once").returncode == 0
    assert unspool(url.replace("ours", "others"), "--once").returncode == 2


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("ftp://host/", "is no URL of a live view"),
        ("/no/such/folder", "neither a URL, nor a process, nor a folder"),
        ("999999999", "no process 999999999 shows its streams"),
        ("http://127.0.0.1:1/", "refused"),
    ],
)
def test_what_cannot_be_looked_at_is_an_error_of_usage(target, says, capsys):
    assert main(["top", target, "--once"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("unspool top: ")
    assert says in printed.err


def test_another_server_is_no_live_view(server, capsys):
    assert main(["top", server.url + "/small", "--once"]) == 2
    assert "404" in capsys.readouterr().err


def test_in_a_terminal_the_streams_are_shown_each_second_until_ctrl_c(server):
    with stream_of(server):
        wait_for(server, ID, "waiting for the source")
        process, terminal = in_terminal(server.process.pid)
        shown = read_until(terminal, lambda text: len(set(re.findall(r"0:0\d|0:1\d", text))) >= 3)
        assert ID in shown
        assert "waiting for the source" in shown
        os.kill(process, signal.SIGINT)
        read_until(terminal, lambda text: "\x1b[?1049l" in text)  # The screen of before is back.
        _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        os.close(terminal)


def in_terminal(*arguments):
    process, terminal = pty.fork()
    if not process:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40"}
        command = [sys.executable, "-m", "unspool", "top", *map(str, arguments)]
        os.execv(command[0], command)
    return process, terminal


def read_until(terminal, enough):
    text, deadline = "", time.monotonic() + 15
    while not enough(text):
        assert time.monotonic() < deadline, text
        if select.select([terminal], [], [], 0.2)[0]:
            text += os.read(terminal, 1 << 16).decode(errors="replace")
    return text
