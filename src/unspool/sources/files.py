"""Rows of Parquet and CSV files, by pyarrow or DuckDB, whichever is installed.

- Values: typed as the file says; of a CSV as the package finds out from its beginning, and a later
  value that does not fit raises what the package raises.
- Memory: one batch of rows, and what the package reads ahead: of a Parquet file a row group's
  columns at the most, of a CSV some blocks.
- Close: closes the file.
- Cancel: with DuckDB `interrupt()`; pyarrow finishes the batch that it is at.
- Threads: any, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from os import PathLike, fspath
from typing import Any

from unspool._optional import require
from unspool.sources import duckdb
from unspool.sources.arrow_rows import arrow_rows
from unspool.sources.queries import QueryReader
from unspool.sources.tables import TableReader, ToRows

__all__ = ["csv", "parquet"]

# Some megabytes of rows as Python sees them.
_ROWS = 8192

Opened = tuple[Iterable[Any], Sequence[str], ToRows]


def parquet(path: str | PathLike[str], columns: Sequence[str] | None = None) -> QueryReader:
    """The rows of a Parquet file; of these `columns` only, if given, and nothing else is read.

    Raises:
        MissingExtra: neither pyarrow nor DuckDB is installed.

    >>> import duckdb, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "numbers.parquet")
    >>> _ = duckdb.sql(f"COPY (SELECT 1 AS n, 'a' AS name) TO '{path}'")
    >>> rows = parquet(path)
    >>> list(rows.read_batch(10)), rows.columns
    ([(1, 'a')], ('n', 'name'))
    >>> rows.close()
    """
    file = fspath(path)
    if find_spec("pyarrow"):
        return TableReader(lambda opened: _parquet(file, columns, opened))
    return _by_duckdb("read_parquet", file, columns)


def csv(path: str | PathLike[str]) -> QueryReader:
    """The rows of a CSV file whose first line has the names.

    Raises:
        MissingExtra: neither pyarrow nor DuckDB is installed.
    """
    file = fspath(path)
    if find_spec("pyarrow"):
        return TableReader(lambda opened: _csv(file, opened))
    return _by_duckdb("read_csv", file, None)


def _parquet(path: str, columns: Sequence[str] | None, opened: ExitStack) -> Opened:
    pq = require("pyarrow.parquet", extra="arrow")
    file = opened.enter_context(pq.ParquetFile(path, pre_buffer=False))
    names = list(columns) if columns is not None else file.schema_arrow.names
    return file.iter_batches(_ROWS, columns=columns), names, arrow_rows


def _csv(path: str, opened: ExitStack) -> Opened:
    reader = opened.enter_context(require("pyarrow.csv", extra="arrow").open_csv(path))
    return reader, reader.schema.names, arrow_rows


def _by_duckdb(function: str, path: str, columns: Sequence[str] | None) -> QueryReader:
    connect = require("duckdb", extra="arrow").connect
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in columns or ()) or "*"
    return duckdb.query(connect, f"SELECT {names} FROM {function}($1)", [path])  # noqa: S608
