"""Rows of SQLAlchemy 2: Core and ORM, sync and async.

- Rows: of columns, tuples under the result's keys. Of ORM entities, their loaded column attributes
  under the attributes' names (beside others under `Entity.attribute`); what was deferred is not
  loaded for it. What the first row has decides.
- Memory: one batch, and what the driver holds: `query` sets `yield_per`, by which SQLAlchemy
  uses a server-side or unbuffered cursor where the driver has one. A `Result` that was made without
  `stream_results` or `yield_per` holds everything already. A session keeps entities only as long as
  something else does.
- Close: closes the result; a connection or session that was given stays open, with its transaction.
- Cancel: by the driver's connection, see `dbapi`; the awaited ones by cancelling the task.
- Threads: any, one at a time; SQLite stays on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from unspool._optional import require
from unspool.sources.batches import AsyncBatchRows
from unspool.sources.dbapi import Interrupt, close_with, connection_of, interrupter
from unspool.sources.queries import AsyncQueryReader, QueryReader, keeping, package_of

__all__ = ["query", "reader_of"]

# How many rows the driver's cursor is asked for at a time.
_ROWS = 1000


def query(bind: Any, statement: Any, parameters: Any = None) -> QueryReader | AsyncBatchRows:
    """The rows of `statement`, executed with `yield_per` when the first is read.

    Args:
        bind: an `Engine`, `Connection`, `Session`, `scoped_session`, or a `sessionmaker`, or one
            of their async kin. What is opened for the stream is closed with it.
        statement: `select(…)`, `text(…)`, or SQL as a string.
        parameters: the values of its parameters.

    Raises, when the first row is read: what SQLAlchemy raises.

    >>> import sqlalchemy
    >>> engine = sqlalchemy.create_engine("sqlite://")
    >>> rows = query(engine, "SELECT :n AS n", {"n": 5})
    >>> rows.read_batch(10), rows.columns
    ([(5,)], ('n',))
    >>> rows.close()
    """
    sqlalchemy = require("sqlalchemy", extra="sqlalchemy")
    if isinstance(statement, str):
        statement = sqlalchemy.text(statement)
    if hasattr(bind, "registry"):
        bind = bind()  # A scoped session: the one of this thread.
    if type(bind).__name__.lower().startswith("async"):
        return AsyncBatchRows(_AsyncStatement(bind, statement, parameters))
    return _Statement(bind, statement, parameters)


def reader_of(source: object) -> QueryReader | AsyncBatchRows | None:
    """A reader of a result, sync or async, or of a session's `Query`."""
    orm = require("sqlalchemy.orm", extra="sqlalchemy")
    if isinstance(source, orm.Query):
        return _OrmQuery(source)
    if not hasattr(source, "fetchmany"):
        return None
    if type(source).__name__.startswith("Async"):
        return AsyncBatchRows(_AsyncResult(source))
    return _Result(source)


class _Result(QueryReader):
    """The rows that a result has left."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self._result = result
        self._interrupt_call: Interrupt | None = None
        self._close_with(result)

    def begin(self) -> None:
        """Finds the names."""
        self._read(self._result)

    def _close_with(self, result: Any) -> None:
        self.opened.callback(result.close)
        cursor = _cursor_of(result)
        if cursor is not None:
            connection = connection_of(cursor)
            self.thread_bound = package_of(connection) == "sqlite3"
            interrupt = interrupter(connection)
            self._interrupt_call = close_with(self.opened, cursor, connection, interrupt)

    def _read(self, result: Any, entity: Any = None) -> None:
        shape = _Shape(_keys(result), entity)
        self.columns = shape.names

        def fetch(want: int) -> list[Any]:
            rows = shape.cut(result.fetchmany(want))
            self.columns = shape.names
            return rows

        self.fetch = fetch

    def interrupt(self) -> None:
        """Asks the driver."""
        if self._interrupt_call is not None:
            self._interrupt_call()


class _Statement(_Result):
    """A statement that is executed for the stream."""

    def __init__(self, bind: Any, statement: Any, parameters: Any) -> None:
        QueryReader.__init__(self)
        self._bind = bind
        self._statement = statement
        self._parameters = parameters
        self._interrupt_call = None

    def begin(self) -> None:
        """Executes the statement."""
        bind = self._opened_bind()
        connection = bind.connection() if hasattr(bind, "get_bind") else bind
        self._interrupt_call = interrupter(connection.connection.driver_connection)
        options = {"yield_per": _ROWS}
        result = bind.execute(self._statement, self._parameters, execution_options=options)
        self._close_with(result)
        self._read(result, _only_entity(self._statement))

    def _opened_bind(self) -> Any:
        bind = self._bind
        if hasattr(bind, "execute"):
            return bind
        open = bind.connect if hasattr(bind, "connect") else bind
        return self.opened.enter_context(open())


class _OrmQuery(QueryReader):
    """The rows of a session's `Query`."""

    def __init__(self, query: Any) -> None:
        super().__init__()
        self._query = query

    def begin(self) -> None:
        """Sends the query."""
        keys = [column["name"] for column in self._query.column_descriptions]
        shape = _Shape(keys, _only_entity(self._query))
        connection = self._query.session.connection()
        driver_connection = connection.connection.driver_connection
        self.thread_bound = package_of(driver_connection) == "sqlite3"
        fetch = keeping(self._query.yield_per(_ROWS))
        self.columns = shape.names

        def cut(want: int) -> list[Any]:
            rows = shape.cut(fetch(want))
            self.columns = shape.names
            return rows

        self.fetch = cut


