"""The same cases over every server stack: unspool.testing, and what real clients see.

`KNOWN` has each case that does not pass, and why. It is kept true: a case in it that passes
fails its test.
"""

import json
import socket
import subprocess
import threading
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from live.servers import STACKS, serve

from unspool import UsageError
from unspool.testing import CASES, Report, Result, check_app

FLASK = "contract_flask:app"
BRIDGE = "contract_bridge:app"
STARLETTE = "contract_starlette:app"

WSGI = [name for name, stack in STACKS.items() if stack.kind == "wsgi"]
ASGI = [name for name, stack in STACKS.items() if stack.kind == "asgi"]

# What is tested: name -> the stack, the app, and where in it the contract begins.
TARGETS = {
    **{name: (name, FLASK, "") for name in WSGI},
    **{f"{name}, Flask": (name, BRIDGE, "") for name in ASGI},
    **{f"{name}, Starlette": (name, STARLETTE, "") for name in ASGI},
    "uvicorn h11, Starlette, plain rows": ("uvicorn h11", STARLETTE, "/sync"),
}

CLIENTS = ("curl", "httpx", "chromium")

LATE = {
    version: [f"late-{version}-{at}" for at in (1, 1000, 100_000)] for version in ("1.0", "1.1")
}

# (target, case) -> the reason.
KNOWN = {
    ("waitress", "head"): "Waitress writes a last chunk after an answer to HEAD",
    **{
        ("granian wsgi", case): (
            "Granian ends an answer cleanly when a WSGI app fails, and hides the connection"
        )
        for case in (*LATE["1.0"], *LATE["1.1"], *CLIENTS)
    },
    ("granian wsgi", "leave-slow"): (
        "Granian notices that a client has left when it writes, and hides the connection"
    ),
    **{
        (f"nginx {version}, gunicorn", case): (
            "nginx ends its answers to HTTP/1.0 clients cleanly, whatever its server does"
        )
        for version in ("1.0", "1.1")
        for case in LATE["1.0"]
    },
}


def ask_curl(url):
    """Whether curl reports a failure; and what it said."""
    command = ["curl", "-s", "-S", "--noproxy", "*", "-m", "10", "-o", "/dev/null", url]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode not in {0, 28}, f"exit code {done.returncode} {done.stderr.strip()}"


def ask_httpx(url):
    try:
        answer = httpx.get(url, timeout=10, trust_env=False)
    except httpx.TimeoutException as error:
        return False, repr(error)
    except httpx.TransportError as error:
        return True, repr(error)
    return False, f"status {answer.status_code}, {len(answer.content)} bytes"


FETCH = """
async url => {
    try {
        const response = await fetch(url, {signal: AbortSignal.timeout(10000)});
        return [false, `status ${response.status}, ${(await response.text()).length} characters`];
    } catch (error) {
        return [error.name == "TypeError", String(error)];
    }
}
"""


def ask_chromium(url, page):
    page.goto(url.partition("/fail")[0] + "/small")
    return page.evaluate(FETCH, url)


def check_client(name, url, page):
    """A late failure over HTTP/1.1, as a client that people use sees it."""
    url += "/fail?at=1000&id=" + name
    if name == "chromium":
        seen, detail = ask_chromium(url, page)
    else:
        seen, detail = {"curl": ask_curl, "httpx": ask_httpx}[name](url)
    return Result(name, seen, detail)


@pytest.fixture(scope="module", params=TARGETS)
def target(request):
    stack, app, prefix = TARGETS[request.param]
    with serve(stack, app) as server:
        yield request.param, server.url + prefix


@pytest.fixture(scope="module")
def report(target):
    name, url = target
    return {result.name: result for result in check_app(url).results}


def judge(target, result):
    reason = KNOWN.get((target, result.name))
    if reason:
        assert not result.passed, f"passes now, take it out of KNOWN: {result.detail}"
    else:
        assert result.passed, result.detail


@pytest.mark.parametrize("case", CASES)
def test_a_case_passes_or_is_known_not_to(target, report, case):
    judge(target[0], report[case])


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_sees_a_late_failure(target, client, page):
    judge(target[0], check_client(client, target[1], page))


