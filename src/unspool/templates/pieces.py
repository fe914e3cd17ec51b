"""What a Jinja2 template gives, as the rows of a stream.

The pieces are some four characters long. `PAGE` puts them together, and `BATCH_PIECES` of
them are made at a time.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any
from weakref import finalize

from unspool.errors import UsageError
from unspool.formats.text import Text
from unspool.headers import Asked
from unspool.templates.mode import chosen_mode, url_in_order

__all__ = [
    "BATCH_PIECES",
    "EXTENSION",
    "PAGE",
    "Asking",
    "any_pieces",
    "async_pieces",
    "block_failed",
    "check_template",
    "has_pages",
    "log_failure",
    "pieces",
    "sync_pieces",
]

PAGE = Text("text/html; charset=utf-8")
"""The format of a template's answer."""

BATCH_PIECES = 8192
"""How many pieces fill a chunk, about."""

EXTENSION = "unspool.templates.tags.Streaming"
"""The extension of an environment whose templates can have holes, as Jinja2 names it."""

OnError = Callable[[BaseException], object]

_log = logging.getLogger("unspool")


def log_failure(error: BaseException) -> None:
    """Logs what a block of a page failed with, as the logger `unspool`."""
    _log.error("A block of a page failed.", exc_info=error)


def block_failed(on_error: Callable[[BaseException], object] | None) -> OnError:
    """Logs it, and tells the hook of a stream, if there is one."""

    def failed(error: BaseException) -> None:
        log_failure(error)
        if on_error is not None:
            on_error(error)

    return failed


@dataclass(frozen=True)
class Asking:
    """How a page is asked for, and who is told of its failures.

    Args:
        mode: "auto", "inorder" or "whole", as the view says.
        asked: what the request says.
        method: the method of the request.
        on_error: called with what a block of the page failed with, where it ran; awaited, if
            it is asynchronous and the page is.

    Raises:
        UsageError: no such mode.
    """

    mode: str = "auto"
    asked: Asked = field(default_factory=Asked)
    method: str = "GET"
    on_error: OnError = log_failure

    def __post_init__(self) -> None:
        chosen_mode(self.mode, self.asked)

    def by(self, asked: Asked, method: str) -> Asking:
        """The same for this request."""
        return replace(self, asked=asked, method=method)

    def page(self, new: Callable[..., Any]) -> Any:
        """A new page."""
        mode = chosen_mode(self.mode, self.asked)
        return new(mode, self.on_error, url_in_order(self.method, self.asked))


def has_pages(template: Any, mode: str) -> bool:
    """Whether the template's environment has our extension.

    Raises:
        UsageError: it has not, and there is a mode that needs it.
    """
    has_it = EXTENSION in template.environment.extensions
    if mode != "auto" and not has_it:
        raise UsageError(
            f"mode is {mode!r}, but the environment of {template!r} cannot stream pages. Add the "
            'extension: environment.add_extension("unspool.templates.Streaming").'
        )
    return has_it


def check_template(template: Any, mode: str, *, sync: bool) -> None:
    """Raises what cannot work: see `has_pages`. `sync`: a thread is to render it.

    Raises:
        UsageError: the environment has `enable_async=True` and not our extension; used without
            a loop, it renders the whole template before it gives the first piece.
    """
    if not has_pages(template, mode) and sync and template.environment.is_async:
        raise UsageError(
            f"the environment of {template!r} has enable_async=True: without an event loop it "
            "renders the whole template before the first piece. Use one without it here, or add "
            'the extension: environment.add_extension("unspool.templates.Streaming").'
        )


