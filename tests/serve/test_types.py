"""Types that a format has no form for: a table can be had in every format all the same."""

import csv
import io
import json
import sqlite3

import psycopg
import pymysql
import pytest

from unspool.serve import create_app

SUFFIXES = ["csv", "xlsx", "parquet", "ndjson", "json", "arrow", "tsv", "html", "md", "xml"]
BYTES = bytes(range(256))
BASE64 = (
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xN"
    "Tk9QUVJTVFVWV1hZWltcXV5fYGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn+AgYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqb"
    "nJ2en6ChoqOkpaanqKmqq6ytrq+wsbKztLW2t7i5uru8vb6/wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t/g4eLj5OXm5+jp"
    "6uvs7e7v8PHy8/T19vf4+fr7/P3+/w=="
)
TABLES = {
    # A column: its type, an expression, what CSV has of it, what NDJSON has.
    "duckdb": {
        "list": ("INTEGER[]", "[1, NULL]", "[1,null]", [1, None]),
        "array": ("INTEGER[2]", "[1, 2]", "[1,2]", [1, 2]),
        "struct": ("STRUCT(a DATE, b VARCHAR)", "{'a': DATE '2013-01-31', 'b': 'ü\"'}",
            '{"a":"2013-01-31","b":"ü\\""}', {"a": "2013-01-31", "b": 'ü"'}),
        "map": ("MAP(VARCHAR, INTEGER)", "MAP {'k': 1}", '{"k":1}', {"k": 1}),
        "union": ("UNION(n INTEGER, t VARCHAR)", "union_value(n := 2)", "2", "2"),
        "bytes": ("BLOB", f"unhex('{BYTES.hex()}')", BASE64, BASE64),
        "nan": ("DOUBLE", "'nan'", "nan", None),
        "infinite": ("FLOAT", "'-inf'", "-inf", None),
        "finite": ("FLOAT", "0.5", "0.5", 0.5),
        "months": ("INTERVAL", "INTERVAL 14 MONTH", "1 year 2 months", "1 year 2 months"),
        "bits": ("BIT", "'0101'", "0101", "0101"),
        "zoned": ("TIMETZ", "'12:30:00+02'", "12:30:00+02", "12:30:00+02"),
        "json": ("JSON", "'{\"a\":  1}'", '{"a":  1}', '{"a":  1}'),
    },
    "postgres": {
        "list": ("int[]", "'{1,NULL}'", "[1,null]", [1, None]),
        "json": ("json", "'{\"a\": [1]}'", '{"a": [1]}', {"a": [1]}),
        "jsonb": ("jsonb", "'{\"a\": 1.50}'", '{"a": 1.50}', {"a": 1.5}),
        "bytes": ("bytea", f"'\\x{BYTES.hex()}'", BASE64, BASE64),
        "nan": ("float8", "'NaN'", "nan", None),
        "infinite": ("real", "'-Infinity'", "-inf", None),
        "finite": ("real", "0.5", "0.5", 0.5),
        "months": ("interval", "'14 months'", "1 year 2 mons", "1 year 2 mons"),
        "span": ("int4range", "'[1,5)'", "[1,5)", "[1,5)"),
        "address": ("inet", "'10.0.0.1/8'", "10.0.0.1/8", "10.0.0.1/8"),
        "place": ("point", "'(1,2)'", "(1,2)", "(1,2)"),
        "pair": ("pair", "ROW(1, 'a b')", '(1,"a b")', '(1,"a b")'),
        "zoned": ("timetz", "'12:30:00+02'", "12:30:00+02", "12:30:00+02"),
        "small": ("small", "7", "7", 7),
    },
    "mysql": {
        "json": ("json", "'{\"a\": 1}'", '{"a": 1}', '{"a": 1}'),
        "bytes": ("blob", f"x'{BYTES.hex()}'", BASE64, BASE64),
        "fixed": ("binary(3)", "'ab'", "YWIA", "YWIA"),
        "bits": ("bit(9)", "b'100000001'", "AQE=", "AQE="),
        "place": ("point", "ST_GeomFromText('POINT(1 2)')", "POINT(1 2)", "POINT(1 2)"),
        "address": ("inet6", "'::1'", "::1", "::1"),
    },
    "sqlite": {
        "bytes": ("BLOB", f"x'{BYTES.hex()}'", BASE64, BASE64),
        "untyped": ("", "x'00'", "AA==", "AA=="),
        "text": ("BLOB", "'text'", "text", "text"),
        "number": ("", "1.5", "1.5", 1.5),
        "json": ("JSON", "'{\"a\": 1}'", '{"a": 1}', '{"a": 1}'),
    },
}  # fmt: skip


