"""DuckDB files, and files that DuckDB reads: Parquet, CSV, JSON lines.

What keeps a statement from doing more than to read, beside the check of its text:

- `enable_external_access=false`: no file, network, extension or other database; of files only
  those that are served (`allowed_paths`). `lock_configuration`: no statement changes that.
- The database is opened for reading only; and each query runs in `BEGIN TRANSACTION READ ONLY`.
- `extract_statements`: DuckDB itself says that it is one statement, and a SELECT.
- `memory_limit`, and no `temp_directory`: what does not fit fails, and no file is written.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unspool._optional import require
from unspool.errors import UsageError
from unspool.serve.catalog import Column, Table
from unspool.serve.engines.base import Engine
from unspool.serve.families import Family
from unspool.serve.problems import BadStatement, Forbidden
from unspool.sources.duckdb import DuckDbQuery

__all__ = ["DuckDb", "Files", "reader_of_file"]

_COLUMNS = """
SELECT c.schema_name, c.table_name, c.column_name, c.data_type, v.view_name IS NOT NULL
FROM duckdb_columns() c LEFT JOIN duckdb_views() v
    ON (v.database_name, v.schema_name, v.view_name)
        = (c.database_name, c.schema_name, c.table_name)
WHERE NOT c.internal AND c.database_name = current_database()
ORDER BY c.schema_name <> 'main', c.schema_name, c.table_name, c.column_index
"""

# Of the memory of the machine, for all queries of a source together; and no more than this.
_MEMORY_SHARE = 4
_MEMORY_MAX_BYTES = 4 * 2**30

# By suffix, what reads a file.
_READERS = {
    ".parquet": "read_parquet",
    ".csv": "read_csv",
    ".csv.gz": "read_csv",
    ".csv.zst": "read_csv",
    ".tsv": "read_csv",
    ".tsv.gz": "read_csv",
    ".ndjson": "read_json",
    ".ndjson.gz": "read_json",
    ".jsonl": "read_json",
}


def reader_of_file(path: Path) -> tuple[str, str] | None:
    """What DuckDB reads a file with, and its name without the suffix; None if it does not."""
    name = path.name.lower()
    for suffix in sorted(_READERS, key=len, reverse=True):
        if name.endswith(suffix) and len(name) > len(suffix):
            return _READERS[suffix], path.name[: -len(suffix)]
    return None


_LOCKED = {"TimeZone": "UTC", "enable_external_access": "false", "lock_configuration": "true"}


def _config() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_unsigned_extensions": "false",
        "memory_limit": f"{min(memory // _MEMORY_SHARE, _MEMORY_MAX_BYTES)}B",
        "threads": str(max(1, (os.cpu_count() or 1) - 1)),  # One core is the server's.
        "temp_directory": "",
        "arrow_lossless_conversion": "true",
    }


class _ReadOnlyQuery(DuckDbQuery):
    """A query in a transaction for reading only; it must be one SELECT."""

    def cursor(self, connection: Any) -> Any:
        cursor = super().cursor(connection)
        module = require("duckdb", extra="serve")
        try:
            kinds = [each.type for each in cursor.extract_statements(self._sql)]
        except module.Error as error:
            cursor.close()
            raise BadStatement(str(error)) from error
        if kinds != [module.StatementType.SELECT]:
            cursor.close()
            raise Forbidden("only one statement is run, and it must be a SELECT.")
        cursor.execute("BEGIN TRANSACTION READ ONLY").fetchall()
        return cursor


class DuckDb(Engine):
    """A database file. Other programs can read it at the same time."""

    kind = "duckdb"
    dialect = "duckdb"

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        self._connection = self._connect(path)
        _lock(self._connection, ())

    def _connect(self, path: Path) -> Any:
        module = require("duckdb", extra="serve")
        try:
            return module.connect(str(path.resolve()), read_only=True, config=_config())
        except module.Error as error:
            raise UsageError(f"{path} cannot be opened: {error}") from error

    def read_tables(self) -> list[Table]:
        """Those of all schemas; of other schemas than `main` the name has the schema before it."""
        found: dict[tuple[str, str], Table] = {}
        with self._connection.cursor() as cursor:
            rows = cursor.execute(_COLUMNS).fetchall()
        for schema, table, column, kind, is_view in rows:
            name = table if schema == "main" else f"{schema}.{table}"
            known = found.setdefault(
                (schema, table),
                Table(name, "view" if is_view else "table", [], (schema, table)),
            )
            known.columns.append(Column(column, kind))  # type: ignore[attr-defined]
        return list(found.values())

    def query(self, sql: str, parameters: Sequence[Any] | None, seconds: float) -> DuckDbQuery:
        """DuckDB counts no time: who reads interrupts."""
        return _ReadOnlyQuery(self._connection, sql, parameters)

    def names(self, table: Table) -> list[tuple[str, ...]]:
        """With the schema, and without it if that is `main`."""
        schema, name = (self.fold(part, quoted=True) for part in table.path)
        return [(schema, name), (name,)] if schema == "main" else [(schema, name)]

    def is_lost(self, error: BaseException) -> bool:
        """It is in this process."""
        return False

    def key(self, column: Column) -> str:
        """Enumerations are compared by their labels."""
        name = self.of(column)
        return f"CAST({name} AS VARCHAR)" if column.family is Family.ENUM else name

    def value(self, column: Column) -> str:
        """Values of 32 bits are made so."""
        return "CAST(? AS FLOAT)" if column.family is Family.SINGLE else "?"

    def finite(self, column: Column) -> str:
        """By DuckDB's function."""
        name = self.of(column)
        return f"CASE WHEN isfinite({name}) THEN {name} END"

    def json(self, column: Column) -> str:
        """By DuckDB's function; what is JSON stays as it is written."""
        name = self.of(column)
        return f"CAST({name if column.type == 'JSON' else f'to_json({name})'} AS VARCHAR)"

    def base64(self, column: Column) -> str:
        """By DuckDB's function."""
        return f"to_base64({self.of(column)})"

    def contains(self, column: Column) -> str:
        """By DuckDB's function."""
        return f"contains({self.key(column)}, ?)"

    def starts(self, column: Column) -> str:
        """By DuckDB's function."""
        return f"starts_with({self.key(column)}, ?)"

    def close(self) -> None:
        """Closes the database."""
        self._connection.close()


