"""Who may look at the streams."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from hmac import compare_digest
from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["from_here", "has_token"]

# What a proxy adds for somebody else. They cannot be believed, but tell that there is a proxy.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


def has_token(authorization: str, token: str) -> bool:
    """Whether a request has `token`, as a Bearer or as the password of Basic (RFC 6750, 7617).

    >>> has_token("Bearer abc", "abc")
    True
    """
    scheme, _, given = authorization.partition(" ")
    given = given.strip()
    if scheme.lower() == "basic":
        try:
            given = b64decode(given, validate=True).decode().partition(":")[2]
        except ValueError:
            given = ""
    elif scheme.lower() != "bearer":
        given = ""
    return compare_digest(given.encode(), token.encode())


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
