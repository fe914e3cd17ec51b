"""Rows of Django query sets.

- Rows: of `values()` and `values_list()` these values under their names. Of model instances the
  values of their concrete fields, and of annotations, under the names that attributes have
  (`author_id`); deferred fields are left out. No instance is made: properties and `from_db` do
  not run, and `prefetch_related` has no effect.
- Memory: one batch, and what the driver holds. On PostgreSQL a server-side cursor is used (unless
  DISABLE_SERVER_SIDE_CURSORS is set), in a transaction of the stream's own, as the server would
  otherwise store the whole result before the first row. On MySQL Django's driver holds the whole
  result: `mysql.query` with a connection of your own does not.
- In a view with ATOMIC_REQUESTS the cursor ends with the view's transaction, which fails loudly:
  decorate the view with `transaction.non_atomic_requests`.
- Close: closes the cursor and ends the transaction; the connection is Django's.
- Cancel: by the driver's connection, see `dbapi`. (Under WSGI the client's leaving is only
  noticed between rows: the query runs on the thread that sends.)
- Threads: Django's connections are bound to their thread, and so is the stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unspool._optional import require
from unspool.sources.dbapi import Interrupt, interrupter
from unspool.sources.queries import QueryReader, keeping

__all__ = ["reader_of"]

# How many rows Django asks the driver's cursor for at a time.
_ROWS = 1000


def reader_of(source: object) -> QueryReader | None:
    """A reader of a query set, which is evaluated when the first row is read, and not cached."""
    kind = require("django.db.models", extra="django").QuerySet
    return _Rows(source) if isinstance(source, kind) else None


class _Rows(QueryReader):
    thread_bound = True

    def __init__(self, queryset: Any) -> None:
        super().__init__()
        self._queryset = queryset
        self._interrupt_call: Interrupt | None = None

    def begin(self) -> None:
        """Sends the query."""
        db = require("django.db", extra="django")
        connection = db.connections[self._queryset.db]
        connection.ensure_connection()
        self._interrupt_call = interrupter(connection.connection)
        if not connection.in_atomic_block:
            self.opened.enter_context(db.transaction.atomic(using=self._queryset.db))
        self.columns = _names(self._queryset)
        values = self._queryset.values_list(*self.columns)
        if values._prefetch_related_lookups:
            values = values.prefetch_related(None)
        rows = values.iterator(chunk_size=_ROWS)
        self.opened.callback(rows.close)
        self.fetch = keeping(rows)

    def interrupt(self) -> None:
        """Asks the driver."""
        if self._interrupt_call is not None:
            self._interrupt_call()


def _names(queryset: Any) -> Sequence[str]:
    """The names of the values that a query set gives."""
    query = queryset.query
    if queryset._fields is None:
        return [*_loaded_fields(queryset), *query.annotation_select, *query.extra_select]
    selected = getattr(query, "selected", None)  # Since Django 5.2, in the order they were named.
    return list(selected or (*query.extra_select, *query.values_select, *query.annotation_select))


def _loaded_fields(queryset: Any) -> list[str]:
    """The attributes of an instance's fields, without those deferred by `only` and `defer`."""
    chosen, deferred = queryset.query.deferred_loading
    return [
        field.attname
        for field in queryset.model._meta.concrete_fields
        if field.primary_key or bool({field.name, field.attname} & set(chosen)) != deferred
    ]
