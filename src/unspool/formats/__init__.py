"""The table of formats: a name, the module and class that stand for it.

A new format is one module here and one line in this table.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from unspool.errors import UnknownFormat
from unspool.types import Format

__all__ = ["FORMATS", "find"]

FORMATS = {
    "csv": ("unspool.formats.csv", "Csv"),
    "html": ("unspool.formats.html", "Html"),
    "json": ("unspool.formats.json", "Json"),
    "ndjson": ("unspool.formats.json", "Ndjson"),
    "text": ("unspool.formats.text", "Text"),
    "xlsx": ("unspool.formats.xlsx", "Xlsx"),
}


def find(format: str | Format) -> Format:
    """The format of that name, with its defaults; a format object is given back as it is.

    Raises:
        UnknownFormat: there is none; the message lists those there are.

    >>> find("csv")
    Csv(delimiter=',', line_end='\\r\\n', quoting='minimal', null='', bom=False, header=True, \
formula_guard=False, end_mark=False)
    """
    if not isinstance(format, str):
        if callable(getattr(format, "encoder", None)) and not isinstance(format, type):
            return format
        raise UnknownFormat(format, sorted(FORMATS))
    try:
        module, name = FORMATS[format]
    except KeyError:
        raise UnknownFormat(format, sorted(FORMATS)) from None
    return cast(Format, getattr(import_module(module), name)())
