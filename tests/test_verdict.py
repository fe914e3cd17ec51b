"""Whole files are found whole, and every cut of them is found."""

import gzip
import io
import json
import zipfile

import pytest
from formats.test_zip import zipped
from helpers import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from unspool import (
    Arrow,
    Csv,
    Event,
    Json,
    Member,
    Ndjson,
    Parquet,
    Sse,
    UsageError,
    Verdict,
    verify,
)
from unspool._optional import found
from unspool.verdict.text import SCANS

pytest.importorskip("pyarrow")
zstd = found("compression.zstd") or found("backports.zstd")

# Values that look like ends.
ROWS = [
    {"n": 1, "text": 'a "b" \\" \\'},
    {"n": 2, "text": "# 1 rows\r\n# 2 rows\r\n"},
    {"n": 3, "text": '{"unspool":{"rows":2}}\n]\n],"unspool":{"rows":3}}\n'},
    {"n": 4, "text": "\r\n\n\nevent: end\ndata: {}\n\n"},
    {"n": 5, "text": "é, [{(\u2028"},
]


def compressed_by_zstd(data):
    return zstd.compress(data)


def members():
    yield Member("a.csv", ROWS, Csv(end_mark=True))
    yield Member("b.json", ROWS)
    yield Member("c.parquet", ROWS, Parquet(row_group_rows=2))
    yield Member("d.txt", ["text"])


# Name of the file, its bytes, rows.
WHOLE = [
    ("a.csv", encode(ROWS, Csv(end_mark=True)), 5),
    ("cr.csv", encode(ROWS, Csv(end_mark=True, line_end="\r", header=False, delimiter=";")), 5),
    ("none.csv", encode([], Csv(end_mark=True), ["a"]), 0),
    ("none-at-all.csv", encode([], Csv(end_mark=True, header=False)), 0),
    ("a.ndjson", encode(ROWS, Ndjson(end_mark=True)), 5),
    ("none.jsonl", encode([], Ndjson(end_mark=True)), 0),
    ("a.json", encode(ROWS, "json"), 5),
    ("nested.json", encode([[[], {}, [1, [2]], "]"], {"a": [{}]}], "json"), 2),
    ("none.json", encode([], "json"), 0),
    ("marked.json", encode(ROWS, Json(end_mark=True)), 5),
    ("marked-none.json", encode([], Json(end_mark=True)), 0),
    ("a.sse", encode(ROWS, Sse(end_mark=True, retry_ms=5)), 5),
    ("a.parquet", encode(ROWS, Parquet(row_group_rows=2)), 5),
    ("none.parquet", encode([], "parquet", ["a"]), 0),
    ("a.arrows", encode(ROWS, Arrow(batch_rows=2)), 5),
    ("none.arrow", encode([], "arrow", ["a"]), 0),
    ("a.zip", zipped(members()), None),
    ("none.zip", zipped([]), 0),
    ("a.csv.gz", gzip.compress(encode(ROWS, Csv(end_mark=True))), 5),
    (
        "two.ndjson.gz",
        gzip.compress(b"[1]\n") + gzip.compress(encode([(2,)], Ndjson(end_mark=True))),
        None,
    ),
    ("a.json.zst", compressed_by_zstd(encode(ROWS, "json")), 5),
    (
        "A.JSON.ZST",
        compressed_by_zstd(encode(ROWS, "json")[:40])
        + compressed_by_zstd(encode(ROWS, "json")[40:]),
        5,
    ),
]
IDS = [name for name, _, _ in WHOLE]


def found_of(tmp_path, name, data, *format):
    path = tmp_path / name
    path.write_bytes(data)
    return verify(path, *format)


