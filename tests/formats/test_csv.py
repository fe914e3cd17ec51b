import csv
import datetime
import decimal
import enum
import fractions
import io
import uuid
from collections import namedtuple
from dataclasses import dataclass
from types import MappingProxyType

import pytest
from helpers import encode
from hypothesis import given
from hypothesis import strategies as st

from unspool import Csv, EmptySource, RowError, UsageError

Point = namedtuple("Point", "x y")


@dataclass
class Person:
    name: str
    age: int


class Colour(enum.Enum):
    RED = "red"


class Guarded(enum.Enum):
    FORMULA = "=1+1"
    NOTHING = None


class Lists(enum.Enum):
    ONE = [1]


class Half(enum.Enum):
    ONE = 0.5


class Said:
    def __str__(self):
        return "=said"


class Record:
    def __init__(self, **values):
        self._values = values

    def _asdict(self):
        return self._values


# One table: rows, dialect, columns, bytes. Each is encoded whole and in every batch size.
TABLE = [
    ([("a", 1)], Csv(), None, b"a,1\r\n"),
    ([("a", 1)], Csv(), ["t", "n"], b"t,n\r\na,1\r\n"),
    ([["a", 1], ("b", 2)], Csv(), ["t", "n"], b"t,n\r\na,1\r\nb,2\r\n"),
    ([{"x": 1, "y": 2}, {"y": 4, "x": 3}], Csv(), None, b"x,y\r\n1,2\r\n3,4\r\n"),
    ([MappingProxyType({"x": 1})], Csv(), None, b"x\r\n1\r\n"),
    ([{"x": 1, "y": 2, "z": 3}], Csv(), ["z", "x"], b"z,x\r\n3,1\r\n"),
    ([Point(1, 2), Point(3, 4)], Csv(), None, b"x,y\r\n1,2\r\n3,4\r\n"),
    ([Person("Ann", 7), Person("Bob", 8)], Csv(), None, b"name,age\r\nAnn,7\r\nBob,8\r\n"),
    ([Person("Ann", 7)], Csv(), ["age"], b"age\r\n7\r\n"),
    ([Record(a=1, b=2), Record(b=4, a=3)], Csv(), None, b"a,b\r\n1,2\r\n3,4\r\n"),
    ([(1, 2), {"a": 3, "b": 4}, Person("x", 1)], Csv(), ["a", "b"], None),
    ([{"x": 1}], Csv(header=False), None, b"1\r\n"),
    ([], Csv(), ["a", "b"], b"a,b\r\n"),
    ([], Csv(header=False), None, b""),
    ([], Csv(bom=True), ["a"], b"\xef\xbb\xbfa\r\n"),
    ([('say "hi"', "a,b")], Csv(), None, b'"say ""hi""","a,b"\r\n'),
    ([("a\nb", "a\rb", "a\r\nb")], Csv(), None, b'"a\nb","a\rb","a\r\nb"\r\n'),
    ([("a\nb", "a\rb")], Csv(line_end="\n"), None, b'"a\nb","a\rb"\n'),
    ([("a\nb", "a\rb")], Csv(line_end="\r"), None, b'"a\nb","a\rb"\r'),
    ([("a;b", "a,b")], Csv(delimiter=";"), None, b'"a;b";a,b\r\n'),
    ([("a", 1, None)], Csv(quoting="all"), ["t", "n", "z"], b'"t","n","z"\r\n"a","1",""\r\n'),
    ([("a", 1, 2.5)], Csv(quoting="nonnumeric"), None, b'"a",1,2.5\r\n'),
    ([(None, "")], Csv(), None, b",\r\n"),
    ([(None, "")], Csv(null="NULL"), None, b"NULL,\r\n"),
    ([(None,)], Csv(), None, b'""\r\n'),
    ([(1.5, float("nan"), float("inf"), 1e300)], Csv(), None, b"1.5,nan,inf,1e+300\r\n"),
    (
        [(0.1 + 0.2, -0.0, 10**30)],
        Csv(),
        None,
        b"0.30000000000000004,-0.0,1000000000000000000000000000000\r\n",
    ),
    ([(decimal.Decimal("1.10"), True, False)], Csv(), None, b"1.10,True,False\r\n"),
    (
        [(datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5), datetime.time(3, 4))],
        Csv(),
        None,
        b"2026-01-02,2026-01-02 03:04:05,03:04:00\r\n",
    ),
    (
        [(Colour.RED, uuid.UUID(int=1))],
        Csv(),
        None,
        b"red,00000000-0000-0000-0000-000000000001\r\n",
    ),
    ([("née", "日本", "😀")], Csv(), None, "née,日本,😀\r\n".encode()),
    ([("x",), ("y",)], Csv(end_mark=True), ["a"], b"a\r\nx\r\ny\r\n# 2 rows\r\n"),
    ([], Csv(end_mark=True, line_end="\n"), ["a"], b"a\n# 0 rows\n"),
    ([("x",)], Csv(bom=True), ["a"], b"\xef\xbb\xbfa\r\nx\r\n"),
    ([("a\x00b",)], Csv(), None, b"a\x00b\r\n"),
    (
        [("=1+1", "+x", "-x", "@x", "\tx", "safe=", "=")],
        Csv(formula_guard=True),
        None,
        b"'=1+1,'+x,'-x,'@x,'\tx,safe=,'=\r\n",
    ),
    (
        [(-1, "-1", "+1.5", "-1e5", "-1,5", "-.5", "+", -2.5)],
        Csv(formula_guard=True),
        None,
        b'-1,-1,+1.5,-1e5,"-1,5",-.5,\'+,-2.5\r\n',
    ),
    ([(Guarded.FORMULA, Guarded.NOTHING)], Csv(null="NULL"), None, b"=1+1,NULL\r\n"),
    ([(Guarded.FORMULA, Said())], Csv(formula_guard=True), None, b"'=1+1,'=said\r\n"),
    ([{"=x": 1}], Csv(formula_guard=True), None, b"'=x\r\n1\r\n"),
    (
        [(1.5, decimal.Decimal("-2.50"), 3, "4.5", 1e300), (1e-7, None, True, "", float("nan"))],
        Csv(delimiter=";", decimal=","),
        None,
        b"1,5;-2,50;3;4.5;1e+300\r\n1e-07;;True;;nan\r\n",
    ),
    ([(1.5, 2)], Csv(decimal=","), None, b'"1,5",2\r\n'),
    ([(Half.ONE,)], Csv(delimiter=";", decimal=","), None, b"0,5\r\n"),
    (
        [(-1.5, "=1+1", "-2,5", "é")],
        Csv.for_excel(decimal=","),
        ["a", "b", "=c", "d"],
        "\ufeffa;b;'=c;d\r\n-1,5;'=1+1;-2,5;é\r\n".encode(),
    ),
    ([(-1.5, "=1+1")], Csv.for_excel(), None, b"\xef\xbb\xbf-1.5,'=1+1\r\n"),
]


