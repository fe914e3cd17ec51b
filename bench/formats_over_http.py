"""Rows as NDJSON and as an HTML table over HTTP, beside what people write by hand, on gunicorn.

NDJSON from dicts: `json.dumps` a row, orjson in batches of 1,000, and `stream`. HTML: Flask's
`stream_template` with a loop over rows and cells, the same rendered whole, and `stream`.
"""

from __future__ import annotations

import json
from itertools import cycle, islice

import common
import flask
import orjson
from flask import Flask, Response, request
from table import POOL, table

from unspool.flask import stream

NDJSON = ["json.dumps", "orjson-1000", "ndjson"]
HTML = ["flask.stream_template", "render_template", "html"]
COLUMNS = ["id", "a", "b", "c", "n", "x", "y", "day", "moment", "d"]
DICTS = [dict(zip(COLUMNS, row, strict=True)) for row in POOL]
TEMPLATE = (
    "<!doctype html><table>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>"
    "{% endfor %}</tr>\n{% endfor %}</table>"
)

app = Flask(__name__)


def rows():
    return table(request.args.get("rows", type=int))


def dicts():
    return islice(cycle(DICTS), request.args.get("rows", type=int))


@app.get("/json.dumps")
def by_row():
    encode = json.JSONEncoder(default=str, ensure_ascii=False, separators=(",", ":")).encode
    return Response((encode(row) + "\n" for row in dicts()), mimetype="application/x-ndjson")


@app.get("/orjson-1000")
def by_orjson():
    def generate(rows):
        while batch := list(islice(rows, 1000)):
            yield b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in batch])

    return Response(generate(dicts()), mimetype="application/x-ndjson")


@app.get("/ndjson")
def by_unspool():
    return stream(dicts(), "ndjson")


@app.get("/flask.stream_template")
def by_template():
    return Response(flask.stream_template_string(TEMPLATE, rows=rows()))


@app.get("/render_template")
def rendered():
    return flask.render_template_string(TEMPLATE, rows=rows())


@app.get("/html")
def html():
    return stream(rows(), "html", columns=COLUMNS)


def main() -> None:
    args = common.arguments(__doc__, rows=200_000)
    cases = [("gunicorn", way) for way in NDJSON + HTML]
    options = {"app": "formats_over_http:app", "rows": args.rows, "check_rows": 2_000}
    results = common.measure_all(cases, args.rounds, **options)
    lines = []
    for case in cases:
        base = ("gunicorn", (NDJSON if case[1] in NDJSON else HTML)[0])
        lines.append(
            [
                *case,
                f"{results.middle(case, 'cpu_s') / args.rows * 1e6:.2f}",
                f"{results.middle(case, 'first_byte_ms'):.1f}",
                f"{results.middle(case, 'grown_mb'):.1f}",
                f"{results.times(case, base, 'cpu_s'):.1f}",
            ]
        )
    common.print_table(["server", "way", "CPU s/1M", "first ms", "grown MB", "x CPU"], lines)
    against = results.times(("gunicorn", "ndjson"), ("gunicorn", "json.dumps"), "cpu_s")
    common.print_aim("Dicts to NDJSON, against json.dumps per row", 40, against)
    against = results.times(("gunicorn", "html"), ("gunicorn", "flask.stream_template"), "cpu_s")
    common.print_aim("HTML rows, against Flask's stream_template", 300, against)


if __name__ == "__main__":
    main()
