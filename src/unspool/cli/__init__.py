"""The command `unspool`: a subcommand a module, each with `HELP`, `arguments` and `run`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from unspool.cli import check, doctor, serve, top
from unspool.errors import UnspoolError

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, ModuleType] = {
    "check": check,
    "doctor": doctor,
    "serve": serve,
    "top": top,
}

# Exit codes, as of grep and its kin: nothing found, something found, no way to look.
_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments, or those of the process; gives its exit code.

    0 if all is well, 1 if something was found to be wrong, 2 if it could not be looked for.
    """
    parser = argparse.ArgumentParser(
        prog="unspool", description="Streams answers of any size from Python web apps."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.arguments(commands.add_parser(name, help=command.HELP, description=command.__doc__))
    arguments = parser.parse_args(argv)
    try:
        found: int = COMMANDS[arguments.command].run(arguments)
    except (UnspoolError, OSError) as error:
        print(f"unspool {arguments.command}: {error}", file=sys.stderr)
        return _USAGE
    return found
