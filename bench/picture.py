"""What all claims came to, beside what is aimed at: a table and a picture, also for the docs.

Reads what the other benchmarks have kept in their last run. Writes docs/assets/bench.svg, and
the table in docs/speed.md.
"""

from __future__ import annotations

import json
import math
from html import escape
from typing import Any

from common import AIMS, HERE, print_table

DOCS = HERE.parent / "docs"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
HEAD = ["Claim", "Unit", "Aim", "Reached", "Is it?"]

# Pixels. A bar ends at its share of the aim, from a tenth of it to ten times as much.
LINE, LEFT, WIDTH, RIGHT = 22, 330, 280, 290
LEAST, MOST = 1 / 10, 10.0

# Readable on a page of any colour: an image knows what the system likes, not what the page has.
STYLE = """text { font: 13px sans-serif; fill: #777 } .reached { fill: #1a9e8f }
.missed { fill: #d98324 } line { stroke: #777 }"""


def share(figures: dict[str, Any]) -> float:
    """How much of the aim was reached; 1 is all of it, for figures that should be small too."""
    aim, reached = figures["aim"], max(figures["reached"], 1e-3)
    return aim / reached if figures["at_most"] else reached / aim


def told(figures: dict[str, Any]) -> str:
    sign = "≤" if figures["at_most"] else "≥"
    return f"{figures['reached']:.3g} {figures['unit']} ({sign} {figures['aim']:g})"


def at(value: float) -> float:
    """Where a share lies, from the left."""
    within = min(max(value, LEAST), MOST)
    return LEFT + WIDTH * math.log(within / LEAST) / math.log(MOST / LEAST)


def bar(number: int, claim: str, figures: dict[str, Any]) -> str:
    y, end = LINE * (number + 1), at(share(figures))
    kind = "reached" if share(figures) >= 1 else "missed"
    return (
        f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(claim)}</text>'
        f'<rect class="{kind}" x="{LEFT}" y="{y + 3}" width="{end - LEFT:.0f}" height="14"/>'
        f'<text x="{LEFT + WIDTH + 8}" y="{y + 14}">{escape(told(figures))}</text>\n'
    )


def picture(aims: dict[str, dict[str, Any]]) -> str:
    height = LINE * (len(aims) + 1) + 6
    bars = "".join(bar(number, *item) for number, item in enumerate(aims.items()))
    aim = at(1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}">\n'
        f"<style>{STYLE}</style>\n"
        f'<text x="{aim}" y="14" text-anchor="middle">the aim</text>\n{bars}'
        f'<line x1="{aim}" x2="{aim}" y1="{LINE}" y2="{height}"/>\n</svg>\n'
    )


def write_table(lines: list[list[str]]) -> None:
    """Puts the table into the page, where the last one was."""
    page = DOCS / "speed.md"
    before, _, rest = page.read_text().partition(BEGIN)
    rows = [HEAD, ["---", "---", "---:", "---:", "---"], *lines]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    page.write_text(before + BEGIN + table + END + rest.partition(END)[2])


def main() -> None:
    aims = json.loads(AIMS.read_text())
    lines = [
        [
            claim,
            figures["unit"],
            f"{'≤' if figures['at_most'] else '≥'} {figures['aim']:g}",
            f"{figures['reached']:.3g}",
            "yes" if share(figures) >= 1 else "no",
        ]
        for claim, figures in aims.items()
    ]
    print_table(HEAD, lines)
    write_table(lines)
    (DOCS / "assets" / "bench.svg").write_text(picture(aims))


if __name__ == "__main__":
    main()
