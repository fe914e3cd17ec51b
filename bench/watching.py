"""Watching streams costs nothing: a CSV with the live view, Prometheus and the log, and unseen.

Both in this process, by turns; the figures are processor time, of all its threads.
"""

from __future__ import annotations

import io
import logging
import time
from contextlib import ExitStack
from itertools import chain, repeat
from statistics import median

import common
from flask import Flask, request

from unspool import metrics
from unspool.flask import LiveView, stream_csv
from unspool.observe import unseen

TURNS = 9

COLUMNS = ["id", "name", "half", "day"]
THOUSAND = [(n, f"name {n}", n / 2, "2026-11-25") for n in range(1000)]

app = Flask(__name__)


@app.get("/csv")
def rows():
    thousands = repeat(THOUSAND, request.args.get("rows", type=int) // 1000)
    return stream_csv(chain.from_iterable(thousands), columns=COLUMNS, same_thread=True)


def cpu_s(rows: int, *, seen: bool) -> float:
    """The processor time of one answer, all of it read."""
    with ExitStack() as stack:
        if not seen:
            stack.enter_context(unseen())
        began = time.process_time()
        answer = stack.enter_context(app.test_client().get(f"/csv?rows={rows}", buffered=False))
        size = sum(map(len, answer.response))
        took = time.process_time() - began
    assert size > rows
    return took


def main() -> None:
    args = common.arguments(__doc__, rows=1_000_000)
    LiveView(app)
    metrics.log()
    log = logging.getLogger("unspool.streams")
    log.setLevel(logging.INFO)
    log.addHandler(logging.StreamHandler(io.StringIO()))
    cpu_s(args.rows, seen=True)  # To be warm.
    turns = [
        (cpu_s(args.rows, seen=False), cpu_s(args.rows, seen=True))
        for _ in range(TURNS * args.rounds)
    ]
    without, watched = (median(times) for times in zip(*turns, strict=True))
    common.print_table(
        ["", "", "CPU ms"],
        [["unseen", "", f"{without * 1e3:.2f}"], ["watched", "", f"{watched * 1e3:.2f}"]],
    )
    ratio = median(after / before for before, after in turns)
    common.print_aim("A watched stream, beside one unseen", 1.01, ratio, at_most=True)
    print(f"exactly: {ratio:.4f} times")


if __name__ == "__main__":
    main()
