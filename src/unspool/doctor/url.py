"""The examination of a running app from outside: how one answer of it arrives."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, urlsplit

from unspool.doctor.coding import Decoder, accept_encoding, decoder_of
from unspool.doctor.report import Diagnosis, Finding
from unspool.errors import UsageError, shown
from unspool.http1 import BROKEN, Answer
from unspool.testing import check_app

__all__ = ["examine_url"]

# A first byte that takes longer than this, and all others right after it, was kept waiting.
_SLOW_S = 0.5

# What comes within this time came together.
_TOGETHER_S = 0.05

# Buffers have such sizes, and what a stream has to say at a time has not.
_PAGE_BYTES = 4096

_NGINX = (
    "Set `proxy_buffering off;` for this location, or have the answer say X-Accel-Buffering: no, "
    "as Unspool's do, and do not list that header under proxy_ignore_headers."
)
_APACHE = "Set flushpackets=on on its ProxyPass line, and no mod_deflate for these answers."
_PROXIES = {"nginx": _NGINX, "openresty": _NGINX, "apache": _APACHE}
_ELSE = "Turn off its response buffering for this path; ask the app directly to see the difference."

_CODING = (
    "Let the stream compress itself, `stream(rows, compress=True)`: what is compressed already is "
    "passed on as it comes."
)


@dataclass
class _Reading:
    """How an answer arrived: when its bytes came, decoded, in seconds after the request."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    end: str = ""
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    problem: str = ""

    @property
    def first_s(self) -> float:
        return self.arrivals[0][0] if self.arrivals else 0.0

    @property
    def last_s(self) -> float:
        return self.arrivals[-1][0] if self.arrivals else 0.0

    @property
    def size(self) -> int:
        return sum(size for _, size in self.arrivals)

    @property
    def gap_s(self) -> float:
        times = pairwise(at for at, _ in self.arrivals)
        return max((later - at for at, later in times), default=0.0)

    @property
    def at_once(self) -> bool:
        """Whether it took its time, and then all came together. An error page does, too."""
        if self.status >= 300:  # noqa: PLR2004
            return False
        return self.first_s >= _SLOW_S and self.last_s - self.first_s < self.first_s / 10

    @property
    def bursts(self) -> list[int]:
        """How many bytes came together, each time."""
        bursts: list[int] = []
        before = -1.0
        for at, size in self.arrivals:
            if at - before > _TOGETHER_S:
                bursts.append(0)
            bursts[-1] += size
            before = at
        return bursts

    @property
    def in_pages(self) -> bool:
        """Whether bytes come slowly, and always as many as fill some buffer."""
        full = self.bursts[:-1]
        return len(full) > 1 and self.gap_s >= _SLOW_S and not any(b % _PAGE_BYTES for b in full)


