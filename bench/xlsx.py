"""XLSX from rows: `Xlsx` beside openpyxl (write-only) and XlsxWriter (constant_memory).

Each way writes the same rows to a sink that cannot seek, in a process of its own; a reader must
find the same values in all of them. CPU time is that of the process, so that it counts what
temporary files cost. Ratios are to `unspool` in the same round.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from unittest import mock

import common
from table import table

from unspool import Stream, kernel
from unspool.formats import archive
from unspool.formats.xlsx import Xlsx

NAMES = ["id", "a", "b", "c", "count", "ratio", "price", "day", "moment", "note"]


class Sink(io.RawIOBase):
    """Counts what is written, and knows when it began; keeps it, if wanted."""

    def __init__(self, *, keep: bool) -> None:
        super().__init__()
        self.size = 0
        self.first_at: float | None = None
        self.kept = [] if keep else None

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: bytes) -> int:
        """Takes all."""
        if self.first_at is None:
            self.first_at = time.perf_counter()
        if self.kept is not None:
            self.kept.append(bytes(data))
        self.size += len(data)
        return len(data)


def by_unspool(rows: Iterator[tuple], sink: Sink) -> None:
    pipeline = Stream((), Xlsx(), columns=NAMES).pipeline()
    pipeline.begin()
    while batch := list(islice(rows, pipeline.want)):
        if chunk := pipeline.feed(batch, 0.0, 0.0):
            sink.write(chunk)
    sink.write(pipeline.end())


def by_unspool_in_python(rows: Iterator[tuple], sink: Sink) -> None:
    with mock.patch.object(kernel, "sheet_rows", kernel.no_rows):
        by_unspool(rows, sink)


def by_unspool_with_zlib(rows: Iterator[tuple], sink: Sink) -> None:
    with mock.patch.object(archive, "_deflater", zlib_deflater):
        by_unspool_in_python(rows, sink)


def zlib_deflater(level: int) -> object:
    import zlib

    return zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)


def by_openpyxl(rows: Iterator[tuple], sink: Sink) -> None:
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Data")
    sheet.append(NAMES)
    for row in rows:
        sheet.append(row)
    book.save(sink)


def by_xlsxwriter(rows: Iterator[tuple], sink: Sink) -> None:
    import xlsxwriter

    book = xlsxwriter.Workbook(sink, {"constant_memory": True})
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    sheet = book.add_worksheet("Data")
    sheet.set_column(7, 7, 11, day)
    sheet.set_column(8, 8, 20, moment)
    sheet.write_row(0, 0, NAMES)
    for number, row in enumerate(rows, 1):
        sheet.write_row(number, 0, row[:7])
        sheet.write_datetime(number, 7, row[7], day)
        sheet.write_datetime(number, 8, row[8], moment)
        sheet.write(number, 9, row[9])
    book.close()


WAYS: dict[str, Callable[[Iterator[tuple], Sink], None]] = {
    "unspool": by_unspool,
    "unspool, in Python": by_unspool_in_python,
    "unspool, with zlib": by_unspool_with_zlib,
    "XlsxWriter": by_xlsxwriter,
    "openpyxl": by_openpyxl,
}


def peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def run(way: str, rows: int) -> None:
    """Measures one way in this process, and prints the figures."""
    WAYS[way](table(10), Sink(keep=False))
    Path("/proc/self/clear_refs").write_text("5")
    sink, peak = Sink(keep=False), peak_kib()
    started, cpu = time.perf_counter(), time.process_time()
    WAYS[way](table(rows), sink)
    figures = {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - started,
        "first_ms": (sink.first_at - started) * 1000,
        "grown_mb": (peak_kib() - peak) / 1024,
        "file_mb": sink.size / 1e6,
    }
    print(json.dumps(figures))


def measured(way: str, rows: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--rows", str(rows), "--way", way]
    done = subprocess.run(command, check=True, capture_output=True, env=os.environ)
    return json.loads(done.stdout)


def check_same(rows: int) -> None:
    """Stops the program if the ways do not write the same values."""
    import python_calamine

    found = {}
    for way, write in WAYS.items():
        sink = Sink(keep=True)
        write(table(rows), sink)
        file = io.BytesIO(b"".join(sink.kept))
        book = python_calamine.CalamineWorkbook.from_filelike(file)
        values = book.get_sheet_by_index(0).to_python()
        found[way] = [list(map(comparable, row)) for row in values]
    if any(values != found["unspool"] for values in found.values()):
        sys.exit("The ways wrote different values.")


def comparable(value: object) -> object:
    """A value without the last digits of a double, which the others leave out."""
    return f"{value:.12g}" if isinstance(value, float) else value


def main() -> None:
    parser = common.parser(__doc__, rows=200_000)
    parser.add_argument("--way", choices=WAYS, help="measure this one, in this process")
    args = parser.parse_args()
    if args.way:
        run(args.way, args.rows)
        return
    check_same(2_000)
    if not kernel.ACTIVE:
        print("The kernel is not built: `unspool` runs in Python.", file=sys.stderr)
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(args.rounds):
        for way, found in results.items():
            print(f"round {number + 1} of {args.rounds}: {way}", file=sys.stderr)
            found.append(measured(way, args.rows))
    head = ["way", "", "CPU us/row", "x CPU", "x wall", "first ms", "grown MB", "file MB"]
    common.print_table(head, [line(results, way, args.rows) for way in WAYS])
    against = times(results, "openpyxl", "cpu_s")
    common.print_aim("XLSX, against openpyxl's write-only mode", 50, against)


def times(results: dict[str, list[dict[str, float]]], way: str, field: str) -> float:
    """How many times as much as `unspool` it took."""
    pairs = zip(results[way], results["unspool"], strict=True)
    return median(own[field] / base[field] for own, base in pairs)


def line(results: dict[str, list[dict[str, float]]], way: str, rows: int) -> list[str]:
    def middle(field: str) -> float:
        return median(figures[field] for figures in results[way])

    return [
        way,
        "",
        f"{middle('cpu_s') / rows * 1e6:.2f}",
        f"{times(results, way, 'cpu_s'):.2f}",
        f"{times(results, way, 'wall_s'):.2f}",
        f"{middle('first_ms'):.1f}",
        f"{middle('grown_mb'):.1f}",
        f"{middle('file_mb'):.1f}",
    ]


if __name__ == "__main__":
    main()
