"""A page of an async template: `Page`, with tasks in the place of threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from jinja2.async_utils import auto_aiter
from jinja2.utils import concat

from unspool.templates.board import Hole, Mode
from unspool.templates.page import (
    FAILED,
    ITEMS_AHEAD,
    Deferred,
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
        self._room = asyncio.Semaphore(ITEMS_AHEAD)
        self._tasks: set[asyncio.Task[None]] = set()
        self._late: dict[int, asyncio.Future[Any]] = {}

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
        self._start(hole, self._feed(hole, job, target, items))
        return hole

    def _start(self, hole: Hole, run: Any) -> None:
        outer = current_hole.set(hole)
        try:
            task = asyncio.get_running_loop().create_task(run)
        finally:
            current_hole.reset(outer)
        self._tasks.add(task)

    async def _fill(self, hole: Hole, job: Job) -> None:
        try:
            html = await self._text(job.pieces(await self._values(job)))
        except Exception as error:
            html = await self._error_text(hole, error)
        await self._done.put((hole, html))

    async def _feed(self, hole: Hole, job: Job, target: str, items: Any) -> None:
        try:
            async for item in auto_aiter(items):
                html = await self._text(job.pieces({target: item}))
                await self._room.acquire()
                await self._done.put((hole, html))
        except Exception as error:
            await self._room.acquire()
            await self._done.put((hole, await self._error_text(hole, error)))
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()
            await self._done.put((hole, None))

    async def _values(self, job: Job) -> dict[str, Any]:
        return {name: await self._value(late) for name, late in job.late().items()}

    async def _value(self, late: Any) -> Any:
        """The value of what is awaited, maybe by several blocks."""
        if isinstance(late, Deferred):
            future: Any = late.future
        else:
            future = late
        if id(late) not in self._late:
            if not isinstance(future, asyncio.Future) and isinstance(late, Deferred):
                future = asyncio.wrap_future(future)
            self._late[id(late)] = asyncio.ensure_future(future)
        return await asyncio.shield(self._late[id(late)])

    async def _text(self, pieces: Any) -> str:
        return concat([piece async for piece in pieces])

    async def _error_text(self, hole: Hole, error: BaseException) -> str:
        self.failed(hole, error)
        try:
            pieces = self.jobs[hole].error_pieces(error)
            return FAILED if pieces is None else await self._text(pieces)
        except Exception as another:
            self.failed(hole, another)
            return FAILED

    async def pieces(self, shell: Any) -> AsyncIterator[str]:
        """The text of the page, as it comes. Closes `shell`, and stops the blocks, at its end."""
        current_page.set(self)
        try:
            if self.board.mode == "auto":
                async for piece in shell:
                    yield piece
                yield self.tail()
                while self.board.open:
                    for patch in self.patches(*await self._next()):
                        yield patch
            elif self.board.mode == "inorder":
                async for piece in self._in_order(shell):
                    yield piece
            else:
                yield concat([piece async for piece in self._in_order(shell)])
        finally:
            await asyncio.shield(self._aclose(shell))

    async def _next(self) -> tuple[Hole, str | None]:
        """The next content of a hole, or what stands for it when its time is up."""
        while True:
            for hole in self.overdue():
                return hole, await self._error_text(hole, timed_out(hole))
            try:
                async with asyncio.timeout(self.wait_s()):
                    hole, html = await self._done.get()
            except TimeoutError:
                continue
            if hole.live:
                self._room.release()
            if not hole.timed_out:
                self.deadlines.pop(hole, None)
                return hole, html

    async def _in_order(self, shell: Any) -> AsyncIterator[str]:
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
                async for piece in self._content(self.board.by_id[id]):
                    yield piece

    async def _content(self, hole: Hole) -> AsyncIterator[str]:
        while True:
            while not hole.made:
                found, html = await self._next()
                found.made.append(html)
            html = hole.made.pop(0)
            if html is None:
                return
            async for piece in self._filled_in(html):
                yield piece
            if not hole.live:
                return

    async def _aclose(self, shell: Any) -> None:
        """Stops what still runs, and waits for it."""
        self.closed = True
        running = [*self._tasks, *self._late.values()]
        for each in running:
            each.cancel()
        if running:
            await asyncio.wait(running)
        for task in self._tasks:
            task.cancelled() or task.exception()
        close = getattr(shell, "aclose", None)
        if close is not None:
            await close()
