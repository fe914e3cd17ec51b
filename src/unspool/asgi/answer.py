"""Streams as answers over ASGI 3."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from unspool.asgi.guard import STATE, State
from unspool.asgi.shutdown import running
from unspool.asgi.types import Headers, Message, Receive, Scope, Send
from unspool.connection import DRAIN_S, break_off, socket_to, unsent
from unspool.drive import AsyncChunks, adrive
from unspool.errors import Cancelled, LengthMismatch, NotAcceptable
from unspool.formats.csv import Csv
from unspool.headers import Asked, merged
from unspool.observe import UNSEEN, Outcome, Running, Unseen
from unspool.pipeline import Pipeline
from unspool.sources.async_rows import AsyncRowSource
from unspool.sources.members import rows_for
from unspool.sources.pooled import PooledSource
from unspool.sources.rows import Puller, rows_of
from unspool.sources.workers import Lane, Workers
from unspool.stream import Stream
from unspool.templates.pieces import (
    BATCH_PIECES,
    PAGE,
    Asking,
    any_pieces,
    block_failed,
    check_template,
)
from unspool.types import Format

__all__ = [
    "Answer",
    "OwnChunks",
    "PlannedChunks",
    "open_chunks",
    "open_source",
    "reset",
    "respond",
    "stream",
    "stream_csv",
    "stream_template",
]

# As many plain sources can be stuck at a time before others wait for them.
_WORKERS = Workers(32)


def open_chunks(
    plan: Stream, context: Context | None = None, lane: Lane | None = None
) -> PlannedChunks:
    """The chunks of a plan, whose rows are made in `context` (a copy of the current one).

    Plain rows are made by threads (those of `lane`); asynchronous ones by a task. Close it.

    Raises:
        NotIterable: the rows are neither.
    """
    context = context or copy_context()
    rows = rows_for(plan.format, plan.rows)
    source = open_source(rows, context, lane, plan.release)
    return PlannedChunks(source, _End(plan, plan.pipeline(), context))


def open_source(
    rows: object, context: Context, lane: Lane | None, release: Callable[[], None] | None
) -> AsyncRowSource[Any] | PooledSource[Any]:
    """The source of plain or asynchronous rows."""
    if isinstance(rows, AsyncIterable):
        return AsyncRowSource(rows, context, release)
    return PooledSource(Puller(rows_of(rows), context, release), lane or Lane(_WORKERS))


@dataclass
class _End:
    """Tells the hooks of a plan how its stream ended."""

    plan: Stream
    pipeline: Pipeline[bytes]
    context: Context
    running: Running | Unseen = UNSEEN

    def __call__(self, outcome: Outcome, error: BaseException | None) -> None:
        told, tell, pipeline = (
            self.running.end(outcome, error),
            self.plan.hooks().tell,
            self.pipeline,
        )
        self.context.run(tell, *told, pipeline.rows, pipeline.sent)


class OwnChunks(AsyncChunks[Any]):
    """Closed by its loop, if nobody holds it any more: something replaced the answer."""

    _loop: asyncio.AbstractEventLoop | None = None

    async def _step(self) -> Any:
        self._loop = asyncio.get_running_loop()
        return await super()._step()

    def close_soon(self) -> None:
        """Has the loop close the stream."""
        if not self.over:
            with suppress(RuntimeError):  # No loop, or a closed one.
                loop = self._loop or asyncio.get_running_loop()
                loop.call_soon_threadsafe(lambda: _keep(asyncio.ensure_future(self.aclose())))

    def __del__(self) -> None:
        self.close_soon()


class PlannedChunks(OwnChunks):
    """The chunks of a plan."""

    def __init__(self, source: AsyncRowSource[Any] | PooledSource[Any], end: _End) -> None:
        super().__init__(adrive(end.pipeline, source), source, end)
        self._rows = source
        self._end = end

    def ask(self, scope: Scope) -> Stream:
        """The plan of the answer to this request, which it follows; before the first chunk.

        Raises:
            NotAcceptable: none of the formats of the plan.
        """
        end = self._end
        end.plan = end.plan.asked(Asked.by_scope(scope))
        end.pipeline = end.plan.pipeline()
        self._steps = adrive(end.pipeline, self._rows)
        self.show(scope)
        return end.plan

    def show(self, scope: Scope, asked: Asked | None = None) -> None:
        """Those who watch see the stream from now on, as the answer to this request."""
        plan, pipeline = self._end.plan, self._end.pipeline
        running = plan.born(lambda: asked or Asked.by_scope(scope), pipeline)
        self.running = self._end.running = running
        running.on_cancel(lambda: cut(scope))
        if isinstance(self._rows, PooledSource):
            running.on_cancel(self._rows.stop)


_kept: set[asyncio.Future[None]] = set()


def _keep(task: asyncio.Future[None]) -> None:
    """Holds a task until it is done: the loop does not."""
    _kept.add(task)
    task.add_done_callback(_kept.discard)


async def respond(
    chunks: AsyncChunks[bytes],
    status: int,
    headers: Headers,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Sends `chunks` as the answer to the request of `scope`, and closes them.

    The first chunk is made before anything is sent: what fails before it is raised while
    another answer can still be given. What fails later is raised, and never followed by the
    last message; the connection is reset, too, without a `guard` (HTTP/1) or where closing it
    would end the answer (HTTP/1.0). A declared Content-Length is held to. Stops when the
    client leaves.
    """
    with running():
        answering = _respond(chunks, status, headers, scope, receive, send)
        if isinstance(chunks.running, Running):
            answering = _cancellable(answering, chunks.running, scope.get(STATE))
        await answering


