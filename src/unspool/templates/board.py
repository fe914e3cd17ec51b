"""The holes of a page, and the order in which what fills them may be sent. Sans I/O.

A hole is `<?start name="x">placeholder<?end>` in the page; `<template for="x">content</template>`
after the page fills it, in browsers that know it (Chromium 150) without JavaScript, in others by
`SCRIPT`. A patch whose hole is not in the page yet would be lost: so one that is ready waits
until the block that it stands in is sent, and the one that it is to come `after`.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup

__all__ = ["SCRIPT", "SCRIPT_HASH", "Board", "Hole", "Mode"]

Mode = Literal["auto", "inorder", "whole"]
"""How a page with holes is sent: filled in any order; in the order of the page; or whole."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NAMES = len(_DIGITS) ** 4

# A number without a factor in common with `_NAMES`, far from all simple ones: steps of this size
# meet every name once.
_STEP = 9_876_541

# What fills the holes where the browser does not know how. A patch is complete once something
# follows it, which is the line end that we send, or once the page is.
SCRIPT = (
    "(d=>{if('htmlFor'in HTMLTemplateElement.prototype)return;"
    'let r=/^\\?(start|end|marker)(?: name="(\\w+)")?/,z,'
    "f=t=>{let k=d.createTreeWalker(d,128),n=t.getAttribute('for'),x=0,s,e,c,q;"
    "while(c=k.nextNode()){if(!(q=r.exec(c.data)))continue;"
    "if(!s){if(q[2]==n){s=c;if(q[1]=='marker'){e=c;break}}}"
    "else if(q[1]=='start')x++;else if(q[1]=='end'&&!x--){e=c;break}}"
    "if(!e)return;"
    "if(s!=e){while(s.nextSibling!=e)s.nextSibling.remove();e.remove()}"
    "s.replaceWith(t.content);t.remove()},"
    "g=()=>d.querySelectorAll('template[for]').forEach(t=>(t.nextSibling||z)&&f(t)),"
    "o=new MutationObserver(g);"
    "o.observe(d,{childList:true,subtree:true});"
    "d.addEventListener('DOMContentLoaded',()=>{z=1;g();o.disconnect()})})(document)"
)

SCRIPT_HASH = "sha256-" + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
"""For `Content-Security-Policy: script-src …`: the script is always the same."""


@dataclass(eq=False)
class Hole:
    """A place in the page, and what is known of what will fill it.

    `start` and `end` stand around the placeholder, which is shown if the hole `waits`. A `live`
    hole is filled bit by bit. `made` is content that is not in its place yet; None stands for
    the end of a live hole.
    """

    id: str
    name: str
    start: Markup
    end: Markup
    live: bool
    waits: bool
    parent: Hole | None
    after: str | None = None
    sent: bool = False
    timed_out: bool = False
    made: list[str | None] = field(default_factory=list)


class Board:
    """The holes of one page.

    Holds, for each hole, a few hundred bytes and its content from when it is ready to when it
    may be sent.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self._next = secrets.randbelow(_NAMES)
        self.mark = f"<!--{secrets.token_hex(8)}:"
        self.holes: list[Hole] = []
        self.by_id: dict[str, Hole] = {}
        self.open = 0
        self._ready: list[Hole] = []

    def new_hole(self, name: str, parent: Hole | None, after: str | None, *, live: bool) -> Hole:
        """A hole; its name cannot be guessed by whoever writes text into the page."""
        id = self._new_id()
        if self.mode == "auto":
            start = f'<?marker name="{id}">' if live else f'<?start name="{id}">'
            end = "" if live else "<?end>"
        else:
            start, end = f"{self.mark}{id}-->", ""
        hole = Hole(
            id,
            name,
            Markup(start),  # noqa: S704 (we made it)
            Markup(end),  # noqa: S704
            live=live,
            waits=self.mode == "auto" and not live,
            parent=parent,
            after=after,
        )
        self.holes.append(hole)
        self.by_id[id] = hole
        self.open += 1
        return hole

    def _new_id(self) -> str:
        self._next = number = (self._next + _STEP) % _NAMES
        digits = []
        for _ in range(4):
            number, digit = divmod(number, len(_DIGITS))
            digits.append(_DIGITS[digit])
        return "".join(digits)

    def filled(self, hole: Hole, html: str) -> list[str]:
        """The patches that may be sent now that this hole's content is there."""
        hole.made.append(html)
        self._ready.append(hole)
        patches = []
        while (found := next(filter(self._may_go, self._ready), None)) is not None:
            self._ready.remove(found)
            patches.append(self.patch(found))
        return patches

    def patch(self, hole: Hole) -> str:
        """What fills the hole, and marks it as filled."""
        hole.sent = True
        self.open -= 1
        return f'<template for="{hole.id}">{hole.made.pop()}</template>\n'

    def item(self, hole: Hole, html: str) -> str:
        """One more item of a live hole."""
        return f'<template for="{hole.id}">{html}<?marker name="{hole.id}"></template>\n'

    def _may_go(self, hole: Hole) -> bool:
        if hole.parent is not None and not hole.parent.sent:
            return False
        if hole.after is None:
            return True
        return all(other.sent for other in self.holes if other.name == hole.after)
