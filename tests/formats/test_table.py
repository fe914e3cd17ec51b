import pytest

from unspool import Csv, UnknownFormat
from unspool.formats import FORMATS, find


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_makes_encoders_and_knows_its_type_and_suffix(name):
    format = find(name)
    assert "/" in format.media_type
    assert format.suffix.startswith(".")
    assert format.encoder(None) is not format.encoder(None)


def test_a_format_object_is_taken_as_it_is():
    dialect = Csv(delimiter=";")
    assert find(dialect) is dialect


@pytest.mark.parametrize("name", ["xslx", "", None, 5, Csv])
def test_an_unknown_format_names_those_there_are(name):
    with pytest.raises(UnknownFormat, match=f"known formats: {', '.join(sorted(FORMATS))}"):
        find(name)
