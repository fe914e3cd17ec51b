"""A SQLite table of a million rows as CSV: by `unspool serve`, and by Datasette.

Both are asked for the same table, whole, by one client; Datasette with its own way of streaming
(`_stream=1`). Needs Datasette: `pip install --target .cache/datasette datasette`.
"""

from __future__ import annotations

import csv
import io
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from statistics import median

import common

DATASETTE = Path(__file__).parent.parent / ".cache" / "datasette"

SQL = """
CREATE TABLE items AS
WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n LIMIT {rows})
SELECT id, 'item, ' || id AS name, id / 8.0 AS price, id % 3 AS sold, date(id % 20000 * 86400,
    'unixepoch') AS day FROM n
"""

COMMANDS = {
    "Datasette": "datasette serve {path} --host 127.0.0.1 --port {{port}} --setting max_csv_mb 0",
    "unspool serve": "unspool serve {path} --port {{port}}",
}
PATHS = {
    "Datasette": "/shop/items.csv?_stream=1&_size=max&_nofacet=1",
    "unspool serve": "/shop/items.csv?",
}


def make(path: Path, rows: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(SQL.format(rows=rows))
        connection.commit()


def ask(way: str, path: Path) -> tuple[common.Result, list[list[str]]]:
    """The answer of a fresh server, and the first rows of it."""
    before = os.environ.get("PYTHONPATH", "")
    if way == "Datasette":
        os.environ["PYTHONPATH"] = str(DATASETTE)
    try:
        with common.server(COMMANDS[way].format(path=path)) as running:
            running.body(PATHS[way] + "&_limit=1" * (way != "Datasette"))
            running.forget_peak()
            cpu_s, peak_mb = running.cpu_s(), running.peak_mb()
            wall_s, first_s, size = common.read(running.port, PATHS[way])
            cpu_s, grown_mb = running.cpu_s() - cpu_s, running.peak_mb() - peak_mb
            text = running.body(PATHS[way]).decode()
    finally:
        os.environ["PYTHONPATH"] = before
    rows = list(csv.reader(io.StringIO(text)))
    return common.Result(wall_s, cpu_s, first_s * 1000, size, grown_mb, str(len(rows))), rows[:1000]


def main() -> None:
    args = common.arguments(__doc__, rows=1_000_000)
    results: dict[str, list[common.Result]] = {way: [] for way in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shop.db")
        make(path, args.rows)
        for _ in range(args.rounds):
            heads = []
            for way in COMMANDS:
                result, head = ask(way, path)
                results[way].append(result)
                heads.append(head)
            # Datasette puts the rowid first.
            if [row[-5:] for row in heads[0]] != heads[1]:
                raise SystemExit("The answers differ.")
    lines = []
    for way, all_of in results.items():
        pick = {
            name: median(getattr(each, name) for each in all_of)
            for name in ("wall_s", "cpu_s", "first_byte_ms", "grown_mb")
        }
        base = {name: median(getattr(each, name) for each in results["Datasette"]) for name in pick}
        lines.append(
            [
                way,
                all_of[0].digest,
                f"{pick['wall_s']:.2f}",
                f"{base['wall_s'] / pick['wall_s']:.1f}",
                f"{pick['cpu_s']:.2f}",
                f"{base['cpu_s'] / pick['cpu_s']:.1f}",
                f"{pick['first_byte_ms']:.1f}",
                f"{pick['grown_mb']:.1f}",
            ]
        )
    head = [
        "way",
        "lines",
        "s",
        "times as fast",
        "CPU s",
        "times less",
        "first byte ms",
        "grown MB",
    ]
    common.print_table(head, lines)


if __name__ == "__main__":
    main()
