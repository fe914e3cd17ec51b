"""HTML, Markdown, TSV and XML read back by readers that others wrote."""

import pytest
from helpers import encode
from hypothesis import given
from hypothesis import strategies as st

from unspool.formats.html import Html

etree = pytest.importorskip("lxml.etree")
lxml_html = pytest.importorskip("lxml.html")


# XML's characters less CR, which HTML readers take for LF; lxml drops other controls.
readable = st.text(
    st.sampled_from("&<>'\"; \n\t")
    | st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(*[readable] * width), min_size=1, max_size=8)
)


@given(tables, st.integers(1, 8))
def test_lxml_reads_any_text_back_from_any_batch_size(rows, size):
    page = lxml_html.document_fromstring(encode(rows, "html", None, size).decode())
    got = [tuple(cell.text or "" for cell in row) for row in page.iterfind(".//tbody/tr")]
    assert got == rows


def test_a_page_breaks_no_rule_of_the_parser():
    page = encode([{"a": 1, "b": "x"}], Html(title="t"))
    parser = etree.HTMLParser()
    etree.fromstring(page, parser)
    assert list(parser.error_log) == []
