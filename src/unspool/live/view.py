"""What the live view answers, for any framework to send.

These are all there is:

GET  {prefix}/                  the page
GET  {prefix}/all.json          the streams of all processes
GET  {prefix}/events            the same as server-sent events, once a second
GET  {prefix}/{id}.json         one stream
POST {prefix}/{id}/cancel       ends it
GET  {metrics}                  figures for Prometheus
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from unspool import metrics as figures
from unspool._optional import found
from unspool.errors import MissingExtra, UsageError
from unspool.formats.sse import Event, Sse
from unspool.live import peers
from unspool.live.access import from_here, has_token
from unspool.live.recent import RECENT

__all__ = ["Ask", "Reply", "View"]

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "": ("live.html", "text/html; charset=utf-8"),
    "live.css": ("live.css", "text/css; charset=utf-8"),
    "live.js": ("live.js", "text/javascript; charset=utf-8"),
}

_SAFE = [
    (
        "Content-Security-Policy",
        "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]


@dataclass(frozen=True)
class Ask:
    """A request, as the live view needs it: `path` below the app, names of `headers` in small."""

    method: str
    path: str
    headers: Mapping[str, str]
    client: str


@dataclass(frozen=True)
class Reply:
    """An answer. If it has `events`, these are to be sent in the place of `body`."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    events: bool = False


class View:
    """The live view of an app. From now on, every stream of this process is seen.

    Args:
        prefix: the path of the page.
        metrics: the path of the figures for Prometheus; None for none.
        token: what a request must bring, as Bearer token or as password. Without, only requests
            of this machine are answered.

    Raises:
        UsageError: paths that cannot be, an empty token.
    """

    every_s = 1.0
    """How often the events are sent."""

    events_for_s = 60.0
    """How long: then a browser comes back for more. Under WSGI each reader holds a thread."""

    events_format = Sse(retry_ms=1000)

    def __init__(
        self,
        prefix: str = "/-/streams",
        metrics: str | None = "/-/metrics",
        token: str | None = None,
    ) -> None:
        for name, path in (("prefix", prefix), ("metrics", metrics)):
            if path is not None and (not path.startswith("/") or path.endswith("/")):
                raise UsageError(f'{name} must begin with "/" and not end with it; got {path!r}.')
        if token is not None and not token.strip():
            raise UsageError("token is empty. Leave it out, or give one that cannot be guessed.")
        self.prefix = prefix
        self.metrics = metrics
        self._token = token
        RECENT.watch()
        if metrics is not None and found("prometheus_client") is not None:
            figures.prometheus()

    def owns(self, path: str) -> bool:
        """Whether a request of that path is for the live view."""
        return path in {self.prefix, self.metrics} or path.startswith(self.prefix + "/")

    def answer(self, ask: Ask) -> Reply:
        """The answer to a request that is for the live view. Blocks for a second at the most."""
        refusal = self._refusal(ask)
        if refusal is not None:
            return refusal
        if ask.path == self.metrics:
            return self._only("GET", ask, lambda: _figures(ask))
        if ask.path == self.prefix:
            return Reply(308, [("Location", self.prefix.rpartition("/")[2] + "/")])
        return self._below(ask, ask.path[len(self.prefix) + 1 :])

    def _refusal(self, ask: Ask) -> Reply | None:
        """Why the request is not answered, if it is not."""
        if self._token is not None:
            if has_token(ask.headers.get("authorization", ""), self._token):
                return None
            demand = [("WWW-Authenticate", 'Basic realm="streams", charset="UTF-8"')]
            return _problem(401, "A token is needed, as Bearer or as password.", demand)
        if from_here(ask.client, ask.headers):
            return None
        return _problem(
            403,
            "Without a token, the live view answers this machine only, and nothing that a proxy "
            "passed on. Set one: token=….",
        )

    def _below(self, ask: Ask, rest: str) -> Reply:
        if rest in _FILES:
            return self._only("GET", ask, lambda: _file(*_FILES[rest]))
        if rest == "all.json":
            return self._only("GET", ask, lambda: _json(200, {"streams": self.streams()}))
        if rest == "events":
            return self._only("GET", ask, lambda: Reply(200, _SAFE, events=True))
        id, slash, what = rest.partition("/")
        if what == "cancel":
            return self._only("POST", ask, lambda: self._cancel(id, ask))
        if id.endswith(".json") and not slash:
            return self._only("GET", ask, lambda: self._one(id.removesuffix(".json")))
        return _problem(404, f"There is no {ask.path!r} here.")

    @staticmethod
    def _only(method: str, ask: Ask, reply: Callable[[], Reply]) -> Reply:
        if ask.method == method or (method, ask.method) == ("GET", "HEAD"):
            return reply()
        return _problem(405, f"This takes {method}; got {ask.method}.", [("Allow", method)])

    def streams(self) -> list[dict[str, Any]]:
        """The streams of all processes of the app; those that run first, the newest first."""
        streams = RECENT.records()
        for answer in _peers({}):
            streams += answer.get("streams", [])
        streams.sort(key=_order)
        return streams

    def events(self) -> Iterator[Event]:
        """The same once a second, for a minute. Blocks in between."""
        ends = monotonic() + self.events_for_s
        while monotonic() < ends:
            yield self.event()
            sleep(self.every_s)

    def event(self) -> Event:
        """The streams of now, as an event."""
        return Event({"streams": self.streams()}, "streams")

    def _one(self, id: str) -> Reply:
        for stream in self.streams():
            if stream["id"] == id:
                return _json(200, stream)
        return _problem(404, f"No stream {id} runs, or ended in the last minute.")

    def _cancel(self, id: str, ask: Ask) -> Reply:
        if "x-requested-with" not in ask.headers:
            return _problem(403, "Send a header X-Requested-With: other sites' forms cannot.")
        if cancel(id):
            return _json(202, {"id": id})
        return _problem(404, f"No stream {id} runs.")


def _order(stream: dict[str, Any]) -> tuple[bool, float]:
    over = stream["state"] in _ENDED
    return over, 0.0 if over else stream["age_s"]


_ENDED = {"complete", "error", "disconnect", "cancelled"}


def cancel(id: str) -> bool:
    """Cancels the stream of that name, in whichever process of the app it runs."""
    if RECENT.cancel(id):
        return True
    answers = list(_peers({"cancel": id}))
    return any(answer.get("cancelled") for answer in answers)


def _peers(question: dict[str, Any]) -> Iterator[dict[str, Any]]:
    RECENT.listener.start()  # So that it is known which socket is this process's own.
    path = RECENT.listener.path
    return peers.ask(path.parent, question, but=path) if path and path.name else iter(())


def _figures(ask: Ask) -> Reply:
    if found("prometheus_client") is None:
        return _problem(501, str(MissingExtra("prometheus_client", "live")))
    media_type, text = figures.exposition(ask.headers.get("accept", ""))
    return Reply(200, [("Content-Type", media_type), *_SAFE], text)


def _file(name: str, media_type: str) -> Reply:
    return Reply(200, [("Content-Type", media_type), *_SAFE], (_STATIC / name).read_bytes())


def _json(status: int, value: Any, media_type: str = "application/json") -> Reply:
    body = json.dumps(value).encode()
    return Reply(status, [("Content-Type", media_type), *_SAFE], body)


def _problem(status: int, detail: str, headers: list[tuple[str, str]] | None = None) -> Reply:
    """An error as RFC 9457 has it."""
    reply = _json(status, {"status": status, "detail": detail}, "application/problem+json")
    return Reply(status, [*(headers or []), *reply.headers], reply.body)