def statements(source):
    table = TABLES[source]
    mark = "`" if source == "mysql" else '"'
    columns = ", ".join(f"{mark}{name}{mark} {kind}" for name, (kind, *_) in table.items())
    values = ", ".join(value for _, value, *_ in table.values())
    yield f"CREATE TABLE types (id INTEGER, {columns})"
    yield f"INSERT INTO types VALUES (1, {values})"
    yield f"INSERT INTO types VALUES (2{', NULL' * len(table)})"
    yield f"CREATE TABLE ordered (bytes {table['bytes'][0]})"
    for value in ("00", "f8"):
        yield f"INSERT INTO ordered VALUES ({table['bytes'][1].replace(BYTES.hex(), value)})"


@pytest.fixture(scope="module")
def client(places, tmp_path_factory):
    folder = tmp_path_factory.mktemp("types")
    with sqlite3.connect(folder / "types.sqlite") as lite:
        for sql in statements("sqlite"):
            lite.execute(sql)
    lite.close()
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(folder / "types.duckdb")) as duck:
        for sql in statements("duckdb"):
            duck.execute(sql)
    with psycopg.connect(places["postgres"], autocommit=True) as pg:
        pg.execute("CREATE TYPE pair AS (n int, t text)")
        pg.execute("CREATE DOMAIN small AS int CHECK (VALUE < 10)")
        for sql in statements("postgres"):
            pg.execute(sql)
        user, _, host = places["mysql"].removeprefix("mysql://").partition("@")
        with pymysql.connect(
            user=user.partition(":")[0],
            password=user.partition(":")[2],
            host="127.0.0.1",
            port=int(host.partition(":")[2].partition("/")[0]),
            database=host.partition("/")[2],
            autocommit=True,
        ) as my:
            cursor = my.cursor()
            for sql in statements("mysql"):
                cursor.execute(sql)
            app = create_app(
                [
                    f"duckdb={folder / 'types.duckdb'}",
                    f"sqlite={folder / 'types.sqlite'}",
                    f"postgres={places['postgres']}",
                    f"mysql={places['mysql']}",
                ]
            )
            yield app.test_client()
            app.extensions["unspool.serve"].catalog.close()
            cursor.execute("DROP TABLE types, ordered")
        pg.execute("DROP TABLE types, ordered")
        pg.execute("DROP DOMAIN small")
        pg.execute("DROP TYPE pair")


@pytest.mark.parametrize("source", TABLES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_of_any_types_is_to_be_had_in_every_format(client, source, suffix):
    answer = client.get(f"/{source}/types.{suffix}")
    assert answer.status_code == 200, answer.text
    assert answer.data


@pytest.mark.parametrize("source", TABLES)
def test_what_csv_has_no_form_for_is_text(client, source):
    text = client.get(f"/{source}/types.csv?_sort=id").text
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    expected = {name: shown for name, (_, _, shown, _) in TABLES[source].items()}
    assert first == {"id": "1", **expected}
    assert second == {"id": "2", **dict.fromkeys(expected, "")}


@pytest.mark.parametrize("source", TABLES)
def test_json_keeps_lists_and_objects_and_has_no_bytes_and_no_nan(client, source):
    text = client.get(f"/{source}/types.ndjson?_sort=id").text
    first, second = map(json.loads, text.splitlines())
    expected = {name: value for name, (*_, value) in TABLES[source].items()}
    assert first == {"id": 1, **expected}
    assert second == {"id": 2, **dict.fromkeys(expected)}


def test_parquet_keeps_lists_objects_bytes_and_nan(client):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(client.get("/duckdb/types.parquet?_sort=id").data))
    first = table.to_pylist()[0]
    assert (first["list"], first["bytes"]) == ([1, None], BYTES)
    assert str(first["nan"]) == "nan"
    assert first["months"] == "1 year 2 months"


@pytest.mark.parametrize("source", TABLES)
@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_rows_are_in_the_order_of_the_values_and_not_of_their_text(client, source, suffix):
    """In Base64 the second stands before the first."""
    lines = client.get(f"/{source}/ordered.{suffix}?_sort=bytes&_column=bytes").text.splitlines()
    assert ["AA==" in lines[-2], "+A==" in lines[-1]] == [True, True]


def test_a_condition_on_such_a_column_is_refused_but_for_null(client):
    assert client.get("/duckdb/types.csv?list__eq=1").status_code == 400
    assert "lists and objects" in client.get("/duckdb/types.csv?list__eq=1").json["detail"]
    assert client.get("/postgres/types.csv?small__gt=5").text.count("\r\n") == 2
    assert client.get("/duckdb/types.ndjson?list__isnull=1").text.startswith('{"id":2,')
