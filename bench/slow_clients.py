"""Clients that stop reading cost a socket, not a thread: a Flask app stays quick beside them.

`--clients` downloads are started and not read. Then a small request is sent, again and
again: on servers with a thread a download it is not answered any more.
"""

from __future__ import annotations

import argparse
import socket
import time
from statistics import median

import flask
from common import print_table, server

from unspool.flask import stream

app = flask.Flask(__name__)


@app.get("/lines")
def lines():
    return stream((f"line {n} ".ljust(1023, "=") + "\n" for n in range(10**6)), "text")


@app.get("/small")
def small():
    return "ok"


def bridged():
    from unspool.asgi import from_wsgi

    return from_wsgi(app, threads=8)


def by_a2wsgi():
    from a2wsgi import WSGIMiddleware

    return WSGIMiddleware(app, workers=8)


def by_asgiref():
    from asgiref.wsgi import WsgiToAsgi

    return WsgiToAsgi(app)


UVICORN = "uvicorn --factory --host {host} --port {port} --log-level error slow_clients:"
WAYS = {
    "gunicorn gthread, 8 threads": "gunicorn -k gthread --threads 8 --no-control-socket "
    "--log-level error -b {at} slow_clients:app",
    "uvicorn, asgiref WsgiToAsgi": UVICORN + "by_asgiref",
    "uvicorn, a2wsgi, 8 workers": UVICORN + "by_a2wsgi",
    "uvicorn, unspool from_wsgi, 8 threads": UVICORN + "bridged",
}


def ask(port: int, path: str) -> socket.socket:
    """A connection that has asked for `path`."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    return connection


def small_request_ms(port: int, limit_s: float) -> float | None:
    """How long a small request takes; None if it was not answered in time."""
    started = time.monotonic()
    with ask(port, "/small") as connection:
        connection.settimeout(limit_s)
        try:
            connection.recv(100)
        except TimeoutError:
            return None
    return (time.monotonic() - started) * 1000


def measure(command: str, clients: int, settle_s: float) -> list[str]:
    """Answered of 20 small requests, their median, the peak memory."""
    with server(command) as running:
        stalled = [ask(running.port, "/lines") for _ in range(clients)]
        time.sleep(settle_s)
        took = [small_request_ms(running.port, 1.0) for _ in range(20)]
        answered = [ms for ms in took if ms is not None]
        for connection in stalled:
            connection.close()
        middle = f"{median(answered):.1f}" if answered else "-"
        return [f"{len(answered)} of 20", middle, f"{running.peak_mb():.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--settle-s", type=float, default=10)
    chosen = parser.parse_args()
    print(f"{chosen.clients} clients that do not read, then 20 small requests of 1 s at the most")
    lines = [
        [way, *measure(command, chosen.clients, chosen.settle_s)] for way, command in WAYS.items()
    ]
    print_table(["server", "answered", "median ms", "peak MB"], lines)


if __name__ == "__main__":
    main()
