"""Streaming from Django views, under WSGI and under ASGI."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from concurrent.futures import Future
from contextvars import Context, copy_context
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, async_to_sync, sync_to_async
from django import VERSION  # type: ignore[import-untyped]
from django.core.signals import got_request_exception  # type: ignore[import-untyped]
from django.db import connections  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse  # type: ignore[import-untyped]
from django.middleware.csrf import get_token  # type: ignore[import-untyped]
from django.template import engines  # type: ignore[import-untyped]
from django.template.backends.utils import (  # type: ignore[import-untyped]
    csrf_input_lazy,
    csrf_token_lazy,
)
from django.template.loader import select_template  # type: ignore[import-untyped]

from unspool import asgi, wsgi
from unspool.drive import AsyncChunks, Chunks
from unspool.errors import NotAcceptable, UsageError
from unspool.formats.csv import Csv
from unspool.headers import Asked, merged
from unspool.sources.members import rows_for
from unspool.sources.rows import ContextRows, rows_of
from unspool.sources.workers import Lane
from unspool.stream import Stream
from unspool.templates.pieces import BATCH_PIECES, PAGE, Asking, any_pieces, sync_pieces
from unspool.types import Format

__all__ = [
    "StreamResponse",
    "stream",
    "stream_csv",
    "stream_template",
    "stream_template_string",
    "stream_with_context",
]

# The Django whose GZipMiddleware makes one gzip stream of an async answer.
_GZIP_IN_ONE = 6

T = TypeVar("T")

_request_log = logging.getLogger("django.request")


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
    made, at the latest, while an error page can still be given.
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
        rows = rows_for(plan.format, plan.rows)
        self._content = _Content(rows, partial(_open_chunks, plan, request, refusal is None))
        self._refusal = refusal
        super().__init__(self._content, plan, status, headers)
        self.context_data: dict[str, Any] = {}
        self._request: Any = request
        self._after_render: list[Callable[[Any], Any]] = []

    def has_header(self, header: str) -> bool:
        """Whether there is such a header, as a middleware asks.

        Always for Content-Encoding before Django 6.0: its GZipMiddleware would make each chunk
        of an async answer a gzip stream of its own, of which browsers and curl read the first.
        """
        hidden = VERSION[0] < _GZIP_IN_ONE and header.lower() == "content-encoding"
        return hidden or bool(super().has_header(header))

    async def begin(self) -> None:
        """Makes the first chunk, if there is none; if there is a refusal, closes the rows."""
        try:
            if self._request.method == "HEAD" or self._refusal is not None:
                await self._content.aclose()
            else:
                await (await self._content.open()).prime()
        except BaseException:
            await asyncio.shield(self._content.aclose())
            raise

    async def render(self) -> Any:
        """Makes the first chunk; gives the response (or refusal), as the callbacks left it."""
        await self.begin()
        response: Any = self if self._refusal is None else self._refusal
        for callback in self._after_render:
            response = callback(response) or response
        return response

    def add_post_render_callback(self, callback: Callable[[Any], Any]) -> None:
        """Calls `callback` with the response once it is rendered: decorators want this."""
        self._after_render.append(callback)

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """The chunks, as the middlewares changed them. Whoever iterates them must close this."""
        with asgi.running():
            try:
                content: Any = self.streaming_content
                async for chunk in content:
                    yield chunk
            except Exception:
                await self._content.aclose()
                await sync_to_async(self.close)()  # Django does not, after a failure.
                await asgi.reset(self._request.scope)  # The last thing: see there.
                raise
            finally:
                if not self._content.over:
                    await asyncio.shield(self._content.aclose())


def _open_chunks(
    plan: Stream,
    request: Any,
    sent: bool,  # noqa: FBT001 (it is given by `partial`)
    context: Context,
    lane: Lane,
) -> AsyncChunks[Any]:
    chunks = asgi.open_chunks(plan, context, lane)
    if sent:
        chunks.show(request.scope, Asked.by_environ(request.META))
    return chunks


class _Content(AsyncIterator[Any]):
    """The chunks or items of a response, opened on the loop, in the context of this moment.

    Does not know its response, so that it goes when that goes: a middleware may have put
    another one in its place (304).
    """

    def __init__(self, rows: object, open: Callable[[Context, Lane], AsyncChunks[Any]]) -> None:
        self._open = open
        self._is_async = isinstance(rows, AsyncIterable)
        self._thread = _RequestThread()
        # What Django keeps for the request (language, time zone) is only visible on the thread,
        # or the loop, that it was moved to by asgiref.
        self._moved = self._is_async or not _on_a_loop()
        here = _on_a_loop() or not self._is_async
        self._context = copy_context() if here else async_to_sync(_copied_context)()
        self._chunks: AsyncChunks[Any] | None = None
        self._sent = False
        self.over = False

    async def open(self) -> AsyncChunks[Any]:
        """The chunks."""
        if self._chunks is None:
            _sync_code_of(self._context)
            if not self._moved:
                loop = asyncio.get_running_loop()
                copying = sync_to_async(copy_context)()
                self._context = await loop.create_task(copying, context=self._context)
            self._chunks = self._open(self._context, self._thread)
        return self._chunks

    async def __anext__(self) -> Any:
        chunks = await self.open()
        if not self._sent:
            self._sent = True
            if self._is_async:
                _sync_code_of(self._context)
        return await anext(chunks)

    async def aclose(self) -> None:
        """Closes the rows, once."""
        self.over = self._moved = True  # Its thread can be waiting for this.
        await (await self.open()).aclose()
        await self._thread.idle()  # Django ends the thread after the request.

    def close(self) -> None:
        """The same for `HttpResponse.close`, which need not come from the loop."""
        if not self.over:
            _close(self.aclose)


def _on_a_loop() -> bool:
    """Whether this is asynchronous code."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _copied_context() -> Context:
    return copy_context()


