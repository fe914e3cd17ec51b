import datetime
import decimal
import enum
import uuid

import pytest

from unspool.formats.xlsx_rows import column_letters, sheet_rows


def text(content, attributes=""):
    return f' t="inlineStr"><is><t{attributes}>{content}</t></is></c>'


def number(content, style=""):
    return f"{style}><v>{content}</v></c>"


SPACED = ' xml:space="preserve"'
UTC = datetime.UTC
DATE, MOMENT, TIME, SPAN = (f' s="{style}"' for style in (2, 3, 4, 5))
Decimal = decimal.Decimal

# A value, and its cell from behind its place on; None where there is no cell.
CELLS = [
    (None, None),
    ("", text("")),
    ("a", text("a")),
    ("&<>'\"", text("&amp;&lt;&gt;'\"")),
    ("a\nb\tc", text("a\nb\tc")),
    ("a\rb", text("a_x000D_b")),
    ("\x00\x01\x1f\x7f\x80", text("_x0000__x0001__x001F_\x7f\x80")),
    ("\ufffe\uffff\ufffd", text("_xFFFE__xFFFF_\ufffd")),
    ("_x0041_", text("_x005F_x0041_")),
    ("_x00aF_ _x005F_", text("_x005F_x00aF_ _x005F_x005F_")),
    ("_x4_ _x004_ _X0041_", text("_x005F_x4_ _x005F_x004_ _x005F_X0041_")),
    ("_x_ _x00410_ x0041_ _x0041 _xG_ _x", text("_x_ _x00410_ x0041_ _x0041 _xG_ _x")),
    ("_x0041_x0042_", text("_x005F_x0041_x005F_x0042_")),
    (" a", text(" a", SPACED)),
    ("a ", text("a ", SPACED)),
    ("\ta", text("\ta", SPACED)),
    ("a\n", text("a\n", SPACED)),
    ("a\u00a0", text("a\u00a0")),
    ("\ra", text("_x000D_a")),
    ("a  b", text("a  b")),
    ("née 日本 😀", text("née 日本 😀")),
    ("=1+1", text("=1+1")),
    ("007", text("007")),
    ("|", text("|")),
    (True, ' t="b"><v>1</v></c>'),
    (False, ' t="b"><v>0</v></c>'),
    (0, number(0)),
    (-12, number(-12)),
    (999_999_999_999_999, number(999999999999999)),
    (-999_999_999_999_999, number(-999999999999999)),
    (1_000_000_000_000_000, text("1000000000000000")),
    (-1_000_000_000_000_000, text("-1000000000000000")),
    (10**30, text("1" + "0" * 30)),
    (1.5, number(1.5)),
    (-0.0, number(-0.0)),
    (0.1 + 0.2, number("0.30000000000000004")),
    (1e300, number("1e+300")),
    (5e-324, number("5e-324")),
    (float("nan"), text("nan")),
    (float("inf"), text("inf")),
    (-float("inf"), text("-inf")),
    (Decimal("1.10"), number("1.10")),
    (Decimal("-0"), number("-0")),
    (Decimal("0E+400"), number("0E+400")),
    (Decimal("123456789012.345"), number("123456789012.345")),
    (Decimal("123456789012.3456"), text("123456789012.3456")),
    (Decimal("1E+3"), number("1E+3")),
    (Decimal("1E+307"), number("1E+307")),
    (Decimal("1E+308"), text("1E+308")),
    (Decimal("1E-306"), number("1E-306")),
    (Decimal("1E-307"), text("1E-307")),
    (Decimal("NaN"), text("NaN")),
    (Decimal("sNaN12"), text("sNaN12")),
    (Decimal("-Infinity"), text("-Infinity")),
    (datetime.date(1900, 2, 28), text("1900-02-28")),
    (datetime.date(1900, 3, 1), number(61, DATE)),
    (datetime.date(2026, 1, 2), number(46024, DATE)),
    (datetime.date(9999, 12, 31), number(2958465, DATE)),
    (datetime.date(1, 1, 1), text("0001-01-01")),
    (datetime.datetime(1900, 2, 28, 23, 59, 59), text("1900-02-28 23:59:59")),
    (datetime.datetime(1900, 3, 1), number("61.0", MOMENT)),
    (datetime.datetime(2026, 1, 2, 12), number("46024.5", MOMENT)),
    (datetime.datetime(2026, 1, 2, 3, 4, 5, 678901), number("46024.12784349537", MOMENT)),
    (datetime.datetime(9999, 12, 31, 23, 59, 59), number("2958465.999988426", MOMENT)),
    (datetime.datetime.max, number("2958465.9999999884", MOMENT)),
    (datetime.datetime(2026, 1, 2, tzinfo=UTC), text("2026-01-02 00:00:00+00:00")),
    (datetime.time(0), number("0.0", TIME)),
    (datetime.time(6, 0), number("0.25", TIME)),
    (datetime.time(23, 59, 59, 999999), number("0.999999988425926", TIME)),
    (datetime.time(6, 0, tzinfo=UTC), text("06:00:00+00:00")),
    (datetime.timedelta(0), number("0.0", SPAN)),
    (datetime.timedelta(1.5), number("1.5", SPAN)),
    (datetime.timedelta(microseconds=-1), text("-1 day, 23:59:59.999999")),
]
MIXED = "not like the others & special"