@pytest.mark.parametrize(("name", "data", "rows"), WHOLE, ids=IDS)
def test_a_whole_file_is_complete_and_every_cut_of_it_is_found(name, data, rows, tmp_path):
    verdict = found_of(tmp_path, name, data)
    if name == "two.ndjson.gz":  # Its mark tells of one row, and it has two.
        assert (verdict.state, verdict.rows) == ("incomplete", 2)
    else:
        assert (verdict.state, verdict.complete, verdict.rows) == ("complete", True, rows)
    # A line end after the last bracket is no part of JSON; nothing else may be missing.
    # Nor is one that no other line can be compared with.
    enough = (
        len(data.rstrip()) if name.endswith(".json") else len(data) - (name == "none-at-all.csv")
    )
    step = max(1, len(data) // 800)
    for size in {*range(0, enough, step), *range(max(0, enough - 100), enough)}:
        verdict = found_of(tmp_path, name, data[:size])
        assert verdict.state != "complete", (size, verdict)
        assert not verdict.complete


@pytest.mark.parametrize(("name", "data", "rows"), [w for w in WHOLE if w[0].endswith((".zip", ".gz", ".zst", ".parquet"))])  # fmt: skip
def test_a_damaged_byte_is_found(name, data, rows, tmp_path):
    middle = len(data) // 2
    for at in {middle, middle + 1} if len(data) > 60 else ():
        damaged = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        assert found_of(tmp_path, name, damaged).state == "incomplete"


# Name, bytes, state, rows and what the reason says.
OTHERS = [
    ("a.csv", b"", "unproven", None, "0 lines"),
    ("a.csv", b"a\r\n1\r\n", "unproven", None, "2 lines and no end mark (end_mark=True)"),
    ("a.csv", b"a\r\n1\r\n# 2 rows\r\n", "complete", 2, ""),
    ("a.csv", b"a\r\n1\r\n# 1 rows\r\n", "complete", 1, ""),
    ("a.csv", b"a\r\n1\r\n# 0 rows\r\n", "incomplete", 2, "says 0 rows, but it has 2"),
    ("a.csv", b"a\r\n1\r\n# 3 rows\r\n", "incomplete", 2, "says 3 rows, but it has 2"),
    ("a.csv", b'"a\r\n# 1 rows\r\n', "incomplete", None, "inside of a quoted cell"),
    ("a.csv", b"a\r\n1", "incomplete", None, "no line end"),
    ("a.ndjson", b"", "unproven", 0, "0 lines"),
    ("a.ndjson", b"1\n2\n", "unproven", 2, "2 lines"),
    ("a.ndjson", b'1\n{"unspool":{"rows":2}}\n', "incomplete", 1, "says 2 rows, but it has 1"),
    ("a.ndjson", b'1\n{"unspool":{"rows":1}}', "incomplete", None, "no line end"),
    ("a.json", b"", "incomplete", None, "not closed"),
    ("a.json", b"[1,2]", "complete", 2, "closed"),
    ("a.json", b"\n\n [ ] \n", "complete", 0, "closed"),
    ("a.json", b"[[]]", "complete", 1, "closed"),
    ("a.json", b'{"a":[1,2]}', "complete", None, "closed"),
    ("a.json", b'{"rows":[1,2],"more":{"a":[]}}', "complete", 2, "closed"),
    ("a.json", b'{"rows":[1,2],"unspool":{"rows":3}}', "incomplete", 2, "says 3 rows, but it has 2"),
    ("a.json", b"[1]]", "incomplete", None, "not closed"),
    ("a.json", b"[1}", "incomplete", None, "not closed"),
    ("a.json", b'["]', "incomplete", None, "not closed"),
    ("a.json", b'["\\"]', "incomplete", None, "not closed"),
    ("a.json", b'["\\\\"]', "complete", 1, "closed"),
    ("a.sse", b"data: 1\n\n", "unproven", None, "no end mark"),
    ("a.sse", b"", "unproven", None, "no end mark"),
    ("a.sse", b"data: 1\n", "incomplete", None, "has no end"),
    ("a.parquet", b"PAR1", "incomplete", None, "footer"),
    ("a.parquet", b"", "incomplete", None, "PAR1"),
    ("a.arrow", b"", "incomplete", None, "ends in a record batch"),
    ("a.zip", b"", "incomplete", None, "directory"),
    ("a.csv.gz", b"", "unproven", None, "0 lines"),
    ("a.csv.gz", b"no gzip", "incomplete", None, "damaged"),
    ("a.csv.zst", b"no zstd data at all", "incomplete", None, "damaged"),
    ("a.csv.gz", gzip.compress(b"a\r\n1\r\n"), "unproven", None, "2 lines"),
    ("a.csv.gz", gzip.compress(b"a\r\n1\r\n")[:-1], "incomplete", None, "trailer"),
    ("a.csv.zst", compressed_by_zstd(b"a\r\n")[:-1], "incomplete", None, "end of its zstd data"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "state", "rows", "reason"), OTHERS)
def test_the_verdict_on_other_files(name, data, state, rows, reason, tmp_path):
    verdict = found_of(tmp_path, name, data)
    assert (verdict.state, verdict.rows) == (state, rows)
    assert reason in verdict.reason


def test_the_format_can_be_said(tmp_path):
    verdict = found_of(tmp_path, "a.part", b"[1]\n", "json")
    assert verdict == Verdict("complete", "json", "its brackets are closed", 1)
    assert found_of(tmp_path, "a.part", gzip.compress(b"[1]\n"), "json.gz").format == "json.gz"


@pytest.mark.parametrize(("name", "format"), [("a.txt", ()), ("a", ()), ("a.gz", ()), ("a.csv", ("text",)), ("a.csv", ("csv.br",)), ("a.zip.gz", ())])  # fmt: skip
def test_what_cannot_be_told_is_refused(name, format, tmp_path):
    with pytest.raises(UsageError, match="verify"):
        found_of(tmp_path, name, b"", *format)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "a.csv")


def test_the_members_of_an_archive_have_verdicts_of_their_own(tmp_path):
    verdict = found_of(tmp_path, "a.zip", zipped(members()))
    assert [
        (name, each.state, each.format, each.rows) for name, each in verdict.members.items()
    ] == [
        ("a.csv", "complete", "csv", 5),
        ("b.json", "complete", "json", 5),
        ("c.parquet", "complete", "parquet", None),
        ("d.txt", "complete", "txt", None),
    ]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.csv", b"a\r\n1\r\n")
        file.writestr("b.ndjson", b'{"a":')
    verdict = found_of(tmp_path, "a.zip", archive.getvalue())
    assert verdict.state == "incomplete"
    assert verdict.reason == "'b.ndjson' is incomplete: its last line has no line end"
    assert verdict.members["a.csv"].complete


