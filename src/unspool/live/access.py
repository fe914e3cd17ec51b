"""Who may look at the streams."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from hmac import compare_digest
from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["from_here", "has_token"]

# What a proxy adds for somebody else. They cannot be believed, but tell that there is a proxy.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


def has_token(authorization: str, token: str) -> bool:
    """Whether a request has `token`, as a Bearer or as the password of Basic (RFC 6750, 7617).

    Compared in a time that does not tell how much of it was right.

    >>> has_token("Bearer abc", "abc")
    True
    """
    return compare_digest(_given(authorization), token.encode())


def _given(authorization: str) -> bytes:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1", "replace")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            return b64decode(value.strip(), validate=True).partition(b":")[2]
    return b""


def from_here(client: str, headers: Mapping[str, str]) -> bool:
    """Whether a request comes from this machine, was not passed on, and means this machine.

    (A page of somebody else's whose name resolves to this machine says its own name as Host.)
    """
    if any(name in headers for name in _FORWARDED):
        return False
    try:
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    return _is_loopback(client) and (host == "localhost" or _is_loopback(host))


def _is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
