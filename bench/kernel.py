"""What it costs to encode rows, in process: kernel, Python, and what others do for the same rows.

CPU time in nanoseconds a row of ten mixed columns, the least of some rounds.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable

import orjson
from common import arguments, print_aim, print_table
from table import POOL

from unspool import kernel
from unspool.formats import find
from unspool.formats.xlsx_rows import sheet_rows

NAMES = ("id", "name", "city", "note", "level", "value", "price", "day", "at", "text")
BATCH = POOL[:1000]
DICTS = [dict(zip(NAMES, row, strict=True)) for row in BATCH]
LOOPS = [name for name in kernel.__all__ if name.endswith("_rows")]
SHAPE = (None, False, len(NAMES), {})

Feed = Callable[[list], object]


def ours(format: str) -> Feed:
    encoder = find(format).encoder(None)
    encoder.begin()
    return encoder.feed


def writerows(rows: list) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


# (what, by whom, with the kernel, how, rows); the first of each kind is what others are held to.
CASES = [
    ("csv", "','.join(map(str, row))", True, lambda rows: [join(row) for row in rows], BATCH),
    ("csv", "csv.writer, 1,000 rows", True, writerows, BATCH),
    ("csv", "Unspool in Python", False, ours("csv"), BATCH),
    ("csv", "Unspool", True, ours("csv"), BATCH),
    ("csv", "Unspool, dict rows", True, ours("csv"), DICTS),
    ("ndjson", "json.dumps(row)", True, lambda rows: [dumps(row) for row in rows], DICTS),
    ("ndjson", "orjson, one array", True, orjson.dumps, DICTS),
    ("ndjson", "Unspool in Python", False, ours("ndjson"), DICTS),
    ("ndjson", "Unspool", True, ours("ndjson"), DICTS),
    ("html", "Unspool in Python", False, ours("html"), BATCH),
    ("html", "Unspool", True, ours("html"), BATCH),
    ("xlsx", "Unspool in Python, no ZIP", False, lambda rows: sheet_rows(rows, 2), BATCH),
    ("xlsx", "Unspool, no ZIP", True, lambda rows: kernel.sheet_rows(2, rows, SHAPE, {}), BATCH),
    ("xlsx", "Unspool", True, ours("xlsx"), BATCH),
    ("one row", "Unspool, csv", True, ours("csv"), BATCH[:1]),
    ("one row", "Unspool, ndjson", True, ours("ndjson"), DICTS[:1]),
]


def join(row: tuple) -> bytes:
    return (",".join(map(str, row)) + "\n").encode()


def dumps(row: dict) -> bytes:
    return (json.dumps(row, default=str) + "\n").encode()


def cpu_ns(feed: Feed, rows: list, calls: int) -> float:
    """Of one row, in a batch of so many."""
    started = time.process_time()
    for _ in range(calls):
        feed(rows)
    return (time.process_time() - started) * 1e9 / calls / len(rows)


def main() -> None:
    options = arguments(__doc__.partition("\n")[0], rows=50_000)
    loops = {name: getattr(kernel, name) for name in LOOPS}
    best = dict.fromkeys(range(len(CASES)), float("inf"))
    for _ in range(options.rounds):
        for at, (_, _, in_c, feed, rows) in enumerate(CASES):
            for name, loop in loops.items():
                setattr(kernel, name, loop if in_c else kernel.no_rows)
            best[at] = min(best[at], cpu_ns(feed, rows, options.rows // len(rows)))
    first: dict[str, float] = {}
    lines = []
    for at, (what, way, *_) in enumerate(CASES):
        base = first.setdefault(what, best[at])
        lines.append((what, way, f"{best[at]:,.0f}", f"{base / best[at]:.1f}"))
    print_table(("", "", "CPU ns a row", "times cheaper"), lines)
    cost = {case[:2]: ns for case, ns in zip(CASES, best.values(), strict=True)}
    ratio = cost["ndjson", "Unspool"] / cost["ndjson", "orjson, one array"]
    claim = "A batch of NDJSON, beside orjson"
    print_aim(claim, 1.5, ratio, unit="times its CPU", at_most=True)


if __name__ == "__main__":
    main()
