"""A plain generator of rows from Starlette: `stream` beside a StreamingResponse of lines.

Starlette asks a thread for each row of a plain generator; `stream` asks one for each batch.
"""

from __future__ import annotations

import common
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from table import table

from unspool.starlette import stream_csv

UVICORN = "uvicorn --log-level warning --host {host} --port {port}"
WAYS = ["StreamingResponse", "unspool"]


def naive(request):
    rows = table(int(request.query_params["rows"]))
    lines = (",".join(map(str, row)) + "\n" for row in rows)
    return StreamingResponse(lines, media_type="text/csv")


def unspool(request):
    return stream_csv(table(int(request.query_params["rows"])))


app = Starlette(routes=[Route("/StreamingResponse", naive), Route("/unspool", unspool)])


def main() -> None:
    args = common.arguments(__doc__, rows=100_000)
    cases = [(UVICORN, way) for way in WAYS]
    options = {"app": "starlette_over_http:app", "rows": args.rows, "check_rows": 2_000}
    results = common.measure_all(cases, args.rounds, **options)
    lines = [
        [
            "uvicorn",
            case[1],
            f"{results.middle(case, 'cpu_s') / args.rows * 1e6:.2f}",
            f"{results.middle(case, 'first_byte_ms'):.1f}",
            f"{results.times(case, cases[0], 'wall_s'):.1f}",
            f"{results.times(case, cases[0], 'cpu_s'):.1f}",
        ]
        for case in cases
    ]
    common.print_table(["server", "way", "CPU s/1M", "first ms", "x wall", "x CPU"], lines)
    times = results.times(cases[1], cases[0], "cpu_s")
    common.print_aim("Starlette, a plain generator of rows", 100, times)


if __name__ == "__main__":
    main()
