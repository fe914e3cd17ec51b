"""Jinja2's compiler, with constructs that stream where they would collect their output first.

Jinja compiles a template to generators, but `{{ super() }}`, `{{ self.block() }}`, macros,
`{% call %}`, `{{ caller() }}` and recursive loops to calls that give one text. Here they give
their pieces to whoever asks for them, as soon as they are made; who calls them as before gets
the text as before. What is rendered is the same to the last character.

A macro costs a little more as a generator, so only those that can be slow are compiled so:
those with a loop, a call or a block in them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from copy import copy
from typing import Any

from jinja2 import Template, nodes
from jinja2.async_utils import auto_await
from jinja2.compiler import CodeGenerator, Frame, MacroRef
from jinja2.runtime import AsyncLoopContext, BlockReference, Context, LoopContext, Macro
from jinja2.utils import concat, pass_eval_context
from markupsafe import Markup

from unspool.templates.page import current_page
from unspool.templates.table import TableRows

__all__ = [
    "StreamingCodeGenerator",
    "StreamingTemplate",
    "apieces_of",
    "arows_of_table",
    "pieces_of",
    "rows_of_table",
    "sync_steps",
]

Escape = Callable[[Any], str]

# What makes a macro worth streaming.
_SLOW = (nodes.For, nodes.CallBlock, nodes.Include, nodes.Block, nodes.ExtensionAttribute)

# How many pieces of an async template a sync caller takes at a time: each step of the loop that
# runs it costs some 20 µs.
_PIECES_A_STEP = 64


class StreamingMacro(Macro):
    """A macro whose function is a generator. Calling it gives its text, as ever."""

    @pass_eval_context
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The text."""
        return Macro.__call__(self, *args, **kwargs)

    def pieces(self, context: Context, *args: Any, **kwargs: Any) -> Any:
        """The generator of its pieces, with these arguments."""
        arguments = copy(self)
        arguments.__class__ = _Arguments  # pyright: ignore[reportAttributeAccessIssue]
        return self._func(*Macro.__call__(arguments, context.eval_ctx, *args, **kwargs))

    def _invoke(self, arguments: list[Any], autoescape: bool) -> Any:  # noqa: FBT001
        if self._environment.is_async:
            return self._async_invoke(arguments, autoescape)
        text = concat(self._func(*arguments))
        return Markup(text) if autoescape else text  # noqa: S704 (it is escaped already)

    async def _async_invoke(self, arguments: list[Any], autoescape: bool) -> str:  # noqa: FBT001
        pieces: Any = self._func(*arguments)
        text = concat([piece async for piece in pieces])
        return Markup(text) if autoescape else text  # noqa: S704 (it is escaped already)


class _Arguments(StreamingMacro):
    """Sorts the arguments of a call as `Macro` does, and gives them back."""

    def _invoke(self, arguments: list[Any], autoescape: bool) -> Any:  # noqa: FBT001
        return arguments


class Recursion:
    """The function of a recursive loop: pieces for the loop itself, text for `loop(…)`."""

    def __init__(self, render: Callable[..., Any], context: Context) -> None:
        self.render = render
        self._context = context

    def __call__(self, rows: Any, recurse: Any, depth: int | None = None) -> Any:
        """The pieces of the outermost loop, without a depth; else the text of an inner one."""
        if depth is None:
            return self.render(rows, self)
        text = concat(self.render(rows, self, depth))
        return Markup(text) if self._context.eval_ctx.autoescape else text  # noqa: S704


class AsyncRecursion(Recursion):
    """The same in an async environment."""

    async def __call__(self, rows: Any, recurse: Any, depth: int | None = None) -> Any:
        """The pieces of the outermost loop, without a depth; else the text of an inner one."""
        if depth is None:
            return self.render(rows, self)
        text = concat([piece async for piece in self.render(rows, self, depth)])
        return Markup(text) if self._context.eval_ctx.autoescape else text  # noqa: S704


