"""What a Jinja2 template gives, as the rows of a stream.

The pieces are some four characters long. `PAGE` puts them together, and `BATCH_PIECES` of
them are made at a time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from unspool.errors import UsageError
from unspool.formats.text import Text

__all__ = ["BATCH_PIECES", "PAGE", "any_pieces", "async_pieces", "pieces", "sync_pieces"]

PAGE = Text("text/html; charset=utf-8")
"""The format of a template's answer."""

BATCH_PIECES = 8192
"""How many pieces fill a chunk, about."""


def pieces(
    template: Any, context: Mapping[str, Any], then: Callable[[], object] = lambda: None
) -> Iterator[str]:
    """The pieces of a template; `then` is called after the last one.

    At the end, however it comes, the generators in `context` are closed: the template would
    keep them alive.
    """
    try:
        yield from template.generate(context)
        then()
    finally:
        for value in context.values():
            if isinstance(value, GeneratorType):
                value.close()


async def async_pieces(
    template: Any,
    context: Mapping[str, Any],
    then: Callable[[], Awaitable[object]] | None = None,
) -> AsyncIterator[str]:
    """The same for a template of an environment with `enable_async=True`."""
    try:
        async with aclosing(template.generate_async(context)) as made:
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


def any_pieces(template: Any, context: Mapping[str, Any]) -> Iterator[str] | AsyncIterator[str]:
    """The pieces as the template's environment makes them, for where both can be sent."""
    if template.environment.is_async:
        return async_pieces(template, context)
    return pieces(template, context)


def sync_pieces(template: Any, context: Mapping[str, Any]) -> Iterator[str]:
    """The pieces for a thread.

    Raises:
        UsageError: the environment has `enable_async=True`; used without a loop, it renders
            the whole template before it gives the first piece.
    """
    if template.environment.is_async:
        raise UsageError(
            f"the environment of {template!r} has enable_async=True: without an event loop it "
            "renders the whole template before the first piece. Use one without it here."
        )
    return pieces(template, context)
