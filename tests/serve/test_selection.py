"""Filters, sorts, columns, windows: the same in every database, and as in plain Python."""

import json
from urllib.parse import quote, urlencode

import pytest
from serve import zoo

VALUES = {
    "id": ["5", "100", "-5000000000000000", "9223372036854775807", "0"],
    "name": ["", "a", "Ann", "zoë", "it's", "100%", "a_b", "x", "x ", "back\\slash", "🦓", "B"],
    "price": ["0.25", "-125", "12.5", "1e2"],
    "ratio": ["0.1", "0.3333333333333333", "-2.5", "1e300"],
    "small": ["0.5", "-8", "0.1"],
    "day": ["2013-01-02", "2013-12-31", "2012-12-01"],
    "at": ["2013-01-02T12:00:00", "2013-01-05 23:59:59", "2013-01-03"],
    "flag": ["true", "0"],
}
LISTS = {
    "id": ["1,2,3", "7"],
    "name": ["Ann,ann", "Zoë,🦓,"],
    "price": ["0.25,12.5,-125"],
    "ratio": ["0.1,-2.5"],
    "small": ["0.5,0.25"],
    "day": ["2013-01-02,2013-01-03"],
    "at": ["2013-01-02T12:00:00"],
    "flag": ["true,false"],
}
CASES = [
    *((column, operator, value) for column, values in VALUES.items() for value in values
      for operator in ("eq", "ne", "gt", "ge", "lt", "le")),
    *(("name", operator, value) for value in VALUES["name"] for operator in ("contains", "startswith")),
    *((column, "in", value) for column, values in LISTS.items() for value in values),
    *((column, "isnull", value) for column in zoo.NAMES for value in "01"),
]  # fmt: skip


def ids(client, source, query, table="zoo"):
    answer = client.get(f"/{source}/{table}.ndjson?_column=id&{query}")
    assert answer.status_code == 200, answer.text
    return [json.loads(line)["id"] for line in answer.text.splitlines()]


@pytest.mark.parametrize("source", zoo.ENGINES)
def test_a_filter_lets_the_rows_through_that_plain_python_would(client, source):
    wrong = []
    for column, operator, value in CASES:
        query = urlencode({f"{column}__{operator}": value})
        found, expected = set(ids(client, source, query)), zoo.met(column, operator, value)
        if found != expected:
            wrong.append((column, operator, value, sorted(found ^ expected)))
    assert wrong == []


@pytest.mark.parametrize("source", zoo.ENGINES)
def test_a_count_is_the_number_of_those_rows(client, source):
    for column, operator, value in CASES[::5]:
        query = urlencode({f"{column}__{operator}": value})
        answer = client.get(f"/-/count/{source}/zoo.json?{query}")
        assert answer.json == {"rows": len(zoo.met(column, operator, value)), "exact": True}


@pytest.mark.parametrize("source", zoo.ENGINES)
def test_filters_must_all_be_met(client, source):
    query = urlencode({"name__contains": "n", "id__gt": "50", "day__ge": "2013-01-01"})
    expected = zoo.met("name", "contains", "n") & zoo.met("id", "gt", "50")
    assert set(ids(client, source, query)) == expected & zoo.met("day", "ge", "2013-01-01")


@pytest.mark.parametrize("source", zoo.ENGINES)
@pytest.mark.parametrize("column", zoo.NAMES)
@pytest.mark.parametrize("direction", ["", ":asc", ":desc"])
def test_rows_come_in_order_with_null_last(client, source, column, direction):
    at = zoo.NAMES.index(column)
    down = direction == ":desc"
    known = sorted(
        (row for row in zoo.ROWS if row[at] is not None),
        key=lambda row: row[at].encode() if column == "name" else row[at],
        reverse=down,
    )
    unknown = sorted((row for row in zoo.ROWS if row[at] is None), key=lambda row: row[0])
    expected = [row[0] for row in [*known, *unknown]]
    tied = ids(client, source, urlencode([("_sort", column + direction), ("_sort", "id")]))
    by_id = {row[0]: row[at] for row in zoo.ROWS}
    assert [by_id[each] for each in tied] == [by_id[each] for each in expected]
    for before, after in zip(tied, tied[1:], strict=False):
        assert by_id[before] != by_id[after] or before < after