def _stream(context: Context, called: Any, args: Any, kwargs: Any) -> Any:
    """The pieces that `called` gives, or None if it gives a value."""
    if isinstance(called, BlockReference):
        return called._stack[called._depth](called._context)
    if isinstance(called, (LoopContext, AsyncLoopContext)):
        recursion: Any = called._recurse
        if isinstance(recursion, Recursion):
            return recursion.render(*args, recursion, called.depth)
    if isinstance(called, StreamingMacro):
        kwargs.pop("_loop_vars", None)
        kwargs.pop("_block_vars", None)
        return called.pieces(context, *args, **kwargs)
    return None


def pieces_of(
    context: Context, escape: Escape, called: Any, *args: Any, **kwargs: Any
) -> Iterator[str]:
    """What `{{ called(…) }}` writes, piece by piece."""
    pieces = _stream(context, called, args, kwargs)
    if pieces is None:
        yield escape(context.call(called, *args, **kwargs))
    else:
        yield from pieces


async def apieces_of(
    context: Context, escape: Escape, called: Any, *args: Any, **kwargs: Any
) -> AsyncIterator[str]:
    """The same in an async environment."""
    pieces = _stream(context, called, args, kwargs)
    if pieces is None:
        yield escape(await auto_await(context.call(called, *args, **kwargs)))
        return
    try:
        async for piece in pieces:
            yield piece
    finally:
        await pieces.aclose()


def rows_of_table(escape: Escape, value: Any) -> Iterator[str]:
    """What `{{ rows|table }}` writes, piece by piece, if that is our filter."""
    return iter(value) if isinstance(value, TableRows) else iter((escape(value),))


async def arows_of_table(escape: Escape, value: Any) -> AsyncIterator[str]:
    """The same in an async environment."""
    if not isinstance(value, TableRows):
        yield escape(value)
        return
    async for piece in value:
        yield piece


