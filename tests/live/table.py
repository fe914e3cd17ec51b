"""Runs the cases over every stack and writes the table in docs/servers.md.

Run as: PYTHONPATH=tests python -m live.table
"""

import subprocess
import sys
from importlib.metadata import version
from string import ascii_lowercase

from live.conftest import chromium
from live.servers import ROOT, nginx, serve
from live.test_conformance import CLIENTS, KNOWN, LATE, TARGETS, check_client

from unspool.testing import CASES, check_app

PAGE = ROOT / "docs" / "servers.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"

COLUMNS = {
    "Whole answers": ["whole-1.1", "whole-1.0"],
    "HEAD": ["head"],
    "Early failure": ["early"],
    "Late failure": [*LATE["1.1"], *CLIENTS],
    "… over HTTP/1.0": LATE["1.0"],
    "Client leaves": [case for case in CASES if case.startswith("leave-") and case[6:].isdigit()],
    "… while no row comes": ["leave-slow"],
    "Client stalls": ["stall"],
    "Rows in time": ["timely"],
    "Closed once": ["closed-once"],
}

PACKAGES = [
    "cheroot",
    "flask",
    "gevent",
    "granian",
    "gunicorn",
    "httptools",
    "hypercorn",
    "pyuwsgi",
    "starlette",
    "uvicorn",
    "waitress",
    "werkzeug",
]


def failures(target, page):
    """The results that are not as they should be or as they are known to be."""
    stack, app, prefix = TARGETS[target]
    with serve(stack, app) as server:
        url = server.url + prefix
        results = [*check_app(url).results, *(check_client(name, url, page) for name in CLIENTS)]
    return [result for result in results if result.passed == ((target, result.name) in KNOWN)]


def table():
    reasons = list(dict.fromkeys(KNOWN.values()))
    lines = [["Server", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    for target in TARGETS:
        cells = []
        for cases in COLUMNS.values():
            found = dict.fromkeys(KNOWN[target, case] for case in cases if (target, case) in KNOWN)
            notes = ", ".join(ascii_lowercase[reasons.index(reason)] for reason in found)
            cells.append(f"no ({notes})" if notes else "ok")
        lines.append([target, *cells])
    yield from (f"| {' | '.join(cells)} |\n" for cells in lines)
    yield "\n"
    yield from (
        f"- ({letter}) {reason}.\n"
        for letter, reason in zip(ascii_lowercase, reasons, strict=False)
    )
    yield f"\nChecked with {versions()}.\n"


def versions():
    names = [f"{package} {version(package)}" for package in PACKAGES]
    said = subprocess.run([nginx(), "-v"], capture_output=True, text=True, check=True).stderr
    return ", ".join([*names, "nginx " + said.strip().rpartition("/")[2]])


def main():
    bad = False
    with chromium() as browser:
        page = browser.new_page()
        for target in TARGETS:
            wrong = failures(target, page)
            bad = bad or bool(wrong)
            print(f"{target}: {'ok' if not wrong else wrong}", flush=True)
    if bad:
        sys.exit("The table is not written: KNOWN in test_conformance.py is not what happens.")
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text("".join([head, BEGIN, *table(), END, tail]), "utf-8")


if __name__ == "__main__":
    main()
