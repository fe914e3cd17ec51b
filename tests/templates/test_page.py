"""Pages on threads and on tasks: the same cases for both."""

import asyncio
import gc
import re
import sys
import threading
import time
import warnings
from concurrent.futures import Future
from contextvars import ContextVar
from functools import cached_property

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unspool.templates import SCRIPT, Deferred, Streaming, defer
from unspool.templates.async_page import AsyncPage
from unspool.templates.page import FAILED, ITEMS_AHEAD, Page

PATCH = re.compile(r'<template for="(\w+)">(.*?)</template>\n', re.DOTALL)
WAIT_S = 5


class Threads:
    """A page of a sync template, taken piece by piece."""

    page_class = Page
    is_async = False

    def __init__(self, source, mode="auto", templates=None, **values):
        loader = jinja2.DictLoader({"page": source, **(templates or {})})
        environment = jinja2.Environment(
            autoescape=True, extensions=[Streaming], enable_async=self.is_async, loader=loader
        )
        self.template = environment.get_template("page")
        self.errors = []
        self.page = self.page_class(mode, self.errors.append, "?again")
        self.values = values
        self.start()

    def start(self):
        """Nothing to do."""

    @cached_property
    def pieces(self):
        return self.page.pieces(self.template.generate(self.values), self.values.values())

    def next(self):
        """The next piece that is not empty, or None."""
        return next(filter(None, self.pieces), None)

    def rest(self):
        return list(filter(None, self.pieces))

    def close(self):
        self.pieces.close()

    def gate(self):
        """Something to open, and a function for templates that waits for that."""
        event = threading.Event()
        return event.set, lambda: event.wait(WAIT_S) and ""

    def render(self):
        return self.template.render(self.values)

    def wait(self, seconds):
        """Time for the blocks."""
        time.sleep(seconds)


class Tasks(Threads):
    """The same of an async template."""

    page_class = AsyncPage
    is_async = True

    def start(self):
        self.loop = asyncio.new_event_loop()

    @cached_property
    def pieces(self):
        return self.page.pieces(self.template.generate_async(self.values), self.values.values())

    def next(self):
        async def run():
            while (piece := await anext(self.pieces, None)) == "":
                pass
            return piece

        return self.loop.run_until_complete(run())

    def rest(self):
        pieces = []
        while (piece := self.next()) is not None:
            pieces.append(piece)
        return pieces

    def close(self):
        self.loop.run_until_complete(self.pieces.aclose())

    def gate(self):
        event = asyncio.Event()

        async def wait():
            async with asyncio.timeout(WAIT_S):
                await event.wait()
            return ""

        return event.set, wait

    def render(self):
        return self.loop.run_until_complete(self.template.render_async(self.values))

    def wait(self, seconds):
        self.loop.run_until_complete(asyncio.sleep(seconds))


@pytest.fixture(autouse=True)
def patient_shell(monkeypatch):
    """A busy machine may take more than 50 ms for a shell."""
    monkeypatch.setattr("unspool.templates.page.FLUSH_AFTER_S", 5)


@pytest.fixture(params=[Threads, Tasks])
def made(request):
    """Makes a page; closes it afterwards."""
    pages = []

    def make(*args, **values):
        pages.append(request.param(*args, **values))
        return pages[-1]

    make.kind = request.param
    yield make
    for page in pages:
        page.close()
        if page.is_async:
            page.loop.close()


def gated(make, source, names, *args, **values):
    """A page whose blocks wait for gates of these names, and what opens these."""
    opens = {}
    holder = {}

    def late(name):
        return lambda: holder[name]()

    page = make(source, *args, **{name: late(name) for name in names}, **values)
    for name in names:
        opens[name], holder[name] = page.gate()
    return page, opens


def contents(pieces):
    """What the patches in these pieces put into the page, in order."""
    return [content for piece in pieces for _, content in PATCH.findall(piece)]


