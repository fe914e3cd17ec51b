import datetime
import enum
import io
import itertools
import re
import uuid
import zipfile

import pytest
from helpers import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from unspool import EmptySource, RowError, Stream, UsageError
from unspool.formats import xlsx
from unspool.formats.xlsx import Xlsx
from unspool.headers import Asked

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)


def parts(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def sheet(rows, columns=None, number=1, **options):
    return parts(encode(rows, Xlsx(**options), columns))[f"xl/worksheets/sheet{number}.xml"]


HEAD = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    '<sheetViews><sheetView workbookViewId="0">{}</sheetView></sheetViews>'
    '<sheetFormatPr defaultRowHeight="15"/>'
)
FROZEN = (
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
    '<selection pane="bottomLeft"/>'
)


def test_a_sheet_is_not_compressed_again():
    plan = Stream([(1,)], "xlsx", columns=["n"], compress=True)
    assert plan.asked(Asked("gzip")) is plan
    assert "Vary" not in dict(plan.headers())


def test_a_sheet_with_names_has_a_frozen_bold_header_widths_and_filters():
    assert sheet([{"n": 1, "a & b": "x"}, {"n": 2, "a & b": None}]) == (
        HEAD.format(FROZEN) + '<cols><col min="1" max="1" width="11" customWidth="1"/>'
        '<col min="2" max="2" width="11" customWidth="1"/></cols><sheetData>'
        '<row r="1"><c r="A1" s="1" t="inlineStr"><is><t>n</t></is></c>'
        '<c r="B1" s="1" t="inlineStr"><is><t>a &amp; b</t></is></c></row>'
        '<row r="2"><c r="A2"><v>1</v></c><c r="B2" t="inlineStr"><is><t>x</t></is></c></row>'
        '<row r="3"><c r="A3"><v>2</v></c></row>'
        '</sheetData><autoFilter ref="A1:B3"/></worksheet>'
    )


def test_a_sheet_without_names_is_rows_alone():
    assert sheet([(1,)]) == (
        HEAD.format("") + '<cols><col min="1" max="1" width="11" customWidth="1"/></cols>'
        '<sheetData><row r="1"><c r="A1"><v>1</v></c></row></sheetData></worksheet>'
    )


def test_no_rows_are_a_sheet_with_the_header_alone():
    got = sheet([], ["a"])
    assert got.endswith('</row></sheetData><autoFilter ref="A1:A1"/></worksheet>')
    assert got.count("<row ") == 1


def test_no_rows_and_no_columns_is_an_error_that_says_what_to_do():
    with pytest.raises(EmptySource, match=r"columns=\[...\]"):
        encode([], "xlsx")


def test_rows_without_cells_are_rows():
    assert sheet([(), ()]).endswith(
        '<sheetData><row r="1"></row><row r="2"></row></sheetData></worksheet>'
    )


@pytest.mark.parametrize(
    ("name", "value", "width"),
    [
        ("n", 1, 11),
        ("n" * 8, 1, 11),
        ("n" * 9, 1, 12),
        ("n" * 47, 1, 50),
        ("n" * 48, 1, 50),
        ("n", "x" * 9, 11),
        ("n", "x" * 10, 12),
        ("n", "x" * 100, 50),
        ("n", 1 / 3, 11),
        ("n", None, 11),
        ("n", datetime.date(2026, 1, 2), 12),
        ("n", NOW, 20),
        ("n", uuid.UUID(int=1), 38),
    ],
)
def test_columns_are_as_wide_as_name_and_first_value(name, value, width):
    assert f'<col min="1" max="1" width="{width}"' in sheet([(value,), ("x" * 200,)], [name])


def test_the_parts_come_in_the_order_in_which_they_are_known():
    got = parts(encode([(1,)], Xlsx(sheet='<"it\'s & ours">'), ["a"]))
    assert list(got) == [
        "_rels/.rels",
        "xl/theme/theme1.xml",
        "xl/styles.xml",
        "xl/worksheets/sheet1.xml",
        "xl/_rels/workbook.xml.rels",
        "xl/workbook.xml",
        "[Content_Types].xml",
    ]
    assert got["xl/workbook.xml"].endswith(
        "<bookViews><workbookView/></bookViews><sheets><sheet name=\"&lt;&quot;it's &amp; "
        'ours&quot;&gt;" sheetId="1" r:id="rId1"/></sheets><definedNames><definedName '
        'name="_xlnm._FilterDatabase" localSheetId="0" hidden="1">\'&lt;&quot;it\'\'s &amp; '
        "ours&quot;&gt;'!$A$1:$A$2</definedName></definedNames></workbook>"
    )