def test_an_archive_in_a_cut_archive_is_not_taken_for_it(tmp_path):
    """Its bytes stand in the data of a member as they are, with a directory at their end."""
    inner = zipped([Member("inner.txt", ["x"])])
    data = zipped([Member("a.bin", [inner], "text")])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr("a.bin", inner)
    data = archive.getvalue()
    cut = data.index(inner) + len(inner)
    assert zipfile.is_zipfile(io.BytesIO(data[:cut]))
    assert found_of(tmp_path, "a.zip", data[:cut]).state == "incomplete"
    assert found_of(tmp_path, "a.zip", data).state == "complete"


def test_a_parquet_file_in_a_cut_parquet_file_is_not_taken_for_it(tmp_path):
    inner = encode([{"n": 1}, {"n": 2}], Parquet(compression="none"))
    data = encode([{"n": 0, "file": inner}, {"n": 1, "file": b"x"}], Parquet(compression="none"))
    cut = data.index(inner) + len(inner)
    assert found_of(tmp_path, "a.parquet", data).complete
    assert found_of(tmp_path, "a.parquet", data[:cut]).state == "incomplete"


def test_the_arrow_file_format_is_told_from_the_stream(tmp_path):
    import pyarrow

    table = pyarrow.table({"a": [1, 2, 3]})
    sink = io.BytesIO()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    assert found_of(tmp_path, "a.arrow", data).rows == 3
    for size in range(6, len(data)):
        assert found_of(tmp_path, "a.arrow", data[:size]).state == "incomplete"


def test_a_workbook_counts_the_rows_of_its_sheets(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for n in range(7):
        book.active.append([n, "<row <row "])
    book.save(tmp_path / "a.xlsx")
    data = (tmp_path / "a.xlsx").read_bytes()
    verdict = verify(tmp_path / "a.xlsx")
    assert (verdict.state, verdict.rows, verdict.members) == ("complete", 7, {})
    for size in range(0, len(data), 97):
        assert found_of(tmp_path, "a.xlsx", data[:size]).state == "incomplete"


def in_portions(scan, data, size):
    for at in range(0, len(data), size):
        scan.feed(data[at : at + size])
    return scan.end()


@pytest.mark.parametrize("name", ["a.csv", "cr.csv", "a.ndjson", "a.json", "nested.json", "marked.json", "none.json", "a.sse"])  # fmt: skip
def test_the_verdict_is_the_same_for_every_portion_of_bytes(name):
    data, rows = next((data, rows) for each, data, rows in WHOLE if each == name)
    kind = SCANS[name.partition(".")[2]]
    for size in range(1, len(data) + 1):
        assert in_portions(kind(), data, size).rows == rows


texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.sampled_from(['"', "\\", '\\\\"', "[", "]},{"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=200)
@given(value=st.lists(values, max_size=6) | st.dictionaries(texts, values, max_size=3), size=st.integers(1, 40), cut=st.integers(1, 60))  # fmt: skip
def test_any_json_is_complete_and_any_cut_of_it_is_not(value, size, cut):
    for indent in (None, 1):
        data = json.dumps(value, indent=indent).encode()
        verdict = in_portions(SCANS["json"](), data, size)
        assert verdict.complete
        assert verdict.rows == (len(value) if isinstance(value, list) else verdict.rows)
        assert not in_portions(SCANS["json"](), data[:-cut], size).complete


cells = texts | st.sampled_from(['"', '""', "\r", "\n", "\r\n", "# 0 rows", "# 1 rows\r\n"])


@settings(max_examples=200)
@given(rows=st.lists(st.tuples(cells, cells), max_size=5), size=st.integers(1, 30), cut=st.integers(1, 60), header=st.booleans(), end=st.sampled_from(["\r\n", "\n", "\r"]))  # fmt: skip
def test_any_csv_is_complete_and_any_cut_of_it_is_not(rows, size, cut, header, end):
    data = encode(rows, Csv(end_mark=True, line_end=end), ["a", "b"] if header else None) if rows or header else b"# 0 rows\r\n"  # fmt: skip
    verdict = in_portions(SCANS["csv"](), data, size)
    assert (verdict.complete, verdict.rows) == (True, len(rows))
    if header or rows or cut > 1:  # Nothing tells that a "\n" is missing if there is but a mark.
        assert not in_portions(SCANS["csv"](), data[:-cut], size).complete


def test_a_large_file_is_read_in_constant_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "a.json.gz"
    row = json.dumps({"text": "x" * 100, "list": [1, 2, {}]}).encode()
    with gzip.open(path, "wb", 1) as file:
        file.write(b"[" + b",".join([row] * 300_000) + b"]")
    tracemalloc.start()
    assert verify(path).rows == 300_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20


def test_events_that_are_marked_are_complete():
    data = encode([Event("x")], Sse(end_mark=True))
    assert in_portions(SCANS["sse"](), data, 3).rows == 1