def cell(place, rest):
    return "" if rest is None else f'<c r="{place}"{rest}'


@pytest.mark.parametrize(("value", "rest"), CELLS)
def test_a_value_becomes_this_cell_alone_and_among_others(value, rest):
    other = cell("A3", text(MIXED.replace("&", "&amp;")))
    alike = f'<row r="1">{cell("A1", rest)}</row><row r="2">{cell("A2", rest)}</row>'
    assert sheet_rows([(value,), (value,)], 1) == alike
    assert sheet_rows([(value,), (value,), (MIXED,)], 1) == f'{alike}<row r="3">{other}</row>'
    assert (
        sheet_rows([(None,), (value,)], 7)
        == f'<row r="7"></row><row r="8">{cell("A8", rest)}</row>'
    )
    assert sheet_rows([(5, value, None, 6)], 12) == (
        f'<row r="12"><c r="A12"><v>5</v></c>{cell("B12", rest)}<c r="D12"><v>6</v></c></row>'
    )


def test_rows_without_cells_are_rows():
    assert sheet_rows([(), ()], 4) == '<row r="4"></row><row r="5"></row>'


def test_a_percent_sign_is_text():
    assert sheet_rows([("%s", "%d")], 1) == (
        f'<row r="1">{cell("A1", text("%s"))}{cell("B1", text("%d"))}</row>'
    )


@pytest.mark.parametrize(
    ("text", "fits"),
    [("a" * 32_766, True), ("a" * 32_767, True), ("a" * 32_768, False)]
    + [("😀" * 16_383, True), ("😀" * 16_383 + "a", True), ("😀" * 16_384, False)]
    + [("a" * 16_383, True), ("\ud800" * 32_767, True), ("\ud800" * 32_768, False)],
)
def test_text_is_limited_to_32_767_utf_16_units(text, fits):
    for rows in [(text,)], [(1,), (text,)], [("b",), (text,)]:
        if fits:
            assert text in sheet_rows(rows, 1)
        else:
            with pytest.raises(ValueError, match="32,768 characters"):
                sheet_rows(rows, 1)


class Name(str):
    __slots__ = ()


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize("value", [Name("a"), Colour.RED, uuid.UUID(int=1), b"x", [1], object()])
def test_types_that_are_not_plain_are_refused(value):
    for rows in [(value,)], [(1,), (value,)], [(None,), (value,)]:
        with pytest.raises(TypeError):
            sheet_rows(rows, 1)


def test_columns_have_the_names_that_openpyxl_gives_them():
    utils = pytest.importorskip("openpyxl.utils")
    assert column_letters(16_384) == tuple(map(utils.get_column_letter, range(1, 16_385)))
    assert column_letters(16_384)[-1] == "XFD"
