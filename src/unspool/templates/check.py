"""What keeps a template from streaming, found without running it.

| rule | what it finds |
|---|---|
| filter | `{% filter %}` around something that can be slow: the filter needs the whole text |
| set | `{% set x %}…{% endset %}` around the same: a variable needs the whole text |
| sort | `|sort`, `|list`, `|groupby`, `|slice`, `|reverse`: they read all rows before the first |
| length | `loop.length`, `loop.revindex`: known when all rows are read |
| last | `loop.last`, `loop.nextitem`: known one row late (a note) |
| include | `{% include … without context %}`: made as a whole, and kept |
| call | `super()`, `caller()` or a macro inside an expression: that needs the whole text |
| hole | a block where browsers look for no hole: an attribute, `<title>`, `<textarea>`, `<svg>` |
| part | a part of a block that closes what it did not open, or does not close what it opened |
| unclosed | an element that is open at the end of the page: no block finds its place then |
| syntax | what Jinja cannot read |

The HTML is read as the template has it: each loop once, the first branch of each condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.parser import Parser

from unspool.templates.tags import Streaming

__all__ = ["Finding", "check", "reading_environment"]

# What can take its time, or be long.
_SLOW = (nodes.For, nodes.Call, nodes.CallBlock, nodes.Include)

_WHOLE_FILTERS = {"groupby", "list", "reverse", "slice", "sort"}

_LOOP_WHOLE = {"length", "revindex", "revindex0"}
_LOOP_LATE = {"last", "nextitem"}

# Elements without an end tag (HTML §13.1.2).
_VOID = frozenset(
    "area base br col embed hr img input link meta source track wbr".split()  # noqa: SIM905
)

# Elements whose end tag may be left out (HTML §13.1.2.4), and that end with what they are in.
_OPTIONAL = frozenset(
    "html head body li dt dd rt rp optgroup option colgroup caption thead tbody tfoot tr td th".split()  # noqa: SIM905, E501
)

# What ends an open paragraph (HTML §13.1.2.4).
_ENDS_P = frozenset(
    "address article aside blockquote details dialog div dl fieldset figcaption figure footer form "  # noqa: SIM905
    "h1 h2 h3 h4 h5 h6 header hgroup hr main menu nav ol p pre search section table ul".split()
)

# Browsers read these as text, or as something that is not HTML: they find no hole there.
_NO_HOLES = frozenset({"iframe", "math", "script", "style", "svg", "textarea", "title"})


@dataclass(frozen=True, order=True)
class Finding:
    """Something that keeps a template from streaming, and what to do about it.

    A `note` is worth knowing, but no fault.
    """

    line: int
    rule: str
    what: str
    remedy: str
    note: bool = False


def reading_environment(extensions: Iterable[str] = ()) -> Environment:
    """An environment that reads templates with our tags, and those of these extensions."""
    builtin = ["jinja2.ext.do", "jinja2.ext.i18n", "jinja2.ext.loopcontrols", "jinja2.ext.debug"]
    return Environment(extensions=[*builtin, *extensions, _Reading], autoescape=True)


def check(source: str, environment: Environment | None = None) -> list[Finding]:
    """The findings in a template, by line.

    >>> check("{% for row in rows|sort %}{{ row }}{% endfor %}")[0].what
    '|sort reads all rows before the first is written'
    """
    environment = environment or reading_environment()
    try:
        tree = environment.parse(source)
    except TemplateSyntaxError as error:
        remedy = "Mend it; or name the extension that knows the tag with --extension."
        return [Finding(error.lineno, "syntax", str(error.message), remedy)]
    found = {*_constructs(tree), *_places(tree)}
    return sorted(found)


class _Reading(Streaming):
    """Reads our tags as scopes that know their parts, in the place of what they compile to."""

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
        return [_hole(lineno, body, placeholder, error[1] or [])]

    def _live(self, parser: Parser, lineno: int) -> list[nodes.Node]:
        items = parser.parse_expression()
        parser.stream.expect("name:as")
        parser.stream.expect("name")
        body = parser.parse_statements(("name:endlive",), drop_needle=True)
        return [nodes.ExprStmt(items, lineno=lineno), _hole(lineno, body)]


def _hole(lineno: int, *parts: list[nodes.Node]) -> nodes.Node:
    hole = nodes.Scope([node for part in parts for node in part], lineno=lineno)
    hole.parts = parts  # type: ignore[attr-defined]
    return hole


def _constructs(tree: nodes.Template) -> Iterator[Finding]:
    """What cannot stream by its meaning."""
    blocks: list[nodes.FilterBlock | nodes.AssignBlock] = [
        *tree.find_all(nodes.FilterBlock),
        *tree.find_all(nodes.AssignBlock),
    ]
    for block in blocks:
        if any(True for node in block.body for _ in _slow_in(node)):
            yield _holds_back(block)
    for used in tree.find_all(nodes.Filter):
        if used.name in _WHOLE_FILTERS and used.node is not None:
            yield Finding(
                used.lineno,
                "sort",
                f"|{used.name} reads all rows before the first is written",
                "Have the source sort or group them (ORDER BY); a list needs no |list.",
            )
    for loop in tree.find_all(nodes.Getattr):
        if isinstance(loop.node, nodes.Name) and loop.node.name == "loop":
            yield from _of_loop(loop)
    for include in tree.find_all(nodes.Include):
        if not include.with_context:
            yield Finding(
                include.lineno,
                "include",
                "include … without context is made as a whole before anything of it is written",
                "Leave out `without context`.",
            )
    yield from _hidden_calls(tree)


def _slow_in(node: nodes.Node) -> Iterator[nodes.Node]:
    if isinstance(node, _SLOW) or hasattr(node, "parts"):
        yield node
    yield from node.find_all(_SLOW)
    yield from (scope for scope in node.find_all(nodes.Scope) if hasattr(scope, "parts"))


def _holds_back(block: nodes.FilterBlock | nodes.AssignBlock) -> Finding:
    if isinstance(block, nodes.FilterBlock):
        name = block.filter.name
        return Finding(
            block.lineno,
            "filter",
            f"{{% filter {name} %}} holds back all that is in it",
            "Apply the filter to the values inside.",
        )
    return Finding(
        block.lineno,
        "set",
        "{% set … %} with a body holds back all that is in it",
        "Write it where it is needed, as a macro if it is needed twice.",
    )


def _of_loop(loop: nodes.Getattr) -> Iterator[Finding]:
    what = f"loop.{loop.attr}"
    if loop.attr in _LOOP_WHOLE:
        remedy = "Hand the number of rows over as a variable of its own."
        yield Finding(
            loop.lineno, "length", f"{what} reads all rows before the first is written", remedy
        )
    elif loop.attr in _LOOP_LATE:
        remedy = "Write separators before a row instead: {% if not loop.first %}."
        yield Finding(
            loop.lineno, "last", f"{what} holds each row back until the next is there", remedy, True
        )


def _hidden_calls(tree: nodes.Template) -> Iterator[Finding]:
    """Calls that would stream if they were all that is between `{{` and `}}`."""
    names = {"super", "caller"} | {macro.name for macro in tree.find_all(nodes.Macro)}
    shown = {id(child) for output in tree.find_all(nodes.Output) for child in output.nodes}
    shown |= {id(block.call) for block in tree.find_all(nodes.CallBlock)}
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name in names and id(call) not in shown:
            yield Finding(
                call.lineno,
                "call",
                f"{call.node.name}() inside an expression is made as a whole",
                f"Write {{{{ {call.node.name}(…) }}}} by itself.",
            )


def _places(tree: nodes.Template) -> Iterator[Finding]:
    """What of the HTML keeps holes from being filled."""
    page = _Html()
    is_child = tree.find(nodes.Extends) is not None
    if is_child:
        for block in tree.find_all(nodes.Block):
            yield from _Html().read(block.body)
    else:
        yield from page.read(tree.body)
        has_page = page.has_body or page.holes
        yield from page.unclosed() if has_page else ()
    macros: list[nodes.Macro | nodes.CallBlock] = [
        *tree.find_all(nodes.Macro),
        *tree.find_all(nodes.CallBlock),
    ]
    for macro in macros:
        yield from _Html().read(macro.body)


class _Html(HTMLParser):
    """Reads the HTML of a template, and knows what is open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.stack: list[tuple[str, int]] = []
        self.stray: list[tuple[str, int]] = []
        self.holes: list[int] = []
        self.has_body = False
        self._met: dict[int, list[str]] = {}
        self._parts: list[Finding] = []
        self._line = 1

    def read(self, body: Iterable[nodes.Node]) -> Iterator[Finding]:
        """The findings about the holes in these nodes."""
        for node in body:
            self._read(node)
        yield from self._parts
        for number, line in enumerate(self.holes):
            inside = self._met.get(number)
            if inside is None:
                yield _no_hole(line, "a tag, a comment, or text that browsers read as it is")
            elif place := next((name for name in inside if name in _NO_HOLES), None):
                yield _no_hole(line, f"<{place}>")

    def unclosed(self) -> Iterator[Finding]:
        """The elements that are open at the end."""
        for name, line in self.stack:
            if name not in _OPTIONAL:
                yield Finding(
                    line,
                    "unclosed",
                    f"<{name}> is open at the end of the page: no block after it finds its place",
                    f"Close it: </{name}>.",
                )

    def _read(self, node: nodes.Node) -> None:
        self._line = node.lineno or self._line
        if isinstance(node, nodes.Output):
            for child in node.nodes:
                self._write(child)
        elif hasattr(node, "parts"):
            self._read_hole(node)
        elif isinstance(node, nodes.If):
            self._read_all(node.body)
        elif not isinstance(node, (nodes.Macro, nodes.CallBlock, nodes.AssignBlock)):
            self._read_all(getattr(node, "body", ()))

    def _read_all(self, body: Iterable[nodes.Node]) -> None:
        for node in body:
            self._read(node)

    def _write(self, child: nodes.Node) -> None:
        if not isinstance(child, nodes.TemplateData):
            self.feed("x")
            return
        self._line = child.lineno or self._line
        for number, text in enumerate(child.data.splitlines(keepends=True)):
            self._line = (child.lineno or 1) + number
            self.feed(text)

    def _read_hole(self, node: Any) -> None:
        self.feed(f"<?hole {len(self.holes)}>")
        self.holes.append(node.lineno)
        for part in node.parts:
            inner = _Html()
            self._parts += inner.read(part)
            left = [name for name, _ in inner.stack if name not in _OPTIONAL]
            if left or inner.stray:
                name = left[0] if left else inner.stray[0][0]
                does = "does not close" if left else "closes, but did not open,"
                self._parts.append(
                    Finding(
                        node.lineno,
                        "part",
                        f"a part of this block {does} <{name}>",
                        "Put whole elements into each part.",
                    )
                )

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _ENDS_P and self.stack and self.stack[-1][0] == "p":
            self.stack.pop()
        if tag == "body":
            self.has_body = True
        if tag not in _VOID:
            self.stack.append((tag, self._line))

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        if not {name for name, _ in self.stack} & {"svg", "math"}:
            self.handle_starttag(tag, attrs)  # The slash means nothing in HTML.

    def handle_endtag(self, tag: str) -> None:
        for at in reversed(range(len(self.stack))):
            if self.stack[at][0] == tag:
                del self.stack[at:]
                return
        if tag not in _VOID | {"p"}:
            self.stray.append((tag, self._line))

    def handle_pi(self, data: str) -> None:
        kind, _, number = data.partition(" ")
        if kind == "hole":
            self._met[int(number)] = [name for name, _ in self.stack]


def _no_hole(line: int, place: str) -> Finding:
    return Finding(
        line,
        "hole",
        f"this block stands in {place}, where browsers look for no hole",
        "Put the element itself into the block.",
    )
