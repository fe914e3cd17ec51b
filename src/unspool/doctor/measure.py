"""What a layer does to the probe."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from unspool.client import Answer, Client
from unspool.doctor.coding import accept_encoding, decoder_of
from unspool.doctor.probe import ROW_BYTES, ROWS, Probe, expected

__all__ = ["MEDIA_TYPES", "Measured", "measure"]

# Layers look at the media type: compressors at a list of them, agents at HTML.
MEDIA_TYPES = ("text/csv; charset=utf-8", "application/json", "text/html; charset=utf-8")

# The path is nobody's: before_request functions and caches see it.
_PATH = "/unspool-doctor"

# The probe takes no time: what gives nothing for so long will not.
_PATIENCE_S = 3.0

# When the probe fails, and when the client leaves: late enough that the answer has begun.
_FAIL_AT_ROWS = 40
_LEAVE_AT_ROWS = 3

# What runs beside the client has come as far as it may if nothing happens for this long …
_STILL_S = 0.03
# … and is not waited for any longer than this.
_PAUSE_S = 0.5

# A source that is not told that its client has left makes all its rows.
_AFTER_LEAVING_ROWS = 100

# Headers that say that an answer is not streamed, or not as it was.
_TELLING = ("Content-Length", "Content-Encoding", "Content-Type", "ETag", "X-Accel-Buffering")

Standing = Callable[[Probe], AbstractContextManager[Any]]
"""Puts a probe below something, for a while; gives the application to ask."""


@dataclass
class Measured:
    """What became of the probe with one media type."""

    media_type: str
    alone: bool = True
    """Whether the layer was asked alone, not with others around it."""
    reached: bool = False
    status: int = 0
    problem: str = ""
    waited_rows: int = 0
    """The most rows that were made before one of them came out; 1 is a stream."""
    merged_rows: int = 0
    """The most rows that came out in one chunk."""
    ahead_rows: int = 0
    """Rows that were made for a client that had stopped reading."""
    whole: bool = False
    """Whether the client has all rows, unchanged."""
    members: int = 0
    """How many gzip streams the answer is made of."""
    headers: list[str] = field(default_factory=list)
    """Telling headers that were added (+), changed (~) or taken away (-)."""
    closed: int = 0
    """How often the source was closed, of a client that left."""
    after_leaving_rows: int = 0
    """Rows that were made after the client had left."""
    hangs: bool = False
    """Whether a late failure is followed by nothing at all."""
    hides_failure: bool = False
    """Whether a late failure looks like a clean end."""

    @property
    def streams(self) -> bool:
        """Whether each row comes out before the next but one is made."""
        return self.waited_rows <= 2  # noqa: PLR2004


def measure(standing: Standing, media_type: str, *, asgi: bool) -> Measured:
    """Sends the probe three times: to the end, with a failure, and for a client that leaves."""
    found = Measured(media_type)
    _to_the_end(standing, found, asgi=asgi)
    if found.reached and not found.problem:
        _with_failure(standing, found, asgi=asgi)
        _leaving(standing, found, asgi=asgi)
    return found


def _client(app: Any, *, asgi: bool) -> Client:
    return Client(app, asgi=asgi, patience_s=_PATIENCE_S)


def _ask(client: Client) -> Answer:
    return client.get(_PATH, headers={"Accept-Encoding": accept_encoding()})


def _to_the_end(standing: Standing, found: Measured, *, asgi: bool) -> None:
    probe = Probe(found.media_type)
    try:
        with standing(probe) as app, _client(app, asgi=asgi) as client, _ask(client) as answer:
            found.status = answer.status
            found.headers = _changes(probe.headers, answer.headers)
            _read(answer, probe, found)
    except Exception as error:
        found.problem = f"{type(error).__name__}: {error}"
    found.reached = probe.reached
    if found.reached and not found.problem and found.status != 200:  # noqa: PLR2004
        found.problem = f"status {found.status}"


def _read(answer: Answer, probe: Probe, found: Measured) -> None:
    decoder = decoder_of(answer.header("Content-Encoding"))
    body = bytearray()
    for chunk in answer:
        body += decoder.feed(chunk)
        rows = len(body) // ROW_BYTES
        if new := rows - probe.delivered:
            if not probe.relaxed:
                found.waited_rows = max(found.waited_rows, probe.pulled - probe.delivered)
                found.merged_rows = max(found.merged_rows, new)
            probe.delivered = rows
    found.whole = bytes(body) == expected(ROWS)
    found.members = decoder.members


def _with_failure(standing: Standing, found: Measured, *, asgi: bool) -> None:
    probe = Probe(found.media_type, fail_at=_FAIL_AT_ROWS, patient=False)
    try:
        with standing(probe) as app, _client(app, asgi=asgi) as client, _ask(client) as answer:
            for _ in answer:
                pass
            found.hides_failure = answer.ended and answer.status < 500  # noqa: PLR2004
    except TimeoutError:
        found.hangs = True
    except Exception:  # noqa: S110 (that one, or what it was turned into: it can be seen)
        pass


def _leaving(standing: Standing, found: Measured, *, asgi: bool) -> None:
    probe = Probe(found.media_type, patient=False)
    with standing(probe) as app, _client(app, asgi=asgi) as client:
        with _ask(client) as answer:
            for _ in range(_LEAVE_AT_ROWS):
                if next(answer, b""):
                    probe.delivered += 1
            if probe.other_thread:
                _let_run(probe)
                found.ahead_rows = probe.pulled - probe.delivered
            left_at, probe.left = probe.pulled, True
        _let_run(probe)
        found.after_leaving_rows = probe.pulled - left_at
        found.closed = probe.closed


def _let_run(probe: Probe) -> None:
    """Waits until no more rows are made, or the source is closed."""
    deadline, before = monotonic() + _PAUSE_S, -1
    while not probe.closed and before < probe.pulled and monotonic() < deadline:
        before = probe.pulled
        sleep(_STILL_S)


def _changes(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> list[str]:
    old = {name.lower(): value for name, value in before}
    new = {name.lower(): value for name, value in after}
    changes = []
    for name in _TELLING:
        was, now = old.get(name.lower()), new.get(name.lower())
        if was == now:
            continue
        sign = "+" if was is None else "-" if now is None else "~"
        changes.append(sign + name)
    return changes
