import datetime
import decimal
import enum
import json
import uuid
from collections import namedtuple
from dataclasses import dataclass
from types import MappingProxyType

import pytest
from helpers import encode
from hypothesis import given
from hypothesis import strategies as st

from unspool import Json, Ndjson, RowError

Point = namedtuple("Point", "x y")


@dataclass
class Person:
    name: str
    at: Point


class Colour(enum.Enum):
    RED = "red"


class Record:
    def _asdict(self):
        return {"a": 1}


# Rows, columns, and each row's JSON value.
TABLE = [
    ([(1, "a")], None, ['[1,"a"]']),
    ([[1, "a"]], None, ['[1,"a"]']),
    ([(1, "a"), (2, "b")], ["n", "t"], ['{"n":1,"t":"a"}', '{"n":2,"t":"b"}']),
    ([{"a": 1}, {"b": [1, {"c": None}]}], None, ['{"a":1}', '{"b":[1,{"c":null}]}']),
    ([{"a": 1, "b": 2}], ["b"], ['{"b":2}']),
    ([MappingProxyType({"a": 1})], None, ['{"a":1}']),
    ([Point(1, 2)], None, ['{"x":1,"y":2}']),
    ([Person("Ann", Point(1, 2))], None, ['{"name":"Ann","at":[1,2]}']),
    ([Record()], None, ['{"a":1}']),
    ([(True, None, 1.5, 10**30)], None, ["[true,null,1.5,1000000000000000000000000000000]"]),
    (
        [(decimal.Decimal("1.10"), uuid.UUID(int=1))],
        None,
        ['["1.10","00000000-0000-0000-0000-000000000001"]'],
    ),
    (
        [(datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5), datetime.time(3, 4))],
        None,
        ['["2026-01-02","2026-01-02T03:04:05","03:04:00"]'],
    ),
    ([(datetime.timedelta(seconds=1.5), Colour.RED)], None, ['[1.5,"red"]']),
    ([('"\\\n\u2028é😀',)], None, ['["\\"\\\\\\n\u2028é😀"]']),
    ([], None, []),
]


@pytest.mark.parametrize(("rows", "columns", "values"), TABLE)
def test_rows_become_these_values_for_every_batch_size(rows, columns, values):
    ndjson = "".join(value + "\n" for value in values).encode()
    array = ("[" + ",".join("\n" + value for value in values) + "\n]\n").encode()
    for size in range(1, max(2, len(rows) + 1)):
        assert encode(rows, "ndjson", columns, size) == ndjson
        assert encode(rows, "json", columns, size) == array


def test_an_end_mark_says_how_many_rows_there_were():
    for size in (1, 2, 3):
        assert (
            encode([(1,), (2,), (3,)], Ndjson(end_mark=True), None, size)
            == b'[1]\n[2]\n[3]\n{"unspool":{"rows":3}}\n'
        )
    assert encode([], Ndjson(end_mark=True)) == b'{"unspool":{"rows":0}}\n'


def test_an_array_with_an_end_mark_stands_in_an_object():
    for size in (1, 2, 3):
        data = encode([(1,), {"a": "{}"}, (3,)], Json(end_mark=True), None, size)
        assert data == b'{"rows":[\n[1],\n{"a":"{}"},\n[3]\n],"unspool":{"rows":3}}\n'
    assert json.loads(data) == {"rows": [[1], {"a": "{}"}, [3]], "unspool": {"rows": 3}}
    assert encode([], Json(end_mark=True)) == b'{"rows":[\n],"unspool":{"rows":0}}\n'


BAD = [
    (
        [{"a": 1}, {"a": float("nan")}],
        None,
        "row 2, column 'a': JSON cannot carry nan (float)",
        "a",
    ),
    ([{"a": 1, "b": b"x"}], None, "row 1, column 'b': JSON cannot carry b'x' (bytes)", "b"),
    ([(decimal.Decimal("NaN"),)], None, "row 1, column 1: JSON cannot carry Decimal('NaN')", 1),
    ([(1, {2})], None, "row 1, column 2: JSON cannot carry {2} (set)", 2),
    ([{"a": "\ud800"}], None, "row 1, column 'a': JSON cannot carry '\\ud800' (str)", "a"),
    ([(1, 2), (3,)], ["a", "b"], "row 2: has 1 cells; the columns given are 2.", None),
    ([{"a": 1}], ["b"], "row 1, column 'b': has no such value", "b"),
    ([(1,), 7], None, "row 2: a row must be a tuple", None),
    (["text"], None, "row 1: a row must be a tuple", None),
]


@pytest.mark.parametrize(("rows", "columns", "message", "column"), BAD)
def test_bad_rows_are_named_by_row_and_column(rows, columns, message, column):
    with pytest.raises(RowError) as caught:
        encode(rows, "ndjson", columns)
    assert str(caught.value).startswith(message)
    assert caught.value.column == column


def test_a_value_that_contains_itself_is_an_error_not_a_crash():
    loop = []
    loop.append(loop)
    with pytest.raises(RowError, match="Circular"):
        encode([(1, loop)], "json")


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    ),
    max_leaves=8,
)


@given(
    st.lists(
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=4),
        max_size=8,
    ),
    st.integers(1, 8),
)
def test_three_readers_read_any_rows_back(rows, size):
    orjson = pytest.importorskip("orjson")
    duckdb = pytest.importorskip("duckdb")
    ndjson = encode(rows, "ndjson", None, size)
    array = encode(rows, "json", None, size)
    lines = ndjson.decode().split("\n")[:-1]
    assert [json.loads(line) for line in lines] == rows == json.loads(array)
    if all(_fits_orjson(row) for row in rows):
        assert [orjson.loads(line) for line in lines] == rows == orjson.loads(array)
    con = duckdb.connect()
    assert con.execute(
        "select json_valid(?), json_array_length(?::json)", [array.decode(), array.decode()]
    ).fetchone() == (True, len(rows))
    con.close()


def _fits_orjson(value):
    if isinstance(value, bool) or not isinstance(value, (int, list, dict)):
        return True
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return all(map(_fits_orjson, value.values() if isinstance(value, dict) else value))
