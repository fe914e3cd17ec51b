"""The live view of an ASGI app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import TYPE_CHECKING

from unspool.asgi.answer import Answer
from unspool.asgi.types import App, Receive, Scope, Send
from unspool.formats.sse import Event
from unspool.observe import unseen
from unspool.stream import Stream

if TYPE_CHECKING:
    from unspool.live import Ask, Reply, View

__all__ = ["live_view"]


def live_view(
    app: App,
    *,
    prefix: str = "/-/streams",
    metrics: str | None = "/-/metrics",
    token: str | None = None,
) -> App:
    """`app` with a page that shows every stream of it, in all its processes.

        app = unspool.asgi.live_view(app, token=os.environ["LIVE_TOKEN"])

    Args:
        app: an ASGI application: Starlette, FastAPI, Quart, Django, `from_wsgi(…)`.
        prefix: the path of the page.
        metrics: the path of the figures for Prometheus; None for none. They need the extra `live`.
        token: what a request must bring, as Bearer token or as password of any user. Without one,
            only this machine is answered. Behind a proxy everything comes from this machine: set
            a token there.

    Raises:
        UsageError: paths that cannot be, an empty token.
    """
    from unspool.live import View  # noqa: PLC0415 (who shows nothing need not load it)

    view = View(prefix, metrics, token)

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        path = _path(scope)
        if scope["type"] != "http" or not view.owns(path):
            await app(scope, receive, send)
            return
        reply = await asyncio.to_thread(view.answer, _ask(scope, path))
        if reply.events:
            with unseen():
                plan = Stream(_events(view), view.events_format)
                await Answer(plan, reply.status, reply.headers)(scope, receive, send)
        else:
            await _send(reply, scope, send)

    return watched


def _path(scope: Scope) -> str:
    """The path below the app; some servers leave the root path out of it."""
    path: str = scope.get("path", "")
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if path.startswith(f"{root}/") else path


def _ask(scope: Scope, path: str) -> Ask:
    from unspool.live import Ask  # noqa: PLC0415

    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }
    client = scope.get("client") or ("",)
    return Ask(scope["method"], path, headers, client[0])


async def _send(reply: Reply, scope: Scope, send: Send) -> None:
    headers = [*reply.headers, ("Content-Length", str(len(reply.body)))]
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
    body = b"" if scope["method"] == "HEAD" else reply.body
    await send({"type": "http.response.body", "body": body})


async def _events(view: View) -> AsyncIterator[Event]:
    ends = monotonic() + view.events_for_s
    while monotonic() < ends:
        yield await asyncio.to_thread(view.event)
        await asyncio.sleep(view.every_s)
