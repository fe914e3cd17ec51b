"""A page of an async template: `Page`, with tasks in the place of threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from time import monotonic
from typing import Any

from jinja2.async_utils import auto_aiter, auto_await
from jinja2.utils import concat

from unspool.sources.async_rows import LOOP_SHARE_S
from unspool.templates.board import Hole
from unspool.templates.deferred import Deferred
from unspool.templates.mode import Mode
from unspool.templates.page import (
    FAILED,
    ITEMS_AHEAD,
    Holes,
    Job,
    current_hole,
    current_page,
    timed_out,
)

__all__ = ["AsyncPage"]


class AsyncPage(Holes):
    """A page of an async template: `pieces(shell)` is what is sent. See `Page`."""

    def __init__(
        self,
        mode: Mode = "auto",
        on_error: Callable[[BaseException], object] = lambda error: None,
        again: str = "",
    ) -> None:
        super().__init__(mode, on_error, again)
        self._done: asyncio.Queue[tuple[Hole, str | None]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._late: list[Deferred[Any]] = []
        self._turn = _Turn()

    def defer(
        self, job: Job, name: str, timeout_s: float | None = None, after: str | None = None
    ) -> Hole:
        """Starts a block; gives its hole."""
        hole = self.new_hole(job, name, timeout_s, after, live=False)
        self._start(hole, self._fill(hole, job))
        return hole

    def live(self, job: Job, name: str, target: str, items: Any) -> Hole:
        """Starts a block that is run for each of `items`; gives its hole."""
        hole = self.new_hole(job, name, None, None, live=True)
        room = asyncio.Semaphore(ITEMS_AHEAD)
        hole.taken = room.release
        self._start(hole, self._feed(hole, job, target, items, room))
        return hole

    def _start(self, hole: Hole, run: Coroutine[Any, Any, None]) -> None:
        outer = current_hole.set(hole)
        try:
            task = asyncio.get_running_loop().create_task(run)
        finally:
            current_hole.reset(outer)
        self._tasks.append(task)

    async def _fill(self, hole: Hole, job: Job) -> None:
        try:
            html = await self._text(job.pieces(await self._values(job)))
        except (Exception, asyncio.CancelledError) as error:
            if self.closed or hole.ended:
                raise
            html = await self._error_text(hole, error)
        self._done.put_nowait((hole, html))

    async def _feed(
        self, hole: Hole, job: Job, target: str, items: Any, room: asyncio.Semaphore
    ) -> None:
        try:
            async for item in auto_aiter(items):
                html = await self._text(job.pieces({target: item}))
                await room.acquire()
                self._done.put_nowait((hole, html))
        except (Exception, asyncio.CancelledError) as error:
            if self.closed:
                raise
            self._done.put_nowait((hole, await self._error_text(hole, error)))
        finally:
            await _close(items)
            self._done.put_nowait((hole, None))

    async def _values(self, job: Job) -> dict[str, Any]:
        late = job.late()
        self._late += late.values()
        return {name: await value for name, value in late.items()}

    async def _text(self, pieces: Any) -> str:
        made = []
        async for piece in pieces:
            made.append(piece)
            await self._turn.end()
        return concat(made)

    async def _tell(self, hole: Hole, error: BaseException) -> None:
        try:
            await auto_await(self.failed(hole, error))
        except Exception as another:
            self.not_told(another)

    async def _error_text(self, hole: Hole, error: BaseException) -> str:
        await self._tell(hole, error)
        try:
            pieces = self.jobs[hole].error_pieces(error)
            return FAILED if pieces is None else await self._text(pieces)
        except Exception as another:
            await self._tell(hole, another)
            return FAILED

    async def pieces(self, shell: Any, values: Iterable[object] = ()) -> AsyncIterator[str]:
        """The text of the page, as it comes.

        At its end, however it comes, it closes `shell`, an async generator, and stops the
        blocks and those of `values` that are deferred; it waits for the blocks to end.
        """
        self._late += [value for value in values if isinstance(value, Deferred)]
        current_page.set(self)
        try:
            if self.board.mode == "auto":
                async for piece in self._held(shell):
                    yield piece
                yield self.tail()
                while self.board.open:
                    yield concat(self.board.patches(*await self._next()))
                yield self.shell.end
            elif self.board.mode == "inorder":
                async for piece in self._in_order(self._held(shell)):
                    yield piece
            else:
                yield await self._text(self._in_order(shell))
        finally:
            current_page.set(None)
            await asyncio.shield(self._aclose(shell))

    async def _held(self, shell: AsyncIterator[str]) -> AsyncIterator[str]:
        """The shell, its beginning as one piece."""
        async for piece in shell:
            if held := self.shell.hold(piece):
                yield held
                break
            await self._turn.end()
        else:
            yield self.shell.whole() if self.board.mode == "auto" else self.shell.rest()
        async for piece in shell:
            yield piece

    async def _next(self) -> tuple[Hole, str | None]:
        """The next content of a hole, or what stands for it when its time is up."""
        while True:
            if (late := self.overdue()) is not None:
                return late, await self._error_text(late, timed_out(late))
            try:
                async with asyncio.timeout(self.wait_s()):
                    hole, html = await self._done.get()
            except TimeoutError:
                continue
            if not hole.ended:
                return hole, html

    async def _in_order(self, shell: AsyncIterator[str]) -> AsyncIterator[str]:
        """The shell with the holes filled in their places."""
        rest: list[str] = []
        async for piece in shell:
            if rest or self.board.mark in piece:
                rest.append(piece)
            else:
                yield piece
        async for piece in self._filled_in(concat(rest)):
            yield piece

    async def _filled_in(self, text: str) -> AsyncIterator[str]:
        while text:
            before, _, text = text.partition(self.board.mark)
            if before:
                yield before
            if text:
                id, _, text = text.partition("-->")
                async for piece in self._content(self.board.holes[id]):
                    yield piece

    async def _content(self, hole: Hole) -> AsyncIterator[str]:
        while True:
            while not hole.made:
                self.board.made(*await self._next())
            html = hole.made.pop(0)
            if html is None:
                return
            hole.taken()
            async for piece in self._filled_in(html):
                yield piece
            if not hole.live:
                return

    async def _aclose(self, shell: Any) -> None:
        self.closed = True
        for late in self._late:
            late.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled():
                task.exception()  # It is told already; nobody else will ask.
        await shell.aclose()


class _Turn:
    """Lets others run now and then, also if the template never waits."""

    def __init__(self) -> None:
        self._ends = 0.0

    async def end(self) -> None:
        """Ends our turn, if it took long enough."""
        if monotonic() > self._ends:
            await asyncio.sleep(0)
            self._ends = monotonic() + LOOP_SHARE_S


async def _close(items: Any) -> None:
    """Closes a generator of either kind."""
    if hasattr(items, "aclose"):
        await items.aclose()
    elif hasattr(items, "close"):
        items.close()