class StreamingCodeGenerator(CodeGenerator):
    """Compiles to pieces what Jinja compiles to one text; see the module."""

    _unbuffered = False
    _recursive = False
    _closing = ""

    def visit_Template(  # noqa: N802
        self, node: nodes.Template, frame: Frame | None = None
    ) -> None:
        """Learns which names can be macros."""
        self._macros = {macro.name for macro in node.find_all(nodes.Macro)}
        for imported in node.find_all(nodes.FromImport):
            self._macros |= {name if isinstance(name, str) else name[1] for name in imported.names}
        self._modules = {imported.target for imported in node.find_all(nodes.Import)} | {"self"}
        self.writeline(
            f"from {__name__} import "
            "AsyncRecursion, Recursion, StreamingMacro, "
            "apieces_of, arows_of_table, pieces_of, rows_of_table"
        )
        super().visit_Template(node, frame)

    def visit_Output(self, node: nodes.Output, frame: Frame) -> None:  # noqa: N802
        """Writes runs of ordinary children as ever, and calls that stream between them."""
        if frame.buffer is not None or not any(map(self._streams, node.nodes)):
            super().visit_Output(node, frame)
            return
        if frame.require_output_check and self.has_known_extends:
            return
        run: list[nodes.Expr] = []
        for child in [*node.nodes, None]:
            if child is not None and not self._streams(child):
                run.append(child)
                continue
            if run:
                super().visit_Output(nodes.Output(run, lineno=run[0].lineno), frame)
                run = []
            if isinstance(child, (nodes.Call, nodes.Filter)):
                self._write_checked_pieces(child, frame)

    def _write_checked_pieces(self, child: nodes.Call | nodes.Filter, frame: Frame) -> None:
        if frame.require_output_check:
            self.writeline("if parent_template is None:")
            self.indent()
        if isinstance(child, nodes.Call):
            self._write_pieces(child, frame)
        else:
            self._write_table(child, frame)
        if frame.require_output_check:
            self.outdent()

    def _streams(self, node: nodes.Node) -> bool:
        """Whether this is a call of something that can give pieces, or our filter."""
        if isinstance(node, nodes.Filter):
            return node.name == "table" and self._can_stream()
        if not isinstance(node, nodes.Call) or not self._can_stream():
            return False
        called = node.node
        if isinstance(called, nodes.Getattr):
            return isinstance(called.node, nodes.Name) and called.node.name in self._modules
        return isinstance(called, nodes.Name) and (
            called.name in {"super", "caller", "loop"} or called.name in self._macros
        )

    def _can_stream(self) -> bool:
        """Not where somebody must see every output, or every call."""
        return self.environment.finalize is None and not self.environment.sandboxed

    def _write_pieces(
        self, call: nodes.Call, frame: Frame, *, forward_caller: bool = False
    ) -> None:
        if not self.environment.is_async:
            self.writeline("yield from pieces_of(", call)
            self._write_call(call, frame, forward_caller=forward_caller)
            return
        pieces = self.temporary_identifier()
        self.writeline(f"{pieces} = apieces_of(", call)
        self._write_call(call, frame, forward_caller=forward_caller)
        self._write_async_loop(pieces)

    def _write_table(self, table: nodes.Filter, frame: Frame) -> None:
        if not self.environment.is_async:
            self.writeline("yield from rows_of_table(", table)
            self._write_escape(frame)
            self.visit(table, frame)
            self.write(")")
            return
        pieces = self.temporary_identifier()
        self.writeline(f"{pieces} = arows_of_table(", table)
        self._write_escape(frame)
        self.visit(table, frame)
        self.write(")")
        self._write_async_loop(pieces)

    def _write_async_loop(self, pieces: str) -> None:
        self.writeline("try:")
        self.indent()
        self.writeline(f"async for event in {pieces}: yield event")
        self.outdent()
        self.writeline(f"finally: await {pieces}.aclose()")

    def _write_call(self, call: nodes.Call, frame: Frame, *, forward_caller: bool) -> None:
        self.write("context, ")
        self._write_escape(frame)
        self.visit(call.node, frame)
        extra = {"caller": "caller"} if forward_caller else {}
        extra |= {"_loop_vars": "_loop_vars"} if frame.loop_frame else {}
        extra |= {"_block_vars": "_block_vars"} if frame.block_frame else {}
        self.signature(call, frame, extra)
        self.write(")")

    def _write_escape(self, frame: Frame) -> None:
        if frame.eval_ctx.volatile:
            self.write("(escape if context.eval_ctx.autoescape else str), ")
        else:
            self.write("escape, " if frame.eval_ctx.autoescape else "str, ")

    def visit_CallBlock(self, node: nodes.CallBlock, frame: Frame) -> None:  # noqa: N802
        """Writes what the called macro gives, and its `caller()` in between."""
        if frame.buffer is not None or not self._can_stream():
            super().visit_CallBlock(node, frame)
            return
        call_frame, macro = self.macro_body(node, frame)
        self.writeline("caller = ")
        self.macro_def(macro, call_frame)
        self._write_pieces(node.call, frame, forward_caller=True)

    def macro_body(
        self, node: nodes.Macro | nodes.CallBlock, frame: Frame
    ) -> tuple[Frame, MacroRef]:
        """The function of a macro: a generator, if the macro can be slow."""
        streams = self._can_stream() and (
            isinstance(node, nodes.CallBlock)
            or any(
                isinstance(found, _SLOW) or self._streams(found)
                for found in node.find_all((*_SLOW, nodes.Call, nodes.Filter))
            )
        )
        self._unbuffered = streams
        inner, macro = super().macro_body(node, frame)
        macro.streams = streams  # type: ignore[attr-defined]
        return inner, macro

    def macro_def(self, macro_ref: MacroRef, frame: Frame) -> None:
        """The macro as an object."""
        if macro_ref.streams:  # type: ignore[attr-defined]
            self.write("Streaming")
        super().macro_def(macro_ref, frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802
        """A recursive loop becomes a generator too."""
        if not node.recursive or not self._can_stream():
            super().visit_For(node, frame)
            return
        self._unbuffered = True
        super().visit_For(node, frame)

    def buffer(self, frame: Frame) -> None:
        """Begins what would collect output; nothing, where it is given out."""
        if not self._unbuffered:
            super().buffer(frame)
            return
        self._unbuffered = False
        frame.buffer = None
        self.writeline("if 0: yield None")

    def return_buffer_contents(self, frame: Frame, force_unescaped: bool = False) -> None:  # noqa: FBT001, FBT002
        """Ends what `buffer` began."""
        if frame.buffer is not None:
            super().return_buffer_contents(frame, force_unescaped)
        elif not force_unescaped:  # A recursive loop; `start_write` comes next.
            self._recursive = True

    def start_write(self, frame: Frame, node: nodes.Node | None = None) -> None:
        """Begins an output; after the function of a recursive loop, its pieces."""
        if not self._recursive:
            super().start_write(frame, node)
            return
        self._recursive = False
        is_async = self.environment.is_async
        self.writeline(f"loop = {'Async' if is_async else ''}Recursion(loop, context)")
        if frame.buffer is not None:
            self.writeline(f"{frame.buffer}.extend(", node)
            self._closing = ")"
            if is_async:
                self.write("[event async for event in ")
                self._closing = "])"
        elif is_async:
            self._closing = self.temporary_identifier()
            self.writeline(f"{self._closing} = ", node)
        else:
            self.writeline("yield from ", node)
            self._closing = " "

    def end_write(self, frame: Frame) -> None:
        """Ends an output."""
        closing, self._closing = self._closing, ""
        if not closing:
            super().end_write(frame)
        elif closing.startswith("t_"):
            self._write_async_loop(closing)
        else:
            self.write(closing)


class StreamingTemplate(Template):
    """A template of an async environment that streams for sync callers too.

    What `render` gives is for somebody else, also inside a page: it has no holes.
    """

    def render(self, *args: Any, **kwargs: Any) -> str:
        """The whole text."""
        outer = current_page.set(None)
        try:
            return super().render(*args, **kwargs)
        finally:
            current_page.reset(outer)

    async def render_async(self, *args: Any, **kwargs: Any) -> str:
        """The whole text."""
        outer = current_page.set(None)
        try:
            return await super().render_async(*args, **kwargs)
        finally:
            current_page.reset(outer)

    def generate(self, *args: Any, **kwargs: Any) -> Iterator[str]:
        """The pieces. An async template runs on a loop of its own, on this thread."""
        if self.environment.is_async:
            return sync_steps(self.generate_async(*args, **kwargs))
        return super().generate(*args, **kwargs)


def sync_steps(pieces: AsyncIterator[str]) -> Iterator[str]:
    """The pieces of an async generator for a sync caller, on a loop of their own."""
    loop = asyncio.new_event_loop()
    ahead = _Ahead(pieces)
    try:
        while some := loop.run_until_complete(ahead.some()):
            yield from some
    finally:
        loop.run_until_complete(ahead.close())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class _Ahead:
    """Runs an async generator of pieces while it need not wait, a few pieces ahead."""

    def __init__(self, pieces: AsyncIterator[str]) -> None:
        self._pieces = pieces
        self._made: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._made_one = asyncio.Event()
        self._taken = asyncio.Event()

    async def some(self) -> list[str]:
        """The pieces that are there, once there is one; none after the last."""
        self._task = self._task or asyncio.ensure_future(self._run())
        self._taken.set()
        while not self._made and not self._task.done():
            self._made_one.clear()
            await self._made_one.wait()
        some, self._made = self._made, []
        if not some:
            self._task.result()
        return some

    async def _run(self) -> None:
        try:
            async for piece in self._pieces:
                self._made.append(piece)
                self._made_one.set()
                if len(self._made) >= _PIECES_A_STEP:
                    self._taken.clear()
                    await self._taken.wait()
        finally:
            self._made_one.set()

    async def close(self) -> None:
        """Ends the generator."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._pieces.aclose()  # type: ignore[attr-defined]
