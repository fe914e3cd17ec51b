"""`unspool serve` as a process, and a client that sends what it is told to."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

SRC = Path(__file__).parent.parent.parent / "src"


@contextmanager
def serving(*arguments, cwd, token=None):
    """The port of a server, which is told to stop afterwards, and its process."""
    environment = (
        os.environ | {"PYTHONPATH": str(SRC)} | ({"UNSPOOL_TOKEN": token} if token else {})
    )
    log = Path(cwd) / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "unspool", "serve", "--port", "0", *arguments],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        greeting = process.stdout.readline()
        assert greeting.startswith("Serving at http://"), log.read_text()
        port = int(greeting.strip().rstrip("/").rpartition(":")[2])
        while "Ctrl-C" not in greeting:
            greeting += process.stdout.readline()
        wait_for(port)
        yield port, process, greeting
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.stdout.close()


def wait_for(port):
    deadline = time.monotonic() + 60
    while not ask(port, b"GET /-/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")[
        0
    ]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask(port, request, timeout=30):
    """Status, head and body of the answer to these very bytes; 0 if there is none."""
    answer = b""
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout)) as connection:
            connection.sendall(request)
            while chunk := connection.recv(65536):
                answer += chunk
    except ConnectionError:
        pass
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/") else 0
    return status, head.decode("latin-1"), body


def get(port, target, *headers, method="GET", host="localhost", timeout=30):
    """The same for a target and headers as bytes or text."""
    lines = [f"{method} ".encode() + _bytes(target) + b" HTTP/1.1"]
    lines += [b"Host: " + _bytes(host)] if host is not None else []
    lines += [*map(_bytes, headers), b"Connection: close", b"", b""]
    return ask(port, b"\r\n".join(lines), timeout)


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")
