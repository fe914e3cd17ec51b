"""The parts of an XLSX file around its rows (ECMA-376 parts 1 and 2), as XML."""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Sequence
from typing import Any

from unspool.formats.xlsx_rows import column_letters, text_cell

__all__ = [
    "FIRST_PARTS",
    "content_types",
    "filter_area",
    "sheet_foot",
    "sheet_head",
    "sheet_path",
    "workbook",
    "workbook_rels",
]

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = 'xmlns="http://schemas.openxmlformats.org/package/2006/{}"'
_TYPE = "application/vnd.openxmlformats-officedocument."

_STYLES_PATH = "xl/styles.xml"
_THEME_PATH = "xl/theme/theme1.xml"

_RELS = (
    f"{_XML}<Relationships {_PACKAGE.format('relationships')}>"
    f'<Relationship Id="rId1" Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/>'
    "</Relationships>"
)

# The styles of cells, by which xlsx_rows.py has them: 0 none, 1 header, 2 date, 3 datetime,
# 4 time, 5 timedelta. Excel wants the first two fills to be these.
_STYLES = (
    f"{_XML}<styleSheet {_MAIN}>"
    '<numFmts count="4">'
    '<numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/>'
    '<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/>'
    '<numFmt numFmtId="166" formatCode="hh:mm:ss"/>'
    '<numFmt numFmtId="167" formatCode="[h]:mm:ss"/>'
    "</numFmts>"
    '<fonts count="2">'
    '<font><sz val="11"/><name val="Calibri"/><family val="2"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font>'
    "</fonts>"
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="6">'
    '<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    + "".join(
        f'<xf numFmtId="{number}" fontId="0" fillId="0" borderId="0" xfId="0"'
        ' applyNumberFormat="1"/>'
        for number in range(164, 168)
    )
    + "</cellXfs>"
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>'
    "</styleSheet>"
)

_COLOURS = {
    "dk1": "000000",
    "lt1": "FFFFFF",
    "dk2": "44546A",
    "lt2": "E7E6E6",
    "accent1": "4472C4",
    "accent2": "ED7D31",
    "accent3": "A5A5A5",
    "accent4": "FFC000",
    "accent5": "5B9BD5",
    "accent6": "70AD47",
    "hlink": "0563C1",
    "folHlink": "954F72",
}
_FILL = '<a:solidFill><a:schemeClr val="phClr"/></a:solidFill>'
_FACES = '<a:latin typeface="Calibri"/><a:ea typeface=""/><a:cs typeface=""/>'

# The least that the schema allows (part 1, 20.1.6.9): three of each thing.
_THEME = (
    f'{_XML}<a:theme xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" name="Plain">'
    '<a:themeElements><a:clrScheme name="Plain">'
    + "".join(
        f'<a:{name}><a:srgbClr val="{colour}"/></a:{name}>' for name, colour in _COLOURS.items()
    )
    + '</a:clrScheme><a:fontScheme name="Plain">'
    f"<a:majorFont>{_FACES}</a:majorFont><a:minorFont>{_FACES}</a:minorFont></a:fontScheme>"
    '<a:fmtScheme name="Plain">'
    f"<a:fillStyleLst>{_FILL * 3}</a:fillStyleLst>"
    f"<a:lnStyleLst>{f'<a:ln>{_FILL}</a:ln>' * 3}</a:lnStyleLst>"
    f"<a:effectStyleLst>{'<a:effectStyle><a:effectLst/></a:effectStyle>' * 3}</a:effectStyleLst>"
    f"<a:bgFillStyleLst>{_FILL * 3}</a:bgFillStyleLst>"
    "</a:fmtScheme></a:themeElements></a:theme>"
)

# What is known before the first row. Programs that tell files by their first bytes look for
# these names there; all other parts come after the rows.
FIRST_PARTS = (
    ("_rels/.rels", _RELS.encode()),
    (_THEME_PATH, _THEME.encode()),
    (_STYLES_PATH, _STYLES.encode()),
)

# Widths in characters: a date fits in the least, a datetime needs more.
_LEAST_WIDTH = 11
_MOST_WIDTH = 50
_DATETIME_WIDTH = 20
_FILTER_WIDTH = 3


def sheet_head(names: Sequence[str] | None, row: Sequence[Any]) -> bytes:
    """A sheet up to its first row: widths that suit `row`, a header that stays in sight."""
    view = (
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
        '<selection pane="bottomLeft"/>'
        if names
        else ""
    )
    return (
        f"{_XML}<worksheet {_MAIN}>"
        f'<sheetViews><sheetView workbookViewId="0">{view}</sheetView></sheetViews>'
        f'<sheetFormatPr defaultRowHeight="15"/>{_columns(names, row)}<sheetData>'
        f"{_header(names or ())}"
    ).encode()