@pytest.mark.parametrize("source", zoo.ENGINES)
@pytest.mark.parametrize(
    ("limit", "offset"), [(0, 0), (1, 0), (10, 195), (7, 13), (None, 190), (500, 0)]
)
def test_a_window_gives_so_many_rows_after_so_many(client, source, limit, offset):
    window = {"_sort": "id", "_offset": offset} | ({} if limit is None else {"_limit": limit})
    everything = sorted(row[0] for row in zoo.ROWS)
    expected = everything[offset:] if limit is None else everything[offset : offset + limit]
    assert ids(client, source, urlencode(window)) == expected


@pytest.mark.parametrize("source", zoo.ENGINES)
def test_columns_come_in_the_order_that_is_asked_for(client, source):
    answer = client.get(f"/{source}/zoo.csv?_column=name&_column=id&_column=name&_limit=1&_sort=id")
    assert answer.text.splitlines()[0] in {"name,id,name", "name,id,name_1", "name,id,name:1"}


@pytest.mark.parametrize("source", zoo.ENGINES)
@pytest.mark.parametrize("name", zoo.ODD)
def test_a_column_of_any_name_can_be_named(client, source, name):
    table = "odd [1]" if source == "files" else "o d/d.%"
    query = urlencode([("_column", name), (f"{name}__eq", f"{name}!"), ("_sort", f"{name}:desc")])
    answer = client.get(f"/{source}/{quote(table)}.json?{query}")
    assert answer.json == [{name: f"{name}!"}]
    no_values = client.get(f"/{source}/{quote(table)}.json?{urlencode({'_column': name})}")
    assert no_values.json == [{name: f"{name}!"}]


@pytest.mark.parametrize("source", zoo.ENGINES)
def test_a_view_is_served_like_a_table(client, source):
    assert set(ids(client, source, "", "big")) == {row[0] for row in zoo.ROWS if row[0] > 100}


BAD = [
    ("id__eq", "x"), ("id__eq", ""), ("id__eq", "1.5"), ("id__eq", "9" * 400), ("id__eq", "0x10"), ("id__eq", "١"),
    ("price__gt", "nan"), ("price__gt", "1e9999"), ("price__gt", "1,5"), ("ratio__gt", "inf"),
    ("day__eq", "2013-02-30"), ("day__eq", "yesterday"), ("at__lt", "25:00"), ("flag__eq", "maybe"),
    ("id__contains", "1"), ("day__startswith", "2013"), ("id__in", "1,two"), ("id__in", '1,"'),
    ("name__in", ",".join("x" * 1001)), ("id__isnull", "yes"), ("name__eq", "a\0b"), ("none__eq", "1"),
    ("id__like", "1"), ("id", "1"), ("__eq", "1"), ("_column", "none"), ("_column", ""), ("_sort", "none"),
    ("_sort", "id:up"), ("_limit", "-1"), ("_limit", "1.0"), ("_limit", "9" * 30), ("_limit", ""),
    ("_limit", "٣"), ("_offset", "x"), ("_stream", "short"), ("_stream", "a" * 65), ("_stream", "a/b/c/d/e"),
    ("_format", "csv"), ("format", "csv"), ("utm_source", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_parameter_that_cannot_be_is_told_with_its_name(client, name, value):
    for source in zoo.ENGINES:
        answer = client.get(f"/{source}/zoo.csv?{urlencode({name: value})}")
        assert answer.status_code == 400, (source, answer.text)
        assert answer.mimetype == "application/problem+json"
        assert name.partition("__")[0] in answer.json["detail"]
        assert len(answer.json["detail"]) < 1000


def test_a_parameter_may_not_be_there_twice_or_two_hundred_times(client):
    assert client.get("/duckdb/zoo.csv?_limit=1&_limit=2").status_code == 400
    many = "&".join(["id__gt=0"] * 200)
    assert client.get(f"/duckdb/zoo.csv?{many}").status_code == 200
    assert client.get(f"/duckdb/zoo.csv?{many}&id__gt=0").status_code == 400


def test_a_bad_value_is_told_with_column_type_and_value(client):
    answer = client.get("/duckdb/zoo.csv?day__eq=2013-02-30")
    assert answer.json["detail"] == (
        "day__eq is '2013-02-30'; the column has the type DATE, which takes a date such as "
        "2013-01-31."
    )
