"""`unspool check`: what keeps templates from streaming."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from unspool._optional import require

__all__ = ["HELP", "arguments", "run"]

HELP = "name what keeps templates from streaming, with line and remedy"

_SUFFIXES = {".htm", ".html", ".j2", ".jinja", ".jinja2"}


def arguments(parser: ArgumentParser) -> None:
    """The command line."""
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="templates, or folders of templates"
    )
    parser.add_argument(
        "--extension",
        action="append",
        default=[],
        metavar="MODULE.CLASS",
        help="an extension of Jinja that the templates need; may be given several times",
    )


def run(args: Namespace) -> int:
    """Prints the findings, one a line; 1 if there are any that are faults, 2 if a path is wrong."""
    require("jinja2", extra="flask")
    from unspool.templates.check import check, reading_environment  # noqa: PLC0415

    missing = [path for path in args.paths if not path.exists()]
    if missing:
        print(f"unspool check: {missing[0]} does not exist.")
        return 2
    environment = reading_environment(args.extension)
    faults = files = 0
    for path in _templates(args.paths):
        files += 1
        for found in check(path.read_text(encoding="utf-8"), environment):
            faults += not found.note
            kind = "note" if found.note else found.rule
            print(f"{path}:{found.line}: {kind}: {found.what}. {found.remedy}")
    print(f"{files} templates, {faults or 'no'} faults.")
    return 1 if faults else 0


def _templates(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
        else:
            yield from sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES)
