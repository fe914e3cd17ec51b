"""Names of files, read by what others wrote: Chromium's rules, Node's parser and Werkzeug's."""

import json
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from unspool import UsageError
from unspool.headers import content_disposition

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / ".cache/npm/content-disposition@2.0.1/node_modules/content-disposition"

NAMES = [
    "flights.csv",
    "two words.csv",
    "a, b; c=d.csv",
    'comma, then "quotes".csv',
    "it's 50%.csv",
    "%41%zz.csv",
    "été.csv",
    "e\u0301te\u0301.csv",
    "航班 2026.xlsx",
    "рейсы.csv",
    "رحلات.csv",
    "✈️ 😀.csv",
    "a+b&c#d!$'()*~`^_{}|.csv",
    "=?utf-8?B?eA==?=.csv",
    "utf-8''x.csv",
    ".hidden",
    "no suffix",
    "x" * 251 + ".csv",
    "é" * 125 + ".csv",
    "\u200bzero.csv",
    "ＦＵＬＬ.csv",
    "ŒœßÆ.csv",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_chromium_reads_the_exact_name(name):
    parse = pytest.importorskip("browser_download_filename").parse_content_disposition
    found = parse(content_disposition(name))
    assert (found.is_attachment, found.blocks_download) == (True, False)
    assert found.filename == unicodedata.normalize("NFC", name)


def test_node_reads_the_exact_names():
    if not PACKAGE.exists():
        pytest.skip("content-disposition is not there; `make test` fetches it")
    values = json.dumps([content_disposition(name) for name in NAMES])
    command = ["node", ROOT / "tests/readers/filename.mjs", PACKAGE]
    done = subprocess.run(command, input=values, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == NAMES


def test_a_client_that_knows_no_encoding_gets_a_name_in_ascii():
    import re

    for name in NAMES:
        plain = re.fullmatch(r'attachment; filename="([ -~]+)"(; .*)?', content_disposition(name))[
            1
        ]
        assert not set(plain) & set('"\\%')
        assert plain == name or "filename*" in content_disposition(name)


@given(st.text(min_size=1, max_size=60))
def test_any_name_that_is_allowed_is_read_back_by_three_readers(name):
    http = pytest.importorskip("werkzeug.http")
    parse = pytest.importorskip("browser_download_filename").parse_content_disposition
    try:
        value = content_disposition(name)
    except UsageError:
        return
    assume(any(char.isalnum() for char in name))  # Browsers take "=" and "?" alone for no name.
    assert value.isascii() and "\r" not in value and "\n" not in value
    assert parse(value).filename == unicodedata.normalize("NFC", name)
    assert http.parse_options_header(value)[1]["filename"] == name
