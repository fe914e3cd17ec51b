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
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from markupsafe import Markup

from unspool.templates.mode import Mode

__all__ = ["SCRIPT", "SCRIPT_HASH", "Board", "Hole"]

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NAMES = len(_DIGITS) ** 4

# A number without a factor in common with `_NAMES`, far from all simple ones: steps of this size
# meet every name once.
_STEP = 9_876_541

# What fills the holes where the browser does not know how. A patch is complete once something
# follows it, which is the line end that we send, or once the page is. Until then there is a
# picture beside the page, out of sight: WebKit shows nothing of a page that has less than 200
# characters and no picture.
SCRIPT = (
    "(d=>{if('htmlFor'in HTMLTemplateElement.prototype)return;"
    "let v=d.createElement('canvas');v.style='position:fixed;left:-999px';"
    "d.documentElement.append(v);"
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
    "d.addEventListener('DOMContentLoaded',()=>{z=1;g();o.disconnect();v.remove()})})(document)"
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
    made: list[str | None] = field(default_factory=list)
    lost: list[Hole] = field(default_factory=list)
    """Holes in a content that failed, and will not be in the page."""
    taken: Callable[[], None] = lambda: None
    """Called for each content that is put in its place."""
    ended: bool = False
    """All its content is made."""
    sent: bool = False
    """All its content is in the page."""


class Board:
    """The holes of one page.

    Holes may be made by any thread; what is made for them is told by one at a time. Holds, for
    each hole, a few hundred bytes and its content from when it is ready to when it may be sent.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self.mark = f"<!--{secrets.token_hex(8)}:"
        self.holes: dict[str, Hole] = {}
        self._first_id = secrets.randbelow(_NAMES)
        self._numbers = count()
        self._waiting: list[Hole] = []
        self._ended = 0
        self._sent = 0

    @property
    def open(self) -> int:
        """How many holes are not filled yet."""
        return len(self.holes) - self._sent

    def new_hole(self, name: str, parent: Hole | None, after: str | None, *, live: bool) -> Hole:
        """A hole; its id cannot be guessed by whoever writes text into the page."""
        id = self._new_id()
        start, end = f"{self.mark}{id}-->", ""
        if self.mode == "auto":
            start = f'<?marker name="{id}">' if live else f'<?start name="{id}">'
            end = "" if live else "<?end>"
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
        self.holes[id] = hole
        return hole

    def _new_id(self) -> str:
        number = (self._first_id + _STEP * next(self._numbers)) % _NAMES
        digits = []
        for _ in range(4):
            number, digit = divmod(number, len(_DIGITS))
            digits.append(_DIGITS[digit])
        return "".join(digits)

    def inside(self, hole: Hole) -> list[Hole]:
        """The holes in the content of a hole."""
        return [other for other in list(self.holes.values()) if other.parent is hole]

    def made(self, hole: Hole, html: str | None) -> None:
        """Keeps content of a hole, to be put in its place; None ends a live one."""
        hole.made.append(html)
        if html is None or not hole.live:
            self._end(hole)

    def _end(self, hole: Hole) -> None:
        hole.ended = True
        self._ended += 1
        for lost in hole.lost:
            if not lost.ended:
                lost.lost = self.inside(lost)
                self._end(lost)
            if not lost.sent:
                self._set_sent(lost)

    def _set_sent(self, hole: Hole) -> None:
        hole.sent = True
        self._sent += 1
        if hole in self._waiting:
            self._waiting.remove(hole)

    def patches(self, hole: Hole, html: str | None) -> list[str]:
        """What may be sent now that this content is there."""
        self.made(hole, html)
        if hole not in self._waiting:
            self._waiting.append(hole)
        patches: list[str] = []
        going = [hole] if self._may_go(hole) else []
        while going := going or self._stuck():
            for each in going:
                patches += self._filled(each)
            going = [each for each in self._waiting if self._may_go(each)]
        return patches

    def _may_go(self, hole: Hole) -> bool:
        if not self._has_place(hole):
            return False
        if hole.after is None:
            return True
        return all(other.sent for other in list(self.holes.values()) if other.name == hole.after)

    def _has_place(self, hole: Hole) -> bool:
        return hole.parent is None or hole.parent.sent

    def _stuck(self) -> list[Hole]:
        """One of those that would wait for each other for ever, as all else is made."""
        if self._ended < len(self.holes):
            return []
        return list(filter(self._has_place, self._waiting))[:1]

    def _filled(self, hole: Hole) -> list[str]:
        """The patches of what is made; they mark the hole as filled, if that was all."""
        made, hole.made = hole.made, []
        self._waiting.remove(hole)
        if hole.ended:
            self._set_sent(hole)
        patches = []
        more = f'<?marker name="{hole.id}">' if hole.live else ""
        for html in made:
            if html is not None:
                patches.append(f'<template for="{hole.id}">{html}{more}</template>\n')
                hole.taken()
        return patches
