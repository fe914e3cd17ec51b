"""WSGI applications on ASGI servers: a slow client costs a socket, not a thread.

A thread runs the view and makes the first chunk. From then on a thread is busy with the
answer only while the next batch of it is made. An answer of Unspool's is taken over at its
source, so that what is made is sent while the next row takes its time; any other is read
piece by piece, and its pieces are put together to chunks.
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from unspool.asgi.answer import respond
from unspool.asgi.shutdown import end_running, require_asyncio
from unspool.asgi.types import App, Message, Receive, Scope, Send
from unspool.coalesce import Coalescer
from unspool.connection import LEAVING, Leaving
from unspool.drive import AsyncChunks, Chunks, adrive
from unspool.errors import BrokenApp, UsageError, shown
from unspool.formats.text import TextEncoder
from unspool.observe import Outcome
from unspool.pipeline import Pipeline
from unspool.sources.pooled import PooledSource
from unspool.sources.rows import Puller, RowSource, stay_here
from unspool.sources.workers import Lane, Workers

__all__ = ["from_wsgi"]

# A request body up to this size is read before a thread is needed.
_SMALL_BODY_BYTES = 64 * 1024

# Of a request body that the application does not read, so much is read while it answers.
_AHEAD_BYTES = 256 * 1024

WsgiApp = Callable[..., Iterable[bytes]]


def from_wsgi(app: WsgiApp, *, threads: int = 8) -> App:
    """A WSGI application (Flask, Django, …) as an ASGI application.

    Args:
        app: the WSGI application.
        threads: how many views run, and how many batches are made, at the same time. A
            stream that is bound to its thread (sqlite3) gets one more, for itself.

    Requests, answers and their failures pass through unchanged. When the client leaves,
    the answer's iterable is closed; it is iterated and closed in one context. So it is when the
    server stops.

    Raises:
        UsageError: no threads.

        app = unspool.asgi.from_wsgi(flask_app)      # uvicorn module:app
    """
    if threads < 1:
        raise UsageError(f"threads must be at least 1; got {threads!r}.")
    workers = Workers(threads)

    async def bridged(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            require_asyncio()
            await _Request(app, Lane(workers), scope, receive, send).answer()
        else:
            raise BrokenApp(f"a WSGI application cannot answer {scope['type']!r} requests.")

    return bridged


async def _lifespan(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": message["type"] + ".complete"})
    await end_running()
    await send({"type": "lifespan.shutdown.complete"})


@dataclass
class _Started:
    """What the application said with `start_response`, and wrote before its body."""

    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)
    sent: bool = False

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if self.status is not None and exc_info is None:
            raise BrokenApp("start_response() was called twice, the second time without exc_info.")
        if self.sent and exc_info:
            raise exc_info[1].with_traceback(exc_info[2])  # So says PEP 3333.
        try:
            self.status = int(status.split(" ", 1)[0])
        except (ValueError, AttributeError):
            raise BrokenApp(f"the status must begin with a number; got {status!r}.") from None
        self.headers = list(headers)
        return self.written.append


class _Request:
    """One request on its way through the WSGI application."""

    def __init__(
        self, app: WsgiApp, lane: Lane, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._app = app
        self._lane = lane
        self._scope = scope
        self._send = send
        self._body = _RequestBody(receive)
        self._started = _Started()
        self._leaving = Leaving()
        self._called_back = False
        self._context = copy_context()
        self._context.run(stay_here.set, True)

    async def answer(self) -> None:
        """Runs the application and sends what it gives."""
        await self._body.read_small()
        environ = _environ(self._scope, self._body)
        environ[LEAVING] = self._leaving
        # One task for all of the request: to Gunicorn, who stops waiting for the client to leave
        # has seen it leave.
        watching = asyncio.ensure_future(self._watch())
        try:
            answer = await self._called(environ)
            if isinstance(answer, AsyncChunks):
                await self._send_chunks(answer, watching)
            else:
                await self._send_list(answer)
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _called(self, environ: dict[str, Any]) -> Iterable[bytes] | AsyncChunks[bytes]:
        job = self._lane.submit(self._call, environ)
        calling = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(calling)
        except asyncio.CancelledError:
            self._leaving.left()
            if not job.cancel():  # It runs already, or has run.
                calling.add_done_callback(_close_unsent)
            raise
        finally:
            self._called_back = True

    async def _watch(self) -> Message:
        """Waits for the client to leave, and tells it while the view runs; then `respond` does."""
        while (message := await self._body.receive())["type"] != "http.disconnect":
            pass
        self._body.left = True
        if not self._called_back:
            self._leaving.left()
        return message

    async def _send_chunks(
        self, chunks: AsyncChunks[bytes], watching: asyncio.Future[Message]
    ) -> None:
        try:
            status, _ = self._start()
        except BrokenApp:
            await chunks.aclose()
            raise

        async def receive() -> Message:
            return await asyncio.shield(watching)

        await respond(chunks, status, self._started.headers, self._scope, receive, self._send)

    def _call(self, environ: dict[str, Any]) -> Iterable[bytes] | AsyncChunks[bytes]:
        """The answer, its first piece made: all that must be on one thread, if something must."""
        iterable = self._context.run(self._app, environ, self._started)
        if isinstance(iterable, (list, tuple)):
            return iterable
        taken = None if self._started.written else _taken_over(iterable, self._lane)
        return taken or self._pieces(iterable)

    async def _send_list(self, body: Iterable[bytes]) -> None:
        data = b"".join([_checked(piece) for piece in [*self._started.written, *body]])
        status, headers = self._start()
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        head = self._scope["method"] == "HEAD"
        await self._send({"type": "http.response.body", "body": b"" if head else data})

    def _start(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        self._started.sent = True
        if self._started.status is None:
            raise BrokenApp("the application gave its body without calling start_response().")
        encode = [
            (n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in self._started.headers
        ]
        return self._started.status, encode

    def _pieces(self, iterable: Iterable[bytes]) -> AsyncChunks[bytes]:
        pieces = _Pieces(iterable, self._started, self._leaving)
        puller: Puller[bytes] = Puller(pieces, self._context)
        source = PooledSource(puller, self._lane, deep=True)
        if self._scope["method"] != "HEAD" or self._started.status is None:
            source.start()
        return AsyncChunks(adrive(_new_pipeline(), source), source, lambda outcome, error: None)


def _close_unsent(calling: asyncio.Future[Any]) -> None:
    """Closes an answer whose request was cancelled while it was made."""
    if not calling.cancelled() and not calling.exception():
        answer = calling.result()
        if isinstance(answer, AsyncChunks):
            _closing.add(task := asyncio.ensure_future(answer.aclose()))
            task.add_done_callback(_closing.discard)


# The loop itself does not keep tasks alive.
_closing: set[asyncio.Future[None]] = set()


def _new_pipeline() -> Pipeline[bytes]:
    return Pipeline(TextEncoder(), Coalescer(b""))


def _taken_over(iterable: Any, lane: Lane) -> AsyncChunks[bytes] | None:
    """An answer of Unspool's, made for a thread, as one for the loop."""
    chunks = getattr(iterable, "chunks", None)
    if not isinstance(chunks, Chunks) or not isinstance(chunks.source, RowSource):
        return None
    source, pipeline = chunks.source, chunks.pipeline
    if pipeline is None or iterable.length is not None:
        return None  # A declared length is checked by its body.
    detached = chunks.detach()
    if detached is None:
        return None
    first, on_closed = detached
    pooled = PooledSource(source.puller, lane, source.beside)
    pooled.bind()

    def closed(outcome: Outcome, error: BaseException | None) -> None:
        try:
            on_closed(outcome, error)
        finally:
            iterable.close()

    taken = AsyncChunks(adrive(pipeline, pooled), pooled, closed)
    taken.running = chunks.running
    taken.first += first
    return taken