def pieces(
    template: Any,
    context: dict[str, Any],
    then: Callable[[], object] = lambda: None,
    asking: Asking = Asking(),
) -> tuple[Iterator[str], Callable[[Callable[[], None]], None]]:
    """The pieces of a template; `then` is called after the last one.

    Also gives a function that calls what it is given once nothing of the page runs any more.
    At the end, however it comes, the generators in `context` are closed: the template would
    keep them alive.
    """
    from unspool.templates.page import Page, Pieces  # noqa: PLC0415 (needs Jinja2)

    if not has_pages(template, asking.mode):
        shell = template.generate(context)
        return Pieces.of(_closing([shell], shell.close, context, then), _nothing), _at_once
    if template.environment.is_async:
        from unspool.templates.codegen import sync_steps  # noqa: PLC0415 (needs Jinja2)

        return sync_steps(async_pieces(template, context, None, asking)), _at_once
    from unspool.templates.deferred import deferred  # noqa: PLC0415

    context.update(deferred(context))
    page = asking.page(Page)
    made = page.parts(template.generate(context), context.values())
    return Pieces.of(_closing(made, made.close, context, then), page.stop), page.when_idle


def _at_once(then: Callable[[], None]) -> None:
    then()


def _nothing() -> None:
    """What ends a wait for the next piece where there is none that could be ended."""


def _closing(
    parts: Iterable[Iterable[str]],
    close: Callable[[], None],
    context: Mapping[str, Any],
    then: Callable[[], object],
) -> Iterator[Iterable[str]]:
    """The same parts; at the end calls `then`, and closes them and what they are made of."""
    try:
        yield from parts
        then()
    finally:
        close()
        for value in context.values():
            if isinstance(value, GeneratorType):
                value.close()


def async_pieces(
    template: Any,
    context: dict[str, Any],
    then: Callable[[], Awaitable[object]] | None = None,
    asking: Asking = Asking(),
) -> AsyncIterator[str]:
    """The same for a template of an environment with `enable_async=True`."""
    begun: list[Callable[[], object]] = []
    made = _async_closing(template, context, then, asking, begun)
    # A generator that never began runs nothing when it is closed.
    begun.append(finalize(made, _abandon, list(context.values())).detach)
    return made


def _abandon(values: list[Any]) -> None:
    """Ends what was to be awaited, and will not be."""
    from unspool.templates.deferred import Deferred  # noqa: PLC0415 (needs asyncio)

    for value in values:
        if isinstance(value, CoroutineType):
            value.close()
        elif isinstance(value, Deferred):
            value.cancel()


async def _async_closing(
    template: Any,
    context: dict[str, Any],
    then: Callable[[], Awaitable[object]] | None,
    asking: Asking,
    begun: list[Callable[[], object]],
) -> AsyncIterator[str]:
    begun.pop()()
    try:
        async with aclosing(_async_made(template, context, asking)) as made:
            async for piece in made:
                yield piece
        if then is not None:
            await then()
    finally:
        for value in context.values():
            if isinstance(value, AsyncGeneratorType):
                await value.aclose()
            elif isinstance(value, GeneratorType):
                value.close()


def _async_made(template: Any, context: dict[str, Any], asking: Asking) -> Any:
    if not has_pages(template, asking.mode):
        return template.generate_async(context)
    from unspool.templates.async_page import AsyncPage  # noqa: PLC0415
    from unspool.templates.deferred import deferred  # noqa: PLC0415

    context.update(deferred(context))
    return asking.page(AsyncPage).pieces(template.generate_async(context), context.values())


def any_pieces(
    template: Any,
    context: dict[str, Any],
    asking: Asking = Asking(),
) -> Iterator[str] | AsyncIterator[str]:
    """The pieces as the template's environment makes them, for where both can be sent."""
    if template.environment.is_async:
        return async_pieces(template, context, None, asking)
    return pieces(template, context, asking=asking)[0]


def sync_pieces(
    template: Any,
    context: dict[str, Any],
    asking: Asking = Asking(),
) -> Iterator[str]:
    """The pieces for a thread.

    Raises:
        UsageError: see `check_template`.
    """
    check_template(template, asking.mode, sync=True)
    return pieces(template, context, asking=asking)[0]