class _AsyncResult(AsyncQueryReader):
    """The rows that an awaited result has left."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self._result = result
        self.opened.push_async_callback(result.close)

    async def begin(self) -> None:
        """Finds the names."""
        self._read(self._result)

    def _read(self, result: Any, entity: Any = None) -> None:
        shape = _Shape(_keys(result), entity)
        self.columns = shape.names

        async def fetch(want: int) -> list[Any]:
            rows = shape.cut(await result.fetchmany(want))
            self.columns = shape.names
            return rows

        self.fetch = fetch


class _AsyncStatement(_AsyncResult):
    """A statement that is executed for the stream, awaited."""

    def __init__(self, bind: Any, statement: Any, parameters: Any) -> None:
        AsyncQueryReader.__init__(self)
        self._bind = bind
        self._statement = statement
        self._parameters = parameters

    async def begin(self) -> None:
        """Executes the statement."""
        bind = self._bind
        if not hasattr(bind, "execute"):
            open = bind.connect if hasattr(bind, "connect") else bind
            bind = await self.opened.enter_async_context(open())
        options = {"yield_per": _ROWS}
        result = await bind.stream(self._statement, self._parameters, execution_options=options)
        self.opened.push_async_callback(result.close)
        self._read(result, _only_entity(self._statement))


def _keys(result: Any) -> Sequence[str] | None:
    """The names of a result's columns; None for scalars."""
    return tuple(result.keys()) if hasattr(result, "keys") else None


def _cursor_of(result: Any) -> Any:
    """The driver's cursor below a result; None where there is none."""
    for name in ("_real_result", "raw"):
        result = getattr(result, name, None) or result
    return getattr(result, "cursor", None)


def _only_entity(statement: Any) -> Any:
    """The mapped class of which a statement gives the entities, if it gives nothing else."""
    descriptions: Sequence[Any] = getattr(statement, "column_descriptions", ())
    if len(descriptions) == 1 and descriptions[0]["expr"] is descriptions[0]["entity"]:
        return descriptions[0]["entity"]
    return None


class _Shape:
    """How rows become tuples under names: decided by the first row."""

    def __init__(self, keys: Sequence[str] | None, entity: Any) -> None:
        self._keys = keys
        self._cut: Callable[[Sequence[Any]], list[Any]] | None = None
        self.names: Sequence[str] | None = keys
        if entity is not None:
            self.names = _loaded_by_default(entity)

    def cut(self, rows: Sequence[Any]) -> list[Any]:
        """The tuples of these rows."""
        if self._cut is None:
            if not rows:
                return []
            self._cut = self._decide(rows[0])
        return self._cut(rows)

    def _decide(self, first: Any) -> Callable[[Sequence[Any]], list[Any]]:
        if self._keys is None or _is_entity(first):
            return self._of_scalars(first)
        if isinstance(first, Mapping):
            return list  # Mappings have their names.
        parts = [_attributes(value) for value in first]
        if not any(parts):
            return lambda rows: list(map(tuple, rows))
        if len(parts) == 1 and parts[0]:
            self.names = parts[0]
            return lambda rows: _by_attributes(parts[0], map(itemgetter(0), rows))
        return self._of_mixed(parts)

    def _of_scalars(self, first: Any) -> Callable[[Sequence[Any]], list[Any]]:
        attributes = _attributes(first)
        if not attributes:
            self.names = None
            return lambda rows: list(zip(rows, strict=True))
        self.names = attributes
        return lambda rows: _by_attributes(attributes, rows)

    def _of_mixed(self, parts: list[tuple[str, ...]]) -> Callable[[Sequence[Any]], list[Any]]:
        names: list[str] = []
        for key, attributes in zip(self._keys or (), parts, strict=True):
            names += [f"{key}.{name}" for name in attributes] if attributes else [key]
        self.names = names

        def flat(row: Sequence[Any]) -> tuple[Any, ...]:
            cells: list[Any] = []
            for value, attributes in zip(row, parts, strict=True):
                if attributes:
                    cells += [getattr(value, name) for name in attributes]
                else:
                    cells.append(value)
            return tuple(cells)

        return lambda rows: list(map(flat, rows))


def _is_entity(value: Any) -> bool:
    return hasattr(value, "_sa_instance_state")


def _attributes(value: Any) -> tuple[str, ...]:
    """The names of the column attributes that an entity has loaded; none, if it is no entity."""
    if not _is_entity(value):
        return ()
    state = require("sqlalchemy", extra="sqlalchemy").inspect(value)
    return tuple(name for name in state.mapper.column_attrs.keys() if name not in state.unloaded)  # noqa: SIM118


def _loaded_by_default(entity: Any) -> tuple[str, ...]:
    mapper = require("sqlalchemy", extra="sqlalchemy").inspect(entity).mapper
    return tuple(attribute.key for attribute in mapper.column_attrs if not attribute.deferred)


def _by_attributes(names: tuple[str, ...], entities: Iterable[Any]) -> list[Any]:
    get = attrgetter(*names)
    cells = map(get, entities)
    return list(cells) if len(names) > 1 else list(zip(cells, strict=True))
