"""The command `unspool`, also `python -m unspool`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from unspool.cli import check

__all__ = ["main"]

_COMMANDS: tuple[Any, ...] = (check,)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that `argv` names (the command line by default); gives the exit code.

    0: all is well; 1: something was found; 2: the command line is wrong.
    """
    parser = ArgumentParser(prog="unspool", description="Streams answers of any size.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        one = commands.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    args = parser.parse_args(argv)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
