"""A page whose slow parts arrive late: the shell, and the blocks that run beside it.

The blocks of a sync template run on a few shared threads, those of an async one as tasks; each
in a copy of the page's context, so that `request` and its kin work. When the client leaves, what
has not begun never does, and the rest is stopped at its next piece.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from contextvars import ContextVar, copy_context
from inspect import isawaitable, iscoroutinefunction
from queue import Empty, SimpleQueue
from time import monotonic
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from jinja2.runtime import AsyncLoopContext, Context, LoopContext
from jinja2.utils import concat
from markupsafe import escape

from unspool.errors import UsageError
from unspool.sources.rows import CLOSE_WAIT_S
from unspool.sources.workers import Lane, Workers
from unspool.templates.board import SCRIPT, Board, Hole, Mode

__all__ = [
    "FAILED",
    "ITEMS_AHEAD",
    "Deferred",
    "Holes",
    "Job",
    "Page",
    "current_hole",
    "current_page",
    "defer",
    "timed_out",
]

T = TypeVar("T")

# So many blocks and deferred values run at a time; each may wait for a database or a service.
_WORKERS = Workers(32)

# So many items of live blocks wait for a slow client, and no more are made until it takes them.
ITEMS_AHEAD = 64

# What a hole shows whose block failed and has no `{% error %}` part: something, since the
# placeholder would seem to wait for ever.
FAILED = '<span role="alert">This part of the page could not be loaded.</span>'

current_page: ContextVar[Any] = ContextVar("current_page", default=None)
current_hole: ContextVar[Hole | None] = ContextVar("current_hole", default=None)


class Deferred(Generic[T]):
    """A value that is being made beside the page; see `defer`."""

    def __init__(self, future: Future[T] | asyncio.Future[T]) -> None:
        self.future = future

    def result(self, timeout_s: float | None = None) -> T:
        """The value, once it is there. Blocks; for code outside a `{% defer %}` block.

        Raises:
            TimeoutError: not within `timeout_s`; what made the value may raise anything else.
        """
        if isinstance(self.future, asyncio.Future):
            return self.future.result()
        return self.future.result(timeout_s)

    def cancel(self) -> None:
        """Keeps it from starting, if it has not; ends it, if it is a task."""
        self.future.cancel()


def defer(
    function: Callable[..., Any] | Awaitable[Any], *args: Any, **kwargs: Any
) -> Deferred[Any]:
    """Starts `function(*args, **kwargs)` at once, beside the view; hand it to a template.

    Inside `{% defer %}`, the name it is handed over by is its value. A plain function runs on
    one of a few shared threads, an async one (or an awaitable) as a task of the running loop;
    each in a copy of the current context. Cancelled when the page's client leaves.

    Raises:
        UsageError: it is neither a function nor awaitable.

    >>> defer(sum, [1, 2]).result()
    3
    """
    if iscoroutinefunction(function):
        function = function(*args, **kwargs)
    if isawaitable(function):
        return Deferred(asyncio.ensure_future(function))
    if not callable(function):
        raise UsageError(f"defer() takes a function and its arguments; got {function!r}.")
    return Deferred(Lane(_WORKERS).submit(copy_context().run, lambda: function(*args, **kwargs)))


class Job:
    """What a block needs to run: its context, the names it uses, its limits."""

    def __init__(
        self, context: Context, block: str, used: tuple[str, ...], error_name: str
    ) -> None:
        self.context = _frozen(context)
        self.block = block
        self.used = used
        self.error_name = error_name

    def late(self) -> dict[str, Any]:
        """The variables of the block that are not values yet."""
        values = {name: self.context.resolve_or_missing(name) for name in self.used}
        return {
            name: value
            for name, value in values.items()
            if isinstance(value, Deferred) or isawaitable(value)
        }

    def pieces(self, values: dict[str, Any]) -> Any:
        """The generator of the block's text, with these variables."""
        context = self.context.derived(values) if values else self.context
        return context.blocks[self.block][0](context)

    def error_pieces(self, error: BaseException) -> Any:
        """The generator of the text of the `{% error %}` part; None if there is none."""
        blocks = self.context.blocks.get(self.block + "_error")
        context = self.context.derived({self.error_name: error})
        return blocks and blocks[0](context)


def _frozen(context: Context) -> Context:
    """The context as it is now: the `loop` of a running loop goes on changing."""
    loop = context.parent.get("loop")
    if not isinstance(loop, (LoopContext, AsyncLoopContext)):
        return context
    names = ("index", "index0", "first", "depth", "depth0")
    return context.derived({"loop": SimpleNamespace(**{n: getattr(loop, n) for n in names})})


