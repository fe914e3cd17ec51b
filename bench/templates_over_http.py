"""A Jinja table over HTTP: `unspool.flask.stream_template` beside Flask's ways.

Every way sends the same page of 20,000 x 8 cells. Ratios are to `flask.stream_template` in
the same round.
"""

from __future__ import annotations

import common
import flask
from jinja2 import DictLoader
from table import table

import unspool.flask

WAYS = ["flask.stream_template", "enable_buffering(5)", "flask.render_template", "unspool"]

PAGE = """<!doctype html><title>Table</title>
<table>
{%- for row in rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</table>
"""

app = flask.Flask(__name__)
app.jinja_loader = DictLoader({"page.html": PAGE})


def rows():
    return (row[:8] for row in table(flask.request.args.get("rows", type=int)))


@app.get("/flask.stream_template")
def by_piece():
    return flask.stream_template("page.html", rows=rows())


@app.get("/enable_buffering(5)")
def by_five():
    stream = app.jinja_env.get_template("page.html").stream(rows=rows())
    stream.enable_buffering(5)
    return flask.stream_with_context(stream)


@app.get("/flask.render_template")
def whole():
    return flask.render_template("page.html", rows=rows())


@app.get("/unspool")
def by_size():
    return unspool.flask.stream_template("page.html", rows=rows())


def main() -> None:
    args = common.arguments(__doc__, rows=20_000)
    cases = [("gunicorn", way) for way in WAYS]
    options = {"app": "templates_over_http:app", "rows": args.rows, "check_rows": 2_000}
    results = common.measure_all(cases, args.rounds, **options)
    results.check_same(cases)
    common.print_table(
        ["server", "way", "wall s", "CPU s", "first ms", "wire MB", "grown MB", "x wall", "x CPU"],
        [line(results, case) for case in cases],
    )


def line(results: common.Results, case: common.Case) -> list[str]:
    flasks = (case[0], WAYS[0])
    return [
        *case,
        f"{results.middle(case, 'wall_s'):.2f}",
        f"{results.middle(case, 'cpu_s'):.2f}",
        f"{results.middle(case, 'first_byte_ms'):.1f}",
        f"{results.middle(case, 'wire_bytes') / 1e6:.1f}",
        f"{results.middle(case, 'grown_mb'):.1f}",
        f"{results.times(case, flasks, 'wall_s'):.2f}",
        f"{results.times(case, flasks, 'cpu_s'):.2f}",
    ]


if __name__ == "__main__":
    main()