def filled(text):
    """The page as a browser shows it in the end."""
    text = re.sub(f"\n<script>{re.escape(SCRIPT)}</script>(<noscript>.*?</noscript>)?\n", "", text)
    patches = PATCH.findall(text)
    page = PATCH.sub("", text)
    for id, content in patches:
        start, marker = f'<?start name="{id}">', f'<?marker name="{id}">'
        if marker in page:
            page = page.replace(marker, content, 1)
            continue
        before, found, after = page.partition(start)
        assert found, f"the hole of {content!r} is not in the page"
        depth = 0
        for match in re.finditer(r'<\?(start name="\w+"|end)>', after):
            if match[1] == "end":
                if depth == 0:
                    page = before + content + after[match.end() :]
                    break
                depth -= 1
            else:
                depth += 1
    return re.sub(r'<\?marker name="\w+">', "", page)


THREE = (
    "<body>{% for n in 'abc' %}{% defer x %}{{ {'a': a, 'b': b, 'c': c}[n]() }}[{{ n }}]"
    "{% placeholder %}({{ n }}){% enddefer %}{% endfor %}<footer></body></html>\n"
)


def test_the_shell_comes_first_then_the_blocks_as_they_get_ready_then_the_end(made):
    page, opens = gated(made, THREE, "abc")
    shell = page.next()
    assert re.fullmatch(r'<body>(<\?start name="\w{4}">\([abc]\)<\?end>){3}<footer>', shell), shell
    assert page.next() == (
        f"\n<script>{SCRIPT}</script>"
        '<noscript><meta http-equiv="refresh" content="0;url=?again"></noscript>\n'
    )
    got = []
    for name in "bca":
        opens[name]()
        got.append(page.next())
    assert contents(got) == ["[b]", "[c]", "[a]"]
    assert page.next() == "</body></html>"
    assert page.next() is None
    assert filled("".join([shell, *got]) + "</body></html>") == (
        "<body>[a][b][c]<footer></body></html>"
    )


@pytest.mark.parametrize("mode", ["inorder", "whole"])
def test_in_order_the_blocks_run_at_once_and_come_in_their_places(made, mode):
    page, opens = gated(made, THREE, "abc", mode)
    for name in "cba":
        opens[name]()
    pieces = page.rest()
    assert "".join(pieces) == "<body>[a][b][c]<footer></body></html>"
    assert (len(pieces) == 1) == (mode == "whole")


def test_in_order_what_stands_before_a_block_that_is_not_ready_is_out(made):
    page, opens = gated(made, THREE, "abc", "inorder")
    opens["a"]()
    assert page.next() == "<body>"
    assert page.next() == "[a]"
    opens["b"]()
    assert page.next() == "[b]"
    opens["c"]()
    assert page.rest() == ["[c]", "<footer></body></html>"]


def test_a_page_without_holes_is_the_template_and_nothing_else(made):
    page = made("<body>{% for n in range(3) %}{{ n }}{% endfor %}</body>")
    assert "".join(page.rest()) == "<body>012</body>" == page.render()


def test_outside_of_a_page_the_blocks_are_rendered_in_their_places(made):
    page = made(
        "{% defer a %}{{ 1 + 1 }}{% placeholder %}…{% error e %}failed{% enddefer %}"
        "{% flush %}{% live 'xy' as l %}<{{ l }}>{% endlive %}"
    )
    assert page.render() == "2<x><y>"


def test_a_page_inside_of_a_page_that_is_rendered_by_the_app_has_no_holes(made):
    page = made("{{ mail() }}{% defer x %}{{ mail() }}{% enddefer %}")
    mail = page.template.environment.from_string("{% defer y %}m{% placeholder %}…{% enddefer %}")
    page.values["mail"] = mail.render_async if page.is_async else mail.render
    assert filled("".join(page.rest())) == "mm"


def test_templates_that_have_no_names_do_not_share_blocks(made):
    page = made("", base=None)
    environment = page.template.environment
    page.values["base"] = environment.from_string(
        "{% defer x %}1{% enddefer %}{% block b %}{% endblock %}"
    )
    page.template = environment.from_string(
        "{% extends base %}{% block b %}{% defer x %}2{% enddefer %}{% endblock %}"
    )
    assert filled("".join(page.rest())) == "12"


