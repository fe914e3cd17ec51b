"""MySQL and MariaDB.

What keeps a statement from doing more than to read, beside the check of its text:

- The session is `READ ONLY`, and so is the transaction of each query; the driver sends one
  statement at a time, and no files of ours (`LOAD DATA LOCAL`).
- The time that a statement may take is the server's to count (`max_statement_time`,
  `max_execution_time`).
- `sql_mode` is set, so that text and names end where the check thinks that they do.

Neither can lay rights down for a session: give a user that has SELECT alone, and above all not
FILE, which `INTO OUTFILE` and `LOAD_FILE` need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from unspool._optional import require
from unspool.errors import UsageError
from unspool.serve.catalog import Column, Table
from unspool.serve.engines.base import Engine
from unspool.serve.families import Family, family_of
from unspool.serve.functions import words
from unspool.sources import mysql
from unspool.sources.queries import QueryReader

__all__ = ["MySql"]

_COLUMNS = """
SELECT c.table_name, t.table_type <> 'BASE TABLE', c.column_name, c.column_type, c.data_type
FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = database() AND t.table_type IN ('BASE TABLE', 'VIEW')
ORDER BY c.table_name, c.ordinal_position
"""

_SHAPES = words(
    """
    geometry point linestring polygon multipoint multilinestring multipolygon geometrycollection
    geomcollection
    """
)

_CONNECT_S = 10
_PORT = 3306
_ALL = 2**64 - 1

# Lost connection, server gone, cannot connect, too many connections, shutdown.
_LOST = {1040, 1053, 1152, 1158, 1159, 1160, 1161, 2002, 2003, 2006, 2013, 2055}


class MySql(Engine):
    """A database of a server."""

    kind = "mysql"
    dialect = "mysql"
    placeholder = "%s"

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name)
        self._driver = require("pymysql", extra="mysql")
        parts = urlsplit(url)
        self._settings = {
            "host": parts.hostname or "127.0.0.1",
            "port": parts.port or _PORT,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "database": unquote(parts.path.removeprefix("/")),
            "charset": "utf8mb4",
            "connect_timeout": _CONNECT_S,
            "local_infile": False,
            "autocommit": True,
        }
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        if not self._settings["database"]:
            raise UsageError(f"{place} names no database. Add it: {place.rstrip('/')}/DATABASE.")
        try:
            self.tables()
        except self._driver.Error as error:
            raise UsageError(f"{place} cannot be read: {error}") from None

    def _connect(self, seconds: float) -> Any:
        connection = self._driver.connect(**self._settings)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION sql_mode = 'STRICT_TRANS_TABLES', time_zone = '+00:00'")
                if "MariaDB" in connection.get_server_info():
                    cursor.execute("SET SESSION max_statement_time = %s", (seconds,))
                else:
                    cursor.execute("SET SESSION max_execution_time = %s", (int(seconds * 1000),))
                # DDL would end a transaction and go on: what comes after one is read-only, too.
                cursor.execute("SET SESSION TRANSACTION READ ONLY")
                cursor.execute("START TRANSACTION READ ONLY")
        except BaseException:
            connection.close()
            raise
        return connection

    def read_tables(self) -> list[Table]:
        """Those of the database that the URL names."""
        found: dict[str, Table] = {}
        connection = self._connect(_CONNECT_S)
        try:
            with connection.cursor() as cursor:
                cursor.execute(_COLUMNS)
                rows = cursor.fetchall()
        finally:
            connection.close()
        for table, is_view, column, kind, short in rows:
            known = found.setdefault(
                table, Table(table, "view" if is_view else "table", [], (table,))
            )
            known.columns.append(Column(column, kind, _family(kind, short)))  # type: ignore[attr-defined]
        return list(found.values())

    def query(self, sql: str, parameters: Sequence[Any] | None, seconds: float) -> QueryReader:
        """By a cursor that holds one row."""
        return mysql.query(lambda: self._connect(seconds), sql, parameters or None)

    def is_late(self, error: BaseException) -> bool:
        """`max_statement_time`, `max_execution_time`."""
        return isinstance(error, self._driver.Error) and error.args[:1] in {(1969,), (3024,)}

    def is_lost(self, error: BaseException) -> bool:
        """Whether there is no connection, or none any more."""
        return isinstance(error, self._driver.Error) and bool(error.args) and error.args[0] in _LOST

    def fold(self, name: str, *, quoted: bool) -> str:
        """Names of tables keep their case, as where files do."""
        return name

    def names(self, table: Table) -> list[tuple[str, ...]]:
        """With the database, and without it."""
        return [table.path, (str(self._settings["database"]), *table.path)]

    def quote(self, name: str) -> str:
        """In backticks; PyMySQL takes `%` for a placeholder."""
        return "`" + name.replace("`", "``").replace("%", "%%") + "`"

    def select(self, selection: Any, carried: Any) -> Any:
        """PyMySQL takes `%%` for `%` only where there are parameters."""
        return _unescaped(super().select(selection, carried))

    def count(self, selection: Any, most: int | None = None) -> Any:
        """Likewise."""
        return _unescaped(super().count(selection, most))

    def count_of(self, sql: str, most: int) -> str:
        """As a common table: columns of a derived one need names that differ."""
        return super().count_of(sql, most)

    def window(self, limit: int | None, offset: int) -> str:
        """OFFSET needs a LIMIT."""
        return super().window(_ALL if offset and limit is None else limit, offset)

    def key(self, column: Column) -> str:
        """Text by code point: as bytes of UTF-8."""
        name = self.of(column)
        return _as_bytes(name) if column.family.is_text else name

    def value(self, column: Column) -> str:
        """Text as bytes, and values of 32 bits, made so."""
        if column.family.is_text:
            return "CAST(%s AS BINARY)"
        return "CAST(%s AS FLOAT)" if column.family is Family.SINGLE else "%s"

    def text(self, column: Column) -> str:
        """Shapes have a function of their own."""
        name = self.of(column)
        is_shape = column.type.lower() in _SHAPES
        return f"ST_AsText({name})" if is_shape else f"CAST({name} AS CHAR)"

    def json(self, column: Column) -> str:
        """It is text."""
        return self.of(column)

    def base64(self, column: Column) -> str:
        """MySQL breaks lines after 76 characters."""
        return f"REPLACE(TO_BASE64({self.of(column)}), '\\n', '')"

    def contains(self, column: Column) -> str:
        """By bytes."""
        return f"LOCATE(CAST(%s AS BINARY), {_as_bytes(self.of(column))}) > 0"

    def starts(self, column: Column) -> str:
        """By bytes."""
        return f"LOCATE(CAST(%s AS BINARY), {_as_bytes(self.of(column))}) = 1"


def _as_bytes(name: str) -> str:
    return f"CAST(CONVERT({name} USING utf8mb4) AS BINARY)"


def _family(kind: str, short: str) -> Family:
    if short == "bigint" and "unsigned" in kind:
        return Family.HUGE
    if kind == "tinyint(1)":  # What BOOLEAN is short for.
        return Family.BOOLEAN
    if short == "bit":
        return Family.BINARY  # As its driver has it.
    return family_of(short)


def _unescaped(query: tuple[str, list[Any]]) -> tuple[str, list[Any]]:
    sql, values = query
    return (sql, values) if values else (sql.replace("%%", "%"), values)
