"""Runs the cases over every stack and writes the table in docs/servers.md.

Run as: PYTHONPATH=tests python -m live.table
"""

import subprocess
import sys
from importlib.metadata import version
from string import ascii_lowercase

from live.conformance import HELD, KNOWN, LATE, LEFT_OUT, PAGES, TARGETS, as_known, examining
from live.servers import ROOT

from unspool.testing import CASES

PAGE = ROOT / "docs" / "servers.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"

COLUMNS = {
    "Whole answers": ["whole-1.1", "whole-1.0"],
    "HEAD": ["head"],
    "Early failure": ["early"],
    "Late failure": [*LATE["1.1"], "curl", "httpx", *PAGES],
    "… over HTTP/1.0": [*LATE["1.0"], "curl-1.0"],
    "Client leaves": [case for case in CASES if case.startswith("leave-") and case != "leave-slow"],
    "… while no row comes": ["leave-slow"],
    "Client stalls": ["stall", "ahead"],
    "Rows in time": ["timely"],
    "Kept apart": ["whose", "sqlite"],
    "Closed once": ["closed-once"],
}

PACKAGES = [
    "cheroot",
    "daphne",
    "django",
    "fastapi",
    "flask",
    "gevent",
    "granian",
    "gunicorn",
    "httptools",
    "hypercorn",
    "pyuwsgi",
    "quart",
    "starlette",
    "uvicorn",
    "waitress",
    "werkzeug",
]


def table():
    bad = {**KNOWN, **LEFT_OUT}
    reasons = list(dict.fromkeys(bad.values()))
    lines = [["Server", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    for target in TARGETS:
        cells = []
        for cases in COLUMNS.values():
            found = dict.fromkeys(bad[target, case] for case in cases if (target, case) in bad)
            notes = ", ".join(ascii_lowercase[reasons.index(reason)] for reason in found)
            cells.append(f"no ({notes})" if notes else "ok")
        lines.append([target, *cells])
    yield from (f"| {' | '.join(cells)} |\n" for cells in lines)
    yield "\n"
    yield from (
        f"- ({letter}) {reason}.\n"
        for letter, reason in zip(ascii_lowercase, reasons, strict=False)
    )
    held = "; ".join(f"{name}: {what}" for name, (_, what) in HELD.items())
    yield f"\nWhat they hold themselves for a client that stalls: {held}.\n"
    yield f"\nChecked with {versions()}.\n"


def versions():
    names = [f"{package} {version(package)}" for package in PACKAGES]
    names += [
        "mod_wsgi " + debian("libapache2-mod-wsgi-py3"),
        "nginx " + debian("nginx-common"),
    ]
    return ", ".join(names)


def debian(package):
    """The version of a system package, without Debian's own revision."""
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return said.partition("-")[0]


def main():
    bad = False
    with examining(TARGETS) as futures:
        for target, future in futures.items():
            results, _ = future.result()
            wrong = [result for result in results.values() if not as_known(target, result)]
            bad = bad or bool(wrong)
            print(f"{target}: {wrong or 'ok'}", flush=True)
    if bad:
        sys.exit("The table is not written: KNOWN in conformance.py is not what happens.")
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text("".join([head, BEGIN, *table(), END, tail]), "utf-8")


if __name__ == "__main__":
    main()
