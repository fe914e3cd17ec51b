import pytest

from unspool import UsageError
from unspool.headers import content_disposition, stream_headers


@pytest.mark.parametrize(
    ("filename", "value"),
    [
        ("flights.csv", 'attachment; filename="flights.csv"'),
        ("two words.csv", 'attachment; filename="two words.csv"'),
        ("été.csv", "attachment; filename=\"ete.csv\"; filename*=UTF-8''%C3%A9t%C3%A9.csv"),
        ('a"b.csv', "attachment; filename=\"a_b.csv\"; filename*=UTF-8''a%22b.csv"),
        ("50%.csv", "attachment; filename=\"50_.csv\"; filename*=UTF-8''50%25.csv"),
        ("航班.csv", "attachment; filename=\"__.csv\"; filename*=UTF-8''%E8%88%AA%E7%8F%AD.csv"),
        ("a'b(1).csv", 'attachment; filename="a\'b(1).csv"'),
        ("x;y.csv", 'attachment; filename="x;y.csv"'),
        (
            "é'(*).csv",
            "attachment; filename=\"e'(*).csv\"; filename*=UTF-8''%C3%A9%27%28%2A%29.csv",
        ),
    ],
)
def test_content_disposition_has_a_plain_name_and_the_exact_one(filename, value):
    assert content_disposition(filename) == value


@pytest.mark.parametrize(
    "filename",
    [
        "",
        ".",
        "..",
        "a/b.csv",
        "..\\b.csv",
        "a\r\nSet-Cookie: x.csv",
        "a\x00.csv",
        "\ud800.csv",
        "x" * 256,
    ],
)
def test_names_that_no_file_can_have_are_refused(filename):
    with pytest.raises(UsageError, match="^filename "):
        content_disposition(filename)


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
def test_a_name_of_255_bytes_is_allowed(name):
    assert content_disposition(name).startswith("attachment; filename=")


def test_a_name_of_256_bytes_is_refused_with_both_numbers():
    with pytest.raises(UsageError, match="is 256 bytes long; the limit is 255"):
        content_disposition("é" * 128)


def test_the_whole_list_of_headers():
    assert stream_headers("text/csv; charset=utf-8", "a.csv") == [
        ("Content-Type", "text/csv; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Disposition", 'attachment; filename="a.csv"'),
    ]
    assert len(stream_headers("text/plain")) == 4


def test_a_page_may_be_kept_by_the_browser():
    assert stream_headers("text/html; charset=utf-8") == [
        ("Content-Type", "text/html; charset=utf-8"),
        ("X-Accel-Buffering", "no"),
        ("X-Content-Type-Options", "nosniff"),
    ]


def test_werkzeug_reads_the_exact_name_back():
    http = pytest.importorskip("werkzeug.http")
    for name in ["été 'x' (1).csv", '航班 "q" 50%.csv', "plain.csv"]:
        _, options = http.parse_options_header(content_disposition(name))
        assert options["filename"] == name
