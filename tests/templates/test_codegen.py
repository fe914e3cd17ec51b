"""Constructs that stream, and render the same as Jinja's own."""

import asyncio

import jinja2
import pytest

from unspool.templates.codegen import StreamingCodeGenerator, StreamingTemplate

TEMPLATES = {
    "base": "<b>{% block body %}BASE{% for i in rows() %}{{ i }}{% endfor %}{% endblock %}</b>",
    "super": "{% extends 'base' %}{% block body %}[{{ super() }}]{% endblock %}",
    "super twice": "{% extends 'super' %}{% block body %}<{{ super() }}|{{ super.super() }}>{% endblock %}",
    "self": "{% block a %}{% for i in rows() %}{{ i }}{% endfor %}{% endblock %}-{{ self.a() }}",
    "macro": "{% macro m(x, y='&') %}<i>{{ y }}{% for i in rows() %}{{ i }}-{% endfor %}{{ x }}</i>"
    "{% endmacro %}A{{ m('<') }}B{{ m('q', y=3) }}",
    "macro's text": "{% macro m() %}{% for i in rows() %}{{ i }}x{% endfor %}{% endmacro %}"
    "{{ m()|upper }}{% set t = m() %}{{ t }}{{ m() ~ '<' }}",
    "macro's arguments": "{% macro m(a, b=2) %}{% for i in rows() %}{% endfor %}{{ a }}{{ b }}"
    "{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, 2, 3) }}{{ m(a=1, c=4) }}",
    "small macro": "{% macro m(x) %}<i>{{ x }}</i>{% endmacro %}{{ m('<') }}{{ m(1)|length }}",
    "macro in macro": "{% macro a() %}{% for i in rows() %}({{ i }}){% endfor %}{% endmacro %}"
    "{% macro b() %}{{ a() }}!{% endmacro %}{{ b() }}",
    "call": "{% macro m() %}<{% for i in rows() %}{{ caller(i) }};{% endfor %}>{% endmacro %}"
    "A{% call(i) m() %}{{ i }}&{% endcall %}B",
    "call of a plain function": "{% call plain() %}x<{% endcall %}",
    "caller's text": "{% macro m() %}{{ caller()|upper }}{% endmacro %}"
    "{% call m() %}a{% for i in rows() %}b{% endfor %}{% endcall %}",
    "imports": "{% import 'lib' as lib %}{% from 'lib' import m as n %}{{ lib.m(rows()) }}{{ n(rows()) }}",
    "lib": "{% macro m(r) %}{% for i in r %}({{ i }}){% endfor %}{% endmacro %}",
    "include": "{% include 'lib2' %}",
    "lib2": "{% from 'lib' import m %}{{ m(rows()) }}",
    "recursive": "{% for x in tree recursive %}{{ x.n }}{% if x.c %}<{{ loop(x.c) }}>{% endif %},"
    "{{ loop.depth }}{% else %}none{% endfor %}",
    "recursive text": "{% for x in tree recursive %}{{ x.n }}"
    "{% if x.c %}<{{ loop(x.c)|upper }}>{% endif %}{% endfor %}",
    "recursive in a macro": "{% macro m() %}{% for x in tree recursive %}{{ x.n }}"
    "{% if x.c %}<{{ loop(x.c) }}>{% endif %}{% endfor %}{% endmacro %}{{ m() }}",
    "recursive in a set": "{% set t %}{% for x in tree recursive %}{{ x.n }}"
    "{% if x.c %}<{{ loop(x.c) }}>{% endif %}{% endfor %}{% endset %}{{ t }}",
    "no autoescape": "{% autoescape false %}{% macro m(x) %}{% for i in rows() %}{{ x }}{% endfor %}"
    "{% endmacro %}{{ m('<') }}{{ tree }}{% endautoescape %}",
    "extends and a call outside": "{% extends 'base' %}{% macro m() %}{% for i in rows() %}x"
    "{% endfor %}{% endmacro %}{{ m() }}",
    "maybe extends": "{% if false %}{% extends 'base' %}{% endif %}{% macro m() %}{% for i in rows() %}x"
    "{% endfor %}{% endmacro %}{{ m() }}",
}
TREE = [{"n": "a&", "c": [{"n": "b"}, {"n": "c", "c": [{"n": "d"}]}]}, {"n": "e"}]
NOT_ALONE = {"lib", "lib2"}


def new_environment(*, is_async=False, streams=True, **options):
    environment = jinja2.Environment(
        enable_async=is_async,
        autoescape=options.pop("autoescape", True),
        loader=jinja2.DictLoader(TEMPLATES),
        **options,
    )
    if streams:
        environment.code_generator_class = StreamingCodeGenerator
        environment.template_class = StreamingTemplate
    return environment


def variables(log=None):
    def rows():
        for n in range(3):
            if log is not None:
                log.append(f"pulled {n}")
            yield n

    def plain(caller):
        return caller()

    return {"rows": rows, "plain": plain, "tree": TREE}


