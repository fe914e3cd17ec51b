"""Two million rows of XLSX: two sheets, flat memory, the first byte at once, and all of it there."""

import datetime
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = 2_000_000
ROOT = Path(__file__).parents[2]
DAY = datetime.date(2026, 1, 1)

WRITER = """
import datetime, json, sys, time
from itertools import islice
from pathlib import Path
from unspool import Stream, Xlsx

DAY = datetime.date(2026, 1, 1)
STATUS = Path("/proc/self/status")

def peak_kib():
    return int(STATUS.read_text().partition("VmHWM:")[2].split()[0])

def write(rows, file):
    pipeline = Stream((), Xlsx(), columns=["id", "name", "half", "day"]).pipeline()
    started, first = time.process_time(), None
    pipeline.begin()
    source = ((n, f"row {n} & more", n / 2, DAY) for n in range(rows))
    while batch := list(islice(source, pipeline.want)):
        chunk = pipeline.feed(batch, 0.0, 0.0)
        if chunk and first is None:
            first = time.process_time() - started
        file.write(chunk)
    file.write(pipeline.end())
    return first * 1000

with open(sys.argv[1], "wb") as file:
    write(10_000, file)
with open(sys.argv[1], "wb") as file:
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kib()
    first_ms = write(int(sys.argv[2]), file)
print(json.dumps([first_ms, (peak_kib() - before) / 1024]))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("xlsx") / "a.xlsx"
    command = [sys.executable, "-c", WRITER, path, str(ROWS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    yield path, *json.loads(done.stdout)
    path.unlink()


def test_memory_stays_flat_and_the_first_byte_leaves_at_once(written):
    _, first_ms, grown_mib = written
    print(f"first byte after {first_ms:.1f} ms, peak memory grew {grown_mib:.1f} MiB")
    assert first_ms < 20
    assert grown_mib < 10


def test_calamine_finds_every_row_in_two_sheets(written):
    calamine = pytest.importorskip("python_calamine")
    book = calamine.CalamineWorkbook.from_path(written[0])
    assert book.sheet_names == ["Data", "Data (2)"]
    number = 0
    for name, rows in [("Data", 1_048_575), ("Data (2)", ROWS - 1_048_575)]:
        sheet = book.get_sheet_by_name(name)
        assert sheet.height == rows + 1
        lines = sheet.iter_rows()
        assert next(lines) == ["id", "name", "half", "day"]
        for line in lines:
            if line != [number, f"row {number} & more", number / 2, DAY]:
                raise AssertionError((number, line))
            number += 1
    assert number == ROWS


def test_unzip_finds_no_fault(written):
    try:
        subprocess.run(["unzip", "-tq", written[0]], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("unzip is not installed")