async def _cancellable(
    answering: Coroutine[Any, Any, None], stream: Running, state: State | None
) -> None:
    """Awaits the answer, wherever it is stuck, until its stream is cancelled."""
    loop = asyncio.get_running_loop()
    until = asyncio.timeout(None)
    try:
        async with until:
            stream.on_cancel(lambda: loop.call_soon_threadsafe(_expire, until))
            await answering
    except TimeoutError:
        if not until.expired():
            raise  # The source's own.
        error = Cancelled(stream.id)
        if state is not None:
            state.error = error
        raise error from None


def _expire(until: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # It is over.
        until.reschedule(0)


async def _respond(
    chunks: AsyncChunks[bytes],
    status: int,
    headers: Headers,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    try:
        if scope["method"] == "HEAD":
            await send(_start(status, headers))
            await send(_body(b"", more=False))
            return
        await chunks.prime()
        state = scope.get(STATE)
        try:
            sending = _send_all(chunks, status, list(headers), state, send)
            await _until_client_leaves(sending, receive)
        except Exception as error:
            # Not before: the reset itself would look as if the client had left.
            await _break_off(scope, state, error)
            raise
        if state is not None:
            state.open = False  # Also if the client left: nobody can be misled.
    finally:
        if not chunks.over:
            await asyncio.shield(chunks.aclose())


async def _send_all(
    chunks: AsyncChunks[bytes],
    status: int,
    headers: list[tuple[str, str]],
    state: State | None,
    send: Send,
) -> None:
    if state is not None:
        state.open = True
    await _deliver(send, _start(status, headers))
    length, sent = _declared_length(headers), 0
    async for chunk in chunks:
        sent += len(chunk)
        if length is not None and sent > length:
            raise LengthMismatch(length, sent)
        await _deliver(send, _body(chunk, more=True))
    if length is not None and sent < length:
        raise LengthMismatch(length, sent)
    if state is not None:
        state.open = False
    await _deliver(send, _body(b"", more=False))


async def _break_off(scope: Scope, state: State | None, error: Exception) -> None:
    """Sees to it that a failed answer does not end cleanly."""
    if state is not None:
        state.error = error
    if state is None or scope.get("http_version") in {"1.0", "1"}:  # Granian says "1".
        await reset(scope)


class _ClientLeftError(Exception):
    """A message could not be sent. The source can raise OSError too, and that is a failure."""


async def _deliver(send: Send, message: Message) -> None:
    try:
        await send(message)
    except OSError as error:  # This is how servers say, from ASGI 2.4 on, that the client left.
        raise _ClientLeftError from error


async def _until_client_leaves(sending: Any, receive: Receive) -> None:
    task = asyncio.ensure_future(sending)
    leaving = asyncio.ensure_future(_client_left(receive))
    try:
        await asyncio.wait([task, leaving], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    except _ClientLeftError:
        pass
    finally:
        for each in (task, leaving):
            each.cancel()
        await asyncio.wait([task, leaving])


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def cut(scope: Scope) -> None:
    """Resets the connection of a request (HTTP/1) at once, from any thread.

    The server then says that the client has left.
    """
    connection = _connection(scope)
    if connection is not None:
        break_off(connection, drain_s=0)


def _connection(scope: Scope) -> socket.socket | None:
    client = scope.get("client")
    if client and client[1] and scope.get("http_version", "1.1").startswith("1"):
        return socket_to(client[0], int(client[1]))  # Granian gives a str.
    return None


async def reset(scope: Scope) -> None:
    """Resets the connection of a request (HTTP/1), whose answer has failed.

    The failure must be raised right after this, with nothing awaited in between: to the
    server, and to what listens beside the answer, the client has left now, and they would
    cancel what is still running, and lose the failure.
    """
    connection = _connection(scope)
    if connection is not None:
        await _drained(connection)
        break_off(connection, drain_s=0)


async def _drained(connection: socket.socket) -> None:
    """Waits until the client's side has what was sent, but not long: a reset throws it away."""
    deadline = monotonic() + DRAIN_S
    while unsent(connection) and monotonic() < deadline:  # noqa: ASYNC110 (only the kernel knows)
        await asyncio.sleep(0.005)


def _declared_length(headers: Headers) -> int | None:
    """What Content-Length says. Some servers would send less or more without a word."""
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    return int(lengths[0]) if lengths else None


def _start(status: int, headers: Headers) -> Message:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": encoded}


def _body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Answer:
    """An ASGI application that answers one request with a stream; see `stream`."""

    def __init__(self, plan: Stream, status: int = 200, headers: Headers = ()) -> None:
        self.plan = plan
        self.status = status
        self.headers = list(headers)
        self.context = copy_context()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer."""
        try:
            plan = self.plan.asked(Asked.by_scope(scope))
        except NotAcceptable as error:
            await open_chunks(self.plan, self.context).aclose()
            await send(_start(error.status, error.headers()))
            await send(_body(str(error).encode(), more=False))
            return
        chunks = open_chunks(plan, self.context)
        chunks.show(scope)
        headers = merged(plan.headers(), self.headers)
        await respond(chunks, self.status, headers, scope, receive, send)


def stream(
    rows: Iterable[Any] | AsyncIterable[Any],
    format: str | Format = "csv",
    *,
    status: int = 200,
    **options: Any,
) -> Answer:
    """An ASGI application that answers with `rows`; see `unspool.Stream` for `options`.

    Use it once: `await stream(rows)(scope, receive, send)`. A thread makes plain rows, and
    is busy only while it makes a batch. Asynchronous rows run as a task.
    """
    return Answer(Stream(rows, format, **options), status)


def stream_csv(
    rows: Iterable[Any] | AsyncIterable[Any], dialect: Csv | None = None, **options: Any
) -> Answer:
    """The same with a `Csv` format."""
    return stream(rows, dialect or Csv(), **options)


class _TemplateAnswer(Answer):
    """One of a template, whose request has a say in how it is rendered."""

    def __init__(
        self,
        template: Any,
        names: dict[str, Any],
        asking: Asking,
        status: int,
        options: dict[str, Any],
    ) -> None:
        super().__init__(Stream((), PAGE, **options), status)
        self._template = template
        self._names = names
        self._asking = asking

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asking = self._asking.by(Asked.by_scope(scope), scope["method"])
        rows = self.context.run(any_pieces, self._template, self._names, asking)
        self.plan = replace(self.plan, rows=rows)
        await super().__call__(scope, receive, send)


def stream_template(
    template: Any,
    context: Mapping[str, Any] | None = None,
    *,
    mode: str = "auto",
    status: int = 200,
    **options: Any,
) -> Answer:
    """An ASGI application that answers with a `jinja2.Template`, rendered piece by piece.

    Use it once, like `stream`, whose `options` it takes (of the hooks, `on_close` gets the
    number of pieces as rows, and `on_error` also what a block of a page fails with). A thread
    renders the template; a task does if its environment has `enable_async=True`. At the end the
    generators in `context` are closed. `mode` is for pages: "auto", "inorder" or "whole".

    Raises:
        UsageError: no such mode, or one that needs the extension `unspool.templates.Streaming`.

    >>> from jinja2 import Template
    >>> app = stream_template(Template("Hi {{ name }}"), {"name": "Ann"})
    """
    options = {"batch_rows": BATCH_PIECES} | options
    asking = Asking(mode, on_error=block_failed(options.get("on_error")))
    check_template(template, mode, sync=False)
    return _TemplateAnswer(template, dict(context or {}), asking, status, options)
