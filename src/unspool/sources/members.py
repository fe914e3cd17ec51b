"""The members of a ZIP, and their rows, as batches that come one after another."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack
from itertools import islice
from typing import Any

from unspool.errors import NotIterable, shown
from unspool.formats import find
from unspool.formats.zip import Member, Opened, Zip, check_names
from unspool.sources.affinity import is_thread_bound
from unspool.sources.batches import AsyncBatchRows, BatchRows
from unspool.sources.known import is_async, recognised
from unspool.sources.rows import rows_of
from unspool.types import Batch, Format

__all__ = ["AsyncMembers", "Members", "rows_for"]


def rows_for(format: str | Format, rows: Any) -> Any:
    """What is pulled for a stream in `format`: a reader, if one is known for `rows`.

    The members of a ZIP come with their rows.
    """
    if not isinstance(find(format), Zip):
        return recognised(rows)
    if isinstance(rows, AsyncIterable) or any(map(_is_async, _known(rows))):
        return AsyncBatchRows(AsyncMembers(rows))
    return Members(rows)


def _known(members: object) -> list[Member]:
    """The members that can be told without asking for the next one."""
    if isinstance(members, (list, tuple)):
        return [member for member in members if isinstance(member, Member)]
    return []


def _is_async(member: Member) -> bool:
    return is_async(member.rows) or callable(getattr(member.rows, "aclose", None))


def _checked(member: object) -> Member:
    if not isinstance(member, Member):
        raise NotIterable(
            f"the rows of a ZIP are members, such as Member('a.csv', rows); got {shown(member)} "
            f"({type(member).__name__})."
        )
    return member


class Members:
    """A reader of batches: before the rows of each member comes an `Opened`.

    The rows of a member are read after those before were closed. `close` closes what is open
    and, of a list of members, the rows that were never read.
    """

    columns = None

    def __init__(self, members: Iterable[Member]) -> None:
        self._members = rows_of(members)
        self._left = _known(members)
        check_names(self._left)
        self._rows: Iterator[Any] | None = None
        self._ahead: Batch = []

    @property
    def thread_bound(self) -> bool:
        """Whether rows of a member must stay on their thread."""
        rows = [member.rows for member in self._left]
        return is_thread_bound(self._members, self._rows, *rows)

    def read_batch(self, want: int) -> Batch:
        """An `Opened`, or rows of the member that was opened last; none after the last."""
        if self._rows is not None:
            batch = self._ahead or _batch(self._rows, want)
            self._ahead = []
            if len(batch):
                return batch
            self._close_rows()
        return self._open_next()

    def _open_next(self) -> Batch:
        for each in self._members:
            member = _checked(each)
            self._left = self._left[1:]
            self._rows = rows_of(member.rows)
            # The first row is made before anything of the member is sent.
            self._ahead = _batch(self._rows, 1)
            return [Opened(member, self._ahead[:0])]
        return []

    def cancel(self) -> None:
        """Ends a read that is under way on another thread, if its reader can."""
        if isinstance(self._rows, BatchRows):
            self._rows.cancel()

    def close(self) -> None:
        """Closes what is open, and what was never opened."""
        with ExitStack() as last_first:
            for member in reversed(self._left):
                last_first.callback(_close, member.rows)
            last_first.callback(_close, self._members)
            last_first.callback(self._close_rows)
        self._left = []

    def _close_rows(self) -> None:
        rows, self._rows = self._rows, None
        _close(rows)


def _batch(rows: Iterator[Any], want: int) -> Batch:
    if isinstance(rows, BatchRows):
        rows.want = want
        return next(rows, [])
    return list(islice(rows, want))


def _close(rows: object) -> None:
    close: Callable[[], None] | None = getattr(rows, "close", None)
    if close is not None:
        close()


class AsyncMembers:
    """The same for members whose rows are awaited; the members themselves may be, too."""

    columns = None

    def __init__(self, members: Iterable[Member] | AsyncIterable[Member]) -> None:
        self._members = _awaited(members)
        self._left = _known(members)
        check_names(self._left)
        self._rows: AsyncIterator[Any] | None = None
        self._ahead: Batch = []

    async def read_batch(self, want: int) -> Batch:
        """An `Opened`, or rows of the member that was opened last; none after the last."""
        if self._rows is not None:
            batch = self._ahead or await _async_batch(self._rows, want)
            self._ahead = []
            if len(batch):
                return batch
            await self._close_rows()
        return await self._open_next()

    async def _open_next(self) -> Batch:
        async for each in self._members:
            member = _checked(each)
            self._left = self._left[1:]
            self._rows = _async_rows(member)
            self._ahead = await _async_batch(self._rows, 1)
            return [Opened(member, self._ahead[:0])]
        return []

    async def aclose(self) -> None:
        """Closes what is open, and what was never opened."""
        async with AsyncExitStack() as last_first:
            for member in reversed(self._left):
                last_first.push_async_callback(_aclose, member.rows)
            last_first.push_async_callback(_aclose, self._members)
            last_first.push_async_callback(self._close_rows)
        self._left = []

    async def _close_rows(self) -> None:
        rows, self._rows = self._rows, None
        await _aclose(rows)


async def _awaited(members: Iterable[Member] | AsyncIterable[Member]) -> AsyncIterator[Member]:
    if isinstance(members, AsyncIterable):
        async for member in members:
            yield member
        return
    for member in rows_of(members):
        yield member


def _async_rows(member: Member) -> AsyncIterator[Any]:
    rows: Any = recognised(member.rows)
    if callable(getattr(rows, "read_batch", None)) and _is_async(member):
        return AsyncBatchRows(rows)
    if isinstance(rows, AsyncIterable):
        return aiter(rows)
    raise NotIterable(
        f"the rows of member {member.name!r} are a {type(member.rows).__name__}, and those of "
        "other members are awaited. Make all of them asynchronous, or none."
    )


async def _async_batch(rows: AsyncIterator[Any], want: int) -> Batch:
    if isinstance(rows, AsyncBatchRows):
        rows.want = want
        return await anext(rows, [])
    batch: list[Any] = []
    while len(batch) < want:
        try:
            batch.append(await anext(rows))
        except StopAsyncIteration:
            break
    return batch


async def _aclose(rows: object) -> None:
    aclose = getattr(rows, "aclose", None)
    if aclose is not None:
        await aclose()
    else:
        _close(rows)
