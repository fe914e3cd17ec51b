"""A page whose slow parts arrive late: the shell, and the blocks that run beside it.

The blocks of a sync template run on a few shared threads, those of an async one as tasks; each
in a copy of the page's context, so that `request` and its kin work. When the client leaves, what
has not begun never does, and the rest is stopped at its next piece.

The shell is held until it is whole, `{% flush %}`, a chunk or 50 ms, whichever is first, and
comes as one piece: what fails in it until then, fails before anything is sent.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import chain
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, cast

from jinja2.runtime import AsyncLoopContext, Context, LoopContext
from jinja2.utils import concat
from markupsafe import escape

from unspool.coalesce import CHUNK_BYTES, FLUSH_AFTER_S
from unspool.sources.workers import Workers
from unspool.templates.board import SCRIPT, Board, Hole
from unspool.templates.deferred import Deferred, deferred, run_beside
from unspool.templates.mode import Mode

__all__ = [
    "FAILED",
    "ITEMS_AHEAD",
    "Holes",
    "Job",
    "Page",
    "Pieces",
    "Shell",
    "current_hole",
    "current_page",
    "timed_out",
]

# So many blocks of sync templates run at a time; each may wait for a database or a service.
_WORKERS = Workers(64)

ITEMS_AHEAD = 64
"""So many items of a live block wait for a slow client, or for their place in the page; no more
are made until they are taken."""

FAILED = '<span role="alert">This part of the page could not be loaded.</span>'
"""What a hole shows whose block failed and has no `{% error %}` part: something, since the
placeholder would seem to wait for ever."""

current_page: ContextVar[Any] = ContextVar("current_page", default=None)
"""The page that is being rendered."""

current_hole: ContextVar[Hole | None] = ContextVar("current_hole", default=None)
"""The hole whose block is being rendered."""


# What ends a page.
_END = re.compile(r"\s*(</body\s*>\s*)?(</html\s*>\s*)?\Z", re.IGNORECASE)


_log = logging.getLogger("unspool")


class Pieces(chain[str]):
    """The pieces of a page; `cancel`, from any thread, ends a wait for the next one.

    A chain of its parts, because that gives the pieces on without running any Python for each.
    """

    cancel: Callable[[], None]
    _parts: Any

    @classmethod
    def of(cls, parts: Any, cancel: Callable[[], None]) -> Pieces:
        """Those of a generator of iterables."""
        made = cast(Pieces, cls.from_iterable(parts))
        made.cancel = cancel
        made._parts = parts
        return made

    def close(self) -> None:
        """Ends the page, also if it never began: a generator would not run a line then."""
        self.cancel()
        self._parts.close()


class Job:
    """What a block needs to run: its context, and the names it uses."""

    def __init__(
        self, context: Context, block: str, used: tuple[str, ...] = (), error_name: str = ""
    ) -> None:
        self.context = _frozen(context)
        self.block = block
        self.used = used
        self.error_name = error_name

    def late(self) -> dict[str, Deferred[Any]]:
        """The variables of the block that are not values yet."""
        values = {name: self.context.resolve_or_missing(name) for name in self.used}
        return deferred(values)

    def pieces(self, values: dict[str, Any]) -> Any:
        """The generator of the block's text, with these variables."""
        context = self.context.derived(values) if values else self.context
        return context.blocks[self.block][0](context)

    def error_pieces(self, error: BaseException) -> Any:
        """The generator of the text of the `{% error %}` part; None if there is none."""
        blocks = self.context.blocks.get(self.block + "_error")
        context = self.context.derived({self.error_name: error})
        return blocks and blocks[0](context)


class FrozenLoop:
    """The `loop` of a loop that has gone on since; without what looks ahead (`last`, `length`)."""

    def __init__(self, loop: LoopContext) -> None:
        self.index0 = loop.index0
        self.index = loop.index
        self.first = loop.first
        self.depth0 = loop.depth0
        self.depth = loop.depth
        self.previtem = loop.previtem

    def cycle(self, *values: Any) -> Any:
        """One of `values`, by the index."""
        return values[self.index0 % len(values)]


def _frozen(context: Context) -> Context:
    """The context as it is now: the `loop` of a running loop goes on changing."""
    loop = context.parent.get("loop")
    if not isinstance(loop, (LoopContext, AsyncLoopContext)):
        return context
    return context.derived({"loop": FrozenLoop(loop)})


