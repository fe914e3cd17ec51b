"""Puts databases and files behind streamed downloads, with a page to choose them."""

from __future__ import annotations

import argparse
import logging
import os
import socket
from asyncio import CancelledError
from contextlib import closing, suppress
from ipaddress import ip_address
from typing import Any

from unspool._optional import require
from unspool.errors import StreamError, UsageError

__all__ = ["HELP", "arguments", "run"]

HELP = "serve databases and files as downloads of any size"

_TOKEN = "UNSPOOL_TOKEN"  # noqa: S105 (the name of a variable)

# Streams that still run when the server is told to stop: they are broken off.
_GRACE_S = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `run` takes."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="[NAME=]SOURCE",
        help="a file of DuckDB, SQLite, Parquet, CSV, TSV or NDJSON; a folder of such files; "
        "postgresql://…, mysql://…",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument("--port", type=int, default=8000, help="the port; 0 takes a free one")
    parser.add_argument(
        "--token",
        default=None,
        help=f"who has it may read; better set {_TOKEN}, which other users of this machine cannot "
        "see",
    )
    parser.add_argument("--max-rows", type=int, metavar="N", help="most rows of an answer")
    parser.add_argument("--max-bytes", type=int, metavar="N", help="most bytes of an answer")
    parser.add_argument(
        "--max-seconds", type=float, metavar="S", help="most seconds that an answer may take"
    )
    parser.add_argument(
        "--max-streams",
        type=int,
        metavar="N",
        default=8,
        help="most answers at the same time for one client",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is told to stop.

    Raises:
        UsageError: a source that cannot be read, a limit that cannot be, a public address without
            a token.
        OSError: the port is taken.
    """
    uvicorn = require("uvicorn", extra="serve")
    require("flask", extra="serve")
    from unspool.serve import Settings, create_app, in_lanes  # noqa: PLC0415

    token = arguments.token if arguments.token is not None else os.environ.get(_TOKEN)
    settings = Settings(
        max_rows=arguments.max_rows,
        max_bytes=arguments.max_bytes,
        max_seconds=arguments.max_seconds,
        max_streams=arguments.max_streams,
        token=token,
        hosts=_hosts(arguments.host, token),
    )
    app = create_app(arguments.sources, settings)
    logging.getLogger("uvicorn.error").addFilter(_in_one_line)
    config = uvicorn.Config(
        in_lanes(app),
        http="h11",  # It stops at 64 KiB of request line and headers.
        log_level="warning",
        access_log=False,
        server_header=False,
        # Whom to believe what a proxy says of its clients: nobody, if it is not said who that is.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        timeout_graceful_shutdown=_GRACE_S,
    )
    with closing(_listening(arguments.host, arguments.port)) as listening:
        print(_greeting(app, listening), flush=True)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
    app.extensions["unspool.serve"].catalog.close()
    return 0


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _hosts(host: str, token: str | None) -> frozenset[str] | None:
    """The names by which the server may be called: without a token, those of this machine."""
    if token is not None:
        return None
    if not _is_loopback(host):
        raise UsageError(
            f"{host} can be reached by others, who could read all that is served. Set a token "
            f"({_TOKEN}=…, or --token), or leave --host out."
        )
    return frozenset({"localhost", "127.0.0.1", "::1", host.lower()})


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _greeting(app: Any, listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    lines = [f"Serving at http://{f'[{host}]' if ':' in host else host}:{port}/"]
    sources = app.extensions["unspool.serve"].sources.values()
    width = max(len(source.name) for source in sources)
    for source in sources:
        tables = len(source.tables())
        several = "" if tables == 1 else "s"
        lines.append(f"  {source.name:<{width}}  {source.kind}, {tables} table{several}")
    return "\n".join([*lines, "Press Ctrl-C to stop."])


def _in_one_line(record: logging.LogRecord) -> bool:
    """Says of an answer that met its limit what happened, not where in the code it was seen."""
    from unspool.serve.problems import Problem  # noqa: PLC0415

    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, CancelledError):
        return False  # The server was told to stop, and has said so.
    if isinstance(error, (Problem, StreamError)):
        record.msg, record.args, record.exc_info = "an answer was broken off: %s", (error,), None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True
