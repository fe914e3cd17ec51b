"""Streaming from Quart views."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload
from weakref import ref

from quart import Quart, Response, request_finished, template_rendered
from quart import globals as quart_globals
from quart.signals import before_render_template, got_request_exception
from quart.wrappers.response import ResponseBody
from werkzeug import exceptions

from unspool import asgi
from unspool.drive import AsyncChunks
from unspool.errors import NotAcceptable, OutsideContext, StreamError
from unspool.formats.csv import Csv
from unspool.headers import Asked, merged
from unspool.observe import unseen
from unspool.stream import Stream
from unspool.templates.pieces import BATCH_PIECES, PAGE, Asking, async_pieces
from unspool.types import Format

__all__ = [
    "stream",
    "stream_csv",
    "stream_template",
    "stream_template_string",
    "stream_with_context",
]

P = ParamSpec("P")
T = TypeVar("T")

# From Quart 0.23 on there is one context, which counts its pushes; before, there are two.
ONE_CONTEXT = not hasattr(quart_globals, "_cv_request")

_cv_request: Any = quart_globals._cv_app if ONE_CONTEXT else quart_globals._cv_request


class _Held:
    """The current request, kept until its answer is sent and its streams are closed.

    Quart runs the teardown functions when the last push of the request's context is popped,
    which is before it sends the answer. So we add a push, and run them ourselves.
    """

    def __init__(self, request_context: Any) -> None:
        self.request_context = request_context
        self.request = request_context.request
        self.app: Quart = request_context.app
        self._context = copy_context()
        # Weak: a stream that nobody will send closes itself.
        self._streams: list[tuple[ref[AsyncChunks[Any]], Future[None]]] = []
        self._pushed = False
        self._ending: asyncio.Task[None] | None = None

    @classmethod
    def current(cls) -> _Held:
        """What holds the request of the current view; there is one for all its streams.

        Raises:
            OutsideContext: no request is active.
        """
        request_context = _cv_request.get(None)
        if request_context is None or not getattr(request_context, "has_request", True):
            raise OutsideContext(
                "Working outside of request context: a stream needs the request that it answers. "
                "Call this inside a view function, or inside "
                "`async with app.test_request_context('/'):`."
            )
        if not hasattr(request_context, "_unspool"):
            request_context._unspool = cls(request_context)
        return request_context._unspool  # type: ignore[no-any-return]

    def open(
        self,
        open: Callable[[Callable[[], None]], AsyncChunks[Any]],
        release: Callable[[], None] | None = None,
    ) -> AsyncChunks[Any]:
        """What `open` opens, which calls what it is given when its rows are closed."""
        closed: Future[None] = Future()

        def released() -> None:
            try:
                if release is not None:
                    release()
            finally:
                closed.set_result(None)

        chunks = open(released)
        self._streams.append((ref(chunks), closed))
        return chunks

    async def push(self) -> None:
        """Keeps the request from being torn down before `end`, which comes in any case."""
        if self._pushed or self._all_over():
            return
        self._pushed = True
        await self.request_context.push()
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(lambda task: self.end(_failure_of(task)))

    def _all_over(self) -> bool:
        streams = [stream() for stream, _ in self._streams]
        return all(chunks is None or chunks.over for chunks in streams)

    async def end_after_last(self, error: BaseException | None) -> None:
        """The same as `end`, if the view is over and all streams are."""
        if self._pushed and self._all_over():
            await asyncio.shield(self.end(error))

    def end(self, error: BaseException | None = None) -> asyncio.Task[None]:
        """Closes the streams and tears the request down, the first time."""
        if self._ending is None:
            loop = asyncio.get_running_loop()
            # A copy, because stuck rows may still be in theirs.
            self._ending = loop.create_task(self._end(error), context=self._context.copy())
            _ends.add(self._ending)
            self._ending.add_done_callback(_ends.discard)
        return self._ending

    async def _end(self, error: BaseException | None) -> None:
        async with AsyncExitStack() as last_first:
            if self._pushed:
                last_first.push_async_callback(self._tear_down, error)
            for stream, closed in self._streams:
                last_first.push_async_callback(_close, stream, closed)

    async def _tear_down(self, error: BaseException | None) -> None:
        app: Any = self.app
        if ONE_CONTEXT:
            await app.do_teardown_request(self.request_context, error)
            await self.request.close()
            await app.do_teardown_appcontext(self.request_context, error)
        else:
            await app.do_teardown_request(error, self.request_context)
            await self.request.close()
            await app.do_teardown_appcontext(error)


async def _close(stream: ref[AsyncChunks[Any]], closed: Future[None]) -> None:
    if (chunks := stream()) is not None:
        await chunks.aclose()
    await asyncio.wrap_future(closed)  # Later, if the rows are stuck.


def _failure_of(task: asyncio.Task[Any]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


_ends: set[asyncio.Task[None]] = set()


@request_finished.connect
async def _hold(sender: Quart, response: Any, **more: Any) -> None:  # noqa: ARG001
    """The response is final, and the request not torn down yet."""
    held: _Held | None = getattr(_cv_request.get(None), "_unspool", None)
    if held is not None:
        await held.push()


class _Body(ResponseBody):
    """The chunks as Quart sends them, and the teardown of the request after them."""

    def __init__(self, plan: Stream, held: _Held) -> None:
        self._held = held
        context = copy_context()

        def open(release: Callable[[], None]) -> AsyncChunks[bytes]:
            chunks = asgi.open_chunks(replace(plan, release=release), context)
            chunks.show(held.request.scope)
            return chunks

        self.chunks = held.open(open, plan.release)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failure = error if isinstance(error, Exception) else None
        await asyncio.shield(self._held.end(failure))
        if failure is not None:
            await asgi.reset(self._held.request.scope)  # The last thing: see there.

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            with asgi.running():
                async for chunk in self.chunks:
                    yield chunk
        except TimeoutError as error:
            # Quart would take it for the end of its own `timeout`, and pass over it.
            raise StreamError(f"the stream failed: {error!r}") from error


async def stream(
    rows: Iterable[Any] | AsyncIterable[Any],
    format: str | Format = "csv",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> Response:
    """A response that sends `rows` in `format`, while they are made.

    Plain rows are made by threads, one batch at a time, without blocking the loop;
    asynchronous rows by a task. `request`, `session`, `g` and `current_app` work in both, and
    the teardown functions run once, after the last byte. (A session that is changed by the
    rows is not saved: its cookie has gone out.)

    The first row is made here, in the view: what fails before it reaches the app's error
    handlers. What fails later breaks the transfer. There is no time limit on the answer:
    `response.timeout` is None. A HEAD request runs nothing of `rows`.

    Args:
        rows: an iterable or async iterable of rows; see `unspool.Stream`.
        format: a name or a format object; see `unspool.Stream`.
        status: the status of the answer.
        headers: more headers, or others in the place of ours.
        **options: the other arguments of `unspool.Stream`: columns, filename, limits, hooks.

    Raises:
        NotIterable, UnknownFormat, UsageError: arguments that cannot work.
        werkzeug.exceptions.NotAcceptable: the request wants none of the `formats`.
        RowError, EmptySource: the first row cannot be sent.
        OutsideContext: not in a view.

    >>> import quart
    >>> app = quart.Quart("example")
    >>> @app.get("/squares.csv")
    ... async def squares():
    ...     return await stream({"n": n, "square": n * n} for n in range(3))
    """
    plan = Stream(rows, format, **options)
    held = _Held.current()
    try:
        plan = plan.asked(Asked.by_scope(held.request.scope))
    except NotAcceptable as error:
        with unseen():
            body = _Body(plan, held)
        await body.chunks.aclose()
        answer = Response(str(error), error.status, dict(error.headers()))
        raise exceptions.NotAcceptable(str(error), answer) from error
    body = _Body(plan, held)
    try:
        if held.request.method == "HEAD":
            await body.chunks.aclose()
        else:
            await body.chunks.prime()
    except BaseException:
        await asyncio.shield(body.chunks.aclose())
        raise
    kind: Any = held.app.response_class
    response: Response = kind(body, status)
    for name, value in merged(plan.headers(), (headers or {}).items()):
        response.headers[name] = value
    response.timeout = None
    return response


async def stream_csv(
    rows: Iterable[Any] | AsyncIterable[Any], dialect: Csv | None = None, **options: Any
) -> Response:
    """The same with a `Csv` format."""
    return await stream(rows, dialect or Csv(), **options)


async def stream_template(
    template_name_or_list: Any, mode: str = "auto", /, **context: Any
) -> Response:
    """A response that renders a template piece by piece, with the app's template context.

    Stands in for `quart.stream_template` in views. Sends chunks by size and age instead of
    one piece at a time, and lets the loop run every 5 ms. The first piece is rendered here, in
    the view, so that an early failure reaches the app's error handlers; what fails later breaks
    the transfer. The request is torn down once, after the last piece. At the end the generators
    in `context` are closed. A HEAD request renders nothing.

    If the app's Jinja environment has the extension `unspool.templates.Streaming`, this may be
    a page with holes; `mode` is "auto", "inorder" or "whole", by position only: `mode=…` is a
    variable of the template. What a block fails with is logged like an exception of a view, and
    sent to `got_request_exception`.

    Raises:
        OutsideContext: not in a view.
        UsageError: no such mode; or one that is not "auto", without the extension.

    >>> import quart
    >>> app = quart.Quart("example")
    >>> @app.get("/numbers")
    ... async def numbers():
    ...     return await stream_template("numbers.html", numbers=range(10**6))
    """
    held = _Held.current()
    template = held.app.jinja_env.get_or_select_template(template_name_or_list)
    return await _page(held, template, context, mode)


async def stream_template_string(source: str, mode: str = "auto", /, **context: Any) -> Response:
    """The same for a template from its source text."""
    held = _Held.current()
    return await _page(held, held.app.jinja_env.from_string(source), context, mode)


async def _page(held: _Held, template: Any, context: dict[str, Any], mode: str) -> Response:
    app: Any = held.app
    await app.update_template_context(*((held.request_context,) if ONE_CONTEXT else ()), context)
    send = partial(_send, app, template, context)
    await send(before_render_template)
    asked, method = Asked.by_scope(held.request.scope), held.request.method
    asking = Asking(mode, asked, method, partial(_block_failed, app))
    pieces = async_pieces(template, context, partial(send, template_rendered), asking)
    return await stream(pieces, PAGE, batch_rows=BATCH_PIECES)


async def _block_failed(app: Any, error: BaseException) -> None:
    """Logs it, as Quart does what fails in a view, and tells who listens."""
    context = (_cv_request.get(),) if ONE_CONTEXT else ()  # Quart 0.23 wants it.
    app.log_exception(*context, (type(error), error, error.__traceback__))
    wrapper = app.ensure_async
    await got_request_exception.send_async(app, _sync_wrapper=wrapper, exception=error)


async def _send(app: Any, template: Any, context: dict[str, Any], signal: Any) -> None:
    wrapper = app.ensure_async
    await signal.send_async(app, _sync_wrapper=wrapper, template=template, context=context)


@overload
def stream_with_context(
    generator_or_function: Iterable[T] | AsyncIterable[T],
) -> AsyncIterator[T]: ...


@overload
def stream_with_context(
    generator_or_function: Callable[P, Iterable[T] | AsyncIterable[T]],
) -> Callable[P, AsyncIterator[T]]: ...


def stream_with_context(generator_or_function: Any) -> Any:
    """An async generator (or a function that gives one) with the current request alive.

    Stands in for `quart.stream_with_context`, and takes iterables too. Gives the same items,
    one at a time; every step is made in one copy of the view's context. What is better: it
    is the request of the view itself, `g` included, and its teardown functions run once,
    after the answer is sent. A plain generator is run by threads, a batch at a time.

    Raises:
        OutsideContext: no request is active.
        NotIterable: neither an iterable, an async iterable, nor a function.

    >>> import quart
    >>> app = quart.Quart("example")
    >>> @app.get("/hello")
    ... async def hello():
    ...     @stream_with_context
    ...     async def generate():
    ...         yield "Hello "
    ...         yield quart.request.args["name"]
    ...     return generate()
    """
    _Held.current()
    return asgi.with_context(generator_or_function, _open_items)


def _open_items(items: Any) -> AsyncIterator[Any]:
    context, held = copy_context(), _Held.current()
    opened = held.open(lambda release: asgi.open_items(items, context, release=release))
    return _generated(opened, held)


async def _generated(items: AsyncChunks[Any], held: _Held) -> AsyncIterator[Any]:
    """Quart sends nothing asynchronous but generators."""
    failure = None
    try:
        async for item in items:
            yield item
    except Exception as error:
        failure = error
        raise
    finally:
        await items.aclose()
        await held.end_after_last(failure)