def test_every_part_is_listed_with_its_type_and_every_relation_leads_to_a_part(monkeypatch):
    monkeypatch.setattr(xlsx, "MAX_ROWS", 2)
    got = parts(encode([(1,)] * 3, "xlsx", ["a"]))
    listed = re.findall('PartName="/(.*?)"', got["[Content_Types].xml"])
    assert sorted(listed) == sorted(
        name for name in got if name.endswith(".xml") and "[" not in name
    )
    targets = re.findall('Target="(.*?)"', got["xl/_rels/workbook.xml.rels"])
    assert sorted("xl/" + target for target in targets) == sorted(set(listed) - {"xl/workbook.xml"})


def rows_of(data):
    """Sheet name, and for each row its number and the texts in it."""
    found = parts(data)
    names = re.findall('<sheet name="(.*?)"', found["xl/workbook.xml"])
    for number, name in enumerate(names, 1):
        text = found[f"xl/worksheets/sheet{number}.xml"]
        rows = re.findall('<row r="([0-9]+)">(.*?)</row>', text, re.DOTALL)
        yield name, [(int(at), re.findall("<(?:v|t)>(.*?)</", row)) for at, row in rows]


# Limit in rows, number of rows, and the values under the header of each sheet.
ROLLS = [
    (4, 2, [2]),
    (4, 3, [3]),
    (4, 4, [3, 1]),
    (4, 6, [3, 3]),
    (4, 7, [3, 3, 1]),
    (2, 2, [1, 1]),
]


@pytest.mark.parametrize(("limit", "count", "sheets"), ROLLS)
def test_a_full_sheet_is_followed_by_the_next_with_the_header_again(
    monkeypatch, limit, count, sheets
):
    monkeypatch.setattr(xlsx, "MAX_ROWS", limit)
    data = encode([(value,) for value in range(count)], "xlsx", ["n"])
    values = iter(range(count))
    expected = []
    for number, rows in enumerate(sheets, 1):
        name = "Data" if number == 1 else f"Data ({number})"
        lines = [(at, [str(next(values))]) for at in range(2, rows + 2)]
        expected.append((name, [(1, ["n"]), *lines]))
    assert list(rows_of(data)) == expected
    for size in range(1, count + 1):
        assert encode([(value,) for value in range(count)], "xlsx", ["n"], size) == data
    areas = re.findall("!(.*?)</definedName>", parts(data)["xl/workbook.xml"])
    assert areas == [f"$A$1:$A${rows + 1}" for rows in sheets]


def test_sheets_without_a_header_roll_over_too(monkeypatch):
    monkeypatch.setattr(xlsx, "MAX_ROWS", 2)
    got = list(rows_of(encode([(1,), (2,), (3,)], "xlsx")))
    assert got == [("Data", [(1, ["1"]), (2, ["2"])]), ("Data (2)", [(1, ["3"])])]


def test_a_sheet_ends_before_the_row_that_would_make_it_too_large(monkeypatch):
    rows = [("x" * size,) for size in (10, 500, 20, 30, 400, 400, 10, 700, 5)]
    whole = encode(rows[:3], "xlsx", ["n"])
    limit = len(parts(whole)["xl/worksheets/sheet1.xml"]) - len(
        '</sheetData><autoFilter ref="A1:A4"/></worksheet>'
    )
    for bytes_max, first in [(limit - 1, 2), (limit, 3), (limit + 1, 3)]:
        monkeypatch.setattr(xlsx, "MAX_SHEET_BYTES", bytes_max)
        data = encode(rows, "xlsx", ["n"])
        sheets = [found for _, found in rows_of(data)]
        assert len(sheets[0]) == 1 + first
        values = [line[1] for found in sheets for line in found[1:]]
        assert values == [list(row) for row in rows]
        for size in range(1, len(rows)):
            assert encode(rows, "xlsx", ["n"], size) == data


