"""Rows of MySQL and MariaDB by unbuffered cursors: PyMySQL, mysqlclient, MySQL Connector.

- Values: as the driver makes them.
- Memory: one batch. An ordinary cursor of these drivers holds the whole result; an unbuffered one
  reads from the connection, which is busy until the last row was read. (MySQL Connector reads one
  row ahead: the first row leaves when the second is there.)
- Close: an unbuffered cursor that is closed early would read all the rest of the result first.
  So the query is killed before, and what was on its way is read. The connection can be used again.
- Cancel: `KILL QUERY` from a second connection: from the same function if one was given, else with
  the same settings. mysqlclient keeps no password: without a function its connection is shut down,
  and cannot be used again; the server then notices when it next sends something.
- Threads: any, one at a time.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

from unspool._optional import require
from unspool.errors import UsageError
from unspool.sources.dbapi import Interrupt, Query
from unspool.sources.queries import open_connection, package_of

__all__ = ["Unread", "killer", "query"]

# A second connection that does not come about within this is given up.
_KILL_TIMEOUT_S = 5

_DRAINED_ROWS = 1000


def query(connection: Any, sql: str, parameters: Any = None) -> Query:
    """The rows of `sql`, which is executed when the first is read.

    Args:
        connection: a connection of PyMySQL, mysqlclient or MySQL Connector; better a function
            that opens one, which also serves to open the second one for `KILL QUERY`.
        sql: a query, in the driver's parameter style (`%s`).
        parameters: the values of its placeholders.

    Raises, when the first row is read: what the driver raises; UsageError, if the connection is
    none of these drivers'.
    """
    return _UnbufferedQuery(connection, sql, parameters)


class _UnbufferedQuery(Query):
    def cursor(self, connection: Any) -> Any:
        package = package_of(connection)
        if package == "mysql":
            return connection.cursor(buffered=False)
        if package in {"pymysql", "MySQLdb"}:
            cursors = require(f"{package}.cursors", extra="mysql")
            return connection.cursor(cursors.SSCursor)
        raise UsageError(
            f"mysql.query takes a connection of PyMySQL, mysqlclient or MySQL Connector; got "
            f"{type(connection).__name__} of {package}. For another driver use dbapi.query with "
            "an unbuffered cursor of its own."
        )

    def interrupter(self, connection: Any, cursor: Any) -> Interrupt:
        given = self._given
        return killer(connection, None if given is connection else given)


def killer(connection: Any, given: Any = None) -> Interrupt:
    """What ends the query of `connection` from another thread."""
    if given is None:
        given = _same_again(connection)
    if given is None:
        return lambda: _shut_down(connection)
    query_id = _thread_id(connection)

    def kill() -> None:
        with ExitStack() as opened:
            other = open_connection(opened, given)
            other.cursor().execute(f"KILL QUERY {query_id:d}")

    return kill


def _thread_id(connection: Any) -> int:
    if package_of(connection) == "mysql":
        return int(connection.connection_id)
    return int(connection.thread_id())


def _same_again(connection: Any) -> Callable[[], Any] | None:
    """A function that opens another connection like this one, if its settings are known."""
    if package_of(connection) == "pymysql":
        pymysql = require("pymysql", extra="mysql")
        needs_tls = getattr(connection, "_ssl_required", connection.ssl)
        settings = {
            "host": connection.host,
            "port": connection.port,
            "user": connection.user,
            "password": connection.password,
            "unix_socket": connection.unix_socket,
            "ssl": connection.ctx if needs_tls else None,
            "connect_timeout": _KILL_TIMEOUT_S,
        }
        return lambda: pymysql.connect(**settings)
    if package_of(connection) == "mysql" and hasattr(connection, "_password"):
        return lambda: type(connection)(
            host=connection.server_host,
            port=connection.server_port,
            user=connection.user,
            password=connection._password,
            unix_socket=connection.unix_socket,
            connection_timeout=_KILL_TIMEOUT_S,
        )
    return None


def _shut_down(connection: Any) -> None:
    """Makes reads of the connection fail, and so the connection useless."""
    with suppress(Exception):
        if not hasattr(connection, "fileno"):
            connection.close()
            return
        with socket.socket(fileno=os.dup(connection.fileno())) as sock:
            sock.shutdown(socket.SHUT_RDWR)


def _is_from_server(kind: type[BaseException]) -> bool:
    """Whether a failure is the driver's own: then no rows are left to be read."""
    return any(base.__name__ == "Error" for base in kind.__mro__)


class Unread:
    """Ends a query whose rows were not all read, before its cursor would read them."""

    def __init__(self, cursor: Any, connection: Any, kill: Interrupt) -> None:
        self._cursor = cursor
        self._connection = connection
        self._kill = kill
        self._killed = False

    def kill(self) -> None:
        """Ends the query, from any thread."""
        self._kill()
        self._killed = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kills the query, unless that is done or all was read; reads what was on its way."""
        if kind is None or _is_from_server(kind):
            return
        with suppress(Exception):
            if not self._killed:
                self.kill()
        if not self._killed:
            _shut_down(self._connection)  # Better than to read on, maybe for hours.
        with suppress(Exception):
            while self._cursor.fetchmany(_DRAINED_ROWS):
                pass
        if getattr(self._connection, "unread_result", False):
            self._connection.unread_result = False  # MySQL Connector does not see the end.