@pytest.mark.parametrize(("rows", "dialect", "columns", "expected"), TABLE)
def test_rows_become_these_bytes_for_every_batch_size(rows, dialect, columns, expected):
    if expected is None:
        with pytest.raises(RowError, match="row 3, column 'a': has no such value"):
            encode(rows, dialect, columns)
        return
    for size in range(1, max(2, len(rows) + 1)):
        assert encode(rows, dialect, columns, size) == expected


BAD = [
    ([(1, 2), (3,)], None, "row 2: has 1 cells; the first row has 2.", None),
    ([(1, 2), (3, 4, 5)], ["a", "b"], "row 2: has 3 cells; the columns given are 2.", None),
    ([{"a": 1}, {"b": 2}], None, "row 2, column 'a': has no such value", "a"),
    ([{"a": 1}, {"a": 1, "b": 2}], None, "row 2: has 2 cells; the first row has 1.", None),
    ([(1, b"x")], ["n", "raw"], "row 1, column 'raw': CSV cannot carry a bytes: b'x'.", "raw"),
    ([(1, "a"), (2, [3])], None, "row 2, column 2: CSV cannot carry a list: [3].", 2),
    ([(1, Lists.ONE)], None, "row 1, column 2: CSV cannot carry a Lists", 2),
    ([(1, range(3))], None, "row 1, column 2: CSV cannot carry a range", 2),
    ([(1, (n for n in [1]))], None, "row 1, column 2: CSV cannot carry a generator", 2),
    ([(1, object())], None, "row 1, column 2: CSV cannot carry a object", 2),
    ([("ok",), ("\ud800",)], ["t"], "row 2, column 't': '\\ud800' has a lone surrogate", "t"),
    (["text"], None, "row 1: a row must be a tuple", None),
    ([(1,), 5], None, "row 2: a row must be a tuple", None),
]


