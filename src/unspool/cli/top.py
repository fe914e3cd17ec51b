"""The streams of running apps, in the terminal."""

from __future__ import annotations

import base64
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from unspool._optional import require
from unspool.errors import UsageError
from unspool.live import peers

__all__ = ["HELP", "arguments", "run"]

HELP = "show the streams of running apps, and cancel one"

_EVERY_S = 1.0
_ENDED = {"complete", "error", "disconnect", "cancelled"}
_TIMEOUT_S = 5.0

# Where the output is no terminal, nothing is cut off.
_WIDE = 200

Streams = list[dict[str, Any]]


def arguments(parser: ArgumentParser) -> None:
    """The command line."""
    parser.add_argument(
        "target",
        nargs="?",
        metavar="URL | PID | FOLDER",
        help="the live view of an app (http://:TOKEN@host/-/streams), the process of a server, or "
        "its UNSPOOL_LIVE_DIR; by default all apps that you run on this machine",
    )
    parser.add_argument("--once", action="store_true", help="print the streams once, as they are")
    parser.add_argument("--cancel", metavar="ID", help="cancel the stream of that name")


def run(arguments: Namespace) -> int:
    """Shows the streams until Ctrl-C; 1 if there is no stream to cancel.

    Raises:
        UsageError: the target is nothing that can be looked at.
        MissingExtra: rich is not installed (`unspool[live]`).
    """
    app = _app(arguments.target)
    if arguments.cancel is not None:
        return _cancel(app, arguments.cancel)
    if arguments.once:
        _print_once(app)
    else:
        _keep_showing(app)
    return 0


class _Local:
    """The apps whose processes listen in these folders."""

    def __init__(self, folders: Callable[[], list[Path]]) -> None:
        self._folders = folders

    def _ask(self, question: dict[str, Any]) -> Streams:
        return [answer for each in self._folders() for answer in peers.ask(each, question)]

    def streams(self) -> Streams:
        return [stream for answer in self._ask({}) for stream in answer["streams"]]

    def cancel(self, id: str) -> bool:
        return any(answer["cancelled"] for answer in self._ask({"cancel": id}))


class _Remote:
    """The app whose live view is at a URL; a password in it is the token."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{url!r} is no URL of a live view; one is http://host/-/streams")
        self._headers = {"X-Requested-With": "unspool top"}
        if parts.password:
            userinfo = f"{unquote(parts.username or '')}:{unquote(parts.password)}"
            coded = base64.b64encode(userinfo.encode()).decode()
            self._headers["Authorization"] = f"Basic {coded}"
        host = parts.netloc.rpartition("@")[2]
        path = parts.path.rstrip("/") or "/-/streams"
        self._url = urlunsplit((parts.scheme, host, path, "", ""))

    def _ask(self, path: str, method: str) -> bytes:
        request = Request(f"{self._url}/{path}", headers=self._headers, method=method)  # noqa: S310 (http, see above)
        try:
            with _opener.open(request, timeout=_TIMEOUT_S) as answer:
                data: bytes = answer.read()
        except HTTPError as error:
            error.close()
            if error.code in {401, 403}:
                raise UsageError(
                    f"{self._url} answers {error.code}: give its token, as in "
                    "http://:TOKEN@host/-/streams."
                ) from None
            raise
        return data

    def streams(self) -> Streams:
        data = self._ask("all.json", "GET")
        try:
            streams: Streams = json.loads(data)["streams"]
        except (ValueError, LookupError, TypeError) as error:
            raise UsageError(f"{self._url} is no live view: it answers {data[:60]!r}.") from error
        return streams

    def cancel(self, id: str) -> bool:
        try:
            self._ask(f"{quote(id, safe='')}/cancel", "POST")
        except HTTPError as error:
            if error.code == 404:  # noqa: PLR2004
                return False
            raise
        return True


class _NoRedirect(HTTPRedirectHandler):
    """The token is for nobody else."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """There is none: the answer becomes an error."""


_opener = build_opener(_NoRedirect)


def _app(target: str | None) -> _Local | _Remote:
    if target is None:
        return _Local(peers.folders)
    if "://" in target:
        return _Remote(target)
    if target.isdecimal():
        if not peers.folders(int(target)):
            raise UsageError(
                f"no process {target} shows its streams. It does so from its first stream on, if "
                "its app has a live view, and to its own user."
            )
        return _Local(lambda: peers.folders(int(target)))
    folder = Path(target)
    if not folder.is_dir():
        raise UsageError(f"{target!r} is neither a URL, nor a process, nor a folder.")
    return _Local(lambda: [folder])


def _cancel(app: _Local | _Remote, id: str) -> int:
    if app.cancel(id):
        print(f"Cancelled {id}.")
        return 0
    print(f"No stream {id} runs.", file=sys.stderr)
    return 1


def _print_once(app: _Local | _Remote) -> None:
    console = require("rich.console", extra="live")
    width = None if sys.stdout.isatty() else _WIDE
    console.Console(width=width).print(_table(app.streams()))


def _keep_showing(app: _Local | _Remote) -> None:
    live = require("rich.live", extra="live")
    shown = live.Live(_table(app.streams()), auto_refresh=False, screen=sys.stdout.isatty())
    try:
        with shown:
            while True:
                sleep(_EVERY_S)
                shown.update(_look(app), refresh=True)
    except KeyboardInterrupt:
        return


def _look(app: _Local | _Remote) -> Any:
    """The table, or why there is none: a server may be restarting."""
    try:
        return _table(app.streams())
    except OSError as error:
        return f"The streams cannot be seen now: {error}. Trying again."


def _table(streams: Streams) -> Any:
    """A table of the streams: those that run first, the fastest first."""
    box, table_of = require("rich.box", extra="live"), require("rich.table", extra="live")
    running = [stream for stream in streams if stream["state"] not in _ENDED]
    rate = sum(stream["bytes_per_s"] for stream in running)
    table = table_of.Table(
        title=f"{len(running)} streams, {_bytes(rate)}/s", title_justify="left", box=box.SIMPLE
    )
    table.add_column("ID", no_wrap=True)
    table.add_column("PATH", overflow="fold")
    table.add_column("FORMAT", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    for name in ("ROWS", "BYTES", "ROWS/S", "BYTES/S", "AGE"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("CLIENT", no_wrap=True)
    table.add_column("PID", justify="right", no_wrap=True)
    for stream in sorted(streams, key=_order):
        table.add_row(*_cells(stream), style="dim" if stream["state"] in _ENDED else "")
    return table


def _order(stream: dict[str, Any]) -> tuple[bool, float, str]:
    return stream["state"] in _ENDED, -stream["bytes_per_s"], stream["id"]


def _cells(stream: dict[str, Any]) -> list[Any]:
    text = require("rich.text", extra="live").Text
    cells = [
        stream["id"],
        f"{stream['method']} {stream['path']}",
        stream["format"],
        stream["state"],
        f"{stream['rows']:,}",
        _bytes(stream["bytes"]),
        f"{stream['rows_per_s']:,.0f}",
        _bytes(stream["bytes_per_s"]),
        _age(stream["age_s"]),
        stream["client"],
        str(stream["pid"]),
    ]
    return [text(_printable(cell)) for cell in cells]


def _printable(text: str) -> str:
    """A path is what a client sent: nothing of it may move the cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _bytes(count: float) -> str:
    unit = 0
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 1000 and unit < len(units) - 1:  # noqa: PLR2004
        count /= 1000
        unit += 1
    return f"{count:.1f} {units[unit]}" if unit else f"{count:.0f} B"


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