NESTED = (
    "{% defer outer %}{{ o() }}<o>{% defer inner %}{{ i() }}<i>{% placeholder %}…{% enddefer %}"
    "</o>{% enddefer %}"
)


def test_a_nested_block_waits_for_its_parent(made):
    page, opens = gated(made, NESTED, "oi")
    pieces = [page.next(), page.next()]
    opens["i"]()
    opens["o"]()
    pieces += page.rest()
    assert contents(pieces)[-1] == "<i>"
    assert filled("".join(pieces)) == "<o><i></o>"


@pytest.mark.parametrize("mode", ["inorder", "whole"])
def test_a_nested_block_is_in_its_place_in_order(made, mode):
    page, opens = gated(made, NESTED, "oi", mode)
    opens["i"]()
    opens["o"]()
    assert "".join(page.rest()) == "<o><i></o>"


def test_after_shows_a_block_only_behind_another(made):
    source = (
        "{% defer one %}{{ a() }}1{% enddefer %}{% defer two after='one' %}{{ b() }}2{% enddefer %}"
    )
    page, opens = gated(made, source, "ab")
    shell = [page.next(), page.next()]
    opens["b"]()
    time.sleep(0.02)
    opens["a"]()
    pieces = page.rest()
    assert contents(pieces) == ["1", "2"]
    assert filled("".join(shell + pieces)) == "12"


def test_the_variables_of_a_block_are_those_of_its_place(made):
    source = (
        "{% macro m(x) %}{% defer z %}{{ a() }}m{{ x }}{% enddefer %}{% endmacro %}"
        "{% for n in range(3) %}{% set s = n * 2 %}{% defer x %}{{ a() }}{{ loop.index }}"
        "{{ loop.index0 }}{{ loop.first }}{{ loop.cycle('p', 'q') }}{{ loop.previtem }}{{ s }};"
        "{% enddefer %}{% endfor %}{% set s = 9 %}{{ m(7) }}{% with w = 4 %}{% defer y %}{{ w }}"
        "{% enddefer %}{% endwith %}"
    )
    page, opens = gated(made, source, "a")
    pieces = [page.next(), page.next()]
    opens["a"]()
    text = filled("".join(pieces + page.rest()))
    assert text == "10Truep0;21Falseq02;32Falsep14;m74"


def test_blocks_can_be_in_parents_includes_imports_and_overridden_blocks(made):
    templates = {
        "base": "<{% block b %}{% defer x %}base{% enddefer %}{% endblock %}>",
        "part": "{% defer x %}part {{ n }}{% enddefer %}",
        "lib": "{% macro m(x) %}{% defer x %}macro {{ x }}{% enddefer %}{% endmacro %}",
    }
    page = made(
        "{% extends 'base' %}{% from 'lib' import m %}{% block b %}{{ super() }}|{% include 'part' %}"
        "|{{ m(2) }}|{% defer x %}own{% enddefer %}{% endblock %}",
        templates=templates,
        n=1,
    )
    assert filled("".join(page.rest())) == "<base|part 1|macro 2|own>"


def test_a_block_that_fails_shows_its_error_part_and_the_rest_arrives(made):
    page = made(
        "{% defer a %}{{ 1 // n }}{% error e %}<b>{{ e }}</b>{% enddefer %}"
        "{% defer b %}{{ 2 // n }}{% enddefer %}"
        "{% defer c %}{{ 3 // n }}{% error e %}{{ 4 // n }}{% enddefer %}"
        "{% defer d %}fine{% enddefer %}</body>",
        n=0,
    )
    pieces = page.rest()
    assert pieces[-1] == "</body>"
    text = "integer division or modulo by zero"
    assert filled("".join(pieces)) == f"<b>{text}</b>{FAILED}{FAILED}fine</body>"
    assert [type(error) for error in page.errors] == [ZeroDivisionError] * 4


