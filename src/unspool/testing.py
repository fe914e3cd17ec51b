"""Checks that a server, and whatever stands before it, keeps the promises of a stream.

`check_app` plays the clients: those that read everything, those that leave, those that stop
reading, and those that must be able to see that an answer is not whole. It speaks to a running
app over raw sockets and reads the framing of the answers itself, because a client library would
hide what is checked here. Test your own set-up with it: your server, its worker class, your
middlewares, your proxy.

The app serves these paths, below any prefix. Those of the first group answer with NDJSON that
Unspool streams, one row `{"n": 0}`, `{"n": 1}`, … a line. They are sent a parameter `id`, and
their source notes in a log when it makes its first row ("started") and when it is closed
("closed", each time).

| path              | answer                                                         |
|-------------------|----------------------------------------------------------------|
| `/rows?n=N`       | N rows                                                         |
| `/fail?at=K`      | K rows, then the source raises `LookupError`                   |
| `/slow?n=N&gap=S` | N rows, S seconds apart, the first at once                     |
| `/endless`        | rows without end; the source sleeps 1 ms after every 100 rows  |
| `/endless?pad=B`  | the same with wide rows, `{"n": 0, "pad": "xx"}`, of B letters |
| `/log`            | the log, a JSON array of events                                |
| `/reset`          | anything; empties the log                                      |
| `/small`          | `ok`                                                           |

An event is `{"at": 12.5, "id": ID, "event": "started", "rows": 0}`, with the time of a
monotonic clock and the number of rows made until then. `/endless` also notes "made" at every
1000th row. The app must be able to answer `/log` beside one stream; if it has several
processes, they share one log.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from unspool.errors import UsageError, shown
from unspool.http1 import BROKEN, ENDED, Answer

__all__ = ["CASES", "Report", "Result", "check_app"]

# Enough for dozens of chunks, and for more than fits into the buffers on the way.
_MANY_ROWS = 100_000

# A source is closed this soon after its client has left: some flush times, and the two writes
# that a server needs to be told that nobody is there.
_CLOSED_WITHIN_S = 0.5

# The end of an answer comes this soon after its last row. It is late where a server neither
# says how long the answer is nor closes the connection.
_END_WITHIN_S = 0.5

# How often the log is read, and what an answer to that may take on a busy machine.
_POLL_S = 0.02
_POLL_MARGIN_S = 0.15

# Far more than the flush time, so that the client leaves while the source gives nothing.
_SLOW_GAP_S = 2.0

# A short stream whose every row is a chunk: the gap is just longer than the flush time.
_SHORT_ROWS = 6
_SHORT_GAP_S = 0.06

# A row is at the client this soon after it was made: the flush time and a generous margin.
# The gap is twice that, so that a row that waits for the next one is late.
_ARRIVES_WITHIN_S = 0.15
_TIMELY_GAP_S = 0.3
_TIMELY_ROWS = 4

# A stalled client has a small window and small segments, as in a real network: with the big
# ones of a loopback device the kernel alone would hold megabytes. The rows are wide, so that
# whatever has a bound reaches it soon.
_STALL_S = 1.0
_STALL_SHORT_S = 0.3
_STALL_PAD = 1000
_STALL_WINDOW_BYTES = 64 * 1024
_STALL_SEGMENT_BYTES = 1400
_STALL_MORE_ROWS = 5000


@dataclass(frozen=True)
class Result:
    """What one case came to: its name, whether it passed, and what was seen."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """What `check_app` found, as one result a case. Its `str()` is a table.

    >>> print(Report("http://127.0.0.1:8000", (Result("head", True, "nothing was started"),)))
    http://127.0.0.1:8000
    head            ok    nothing was started
    1 of 1 passed
    """

    url: str
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether every case passed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Result, ...]:
        """The results of the cases that did not pass."""
        return tuple(result for result in self.results if not result.passed)

    def __str__(self) -> str:
        lines = [
            f"{result.name:<15} {'ok  ' if result.passed else 'FAIL'}  {result.detail}"
            for result in self.results
        ]
        good = len(self.results) - len(self.failures)
        return "\n".join([self.url, *lines, f"{good} of {len(self.results)} passed"])


def check_app(url: str, *, cases: Collection[str] | None = None, timeout_s: float = 10.0) -> Report:
    """A report on the running app at `url`, one result for each of `CASES`, in that order.

        report = check_app("http://127.0.0.1:8000")
        assert report.passed, str(report)

    Args:
        url: where the paths of the contract begin (see `unspool.testing`).
        cases: names of the only cases to run; all of them if not given.
        timeout_s: how long to wait for any one thing before it counts as failed.

    Empties the log. Blocks for about ten seconds, mostly waiting; holds a few megabytes. A
    case that fails is a result, not an exception.

    Raises:
        UsageError: `url` is no plain `http` URL, or a case is unknown.
        OSError: nothing answers there.

    >>> check_app("http://127.0.0.1:8000", cases=["hedd"])
    Traceback (most recent call last):
    unspool.errors.UsageError: unknown case 'hedd'; `unspool.testing.CASES` has them all.
    """
    for name in cases or ():
        if name not in _CASES:
            raise UsageError(f"unknown case {name!r}; `unspool.testing.CASES` has them all.")
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(f"url must be an http:// URL of a host; got {shown(url)}.")
    address = (parts.hostname, parts.port or 80)
    with socket.create_connection(address, timeout_s) as probe:
        family, peer = probe.family, probe.getpeername()
    app = _App(parts.netloc, parts.path.rstrip("/"), family, peer, timeout_s)
    app.text("/reset")
    wanted = CASES if cases is None else [name for name in CASES if name in cases]
    return Report(url, tuple(_run(name, app) for name in wanted))


def _run(name: str, app: _App) -> Result:
    try:
        return Result(name, passed=True, detail=_CASES[name](app))
    except TimeoutError:
        return Result(name, passed=False, detail=f"nothing came for {app.timeout_s:g} s")
    except (_Failed, OSError, ValueError) as problem:
        return Result(name, passed=False, detail=str(problem))


class _Failed(Exception):
    """A case that did not pass, and what was seen instead."""


def _expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise _Failed(otherwise)


@dataclass(frozen=True)
class _App:
    """The app as its clients see it."""

    netloc: str
    prefix: str
    family: int
    address: Any
    timeout_s: float
    token: str = field(default_factory=lambda: uuid4().hex[:8])
    numbers: Iterator[int] = field(default_factory=count)

    def new_id(self) -> str:
        """The ID of one more stream."""
        return f"{self.token}-{next(self.numbers)}"

    def request(self, path: str, method: str = "GET", version: str = "1.1") -> bytes:
        """The bytes of a request. Over HTTP/1.1 the connection may be used again."""
        lines = [f"{method} {self.prefix}{path} HTTP/{version}", f"Host: {self.netloc}", "", ""]
        return "\r\n".join(lines).encode()

    def ask(
        self, path: str, *, method: str = "GET", version: str = "1.1", stalls: bool = False
    ) -> Answer:
        """The answer to a request; its head is read."""
        sock = socket.socket(self.family)
        try:
            sock.settimeout(self.timeout_s)
            if stalls:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STALL_WINDOW_BYTES)
                with suppress(AttributeError, OSError):  # Not on every system.
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _STALL_SEGMENT_BYTES)
            sock.connect(self.address)
            sock.sendall(self.request(path, method, version))
            return Answer(sock)
        except BaseException:
            sock.close()
            raise

    def text(self, path: str) -> str:
        """The body of an answer that must be whole."""
        with closing(self.ask(path)) as answer:
            body = answer.read()
        _expect(
            answer.status == 200 and answer.end in ENDED,  # noqa: PLR2004
            f"{path} gave status {answer.status} and {answer.ending}",
        )
        return body.decode()

    def log(self, id: str) -> dict[str, list[int]]:
        """For each kind of event of one stream, the numbers of rows made until then."""
        log: dict[str, list[int]] = {"started": [], "made": [], "closed": []}
        for event in json.loads(self.text("/log")):
            if event["id"] == id:
                log[event["event"]].append(event["rows"])
        return log

    def closed(self, id: str, within_s: float = _CLOSED_WITHIN_S) -> float:
        """Waits until the source is closed; gives the seconds."""
        began = monotonic()
        while not (closed := self.log(id)["closed"]):
            waited = monotonic() - began
            _expect(
                waited < within_s + _POLL_MARGIN_S, f"the source was not closed in {waited:.2f} s"
            )
            sleep(_POLL_S)
        _expect(len(closed) == 1, f"the source was closed {len(closed)} times")
        return monotonic() - began


def _rows(body: bytes) -> int:
    """How many whole rows there are; they must be the first ones, in order, and nothing else."""
    lines, _, _ = body.rpartition(b"\n")
    try:
        numbers = [row["n"] for row in json.loads(b"[%b]" % lines.replace(b"\n", b","))]
    except (ValueError, TypeError, KeyError):
        raise _Failed("something else than rows stands in the data") from None
    _expect(numbers == list(range(len(numbers))), "rows are missing or out of order")
    return len(numbers)


def _whole(app: _App, *, version: str) -> str:
    for rows in (0, 1, _MANY_ROWS):
        id = app.new_id()
        with closing(app.ask(f"/rows?n={rows}&id={id}", version=version)) as answer:
            body, came = bytearray(), monotonic()
            for chunk in answer.chunks():
                body += chunk
                came = monotonic()
            end_s = monotonic() - came
            got = _rows(bytes(body))
        _expect(answer.status == 200, f"status {answer.status}")  # noqa: PLR2004
        _expect(answer.end in ENDED, f"{answer.ending} after {got} of {rows} rows")
        _expect(got == rows, f"{got} of {rows} rows, then {answer.ending}")
        _expect(end_s < _END_WITHIN_S, f"the end came {end_s:.1f} s after the last row")
        app.closed(id)
    return f"{rows} rows, then {answer.ending}"


def _head(app: _App) -> str:
    id = app.new_id()
    with closing(app.ask(f"/rows?n={_MANY_ROWS}&id={id}", method="HEAD")) as answer:
        _expect(answer.status == 200, f"status {answer.status}")  # noqa: PLR2004
        after = answer.then(app.request("/small"))
    _expect(after.startswith(b"HTTP/") or not after, f"a body of {len(after)} bytes or more")
    app.closed(id)
    _expect(not app.log(id)["started"], "the source was started")
    return "the source was closed and never started"


def _early(app: _App) -> str:
    id = app.new_id()
    with closing(app.ask(f"/fail?at=0&id={id}")) as answer:
        answer.read()
    _expect(
        500 <= answer.status <= 599,  # noqa: PLR2004
        f"status {answer.status} and {answer.ending}",
    )
    app.closed(id)
    return f"status {answer.status}"


def _late(app: _App, *, version: str, at: int) -> str:
    id = app.new_id()
    with closing(app.ask(f"/fail?at={at}&id={id}", version=version)) as answer:
        got = _rows(answer.read())
    _expect(answer.end in BROKEN, f"looks whole: {got} rows, then {answer.ending}")
    _expect(got <= at, f"{got} rows, where the source made {at}")
    app.closed(id)
    return f"{answer.ending} after {got} rows"


def _leave(app: _App, *, after: int) -> str:
    id = app.new_id()
    with closing(app.ask(f"/endless?id={id}")) as answer:
        got = sum(1 for _ in islice(answer.chunks(), after))
    _expect(got == after, f"{answer.ending} after {got} chunks")
    return f"closed after {app.closed(id):.2f} s"


def _leave_each(app: _App) -> str:
    worst = 0.0
    for after in range(_SHORT_ROWS + 1):
        id = app.new_id()
        with closing(app.ask(f"/slow?n={_SHORT_ROWS}&gap={_SHORT_GAP_S}&id={id}")) as answer:
            # Counted as rows: where nothing frames the chunks, two can come as one.
            got, chunks = 0, answer.chunks()
            while got < after and (chunk := next(chunks, b"")):
                got += chunk.count(b"\n")
        _expect(got >= after, f"{answer.ending} after {got} chunks of {_SHORT_ROWS}")
        worst = max(worst, app.closed(id))
    return f"after 0 to {_SHORT_ROWS} of {_SHORT_ROWS} chunks; closed after {worst:.2f} s"


def _leave_stalled(app: _App) -> str:
    id = app.new_id()
    with closing(app.ask(f"/endless?pad={_STALL_PAD}&id={id}", stalls=True)):
        _made_when_still(app, id, _STALL_SHORT_S)
    return f"closed after {app.closed(id):.2f} s"


def _leave_slow(app: _App) -> str:
    id = app.new_id()
    with closing(app.ask(f"/slow?n=5&gap={_SLOW_GAP_S}&id={id}")) as answer:
        next(answer.chunks(), b"")
    return f"closed after {app.closed(id, _SLOW_GAP_S + _CLOSED_WITHIN_S):.2f} s"


def _stall(app: _App) -> str:
    id = app.new_id()
    with closing(app.ask(f"/endless?pad={_STALL_PAD}&id={id}", stalls=True)) as answer:
        made = _made_when_still(app, id, _STALL_S)
        wanted = (made + _STALL_MORE_ROWS) * _STALL_PAD
        body = bytearray()
        for chunk in answer.chunks():
            body += chunk
            if len(body) > wanted:
                break
    got = _rows(bytes(body))
    _expect(len(body) > wanted, f"{answer.ending} after {got} rows; {made} were made in the pause")
    app.closed(id)
    return f"stopped before row {made + 1000}, went on afterwards"


def _made_when_still(app: _App, id: str, still_s: float) -> int:
    """Waits until no row is made for a while; gives how many there are, rounded down."""
    began = still_since = monotonic()
    made = 0
    while monotonic() - still_since < still_s:
        sleep(_POLL_S)
        now = max(app.log(id)["made"], default=0)
        if now > made:
            made, still_since = now, monotonic()
        _expect(monotonic() - began < app.timeout_s, f"still making rows after {made}")
    return made


def _timely(app: _App) -> str:
    id = app.new_id()
    began = monotonic()
    lines, worst = 0, 0.0
    with closing(app.ask(f"/slow?n={_TIMELY_ROWS}&gap={_TIMELY_GAP_S}&id={id}")) as answer:
        for chunk in answer.chunks():
            late = monotonic() - began - lines * _TIMELY_GAP_S
            worst = max(worst, late)
            lines += chunk.count(b"\n")
    _expect(lines == _TIMELY_ROWS, f"{answer.ending} after {lines} rows")
    _expect(worst < _ARRIVES_WITHIN_S, f"a row came {worst * 1000:.0f} ms after it was made")
    app.closed(id)
    return f"each row within {worst * 1000:.0f} ms"


def _closed_once(app: _App) -> str:
    """A second close may come late: this looks at all streams again, when all is over."""
    counts: dict[str, int] = {}
    for event in json.loads(app.text("/log")):
        counts[event["id"]] = counts.get(event["id"], 0) + (event["event"] == "closed")
    wrong = [closed for closed in counts.values() if closed != 1]
    _expect(not wrong, f"{len(wrong)} of {len(counts)} sources were not closed once, but {wrong}")
    return f"{len(counts)} sources, each closed once"


_CASES: dict[str, Callable[[_App], str]] = {
    "whole-1.1": partial(_whole, version="1.1"),
    "whole-1.0": partial(_whole, version="1.0"),
    "head": _head,
    "early": _early,
    **{
        f"late-{version}-{at}": partial(_late, version=version, at=at)
        for version in ("1.1", "1.0")
        for at in (1, 1000, 100_000)
    },
    **{f"leave-{after}": partial(_leave, after=after) for after in (0, 1, 2, 5, 10)},
    "leave-each": _leave_each,
    "leave-slow": _leave_slow,
    "leave-stalled": _leave_stalled,
    "stall": _stall,
    "timely": _timely,
    "closed-once": _closed_once,
}

CASES: tuple[str, ...] = tuple(_CASES)
"""The names of the cases, in the order in which they run.

- `whole-V`: 0, 1 and 100,000 rows arrive over HTTP/V, and the end with the last of them.
- `head`: an answer to HEAD has no body; its source is closed and makes no row.
- `early`: a failure before the first row is a status of 500 or above.
- `late-V-K`: a failure after K rows can be seen over HTTP/V: the last chunk is missing, or the
  announced length is not reached, or the connection is reset. What has arrived are rows.
- `leave-C`: the client leaves after C chunks, and the source is closed in 0.5 s.
- `leave-each`: the client leaves after 0, 1, … and all chunks of a short stream: closed in 0.5 s.
- `leave-stalled`: it leaves after it has read nothing for a while: closed in 0.5 s.
- `leave-slow`: the same while the source takes 2 s for a row: closed 0.5 s after that row.
- `stall`: the client stops reading, and no more rows are made; it reads on, and they are.
- `timely`: each row arrives within 0.15 s of being made.
- `closed-once`: after all of these, each source was closed exactly once.
"""
