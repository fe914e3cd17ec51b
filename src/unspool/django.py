"""Streaming from Django views, under WSGI and under ASGI."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextvars import Context, copy_context
from dataclasses import replace
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync, async_to_sync, sync_to_async
from django.db import connections  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse  # type: ignore[import-untyped]

from unspool import asgi, wsgi
from unspool.drive import AsyncChunks
from unspool.errors import NotAcceptable
from unspool.formats.csv import Csv
from unspool.headers import Asked, merged
from unspool.sources.members import rows_for
from unspool.sources.workers import Lane
from unspool.stream import Stream
from unspool.types import Format

__all__ = ["StreamResponse", "stream", "stream_csv"]

T = TypeVar("T")


class StreamResponse(StreamingHttpResponse):  # type: ignore[misc]
    """The answer of `stream`: a streaming response of Django's, with the headers of a stream."""

    def __init__(
        self, content: Any, plan: Stream, status: int, headers: Mapping[str, str] | None
    ) -> None:
        all_headers = dict(merged(plan.headers(), (headers or {}).items()))
        super().__init__(content, status=status, headers=all_headers)


class _AsyncStreamResponse(StreamResponse):
    """The same for ASGI.

    Django renders what has `render` after the view, and awaits that: here the first chunk is
    made, for sync and async views alike, while an error page can still be given.
    """

    # What middlewares for templates look at.
    template_name = None

    def __init__(
        self,
        plan: Stream,
        request: HttpRequest,
        status: int,
        headers: Mapping[str, str] | None,
        refusal: HttpResponse | None = None,
    ) -> None:
        self._content = _Content(plan)
        self._refusal = refusal
        super().__init__(self._content, plan, status, headers)
        self.context_data: dict[str, Any] = {}
        self._request = request
        self._after_render: list[Callable[[Any], Any]] = []

    async def render(self) -> Any:
        """Makes the first chunk; gives the response, as the callbacks left it.

        If there is a refusal, closes the rows and gives that.
        """
        try:
            if self._request.method == "HEAD" or self._refusal is not None:
                await self._content.aclose()
            else:
                await (await self._content.open()).prime()
        except BaseException:
            await asyncio.shield(self._content.aclose())
            raise
        response: Any = self if self._refusal is None else self._refusal
        for callback in self._after_render:
            response = callback(response) or response
        return response

    def add_post_render_callback(self, callback: Callable[[Any], Any]) -> None:
        """Calls `callback` with the response once it is rendered: decorators want this."""
        self._after_render.append(callback)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks, as the middlewares changed them. Whoever iterates them must close this."""
        try:
            self._content.sync_code_runs_here()
            async for chunk in self.streaming_content:
                yield chunk
        except Exception:
            await self._content.aclose()
            await sync_to_async(self.close)()  # Django does not, after a failure.
            await asgi.reset(self._request.scope)  # The last thing: see there.
            raise
        finally:
            if not self._content.over:
                await asyncio.shield(self._content.aclose())


class _Content:
    """The chunks of a response, opened on the loop.

    Does not know its response, so that it goes when that goes: a middleware may have put
    another one in its place (304).
    """

    def __init__(self, plan: Stream) -> None:
        self._plan = plan
        self._is_async = isinstance(rows_for(plan.format, plan.rows), AsyncIterable)
        self._thread = _RequestThread()
        self._context: Context | None = None
        self._chunks: AsyncChunks[bytes] | None = None
        self.over = False

    async def open(self) -> AsyncChunks[bytes]:
        """The chunks."""
        if self._chunks is None:
            # Copied on the thread where the rows will run: what Django keeps for the request
            # (language, time zone) is only visible on the thread that it was moved to.
            self._context = (
                copy_context() if self._is_async else await sync_to_async(copy_context)()
            )
            self._chunks = asgi.open_chunks(self._plan, self._context, self._thread)
        return self._chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in await self.open():
            yield chunk

    def sync_code_runs_here(self) -> None:
        """Lets asynchronous rows call sync code where their caller does.

        The view may have been called by a sync middleware, which was in charge of that and is
        not any more.
        """
        if self._context is not None and self._is_async:
            executors = AsyncToSync.executors
            now = getattr(executors, "current", None)
            self._context.run(setattr, executors, "current", now)

    async def aclose(self) -> None:
        """Closes the rows, once."""
        self.over = True
        await (await self.open()).aclose()
        await self._thread.idle()  # Django ends the thread after the request.

    def close(self) -> None:
        """The same for `HttpResponse.close`, which need not come from the loop."""
        if self.over:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            async_to_sync(self.aclose)()
        else:
            _keep(loop.create_task(self.aclose()))


_kept: set[asyncio.Future[None]] = set()


def _keep(task: asyncio.Future[None]) -> None:
    """Holds a task until it is done: the loop does not."""
    _kept.add(task)
    task.add_done_callback(_kept.discard)


class _RequestThread(Lane):
    """The thread on which Django runs the sync code of one request, as a lane.

    The rows use the database connections of their view there.
    """

    def __init__(self) -> None:
        self._jobs: set[Future[Any]] = set()

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """The future result of `function`; called on the loop's thread."""
        running = sync_to_async(function)(*args)
        job = asyncio.run_coroutine_threadsafe(running, asyncio.get_running_loop())
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    def keep(self) -> None:
        """There is no other thread."""

    def close(self) -> None:
        """Django ends the thread."""

    async def idle(self) -> None:
        """Waits until all is done, the rows being closed after one that was stuck too."""
        while self._jobs:
            await asyncio.wait([asyncio.wrap_future(job) for job in self._jobs])


