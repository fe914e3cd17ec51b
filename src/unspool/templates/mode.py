"""How a page with holes is sent, as its request decides."""

from __future__ import annotations

import re
from typing import Literal

from unspool.errors import UsageError
from unspool.headers import Asked

__all__ = ["IN_ORDER", "Mode", "chosen_mode", "url_in_order"]

Mode = Literal["auto", "inorder", "whole"]
"""How a page is sent: with its holes filled in any order, or as the request decides
(see `chosen_mode`); in the order of the page; or in one piece."""

IN_ORDER = "unspool=inorder"
"""A request with this in its query gets the page in order: the way for browsers that cannot
fill holes."""

# Programs that read pages and may not fill holes. Every crawler of note has one of the first four
# words in its name; the others fetch previews.
_BOT = re.compile("bot|crawl|spider|slurp|facebookexternalhit|whatsapp|preview", re.IGNORECASE)

# Browsers that fill holes by themselves, also with JavaScript off: Chromium 150 and newer.
_FILLS_HOLES = re.compile(r"Chrome/(1[5-9]\d|[2-9]\d\d|\d{4})")


def chosen_mode(mode: str, asked: Asked) -> Mode:
    """`mode`, if it is not "auto"; then "inorder" for whoever cannot fill holes.

    These are requests of bots, of htmx (`HX-Request`, which puts the answer into another page),
    and those with `unspool=inorder` in their query.

    Raises:
        UsageError: no such mode.

    >>> chosen_mode("auto", Asked(agent="Mozilla/5.0 (compatible; bingbot/2.0)"))
    'inorder'
    """
    if mode not in {"auto", "inorder", "whole"}:
        raise UsageError(f'mode must be "auto", "inorder" or "whole"; got {mode!r}.')
    in_order = asked.htmx or IN_ORDER in asked.query.split("&") or _BOT.search(asked.agent)
    return "inorder" if mode == "auto" and in_order else mode  # type: ignore[return-value]


def url_in_order(method: str, asked: Asked) -> str:
    """Where to find the page in order, for `<meta http-equiv="refresh">` in `<noscript>`.

    Nothing, where the browser needs it not, or the request cannot be repeated.

    >>> url_in_order("GET", Asked(query="q=1"))
    '?q=1&unspool=inorder'
    """
    if method != "GET" or _FILLS_HOLES.search(asked.agent):
        return ""
    return "?" + "&".join(filter(None, [asked.query, IN_ORDER]))