def test_what_is_known_is_about_targets_and_cases_that_exist():
    for target, case in KNOWN:
        assert target in TARGETS
        assert case in (*CASES, *CLIENTS)


# And now the checks themselves: each finds what it is there for.


class Wrong:
    """A server for the contract that does one thing wrong, by hand and on raw sockets."""

    def __init__(self, wrong):
        self.wrong = wrong
        self.events = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=[connection], daemon=True).start()

    def answer(self, connection):
        with connection:
            try:
                self.serve(connection)
            except (BrokenPipeError, ConnectionResetError, IndexError):
                pass

    def note(self, event, id, rows=0):
        self.events.append({"at": time.monotonic(), "id": id, "event": event, "rows": rows})

    def serve(self, connection):
        method, target, version = connection.recv(4096).decode().splitlines()[0].split()
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        chunked = version == "HTTP/1.1"

        def send(data, end=False):
            try:
                if connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                    raise BrokenPipeError
            except BlockingIOError:
                pass
            if chunked and (data or end):
                data = b"%x\r\n%b\r\n" % (len(data), data)
            connection.sendall(data)

        def head(status, *headers):
            lines = [f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""]
            connection.sendall("\r\n".join(lines).encode())

        if url.path in ("/log", "/reset", "/small"):
            if url.path == "/reset":
                self.events.clear()
            text = json.dumps(self.events).encode()
            head("200 OK", f"Content-Length: {len(text)}")
            connection.sendall(text)
            return
        id = query["id"]
        framing = ["Transfer-Encoding: chunked"] if chunked else []
        if method == "HEAD":
            head("200 OK", *framing)
            if self.wrong == "starts for HEAD":
                self.note("started", id)
            if self.wrong == "body for HEAD":
                connection.sendall(b"0\r\n\r\n")
            self.note("closed", id)
            return
        self.note("started", id)
        rows = self.rows(url.path, query)
        try:
            failed = self.send_rows(rows, url.path, head, framing, send)
        except OSError:
            failed = True
            if self.wrong == "closes late":
                time.sleep(2)
            if self.wrong == "never closes":
                return
        self.note("closed", id)
        if self.wrong == "closes twice":
            self.note("closed", id)
        if self.wrong == "closes again later" and url.path == "/rows":
            threading.Timer(0.4, self.note, ["closed", id]).start()
        if failed and self.wrong not in ("ends cleanly", "writes the failure"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            time.sleep(0.02)
            return
        if self.wrong == "ends late":
            time.sleep(1)
        send(b"", end=True)

    def send_rows(self, rows, path, head, framing, send):
        """Whether the source failed."""
        started = False
        held = b""
        try:
            for chunk in rows:
                if not started:
                    head("200 OK", *framing)
                    started = True
                if self.wrong == "holds back":
                    chunk, held = held, chunk
                send(chunk)
        except LookupError:
            if not started:
                head("200 OK" if self.wrong == "early failure is 200" else "500 Failed")
            if self.wrong == "writes the failure":
                send(b"Traceback\n")
            return started
        if not started:
            head("200 OK", *framing)
        send(held)
        return False

    def rows(self, path, query):
        if path == "/slow":
            for n in range(int(query["n"])):
                if n:
                    time.sleep(float(query["gap"]))
                yield b'{"n":%d}\n' % n
        elif path == "/endless":
            pad = b',"pad":"%b"' % (b"x" * int(query["pad"])) if "pad" in query else b""
            n = 0
            while True:
                self.note("made", query["id"], n)
                if self.wrong == "runs ahead":
                    self.wrong = "runs ahead, and is at it"
                    threading.Thread(target=self.run_ahead, args=[query["id"]], daemon=True).start()
                if self.wrong != "stops when stalled" or n < 5000:
                    yield b"".join(b'{"n":%d%b}\n' % (m, pad) for m in range(n, n + 1000))
                n += 1000
                time.sleep(0.01)
        else:
            count = int(query.get("n", query.get("at")))
            lines = [b'{"n":%d}\n' % n for n in range(count)]
            if self.wrong == "loses a row" and count > 1:
                del lines[-2]
            if self.wrong == "loses the end":
                del lines[-1:]
            for at in range(0, count, 1000):
                yield b"".join(lines[at : at + 1000])
            if path == "/fail":
                raise LookupError

    def run_ahead(self, id):
        for n in range(1, 1000):
            self.note("made", id, n * 100_000)
            time.sleep(0.02)


@pytest.fixture
def wrong():
    servers = []

    def make(wrong):
        servers.append(Wrong(wrong))
        return servers[-1]

    yield make
    for server in servers:
        server.listener.close()


def test_a_server_that_does_nothing_wrong_passes(wrong):
    report = check_app(wrong("nothing").url)
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("what", "case"),
    [
        ("loses a row", "whole-1.1"),
        ("loses a row", "late-1.1-1000"),
        ("loses the end", "whole-1.0"),
        ("ends late", "whole-1.0"),
        ("ends late", "whole-1.1"),
        ("body for HEAD", "head"),
        ("starts for HEAD", "head"),
        ("early failure is 200", "early"),
        ("ends cleanly", "late-1.1-1"),
        ("ends cleanly", "late-1.1-1000"),
        ("ends cleanly", "late-1.0-100000"),
        ("writes the failure", "late-1.1-1000"),
        ("writes the failure", "late-1.0-1000"),
        ("never closes", "leave-0"),
        ("closes late", "leave-1"),
        ("closes late", "leave-10"),
        ("closes twice", "leave-2"),
        ("closes twice", "whole-1.1"),
        ("closes late", "leave-slow"),
        ("runs ahead", "stall"),
        ("stops when stalled", "stall"),
        ("holds back", "timely"),
    ],
)
def test_a_case_fails_on_a_server_that_is_wrong_there(wrong, what, case):
    (result,) = check_app(wrong(what).url, cases=[case], timeout_s=3).results
    assert (result.name, result.passed) == (case, False), result.detail