def stream(
    request: HttpRequest,
    rows: Iterable[Any] | AsyncIterable[Any],
    format: str | Format = "csv",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> StreamResponse | HttpResponse:
    """A response that sends `rows` in `format`, while they are made.

    The first row is made before anything is sent: what fails before it is answered by Django,
    with a real status. What fails later breaks the transfer. A HEAD request runs nothing of
    `rows`. The response can be decorated and go through any middleware.

    Under WSGI, the first row is made here. Then a thread of the stream's own iterates, so that
    rows are sent while the next one takes its time; except if the request's thread has a
    database connection open by then: its rows stay with it.

    Under ASGI, the first row is made right after the view, sync or async, by Django's
    deferred rendering (so middlewares see it, decorators inside the view do not). Plain rows
    are then made batch by batch on the thread that Django keeps for the sync code of the
    request, with the connections of the view; they are not read first, and a stuck one blocks
    nothing else. Asynchronous rows run as a task.

    Args:
        request: the request that is answered.
        rows: an iterable of rows, or under ASGI an async one; see `unspool.Stream`.
        format: a name or a format object; see `unspool.Stream`.
        status: the status of the answer.
        headers: more headers, or others in the place of ours.
        **options: the other arguments of `unspool.Stream`: columns, filename, limits, hooks.

    With `formats`, a request that wants none of them gets an ordinary response, of status 406.

    Raises:
        NotIterable, UnknownFormat, UsageError: arguments that cannot work.
        RowError, EmptySource: under WSGI, the first row cannot be sent.

    >>> def squares(request):
    ...     rows = ({"n": n, "square": n * n} for n in range(3))
    ...     return stream(request, rows, filename="squares.csv")
    """
    plan = Stream(rows, format, **options)
    try:
        plan = plan.asked(Asked.by_environ(request.META))
    except NotAcceptable as error:
        refusal = HttpResponse(str(error), status=error.status, headers=dict(error.headers()))
        if hasattr(request, "scope"):
            return _AsyncStreamResponse(plan, request, status, headers, refusal)
        wsgi.open_chunks(plan, request.META).close()
        return refusal
    if hasattr(request, "scope"):  # ASGIRequest, or what stands for it.
        return _AsyncStreamResponse(plan, request, status, headers)
    environ = request.META
    chunks = wsgi.open_chunks(_closing_connections(plan), environ, _open_connections)
    if request.method == "HEAD":
        chunks.close()
        return StreamResponse((), plan, status, headers)
    chunks.prime()
    return StreamResponse(wsgi.Body(chunks, environ, chunks.close), plan, status, headers)


def stream_csv(
    request: HttpRequest,
    rows: Iterable[Any] | AsyncIterable[Any],
    dialect: Csv | None = None,
    **options: Any,
) -> StreamResponse:
    """The same with a `Csv` format."""
    return stream(request, rows, dialect or Csv(), **options)


def _open_connections() -> list[Any]:
    """The database connections that this thread has open."""
    return [each for each in connections.all(initialized_only=True) if each.connection is not None]


def _closing_connections(plan: Stream) -> Stream:
    """`plan`, which closes the connections that its rows open on a thread of their own."""
    here = threading.get_ident()

    def release() -> None:
        try:
            if plan.release is not None:
                plan.release()
        finally:
            if threading.get_ident() != here:
                connections.close_all()

    return replace(plan, release=release)
