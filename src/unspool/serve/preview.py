"""The first rows of some data, as a page shows them.

A page asks for data as any client does, by URL, within the process: so it shows what a download
has, within the same limits, and a refusal says the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from flask import current_app, request
from werkzeug.test import EnvironBuilder

from unspool.connection import LEAVING
from unspool.errors import RowError
from unspool.observe import unseen
from unspool.serve.families import Family
from unspool.serve.problems import Problem

__all__ = ["FIRST_ROWS", "Preview", "Shown", "as_text", "ask", "first_rows", "kind_of", "refusal"]

FIRST_ROWS = 50
"""So many rows are in the page as the server renders it."""

# What a page may become by scrolling; its DOM stays bounded, for tables of any width too.
_MOST_ROWS = 5_000
_MOST_CELLS = 200_000

# The server renders fewer rows if they come to more, and none that are longer. In bytes of NDJSON.
_ENOUGH_BYTES = 2_000_000
_LONGEST_BYTES = 4_000_000

_DECIMAL = re.compile(r"-?\d+\.\d+")

# The request of the page lends these to the requests that are made for it.
_LENT = ("REMOTE_ADDR", "HTTP_AUTHORIZATION", "HTTP_HOST", LEAVING)


@dataclass(frozen=True)
class Shown:
    """A column as a preview shows it; `kind` is its CSS class."""

    name: str
    type: str = ""
    kind: str = "text"
    sorted: str = ""
    next_sort: str = ""


@dataclass
class Preview:
    """What the page shows of some data; `url` goes on with it, where there is more.

    `refused` says why there is nothing to show.
    """

    columns: Sequence[Shown] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    refused: str = ""

    @property
    def max_rows(self) -> int:
        """So many rows a page shows at most."""
        return min(_MOST_ROWS, _MOST_CELLS // max(1, len(self.columns)))


def first_rows(url: str, columns: Sequence[Shown]) -> Preview:
    """The first rows of the NDJSON at `url`; without `columns`, those that the first row has.

    Blocks until the database has them; closes the answer then.
    """
    status, body = _get(url)
    with closing(body):
        if status >= 400:  # noqa: PLR2004
            return Preview(refused=_detail(b"".join(body)))
        try:
            rows, more = _read(body)
        except (Problem, RowError) as error:
            return Preview(refused=str(error))
    return Preview(columns or _guessed(rows), rows, url if more else "")


def _read(body: Any) -> tuple[list[dict[str, Any]], bool]:
    """The first rows, and whether there are more."""
    rows: list[dict[str, Any]] = []
    taken = 0
    for line in _lines(body):
        if len(rows) == FIRST_ROWS or taken > _ENOUGH_BYTES:
            return rows, True
        rows.append(json.loads(line))
        taken += len(line)
    return rows, False


def refusal(url: str) -> tuple[int, str]:
    """Status and reason, if the data at `url` would be refused as it is asked for; 200 and "".

    Runs no query.
    """
    status, body = _get(url, "HEAD")
    body.close()
    if status < 400:  # noqa: PLR2004
        return 200, ""
    status, body = _get(url)
    with closing(body):
        return (status, _detail(b"".join(body))) if status >= 400 else (200, "")  # noqa: PLR2004


def ask(url: str) -> Any:
    """The JSON at `url`.

    Raises:
        Problem: what is answered instead.
    """
    status, body = _get(url)
    with closing(body):
        text = b"".join(body)
    if status >= 400:  # noqa: PLR2004
        raise Problem(_detail(text))
    return json.loads(text)


def _detail(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["detail"])
    except (ValueError, LookupError, TypeError):
        return "The server failed. Its log has the reason."


def _get(url: str, method: str = "GET") -> tuple[int, Any]:
    """Status and body of what this app answers; the live view does not show it."""
    path, _, query = url.partition("?")
    builder = EnvironBuilder(path, query_string=query, method=method)
    environ = builder.get_environ()
    environ.update((name, request.environ[name]) for name in _LENT if name in request.environ)
    said: list[str] = []
    with unseen():
        body = current_app.wsgi_app(environ, lambda status, *_: said.append(status))  # type: ignore[arg-type]
    return int(said[0].split(" ", 1)[0]), body


def _lines(body: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in body:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield _checked(line)
        _checked(rest)


def _checked(line: bytes) -> bytes:
    if len(line) > _LONGEST_BYTES:
        raise Problem("A row is too long to be shown here. Download it.")
    return line


def _guessed(rows: Sequence[dict[str, Any]]) -> list[Shown]:
    return [Shown(name, kind=_kind_in(row[name] for row in rows)) for name in (rows or [{}])[0]]


def _kind_in(values: Iterator[Any]) -> str:
    """Decimals come as text, so that no digit is lost."""
    known = [value for value in values if value is not None]
    numbers = [type(each) in {int, float} or _DECIMAL.fullmatch(str(each)) for each in known]
    return "number" if known and all(numbers) else "text"


def kind_of(family: Family) -> str:
    """How a column is shown: `number`, `binary` or `text`.

    >>> [kind_of(family) for family in (Family.DECIMAL, Family.NESTED, Family.BINARY)]
    ['number', 'text', 'binary']
    """
    if family is Family.BINARY:
        return "binary"
    return "number" if family.is_number else "text"


def as_text(value: Any) -> str:
    """A value of NDJSON as text; a string is itself.

    >>> as_text({"a": [1, 2.5]})
    '{"a":[1,2.5]}'
    """
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