def test_a_row_larger_than_a_sheet_may_be_has_a_sheet_of_its_own(monkeypatch):
    monkeypatch.setattr(xlsx, "MAX_SHEET_BYTES", 10)
    assert [len(found) for _, found in rows_of(encode([(1,), (2,)], "xlsx"))] == [1, 1]


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_file_too_large_for_excel_is_refused_before_the_row_is_taken(monkeypatch, over):
    encoder = Xlsx().encoder(["n"])
    before = len(encoder.begin() + encoder.feed([(1,)]))
    row = len('<row r="3"><c r="A3"><v>2</v></c></row>')
    monkeypatch.setattr(xlsx, "MAX_FILE_BYTES", before + xlsx._RESERVED_BYTES + row - over)
    if over <= 0:
        encoder.feed([(2,)])
        return
    with pytest.raises(RowError, match="row 1: with it the file would pass 4 GiB"):
        encoder.feed([(2,)])
    assert len(encoder.end()) > 0


BAD = [
    ([(1, b"x")], ["n", "raw"], "row 1, column 'raw': XLSX cannot carry b'x': it is a bytes."),
    ([(1, "a"), (2, [3])], None, "row 2, column 2: XLSX cannot carry [3]: it is a list."),
    (
        [("ok",), ("\ud800",)],
        ["t"],
        "row 2, column 't': XLSX cannot carry '\\ud800': it has a lone",
    ),
    ([(1, "a" * 32_768)], ["n", "t"], "row 1, column 't': XLSX cannot carry 'aaaa"),
    ([(uuid.UUID(int=1), 2), ("a" * 32_768, 1)], None, "row 2, column 1: XLSX cannot carry 'aaaa"),
    ([{"a" * 32_768: 1}], None, "row 1, column 'aaaa"),
    ([(1, 2), (3,)], None, "row 2: has 1 cells; the first row has 2."),
    ([(1,) * 16_385], None, "row 1: there are 16,385 columns, and a sheet in Excel has 16,384"),
]


@pytest.mark.parametrize(("rows", "columns", "message"), BAD)
def test_bad_rows_are_named_by_row_and_column(rows, columns, message):
    with pytest.raises(RowError) as caught:
        encode(rows, "xlsx", columns)
    assert str(caught.value).startswith(message)


def test_a_bad_row_is_counted_from_the_start_of_its_batch_in_a_later_sheet_too(monkeypatch):
    monkeypatch.setattr(xlsx, "MAX_ROWS", 2)
    with pytest.raises(RowError, match="row 5, column 'n'"):
        encode([(1,)] * 4 + [([],)], "xlsx", ["n"])


def test_after_a_bad_row_the_rows_before_it_can_be_fed_again(monkeypatch):
    monkeypatch.setattr(xlsx, "MAX_ROWS", 3)
    rows = [(value,) for value in range(7)]
    encoder = Xlsx().encoder(["n"])
    data = encoder.begin()
    for at in (0, 3):
        with pytest.raises(RowError):
            encoder.feed([*rows[at : at + 3], ([],)])
        data += encoder.feed(rows[at : at + 3])
    assert data + encoder.feed(rows[6:]) + encoder.end() == encode(rows, "xlsx", ["n"])


def test_as_many_columns_as_a_sheet_has_are_taken_and_no_more():
    wide = sheet([range(16_384)])
    assert '<c r="XFD1"><v>16383</v></c></row>' in wide
    names = [f"n{number}" for number in range(16_385)]
    Xlsx().encoder(names[:16_384])
    with pytest.raises(UsageError, match="16,385 columns"):
        Xlsx().encoder(names)


NAMES = [("a" * 31, True), ("a" * 32, False), ("😀" * 15, True), ("😀" * 16, False)]
NAMES += [("", False), (5, False), (None, False), ("a'b", True), ("'a", False), ("a'", False)]
NAMES += [(f"a{character}", False) for character in "[]:*?/\\\n\0"]
NAMES += [("History", False), ("hISTORY", False), ("History 2", True), (" ", True)]


