"""The commands of `unspool` (`python -m unspool`), one module each.

A command has `NAME`, `HELP`, `add_arguments(parser)` and `run(args)`, which gives the exit code.
"""

from __future__ import annotations

__all__: list[str] = []
