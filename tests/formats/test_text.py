import pytest
from helpers import encode

from unspool import RowError, Text, UsageError


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["a", "é"], "aé".encode()),
        (["a", b"\xff", bytearray(b"b"), memoryview(b"c")], b"a\xffbc"),
        ([], b""),
    ],
)
def test_pieces_are_sent_as_they_are(pieces, expected):
    assert encode(pieces, "text") == expected
    assert encode(pieces, "text", None, 1) == expected


@pytest.mark.parametrize(
    ("piece", "message"),
    [(1, "takes text and bytes; got 1"), ("\ud800", "lone surrogate"), ((1,), "format='csv'")],
)
def test_other_pieces_are_refused_by_row(piece, message):
    with pytest.raises(RowError, match=message) as caught:
        encode(["ok", piece], "text")
    assert caught.value.row == 2


def test_text_has_no_columns():
    with pytest.raises(UsageError, match="no columns"):
        Text().encoder(["a"])


def test_the_media_type_can_be_said():
    assert Text("text/html; charset=utf-8").media_type == "text/html; charset=utf-8"
