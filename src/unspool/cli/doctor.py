"""Which layers of an app, or of what stands before a running one, break streaming."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from unspool.doctor import examine, examine_url
from unspool.errors import UsageError

__all__ = ["HELP", "arguments", "load", "run"]

HELP = "find the layers of an app that break streaming"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `run` takes."""
    parser.add_argument(
        "target",
        metavar="MODULE:APP | URL",
        help="an app, as servers are told where it is (shop:app), or the URL of a slow stream",
    )
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="SECONDS", help="for a URL, for any answer"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what was found; gives 1 if that is anything."""
    target: str = arguments.target
    if "://" in target:
        diagnosis = examine_url(target, timeout_s=arguments.timeout)
    else:
        diagnosis = examine(load(target))
    print(diagnosis)
    return 0 if diagnosis.passed else 1


def load(target: str) -> Any:
    """The app that `MODULE:NAME` names; modules of the working directory come first.

    Raises:
        UsageError: there is none.
    """
    module, _, name = target.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for part in (name or "app").split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{target!r} is no MODULE:APP that can be imported: {error}") from error
    return found
