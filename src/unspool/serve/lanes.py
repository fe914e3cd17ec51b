"""The app as an ASGI server runs it: small answers are not kept waiting by large ones.

Answers of rows have threads of their own, so that nothing else stands in line behind them, and
those of statements others than those of tables. While something else is being answered, no
further batch of rows is begun. The live view needs no thread at all while it waits.
"""

from __future__ import annotations

import threading

from flask import Flask

from unspool.asgi import from_wsgi, live_view
from unspool.asgi.types import App, Message, Receive, Scope, Send

__all__ = ["Courtesy", "in_lanes"]

# A view of rows holds a thread until its first row is there, which may take a minute; but the more
# threads make rows, the longer it takes until something small has its turn.
_ROWS_THREADS = 8

# A page holds one while it waits for its slow parts, and does nothing meanwhile.
_SMALL_THREADS = 64

# Rows wait no longer than this for a small answer, so that many of those do not stop them.
_PATIENCE_S = 0.1


class Courtesy:
    """Lets small answers go first. `come` and `gone` are called on one thread."""

    def __init__(self) -> None:
        self._waiting = 0
        self._nobody_waits = threading.Event()
        self._nobody_waits.set()

    def come(self) -> None:
        """A small answer is asked for."""
        self._waiting += 1
        self._nobody_waits.clear()

    def gone(self) -> None:
        """It has begun."""
        self._waiting -= 1
        if not self._waiting:
            self._nobody_waits.set()

    def give_way(self) -> None:
        """Waits while small answers are asked for, for a moment at the most."""
        self._nobody_waits.wait(_PATIENCE_S)


def in_lanes(app: Flask) -> App:
    """The app of `create_app`, with its live view, for an ASGI server."""
    serving = app.extensions["unspool.serve"]
    tables, statements = (from_wsgi(app, threads=_ROWS_THREADS) for _ in range(2))
    first = _first(from_wsgi(app, threads=_SMALL_THREADS), serving.courtesy)

    async def lanes(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] == "http" and _is_small(path):
            await first(scope, receive, send)
        elif "/-/sql." in path:
            await statements(scope, receive, send)
        else:
            await tables(scope, receive, send)

    return live_view(lanes, token=serving.settings.token)


def _is_small(path: str) -> bool:
    """Whether this is no answer of rows; a count is as slow as one."""
    return path.endswith("/") or (path.startswith("/-/") and not path.startswith("/-/count/"))


def _first(app: App, courtesy: Courtesy) -> App:
    """The same app, whose requests others let go first until their answers begin."""

    async def going_first(scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        def begin() -> None:
            nonlocal begun
            if not begun:
                begun = True
                courtesy.gone()

        async def sent(message: Message) -> None:
            begin()
            await send(message)

        courtesy.come()
        try:
            await app(scope, receive, sent)
        finally:
            begin()

    return going_first