def test_a_second_close_is_found_also_if_it_comes_late(wrong):
    report = check_app(
        wrong("closes again later").url, cases=["whole-1.1", "timely", "closed-once"]
    )
    assert [result.name for result in report.failures] == ["closed-once"]


def test_a_silent_server_is_a_failure_and_not_a_wait_for_ever(wrong):
    server = wrong("nothing")
    server.rows = lambda path, query: time.sleep(3) or iter([])
    (result,) = check_app(server.url, cases=["whole-1.1"], timeout_s=0.2).results
    assert result == Result("whole-1.1", False, "nothing came for 0.2 s")


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (b"", "cut"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12345678", "cut"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n12345678", "whole"),
        (b"HTTP/1.1 200 OK\r\n\r\n12345678", "closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n8\r\n12345678\r\n0\r\n\r\n", "whole"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8;x=1\r\n12345678\r\n0\r\na: b\r\n\r\n", "whole"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n0\r\n", "cut"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n", "cut"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678", "cut"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n12345678\r\n", "garbled"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n12345678\r\n", "garbled"),
        (b"ICY\r\n\r\n12345678", "garbled"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_end_of_an_answer_is_read_from_its_framing_at_any_split(answer, end, step):
    from unspool.testing import _Answer

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        got = _Answer(_Slowly(ours, step))
        body = got.read()
        assert got.end == end
        assert got.status == (200 if answer.startswith(b"HTTP") else 0)
        if end in ("whole", "closed"):
            assert body == b"12345678"


class _Slowly:
    """A socket that gives a few bytes at a time."""

    def __init__(self, sock, step):
        self.sock, self.step = sock, step

    def recv(self, size):
        return self.sock.recv(min(size, self.step))


@pytest.mark.parametrize("url", ["https://127.0.0.1", "127.0.0.1:8000", "http:///path", ""])
def test_a_url_that_cannot_be_checked_is_refused(url):
    with pytest.raises(UsageError):
        check_app(url)


def test_a_report_is_a_table():
    report = Report(
        "http://x", (Result("head", True, "good"), Result("early", False, "status 200"))
    )
    assert not report.passed
    assert str(report) == (
        "http://x\n"
        "head            ok    good\n"
        "early           FAIL  status 200\n"
        "1 of 2 passed"
    )  # fmt: skip
