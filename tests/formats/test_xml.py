import datetime
import decimal
import enum
import uuid
import xml.etree.ElementTree as ET

import pytest
from helpers import encode
from hypothesis import given
from hypothesis import strategies as st

from unspool import RowError
from unspool.formats.xml import xml_rows

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<rows xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
)


class Colour(enum.Enum):
    RED = "<red>"


# Values, and the element `a` that they become.
CELLS = [
    (None, '<a xsi:nil="true"/>'),
    ("", "<a></a>"),
    ("&<>'\"]]>", "<a>&amp;&lt;&gt;'\"]]&gt;</a>"),
    ("a\tb\nc\rd", "<a>a\tb\nc&#13;d</a>"),
    ("%s\x7f\x85", "<a>%s\x7f\x85</a>"),
    ("é 日本 😀", "<a>é 日本 😀</a>"),
    (True, "<a>true</a>"),
    (False, "<a>false</a>"),
    (10**30, f"<a>{10**30}</a>"),
    (1.5, "<a>1.5</a>"),
    (1e300, "<a>1e+300</a>"),
    (float("nan"), "<a>NaN</a>"),
    (float("inf"), "<a>INF</a>"),
    (-float("inf"), "<a>-INF</a>"),
    (decimal.Decimal("1.10"), "<a>1.10</a>"),
    (datetime.date(2026, 1, 2), "<a>2026-01-02</a>"),
    (datetime.datetime(2026, 1, 2, 3, 4, 5), "<a>2026-01-02T03:04:05</a>"),
    (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "<a>2026-01-02T00:00:00+00:00</a>"),
    (datetime.time(3, 4), "<a>03:04:00</a>"),
    (datetime.timedelta(0), "<a>PT0S</a>"),
    (datetime.timedelta(1, 2, 500_000), "<a>PT86402.5S</a>"),
    (datetime.timedelta(microseconds=-1), "<a>-PT0.000001S</a>"),
    (Colour.RED, "<a>&lt;red&gt;</a>"),
    (uuid.UUID(int=1), f"<a>{uuid.UUID(int=1)}</a>"),
]


@pytest.mark.parametrize(("value", "element"), CELLS)
def test_a_value_becomes_this_element(value, element):
    rows = [{"a": value, "b": 1}, {"a": value, "b": 2}]
    lines = "".join(f"<row>{element}<b>{number}</b></row>\n" for number in (1, 2))
    for size in (1, 2):
        assert encode(rows, "xml", None, size).decode() == HEAD + lines + "</rows>\n"


@pytest.mark.parametrize("columns", [None, ["a"]])
def test_no_rows_are_a_document_without_rows(columns):
    assert encode([], "xml", columns).decode() == HEAD + "</rows>\n"


NAMES = ["a", "_", "É", "a-b.c1", "日本", "a\u0300"]
NO_NAMES = [
    "",
    "1a",
    "-a",
    ".a",
    "a b",
    "a:b",
    "xs:a",
    "a<",
    "a\n",
    "a\u00d7",
    "\u0300a",
    "\U00010000",
    "\ud800",
]


@pytest.mark.parametrize("name", NAMES)
def test_xml_names_are_taken_and_parsed(name):
    data = encode([("v",)], "xml", [name])
    assert [(cell.tag, cell.text) for cell in ET.fromstring(data)[0]] == [(name, "v")]


@pytest.mark.parametrize("name", NO_NAMES)
def test_names_that_are_no_xml_names_are_named(name):
    for rows in [("v", 1)], []:
        with pytest.raises(RowError, match="is no name for an XML element") as caught:
            encode(rows, "xml", ["ok", name])
        assert caught.value.column == name
        assert caught.value.row == 1


def test_rows_without_names_are_refused_with_the_way_out():
    with pytest.raises(RowError, match=r"row 1: XML needs column names .*columns=\[...\]"):
        encode([("a", 1)], "xml")


BAD = [b"x", [1], "\ud800", "a\0b", "\x01", "\x0b", "\x1f", "\ufffe", "\uffff"]


@pytest.mark.parametrize("value", BAD)
def test_bad_values_are_named_by_row_and_column(value):
    with pytest.raises(RowError, match="row 2, column 'b': XML cannot carry"):
        encode([(1, 2), (3, value)], "xml", ["a", "b"])


def test_the_row_loop_refuses_types_that_are_not_plain():
    with pytest.raises(TypeError):
        xml_rows([(1, uuid.UUID(int=1))], ["a", "b"])


# All characters that XML 1.0 has.
texts = st.text(
    st.sampled_from("&<>\"' \n\t\r")
    | st.characters(exclude_categories=["Cs"], min_codepoint=32, exclude_characters="\ufffe\uffff")
)
tables = st.lists(st.tuples(*[texts | st.none()] * 3), min_size=1, max_size=8)


@given(tables, st.integers(1, 8))
def test_python_reads_any_text_back_from_any_batch_size(rows, size):
    document = ET.fromstring(encode(rows, "xml", ["a", "b", "c"], size))
    nil = "{http://www.w3.org/2001/XMLSchema-instance}nil"
    got = [
        tuple(None if nil in cell.attrib else cell.text or "" for cell in row) for row in document
    ]
    assert got == rows