@pytest.mark.parametrize("autoescape", [True, False])
@pytest.mark.parametrize("name", sorted(TEMPLATES.keys() - NOT_ALONE))
def test_what_is_rendered_is_the_same(name, autoescape):
    theirs = new_environment(streams=False, autoescape=autoescape).get_template(name)
    ours = new_environment(autoescape=autoescape).get_template(name)
    expected = theirs.render(variables())
    assert ours.render(variables()) == expected
    assert "".join(ours.generate(variables())) == expected


@pytest.mark.parametrize("name", sorted(TEMPLATES.keys() - NOT_ALONE))
def test_what_is_rendered_is_the_same_in_an_async_environment(name):
    values = variables()
    if name == "call of a plain function":

        async def plain(caller):
            return await caller()

        values["plain"] = plain

    async def run():
        theirs = new_environment(is_async=True, streams=False).get_template(name)
        ours = new_environment(is_async=True).get_template(name)
        expected = await theirs.render_async(values)
        assert await ours.render_async(values) == expected
        assert "".join([piece async for piece in ours.generate_async(values)]) == expected
        return ours, expected

    ours, expected = asyncio.run(run())
    assert "".join(ours.generate(values)) == expected


STREAM = [
    "super",
    "super twice",
    "self",
    "macro",
    "macro in macro",
    "call",
    "imports",
    "include",
]


def first_row_out(log):
    """How many rows had been pulled when a piece came that followed the first row."""
    after = log.index("pulled 0")
    return sum(event.startswith("pulled") for event in log[: log.index("piece", after) + 1])


@pytest.mark.parametrize("name", STREAM)
def test_a_row_is_out_before_the_next_is_pulled(name):
    log = []
    for piece in new_environment().get_template(name).generate(variables(log)):
        if piece:
            log.append("piece")
    assert first_row_out(log) == 1


@pytest.mark.parametrize("name", STREAM)
def test_a_row_is_out_before_the_next_is_pulled_in_an_async_environment(name):
    log = []

    async def run():
        pieces = new_environment(is_async=True).get_template(name).generate_async(variables(log))
        async for piece in pieces:
            if piece:
                log.append("piece")

    asyncio.run(run())
    assert first_row_out(log) == 1


@pytest.mark.parametrize("name", STREAM)
def test_jinjas_own_collect_these(name):
    if name == "self":
        return  # Its first pass is an ordinary loop.
    log = []
    for piece in new_environment(streams=False).get_template(name).generate(variables(log)):
        if piece:
            log.append("piece")
    assert first_row_out(log) == 3


def test_recursive_loops_stream():
    log = []

    def children():
        for name in "ab":
            log.append(f"pulled {name}")
            yield {"n": name, "c": []}

    text = "{% for x in c recursive %}{{ x.n }}{{ loop(x.c) }};{% endfor %}"
    for piece in new_environment().from_string(text).generate(c=children()):
        if piece:
            log.append(str(piece))
    assert log == ["pulled a", "a", ";", "pulled b", "b", ";"]


def test_a_sync_caller_of_an_async_template_gets_each_piece_as_it_comes():
    gates = [asyncio.Event() for _ in range(3)]

    async def rows():
        for gate in gates:
            await gate.wait()
            yield "row"

    template = new_environment(is_async=True).from_string(
        "A{% for r in rows() %}{{ r }}{% endfor %}B"
    )
    pieces = template.generate(rows=rows)
    assert next(pieces) == "A"
    for gate in gates:
        gate.set()
        assert next(pieces) == "row"
    assert list(pieces) == ["B"]


def test_a_sync_caller_of_an_async_template_gets_its_failure_after_what_came_before():
    async def rows():
        yield 1
        raise LookupError("no more")

    template = new_environment(is_async=True).from_string(
        "A{% for r in rows() %}{{ r }}{% endfor %}"
    )
    got = []
    with pytest.raises(LookupError, match="no more"):
        got.extend(template.generate(rows=rows))
    assert got == ["A", "1"]


def test_closing_early_closes_what_the_template_iterates():
    closed = []

    async def rows():
        try:
            while True:
                await asyncio.sleep(0)
                yield 1
        finally:
            closed.append(True)

    template = new_environment(is_async=True).from_string(
        "{% for r in rows() %}{{ r }}{% endfor %}"
    )
    pieces = template.generate(rows=rows)
    next(pieces)
    pieces.close()
    assert closed == [True]


def test_a_finalizer_and_a_sandbox_see_every_output_and_call():
    text = "{% macro m() %}{% for i in rows() %}{{ i }}{% endfor %}{% endmacro %}{{ m() }}"
    seen = []

    def finalize(value):
        seen.append(value)
        return value

    environment = new_environment(finalize=finalize)
    assert environment.from_string(text).render(variables()) == "012"
    assert seen[-1] == "012"
