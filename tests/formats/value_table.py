"""What each format makes of each type of value, as the table in docs/formats/values.md.

`PYTHONPATH=tests python -m formats.value_table` writes it; a test holds it current.
"""

import datetime
import decimal
import enum
import fractions
import html
import re
import uuid
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from helpers import encode

from unspool import Csv, RowError

PAGE = Path(__file__).parents[2] / "docs" / "formats" / "values.md"

INTRO = """\
# Format by value type

What each format makes of each type of value: made by `tests/formats/value_table.py` from what the encoders give, and
held current by a test. `RowError` names row and column; the rows before it are sent. ␉ is a tab, ␊ a line feed.
Reasons stand on the pages of the formats: [CSV and JSON](../formats.md), [XLSX](xlsx.md),
[HTML, Markdown, TSV and XML](tables.md), [Parquet and Arrow](parquet.md).
"""


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int


class Nameless:
    pass


MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5)

VALUES = [
    ("`None`", None),
    ("`str`, empty", ""),
    ("`str`", "é, <b> & *c*"),
    ("… with tab and line break", "a\tb\nc"),
    ("… with a control character", "a\x01b"),
    ("… with a lone surrogate", "\ud800"),
    ("… that is a formula", "=1+1"),
    ("… of digits", "007"),
    ("`bool`", True),
    ("`int`", 5),
    ("… of more than 15 digits", 10**15),
    ("… beyond 64 bits", 10**20),
    ("`float`", 0.1),
    ("… NaN", float("nan")),
    ("… infinite", float("-inf")),
    ("`Decimal`", decimal.Decimal("1.10")),
    ("… of more than 15 digits", decimal.Decimal("1.234567890123456")),
    ("`date`", MOMENT.date()),
    ("… before March 1900", datetime.date(1899, 1, 2)),
    ("`datetime`", MOMENT),
    ("… with a time zone", MOMENT.replace(tzinfo=datetime.UTC)),
    ("`time`", MOMENT.time()),
    ("`timedelta`", datetime.timedelta(1, 2)),
    ("… below 0", datetime.timedelta(-1)),
    ("`UUID`", uuid.UUID(int=1)),
    ("`Enum`", Colour.RED),
    ("`Fraction`", fractions.Fraction(1, 2)),
    ("`bytes`", b"a"),
    ("`list`, `tuple`", [1, 2]),
    ("`dict`", {"a": 1}),
    ("`set`", {1}),
    ("a dataclass as a value", Point(1)),
    ("another object", Nameless()),
]


def by_csv(value):
    return encode([(value, 1)], Csv()).decode().removesuffix(",1\r\n")


def by_tsv(value):
    return encode([(value, 1)], "tsv").decode().removesuffix("\t1\n")


def by_json(value):
    return encode([(value,)], "ndjson").decode()[1:-2]


def between(start, end, text):
    return re.search(f"{start}(.*?){end}", text, re.DOTALL)[1]


def by_html(value):
    return between("<tr><td>", "</td></tr>", encode([(value,)], "html").decode())


def by_markdown(value):
    return encode([(value,)], "markdown").decode().split("\n")[2].removeprefix("| ")[:-2]


def by_xml(value):
    return between("<row>", "</row>", encode([(value,)], "xml", ["v"]).decode())


KINDS = {
    ' t="b"': "boolean",
    ' t="inlineStr"': "text",
    "": "number",
    ' s="2"': "date",
    ' s="3"': "date and time",
    ' s="4"': "time",
    ' s="5"': "duration",
}


def by_xlsx(value):
    with zipfile.ZipFile(BytesIO(encode([(value,)], "xlsx"))) as archive:
        row = between('<row r="1">', "</row>", archive.read("xl/worksheets/sheet1.xml").decode())
    if not row:
        return None, "no cell"
    attributes, content = re.fullmatch('<c r="A1"(.*?)>(.*)</c>', row, re.DOTALL).groups()
    return html.unescape(re.sub("<.*?>", "", content)), KINDS[attributes]


def by_arrow(value):
    import pyarrow

    with pyarrow.ipc.open_stream(encode([(value,)], "arrow", ["v"])) as reader:
        return None, f"`{reader.schema.field(0).type}`"


TEXTS = {
    "CSV": by_csv,
    "TSV": by_tsv,
    "JSON, NDJSON": by_json,
    "HTML": by_html,
    "Markdown": by_markdown,
    "XML": by_xml,
}
TYPED = {"XLSX": by_xlsx, "Parquet and Arrow: type": by_arrow}

# Unicode has a picture for each control character.
VISIBLE = {code: 0x2400 + code for code in range(32)}


def shown(read, value):
    """What a cell of the table says."""
    try:
        got = read(value)
    except RowError:
        return "`RowError`"
    text, kind = got if isinstance(got, tuple) else (got, "")
    if text is None:
        return kind
    code = f"`{text.translate(VISIBLE)}`" if text else "nothing" if not kind else "of no length"
    return f"{kind} {code}".strip()


def table(readers):
    lines = [f"| Value | {' | '.join(readers)} |", "|---" * (len(readers) + 1) + "|"]
    for name, value in VALUES:
        cells = [shown(read, value) for read in readers.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def page():
    return (
        f"{INTRO}\n## Formats of text\n\n{table(TEXTS)}\n## Formats with types\n\n"
        f"In XLSX dates and times are numbers of days.\n\n{table(TYPED)}"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
