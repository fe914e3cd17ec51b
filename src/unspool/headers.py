"""Headers of an answer, as plain lists of name and value, and what its request asked for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from unspool.errors import UsageError, shown

__all__ = [
    "IDENTITY",
    "Asked",
    "chosen_coding",
    "coding_headers",
    "content_disposition",
    "merged",
    "stream_headers",
]

Header = tuple[str, str]

IDENTITY = "identity"
"""The content coding that changes nothing (RFC 9110 §8.4.1)."""

# One member of Accept-Encoding (RFC 9110 §12.5.3 and §12.4.2); an empty one is allowed.
_CODING = re.compile(
    r"[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)"
    r"(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?[ \t]*)?"
)

# attr-char of RFC 8187 §3.2.1, beside letters and digits.
_ATTR_CHARS = "!#$&+-.^_`|~"

# What the plain `filename` parameter may hold without any browser misreading it: a
# quoted-string (RFC 9110 §5.6.4) without quote and backslash, and without "%" and "=?"
# (RFC 2047), which some browsers decode there.
_NOT_PLAIN = re.compile(r'[^\x20-\x7e]|["\\%]|=(?=\?)')

# Most file systems stop at 255 bytes a name.
_FILENAME_BYTES_MAX = 255


def content_disposition(filename: str) -> str:
    """The value of a Content-Disposition header that saves the answer as `filename`.

    Gives an ASCII `filename` for old clients and, where that is not the name itself,
    the exact name as `filename*` (RFC 6266 §4.3, RFC 8187). Pure; holds nothing.

    Raises:
        UsageError: the name is empty, has a path separator or a control character, or
            is longer than 255 bytes of UTF-8.

    >>> content_disposition("flights.csv")
    'attachment; filename="flights.csv"'
    >>> content_disposition("Flüge.csv")
    'attachment; filename="Fluge.csv"; filename*=UTF-8\\'\\'Fl%C3%BCge.csv'
    """
    _check_filename(filename)
    decomposed = unicodedata.normalize("NFKD", filename)
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    plain = _NOT_PLAIN.sub("_", plain)
    value = f'attachment; filename="{plain}"'
    if plain != filename:
        value += f"; filename*=UTF-8''{quote(filename, safe=_ATTR_CHARS)}"
    return value


def _check_filename(filename: str) -> None:
    problem = None
    if not filename.strip() or filename in {".", ".."}:
        problem = "is not a file name"
    elif "/" in filename or "\\" in filename:
        problem = "has a path separator; give the last part of the path only"
    elif any(unicodedata.category(char) in {"Cc", "Cs"} for char in filename):
        problem = "has a control character"
    elif len(filename.encode()) > _FILENAME_BYTES_MAX:
        problem = f"is {len(filename.encode())} bytes long; the limit is {_FILENAME_BYTES_MAX}"
    if problem:
        raise UsageError(f"filename {shown(filename)} {problem}.")


def stream_headers(media_type: str, filename: str | None = None) -> list[Header]:
    """The headers that a streamed answer of `media_type` needs, in a fixed order.

    - `X-Accel-Buffering: no` tells nginx and its kin to pass bytes on as they come.
    - `X-Content-Type-Options: nosniff` lets Chromium show text/plain before it has
      1,024 bytes of it.
    - `Cache-Control: no-store`, since nobody can check a cached copy of generated data. A page
      (text/html) goes without: browsers would not keep it for their back button.

    >>> stream_headers("text/csv; charset=utf-8")[0]
    ('Content-Type', 'text/csv; charset=utf-8')
    """
    headers = [("Content-Type", media_type)]
    if not media_type.startswith("text/html"):
        headers.append(("Cache-Control", "no-store"))
    headers += [("X-Accel-Buffering", "no"), ("X-Content-Type-Options", "nosniff")]
    if filename is not None:
        headers.append(("Content-Disposition", content_disposition(filename)))
    return headers


@dataclass(frozen=True)
class Asked:
    """What a request says about the answer that it wants.

    Args:
        accept_encoding: the value of Accept-Encoding, or None.
        accept: the value of Accept, or None.
        path: the path of its URL.
        query: what stands after the "?" of its URL.
        agent: the value of User-Agent.
        htmx: whether htmx made it, which puts the answer into a page.
        method: its method.
        client: the address that it came from; "" if the server does not say.
    """

    accept_encoding: str | None = None
    accept: str | None = None
    path: str = ""
    query: str = ""
    agent: str = ""
    htmx: bool = False
    method: str = "GET"
    client: str = ""

    @classmethod
    def by_environ(cls, environ: Mapping[str, Any]) -> Asked:
        """What the request of a WSGI environment asks for."""
        return cls(
            environ.get("HTTP_ACCEPT_ENCODING"),
            environ.get("HTTP_ACCEPT"),
            _unicode(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")),
            environ.get("QUERY_STRING", ""),
            environ.get("HTTP_USER_AGENT", ""),
            environ.get("HTTP_HX_REQUEST") == "true",
            environ.get("REQUEST_METHOD", "GET"),
            environ.get("REMOTE_ADDR") or "",
        )

    @classmethod
    def by_scope(cls, scope: Mapping[str, Any]) -> Asked:
        """What the request of an ASGI scope asks for."""
        headers = scope.get("headers", ())
        return cls(
            _joined(headers, b"accept-encoding"),
            _joined(headers, b"accept"),
            scope.get("path", ""),
            scope.get("query_string", b"").decode("latin-1"),
            _joined(headers, b"user-agent") or "",
            _joined(headers, b"hx-request") == "true",
            scope.get("method", "GET"),
            (scope.get("client") or ("",))[0],
        )


def _unicode(path: str) -> str:
    """The path that WSGI gives as if it were Latin-1 (PEP 3333). Django gives the path itself."""
    try:
        return path.encode("latin-1").decode()
    except UnicodeError:
        return path


def _joined(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The values of all fields of this name (RFC 9110 §5.3)."""
    values = [value.decode("latin-1") for key, value in headers if key.lower() == name]
    return ", ".join(values) if values else None


