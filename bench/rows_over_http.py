"""Rows as CSV over HTTP: `unspool.flask.stream_csv` beside what people write by hand.

`unspool` has its kernel, `unspool-python` has not.

Every way sends the same rows from a Flask view, on every server. Ratios are to the naive way
of the same server in the same round.
"""

from __future__ import annotations

import csv
import io
from itertools import islice
from types import SimpleNamespace

import common
from flask import Flask, Response, request
from table import table

from unspool import kernel
from unspool.flask import stream_csv
from unspool.formats import csv as csv_format

WAYS = ["naive", "csv.writer", "csv.writer-1000", "unspool-python", "unspool"]

# (claim, times cheaper, which way, than which)
AIMS = [
    ("Tuples to CSV, against str.join per row", 40, "unspool", "naive"),
    ("Tuples to CSV, against csv.writer in batches", 18, "unspool", "csv.writer-1000"),
    ("Tuples to CSV in Python alone, against str.join", 3, "unspool-python", "naive"),
]

app = Flask(__name__)


def rows():
    return table(request.args.get("rows", type=int))


@app.get("/naive")
def naive():
    return Response((",".join(map(str, row)) + "\n" for row in rows()), mimetype="text/csv")


class Echo:
    """A file that gives back what is written."""

    def write(self, line):
        """The line, for csv.writer to return."""
        return line


@app.get("/csv.writer")
def by_row():
    writer = csv.writer(Echo())
    return Response((writer.writerow(row) for row in rows()), mimetype="text/csv")


@app.get("/csv.writer-1000")
def by_thousand():
    def generate(rows):
        while batch := list(islice(rows, 1000)):
            file = io.StringIO()
            csv.writer(file).writerows(batch)
            yield file.getvalue()

    return Response(generate(rows()), mimetype="text/csv")


@app.get("/unspool")
def unspool():
    return stream_csv(rows())


@app.get("/unspool-python")
def unspool_python():
    csv_format.kernel = SimpleNamespace(csv_rows=kernel.no_rows)
    return stream_csv(rows())


def main() -> None:
    args = common.arguments(__doc__, rows=1_000_000)
    cases = [(server, way) for server in common.SERVERS for way in WAYS]
    options = {"app": "rows_over_http:app", "rows": args.rows, "check_rows": 20_000}
    results = common.measure_all(cases, args.rounds, **options)
    results.check_same([case for case in cases if case[1] != "naive"])
    common.print_table(
        ["server", "way", "rows/s", "CPU s/1M", "first ms", "grown MB", "x wall", "x CPU"],
        [line(results, case, args.rows) for case in cases],
    )
    for claim, aim, way, base in AIMS:
        reached = results.times(("gunicorn", way), ("gunicorn", base), "cpu_s")
        common.print_aim(claim, aim, reached)


def line(results: common.Results, case: common.Case, rows: int) -> list[str]:
    naive = (case[0], "naive")
    return [
        *case,
        f"{rows / results.middle(case, 'wall_s'):,.0f}",
        f"{results.middle(case, 'cpu_s') / rows * 1e6:.2f}",
        f"{results.middle(case, 'first_byte_ms'):.1f}",
        f"{results.middle(case, 'grown_mb'):.1f}",
        f"{results.times(case, naive, 'wall_s'):.2f}",
        f"{results.times(case, naive, 'cpu_s'):.2f}",
    ]


if __name__ == "__main__":
    main()
