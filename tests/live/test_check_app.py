"""`check_app` itself: each case finds what it is there for, on a server that is wrong there."""

import json
import socket
import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from unspool import UsageError
from unspool.testing import Report, Result, check_app


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


@pytest.mark.alone
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
        ("closes late", "leave-each"),
        ("never closes", "leave-each"),
        ("closes late", "leave-stalled"),
        ("runs ahead", "leave-stalled"),
        ("runs ahead", "stall"),
        ("stops when stalled", "stall"),
        ("holds back", "timely"),
    ],
)
def test_a_case_fails_on_a_server_that_is_wrong_there(wrong, what, case, monkeypatch):
    # A busy machine makes no rows for longer than a client is to wait for more of them.
    monkeypatch.setattr("unspool.testing._STALL_SHORT_S", 1.5)
    (result,) = check_app(wrong(what).url, cases=[case], timeout_s=3).results
    assert (result.name, result.passed) == (case, False), result.detail


def test_a_second_close_is_found_also_if_it_comes_late(wrong):
    report = check_app(
        wrong("closes again later").url, cases=["whole-1.1", "timely", "closed-once"]
    )
    assert "closed-once" in [result.name for result in report.failures]


def test_a_silent_server_is_a_failure_and_not_a_wait_for_ever(wrong):
    server = wrong("nothing")
    server.rows = lambda path, query: time.sleep(3) or iter([])
    (result,) = check_app(server.url, cases=["whole-1.1"], timeout_s=1).results
    assert result == Result("whole-1.1", False, "nothing came for 1 s")


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
    from unspool.http1 import Answer

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        got = Answer(_Slowly(ours, step))
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