class Holes:
    """What both kinds of page share: the holes, their deadlines, and the end of the shell."""

    def __init__(self, mode: Mode, on_error: Callable[[BaseException], object], again: str) -> None:
        self.board = Board(mode)
        self.jobs: dict[Hole, Job] = {}
        self.deadlines: dict[Hole, float] = {}
        self.flushed = False
        self.closed = False
        self._on_error = on_error
        self._again = again

    def flush(self) -> None:
        """What there is may be sent: the shell is no barrier any more."""
        self.flushed = True

    def new_hole(
        self, job: Job, name: str, timeout_s: float | None, after: str | None, *, live: bool
    ) -> Hole:
        hole = self.board.new_hole(name, current_hole.get(), after, live=live)
        self.jobs[hole] = job
        if timeout_s is not None:
            self.deadlines[hole] = monotonic() + timeout_s
        return hole

    def tail(self) -> str:
        """What follows the shell: how browsers that cannot fill holes come to do it."""
        if not self.board.holes:
            return ""
        again = f'<meta http-equiv="refresh" content="0;url={escape(self._again)}">'
        route = f"<noscript>{again}</noscript>" if self._again else ""
        return f"<script>{SCRIPT}</script>{route}\n"

    def wait_s(self) -> float | None:
        """Seconds until the next deadline; None if there is none."""
        return max(0.0, min(self.deadlines.values()) - monotonic()) if self.deadlines else None

    def overdue(self) -> list[Hole]:
        """The holes whose time is up; their own content, if it comes, is not wanted any more."""
        now = monotonic()
        late = [hole for hole, deadline in self.deadlines.items() if deadline <= now]
        for hole in late:
            del self.deadlines[hole]
            hole.timed_out = True
        return late

    def patches(self, hole: Hole, html: str | None) -> Iterator[str]:
        """What may be sent now that this content is there."""
        if not hole.live:
            yield from self.board.filled(hole, html or "")
        elif html is None:
            self.board.open -= 1
            hole.sent = True
        else:
            yield self.board.item(hole, html)

    def failed(self, hole: Hole, error: BaseException) -> None:
        self.deadlines.pop(hole, None)
        self._on_error(error)


def timed_out(hole: Hole) -> TimeoutError:
    return TimeoutError(f"the block {hole.name!r} of the page was not ready within its timeout")


class Page(Holes):
    """A page of a sync template: `pieces(shell)` is what is sent.

    Holds the blocks that are ready before they may be sent; in the modes `inorder` and `whole`
    also what of the shell comes after the first hole.

    Args:
        mode: "auto", "inorder" or "whole"; see `Mode`.
        on_error: told what a block failed with.
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
        self._done: SimpleQueue[tuple[Hole, str | None]] = SimpleQueue()
        self._room = threading.Semaphore(ITEMS_AHEAD)
        self._running: dict[Hole, Future[None]] = {}
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
        self._start(hole, self._feed, job, target, items)
        return hole

    def _start(self, hole: Hole, run: Callable[..., None], *args: Any) -> None:
        context = copy_context()
        context.run(current_hole.set, hole)
        self._running[hole] = Lane(_WORKERS).submit(context.run, run, hole, *args)

    def _fill(self, hole: Hole, job: Job) -> None:
        try:
            html = self._text(job.pieces(self._values(job)), hole)
        except Exception as error:
            html = self._error_text(hole, error)
        self._done.put((hole, html))

    def _feed(self, hole: Hole, job: Job, target: str, items: Iterable[Any]) -> None:
        try:
            for item in items:
                html = self._text(job.pieces({target: item}), hole)
                while not self._room.acquire(timeout=0.1) and not self.closed:
                    pass
                if self.closed:
                    return
                self._done.put((hole, html))
        except Exception as error:
            self._room.acquire(timeout=0.1)
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
            if self.closed or hole.timed_out:
                break
            made.append(piece)
        return concat(made)

    def _error_text(self, hole: Hole, error: BaseException) -> str:
        self.failed(hole, error)
        try:
            pieces = self.jobs[hole].error_pieces(error)
            return FAILED if pieces is None else concat(pieces)
        except Exception as another:
            self.failed(hole, another)
            return FAILED

    def pieces(self, shell: Iterator[str]) -> Iterator[str]:
        """The text of the page, as it comes. Closes `shell`, and stops the blocks, at its end."""
        current_page.set(self)
        try:
            if self.board.mode == "auto":
                yield from shell
                yield self.tail()
                while self.board.open:
                    yield from self.patches(*self._next())
            elif self.board.mode == "inorder":
                yield from self._in_order(shell)
            else:
                yield concat(self._in_order(shell))
        finally:
            self.close()
            close = getattr(shell, "close", None)
            if close is not None:
                close()

    def _next(self) -> tuple[Hole, str | None]:
        """The next content of a hole, or what stands for it when its time is up."""
        while True:
            for hole in self.overdue():
                return hole, self._error_text(hole, timed_out(hole))
            with suppress(Empty):
                hole, html = self._done.get(timeout=self.wait_s())
                if hole.live:
                    self._room.release()
                if not hole.timed_out:
                    self.deadlines.pop(hole, None)
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
                yield from self._content(self.board.by_id[id])

    def _content(self, hole: Hole) -> Iterator[str]:
        while True:
            while not hole.made:
                found, html = self._next()
                found.made.append(html)
            html = hole.made.pop(0)
            if html is None:
                return
            yield from self._filled_in(html)
            if not hole.live:
                return

    def close(self) -> None:
        """Stops what still runs; waits for it, but not long."""
        self.closed = True
        for late in self._late:
            late.cancel()
        running = [job for job in self._running.values() if not job.cancel()]
        wait(running, timeout=CLOSE_WAIT_S)
