import datetime
from dataclasses import dataclass

import pytest
from helpers import encode

from unspool import Event, RowError, Sse, Stream, UsageError
from unspool.sources.batches import Records


@dataclass
class Person:
    id: int
    name: str


# Rows, format, columns, bytes; each encoded in every batch size.
TABLE = [
    ([], Sse(), None, b""),
    ([{"a": 1}], Sse(), None, b'data: {"a":1}\n\n'),
    ([(1, "x"), (2, "y")], Sse(), None, b'data: [1,"x"]\n\ndata: [2,"y"]\n\n'),
    ([(1, "x")], Sse(), ["n", "t"], b'data: {"n":1,"t":"x"}\n\n'),
    ([{"a": "x\ny"}], Sse(), None, b'data: {"a":"x\\ny"}\n\n'),
    (["text", ""], Sse(), None, b"data: text\n\ndata: \n\n"),
    (["a\nb\r\nc\rd\n"], Sse(), None, b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
    (["\u2028 é\ufeff", " x"], Sse(), None, "data: \u2028 é\ufeff\n\ndata:  x\n\n".encode()),
    (
        [Event("x", event="e", id=5, retry_ms=0)],
        Sse(),
        None,
        b"id: 5\nevent: e\nretry: 0\ndata: x\n\n",
    ),
    ([Event(id="")], Sse(), None, b"id: \n\n"),
    ([Event()], Sse(), None, b"\n"),
    ([Event(comment="hi\nho")], Sse(), None, b": hi\n: ho\n\n"),
    (
        [Event({"a": [1]}), Event(1.5), Event(True), Event([])],
        Sse(),
        None,
        b'data: {"a":[1]}\n\ndata: 1.5\n\ndata: true\n\ndata: []\n\n',
    ),
    ([Event(datetime.date(2026, 1, 2))], Sse(), None, b'data: "2026-01-02"\n\n'),
    (
        [{"a": 1}, "b", Event("c"), (4,)],
        Sse(event="row"),
        None,
        b'event: row\ndata: {"a":1}\n\nevent: row\ndata: b\n\ndata: c\n\nevent: row\ndata: [4]\n\n',
    ),
    ([Person(7, "Ann")], Sse(id_column="id"), None, b'id: 7\ndata: {"id":7,"name":"Ann"}\n\n'),
    (
        [(7, "Ann"), (8, "Bob")],
        Sse(id_column="b"),
        ["a", "b"],
        b'id: Ann\ndata: {"a":7,"b":"Ann"}\n\nid: Bob\ndata: {"a":8,"b":"Bob"}\n\n',
    ),
    ([(7, None)], Sse(id_column="b"), ["a", "b"], b'data: {"a":7,"b":null}\n\n'),
    ([{"a": 1}], Sse(retry_ms=100), None, b'retry: 100\n\ndata: {"a":1}\n\n'),
    (
        [{"a": 1}, Event("x")],
        Sse(end_mark=True),
        None,
        b'data: {"a":1}\n\ndata: x\n\nevent: end\ndata: {"rows":2}\n\n',
    ),
]


@pytest.mark.parametrize(("rows", "format", "columns", "expected"), TABLE)
def test_rows_become_these_events_for_every_batch_size(rows, format, columns, expected):
    for size in range(1, len(rows) + 2):
        assert encode(rows, format, columns, size) == expected


def test_batches_that_name_their_columns_give_ids():
    encoder = Sse(id_column="b").encoder(None)
    assert encoder.feed(Records([(1, 2)], ["a", "b"])) == b'id: 2\ndata: {"a":1,"b":2}\n\n'


BAD = [
    (
        ["ok", Event("x", id="a\nb")],
        Sse(),
        r"row 2, column 'id': 'a\\nb' has a line break or a NUL",
        "id",
    ),
    ([Event("x", id="a\0")], Sse(), "row 1, column 'id'", "id"),
    ([Event("x", event="a\rb")], Sse(), "row 1, column 'event'", "event"),
    ([Event("x", retry_ms=-1)], Sse(), "row 1, column 'retry': retry_ms must be", "retry"),
    ([Event("x", retry_ms=1.5)], Sse(), "row 1, column 'retry': retry_ms must be", "retry"),
    (["ok", "\ud800"], Sse(), "row 2: '.ud800' has a lone surrogate", None),
    (["ok", {"a": b"x"}], Sse(), "row 2, column 'a': JSON cannot carry b'x'", "a"),
    (["ok", Event(b"x")], Sse(), "row 2, column 'data': JSON cannot carry b'x'", "data"),
    ([{"a": 1}, {"a": {2}}], Sse(), "row 2, column 'a': JSON cannot carry", "a"),
    ([{"a": 1}], Sse(id_column="b"), "row 1: has no column 'b'", None),
    ([(1, 2)], Sse(id_column="b"), "row 1: has no column 'b'", None),
    ([{"a": 1, "id": "x\ny"}], Sse(id_column="id"), "row 1, column 'id'", "id"),
]


@pytest.mark.parametrize(("rows", "format", "message", "column"), BAD)
def test_bad_rows_are_named_by_row_and_column(rows, format, message, column):
    with pytest.raises(RowError, match=message) as caught:
        encode(rows, format)
    assert caught.value.column == column


@pytest.mark.parametrize("retry_ms", [-1, 1.5, True, "1"])
def test_a_retry_that_is_no_time_is_refused(retry_ms):
    with pytest.raises(UsageError, match="retry_ms must be a whole number of at least 0"):
        Sse(retry_ms=retry_ms)


def test_an_event_name_with_a_line_break_is_refused():
    with pytest.raises(UsageError, match="has a line break"):
        Sse(event="a\nb")


def test_a_comment_keeps_a_quiet_stream_alive():
    pipeline = Stream([], Sse(), keep_alive_s=1.0).pipeline()
    pipeline.begin()
    assert pipeline.feed(["x"], 0.0, 0.0) == b"data: x\n\n"
    assert pipeline.feed([], 0.5, 0.5) == b""
    assert pipeline.feed([], 1.0, 1.0) == b":\n\n"
