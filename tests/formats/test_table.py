from collections import deque
from pathlib import Path

import pytest
from helpers import encode

from unspool import Csv, RowError, UnknownFormat
from unspool.formats import FORMATS, find


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_makes_encoders_and_knows_its_type_and_suffix(name):
    format = find(name)
    assert "/" in format.media_type
    assert format.suffix.startswith(".")
    assert format.encoder(None) is not format.encoder(None)


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"text", "zip"}))
@pytest.mark.parametrize("row", [(1, "a"), {"n": 1, "t": "a"}], ids=["tuples", "mappings"])
def test_every_format_takes_the_batches_that_sources_give(name, row):
    """They pull into a deque, which has no slices."""
    data = set()
    for kind in (list, tuple, deque):
        encoder = find(name).encoder(["n", "t"])
        data.add(encoder.begin() + encoder.feed(kind([row] * 3000)) + encoder.end())
    assert len(data) == 1


def test_a_format_object_is_taken_as_it_is():
    dialect = Csv(delimiter=";")
    assert find(dialect) is dialect


@pytest.mark.parametrize("name", ["xslx", "", None, 5, Csv])
def test_an_unknown_format_names_those_there_are(name):
    with pytest.raises(UnknownFormat, match=f"known formats: {', '.join(sorted(FORMATS))}"):
        find(name)


PAGE = Path(__file__).parents[2] / "docs" / "formats" / "adding.md"


def test_the_module_in_the_docs_and_one_line_in_the_table_make_a_format(monkeypatch, tmp_path):
    module = PAGE.read_text("utf-8").partition("```python\n")[2].partition("```\n")[0]
    (tmp_path / "ltsv_of_the_docs.py").write_text(module, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FORMATS, "ltsv", ("ltsv_of_the_docs", "Ltsv"))
    rows = [{"a": 1, "b": None}, {"a": "x", "b": 2.5}]
    for size in (1, 2):
        assert encode(rows, "ltsv", None, size) == b"a:1\na:x\tb:2.5\n"
    assert encode([], "ltsv") == b""
    with pytest.raises(RowError, match="row 2, column 'a': LTSV cannot carry"):
        encode([{"a": 1}, {"a": "\t"}], "ltsv")
