"""A client for an app in the same process, which takes one chunk at a time.

The test clients of the frameworks read ahead, some of them everything. This one asks the app
for a chunk when it is asked for one: what the app does in between can be seen, and it can leave.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

__all__ = ["Answer", "Client", "is_asgi"]

# How long an app may go on after its client has left.
_LEAVE_S = 5.0

_ASGI_ARGUMENTS = 3


def is_asgi(app: Any) -> bool:
    """Whether `app` is an ASGI application; else it is taken for a WSGI one."""
    if any(inspect.iscoroutinefunction(each) for each in (app, getattr(app, "__call__", None))):  # noqa: B004
        return True
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return False
    plain = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    needed = [each for each in plain if each.default is each.empty]
    return len(needed) == _ASGI_ARGUMENTS


class Answer:
    """An answer: `status`, `headers`, and the chunks, which are made when they are asked for.

    Iterate it for the chunks; what the app raises is raised there (or in `Client.get`, if it
    comes before the status). `ended` says whether the app ended the answer as complete, `error`
    what it raised after that. Close it: before its end that means that the client leaves.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.ended = False
        self.error: BaseException | None = None

    def header(self, name: str) -> str | None:
        """The value of a header, if there is one."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        """Leaves, if there is more to come; the app has then let go, or had 5 s for it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """A client for a WSGI or ASGI application in this process. Close it.

    Args:
        app: the application.
        asgi: whether it is an ASGI one; found out by itself if not given.
        patience_s: an ASGI application that gives nothing for so long is stuck, and not just
            slow: `TimeoutError`.

    The lifespan of an ASGI application is not run. Used by one thread at a time.

    >>> from unspool import wsgi
    >>> rows = iter([(1,), (2,), (3,)])
    >>> with Client(wsgi.stream(rows, columns=["n"])) as client:
    ...     answer = client.get("/numbers.csv")
    ...     answer.status, next(answer)
    (200, b'n\\r\\n1\\r\\n')
    """

    def __init__(self, app: Any, *, asgi: bool | None = None, patience_s: float = 30.0) -> None:
        self.app = app
        self.patience_s = patience_s
        self.asgi = is_asgi(app) if asgi is None else asgi
        self._loop = _LoopThread() if self.asgi else None

    def get(
        self, path: str = "/", *, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Answer:
        """The answer to one request, made as far as its status is known.

        Raises whatever the app raises before its status.
        """
        path, _, query = path.partition("?")
        asked = list({"Host": "testserver", **(headers or {})}.items())
        if self._loop is None:
            return _WsgiAnswer(self.app, _environ(method, path, query, asked))
        return _AsgiAnswer(self, _scope(method, path, query, asked), self._loop)

    def close(self) -> None:
        """Stops the thread of an ASGI app's loop."""
        if self._loop is not None:
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _environ(method: str, path: str, query: str, headers: list[tuple[str, str]]) -> dict[str, Any]:
    named = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers}
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),  # Tracebacks of a failure that was asked for.
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **named,
    }


class _WsgiAnswer(Answer):
    """An answer over WSGI, read as PEP 3333 has a server do it."""

    def __init__(self, app: Any, environ: dict[str, Any]) -> None:
        super().__init__()
        self._written: list[bytes] = []
        self._body = app(environ, self._start)
        self._chunks = iter(self._body)
        try:
            while not self.status:  # A generator as the app: it starts with its first chunk.
                self._written.append(next(self._chunks))
        except StopIteration:
            self._end()
        except BaseException:
            self.close()
            raise

    def _start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info and self.status and not self._written:
            pass  # Nothing has gone out: the app may say something else.
        elif self.status:
            raise exc_info[1] if exc_info else AssertionError("start_response() was called twice.")
        self.status, self.headers = int(status[:3]), list(headers)
        return self._written.append

    def __next__(self) -> bytes:
        if self._written:
            return self._written.pop(0)
        try:
            chunk: bytes = next(self._chunks)
        except StopIteration:
            self._end()
            raise
        return chunk

    def _end(self) -> None:
        self.ended = True
        self._chunks = iter(())

    def close(self) -> None:
        close, self._body = getattr(self._body, "close", None), None
        self._chunks = iter(())
        if close is not None:
            close()


class _LoopThread:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="unspool-client", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        self._stopping = asyncio.Event()
        await self._stopping.wait()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_LEAVE_S)


def _scope(method: str, path: str, query: str, headers: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "client": None,
        "server": ("localhost", 80),
        "state": {},
    }


class _AsgiAnswer(Answer):
    """An answer over ASGI: a message is taken from the app when it is asked for, not before."""

    def __init__(self, client: Client, scope: dict[str, Any], loop: _LoopThread) -> None:
        super().__init__()
        self._messages: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
        self._over = False
        self._patience_s = client.patience_s
        self._loop = loop.loop
        self._wanted = asyncio.Semaphore(0)
        self._left = asyncio.Event()
        self._request = True
        self._open = True
        self._running = asyncio.run_coroutine_threadsafe(self._run(client.app, scope), self._loop)
        self._first: bytes | None = self._next_or_none()

    async def _run(self, app: Any, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        except BaseException as error:
            self.error = error
            if not self.ended:
                self._messages.put(error)
                return
        self._messages.put(None)

    async def _receive(self) -> dict[str, Any]:
        if self._request:
            self._request = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in message.get("headers", ())
            ]
        if message["type"] != "http.response.body" or self.ended:
            return
        more = message.get("more_body", False)
        chunk = bytes(message.get("body", b""))
        if chunk and not self._left.is_set():
            self._messages.put(chunk)
            await self._wanted.acquire()
        if not more and not self._left.is_set():
            self.ended = True
            self._messages.put(None)

    def _next_or_none(self) -> bytes | None:
        if self._over:
            return None
        try:
            message = self._messages.get(timeout=self._patience_s)
        except Empty:
            self._over = True
            self._leave()
            raise TimeoutError(f"the app gave nothing for {self._patience_s:g} s.") from None
        if isinstance(message, bytes):
            return message
        self._over = True
        if message is not None:
            raise message
        return None

    def __next__(self) -> bytes:
        if (first := self._first) is not None:
            self._first = None
            return first
        self._loop.call_soon_threadsafe(self._wanted.release)
        if (chunk := self._next_or_none()) is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        self._leave()
        with suppress(Exception):
            self._running.result(_LEAVE_S)
        self._running.cancel()

    def _leave(self) -> None:
        def leave() -> None:
            self._left.set()
            self._wanted.release()

        self._over = True
        self._loop.call_soon_threadsafe(leave)
