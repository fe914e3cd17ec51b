import time

import pytest

from unspool import UsageError
from unspool.headers import (
    Asked,
    chosen_coding,
    coding_headers,
    content_disposition,
    merged,
    stream_headers,
)


@pytest.mark.parametrize(
    ("filename", "value"),
    [
        ("flights.csv", 'attachment; filename="flights.csv"'),
        ("two words.csv", 'attachment; filename="two words.csv"'),
        ("été.csv", "attachment; filename=\"ete.csv\"; filename*=UTF-8''%C3%A9t%C3%A9.csv"),
        ('a"b.csv', "attachment; filename=\"a_b.csv\"; filename*=UTF-8''a%22b.csv"),
        ("50%.csv", "attachment; filename=\"50_.csv\"; filename*=UTF-8''50%25.csv"),
        ("航班.csv", "attachment; filename=\"__.csv\"; filename*=UTF-8''%E8%88%AA%E7%8F%AD.csv"),
        ("=?x?=.csv", "attachment; filename=\"_?x?=.csv\"; filename*=UTF-8''%3D%3Fx%3F%3D.csv"),
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
        " ",
        "\u3000",
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


OFFERED = ("zstd", "br", "gzip")


@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        # What clients send
        (None, "identity"),
        ("", "identity"),
        ("gzip, deflate, br, zstd", "zstd"),  # Chromium, Firefox
        ("gzip, deflate, br", "br"),  # Safari
        ("gzip, deflate", "gzip"),  # http:, requests
        ("identity", "identity"),  # http.client
        ("*", "zstd"),
        ("deflate, compress, sdch", "identity"),
        # Weights: the client's first, then our order
        ("gzip, br;q=0.9, zstd;q=0.8", "gzip"),
        ("gzip;q=0.5, br;q=0.5, zstd;q=0.4", "br"),
        ("gzip;q=0.001", "gzip"),
        ("gzip;q=1.000, zstd;q=0.999", "gzip"),
        ("gzip;q=1., br;q=1", "br"),
        ("gzip;q=0.", "identity"),
        # Refusals
        ("zstd;q=0, br;q=0.0, gzip;q=0.000", "identity"),
        ("zstd;q=0, br, gzip", "br"),
        ("*, zstd;q=0", "br"),
        ("*;q=0, gzip", "gzip"),
        ("*;q=0", "identity"),
        ("gzip;q=0, *;q=0", "identity"),
        ("*;q=0.5, gzip;q=0.8", "gzip"),
        ("*;q=0.5, gzip;q=0.2", "zstd"),
        # Identity
        ("identity;q=0", "identity"),
        ("identity;q=0, gzip", "gzip"),
        ("identity;q=0, deflate", "identity"),
        ("identity, gzip", "gzip"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0.5, *;q=0.1", "identity"),
        # Spelling
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("x-gzip;q=0, *", "zstd"),
        ("x-br, x-zstd", "identity"),
        ("gzip;Q=0.5, br;q=0.4", "gzip"),
        (" gzip ; q=0.3 ,\tbr\t;\tq=0.2 ", "gzip"),
        (",, gzip , ,", "gzip"),
        ("gzip,gzip;q=0", "identity"),  # The last one counts.
        # Malformed: as if it were not there
        ("gzip;q=2", "identity"),
        ("gzip;q=1.001", "identity"),
        ("gzip;q=0.1234", "identity"),
        ("gzip;q=-1", "identity"),
        ("gzip;q=.5", "identity"),
        ("gzip;q=abc", "identity"),
        ("gzip;q=", "identity"),
        ("gzip;q", "identity"),
        ("gzip;", "identity"),
        ("gzip;level=1", "identity"),
        ("gzip;q=1;q=1", "identity"),
        ("gzip br", "identity"),
        ("gzip, br;q=nan", "identity"),
        ("gz/ip, br", "identity"),
        ("gzip\r\nX: 1", "identity"),
        ("gz\u0131p", "identity"),
        ('"gzip"', "identity"),
    ],
)
def test_the_coding_is_the_one_that_the_client_values_most(accept_encoding, coding):
    assert chosen_coding(accept_encoding, OFFERED) == coding


@pytest.mark.parametrize(
    ("offered", "coding"), [(("gzip",), "gzip"), (("br", "gzip"), "br"), ((), "identity")]
)
def test_only_what_is_offered_is_chosen(offered, coding):
    assert chosen_coding("*", offered) == coding
    assert chosen_coding("gzip, br, zstd", offered) == coding


def test_a_long_malformed_header_costs_no_more_than_its_length():
    started = time.process_time()
    assert chosen_coding(" " * 100_000 + "gzip" + "\t" * 100_000 + "x", OFFERED) == "identity"
    assert chosen_coding("gzip;q=0.5 " * 100_000, OFFERED) == "identity"
    assert time.process_time() - started < 1


def test_a_request_is_read_from_wsgi_and_from_asgi():
    assert Asked.by_environ({"HTTP_ACCEPT_ENCODING": "br"}) == Asked("br")
    assert Asked.by_environ({}) == Asked(None)
    headers = [(b"host", b"x"), (b"Accept-Encoding", b"gzip"), (b"accept-encoding", b"br;q=0")]
    assert Asked.by_scope({"headers": headers}) == Asked("gzip, br;q=0")
    assert Asked.by_scope({"headers": [(b"accept", b"x")]}) == Asked(None, "x")
    assert Asked.by_scope({}) == Asked(None)
    environ = {"HTTP_ACCEPT": "x", "PATH_INFO": "/a", "QUERY_STRING": "b=1"}
    scope = {"headers": [(b"Accept", b"x")], "path": "/a", "query_string": b"b=1"}
    assert Asked.by_environ(environ) == Asked.by_scope(scope) == Asked(None, "x", "/a", "b=1")


def test_vary_is_there_also_if_nothing_was_compressed():
    vary = ("Vary", "Accept-Encoding")
    assert coding_headers("identity") == [vary]
    assert coding_headers("br") == [vary, ("Content-Encoding", "br")]


OURS = [("Content-Type", "a/b"), ("Vary", "Accept-Encoding"), ("Content-Encoding", "br")]


@pytest.mark.parametrize(
    ("ours", "theirs", "headers"),
    [
        (OURS, {}, OURS),
        (OURS, {"X-A": "1"}, [*OURS, ("X-A", "1")]),
        (OURS, {"content-type": "c/d"}, [*OURS[1:], ("content-type", "c/d")]),
        (OURS, {"VARY": "Cookie"}, [OURS[0], OURS[2], ("VARY", "Accept-Encoding, Cookie")]),
        (OURS, {"Content-Length": "5"}, OURS),
        (OURS[:2], {"Content-Length": "5"}, [*OURS[:2], ("Content-Length", "5")]),
        (OURS[:1], {"Vary": "Cookie"}, [OURS[0], ("Vary", "Cookie")]),
    ],
)
def test_the_headers_of_the_view_replace_ours_except_vary_and_a_length(ours, theirs, headers):
    assert merged(ours, theirs.items()) == headers


def test_a_header_that_the_view_has_twice_stays_twice():
    cookies = pytest.importorskip("werkzeug.datastructures").Headers()
    cookies.add("Set-Cookie", "a=1")
    cookies.add("Set-Cookie", "b=2")
    assert merged(OURS[:1], cookies.items())[1:] == [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
