"""Cost is linear in rows, memory flat, and the first byte early: CSV from 10^3 to 10^7 rows.

Rows of ten cells, on gunicorn, from 10^4 to 10^8 cells.
"""

from __future__ import annotations

from statistics import median

import common

ROWS = [10**3, 10**4, 10**5, 10**6, 10**7]
CASE = ("gunicorn", "unspool")


def main() -> None:
    args = common.arguments(__doc__, rows=ROWS[-1])
    lines, costs, firsts = [], {}, []
    for rows in [rows for rows in ROWS if rows <= args.rows]:
        options = {"app": "rows_over_http:app", "rows": rows, "check_rows": 1}
        results = common.measure_all([CASE], args.rounds if rows < ROWS[-1] else 1, **options)
        costs[rows] = results.middle(CASE, "cpu_s") / rows * 1e6
        grown, first = (results.middle(CASE, field) for field in ("grown_mb", "first_byte_ms"))
        firsts.append(first)
        lines.append([f"{rows:,}", "", f"{costs[rows]:.2f}", f"{first:.1f}", f"{grown:.2f}"])
    common.print_table(["rows", "", "CPU s/1M", "first ms", "grown MB"], lines)
    common.print_aim("First byte after", 3, median(firsts), unit="ms", at_most=True)
    grown = float(lines[-1][4])
    common.print_aim("Memory growth at 10^7 rows", 1, grown, unit="MB", at_most=True)
    if args.rows > ROWS[2]:
        ratio = costs[args.rows] / costs[ROWS[2]]
        # Linear, but for what is measured anew each time.
        claim, unit = "A row of 10^7, beside one of 10^5", "times its CPU"
        common.print_aim(claim, 1.1, ratio, unit=unit, at_most=True)


if __name__ == "__main__":
    main()