class _Pieces(Iterator[bytes]):
    """The pieces of an application's body, checked, after what it wrote before."""

    def __init__(self, iterable: Iterable[bytes], started: _Started, leaving: Leaving) -> None:
        self._iterable = iterable
        self._pieces = iter(iterable)
        self._started = started
        self._leaving = leaving
        self._ended = False

    def __next__(self) -> bytes:
        if self._started.written:
            written, self._started.written[:] = list(self._started.written), []
            return b"".join(map(_checked, written))
        try:
            return _checked(next(self._pieces))
        except StopIteration:
            self._ended = True
            raise

    def cancel(self) -> None:
        """Ends a wait for the next piece, where the application has asked to be told."""
        if not self._ended:
            self._leaving.left()

    def close(self) -> None:
        close = getattr(self._iterable, "close", None)
        if close is not None:
            close()


def _checked(piece: object) -> bytes:
    if isinstance(piece, bytes):
        return piece
    raise BrokenApp(
        f"a WSGI application must give bytes; got {shown(piece)} ({type(piece).__name__})."
    )


class _RequestBody(io.RawIOBase):
    """The request's body, read from the loop by the application's thread.

    What is small is read before the thread starts, so that slow clients do not hold it. While
    the answer is sent as much is read ahead: behind an upload that nobody reads, the server
    could not say that the client has left.
    """

    def __init__(self, receive: Receive) -> None:
        super().__init__()
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._held = b""
        self._more = True
        self.left = False
        self._taking = asyncio.Lock()
        self._read = asyncio.Event()
        self._changing = threading.Lock()

    async def read_small(self) -> None:
        """Reads the body, or the first part of it."""
        while self._more and len(self._held) < _SMALL_BODY_BYTES:
            await self._take(_SMALL_BODY_BYTES)

    async def receive(self) -> Message:
        """The next message after the body, which the application can still be reading."""
        while self._more:
            self._read.clear()
            if len(self._held) < _AHEAD_BYTES:
                await self._take(_AHEAD_BYTES)
            else:
                await self._read.wait()
        return {"type": "http.disconnect"} if self.left else await self._receive()

    async def _take(self, held_max: int) -> None:
        """Takes one message, unless that much is held already."""
        async with self._taking:
            if not self._more or len(self._held) >= held_max:
                return
            message = await self._receive()
            with self._changing:
                self._held += message.get("body", b"")
            self.left = message["type"] == "http.disconnect"
            self._more = message.get("more_body", False) and not self.left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._held and self._more:
            asyncio.run_coroutine_threadsafe(self._take(1), self._loop).result()
        if not self._held and self.left:
            raise ConnectionResetError("the client left before its request was complete.")
        with self._changing:
            size = min(len(buffer), len(self._held))
            buffer[:size] = self._held[:size]
            self._held = self._held[size:]
        self._loop.call_soon_threadsafe(self._read.set)
        return size


