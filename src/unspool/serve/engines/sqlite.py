"""SQLite files.

What keeps a statement from doing more than to read, beside the check of its text:

- The file is opened with `mode=ro`, and the connection has `query_only`.
- An authorizer lets SELECT, READ, FUNCTION and RECURSIVE through, and nothing else: no PRAGMA, no
  ATTACH, no write, no transaction; of functions and tables not those of SQLite's own affairs.
- `trusted_schema=OFF`: views cannot call what has side effects. Extensions cannot be loaded.
- Limits of SQLite for what a statement may be and make; and `interrupt`, when its time is over.
"""

from __future__ import annotations

import base64
import re
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from unspool.errors import UsageError
from unspool.serve.catalog import Column, Table
from unspool.serve.engines.base import Engine
from unspool.serve.families import Family, family_of
from unspool.sources import sqlite
from unspool.sources.queries import QueryReader

__all__ = ["Sqlite"]

# (Shadow tables are how virtual ones, such as those for searching text, keep what they have.)
_TABLES = """
SELECT name, CASE type WHEN 'view' THEN 'view' ELSE 'table' END, type = 'virtual'
FROM pragma_table_list
WHERE schema = 'main' AND type IN ('table', 'view', 'virtual') AND name NOT GLOB 'sqlite_*'
ORDER BY name
"""

# Tables that are functions, which statements may use.
_FUNCTIONS_WARM = ("json_each('[]')", "json_tree('[]')")

_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}

# They load code, make values of any size, or read pointers out of values.
_FUNCTIONS_DENIED = {
    "load_extension",
    "readfile",
    "writefile",
    "edit",
    "fts3_tokenizer",
    "randomblob",
    "zeroblob",
    "eval",
    "sqlite_compileoption_get",
    "sqlite_compileoption_used",
    "sqlite_log",
}

# For statements of clients: the largest value, and what all values of the process may take.
_VALUE_BYTES = 16 * 2**20
_HEAP_BYTES = 2**30
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: _VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 1_000_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 50,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}

# Another program that writes is waited for so long.
_BUSY_S = 5.0

_WORD = re.compile(r"[a-z]+")


class Sqlite(Engine):
    """A database file. Other programs can read and write it at the same time."""

    kind = "sqlite"
    dialect = "sqlite"

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        self._path = path.resolve()
        try:
            self.tables()
        except sqlite3.Error as error:
            raise UsageError(f"{path} cannot be read: {error}") from error

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=ro",
            uri=True,
            check_same_thread=False,
            timeout=_BUSY_S,
            isolation_level=None,
        )
        connection.create_function("unspool_base64", 1, _base64, deterministic=True)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection

    def _open_locked(self) -> sqlite3.Connection:
        connection = self._open()
        connection.execute(f"PRAGMA hard_heap_limit = {_HEAP_BYTES}")
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        self._warm_up(connection)
        connection.set_authorizer(_authorize)
        return connection

    def _warm_up(self, connection: sqlite3.Connection) -> None:
        """Lets virtual tables be set up, for which they prepare what no statement may do."""
        virtual = [name for name, _, is_virtual in connection.execute(_TABLES) if is_virtual]
        for place in (*map(self.quote, virtual), *_FUNCTIONS_WARM):
            with suppress(sqlite3.Error):  # It is not there, or broken: who uses it is told.
                connection.execute(f"SELECT 1 FROM {place} LIMIT 1").fetchall()  # noqa: S608

    def read_tables(self) -> list[Table]:
        """Those of the file; columns have the type that they were declared with."""
        connection = self._open()
        try:
            return [
                Table(name, kind, _columns(connection, name), (name,))
                for name, kind, _ in connection.execute(_TABLES).fetchall()
            ]
        finally:
            connection.close()

    def query(self, sql: str, parameters: Sequence[Any] | None, seconds: float) -> QueryReader:
        """SQLite counts no time: who reads interrupts."""
        return sqlite.query(self._open, sql, parameters or ())

    def statement(self, sql: str, seconds: float) -> QueryReader:
        """By a connection with an authorizer."""
        return sqlite.query(self._open_locked, sql)

    def names(self, table: Table) -> list[tuple[str, ...]]:
        """With `main`, and without it."""
        name = self.fold(table.path[0], quoted=True)
        return [(name,), ("main", name)]

    def is_lost(self, error: BaseException) -> bool:
        """It is in this process; the file can be gone."""
        return isinstance(error, sqlite3.OperationalError) and "unable to open" in str(error)

    def window(self, limit: int | None, offset: int) -> str:
        """OFFSET needs a LIMIT."""
        return super().window(-1 if offset and limit is None else limit, offset)

    def key(self, column: Column) -> str:
        """Without the collation of the column."""
        return f"{self.of(column)} COLLATE BINARY"

    def bound(self, column: Column, value: Any) -> Any:
        """Numbers as numbers; dates and times as the text that they are stored as."""
        family = column.family
        if family is Family.DECIMAL:
            return float(value)
        if family in {Family.DATE, Family.TIME, Family.UUID}:
            return str(value)
        if family in {Family.TIMESTAMP, Family.INSTANT}:
            return str(value)
        return value

    def output(self, column: Column, carried: Collection[Family]) -> str:
        """Columns without a type can have bytes in them, too."""
        may_have_bytes = column.family in {Family.BINARY, Family.ANY}
        if not may_have_bytes or Family.BINARY in carried:
            return self.quote(column.name)
        return f"{self.base64(column)} AS {self.quote(column.name)}"

    def json(self, column: Column) -> str:
        """It is text."""
        return self.of(column)

    def base64(self, column: Column) -> str:
        """By a function of ours, where there are bytes."""
        name = self.of(column)
        return f"CASE typeof({name}) WHEN 'blob' THEN unspool_base64({name}) ELSE {name} END"

    def contains(self, column: Column) -> str:
        """`LIKE` would not mind the case."""
        return f"instr(CAST({self.of(column)} AS TEXT), ?) > 0"

    def starts(self, column: Column) -> str:
        """Likewise."""
        name = f"CAST({self.of(column)} AS TEXT)"
        return f"instr({name}, ?) = 1"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _columns(connection: sqlite3.Connection, table: str) -> list[Column]:
    rows = connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall()
    return [Column(name, kind or "ANY", _family(kind)) for name, kind in rows]


def _family(kind: str) -> Family:
    """By the name of the type; else by the affinity that SQLite sees in it (§3.1 of its docs)."""
    known = family_of(kind)
    if known in {Family.HUGE, Family.SINGLE}:
        return Family.INTEGER if known is Family.HUGE else Family.FLOAT
    if known not in {Family.OPAQUE, Family.NESTED}:
        return known
    upper = kind.upper()
    for part, family in (
        ("INT", Family.INTEGER),
        ("CHAR", Family.TEXT),
        ("CLOB", Family.TEXT),
        ("TEXT", Family.TEXT),
        ("BLOB", Family.BINARY),
        ("REAL", Family.FLOAT),
        ("FLOA", Family.FLOAT),
        ("DOUB", Family.FLOAT),
    ):
        if part in upper:
            return family
    return Family.ANY


def _authorize(action: int, first: Any, second: Any, *_: Any) -> int:
    """What a statement of a client may do; see sqlite3_set_authorizer."""
    if action == sqlite3.SQLITE_PRAGMA and (first, second) == ("data_version", None):
        return sqlite3.SQLITE_OK  # What searching text asks for, to see whether it has changed.
    if action not in _ALLOWED:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and str(second).lower() in _FUNCTIONS_DENIED:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_READ and str(first).lower().startswith(("sqlite_", "dbstat")):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK
