import asyncio
import time

import jinja2
import pytest

from unspool import NotIterable, RowError
from unspool.formats.html import html_rows
from unspool.templates import Streaming
from unspool.templates.table import table


def environment(**options):
    return jinja2.Environment(autoescape=True, extensions=[Streaming], **options)


ROWS = [(n, f"<{n}>", None, n / 4) for n in range(3000)]


def test_the_rows_are_those_of_the_html_format_in_pieces():
    pieces = list(environment().from_string("<tbody>{{ rows|table }}</tbody>").generate(rows=ROWS))
    assert "".join(pieces) == f"<tbody>{html_rows(ROWS)}</tbody>"
    sizes = [piece.count("<tr>") for piece in pieces]
    assert sizes[:4] == [0, 1, 2, 4]
    assert max(sizes) <= 1024


@pytest.mark.parametrize(
    "source",
    [
        "{{ rows|table }}",
        "{% macro m(r) %}{{ r|table }}{% endmacro %}{{ m(rows) }}",
        "{% if true %}{{ rows|table }}{% endif %}",
        "{% for r in [rows] %}{{ r|table }}{% endfor %}",
        "{% block b %}{{ rows|table }}{% endblock %}",
        "{% filter trim %}{{ rows|table }}{% endfilter %}\n",
        "{% set t = rows|table %}{{ t }}",
        "{% autoescape false %}{{ rows|table }}{% endautoescape %}",
    ],
)
def test_it_gives_the_same_wherever_it_stands(source):
    rows = [("a & b",), ("c",)]
    expected = "<tr><td>a &amp; b</td></tr>\n<tr><td>c</td></tr>\n"
    for made in (environment(), environment(keep_trailing_newline=True)):
        template = made.from_string(source)
        assert template.render(rows=rows).strip() == expected.strip()
        assert "".join(template.generate(rows=iter(rows))).strip() == expected.strip()
    template = environment(enable_async=True).from_string(source)
    assert asyncio.run(template.render_async(rows=rows)).strip() == expected.strip()


@pytest.mark.parametrize(
    "source", ["{{ rows|table }}", "{% macro m(r) %}{{ r|table }}{% endmacro %}{{ m(rows) }}"]
)
def test_a_row_is_out_before_the_next_is_pulled(source):
    log = []

    def rows():
        for n in range(2):
            log.append(f"pulled {n}")
            yield (n,)

    for piece in environment().from_string(source).generate(rows=rows()):
        if piece:
            log.append(piece)
    assert log == ["pulled 0", "<tr><td>0</td></tr>\n", "pulled 1", "<tr><td>1</td></tr>\n"]


def test_asynchronous_rows_come_as_they_are_made_and_are_closed():
    log = []

    async def rows():
        try:
            for n in range(2):
                await asyncio.sleep(0.1)
                log.append(f"pulled {n}")
                yield (n,)
        finally:
            log.append("closed")

    async def run():
        template = environment(enable_async=True).from_string("{{ rows|table }}")
        async for piece in template.generate_async(rows=rows()):
            if piece:
                log.append(piece)

    asyncio.run(run())
    assert log[:3] == ["pulled 0", "<tr><td>0</td></tr>\n", "pulled 1"]
    assert sorted(log[3:]) == ["<tr><td>1</td></tr>\n", "closed"]


def test_rows_with_names_are_chosen_by_columns():
    rows = [{"a": 1, "b": 2, "c": 3}]
    text = environment().from_string("{{ rows|table(['c', 'a']) }}").render(rows=rows)
    assert text == "<tr><td>3</td><td>1</td></tr>\n"


def test_no_rows_are_no_text():
    assert environment().from_string("[{{ rows|table }}]").render(rows=[]) == "[]"


def test_a_value_that_cannot_be_written_is_named_by_its_row():
    with pytest.raises(RowError, match="row 2500"):
        environment().from_string("{{ r|table }}").render(r=[*[(1,)] * 2499, (b"x",), (1,)])


def test_the_rows_are_closed_when_the_page_is_left():
    closed = []

    def rows():
        try:
            while True:
                yield (1,)
        finally:
            closed.append(True)

    pieces = environment().from_string("{{ rows|table }}").generate(rows=rows())
    next(pieces)
    pieces.close()
    assert closed == [True]


def test_what_is_no_rows_is_refused():
    with pytest.raises(NotIterable):
        environment().from_string("{{ r|table }}").render(r="text")

    async def rows():
        yield (1,)

    with pytest.raises(NotIterable):
        str(table(rows()))


def test_a_filter_of_the_apps_own_of_that_name_still_works():
    made = environment()
    made.filters["table"] = lambda value: f"<{value}>"
    assert made.from_string("{{ 1|table }}").render() == "&lt;1&gt;"


def test_it_is_several_times_as_fast_as_loops():
    made = environment()
    loops = made.from_string(
        "{% for r in rows %}<tr>{% for c in r %}<td>{{ c }}</td>{% endfor %}</tr>\n{% endfor %}"
    )
    ours = made.from_string("{{ rows|table }}")

    def took(template):
        began = time.process_time()
        template.render(rows=ROWS)
        return time.process_time() - began

    assert min(took(ours) for _ in range(3)) * 2 < min(took(loops) for _ in range(3))
