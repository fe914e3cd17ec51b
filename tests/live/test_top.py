"""`unspool top`: the streams of running servers in the terminal."""

import os
import pty
import re
import select
import signal
import sys
import threading
import time
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from live.test_watched import ask, look, read_to_the_end, wait_for
from rich.console import Console

from unspool.cli import main, top
from unspool.live import peers

SERVER = (
    "gunicorn --no-control-socket --log-level warning -b 127.0.0.1:{port} -w 2 -k gthread "
    "--threads 8 watched:flask"
)
ID = "a-stream-to-watch"


@contextmanager
def stream_of(server, id=ID):
    with ask(server, f"/slow?n=3&gap=120&_stream={id}") as sock:
        assert sock.recv(1 << 16)
        yield sock


@pytest.fixture
def unspool(capsys):
    """Runs `unspool top`; gives exit code, output and errors."""

    def unspool(*arguments):
        capsys.readouterr()
        code = main(["top", *map(str, arguments)])
        return code, *capsys.readouterr()

    return unspool


@pytest.fixture
def server(start, short_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))
    monkeypatch.setattr(peers, "_ANSWER_WITHIN_S", 15)
    return start(SERVER)


def test_the_streams_are_printed_once_whatever_names_the_app(server, short_path, unspool):
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
            code, printed, errors = unspool(*target, "--once")
            assert (code, errors) == (0, "")
            assert "1 streams" in printed
            line = next(line for line in printed.splitlines() if ID in line)
            assert re.fullmatch(
                rf"\s*{ID}\s+GET /slow\s+ndjson\s+waiting for the source\s+1\s+8 B\s+\d+\s+\d+ B"
                rf"\s+\d:\d\d\s+127\.0\.0\.1\s+{pid}\s*",
                line,
            )


def test_a_stream_is_cancelled_by_name_and_the_exit_code_says_whether_there_was_one(
    server, unspool
):
    for target, id in [(server.process.pid, "stream-1"), (server.url + "/-/streams", "stream-2")]:
        with stream_of(server, id) as sock:
            wait_for(server, id, "waiting for the source")
            assert unspool(target, "--cancel", id) == (0, f"Cancelled {id}.\n", "")
            assert not read_to_the_end(sock).endswith(b"0\r\n\r\n")
        assert look(server, f"{id}.json")["state"] == "cancelled"
        done = unspool(target, "--cancel", "no-such-stream")
        assert done == (1, "", "No stream no-such-stream runs.\n")


def test_a_token_is_asked_for_and_goes_into_the_url(start, unspool):
    server = start(SERVER, LIVE_TOKEN="a secret/of:ours")
    code, _, errors = unspool(server.url, "--once")
    assert code == 2
    assert "answers 401: give its token, as in http://:TOKEN@host/-/streams." in errors
    url = server.url.replace("//", "//:a%20secret%2Fof%3Aours@")
    assert unspool(url, "--once")[0] == 0
    assert unspool(url.replace("ours", "others"), "--once")[0] == 2


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


def test_it_goes_on_while_the_server_is_away(server, unspool, monkeypatch):
    turns = iter([lambda: None, server.process.terminate, lambda: None])

    def sleep(seconds):
        assert seconds == 1
        turn = next(turns, None)
        if turn is None:
            raise KeyboardInterrupt
        turn()
        if turn == server.process.terminate:
            server.process.wait(10)

    monkeypatch.setattr(top, "sleep", sleep)
    code, printed, errors = unspool(server.url)
    assert (code, errors) == (0, "")
    assert "The streams cannot be seen now" in printed


def test_a_redirect_does_not_get_the_token(unspool):
    asked = []

    def app(environ, start_response):
        asked.append(environ["PATH_INFO"])
        start_response("302 Found", [("Location", "/elsewhere")])
        return [b""]

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        code, _, errors = unspool(f"http://:secret@127.0.0.1:{server.server_port}/x", "--once")
    assert code == 2
    assert "302" in errors
    assert asked == ["/x/all.json"]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


def test_what_is_no_list_of_streams_is_told_so(unspool):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"<html>"]

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        code, _, errors = unspool(f"http://127.0.0.1:{server.server_port}", "--once")
    assert code == 2
    assert "is no live view: it answers b'<html>'" in errors


@pytest.mark.parametrize(
    ("value", "bytes_", "age"),
    [
        (0, "0 B", "0:00"),
        (59.9, "60 B", "0:59"),
        (999, "999 B", "16:39"),
        (1000, "1.0 kB", "16:40"),
        (3599, "3.6 kB", "59:59"),
        (3600, "3.6 kB", "1:00:00"),
        (10**15, "1000.0 TB", None),
    ],
)
def test_numbers_are_short(value, bytes_, age):
    assert top._bytes(value) == bytes_
    if age:
        assert top._age(value) == age


def test_nothing_of_a_path_moves_the_cursor(capsys):
    stream = dict.fromkeys(["rows", "bytes", "rows_per_s", "bytes_per_s", "age_s", "pid"], 1)
    stream |= dict.fromkeys(["id", "method", "client", "format"], "x")
    hostile = stream | {"state": "making", "path": "/\x1b[2J[red]a\nb"}
    Console(width=200).print(top._table([hostile]))
    printed = capsys.readouterr().out
    assert "/�[2J[red]a�b" in printed
    assert "\x1b" not in printed


def test_the_fastest_comes_first_and_what_is_over_last():
    made = {"id": "", "state": "making", "bytes_per_s": 0}
    streams = [
        made | {"id": "over", "state": "complete", "bytes_per_s": 9},
        made | {"id": "slow", "bytes_per_s": 1},
        made | {"id": "fast", "bytes_per_s": 5},
    ]
    assert [each["id"] for each in sorted(streams, key=top._order)] == ["fast", "slow", "over"]


def test_in_a_terminal_the_streams_are_shown_each_second_until_ctrl_c(server):
    with stream_of(server):
        wait_for(server, ID, "waiting for the source")
        process, terminal = in_terminal(server.process.pid)
        shown = read_until(terminal, lambda text: len(set(re.findall(r"\d:\d\d", text))) >= 3)
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
    text, deadline = "", time.monotonic() + 60
    while not enough(text):
        assert time.monotonic() < deadline, text
        if select.select([terminal], [], [], 0.2)[0]:
            text += os.read(terminal, 1 << 16).decode(errors="replace")
    return text
