"""PostgreSQL.

What keeps a statement from doing more than to read, beside the check of its text:

- Each query runs in a transaction for reading only, which no statement in it can change, and
  which is rolled back.
- A cursor is declared for it: that takes one SELECT or VALUES, and nothing else.
- A superuser's rights are laid down (`SET ROLE pg_read_all_data`): files, other sessions and
  large objects are out of reach. Better give a role that can only read what is to be served.
- `statement_timeout`, also for what waits for a lock; `search_path` is `public` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from unspool._optional import require
from unspool.errors import UsageError
from unspool.serve.catalog import Column, Table
from unspool.serve.engines.base import Engine
from unspool.serve.families import Family, family_of
from unspool.sources.postgres.cursors import Cursor
from unspool.sources.queries import QueryReader

__all__ = ["Postgres"]

_COLUMNS = """
SELECT n.nspname, c.relname, c.relkind IN ('v', 'm'), a.attname,
    CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
        ELSE format_type(a.atttypid, a.atttypmod) END,
    t.typtype = 'e'
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
    AND n.nspname NOT LIKE 'pg\\_temp%' AND has_schema_privilege(n.oid, 'USAGE')
    AND has_table_privilege(c.oid, 'SELECT')
ORDER BY n.nspname <> 'public', n.nspname, c.relname, a.attnum
"""

_CONNECT_S = 10

# PostgreSQL 14 has a role that reads all and may do nothing else.
_READER_SINCE = 14_00_00


class Postgres(Engine):
    """A database of a server."""

    kind = "postgresql"
    dialect = "postgres"
    placeholder = "%s"

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name)
        self._url = url
        self._driver = require("psycopg", extra="postgres")
        place = _without_password(url)
        try:
            self.tables()
        except self._driver.Error as error:
            raise UsageError(f"{place} cannot be read: {error}") from None

    def _connect(self, seconds: float) -> Any:
        settings = {
            "statement_timeout": str(max(1, int(seconds * 1000))),
            "idle_in_transaction_session_timeout": "0",  # A slow client is idle, to PostgreSQL.
            "default_transaction_read_only": "on",
            "standard_conforming_strings": "on",
            "search_path": "public",
            "timezone": "UTC",
            "datestyle": "ISO",
        }
        options = " ".join(f"-c {key}={value}" for key, value in settings.items())
        connection = self._driver.connect(
            self._url, options=options, connect_timeout=_CONNECT_S, autocommit=True
        )
        try:
            self._lay_down(connection)
            connection.autocommit = False
            connection.read_only = True
            # The transaction of the query is a savepoint in this one, which nobody commits.
            connection.execute("SELECT 1")
        except BaseException:
            connection.close()
            raise
        return connection

    def _lay_down(self, connection: Any) -> None:
        info = connection.info
        is_superuser = info.parameter_status("is_superuser") == "on"
        if is_superuser and info.server_version >= _READER_SINCE:
            connection.execute("SET ROLE pg_read_all_data")

    def read_tables(self) -> list[Table]:
        """Those that may be read; of other schemas than `public` the name has the schema."""
        found: dict[tuple[str, str], Table] = {}
        connection = self._connect(_CONNECT_S)
        try:
            rows = connection.execute(_COLUMNS).fetchall()
        finally:
            connection.close()
        for schema, table, is_view, column, kind, is_enum in rows:
            name = table if schema == "public" else f"{schema}.{table}"
            known = found.setdefault(
                (schema, table),
                Table(name, "view" if is_view else "table", [], (schema, table)),
            )
            family = Family.ENUM if is_enum else family_of(kind)
            known.columns.append(Column(column, kind, family))  # type: ignore[attr-defined]
        return list(found.values())

    def query(self, sql: str, parameters: Sequence[Any] | None, seconds: float) -> QueryReader:
        """By a cursor of the server's."""
        return Cursor(lambda: self._connect(seconds), sql, parameters or None)

    def is_late(self, error: BaseException) -> bool:
        """`statement_timeout`."""
        return isinstance(error, self._driver.errors.QueryCanceled)

    def is_lost(self, error: BaseException) -> bool:
        """Whether there is no connection, or none any more."""
        lost = isinstance(error, self._driver.OperationalError)
        return lost and (error.sqlstate or "08").startswith(("08", "53", "57P"))  # type: ignore[attr-defined]

    def fold(self, name: str, *, quoted: bool) -> str:
        """Names in quotes keep their case."""
        return name if quoted else super().fold(name, quoted=False)

    def names(self, table: Table) -> list[tuple[str, ...]]:
        """With the schema, and without it if that is `public`.

        A name like one of PostgreSQL's own would be that, without a schema.
        """
        schema, name = table.path
        plain = schema == "public" and not name.startswith("pg_")
        return [table.path, (name,)] if plain else [table.path]

    def quote(self, name: str) -> str:
        """Psycopg takes `%` for a placeholder."""
        return super().quote(name).replace("%", "%%")

    def select(self, selection: Any, carried: Any) -> Any:
        """Psycopg takes `%%` for `%` only where there are parameters."""
        return _unescaped(super().select(selection, carried))

    def count(self, selection: Any, most: int | None = None) -> Any:
        """Likewise."""
        return _unescaped(super().count(selection, most))

    def key(self, column: Column) -> str:
        """Text by code point."""
        name = self.of(column)
        return f'{name}::text COLLATE "C"' if column.family.is_text else name

    def value(self, column: Column) -> str:
        """Values of 32 bits are made so."""
        return {Family.SINGLE: "%s::real", Family.DECIMAL: "%s::numeric"}.get(
            column.family, "%s::text" if column.family.is_text else "%s"
        )

    def finite(self, column: Column) -> str:
        """To PostgreSQL NaN is a value that equals itself."""
        name = self.of(column)
        return f"CASE WHEN {name} NOT IN ('NaN', 'Infinity', '-Infinity') THEN {name} END"

    def json(self, column: Column) -> str:
        """By PostgreSQL's function."""
        return f"to_json({self.of(column)})::text"

    def base64(self, column: Column) -> str:
        """PostgreSQL breaks lines after 76 characters."""
        return f"translate(encode({self.of(column)}, 'base64'), chr(10), '')"

    def contains(self, column: Column) -> str:
        """By PostgreSQL's function."""
        return f"strpos({self.of(column)}::text, %s::text) > 0"

    def starts(self, column: Column) -> str:
        """By PostgreSQL's function."""
        return f"starts_with({self.of(column)}::text, %s::text)"


def _unescaped(query: tuple[str, list[Any]]) -> tuple[str, list[Any]]:
    sql, values = query
    return (sql, values) if values else (sql.replace("%%", "%"), values)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
