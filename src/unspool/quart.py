"""Streaming from Quart views."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from quart import Quart, Response, current_app, request, request_finished
from quart.globals import request_ctx
from quart.wrappers.response import ResponseBody
from werkzeug import exceptions

from unspool import asgi
from unspool.errors import NotAcceptable, StreamError
from unspool.formats.csv import Csv
from unspool.headers import Asked, merged
from unspool.stream import Stream
from unspool.types import Format

__all__ = ["stream", "stream_csv"]


class _Body(ResponseBody):
    """The chunks as Quart sends them, and the teardown of the request after them.

    Quart runs the teardown functions when the last push of the request's context is popped,
    which is before it sends the answer. So we add a push, and run them ourselves.
    """

    def __init__(self, plan: Stream) -> None:
        self._context = copy_context()
        self._scope: Any = request.scope
        self._rows_closed: Future[None] = Future()
        self.chunks = asgi.open_chunks(replace(plan, release=self._release(plan)), self._context)
        self._request_context: Any = None
        self._ending: asyncio.Task[None] | None = None

    def _release(self, plan: Stream) -> Any:
        closed = self._rows_closed

        def release() -> None:
            try:
                if plan.release is not None:
                    plan.release()
            finally:
                closed.set_result(None)

        return release

    async def hold(self) -> None:
        """Keeps the request from being torn down before `end`, which comes in any case."""
        self._request_context = request_ctx._get_current_object()  # type: ignore[attr-defined]
        await self._request_context.push()
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(lambda _: self.end())

    def end(self, error: BaseException | None = None) -> asyncio.Task[None]:
        """Closes the rows and tears the request down, the first time."""
        if self._ending is None:
            loop = asyncio.get_running_loop()
            # A copy, because stuck rows may still be in theirs.
            self._ending = loop.create_task(self._end(error), context=self._context.copy())
            _ends.add(self._ending)
            self._ending.add_done_callback(_ends.discard)
        return self._ending

    async def _end(self, error: BaseException | None) -> None:
        try:
            await self.chunks.aclose()
            await asyncio.wrap_future(self._rows_closed)  # Later, if they are stuck.
        finally:
            if self._request_context is not None:
                app = self._request_context.app
                await app.do_teardown_request(error, self._request_context)
                await self._request_context.request.close()
                await app.do_teardown_appcontext(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failure = error if isinstance(error, Exception) else None
        await asyncio.shield(self.end(failure))
        if failure is not None:
            await asgi.reset(self._scope)  # The last thing: see there.

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self.chunks:
                yield chunk
        except TimeoutError as error:
            # Quart would take it for the end of its own `timeout`, and pass over it.
            raise StreamError(f"the stream failed: {error!r}") from error


_ends: set[asyncio.Task[None]] = set()


@request_finished.connect
async def _hold(sender: Quart, response: Any, **more: Any) -> None:  # noqa: ARG001
    """The response is final, and the request not torn down yet."""
    body = getattr(response, "response", None)
    if isinstance(body, _Body):
        await body.hold()


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

    >>> import quart
    >>> app = quart.Quart("example")
    >>> @app.get("/squares.csv")
    ... async def squares():
    ...     return await stream({"n": n, "square": n * n} for n in range(3))
    """
    plan = Stream(rows, format, **options)
    try:
        plan = plan.asked(Asked.by_scope(request.scope))
    except NotAcceptable as error:
        await _Body(plan).chunks.aclose()
        answer = Response(str(error), error.status, dict(error.headers()))
        raise exceptions.NotAcceptable(str(error), answer) from error
    body = _Body(plan)
    try:
        if request.method == "HEAD":
            await body.chunks.aclose()
        else:
            await body.chunks.prime()
    except BaseException:
        await asyncio.shield(body.chunks.aclose())
        raise
    response: Response = current_app.response_class(body, status)
    for name, value in merged(plan.headers(), (headers or {}).items()):
        response.headers[name] = value
    response.timeout = None
    return response


async def stream_csv(
    rows: Iterable[Any] | AsyncIterable[Any], dialect: Csv | None = None, **options: Any
) -> Response:
    """The same with a `Csv` format."""
    return await stream(rows, dialect or Csv(), **options)
