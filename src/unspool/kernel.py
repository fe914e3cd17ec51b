"""The row loops in C, where they were built; elsewhere functions that leave all to Python.

Each takes a batch and the tables of an encoder, and gives bytes; or None, if there is something
that only the loop in Python can decide: a type that it meets for the first time, a value at
fault. The encoder then does that batch in Python, which learns the type or raises the error.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = [
    "ACTIVE",
    "ArrowStream",
    "RowLoop",
    "csv_rows",
    "html_rows",
    "json_rows",
    "no_rows",
    "sheet_rows",
]

try:
    _kernel: Any = import_module("unspool._kernel")
except ImportError:
    _kernel = None

ACTIVE: bool = _kernel is not None
"""Whether the loops in C are there."""

RowLoop = Callable[..., bytes | None]

ArrowStream: Any = _kernel.ArrowStream if _kernel else None
"""Reads the batches of an Arrow C stream; None where it was not built."""


def no_rows(*_: object) -> None:
    """Leaves the batch to Python."""


csv_rows: RowLoop = _kernel.csv_rows if _kernel else no_rows
html_rows: RowLoop = _kernel.html_rows if _kernel else no_rows
json_rows: RowLoop = _kernel.json_rows if _kernel else no_rows
sheet_rows: RowLoop = _kernel.sheet_rows if _kernel else no_rows
