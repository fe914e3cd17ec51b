"""Streaming from Starlette and FastAPI endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from unspool.asgi import (
    Receive,
    Scope,
    Send,
    guard,
    open_chunks,
    open_items,
    respond,
    with_context,
)
from unspool.errors import NotAcceptable
from unspool.formats.csv import Csv
from unspool.headers import IDENTITY, Asked, merged
from unspool.stream import Stream
from unspool.templates.pieces import BATCH_PIECES, PAGE, Asking, any_pieces, block_failed
from unspool.types import Format

if TYPE_CHECKING:  # It needs Jinja2, which is optional.
    from starlette.templating import Jinja2Templates

__all__ = [
    "StreamResponse",
    "guard",
    "stream",
    "stream_csv",
    "stream_template",
    "stream_template_string",
    "stream_with_context",
]

P = ParamSpec("P")
T = TypeVar("T")


class StreamResponse(Response):
    """A response that sends a stream; what is not sent yet can be changed, as everywhere."""

    debug: Mapping[str, Any] | None = None
    """What Starlette's test client is told: `response.template` and `response.context`."""

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
            asked = self.chunks.ask(scope)
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
        if self.debug is not None and "http.response.debug" in scope.get("extensions", {}):
            await send({"type": "http.response.debug", "info": self.debug})
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


def stream_template(
    request: Request,
    templates: Jinja2Templates,
    name: str,
    context: Mapping[str, Any] | None = None,
    *,
    mode: str = "auto",
    **options: Any,
) -> StreamResponse:
    """A response that renders a template piece by piece, while it is sent.

    Gives what `templates.TemplateResponse(request, name, context)` gives, without ever
    holding the page. A thread renders it, without blocking the loop; a task does if the
    environment of `templates` has `enable_async=True`. The first piece is made before
    anything is sent: what fails before it reaches the app's exception handlers; what fails
    later breaks the transfer. At the end the generators in `context` are closed.

    Args:
        request: the request that is answered; the context has it as `request`.
        templates: environment, loader and context processors.
        name: the name of the template.
        context: the variables of the template.
        mode: how a page is sent, if the environment has `unspool.templates.Streaming`: "auto",
            "inorder" or "whole".
        **options: the other arguments of `stream`: status, headers, background, limits and
            hooks (`on_close` gets the number of pieces as rows, and `on_error` also what a
            block of a page fails with).

    >>> from starlette.templating import Jinja2Templates
    >>> templates = Jinja2Templates("templates")
    >>> async def numbers(request):
    ...     return stream_template(request, templates, "numbers.html", {"n": range(10**6)})
    """
    return _page(request, templates, templates.get_template(name), context, mode, options)


def stream_template_string(
    request: Request,
    templates: Jinja2Templates,
    source: str,
    context: Mapping[str, Any] | None = None,
    *,
    mode: str = "auto",
    **options: Any,
) -> StreamResponse:
    """The same for a template from its source text."""
    return _page(request, templates, templates.env.from_string(source), context, mode, options)


def _page(
    request: Request,
    templates: Jinja2Templates,
    template: Any,
    context: Mapping[str, Any] | None,
    mode: str,
    options: dict[str, Any],
) -> StreamResponse:
    names = {"request": request, **(context or {})}
    for processor in templates.context_processors:
        names.update(processor(request))
    options = {"batch_rows": BATCH_PIECES} | options
    asked = Asked.by_scope(request.scope)
    asking = Asking(mode, asked, request.method, block_failed(options.get("on_error")))
    response = stream(any_pieces(template, names, asking), PAGE, **options)
    response.debug = {"template": template, "context": names}
    return response


@overload
def stream_with_context(
    generator_or_function: Iterable[T] | AsyncIterable[T],
) -> AsyncIterator[T]: ...


@overload
def stream_with_context(
    generator_or_function: Callable[P, Iterable[T] | AsyncIterable[T]],
) -> Callable[P, AsyncIterator[T]]: ...


def stream_with_context(generator_or_function: Any) -> Any:
    """An async iterator (or a function that gives one) over the same items, in one context.

    For a `StreamingResponse` of Starlette's own. Every step of the generator, and its close,
    is made in one copy of the current context: context variables that the endpoint set are
    there, and those that the generator sets stay. Starlette itself runs each step of a plain
    generator in a new copy, on any thread, and does not close it when the client leaves.

    A plain generator is run by threads, a batch of items at a time, and by one only if it is
    bound to it (sqlite3); an async one by a task. It is closed once: after its last item, by
    `aclose()`, or when nobody holds the iterator any more.

    Raises:
        NotIterable: neither an iterable, an async iterable, nor a function.

    >>> from starlette.responses import StreamingResponse
    >>> async def letters(request):
    ...     return StreamingResponse(stream_with_context(letter for letter in "abc"))
    """
    return with_context(generator_or_function, lambda items: open_items(items, copy_context()))
