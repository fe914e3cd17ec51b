"""Streaming from Starlette and FastAPI endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import Response

from unspool.asgi import Receive, Scope, Send, guard, open_chunks, respond
from unspool.errors import NotAcceptable
from unspool.formats.csv import Csv
from unspool.headers import IDENTITY, Asked, merged
from unspool.stream import Stream
from unspool.types import Format

__all__ = ["StreamResponse", "guard", "stream", "stream_csv"]


class StreamResponse(Response):
    """A response that sends a stream; what is not sent yet can be changed, as everywhere."""

    def __init__(
        self,
        plan: Stream,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        super().__init__(status_code=status, background=background)
        del self.headers["content-length"]
        self.headers.update(dict(merged(plan.headers(), (headers or {}).items())))
        self.chunks = open_chunks(plan)
        self._plan = plan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream, then runs the background task, unless the stream failed."""
        try:
            asked = self.chunks.ask(Asked.by_scope(scope))
        except NotAcceptable as error:
            await self.chunks.aclose()
            vary = {"Vary": "Accept"}
            raise HTTPException(error.status, str(error), headers=vary) from error
        planned = dict(self._plan.headers())
        for name, value in asked.headers():
            if self.headers.get(name) == planned.get(name):  # Not changed by the endpoint.
                self.headers[name] = value
        if asked.coding != IDENTITY:
            del self.headers["content-length"]  # It can only be that of the plain answer.
        await respond(self.chunks, self.status_code, self.headers.items(), scope, receive, send)
        if self.background is not None:
            await self.background()


def stream(
    rows: Iterable[Any] | AsyncIterable[Any],
    format: str | Format = "csv",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    background: BackgroundTask | None = None,
    **options: Any,
) -> StreamResponse:
    """A response that sends `rows` in `format`, while they are made.

    Plain rows (a generator, a cursor) are made by threads, one batch at a time, without
    blocking the loop; asynchronous rows by a task. They run in a copy of the endpoint's
    context. The first row is made before anything is sent: what fails before it reaches the
    app's exception handlers. Put `guard` around the app if it has middlewares made with
    `@app.middleware("http")`.

    Args:
        rows: an iterable or async iterable of rows; see `unspool.Stream`.
        format: a name or a format object; see `unspool.Stream`.
        status: the status of the answer.
        headers: more headers, or others in the place of ours.
        background: a task to run after the stream.
        **options: the other arguments of `unspool.Stream`: columns, filename, limits, hooks.

    >>> from starlette.applications import Starlette
    >>> from starlette.routing import Route
    >>> async def squares(request):
    ...     return stream({"n": n, "square": n * n} for n in range(3))
    >>> app = Starlette(routes=[Route("/squares.csv", squares)])
    """
    return StreamResponse(Stream(rows, format, **options), status, headers, background)


def stream_csv(
    rows: Iterable[Any] | AsyncIterable[Any], dialect: Csv | None = None, **options: Any
) -> StreamResponse:
    """The same with a `Csv` format."""
    return stream(rows, dialect or Csv(), **options)
