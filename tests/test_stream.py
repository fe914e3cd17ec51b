import dataclasses

import pytest

from unspool import Csv, Stream, Text, UnknownFormat, UsageError
from unspool.headers import Asked


def test_the_plan_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Stream([]).format = "json"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_bytes": 0}, "chunk_bytes must be a whole number of at least 1; got 0"),
        ({"flush_after_s": -0.1}, "flush_after_s must be a number of at least 0; got -0.1"),
        ({"flush_after_s": float("nan")}, "flush_after_s .* got nan"),
        ({"batch_rows": 1.5}, "batch_rows must be a whole number of at least 1; got 1.5"),
        ({"batch_rows": True}, "batch_rows .* got True"),
        ({"batch_rows": "5"}, "batch_rows .* got '5'"),
        ({"filename": "a/b"}, "path separator"),
        ({"columns": []}, "columns must be"),
        ({"compress": "gzip"}, "compress must be True or False; got 'gzip'"),
        ({"compress": 1}, "compress must be True or False; got 1"),
        ({"coding": "gzip"}, "coding is 'gzip', but this answer is not to be compressed"),
        ({"compress": True, "coding": "deflate"}, "'deflate' cannot be made here"),
    ],
)
def test_bad_options_are_refused_when_the_plan_is_made(options, message):
    with pytest.raises(UsageError, match=message):
        Stream([], **options)


def test_an_unknown_format_is_refused_when_the_plan_is_made():
    with pytest.raises(UnknownFormat):
        Stream([], "excel")


def test_limits_are_allowed_at_their_edge():
    Stream([], chunk_bytes=1, flush_after_s=0, batch_rows=1)


def test_headers_follow_format_and_filename():
    assert dict(Stream([], Csv(), filename="x.csv").headers()) == {
        "Content-Type": "text/csv; charset=utf-8",
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": 'attachment; filename="x.csv"',
    }


def test_a_plan_that_is_not_to_be_compressed_stays_what_it_is():
    plan = Stream([])
    assert plan.asked(Asked("gzip")) is plan


def test_compression_is_offered_and_the_request_chooses():
    plan = Stream([], compress=True, filename="x.csv")
    assert plan.headers()[-1] == ("Vary", "Accept-Encoding")
    asked = plan.asked(Asked("gzip"))
    assert (plan.coding, asked.coding) == ("identity", "gzip")
    assert asked.headers() == [*plan.headers(), ("Content-Encoding", "gzip")]
    assert plan.asked(Asked("gzip;q=0")).headers() == plan.headers()
    assert plan.asked(Asked()).headers() == plan.headers()


@dataclasses.dataclass(frozen=True)
class Packed(Text):
    """A format whose bytes are compressed already."""

    compressed = True


def test_a_format_that_is_compressed_already_is_left_alone():
    plan = Stream([b"PK"], Packed(), compress=True)
    assert plan.asked(Asked("gzip")) is plan
    assert plan.headers() == Stream([b"PK"], Packed()).headers()
    with pytest.raises(UsageError, match="is not to be compressed"):
        dataclasses.replace(plan, coding="gzip")
