"""Arrow batches as CSV over HTTP: `unspool.flask.stream` beside what else makes CSV of columns.

The rows are those of table.py as record batches, which cost nothing to make; `chunks` are ready
chunks of the same bytes and sizes: what the server can move. The server has all cores, so that
an answer can be made and sent at the same time.
"""

from __future__ import annotations

import io
from functools import cache
from itertools import cycle, islice

import common
from flask import Flask, Response, request
from table import POOL

from unspool.flask import stream

WAYS = ["chunks", "unspool", "pyarrow", "polars"]

COLUMNS = ["id", "a", "b", "c", "few", "price", "rate", "day", "moment", "d"]
BATCH_ROWS = len(POOL)

app = Flask(__name__)


def wanted():
    return request.args.get("rows", type=int)


@cache
def record():
    import pyarrow

    columns = [pyarrow.array(column) for column in zip(*POOL, strict=True)]
    return pyarrow.RecordBatch.from_arrays(columns, names=COLUMNS)


def batches(rows):
    """So many rows, in record batches as databases give them."""
    for left in range(rows, 0, -BATCH_ROWS):
        yield record().slice(0, left)


def reader(rows):
    import pyarrow

    return pyarrow.RecordBatchReader.from_batches(record().schema, batches(rows))


@app.get("/unspool")
def unspool():
    return stream(reader(wanted()))


@cache
def ready_chunks():
    """The chunks of a hundred batches."""
    return list(app.test_client().get(f"/unspool?rows={100 * BATCH_ROWS}").iter_encoded())


@app.get("/chunks")
def chunks():
    share = wanted() / (100 * BATCH_ROWS)
    return Response(islice(cycle(ready_chunks()), round(share * len(ready_chunks()))))


@app.get("/pyarrow")
def by_pyarrow():
    def generate(some):
        from pyarrow import csv

        header = True
        for batch in some:
            file = io.BytesIO()
            csv.write_csv(batch, file, csv.WriteOptions(include_header=header))
            header = False
            yield file.getvalue()

    return Response(generate(batches(wanted())))


@app.get("/polars")
def by_polars():
    def generate(some):
        import polars

        header = True
        for batch in some:
            yield polars.from_arrow(batch).write_csv(include_header=header)
            header = False

    return Response(generate(batches(wanted())))


def main() -> None:
    args = common.arguments(__doc__, rows=1_000_000)
    common.SERVER_CORES = common.CORES
    options = {"app": "columns_over_http:app", "rows": args.rows, "check_rows": BATCH_ROWS}
    cases = [("gunicorn", way) for way in WAYS]
    results = common.measure_all(cases, args.rounds, **options)
    common.print_table(
        [
            "server",
            "way",
            "rows/s",
            "MB/s",
            "CPU s/1M",
            "first ms",
            "grown MB",
            "of chunks",
        ],
        [line(results, case, args.rows) for case in cases],
    )
    share = results.times(cases[1], cases[0], "wall_s")
    unit = "% of ready chunks' speed"
    common.print_aim("Arrow to CSV", 60, 100 * share, unit=unit)


def line(results: common.Results, case: common.Case, rows: int) -> list[str]:
    share = results.times(case, (case[0], "chunks"), "wall_s")
    wall_s = results.middle(case, "wall_s")
    return [
        *case,
        f"{rows / wall_s:,.0f}",
        f"{results.middle(case, 'wire_bytes') / wall_s / 1e6:,.0f}",
        f"{results.middle(case, 'cpu_s') / rows * 1e6:.2f}",
        f"{results.middle(case, 'first_byte_ms'):.1f}",
        f"{results.middle(case, 'grown_mb'):.1f}",
        f"{share:.0%}",
    ]


if __name__ == "__main__":
    main()