@pytest.mark.parametrize("mode", ["inorder", "whole"])
def test_errors_in_order_stand_in_their_places(made, mode):
    page = made("a{% defer a %}x{{ 1 // 0 }}{% error e %}<b>{% enddefer %}c", mode)
    assert "".join(page.rest()) == "a<b>c"


def test_a_block_that_fails_takes_the_blocks_in_it_along(made):
    source = (
        "{% defer o %}{% defer i %}{{ a() }}i{% enddefer %}{{ 1 // 0 }}{% error e %}sorry"
        "{% defer again %}again{% enddefer %}{% enddefer %}</body>"
    )
    page, opens = gated(made, source, "a")
    pieces = page.rest()
    assert filled("".join(pieces)) == "sorryagain</body>"
    opens["a"]()


@pytest.mark.parametrize("mode", ["auto", "inorder", "whole"])
def test_a_block_that_is_too_slow_shows_its_error_part(made, mode):
    source = (
        "{% defer s timeout=0.05 %}{{ a() }}late{% error e %}<b>{{ e }}</b>{% enddefer %}"
        "{% defer f timeout=5 %}fine{% enddefer %}"
    )
    page, opens = gated(made, source, "a", mode)
    started = time.monotonic()
    text = filled("".join(page.rest()))
    assert text == ("<b>the block &#39;s&#39; of the page was not ready within its timeout</b>fine")
    assert 0.04 < time.monotonic() - started < 4.5
    assert [type(error) for error in page.errors] == [TimeoutError]
    opens["a"]()


def test_an_error_in_the_shell_comes_before_anything_of_it(made):
    page = made("{% defer a %}x{% enddefer %}lots of text{{ 1 // 0 }}")
    with pytest.raises(ZeroDivisionError):
        page.next()
    assert page.errors == []


def test_flush_lets_out_what_there_is_and_ends_the_barrier(made):
    page = made("one{% flush %}two{{ 1 // 0 }}")
    assert page.next() == "one"
    with pytest.raises(ZeroDivisionError):
        page.rest()


def test_the_shell_is_held_for_50_ms_or_a_chunk(made, monkeypatch):
    monkeypatch.undo()
    slow = made("one{{ s() }}two{{ 1 // 0 }}", s=lambda: time.sleep(0.06) or "")
    assert slow.next() == "one"
    long = made("{{ x }}two{{ 1 // 0 }}", x="x" * 120 * 1024)
    assert len(long.next()) == 120 * 1024
    short = made("{{ x }}two{{ 1 // 0 }}", x="x" * 1000)
    with pytest.raises(ZeroDivisionError):
        short.next()


LIVE = "<ul>{% live items as i %}<li>{{ i }}{% endlive %}</ul>{% live others as o %}[{{ o }}]{% endlive %}"


@pytest.mark.parametrize("mode", ["auto", "inorder", "whole"])
def test_live_items_are_put_behind_each_other_in_their_pane(made, mode):
    page = made(LIVE, mode, items=[1, 2, "<"], others=iter("ab"))
    assert filled("".join(page.rest())) == "<ul><li>1<li>2<li>&lt;</ul>[a][b]"


def test_live_panes_are_fed_in_turn_and_no_more_than_some_items_ahead(made):
    pulled = []

    def items():
        for n in range(10**6):
            pulled.append(n)
            yield n

    page = made(LIVE, items=items(), others=[])
    for _ in range(4):
        page.next()
        deadline = time.monotonic() + WAIT_S
        while len(pulled) <= ITEMS_AHEAD and time.monotonic() < deadline:
            page.wait(0.01)
    page.wait(0.2)
    assert ITEMS_AHEAD <= max(pulled) <= ITEMS_AHEAD + 10
    page.close()
    count = len(pulled)
    time.sleep(0.1)
    assert len(pulled) <= count + 1


