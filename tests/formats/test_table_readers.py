"""HTML, Markdown, TSV and XML read back by readers that others wrote."""

import re
import subprocess
from html.parser import HTMLParser

import pytest
from helpers import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from unspool.formats.html import Html

etree = pytest.importorskip("lxml.etree")
lxml_html = pytest.importorskip("lxml.html")


def tables_of(cell, height=8):
    return st.integers(1, 4).flatmap(
        lambda width: st.lists(st.tuples(*[cell] * width), min_size=1, max_size=height)
    )


# XML's characters less CR, which HTML readers take for LF; lxml drops other controls.
readable = st.text(
    st.sampled_from("&<>'\"; \n\t")
    | st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
)


@given(tables_of(readable), st.integers(1, 8))
def test_lxml_reads_any_text_in_html_back_from_any_batch_size(rows, size):
    page = lxml_html.document_fromstring(encode(rows, "html", None, size).decode())
    got = [tuple(cell.text or "" for cell in row) for row in page.iterfind(".//tbody/tr")]
    assert got == rows


class Table(HTMLParser):
    """The texts of a table's cells, as Python's own parser sees them."""

    def __init__(self):
        super().__init__()
        self.rows = []
        self.in_cell = False

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self.in_cell = False

    def handle_data(self, data):
        if self.in_cell:
            self.rows[-1][-1] += data


def test_pythons_parser_reads_html_back():
    rows = [("a<b>&amp;", "\"'"), ("", " two  spaces "), ("</td><script>", "é\n&lt;")]
    table = Table()
    table.feed(encode(rows, "html", ["x<", "y"]).decode())
    assert table.rows == [["x<", "y"], *map(list, rows)]


def test_a_page_breaks_no_rule_of_the_parser():
    page = encode([{"a": 1, "b": "x"}], Html(title="t"))
    parser = etree.HTMLParser()
    etree.fromstring(page, parser)
    assert list(parser.error_log) == []


def html_by_cmark(text):
    """GitHub's own reader, in C."""
    cmarkgfm = pytest.importorskip("cmarkgfm")
    from cmarkgfm.cmark import Options

    return cmarkgfm.github_flavored_markdown_to_html(text, Options.CMARK_OPT_UNSAFE)


def html_by_markdown_it(text):
    MarkdownIt = pytest.importorskip("markdown_it").MarkdownIt
    return MarkdownIt("gfm-like", {"linkify": False}).render(text)


def shown(cell):
    """The text of a cell, if nothing in it is anything but text and line breaks."""
    assert {child.tag for child in cell} <= {"br"}, etree.tostring(cell)
    text = (cell.text or "") + "".join("\n" + (child.tail or "") for child in cell)
    return re.sub(" +", " ", text)


# Without the forms that GitHub makes links of, wherever they are; blanks count once.
marks = st.lists(
    st.sampled_from([*"\\|`*_[]()!<>&;#~+-=\"' \nax1é€", "&amp;", "&#65;", "<b>", "**", "~~"])
).map("".join)


def single(match):
    """A line break, or a blank."""
    return "\n" if "\n" in match[0] else " "


@pytest.mark.parametrize("render", [html_by_cmark, html_by_markdown_it])
@settings(max_examples=300)
@given(rows=tables_of(marks, 4))
def test_any_text_is_shown_as_it_is_in_markdown(render, rows):
    width = len(rows[0])
    rows = [tuple(re.sub(" *\n *| +", single, text).strip() for text in row) for row in rows]
    page = render(encode(rows, "markdown", [f"n{at}" for at in range(width)]).decode())
    table = lxml_html.fragment_fromstring(page)
    assert [cell.text for cell in table.iterfind("./thead/tr/th")] == [
        f"n{at}" for at in range(width)
    ]
    got = [tuple(map(shown, row)) for row in table.iterfind("./tbody/tr")]
    assert got == rows


# All characters that XML 1.0 has.
xml_text = st.text(
    st.sampled_from("&<>\"' \n\t\r]")
    | st.characters(exclude_categories=["Cs"], min_codepoint=32, exclude_characters="\ufffe\uffff")
)
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"


@given(tables_of(xml_text | st.none()))
def test_lxml_reads_any_text_in_xml_back(rows):
    names = [f"n{at}" for at in range(len(rows[0]))]
    document = etree.fromstring(encode(rows, "xml", names))
    got = [
        tuple(None if NIL in cell.attrib else cell.text or "" for cell in row) for row in document
    ]
    assert got == rows


def test_xmllint_finds_no_fault(tmp_path):
    path = tmp_path / "a.xml"
    path.write_bytes(encode([("a & b", None), ("]]>", 1.5)], "xml", ["é", "b"]))
    try:
        subprocess.run(["xmllint", "--noout", path], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("xmllint is not installed")


TEXTS = [
    "a",
    "",
    None,
    "\\N",
    "tab\t",
    "two\nlines",
    "a\r\nb",
    "back\\slash",
    '"quoted"',
    "\\t",
    "é 😀",
    ".",
]


def test_duckdb_reads_tsv_without_escapes_back(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "a.tsv"
    rows = [("a b", 1.5), ("é 😀", None), ("a,b;c", -2.0)]
    path.write_bytes(encode(rows, "tsv", ["t", "n"]))
    with duckdb.connect() as con:
        read = (
            "select * from read_csv(?, sep='\t', quote='', escape='', nullstr='\\N', header=true)"
        )
        assert con.execute(read, [str(path)]).fetchall() == rows


def test_pandas_reads_tsv_back():
    pandas = pytest.importorskip("pandas")
    import io

    data = encode([("a", 1), (None, 2), ('"', 3)], "tsv", ["t", "n"])
    frame = pandas.read_csv(
        io.BytesIO(data), sep="\t", na_values=["\\N"], keep_default_na=False, quoting=3
    )
    assert frame.astype(object).where(frame.notna(), None).values.tolist() == [
        ["a", 1],
        [None, 2],
        ['"', 3],
    ]


def test_postgresql_reads_any_tsv_back():
    databases = pytest.importorskip("databases")
    psycopg = pytest.importorskip("psycopg")
    rows = [(number, text) for number, text in enumerate(TEXTS)]
    with databases.postgres() as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE t (n int, s text)")
        with connection.cursor().copy("COPY t FROM STDIN (HEADER)") as copy:
            copy.write(encode(rows, "tsv", ["n", "s"]))
        assert connection.execute("SELECT n, s FROM t ORDER BY n").fetchall() == rows


def test_mariadb_reads_any_tsv_back(tmp_path):
    databases = pytest.importorskip("databases")
    pymysql = pytest.importorskip("pymysql")
    rows = tuple(enumerate(TEXTS))
    path = tmp_path / "a.tsv"
    path.write_bytes(encode(rows, "tsv", ["n", "s"]))
    with databases.mariadb() as settings:
        connection = pymysql.connect(**settings, local_infile=True)
        cursor = connection.cursor()
        cursor.execute("SET GLOBAL local_infile = 1")
        cursor.execute("CREATE TABLE t (n int, s text) CHARACTER SET utf8mb4")
        cursor.execute(
            f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE t CHARACTER SET utf8mb4 IGNORE 1 LINES"
        )
        cursor.execute("SELECT n, s FROM t ORDER BY n")
        assert cursor.fetchall() == rows
        connection.close()
