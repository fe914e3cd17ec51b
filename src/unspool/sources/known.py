"""What database libraries hand out, and the reader for each: the one table of both.

Recognised by the package that its class is from; no package is imported that is not there.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from importlib import import_module

__all__ = ["is_async", "recognised"]

# The package of a class, and the module here whose `reader_of` knows its objects.
_MODULES = {
    "django": "django",
    "duckdb": "duckdb",
    "_duckdb": "duckdb",
    "polars": "polars",
    "psycopg": "postgres",
    "sqlalchemy": "sqlalchemy",
    "sqlite3": "sqlite",
}


def recognised(source: object) -> object:
    """A reader of batches for a cursor, a result, a relation, a query set; else the source."""
    for base in type(source).__mro__:
        module = _MODULES.get(base.__module__.partition(".")[0])
        if module is not None:
            reader = import_module(f"unspool.sources.{module}").reader_of(source)
            if reader is not None:
                return reader
    if hasattr(source, "fetchmany") and hasattr(source, "description"):
        return import_module("unspool.sources.dbapi").reader_of(source)
    return source


def is_async(source: object) -> bool:
    """Whether the rows of `source` are awaited."""
    return isinstance(recognised(source), AsyncIterable)
