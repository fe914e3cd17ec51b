"""Slow clients of a Flask app on an ASGI server: each costs a socket, not a thread."""

import resource
import selectors
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import h11
import pytest

HERE = Path(__file__).parent
STREAMS = 2000
LINES = 700
WORKERS = 8


@pytest.fixture
def bridge():
    """The process id and port of uvicorn with the bridged app.

    Its listening socket has a small send buffer, which connections inherit: else the kernel
    takes megabytes for each client that does not read, and no stream would be stalled.
    """
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        listening.bind(("127.0.0.1", 0))
        listening.listen(2048)
        listening.set_inheritable(True)
        command = [sys.executable, "-m", "uvicorn", "--fd", str(listening.fileno())]
        command += ["--log-level", "warning", "bridged:app"]
        process = subprocess.Popen(command, cwd=HERE, pass_fds=[listening.fileno()])
        try:
            yield process.pid, listening.getsockname()[1]
        finally:
            process.kill()
            process.wait()


def ask(port, path):
    """A connection that has asked for `path` and will read nothing of the answer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    return sock


def small_requests(port, count):
    took = []
    for _ in range(count):
        started = time.monotonic()
        with ask(port, "/small") as sock:
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
        took.append(time.monotonic() - started)
    return took


def lines_made(port):
    with ask(port, "/made") as sock, sock.makefile("rb") as answer:
        return int(answer.read().rpartition(b"\r\n\r\n")[2])


def status_of(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)


def wait_until_all_are_stalled(pid):
    """Until the server has used no processor time for half a second."""
    before = None
    deadline = time.monotonic() + 120
    while (now := Path(f"/proc/{pid}/stat").read_text().split()[13:15]) != before:
        assert time.monotonic() < deadline
        before = now
        time.sleep(0.5)


class Reader:
    """Reads one answer with a foreign parser, and compares it with what it should be."""

    def __init__(self, sock, body):
        self.sock = sock
        self.body = body
        self.at = 0
        self.parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        for event in (
            h11.Request(
                method="GET", target="/", headers=[("Host", "test"), ("Connection", "close")]
            ),
            h11.EndOfMessage(),
        ):
            self.parser.send(event)

    def read(self):
        """Reads what is there; whether the answer goes on."""
        self.parser.receive_data(self.sock.recv(1 << 18))
        while (event := self.parser.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                assert event.status_code == 200
            elif isinstance(event, h11.Data):
                end = self.at + len(event.data)
                assert event.data == self.body[self.at : end]
                self.at = end
            else:
                assert isinstance(event, h11.EndOfMessage)
                assert self.at == len(self.body)
                return False
        return True


def read_all(socks, body):
    """Reads the answers of all connections at the same time; each must be `body`, and whole."""
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, Reader(sock, body))
        while selector.get_map():
            ready = selector.select(30)
            assert ready, f"{len(selector.get_map())} streams do not go on"
            for key, _ in ready:
                if not key.data.read():
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


@pytest.mark.alone
def test_2000_stalled_downloads_leave_the_app_quick_and_small_and_go_on_whole(bridge):
    pid, port = bridge
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 3 * STREAMS)), hard))
    small_requests(port, 5)
    socks = [ask(port, f"/lines?n={LINES}") for _ in range(STREAMS)]
    wait_until_all_are_stalled(pid)
    made = lines_made(port)
    took = small_requests(port, 50)
    peak_mib = status_of(pid, "VmHWM") / 1024
    threads = status_of(pid, "Threads")
    print(
        f"small request: median {statistics.median(took) * 1000:.1f} ms; peak {peak_mib:.0f} MiB; {threads} threads; {made / STREAMS:.0f} of {LINES} lines made"
    )
    assert STREAMS <= made < STREAMS * LINES / 2  # All have begun, and none is near its end.
    assert statistics.median(took) < 0.1
    assert peak_mib < 400
    assert threads <= WORKERS + 4
    body = "".join(f"line {n} ".ljust(1023, "=") + "\n" for n in range(LINES)).encode()
    read_all(socks, body)
    assert lines_made(port) == STREAMS * LINES