def _sync_code_of(context: Context) -> None:
    """Lets the asynchronous code of a context call sync code where its caller does.

    The view may have been called by a sync middleware, which was in charge of that and is not
    any more.
    """
    executors = AsyncToSync.executors
    context.run(setattr, executors, "current", getattr(executors, "current", None))


def _close(aclose: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Calls `aclose` on the loop, from there or from a thread."""
    if _on_a_loop():
        _keep(asyncio.ensure_future(aclose()))
    else:
        async_to_sync(aclose)()


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

    def stands_in_line(self, job: Future[Any]) -> bool:
        """No: the thread is the request's own."""
        return False

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

    Under ASGI, the first row is made here too, if the view is a sync one; else right after the
    view, by Django's deferred rendering (so middlewares see a failure, decorators inside the
    view do not; `await response.render()` makes it at once). Plain rows are then made batch by
    batch on the thread that Django keeps for the sync code of the request, with the
    connections of the view; they are not read first, and a stuck one blocks
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
    refusal = None
    try:
        plan = plan.asked(Asked.by_environ(request.META))
    except NotAcceptable as error:
        refusal = HttpResponse(
            str(error).encode(), status=error.status, headers=dict(error.headers())
        )
    if _is_asgi(request):
        response = _AsyncStreamResponse(plan, request, status, headers, refusal)
        if not _on_a_loop() and hasattr(SyncToAsync.threadlocal, "main_event_loop"):
            async_to_sync(response.begin)()
        return response
    if refusal is not None:
        wsgi.refuse(plan, request.META)
        return refusal
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
) -> StreamResponse | HttpResponse:
    """The same with a `Csv` format."""
    return stream(request, rows, dialect or Csv(), **options)


def stream_template(
    request: HttpRequest,
    template_name: str | Sequence[str],
    context: Mapping[str, Any] | None = None,
    *,
    using: str | None = None,
    mode: str = "auto",
    **options: Any,
) -> StreamResponse | HttpResponse:
    """A response that renders a Jinja2 template piece by piece, while it is sent.

    Gives what `django.shortcuts.render` gives, without ever holding the page. The first piece
    is made before anything is sent, like the first row of `stream`; what fails later breaks
    the transfer. At the end the generators in `context` are closed. The CSRF token is made in
    the view, because its cookie must go out before the page.

    Args:
        request: the request that is answered.
        template_name: the name of the template, or several, of which the first that exists.
        context: the variables of the template; context processors add theirs.
        using: the name of the template engine.
        mode: how a page is sent, if the environment has `unspool.templates.Streaming`: "auto",
            "inorder" or "whole".
        **options: the other arguments of `stream`: status, headers, limits and hooks
            (`on_close` gets the number of pieces as rows, and `on_error` also what a block of
            a page fails with, after `got_request_exception`).

    Raises:
        UsageError: the engine is not Django's backend for Jinja2 (Django's own templates
            cannot be rendered piece by piece); or, under WSGI, its environment has
            `enable_async=True`.

    >>> def numbers(request):
    ...     return stream_template(request, "numbers.html", {"numbers": range(10**6)})
    """
    names = [template_name] if isinstance(template_name, str) else template_name
    return _page(request, select_template(names, using=using), context, mode, options)


