"""Who may read, by which name the server may be called, and how much at the same time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from werkzeug.datastructures import Headers

from unspool.errors import shown
from unspool.live.access import has_token
from unspool.serve.problems import TooManyStreams, Unauthorized, WrongHost

__all__ = ["SECURITY_HEADERS", "Clients", "check_host", "check_token"]

SECURITY_HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
]
"""Of every answer: what it shows, and a page of ours, uses nothing but this server."""


def check_token(authorization: str | None, token: str | None) -> None:
    """Lets through who sends the token: as Bearer (RFC 6750), or as password of Basic (RFC 7617).

    Raises:
        Unauthorized: no token, or another one. The message does not say how it differs.
    """
    if token is not None and not has_token(authorization or "", token):
        raise Unauthorized(
            "this server wants its token: `Authorization: Bearer TOKEN`, or Basic with any name "
            "and the token as the password."
        )


def check_host(host: str, hosts: frozenset[str] | None) -> None:
    """Lets through requests that call the server by one of these names.

    A page of somebody else's can have its name point at 127.0.0.1, and would then read what is
    served here; the browser still says the page's name.

    Raises:
        WrongHost: another name.
    """
    if hosts is not None and _hostname(host) not in hosts:
        raise WrongHost(
            f"this server is not called {shown(host)}. Use one of "
            f"{', '.join(sorted(hosts))}; or start it with a token, then any name will do."
        )


def _hostname(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[").lower()
    return host.partition(":")[0].lower()


class Clients:
    """How many answers each client is getting."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, client: str) -> Callable[[], None]:
        """Counts one more; gives what ends it, which may be called twice.

        Raises:
            TooManyStreams: it has as many as it may have.
        """
        with self._lock:
            if self._running[client] >= self._most:
                raise TooManyStreams(
                    f"{self._most} answers are on their way to you, which is the limit. Try again "
                    "when one of them has ended."
                )
            self._running[client] += 1
        left = False

        def leave() -> None:
            nonlocal left
            with self._lock:
                if not left:
                    left = True
                    self._running[client] -= 1
                    if not self._running[client]:
                        del self._running[client]

        return leave


def add_security_headers(headers: Headers) -> None:
    """Adds those that are not there."""
    for name, value in SECURITY_HEADERS:
        headers.setdefault(name, value)