def test_in_order_a_pane_that_must_wait_for_its_place_is_bounded_too(made):
    pulled = []

    def items():
        for n in range(300):
            pulled.append(n)
            yield n

    page, opens = gated(
        made,
        "{% defer a %}{{ a() }}{% enddefer %}" + LIVE,
        "a",
        "inorder",
        items=items(),
        others=[],
    )
    if page.is_async:
        page.loop.run_until_complete(asyncio.sleep(0))
    threading.Timer(
        0.2, lambda: page.loop.call_soon_threadsafe(opens["a"]) if page.is_async else opens["a"]()
    ).start()
    assert page.next() == "<ul>"
    assert len(pulled) <= ITEMS_AHEAD + 2
    page.rest()
    assert len(pulled) == 300


def test_live_items_that_fail_end_their_pane_with_a_message(made):
    closed = []

    def items():
        try:
            yield 1
            raise LookupError("gone")
        finally:
            closed.append(True)

    page = made(LIVE, items=items(), others="a")
    assert filled("".join(page.rest())) == f"<ul><li>1{FAILED}</ul>[a]"
    assert closed == [True]
    assert [str(error) for error in page.errors] == ["gone"]


def test_live_inside_a_block(made):
    page = made("{% defer a %}<p>{% live 'xy' as l %}{{ l }}{% endlive %}</p>{% enddefer %}")
    assert filled("".join(page.rest())) == "<p>xy</p>"


SOMEWHERE = ContextVar("somewhere", default="nowhere")


def test_blocks_run_in_the_context_of_the_page(made):
    SOMEWHERE.set("here")
    page = made("{% defer a %}{{ where() }}{% enddefer %}", where=SOMEWHERE.get)
    assert filled("".join(page.rest())) == "here"
    SOMEWHERE.set("nowhere")


def test_a_deferred_value_is_a_value_in_a_block_and_may_fail():
    def fail():
        raise LookupError("no such")

    page = Threads(
        "{% defer a %}{{ v.x }}{{ v.x }}{% enddefer %}{% defer b %}{{ bad }}{% error e %}<{{ e }}>{% enddefer %}"
        "{% defer c %}{{ v.x }}{{ defer(f).result() }}{% enddefer %}",
        v=defer(lambda: {"x": 5}),
        bad=defer(fail),
        f=lambda: 6,
    )
    assert filled("".join(page.rest())) == "55<no such>56"


def test_coroutines_and_tasks_are_values_in_the_blocks_of_a_page_of_a_loop():
    async def value(n):
        await asyncio.sleep(0.01)
        return n

    async def run():
        environment = jinja2.Environment(extensions=[Streaming], enable_async=True)
        template = environment.from_string(
            "{% for n in range(2) %}{% defer a %}{{ a }}{{ b }}{{ c }}{% enddefer %}{% endfor %}"
        )
        values = {"a": defer(value, 1), "b": defer(value(2)), "c": asyncio.ensure_future(value(3))}
        page = AsyncPage()
        pieces = page.pieces(template.generate_async(values), values.values())
        return "".join([piece async for piece in pieces])

    assert filled(asyncio.run(run())) == "123123"


def test_a_coroutine_that_nobody_asks_for_raises_no_warning():
    from unspool.templates.pieces import async_pieces, pieces

    async def value():
        await asyncio.sleep(10)

    environment = jinja2.Environment(extensions=[Streaming], enable_async=True)

    async def run():
        text = "{% if false %}{% defer a %}{{ v }}{% enddefer %}{% endif %}x"
        made = async_pieces(environment.from_string(text), {"v": value()})
        assert [piece async for piece in made if piece] == ["x"]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        started = time.monotonic()
        asyncio.run(run())
        made, _ = pieces(
            jinja2.Environment(extensions=[Streaming]).from_string("x"), {"v": defer(value)}
        )
        assert "".join(made) == "x"
        gc.collect()
    assert time.monotonic() - started < 5


def test_defer_refuses_what_cannot_be_called():
    with pytest.raises(ValueError, match="takes a function and its arguments; got 5"):
        defer(5)


