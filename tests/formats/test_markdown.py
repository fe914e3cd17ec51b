import datetime
import decimal
import enum
import uuid

import pytest
from helpers import encode

from unspool import EmptySource, RowError
from unspool.formats.markdown import markdown_rows


class Colour(enum.Enum):
    RED = "r|d"


# Cells and the text between the bars.
CELLS = [
    (None, ""),
    ("", ""),
    ("a", "a"),
    ("a|b", "a\\|b"),
    ("a\\b", "a\\\\b"),
    ("a\\|b", "a\\\\\\|b"),
    ("a\nb\rc\r\nd", "a<br>b<br>c<br>d"),
    ("*a* **b**", "\\*a\\* \\*\\*b\\*\\*"),
    ("_a_ snake_case __x__", "\\_a\\_ snake_case \\_\\_x\\_\\_"),
    ("`code`", "\\`code\\`"),
    ("[a](b) ![c](d)", "\\[a](b) !\\[c](d)"),
    ("<b>&amp;&#65; a&b", "\\<b>\\&amp;\\&#65; a&b"),
    ("~~a~~ /~home", "\\~\\~a\\~\\~ /~home"),
    ("# - + 1. > \"'", "# - + 1. > \"'"),
    (True, "True"),
    (1.5, "1.5"),
    (decimal.Decimal("1.10"), "1.10"),
    (datetime.date(2026, 1, 2), "2026-01-02"),
    (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02 03:04:05"),
    (Colour.RED, "r\\|d"),
    (uuid.UUID(int=1), str(uuid.UUID(int=1))),
]


@pytest.mark.parametrize(("value", "text"), CELLS)
def test_a_value_becomes_this_cell(value, text):
    for size in (1, 2):
        lines = encode([("x", value), (value, "x")], "markdown", ["a", "b"], size).decode()
        assert lines.splitlines()[2:] == [f"| x | {text} |", f"| {text} | x |"]


def test_numbers_of_the_first_row_and_nothing_else_stand_to_the_right():
    rows = [(True, 1, "2", 2.5, None, decimal.Decimal(3)), ("x",) * 6]
    assert encode(rows, "markdown", list("abc_e|")).decode() == (
        "| a | b | c | \\_ | e | \\| |\n"
        "| --- | ---: | --- | ---: | --- | ---: |\n"
        "| True | 1 | 2 | 2.5 |  | 3 |\n"
        "| x | x | x | x | x | x |\n"
    )


def test_without_names_the_header_is_empty():
    assert encode([("a", 1)], "markdown") == b"|  |  |\n| --- | ---: |\n| a | 1 |\n"


def test_no_rows_show_the_header_alone():
    assert encode([], "markdown", ["a", "b"]) == b"| a | b |\n| --- | --- |\n"


def test_no_rows_and_no_columns_is_an_error_that_says_what_to_do():
    with pytest.raises(EmptySource, match=r"columns=\[...\]"):
        encode([], "markdown")


@pytest.mark.parametrize("value", [b"x", [1], "\ud800", "a\0b"])
def test_bad_values_are_named_by_row_and_column(value):
    with pytest.raises(RowError, match="row 2, column 'b': Markdown cannot carry"):
        encode([(1, 2), (3, value)], "markdown", ["a", "b"])


def test_the_row_loop_refuses_types_that_are_not_plain():
    with pytest.raises(TypeError):
        markdown_rows([(1, uuid.UUID(int=1))])