@pytest.mark.parametrize(("name", "allowed"), NAMES)
def test_only_names_that_excel_allows_are_taken(name, allowed):
    if allowed:
        assert Xlsx(sheet=name).sheet_name(1) == name
    else:
        with pytest.raises(UsageError, match="no name for a sheet"):
            Xlsx(sheet=name)


@pytest.mark.parametrize("name", ["a", "a" * 31, "😀" * 15, "a" + "😀" * 15])
def test_names_of_later_sheets_are_unique_and_not_too_long(name):
    names = [Xlsx(sheet=name).sheet_name(number) for number in range(1, 200)]
    assert len(set(names)) == len(names)
    assert max(len(found.encode("utf-16-le")) // 2 for found in names) <= 31
    assert names[1].endswith(" (2)")


def test_the_first_bytes_come_before_any_row_and_the_rest_as_rows_come():
    encoder = Xlsx().encoder(["id", "name"])
    assert len(encoder.begin()) > 1000
    sizes = [
        len(encoder.feed([(at * 1000 + row, uuid.uuid4().hex) for row in range(1000)]))
        for at in range(20)
    ]
    for after in (5, 10, 15):  # The compressor gives a block now and then.
        assert sum(sizes[after - 5 : after]) > 0
    assert len(encoder.end()) < sum(sizes) / 5


class Size(enum.Enum):
    SMALL = 1
    NAMED = "big"
    NOTHING = None


def test_values_that_are_not_plain_are_written_as_their_plain_kin():
    numpy = pytest.importorskip("numpy")
    values = (
        Size.SMALL,
        Size.NAMED,
        Size.NOTHING,
        numpy.int64(5),
        numpy.float32(0.1),
        numpy.float64(2.5),
    )
    assert sheet([values, (*values[:5], uuid.UUID(int=0))]).endswith(
        '<row r="1"><c r="A1"><v>1</v></c><c r="B1" t="inlineStr"><is><t>big</t></is></c>'
        '<c r="D1"><v>5</v></c><c r="E1"><v>0.1</v></c><c r="F1"><v>2.5</v></c></row>'
        '<row r="2"><c r="A2"><v>1</v></c><c r="B2" t="inlineStr"><is><t>big</t></is></c>'
        '<c r="D2"><v>5</v></c><c r="E2"><v>0.1</v></c><c r="F2" t="inlineStr"><is>'
        "<t>00000000-0000-0000-0000-000000000000</t></is></c></row></sheetData></worksheet>"
    )


cells = st.one_of(
    st.text(st.sampled_from("&<_x0041 \n\t\r\0") | st.characters(exclude_categories=["Cs"])),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.decimals(),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.timedeltas(),
)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(*[cells] * width), min_size=1, max_size=10)
)


@settings(max_examples=50)
@given(tables, st.integers(1, 10), st.integers(1, 5))
def test_any_table_has_the_same_bytes_in_any_batch_size(rows, size, limit):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(xlsx, "MAX_ROWS", limit)
        assert encode(rows, "xlsx", None, size) == encode(rows, "xlsx")
        sheets = [found for _, found in rows_of(encode(rows, "xlsx"))]
    assert sum(map(len, sheets)) == len(rows)
    assert all([at for at, _ in found] == list(range(1, len(found) + 1)) for found in sheets)


def test_no_part_needs_zip64_and_every_part_is_found_without_seeking():
    stream_unzip = pytest.importorskip("stream_unzip").stream_unzip
    data = encode([(1,)], "xlsx")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert all(info.extract_version == 20 and not info.extra for info in archive.infolist())
    chunks = (data[at : at + 100] for at in range(0, len(data), 100))
    found = {name.decode(): b"".join(content).decode() for name, _, content in stream_unzip(chunks)}
    assert found == parts(data)


def test_memory_stays_flat():
    import tracemalloc

    encoder = Xlsx().encoder(["id", "text"])
    encoder.begin()
    peaks = []
    for number in range(3):
        tracemalloc.start()
        for _ in range(20 if number else 2):
            encoder.feed([(row, f"row {row}") for row in itertools.islice(range(10**6), 1000)])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] * 1.1 + 10_000