def stream_template_string(
    request: HttpRequest,
    source: str,
    context: Mapping[str, Any] | None = None,
    *,
    using: str | None = None,
    mode: str = "auto",
    **options: Any,
) -> StreamResponse | HttpResponse:
    """The same for a template from its source text; `using` is the first Jinja2 engine."""
    engine = engines[using] if using else _jinja_engine()
    return _page(request, engine.from_string(source), context, mode, options)


def _jinja_engine() -> Any:
    for engine in engines.all():
        if hasattr(engine, "template_context_processors"):
            return engine
    raise UsageError(
        f"no template engine renders Jinja2; the engines are {list(engines)}. Add one with the "
        "backend django.template.backends.jinja2.Jinja2 to TEMPLATES."
    )


def _page(
    request: HttpRequest,
    template: Any,
    context: Mapping[str, Any] | None,
    mode: str,
    options: dict[str, Any],
) -> StreamResponse | HttpResponse:
    if not hasattr(getattr(template, "backend", None), "template_context_processors"):
        raise UsageError(
            f"stream_template() needs a template of django.template.backends.jinja2.Jinja2; got "
            f"{template!r}. Django's own templates cannot be rendered piece by piece."
        )
    get_token(request)  # Now: its cookie cannot follow the page.
    names = {
        **(context or {}),
        "request": request,
        "csrf_input": csrf_input_lazy(request),
        "csrf_token": csrf_token_lazy(request),
    }
    for processor in template.backend.template_context_processors:
        names.update(processor(request))
    make = any_pieces if _is_asgi(request) else sync_pieces
    options = {"batch_rows": BATCH_PIECES} | options
    asked = Asked.by_environ(request.META)
    failed = partial(_block_failed, request, options.get("on_error"))
    asking = Asking(mode, asked, request.method or "GET", failed)
    return stream(request, make(template.template, names, asking), PAGE, **options)


def _block_failed(
    request: HttpRequest,
    on_error: Callable[[BaseException], object] | None,
    error: BaseException,
) -> None:
    """Logs it, as Django does what fails in a view, and tells who listens."""
    _request_log.error(
        "A block of the page %s failed.",
        request.path,
        exc_info=error,
        extra={"status_code": 500, "request": request},
    )
    got_request_exception.send_robust(sender=None, request=request)
    if on_error is not None:
        on_error(error)


def stream_with_context(request: HttpRequest, items: Any) -> Any:
    """An iterator over the same items, each step of it in the context of the view.

    For a `StreamingHttpResponse` of Django's own: the language, the time zone and context
    variables are those of this call, also if the view has left them by then. Under ASGI it is
    an async iterator, for plain and asynchronous items, which Django sends one by one; a plain
    generator would be read as a whole before the first is sent. It is run by the thread that
    Django keeps for the sync code of the request, a batch of items at a time. It is closed
    once: after its last item, with the response, or when nobody holds it any more.

    Args:
        request: the request that is answered.
        items: an iterable, under ASGI also an async one, or a generator function of either,
            for which a function is given back.

    Raises:
        NotIterable: neither of these; asynchronous items under WSGI.

    >>> from django.http import StreamingHttpResponse
    >>> def letters(request):
    ...     return StreamingHttpResponse(stream_with_context(request, iter("abc")))
    """
    return asgi.with_context(items, _open_on_loop if _is_asgi(request) else _open_here)


def _open_on_loop(items: Any) -> AsyncIterator[Any]:
    rows = items if isinstance(items, AsyncIterable) else rows_of(items)
    return _Content(rows, partial(asgi.open_items, rows))


def _open_here(items: Any) -> Any:
    rows = ContextRows(rows_of(items), copy_context())
    return Chunks(rows, rows, lambda outcome, error: None)


def _is_asgi(request: HttpRequest) -> bool:
    """Whether this is an `ASGIRequest`, or what stands for one."""
    return hasattr(request, "scope")


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
