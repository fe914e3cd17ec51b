from collections import deque

import pytest

from unspool import Csv, UnknownFormat
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