def chosen_coding(accept_encoding: str | None, offered: Sequence[str]) -> str:
    """The content coding to answer with: one of `offered`, best first, or identity.

    Follows RFC 9110 §12.5.3: the coding that the client values most; the first of `offered`
    among equals, and any of them before identity. A client that names none that is offered,
    sends no such header or a malformed one gets identity, also if it refuses that.

    >>> chosen_coding("gzip, deflate, br, zstd", ["zstd", "br", "gzip"])
    'zstd'
    >>> chosen_coding("gzip, br;q=0.5", ["zstd", "br", "gzip"])
    'gzip'
    """
    weights = _weights(accept_encoding or "")
    rest = weights.get("*", 0.0)
    best, most = IDENTITY, weights.get(IDENTITY, 0.0)
    for coding in reversed(offered):
        weight = weights.get(coding, rest)
        if weight and weight >= most:
            best, most = coding, weight
    return best


def _weights(accept_encoding: str) -> dict[str, float]:
    """How much the client values each coding it names; nothing if the header is malformed."""
    weights = {}
    for member in accept_encoding.split(","):
        match = _CODING.fullmatch(member)
        if match is None:
            return {}
        if match[1]:
            coding = match[1].lower()
            weights["gzip" if coding == "x-gzip" else coding] = float(match[2] or 1)  # §8.4.1.3
    return weights


def coding_headers(coding: str) -> list[Header]:
    """The headers of an answer that is compressed by `coding`, and could have been otherwise.

    >>> coding_headers("gzip")
    [('Vary', 'Accept-Encoding'), ('Content-Encoding', 'gzip')]
    >>> coding_headers("identity")
    [('Vary', 'Accept-Encoding')]
    """
    vary = [("Vary", "Accept-Encoding")]
    return vary if coding == IDENTITY else [*vary, ("Content-Encoding", coding)]


def merged(ours: Sequence[Header], theirs: Iterable[Header]) -> list[Header]:
    """Our headers, and those of the view in their place.

    Except that `Vary` gets both values (RFC 9110 §12.5.5), and that the Content-Length of an
    answer that we compress is left out: it is that of the plain one.

    >>> merged([("Vary", "Accept-Encoding"), ("X-A", "1")], [("vary", "Cookie"), ("x-a", "2")])
    [('vary', 'Accept-Encoding, Cookie'), ('x-a', '2')]
    """
    given = list(theirs)
    replaced = {name.lower() for name, _ in given}
    default = {name.lower(): value for name, value in ours}
    headers = [(name, value) for name, value in ours if name.lower() not in replaced]
    for name, value in given:
        if name.lower() == "vary" and "vary" in default:
            headers.append((name, f"{default['vary']}, {value}"))
        elif name.lower() != "content-length" or "content-encoding" not in default:
            headers.append((name, value))
    return headers