def _header(names: Sequence[str]) -> str:
    if not names:
        return ""
    letters = column_letters(len(names))
    cells = zip(letters, names, strict=True)
    row = "".join([f'<c r="{letter}1" s="1"{text_cell(name)}' for letter, name in cells])
    return f'<row r="1">{row}</row>'


def _columns(names: Sequence[str] | None, row: Sequence[Any]) -> str:
    widths = list(map(_width, row)) or [_LEAST_WIDTH] * len(names or ())
    if names:
        headers = [len(name) + _FILTER_WIDTH for name in names]
        widths = list(map(max, widths, headers))
    columns = "".join(
        [
            f'<col min="{at}" max="{at}" width="{min(width, _MOST_WIDTH)}" customWidth="1"/>'
            for at, width in enumerate(widths, 1)
        ]
    )
    return f"<cols>{columns}</cols>" if columns else ""


def _width(value: Any) -> int:
    if isinstance(value, datetime.datetime):
        return _DATETIME_WIDTH
    if value is None or isinstance(value, (int, float, decimal.Decimal)):
        return _LEAST_WIDTH  # Excel rounds what it shows of a number to the width.
    return max(_LEAST_WIDTH, len(str(value)) + 2)


def sheet_foot(area: str | None) -> bytes:
    """A sheet from behind its last row on; `area` has the header and can be filtered."""
    filtered = f'<autoFilter ref="{area}"/>' if area else ""
    return f"</sheetData>{filtered}</worksheet>".encode()


def filter_area(names: Sequence[str] | None, last_row: int) -> str | None:
    """The cells from the header to the last row, such as A1:C7; None without a header."""
    return f"A1:{column_letters(len(names))[-1]}{last_row}" if names else None


def sheet_path(number: int) -> str:
    """Where in the file the sheet is."""
    return f"xl/worksheets/sheet{number}.xml"


def workbook(sheets: Sequence[tuple[str, str | None]]) -> bytes:
    """The list of sheets: the name and the filtered area of each."""
    names = "".join(
        [
            f'<sheet name="{_attribute(name)}" sheetId="{number}" r:id="rId{number}"/>'
            for number, (name, _) in enumerate(sheets, 1)
        ]
    )
    areas = "".join(
        [
            f'<definedName name="_xlnm._FilterDatabase" localSheetId="{at}" hidden="1">'
            f"{_attribute(_reference(name, area))}</definedName>"
            for at, (name, area) in enumerate(sheets)
            if area
        ]
    )
    defined = f"<definedNames>{areas}</definedNames>" if areas else ""
    return (
        f'{_XML}<workbook {_MAIN} xmlns:r="{_DOCUMENT}"><bookViews><workbookView/></bookViews>'
        f"<sheets>{names}</sheets>{defined}</workbook>"
    ).encode()


def workbook_rels(sheets: int) -> bytes:
    """Where the parts of the workbook are."""
    parts = [("worksheet", sheet_path(number)) for number in range(1, sheets + 1)]
    parts += [("styles", _STYLES_PATH), ("theme", _THEME_PATH)]
    rels = "".join(
        [
            f'<Relationship Id="rId{number}" Type="{_DOCUMENT}/{kind}" '
            f'Target="{path.removeprefix("xl/")}"/>'
            for number, (kind, path) in enumerate(parts, 1)
        ]
    )
    return (
        f"{_XML}<Relationships {_PACKAGE.format('relationships')}>{rels}</Relationships>"
    ).encode()


def content_types(sheets: int) -> bytes:
    """What each part is."""
    parts = [("xl/workbook.xml", "spreadsheetml.sheet.main")]
    parts += [(sheet_path(number), "spreadsheetml.worksheet") for number in range(1, sheets + 1)]
    parts += [(_STYLES_PATH, "spreadsheetml.styles"), (_THEME_PATH, "theme")]
    overrides = "".join(
        [f'<Override PartName="/{path}" ContentType="{_TYPE}{kind}+xml"/>' for path, kind in parts]
    )
    return (
        f"{_XML}<Types {_PACKAGE.format('content-types')}>"
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'
    ).encode()


def _reference(name: str, area: str) -> str:
    """The area in the sheet of that name, such as 'Data'!$A$1:$C$7."""
    quoted = name.replace("'", "''")
    fixed = re.sub("([A-Z]+)([0-9]+)", r"$\1$\2", area)
    return f"'{quoted}'!{fixed}"


def _attribute(text: str) -> str:
    for character, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, escaped)
    return text