def test_a_client_that_leaves_ends_the_tasks():
    cancelled = []

    async def forever():
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    page = Tasks(
        "{% defer a %}{{ f() }}{% enddefer %}{% defer b %}{{ f() }}{% enddefer %}", f=forever
    )
    page.next()
    page.next()
    page.loop.run_until_complete(asyncio.sleep(0.01))
    page.close()
    assert cancelled == [True, True]
    assert not asyncio.all_tasks(page.loop)
    page.loop.close()


def test_a_client_that_leaves_ends_the_threads_at_their_next_piece():
    began, rows = threading.Event(), []

    def forever():
        while True:
            rows.append(1)
            began.set()
            time.sleep(0.001)
            yield 1

    page = Threads("{% defer a %}{% for n in f() %}{{ n }}{% endfor %}{% enddefer %}", f=forever)
    page.next()
    began.wait(WAIT_S)
    page.close()
    ended = threading.Event()
    page.page.when_idle(ended.set)
    assert ended.wait(WAIT_S)
    count = len(rows)
    time.sleep(0.02)
    assert len(rows) == count


def test_a_wait_for_a_block_is_ended_by_cancel_from_another_thread():
    opened = threading.Event()
    page = Threads("{% defer a %}{{ f() }}{% enddefer %}", f=lambda: opened.wait(WAIT_S))
    page.next()
    page.next()
    threading.Timer(0.05, page.pieces.cancel).start()
    started = time.monotonic()
    with pytest.raises(GeneratorExit):
        page.next()
    assert time.monotonic() - started < 4.5
    order = []
    page.page.when_idle(lambda: order.append("idle"))
    order.append("opened")
    opened.set()
    deadline = time.monotonic() + WAIT_S
    while len(order) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert order == ["opened", "idle"]


def test_a_deferred_value_that_has_not_begun_never_does():
    value = defer(lambda: 1)
    value.result()
    waiting = type(value)(Future())
    page = Threads("x", v=waiting)
    page.rest()
    assert waiting.future.cancelled()


@settings(deadline=None, max_examples=40)
@given(st.text(alphabet=st.sampled_from('<>?!-"ab&') | st.characters(codec="utf-8"), max_size=40))
def test_text_of_users_cannot_open_or_end_a_hole(text):
    for mode in ("auto", "inorder", "whole"):
        page = Threads(
            "{{ t }}{% defer a %}({{ t }}){% placeholder %}{{ t }}{% enddefer %}{{ t }}",
            mode,
            t=text,
        )
        escaped = str(jinja2.utils.markupsafe.escape(text))
        assert filled("".join(page.rest())) == f"{escaped}({escaped}){escaped}"


HOSTILE = [
    '<?start name="aaaa">',
    "<?end>",
    '<?marker name="aaaa">',
    '<template for="aaaa">x</template>\n',
    "<!--0123456789abcdef:aaaa-->",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_of_users_does_not_know_the_names(text):
    page = Threads("{{ t|safe }}{% defer a %}mine{% enddefer %}", "inorder", t=text)
    assert "".join(page.rest()) == f"{text}mine"
    page = Threads("{{ t|safe }}{% defer a %}mine{% enddefer %}", t=text)
    shell = page.next()
    assert shell.startswith(text)
    assert contents([page.next(), page.next()]) == ["mine"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% defer %}{% enddefer %}", "expected token 'name'"),
        (
            "{% defer a speed=1 %}{% enddefer %}",
            "options timeout= and after=, each once; got 'speed'",
        ),
        ("{% defer a timeout=1 timeout=2 %}{% enddefer %}", "each once; got 'timeout'"),
        ("{% defer a %}", "Unexpected end of template"),
        ("{% live x %}{% endlive %}", "expected token 'as'"),
    ],
)
def test_a_tag_that_is_wrong_is_a_syntax_error(source, message):
    with pytest.raises(jinja2.TemplateSyntaxError, match=message):
        jinja2.Environment(extensions=[Streaming]).from_string(source)


