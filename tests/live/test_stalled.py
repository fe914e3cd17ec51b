"""Slow clients of a Flask app on an ASGI server: each costs a socket, not a thread."""

import resource
import selectors
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STREAMS = 2000
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


def read_all(socks):
    """The answers of all connections, read at the same time: their lengths and ends."""
    ends = {}
    sizes = dict.fromkeys(socks, 0)
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(30)
            assert ready, f"{len(selector.get_map())} streams do not go on"
            for key, _ in ready:
                data = key.fileobj.recv(1 << 18)
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    continue
                sizes[key.fileobj] += len(data)
                ends[key.fileobj] = (ends.get(key.fileobj, b"") + data)[-40:]
    return sizes, ends


def test_2000_stalled_downloads_leave_the_app_quick_and_small_and_go_on_whole(bridge):
    pid, port = bridge
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 3 * STREAMS)), hard))
    small_requests(port, 5)
    socks = [ask(port, "/lines?n=700") for _ in range(STREAMS)]
    wait_until_all_are_stalled(pid)
    took = small_requests(port, 50)
    peak_mib = status_of(pid, "VmHWM") / 1024
    threads = status_of(pid, "Threads")
    print(
        f"small request: median {statistics.median(took) * 1000:.1f} ms; peak {peak_mib:.0f} MiB; {threads} threads"
    )
    assert statistics.median(took) < 0.1
    assert peak_mib < 400
    assert threads <= WORKERS + 4
    sizes, ends = read_all(socks)
    assert min(sizes.values()) > 700 * 1024
    assert {end[-5:] for end in ends.values()} == {b"0\r\n\r\n"}
    assert all(b"line 699 " in end or end.endswith(b"=\n\r\n0\r\n\r\n") for end in ends.values())