@pytest.mark.parametrize(("rows", "columns", "message", "column"), BAD)
def test_bad_rows_are_named_by_row_and_column(rows, columns, message, column):
    with pytest.raises(RowError) as caught:
        encode(rows, "csv", columns)
    assert str(caught.value).startswith(message)
    assert caught.value.column == column


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(RowError) as caught:
        encode([(b"x" * 1000,)])
    assert len(str(caught.value)) < 250


def test_no_rows_and_no_columns_is_an_error_that_says_what_to_do():
    with pytest.raises(EmptySource, match=r"columns=\[...\]"):
        encode([])


@pytest.mark.parametrize(
    "dialect",
    [
        {"delimiter": ""},
        {"delimiter": "ab"},
        {"delimiter": '"'},
        {"delimiter": "\n"},
        {"line_end": "x"},
        {"quoting": "none"},
        {"decimal": ";"},
        {"decimal": ""},
    ],
)
def test_a_dialect_that_cannot_be_read_back_is_refused(dialect):
    with pytest.raises(UsageError, match=next(iter(dialect))):
        Csv(**dialect)


@pytest.mark.parametrize("columns", [[], "abc", ["a", "a"], ["a", 1]])
def test_columns_that_are_no_names_are_refused(columns):
    with pytest.raises(UsageError, match="column"):
        Csv().encoder(columns)


def test_sqlite_rows_have_names():
    import sqlite3

    con = sqlite3.connect(":memory:")
    con.row_factory = sqlite3.Row
    rows = con.execute("select 1 as a, 'x' as b union all select 2, 'y'").fetchall()
    con.close()
    assert encode(rows) == b"a,b\r\n1,x\r\n2,y\r\n"
    assert encode(rows, "csv", ["b"]) == b"b\r\nx\r\ny\r\n"


def test_numbers_of_numpy_have_the_decimal_comma_too():
    numpy = pytest.importorskip("numpy")
    values = (numpy.float64(1.5), numpy.float32(0.1), numpy.int64(7), fractions.Fraction(1, 2))
    assert encode([values], Csv(delimiter=";", decimal=",")) == b"1,5;0,1;7;1/2\r\n"


cells = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.decimals(),
    st.dates(),
    st.datetimes(),
)
tables = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.tuples(*[cells] * width), min_size=1, max_size=12)
)


@given(tables, st.integers(1, 12))
def test_any_table_has_the_bytes_of_csv_writer_in_any_batch_size(rows, size):
    expected = io.StringIO()
    csv.writer(expected).writerows(rows)
    assert encode(rows, "csv", None, size) == expected.getvalue().encode()


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
text_tables = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.tuples(*[texts] * width), min_size=1, max_size=12)
)


@given(
    text_tables,
    st.sampled_from(",;|\t"),
    st.sampled_from(["\r\n", "\n", "\r"]),
    st.sampled_from(["minimal", "all", "nonnumeric"]),
)
def test_python_reads_any_text_back_in_any_dialect(rows, delimiter, line_end, quoting):
    data = encode(rows, Csv(delimiter=delimiter, line_end=line_end, quoting=quoting))
    assert list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter)) == [
        list(row) for row in rows
    ]