class Shell:
    """Holds the beginning of a page back, and its very end.

    `over` says whether what is held may leave. The tags that end a page (`</body></html>`)
    stand apart in `end`: what fills the holes comes before them.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.over = False
        self.end = ""
        self._clock = clock
        self._until: float | None = None
        self._held: list[str] = []
        self._chars = 0

    def hold(self, piece: str) -> str:
        """What may leave now that this piece is there."""
        self._held.append(piece)
        self._chars += len(piece)
        if self._until is None:
            self._until = self._clock() + FLUSH_AFTER_S
        self.over = self.over or self._chars >= CHUNK_BYTES or self._clock() >= self._until
        return self.rest() if self.over else ""

    def rest(self) -> str:
        """All that is held."""
        text = concat(self._held)
        self._held.clear()
        return text

    def whole(self) -> str:
        """The same at the end of the shell, without the tags that `end` is then."""
        text = self.rest()
        at = _END.search(text)
        self.end = at[0] if at else ""
        return text[: len(text) - len(self.end)]


class Holes:
    """What both kinds of page share: the holes, their deadlines, and the end of the shell."""

    def __init__(
        self,
        mode: Mode = "auto",
        on_error: Callable[[BaseException], object] = lambda error: None,
        again: str = "",
    ) -> None:
        self.board = Board(mode)
        self.shell = Shell()
        self.jobs: dict[Hole, Job] = {}
        self.closed = False
        self._deadlines: list[tuple[float, str, Hole]] = []
        self._on_error = on_error
        self._again = again

    def flush(self) -> None:
        """What there is may be sent: the shell is held no longer."""
        self.shell.over = True

    def new_hole(
        self, job: Job, name: str, timeout_s: float | None, after: str | None, *, live: bool
    ) -> Hole:
        """A hole that this job will fill."""
        hole = self.board.new_hole(name, current_hole.get(), after, live=live)
        self.jobs[hole] = job
        if timeout_s is not None:
            heappush(self._deadlines, (monotonic() + timeout_s, hole.id, hole))
        return hole

    def tail(self) -> str:
        """What follows the shell: how browsers that cannot fill holes come to do it."""
        if not self.board.holes:
            return ""
        again = f'<meta http-equiv="refresh" content="0;url={escape(self._again)}">'
        route = f"<noscript>{again}</noscript>" if self._again else ""
        return f"\n<script>{SCRIPT}</script>{route}\n"

    def wait_s(self) -> float | None:
        """Seconds until the next deadline; None if there is none."""
        while self._deadlines and self._deadlines[0][2].ended:
            heappop(self._deadlines)
        return max(0.0, self._deadlines[0][0] - monotonic()) if self._deadlines else None

    def overdue(self) -> Hole | None:
        """A hole whose time is up; its own content, if it comes, is not wanted any more."""
        return heappop(self._deadlines)[2] if self.wait_s() == 0 else None

    def failed(self, hole: Hole, error: BaseException) -> object:
        """Tells that a block has failed; what it had begun will not be in the page."""
        if not hole.live:
            hole.lost = self.board.inside(hole)
        try:
            return self._on_error(error)
        except Exception as another:
            self.not_told(another)
            return None

    def not_told(self, error: BaseException) -> None:
        """Logs what `on_error` failed with: the page goes on."""
        _log.error("What is called for a failed block of a page has failed.", exc_info=error)


def timed_out(hole: Hole) -> TimeoutError:
    """What a block fails with whose time is up."""
    return TimeoutError(f"the block {hole.name!r} of the page was not ready within its timeout")


class Page(Holes):
    """A page of a sync template: `pieces(shell)` is what is sent.

    Holds the blocks that are ready before they may be sent; in the modes "inorder" and "whole"
    also what of the shell comes after the first hole.

    Args:
        mode: how it is sent; see `Mode`.
        on_error: told what a block failed with, on the thread and in the context of the block.
        again: the URL of this page in order, for browsers without JavaScript that cannot fill
            holes; "" for none.
    """

    def __init__(
        self,
        mode: Mode = "auto",
        on_error: Callable[[BaseException], object] = lambda error: None,
        again: str = "",
    ) -> None:
        super().__init__(mode, on_error, again)
        self._done: SimpleQueue[tuple[Hole, str | None] | None] = SimpleQueue()
        self._rooms: list[threading.Semaphore] = []
        self._running: list[Future[None]] = []
        self._late: list[Deferred[Any]] = []

    def defer(
        self, job: Job, name: str, timeout_s: float | None = None, after: str | None = None
    ) -> Hole:
        """Starts a block; gives its hole."""
        hole = self.new_hole(job, name, timeout_s, after, live=False)
        self._start(hole, self._fill, job)
        return hole

    def live(self, job: Job, name: str, target: str, items: Iterable[Any]) -> Hole:
        """Starts a block that is run for each of `items`; gives its hole."""
        hole = self.new_hole(job, name, None, None, live=True)
        room = threading.Semaphore(ITEMS_AHEAD)
        self._rooms.append(room)
        hole.taken = room.release
        self._start(hole, self._feed, job, target, items, room)
        return hole

    def _start(self, hole: Hole, run: Callable[..., None], *args: Any) -> None:
        outer = current_hole.set(hole)
        try:
            self._running.append(run_beside(_WORKERS, run, hole, *args))
        finally:
            current_hole.reset(outer)

    def _fill(self, hole: Hole, job: Job) -> None:
        try:
            html = self._text(job.pieces(self._values(job)), hole)
        except BaseException as error:
            if self._unwanted(hole):
                return
            html = self._error_text(hole, error)
        self._done.put((hole, html))

    def _feed(
        self,
        hole: Hole,
        job: Job,
        target: str,
        items: Iterable[Any],
        room: threading.Semaphore,
    ) -> None:
        try:
            for item in items:
                html = self._text(job.pieces({target: item}), hole)
                room.acquire()
                if self.closed:
                    break
                self._done.put((hole, html))
        except BaseException as error:
            if not self.closed:
                self._done.put((hole, self._error_text(hole, error)))
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
            self._done.put((hole, None))

    def _values(self, job: Job) -> dict[str, Any]:
        late = job.late()
        self._late += late.values()
        return {name: value.result() for name, value in late.items()}

    def _text(self, pieces: Iterator[str], hole: Hole) -> str:
        """The text of a block, unless nobody waits for it any more."""
        made = []
        for piece in pieces:
            if self._unwanted(hole):
                break
            made.append(piece)
        return concat(made)

    def _unwanted(self, hole: Hole) -> bool:
        return self.closed or hole.ended

    def _error_text(self, hole: Hole, error: BaseException) -> str:
        self.failed(hole, error)
        try:
            pieces = self.jobs[hole].error_pieces(error)
            return FAILED if pieces is None else concat(pieces)
        except Exception as another:
            self.failed(hole, another)
            return FAILED

    def pieces(self, shell: Any, values: Iterable[object] = ()) -> Pieces:
        """The text of the page, as it comes.

        At its end, however it comes, it closes `shell`, a generator, and stops the blocks and
        those of `values` that are deferred. Does not wait for what is running: see `when_idle`.
        """
        return Pieces.of(self.parts(shell, values), self.stop)

    def parts(self, shell: Any, values: Iterable[object] = ()) -> Generator[Iterable[str]]:
        """The same as parts of the page, each of which gives pieces."""
        self._late += [value for value in values if isinstance(value, Deferred)]
        return self._parts(shell)

    def _parts(self, shell: Any) -> Generator[Iterable[str]]:
        current_page.set(self)
        try:
            if self.board.mode == "auto":
                yield self._beginning(shell)
                yield shell
                yield [self.tail()]
                while self.board.open:
                    yield [concat(self.board.patches(*self._next()))]
                yield [self.shell.end]
            elif self.board.mode == "inorder":
                yield self._in_order(chain(self._beginning(shell), shell))
            else:
                yield [concat(self._in_order(shell))]
        finally:
            self.stop()
            current_page.set(None)
            shell.close()

    def _beginning(self, shell: Iterator[str]) -> Iterator[str]:
        """So much of the shell as is held back, as one piece."""
        for piece in shell:
            if held := self.shell.hold(piece):
                yield held
                return
        yield self.shell.whole() if self.board.mode == "auto" else self.shell.rest()

    def _next(self) -> tuple[Hole, str | None]:
        """The next content of a hole, or what stands for it when its time is up."""
        while True:
            if (late := self.overdue()) is not None:
                return late, self._error_text(late, timed_out(late))
            try:
                done = self._done.get(timeout=self.wait_s())
            except Empty:
                continue
            if done is None:
                raise GeneratorExit  # `stop` was called.
            hole, html = done
            if not hole.ended:
                return hole, html

    def _in_order(self, shell: Iterator[str]) -> Iterator[str]:
        """The shell with the holes filled in their places."""
        rest: list[str] = []
        for piece in shell:
            if rest or self.board.mark in piece:
                rest.append(piece)
            else:
                yield piece
        yield from self._filled_in(concat(rest))

    def _filled_in(self, text: str) -> Iterator[str]:
        while text:
            before, _, text = text.partition(self.board.mark)
            if before:
                yield before
            if text:
                id, _, text = text.partition("-->")
                yield from self._content(self.board.holes[id])

    def _content(self, hole: Hole) -> Iterator[str]:
        while True:
            while not hole.made:
                self.board.made(*self._next())
            html = hole.made.pop(0)
            if html is None:
                return
            hole.taken()
            yield from self._filled_in(html)
            if not hole.live:
                return

    def stop(self) -> None:
        """Stops what still runs, and ends a wait for it; from any thread."""
        if self.closed:
            return
        self.closed = True
        self._done.put(None)
        for late in self._late:
            late.cancel()
        for room in self._rooms:
            room.release()
        for job in self._running:
            job.cancel()

    def when_idle(self, then: Callable[[], None]) -> None:
        """Calls `then` once no block and no deferred value runs any more; now, if none does."""
        all_jobs = [*self._running, *(late.future for late in self._late)]
        running = [job for job in all_jobs if not job.done()]
        if not running:
            then()
            return
        others = threading.Semaphore(len(running) - 1)

        def one_ended(_: object) -> None:
            if not others.acquire(blocking=False):
                then()

        for job in running:
            job.add_done_callback(one_ended)
