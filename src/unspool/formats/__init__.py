"""The table of formats: a name, the module and class that stand for it.

A new format is one module here and one line in this table.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from unspool.errors import UnknownFormat, UsageError, shown
from unspool.types import Format

__all__ = ["FORMATS", "by_suffix", "find", "suffixes"]

FORMATS = {
    "arrow": ("unspool.formats.arrow", "Arrow"),
    "csv": ("unspool.formats.csv", "Csv"),
    "html": ("unspool.formats.html", "Html"),
    "json": ("unspool.formats.json", "Json"),
    "markdown": ("unspool.formats.markdown", "Markdown"),
    "ndjson": ("unspool.formats.json", "Ndjson"),
    "parquet": ("unspool.formats.parquet", "Parquet"),
    "sse": ("unspool.formats.sse", "Sse"),
    "text": ("unspool.formats.text", "Text"),
    "tsv": ("unspool.formats.tsv", "Tsv"),
    "xlsx": ("unspool.formats.xlsx", "Xlsx"),
    "xml": ("unspool.formats.xml", "Xml"),
    "zip": ("unspool.formats.zip", "Zip"),
}


def find(format: str | Format) -> Format:
    """The format of that name, with its defaults; a format object is given back as it is.

    Raises:
        UnknownFormat: there is none; the message lists those there are.

    >>> find("csv")
    Csv(delimiter=',', line_end='\\r\\n', quoting='minimal', null='', bom=False, header=True, \
formula_guard=False, decimal='.', end_mark=False)
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


@cache
def suffixes() -> dict[str, str]:
    """The suffixes of files, and the names of their formats."""
    return {find(name).suffix: name for name in FORMATS}


def by_suffix(filename: str) -> str:
    """The name of the format whose files end as `filename` does.

    Raises:
        UsageError: there is none; the message lists the suffixes there are.

    >>> by_suffix("flights.ndjson")
    'ndjson'
    """
    for suffix, name in suffixes().items():
        if filename.lower().endswith(suffix):
            return name
    raise UsageError(
        f"{shown(filename)} has the suffix of no format, of which there are "
        f"{', '.join(sorted(suffixes()))}. Say what it is: format='csv'."
    )
