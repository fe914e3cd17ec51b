import datetime
import decimal
import enum
import uuid

import pytest
from helpers import encode
from hypothesis import given
from hypothesis import strategies as st

from unspool import EmptySource, RowError
from unspool.formats.tsv import tsv_rows


class Colour(enum.Enum):
    RED = "r\td"


TABLE = [
    ([("a", 1)], None, "a\t1\n"),
    ([("a", 1)], ["t", "n"], "t\tn\na\t1\n"),
    ([{"a\tb": 1}], None, "a\\tb\n1\n"),
    ([(None, "")], None, "\\N\t\n"),
    ([("\\N", "N")], None, "\\\\N\tN\n"),
    ([("a\tb\nc\rd\\e\r\n",)], None, "a\\tb\\nc\\rd\\\\e\\r\\n\n"),
    ([('"', "'", "a,b", "\x00\x1f\u2028")], None, "\"\t'\ta,b\t\x00\x1f\u2028\n"),
    ([(True, 1.5, float("nan"), 10**30)], None, f"True\t1.5\tnan\t{10**30}\n"),
    ([(decimal.Decimal("1.10"), datetime.date(2026, 1, 2))], None, "1.10\t2026-01-02\n"),
    (
        [(datetime.datetime(2026, 1, 2, 3, 4, 5), datetime.time(3))],
        None,
        "2026-01-02 03:04:05\t03:00:00\n",
    ),
    ([(Colour.RED, uuid.UUID(int=1))], None, f"r\\td\t{uuid.UUID(int=1)}\n"),
    ([("é", "日本"), ("😀", "")], None, "é\t日本\n😀\t\n"),
    ([(), ()], None, "\n\n"),
    ([], ["a", "b"], "a\tb\n"),
]


@pytest.mark.parametrize(("rows", "columns", "expected"), TABLE)
def test_rows_become_these_bytes_for_every_batch_size(rows, columns, expected):
    for size in range(1, max(2, len(rows) + 1)):
        assert encode(rows, "tsv", columns, size).decode() == expected


def test_no_rows_and_no_columns_is_an_error_that_says_what_to_do():
    with pytest.raises(EmptySource, match=r"columns=\[...\]"):
        encode([], "tsv")


@pytest.mark.parametrize("value", [b"x", [1], "\ud800"])
def test_bad_values_are_named_by_row_and_column(value):
    with pytest.raises(RowError, match="row 2, column 'b': TSV cannot carry"):
        encode([(1, 2), (3, value)], "tsv", ["a", "b"])


def test_the_row_loop_refuses_types_that_are_not_plain():
    with pytest.raises(TypeError):
        tsv_rows([(1, uuid.UUID(int=1))])


UNESCAPED = {"\\N": None, "\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}


def unescaped(cell):
    if cell == "\\N":
        return None
    text, parts = "", iter(cell)
    for character in parts:
        text += UNESCAPED[character + next(parts)] if character == "\\" else character
    return text


texts = st.one_of(
    st.none(), st.text(st.sampled_from("\\\t\n\rNtnr") | st.characters(exclude_categories=["Cs"]))
)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(*[texts] * width), min_size=1, max_size=8)
)


@given(tables, st.integers(1, 8))
def test_any_text_comes_back_when_the_escapes_are_undone(rows, size):
    lines = encode(rows, "tsv", None, size).decode().split("\n")
    assert lines.pop() == ""
    assert [tuple(map(unescaped, line.split("\t"))) for line in lines] == rows