class Files(DuckDb):
    """Files as the tables of one source, each a view in a database that holds nothing else."""

    kind = "files"

    def __init__(self, name: str, files: Mapping[str, Path]) -> None:
        self._files = {table: path.resolve() for table, path in files.items()}
        Engine.__init__(self, name)
        module = require("duckdb", extra="serve")
        self._connection = module.connect(":memory:", config=_config())
        try:
            for table, path in self._files.items():
                self._add(module, table, path)
            _lock(self._connection, self._files.values())
        except BaseException:
            self.close()
            raise

    def _add(self, module: Any, table: str, path: Path) -> None:
        function, _ = reader_of_file(path) or ("read_csv", "")
        pattern = _pattern(path)
        try:
            self._connection.execute(
                f"CREATE VIEW {self.quote(table)} AS SELECT * FROM {function}('{pattern}')"  # noqa: S608
            )
        except module.Error as error:
            raise UsageError(f"{path} cannot be read: {error}") from error

    def read_tables(self) -> list[Table]:
        """A table a file."""
        return [
            Table(each.name, "table", each.columns, each.path) for each in super().read_tables()
        ]


def _pattern(path: Path) -> str:
    """A path where DuckDB takes patterns: its brackets and stars stand for themselves."""
    return glob.escape(str(path)).replace("'", "''")


def _lock(connection: Any, paths: Iterable[Path]) -> None:
    """From here on nothing but these files can be reached.

    (Two sources of one process that are the same file share what is locked.)
    """
    ((locked,),) = connection.execute("SELECT current_setting('lock_configuration')").fetchall()
    if locked:
        return
    names = {name for path in paths for name in (str(path).replace("'", "''"), _pattern(path))}
    listed = ", ".join(f"'{name}'" for name in sorted(names))
    for setting in (
        f"allowed_paths = [{listed}]",
        *(f"{name} = '{value}'" for name, value in _LOCKED.items()),
    ):
        connection.execute(f"SET {setting}")
