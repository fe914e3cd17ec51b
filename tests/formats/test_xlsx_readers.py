"""XLSX read back by readers that others wrote, and judged by a validator."""

import csv
import datetime
import io
import json
import os
import re
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from helpers import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from unspool.formats import xlsx
from unspool.formats.xlsx import Xlsx

ROOT = Path(__file__).parents[2]
NPM = ROOT / ".cache" / "npm"  # `make test` fetches what is in it.
SOFFICE = ROOT / ".cache" / "soffice"
READERS = ROOT / "tests" / "readers"

date, moment, time, span = datetime.date, datetime.datetime, datetime.time, datetime.timedelta
MIDNIGHT = time(0)
ZERO = moment(1899, 12, 30)


def by_openpyxl(path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(path)
    for sheet in book.worksheets:
        assert sheet.freeze_panes == "A2"
        assert sheet.auto_filter.ref == sheet.dimensions
        assert all(cell.font.b for cell in sheet[1])
        assert not any(cell.font.b for cell in sheet[2])
    return [(sheet.title, [*sheet.iter_rows(values_only=True)]) for sheet in book.worksheets]


def by_openpyxl_read_only(path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(path, read_only=True)
    sheets = [(sheet.title, [*sheet.iter_rows(values_only=True)]) for sheet in book.worksheets]
    book.close()
    return sheets


def by_calamine(path):
    calamine = pytest.importorskip("python_calamine")
    book = calamine.CalamineWorkbook.from_path(path)
    return [(name, book.get_sheet_by_name(name).to_python()) for name in book.sheet_names]


def node(script, package, path):
    folder = NPM / package / "node_modules" / package.split("@")[0]
    if not folder.exists():
        pytest.skip(f"{package} is not there; `make test` fetches it")
    done = subprocess.run(
        ["node", READERS / script, folder, path],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TZ": "UTC"},
    )
    return json.loads(done.stdout)


def by_sheetjs(path):
    sheets = node("sheetjs.cjs", "xlsx@0.18.5", path)
    assert all(re.fullmatch(r"A1:[A-Z]+[0-9]+", sheet["filter"]) for sheet in sheets)
    return [(sheet["name"], sheet["rows"]) for sheet in sheets]


def by_exceljs(path):
    sheets = node("exceljs.cjs", "exceljs@4.4.0", path)
    assert all(sheet["frozen"] == 1 and sheet["bold"] for sheet in sheets)
    return [(sheet["name"], sheet["rows"]) for sheet in sheets]


def by_libreoffice(path):
    if not SOFFICE.exists():
        pytest.skip("LibreOffice is not there; `make test` installs it")
    folder = path.with_suffix("")
    # CSV, UTF-8, as shown, all sheets, each to a file NAME-SHEET.csv.
    kind = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"
    profile = f"-env:UserInstallation=file://{path.parent}/profile"
    command = [SOFFICE, "--headless", profile, "--convert-to", kind, "--outdir", folder, path]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    sheets = []
    for file in sorted(folder.iterdir(), key=lambda file: (len(file.name), file.name)):
        with file.open(encoding="utf-8", newline="") as lines:
            sheets.append((file.stem.removeprefix(f"{path.stem}-"), list(csv.reader(lines))))
    return sheets


BY_NAME = {
    reader.__name__.removeprefix("by_"): reader
    for reader in (
        by_openpyxl,
        by_openpyxl_read_only,
        by_calamine,
        by_sheetjs,
        by_exceljs,
        by_libreoffice,
    )
}
EACH_READER = pytest.mark.parametrize("name", BY_NAME)


def from_python(value):
    """What readers in Python make of a value."""
    if type(value) is date:
        return moment.combine(value, MIDNIGHT)
    return cut(value)


def cut(value):
    if isinstance(value, (moment, time)):
        return value.replace(microsecond=value.microsecond // 1000 * 1000)
    return float(value) if isinstance(value, Decimal) else value


def from_calamine(value):
    return "" if value is None else cut(value)


def from_javascript(value):
    """The same in JSON: there all dates and times are moments."""
    if isinstance(value, time):
        value = moment.combine(ZERO.date(), value)
    if isinstance(value, span):
        value = ZERO + value
    if isinstance(value, date):
        return from_python(value).isoformat(timespec="milliseconds") + "Z"
    return from_python(value)


def from_exceljs(value):
    return from_javascript(value) or (None if value == "" else value)


def from_libreoffice(value):
    """The same as shown; times have a form of their own."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, time):
        return value.strftime("%I:%M:%S %p")
    if isinstance(value, span):
        return f"{value.days * 24 + value.seconds // 3600}:{value.seconds // 60 % 60:02}:00"
    return (
        "" if value is None else f"{float(value):g}" if isinstance(value, Decimal) else str(value)
    )


EXPECTED = {
    "openpyxl": from_python,
    "openpyxl_read_only": from_python,
    "calamine": from_calamine,
    "sheetjs": from_javascript,
    "exceljs": from_exceljs,
    "libreoffice": from_libreoffice,
}

# Values that every reader gives back.
VALUES = [
    "text",
    "",
    None,
    True,
    False,
    5,
    -1.5,
    999_999_999_999_999,
    Decimal("1.10"),
    date(2026, 1, 2),
    date(1900, 3, 1),
    date(9999, 12, 31),
    moment(2026, 1, 2, 3, 4, 5),
    time(6, 7, 8),
    span(1.5),
    " space ",
    "two\nlines",
    "tab\t",
    "<&>'\"]]>",
    "=1+1",
    "007",
    "0.1",
    "é 日本 😀 \x7f\u00a0",
    "a" * 32_767,
]
# Values that are text in a sheet.
TEXTS = [
    10**15,
    -(10**15),
    10**30,
    Decimal("1.234567890123456"),
    float("nan"),
    float("-inf"),
    date(1900, 2, 28),
    moment(2026, 1, 2, tzinfo=datetime.UTC),
    span(-1),
]
# Text with characters that XML does not have, and text that looks like their escapes.
ESCAPED = ["\x01", "a\rb", "\x1f", "_x0041_", "_x005F_", "_x004_", "_X0041_", "_x4_", "_x00410_"]
# Moments near the next one; readers round to milliseconds.
LAST = [moment(2026, 1, 2, 23, 59, 59, 999_999), time.max, moment(2026, 1, 2, 3, 4, 5, 678_999)]


def read(name, rows, tmp_path, columns=None, **options):
    path = tmp_path / "a.xlsx"
    path.write_bytes(encode(rows, Xlsx(**options), columns))
    return BY_NAME[name](path)


@EACH_READER
def test_every_value_comes_back_as_it_was(name, tmp_path):
    values = VALUES + TEXTS
    columns = [f"n{at}" for at in range(len(values))]
    empty = [*[None] * (len(values) - 1), "last"]
    [(sheet, rows)] = read(name, [values, empty, values], tmp_path, columns)
    expected = [
        [EXPECTED[name](value) for value in row] for row in ([*VALUES, *map(str, TEXTS)], empty)
    ]
    assert sheet == "Data"
    assert [list(row) for row in rows] == [columns, *expected, expected[0]]


# openpyxl and exceljs 4 leave `_x0001_` as it is.
@pytest.mark.parametrize("name", ["calamine", "sheetjs", "libreoffice"])
def test_characters_that_xml_does_not_have_come_back(name, tmp_path):
    [(_, rows)] = read(name, [ESCAPED], tmp_path, [f"n{at}" for at in range(len(ESCAPED))])
    assert list(rows[1]) == ESCAPED


@pytest.mark.parametrize("name", ["openpyxl", "calamine", "sheetjs", "exceljs"])
def test_the_last_moment_of_a_day_is_not_rounded_up_to_the_next(name, tmp_path):
    [(_, rows)] = read(name, [LAST], tmp_path, ["a", "b", "c"])
    expect = from_javascript if name.endswith("js") else cut
    assert list(rows[1]) == [expect(cut(value)) for value in LAST]


@EACH_READER
def test_the_sheets_after_the_first_come_back(name, tmp_path, monkeypatch):
    monkeypatch.setattr(xlsx, "MAX_ROWS", 4)
    sheets = read(name, [(f"row {at}",) for at in range(8)], tmp_path, ["n"], sheet="A & B's")
    assert [title for title, _ in sheets] == ["A & B's", "A & B's (2)", "A & B's (3)"]
    assert [[list(row) for row in rows] for _, rows in sheets] == [
        [["n"], *([f"row {at}"] for at in numbers)] for numbers in [(0, 1, 2), (3, 4, 5), (6, 7)]
    ]


@EACH_READER
def test_a_header_alone_comes_back(name, tmp_path):
    if name == "openpyxl":
        name = "openpyxl_read_only"  # There is no second row to look at.
    [(_, rows)] = read(name, [], tmp_path, ["a", "b"])
    assert [list(row) for row in rows] == [["a", "b"]]


# Text in XML's own characters; U+FFFE and U+FFFF are escaped, CR too.
texts = st.text(
    st.sampled_from("&<>\"' \n\t_x0041")
    | st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
)
cells = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    st.dates(min_value=date(1900, 3, 1)),
    st.datetimes(min_value=moment(1900, 3, 1)),
    st.timedeltas(min_value=span(0), max_value=span(10_000)),
    st.times(),
)
tables = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.tuples(*[cells] * width), min_size=1, max_size=10)
)


@settings(max_examples=100)
@given(tables, st.integers(1, 10))
def test_calamine_reads_any_table_back(rows, size):
    calamine = pytest.importorskip("python_calamine")
    names = [f"n{at}" for at in range(len(rows[0]))]
    rows = [*rows, names]  # It leaves out rows at the end that have nothing in them.
    data = encode(rows, "xlsx", names, size)
    book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    got = book.get_sheet_by_index(0).to_python()
    assert [list(map(comparable, row)) for row in got[1:]] == [
        [comparable(from_calamine(value)) for value in row] for row in rows
    ]


def comparable(value):
    """What is the same to a sheet: a midnight and its day, and spans of the same milliseconds."""
    if type(value) is date:
        return moment.combine(value, MIDNIGHT)
    if isinstance(value, span):
        return value // span(milliseconds=1)
    return value


@pytest.mark.parametrize("columns", [None, ["a", "b"]])
def test_a_validator_finds_nothing_wrong(columns, tmp_path, monkeypatch):
    openxml_audit = pytest.importorskip("openxml_audit")
    monkeypatch.setattr(xlsx, "MAX_ROWS", 6)
    path = tmp_path / "a.xlsx"
    values = VALUES + TEXTS + ESCAPED + LAST
    path.write_bytes(encode([(value, None) for value in values], "xlsx", columns))
    result = openxml_audit.OpenXmlValidator().validate(path)
    found = [str(error) for error in result.errors if "inline-string" not in str(error)]
    assert found == []