def test_a_thousand_blocks_have_their_own_content(made):
    page = made("{% for n in range(1000) %}{% defer x %}{{ n }};{% enddefer %}{% endfor %}")
    assert filled("".join(page.rest())) == "".join(f"{n};" for n in range(1000))


@pytest.mark.parametrize(
    "source",
    [
        "{% defer a %}{% for n in range(60000) %}{{ n }}{% endfor %}{% enddefer %}",
        "{% for n in range(60000) %}{{ n }}{% endfor %}",
    ],
)
@pytest.mark.parametrize("mode", ["auto", "whole"])
def test_a_template_that_never_waits_lets_the_loop_run(source, mode):
    async def run():
        template = jinja2.Environment(extensions=[Streaming], enable_async=True).from_string(source)
        pieces = AsyncPage(mode).pieces(template.generate_async())

        async def read():
            async for _ in pieces:
                await asyncio.sleep(0)

        reading = asyncio.ensure_future(read())
        ticks = [time.thread_time()]  # The machine may be busy with others.
        while not reading.done():
            await asyncio.sleep(0)
            ticks.append(time.thread_time())
        return max(b - a for a, b in zip(ticks, ticks[1:])), ticks[-1] - ticks[0]

    longest, whole = asyncio.run(run())
    assert longest < whole / 2


def test_a_page_that_never_began_ends_what_was_deferred_for_it():
    from unspool.templates.pieces import async_pieces, pieces

    waiting = Deferred(Future())
    made, _ = pieces(jinja2.Environment(extensions=[Streaming]).from_string("x"), {"v": waiting})
    made.close()
    assert waiting.future.cancelled()

    async def value():
        return 1

    waiting = Deferred(Future())
    environment = jinja2.Environment(extensions=[Streaming], enable_async=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = async_pieces(environment.from_string("x"), {"v": waiting, "w": value()})
        asyncio.run(made.aclose())
        del made
        gc.collect()
    assert waiting.future.cancelled()


@pytest.mark.parametrize(("extensions", "before"), [([], ""), ([Streaming], "{% flush %}")])
def test_a_piece_of_a_long_loop_runs_no_python_but_the_template(extensions, before):
    from unspool.templates.pieces import pieces

    environment = jinja2.Environment(extensions=extensions)
    template = environment.from_string(before + "{% for n in range(10000) %}{{ n }}{% endfor %}")
    made, _ = pieces(template, {})
    ours = []

    def profile(frame, event, arg):
        if "unspool" in frame.f_code.co_filename and event == "call":
            ours.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    text = "".join(made)
    sys.setprofile(None)
    assert len(text) == 38_890
    assert 0 < len(ours) < 100


def test_what_is_not_ours_is_not_cancelled():
    from unspool.templates.pieces import async_pieces

    class Order:
        cancelled = False

        def cancel(self):
            self.cancelled = True

    order = Order()
    async_pieces(jinja2.Environment(enable_async=True).from_string("x"), {"order": order})
    gc.collect()
    assert not order.cancelled


def test_a_hook_that_fails_is_logged_and_the_page_goes_on(caplog):
    def on_error(error):
        raise RuntimeError("no telephone")

    environment = jinja2.Environment(extensions=[Streaming])
    template = environment.from_string(
        "a{% defer b %}{{ 1 // 0 }}{% error e %}sorry{% enddefer %}c"
    )
    page = Page("whole", on_error)
    assert "".join(page.pieces(template.generate())) == "asorryc"
    assert "no telephone" in caplog.text

    environment = jinja2.Environment(extensions=[Streaming], enable_async=True)
    template = environment.from_string(
        "a{% defer b %}{{ 1 // 0 }}{% error e %}sorry{% enddefer %}c"
    )

    async def run():
        page = AsyncPage("whole", on_error)
        return "".join([piece async for piece in page.pieces(template.generate_async())])

    assert asyncio.run(run()) == "asorryc"
