import datetime
import decimal
import enum
import uuid

import pytest
from helpers import encode
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from markupsafe import escape as markupsafe_escape

from unspool import EmptySource, RowError, UsageError
from unspool.formats.html import Html, escape, html_rows

BEFORE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Table</title>
<style>
:root{color-scheme:light dark;font-family:system-ui,sans-serif}
table{border-collapse:collapse}
caption{font-weight:bold;text-align:start}
th,td{border:1px solid #8888;padding:.2em .6em;text-align:start;vertical-align:top}
td{white-space:pre-wrap}
th{position:sticky;top:0;background:Canvas}
</style>
<table>
<tbody>
"""
AFTER = "</tbody>\n</table>\n</html>\n"


class Colour(enum.Enum):
    RED = "<red>"


class Lists(enum.Enum):
    ONE = [1]


class Said:
    def __str__(self):
        return "a & b"


# Rows and the `<tr>` elements they become.
ROWS = [
    ([("a", 1)], "<tr><td>a</td><td>1</td></tr>\n"),
    ([("a",), ("b",)], "<tr><td>a</td></tr>\n<tr><td>b</td></tr>\n"),
    ([(None, "")], "<tr><td></td><td></td></tr>\n"),
    ([()], "<tr></tr>\n"),
    ([(), ()], "<tr></tr>\n<tr></tr>\n"),
    ([("&<>'\"",)], "<tr><td>&amp;&lt;&gt;&#39;&#34;</td></tr>\n"),
    ([("&amp;",)], "<tr><td>&amp;amp;</td></tr>\n"),
    ([(True, False)], "<tr><td>True</td><td>False</td></tr>\n"),
    ([(1.5, float("nan"), 1e300)], "<tr><td>1.5</td><td>nan</td><td>1e+300</td></tr>\n"),
    ([(10**30, -0.0)], f"<tr><td>{10**30}</td><td>-0.0</td></tr>\n"),
    ([(decimal.Decimal("1.10"),)], "<tr><td>1.10</td></tr>\n"),
    (
        [(datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5, 6))],
        "<tr><td>2026-01-02</td><td>2026-01-02 03:04:05.000006</td></tr>\n",
    ),
    (
        [(datetime.time(3, 4), datetime.timedelta(1, 2))],
        "<tr><td>03:04:00</td><td>1 day, 0:00:02</td></tr>\n",
    ),
    ([("née 日本 😀 \n\x7f\x01",)], "<tr><td>née 日本 😀 \n\x7f\x01</td></tr>\n"),
    ([(Markup("<b>&</b>"), "<")], "<tr><td><b>&</b></td><td>&lt;</td></tr>\n"),
    ([(None, Markup("<i>"), 5)], "<tr><td></td><td><i></td><td>5</td></tr>\n"),
]
CONVERTED = [
    (
        [(Colour.RED, uuid.UUID(int=1))],
        f"<tr><td>&lt;red&gt;</td><td>{uuid.UUID(int=1)}</td></tr>\n",
    ),
    ([(Said(), Markup("<b>"))], "<tr><td>a &amp; b</td><td><b></td></tr>\n"),
]


def without_style_of_numbers(page):
    return "".join(line for line in page.splitlines(True) if "nth-child" not in line)


@pytest.mark.parametrize(("rows", "expected"), ROWS)
def test_the_row_loop_gives_these_elements(rows, expected):
    assert html_rows(rows) == expected


@pytest.mark.parametrize(("rows", "expected"), ROWS + CONVERTED)
def test_rows_become_these_bytes_for_every_batch_size(rows, expected):
    for size in range(1, len(rows) + 1):
        page = encode(rows, "html", None, size).decode()
        assert without_style_of_numbers(page) == BEFORE + expected + AFTER


@pytest.mark.parametrize("value", [uuid.UUID(int=1), Colour.RED, True.__class__, b"x", [1]])
def test_the_row_loop_refuses_types_that_are_not_plain(value):
    with pytest.raises(TypeError):
        html_rows([(1, value)])


def test_a_whole_page_has_title_caption_language_and_header_cells():
    page = encode([{"n <": 1, "t": "x"}], Html(title="A & B", lang="de")).decode()
    assert page == (
        BEFORE.replace('lang="en"', 'lang="de"')
        .replace("<title>Table", "<title>A &amp; B")
        .replace(
            "</style>",
            "td:nth-child(1){text-align:end;font-variant-numeric:tabular-nums}\n</style>",
        )
        .replace(
            "<tbody>",
            "<caption>A &amp; B</caption>\n<thead>\n"
            '<tr><th scope="col">n &lt;</th><th scope="col">t</th></tr>\n</thead>\n<tbody>',
        )
        + "<tr><td>1</td><td>x</td></tr>\n"
        + AFTER
    )


def test_numbers_of_the_first_row_and_nothing_else_stand_to_the_right():
    page = encode([(True, 1, "2", 2.5, None, decimal.Decimal(3))], "html").decode()
    assert "\ntd:nth-child(2),td:nth-child(4),td:nth-child(6){text-align:end;" in page


def test_no_rows_show_the_header_alone():
    page = encode([], "html", ["a"]).decode()
    assert page.endswith('<tr><th scope="col">a</th></tr>\n</thead>\n<tbody>\n' + AFTER)


def test_no_rows_and_no_columns_is_an_error_that_says_what_to_do():
    with pytest.raises(EmptySource, match=r"columns=\[...\]"):
        encode([], "html")


BAD = [
    ([(1, b"x")], ["n", "raw"], "row 1, column 'raw': HTML cannot carry b'x': it is a bytes."),
    ([(1, "a"), (2, [3])], None, "row 2, column 2: HTML cannot carry [3]: it is a list."),
    ([(1, Lists.ONE)], None, "row 1, column 2: HTML cannot carry <Lists.ONE"),
    ([(1, object())], None, "row 1, column 2: HTML cannot carry <object"),
    (
        [("ok",), ("\ud800",)],
        ["t"],
        "row 2, column 't': HTML cannot carry '\\ud800': it has a lone",
    ),
    ([("ok", 1), ("a\0b", 2)], None, "row 2, column 1: HTML cannot carry 'a\\x00b': it has the"),
    ([(Markup("a\0b"), 2)], None, "row 1, column 1: HTML cannot carry Markup('a\\x00b'): it has"),
    ([(uuid.UUID(int=1), 2), ("\0", [1])], None, "row 2, column 2: HTML cannot carry [1]"),
    ([(uuid.UUID(int=1), "\0"), ("\0", 1)], None, "row 1, column 2: HTML cannot carry '\\x00'"),
    ([(1, "\0"), (2, [3])], None, "row 1, column 2: HTML cannot carry '\\x00'"),
    ([(uuid.UUID(int=1), "\0"), (object(), 1)], None, "row 1, column 2: HTML cannot carry"),
    ([{"\ud800": 1}], None, "row 1, column '\\ud800': HTML cannot carry '\\ud800'"),
    ([(1, 2), (3,)], None, "row 2: has 1 cells; the first row has 2."),
]


@pytest.mark.parametrize(("rows", "columns", "message"), BAD)
def test_bad_rows_are_named_by_row_and_column(rows, columns, message):
    with pytest.raises(RowError) as caught:
        encode(rows, "html", columns)
    assert str(caught.value).startswith(message)


def test_after_a_bad_row_the_rows_before_it_can_be_fed_again():
    encoder = Html().encoder(["t"])
    with pytest.raises(RowError):
        encoder.feed([("a",), ("\0",)])
    assert encoder.feed([("a",)]).endswith(b"<tbody>\n<tr><td>a</td></tr>\n")


@pytest.mark.parametrize("option", [{"title": None}, {"lang": 5}])
def test_a_title_or_language_that_is_no_text_is_refused(option):
    with pytest.raises(UsageError, match=next(iter(option))):
        Html(**option)


texts = st.text(st.sampled_from("&<>'\"; ") | st.characters(exclude_categories=["Cs"]))


@given(texts)
def test_text_is_escaped_as_markupsafe_does(text):
    assert escape(text) == str(markupsafe_escape(text))
