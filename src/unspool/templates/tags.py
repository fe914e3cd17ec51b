"""The tags of streamed pages: `{% defer %}`, `{% flush %}`, `{% live %}`.

    {% defer orders timeout=5 after="news" %}
      <ul>{% for order in orders %}<li>{{ order }}{% endfor %}</ul>
    {% placeholder %}
      <p>Looking …</p>
    {% error e %}
      <p role="alert">No orders now.</p>
    {% enddefer %}

The body becomes a block of its own, hidden from inheritance, which runs beside the rest of the
template with the variables as they were; where no page is being streamed (`template.render()`)
it is rendered in its place.
"""

from __future__ import annotations

from secrets import token_hex
from typing import Any
from zlib import crc32

from jinja2 import Environment, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context

from unspool.templates.async_page import AsyncPage
from unspool.templates.board import Hole
from unspool.templates.codegen import StreamingCodeGenerator, StreamingTemplate
from unspool.templates.deferred import defer
from unspool.templates.page import Job, Page, current_page
from unspool.templates.table import table

__all__ = ["Streaming"]

_OPTIONS = {"timeout", "after"}


class Streaming(Extension):
    """Teaches an environment to stream: `environment.add_extension(Streaming)`.

    Adds the tags of this module, the function `defer`, the filter `table`, and the code
    generator by which `super()`, macros and call blocks stream (see
    `unspool.templates.codegen`). Templates that were compiled before keep what they have.

    >>> from jinja2 import Environment
    >>> template = Environment(extensions=[Streaming]).from_string(
    ...     "{% defer sum %}{{ 1 + 2 }}{% placeholder %}…{% enddefer %}"
    ... )
    >>> template.render()
    '3'
    """

    tags = {"defer", "flush", "live"}  # noqa: RUF012 (so says Jinja)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.code_generator_class = StreamingCodeGenerator
        environment.template_class = StreamingTemplate
        environment.globals["defer"] = defer
        environment.filters["table"] = table

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """One of the tags."""
        tag = next(parser.stream)
        if tag.value == "defer":
            return self._defer(parser, tag.lineno)
        if tag.value == "live":
            return self._live(parser, tag.lineno)
        return self._flush(parser, tag.lineno)

    def _defer(self, parser: Parser, lineno: int) -> list[nodes.Node]:
        name = parser.stream.expect("name").value
        options = _options(parser)
        body = parser.parse_statements(("name:placeholder", "name:error", "name:enddefer"))
        placeholder: list[nodes.Node] = []
        error: list[nodes.Node] | None = None
        error_name = ""
        if parser.stream.skip_if("name:placeholder"):
            placeholder = parser.parse_statements(("name:error", "name:enddefer"))
        if parser.stream.skip_if("name:error"):
            error_name = parser.stream.expect("name").value
            error = parser.parse_statements(("name:enddefer",))
        parser.stream.expect("name:enddefer")
        return self._deferred(parser, lineno, name, options, body, placeholder, (error_name, error))

    def _deferred(
        self,
        parser: Parser,
        lineno: int,
        name: str,
        options: dict[str, nodes.Expr],
        body: list[nodes.Node],
        placeholder: list[nodes.Node],
        error: tuple[str, list[nodes.Node] | None],
    ) -> list[nodes.Node]:
        """`hole = page.hole(…)`; the placeholder in the hole, or the body in its place."""
        block = _block_name(parser, name)
        used = {each.name for node in body for each in node.find_all(nodes.Name)}
        used |= {node.name for node in body if isinstance(node, nodes.Name)}
        hole = parser.free_identifier(lineno=lineno)
        never: list[nodes.Node] = []
        if error[1] is not None:
            never = [nodes.Block(block + "_error", error[1], True, False)]
        begin = self.call_method(
            "begin",
            [
                nodes.DerivedContextReference(),
                nodes.Const(block),
                nodes.Const(name),
                nodes.Const(tuple(sorted(used))),
                nodes.Const(error[0]),
                options.get("timeout", nodes.Const(None)),
                options.get("after", nodes.Const(None)),
            ],
            lineno=lineno,
        )
        shown = [
            nodes.Output([nodes.Getattr(hole, "start", "load")]),
            nodes.If(nodes.Getattr(hole, "waits", "load"), placeholder, [], []),
            nodes.Output([nodes.Getattr(hole, "end", "load")]),
        ]
        parts: list[nodes.Node] = [
            nodes.Assign(hole, begin),
            nodes.If(hole, shown, [], [nodes.Block(block, body, True, False)]),
            nodes.If(nodes.Const(False), never, [], []),
        ]
        for part in parts:
            part.set_lineno(lineno)
        return parts

    def begin(
        self,
        context: Context,
        block: str,
        name: str,
        used: tuple[str, ...],
        error_name: str,
        timeout: float | None,
        after: str | None,
    ) -> Hole | None:
        """Starts the block and gives its hole; None where it is to be rendered in its place."""
        page: Page | AsyncPage | None = current_page.get()
        if page is None:
            return None
        job = Job(context, block, used, error_name)
        return page.defer(job, name, timeout, after)

    def _flush(self, parser: Parser, lineno: int) -> nodes.Node:
        return nodes.Output([self.call_method("flush", lineno=lineno)], lineno=lineno)

    def flush(self) -> str:
        """Sends what there is."""
        page = current_page.get()
        if page is not None:
            page.flush()
        return ""

    def _live(self, parser: Parser, lineno: int) -> list[nodes.Node]:
        items = parser.parse_expression()
        parser.stream.expect("name:as")
        target = parser.stream.expect("name").value
        body = parser.parse_statements(("name:endlive",), drop_needle=True)
        block = _block_name(parser, "live")
        hole = parser.free_identifier(lineno=lineno)
        begin = self.call_method(
            "begin_live",
            [nodes.DerivedContextReference(), nodes.Const(block), nodes.Const(target), items],
            lineno=lineno,
        )
        in_place = nodes.For(
            nodes.Name(target, "store"),
            items,
            [nodes.Block(block, body, True, False)],
            [],
            None,
            False,
        )
        parts: list[nodes.Node] = [
            nodes.Assign(hole, begin),
            nodes.If(hole, [nodes.Output([nodes.Getattr(hole, "start", "load")])], [], [in_place]),
        ]
        for part in parts:
            part.set_lineno(lineno)
        return parts

    def begin_live(self, context: Context, block: str, target: str, items: Any) -> Hole | None:
        """Starts a live block and gives its hole; None where it is to be rendered in its place."""
        page: Page | AsyncPage | None = current_page.get()
        if page is None:
            return None
        return page.live(Job(context, block), block, target, items)


def _options(parser: Parser) -> dict[str, nodes.Expr]:
    """`timeout=… after=…`, in any order."""
    options: dict[str, nodes.Expr] = {}
    while parser.stream.current.type != "block_end":
        parser.stream.skip_if("comma")
        key = parser.stream.expect("name")
        if key.value not in _OPTIONS or key.value in options:
            parser.fail(
                f"defer has the options timeout= and after=, each once; got {key.value!r}.",
                key.lineno,
            )
        parser.stream.expect("assign")
        options[key.value] = parser.parse_expression()
    return options


def _block_name(parser: Parser, name: str) -> str:
    """A name that no other block of the page has, in whatever template that is."""
    template = f"{crc32(parser.name.encode()):08x}" if parser.name else token_hex(8)
    return f"defer_{name}_{template}_{parser.free_identifier().name}"
