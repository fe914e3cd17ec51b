"""Response headers of a stream, as plain lists of name and value."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from unspool.errors import UsageError, shown

__all__ = ["content_disposition", "stream_headers"]

# attr-char of RFC 8187 §3.2.1, beside letters and digits.
_ATTR_CHARS = "!#$&+-.^_`|~"

# What the plain `filename` parameter may hold without any browser misreading it: a
# quoted-string (RFC 9110 §5.6.4) without quote and backslash, and without "%", which
# some browsers decode there.
_NOT_PLAIN = re.compile(r'[^\x20-\x7e]|["\\%]')

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
    if not filename or filename in {".", ".."}:
        problem = "is not a file name"
    elif "/" in filename or "\\" in filename:
        problem = "has a path separator; give the last part of the path only"
    elif any(unicodedata.category(char) in {"Cc", "Cs"} for char in filename):
        problem = "has a control character"
    elif len(filename.encode()) > _FILENAME_BYTES_MAX:
        problem = f"is {len(filename.encode())} bytes long; the limit is {_FILENAME_BYTES_MAX}"
    if problem:
        raise UsageError(f"filename {shown(filename)} {problem}.")


def stream_headers(media_type: str, filename: str | None = None) -> list[tuple[str, str]]:
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
