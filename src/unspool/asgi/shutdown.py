"""The end of the streams that still run when the server stops.

By the time a server says `lifespan.shutdown` it has closed its connections, or cancelled what
it would not wait for (uvicorn's --timeout-graceful-shutdown). It does not wait for what it
cancelled, and the process may be gone before a source is closed and its hooks are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unspool.asgi.servers import warn_of_server
from unspool.asgi.types import App, Message, Receive, Scope, Send
from unspool.errors import UsageError

__all__ = ["end_running", "lifespan", "require_asyncio", "running"]

# Sources that are stuck are waited for half as long; see `PooledSource.aclose`.
_WAIT_S = 1.0

_running: set[asyncio.Task[Any]] = set()


@contextmanager
def running() -> Iterator[None]:
    """Within this, the current task sends a stream.

    Raises:
        UsageError: the loop is not asyncio's.
    """
    require_asyncio()
    task = asyncio.current_task()
    if task is None:
        yield
        return
    warn_of_server()
    _running.add(task)
    try:
        yield
    finally:
        _running.discard(task)


def require_asyncio() -> None:
    """Says so where streams cannot run.

    Raises:
        UsageError: the loop is not asyncio's.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "streams need a server that runs on asyncio (or uvloop); this one runs on another "
            "loop, such as trio. Start it with its asyncio worker: hypercorn -k asyncio."
        ) from None


async def end_running() -> None:
    """Cancels the tasks of this loop that send streams, and waits for their end, but not long.

    A stream that is only closed would end its answer as if it were whole.
    """
    if not _running:
        return
    loop = asyncio.get_running_loop()
    tasks = [task for task in _running if task.get_loop() is loop]
    for task in tasks:
        if not task.cancelling():
            task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_WAIT_S)


async def lifespan(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Runs the lifespan of `app`, which learns of the shutdown when no stream runs any more."""

    async def receive_when_ended() -> Message:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await end_running()
        return message

    await app(scope, receive_when_ended, send)
