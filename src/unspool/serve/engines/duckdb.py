"""DuckDB files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unspool._optional import require
from unspool.serve.catalog import Column, Table
from unspool.serve.problems import NotFound
from unspool.sources import duckdb
from unspool.types import BatchReader

__all__ = ["DuckDb"]

_COLUMNS = """
SELECT schema_name, table_name, column_name, data_type,
    (database_name, schema_name, table_name) IN
        (SELECT (database_name, schema_name, view_name) FROM duckdb_views())
FROM duckdb_columns() WHERE NOT internal AND database_name = current_database()
ORDER BY schema_name <> 'main', schema_name, table_name, column_index
"""

_CONFIG = {"arrow_lossless_conversion": "true"}


class DuckDb:
    """A database file, opened for reading only."""

    kind = "duckdb"

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        module = require("duckdb", extra="serve")
        self._connection = module.connect(str(path), read_only=True, config=_CONFIG)

    def tables(self) -> list[Table]:
        """All tables, by name."""
        found: dict[tuple[str, str], Table] = {}
        columns: dict[tuple[str, str], list[Column]] = {}
        for schema, table, column, kind, is_view in (
            self._connection.cursor().execute(_COLUMNS).fetchall()
        ):
            key = schema, table
            columns.setdefault(key, []).append(Column(column, kind))
            name = table if schema == "main" else f"{schema}.{table}"
            found[key] = Table(name, "view" if is_view else "table", columns[key], key)
        return list(found.values())

    def table(self, name: str) -> Table:
        """The table of this name."""
        for table in self.tables():
            if table.name == name:
                return table
        raise NotFound(f"{self.name} has no table {name!r}.")

    def query(self, sql: str, parameters: Sequence[Any]) -> BatchReader:
        """The rows of a query."""
        return duckdb.query(self._connection, sql, list(parameters))