def _environ(scope: Scope, body: io.RawIOBase) -> dict[str, Any]:
    """The WSGI environment of an ASGI scope (PEP 3333)."""
    path = scope["path"]
    script_name, path_info = _split(scope.get("root_path", ""), path)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": _as_wsgi(script_name),
        "PATH_INFO": _as_wsgi(path_info),
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "SERVER_SOFTWARE": "unspool",
        "REQUEST_URI": (scope.get("raw_path") or path.encode()).decode("latin-1"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BufferedReader(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    host, port = scope.get("server") or ("localhost", 80)
    environ["SERVER_NAME"], environ["SERVER_PORT"] = host, str(port or 0)
    if scope.get("client"):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = scope["client"][0], str(scope["client"][1])
    for raw_name, raw_value in scope.get("headers", []):
        _add_header(environ, raw_name.decode("latin-1"), raw_value.decode("latin-1"))
    return environ


def _split(root: str, path: str) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO; some servers leave the root path out of the path."""
    root = root.rstrip("/")
    inside = path == root or path.startswith(root + "/")
    return root, path[len(root) :] if inside else path


def _as_wsgi(path: str) -> str:
    return path.encode().decode("latin-1")


def _add_header(environ: dict[str, Any], name: str, value: str) -> None:
    if "_" in name:
        return  # It would pass for the header with "-", which a proxy may vouch for.
    key = name.upper().replace("-", "_")
    if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
        key = "HTTP_" + key
    if key in environ:
        value = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
    environ[key] = value