def examine_url(url: str, *, timeout_s: float = 10.0) -> Diagnosis:
    """How the answer at `url` arrives, and what on its way breaks streaming.

    Give it the URL of a stream that takes some seconds: what comes all at once cannot be told
    from what was collected. Where the app serves the paths of `unspool.testing` below `url`,
    all cases of `check_app` are run as well.

    Args:
        url: of http or https; it is asked four times.
        timeout_s: how long to watch an answer, and to wait for any byte of it.

    Blocks for as long as the answers take, at most some four times `timeout_s`; keeps none of
    their bytes.

    Raises:
        UsageError: `url` is none.
        OSError: nothing answers there.

    >>> examine_url("shop:app")
    Traceback (most recent call last):
    unspool.errors.UsageError: url must be an http:// or https:// URL; got 'shop:app'.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"url must be an http:// or https:// URL; got {shown(url)}.")
    site = _Site(parts, timeout_s)
    head = site.read("HEAD", accept="identity")  # First: it also wakes an app that was asleep.
    plain = site.read("GET", accept="identity")
    coded = site.read("GET", accept=accept_encoding())
    old = site.read("GET", accept="identity", version="1.0")
    rows = [*_seen(plain), ("compressed", _coding(coded)), ("HEAD", _head(head))]
    rows.append(("HTTP/1.0", old.problem or f"status {old.status}; {_framing(old)}"))
    found = [*_wrong(plain), *_wrong_coding(plain, coded), *_wrong_head(head)]
    if parts.scheme == "http" and site.has_contract():
        report = check_app(url, timeout_s=timeout_s)
        rows += [(case.name, case.detail) for case in report.results]
        found += [
            Finding(
                _who(plain.headers),
                f"fails {case.name}: {case.detail}",
                _remedy_of(case.name, plain.headers),
            )
            for case in report.failures
        ]
    return Diagnosis(url, ("what", "seen"), tuple(rows), tuple(found))


# What to do about cases of `check_app`, by how their names begin. None: see the proxy.
_CASES: dict[str, str | None] = {
    "timely": None,
    "stall": None,
    "leave-stalled": None,
    "late-1.0": (
        "HTTP/1.0 has no sign for a broken answer when a proxy sends it; with "
        "`stream(rows, compress=True)` the end of the compressed data is missing."
    ),
    "late-1.1": "Choose a server that breaks a failed answer off: docs/servers.md has a table.",
    "": "`unspool.testing.CASES` says what this checks; docs/servers.md, which servers pass.",
}


def _remedy_of(case: str, headers: dict[str, str]) -> str:
    start = next(start for start in _CASES if case.startswith(start))
    return _CASES[start] or _remedy(headers)


@dataclass(frozen=True)
class _Site:
    parts: SplitResult
    timeout_s: float

    def read(self, method: str, *, accept: str, version: str = "1.1") -> _Reading:
        """Asks, and watches the answer come."""
        target = (self.parts.path or "/") + (f"?{self.parts.query}" if self.parts.query else "")
        reading, began = _Reading(), monotonic()
        try:
            with closing(self._ask(method, target, accept, version)) as answer:
                reading.status, reading.headers = answer.status, answer.headers
                if method == "HEAD":
                    with suppress(TimeoutError):  # The connection is kept, and nothing comes.
                        reading.arrivals = [(0.0, len(answer.then(b"")))]
                    return reading
                decoder = decoder_of(answer.headers.get("content-encoding"))
                for at, size in _arrivals(answer, decoder, began):
                    reading.arrivals.append((at, size))
                    if at > self.timeout_s:
                        break
                reading.end = answer.end
        except TimeoutError:
            reading.problem = f"nothing came for {self.timeout_s:g} s"
        except ConnectionError:
            raise
        except Exception as error:  # What a decoder makes of bytes that it cannot read.
            reading.problem = f"cannot be decoded: {error}"
        return reading

    def _ask(self, method: str, target: str, accept: str, version: str) -> Answer:
        port = self.parts.port or (443 if self.parts.scheme == "https" else 80)
        host = self.parts.hostname or ""
        sock = socket.create_connection((host, port), self.timeout_s)
        try:
            if self.parts.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
            lines = [
                f"{method} {target} HTTP/{version}",
                f"Host: {self.parts.netloc.rpartition('@')[2]}",
                f"Accept-Encoding: {accept}",
                "Connection: close",
            ]
            sock.sendall("\r\n".join([*lines, "", ""]).encode())
            return Answer(sock)
        except BaseException:
            sock.close()
            raise

    def has_contract(self) -> bool:
        """Whether the paths of `unspool.testing` are there."""
        prefix = self.parts.path.rstrip("/")
        return isinstance(self._json(f"{prefix}/log"), list)

    def _json(self, target: str) -> Any:
        try:
            with closing(self._ask("GET", target, "identity", "1.1")) as answer:
                return json.loads(answer.read()) if answer.status == 200 else None  # noqa: PLR2004
        except (OSError, ValueError):
            return None


def _arrivals(answer: Answer, decoder: Decoder, began: float) -> Iterator[tuple[float, int]]:
    for chunk in answer.chunks():
        if size := len(decoder.feed(chunk)):
            yield monotonic() - began, size


def _seen(plain: _Reading) -> list[tuple[str, str]]:
    sizes = [size for _, size in plain.arrivals] or [0]
    came = f"{min(sizes)}, {median(sizes):.0f} and {max(sizes)} bytes (least, median, most)"
    verdict = "all at once" if plain.at_once else "in pages" if plain.in_pages else "as it is made"
    if plain.last_s < _SLOW_S:
        verdict = f"in {plain.last_s:.2f} s: too fast to tell; take a stream of some seconds"
    named = ("server", "via", "x-accel-buffering", "cache-control", "etag")
    told = [f"{name}: {plain.headers[name]}" for name in named if name in plain.headers]
    return [
        ("status", str(plain.status)),
        ("headers", "; ".join(told)),
        ("first byte", f"after {plain.first_s:.2f} s"),
        ("arrives", plain.problem or verdict),
        ("longest gap", f"{plain.gap_s:.2f} s"),
        ("chunks", f"{len(plain.arrivals)} of {came}"),
        ("end", _framing(plain)),
    ]


def _framing(reading: _Reading) -> str:
    if reading.end in BROKEN:
        return BROKEN[reading.end]
    if reading.headers.get("transfer-encoding", "").lower() == "chunked":
        return "announced: chunked"
    if "content-length" in reading.headers:
        return "announced: Content-Length"
    return "not announced: the connection is closed"


def _coding(coded: _Reading) -> str:
    coding = coded.headers.get("content-encoding")
    if coding is None:
        return "no"
    return f"{coding}, {coded.problem or f'first bytes decoded after {coded.first_s:.2f} s'}"


def _head(head: _Reading) -> str:
    return head.problem or f"status {head.status}, {'a' if head.size else 'no'} body"


def _who(headers: dict[str, str]) -> str:
    """What stands before the app, as far as it says so."""
    if "via" in headers:
        return f"{headers['via']} (Via)"
    return headers.get("server", "something before the app")


def _remedy(headers: dict[str, str]) -> str:
    who = _who(headers).lower()
    return next((remedy for name, remedy in _PROXIES.items() if name in who), _ELSE)


def _wrong(plain: _Reading) -> Iterator[Finding]:
    who, remedy = _who(plain.headers), _remedy(plain.headers)
    if plain.problem:
        yield Finding(who, plain.problem, remedy)
    elif plain.at_once:
        yield Finding(
            who, f"gives all {plain.size} bytes at once, after {plain.first_s:.1f} s", remedy
        )
    elif plain.in_pages:
        yield Finding(who, f"holds back what does not fill {plain.bursts[0]} bytes", remedy)
    if plain.end in BROKEN:
        yield Finding(who, f"breaks the answer off: {BROKEN[plain.end]}", "See the app's log.")
    elif plain.end and _framing(plain).startswith("not"):
        yield Finding(
            who,
            "does not announce the end of an answer over HTTP/1.1, so that half of one looks whole",
            "Use a server that sends Transfer-Encoding: chunked, and HTTP/1.1 towards it "
            "(nginx: `proxy_http_version 1.1;`).",
        )


def _wrong_coding(plain: _Reading, coded: _Reading) -> Iterator[Finding]:
    who = _who(coded.headers)
    if "content-encoding" not in coded.headers:
        return
    if coded.problem:
        yield Finding(who, f"compresses, and the answer {coded.problem}", _CODING)
    elif coded.first_s - plain.first_s >= _SLOW_S or (coded.at_once and not plain.at_once):
        yield Finding(
            who,
            f"holds bytes back to compress them: the first come after {coded.first_s:.1f} s, "
            f"and after {plain.first_s:.1f} s without compression",
            _CODING,
        )


def _wrong_head(head: _Reading) -> Iterator[Finding]:
    if head.size:
        yield Finding(
            _who(head.headers),
            "answers HEAD with a body",
            "Send no body to HEAD (RFC 9110 §9.3.2).",
        )
