"""Rows that are held as Arrow columns until they make a group: a row group, a record batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unspool.errors import EmptySource, RowError, UsageError
from unspool.formats.arrow_types import Column, Misfit, pyarrow
from unspool.formats.rows import Cells
from unspool.types import Batch

__all__ = ["GROUP_BYTES", "Groups", "check_group"]

# A group leaves when it has so many bytes, even if it has not all its rows.
GROUP_BYTES = 8 * 1024 * 1024

# Groups are measured after every so many rows, wherever batches began and ended, so that the
# answer has the same bytes for every size of batches.
_BLOCK_ROWS = 1024


def check_group(name: str, value: object) -> None:
    """Raises UsageError if `value` is no size of a group."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} must be a whole number of at least 1; got {value!r}.")


class Groups:
    """Takes batches of rows and gives tables of `group_rows` rows, fewer if they are large.

    The types of the columns are those of `schema`, of the first batch of Arrow data, or else
    those that hold the values of the first group. `refused` says of a schema why the format
    cannot carry it, if it cannot. Holds one group.
    """

    def __init__(
        self,
        format: str,
        columns: Sequence[str] | None,
        schema: Any,
        group_rows: int,
        group_bytes: int = GROUP_BYTES,
        refused: Callable[[Any], str | None] = lambda schema: None,
    ) -> None:
        self._format = format
        self._refused = refused
        self._group_rows = group_rows
        self._group_bits = 8 * group_bytes
        self._schema = None if schema is None else pyarrow().schema(schema)
        if self._schema is not None and columns is not None and [*columns] != self._schema.names:
            raise UsageError(
                f"columns={[*columns]!r} are not those of the schema, {self._schema.names!r}. "
                "Leave columns out."
            )
        if self._schema is not None:
            for field in self._schema:
                if (why := self._why_not(field)) is not None:
                    raise UsageError(f"schema, column {field.name!r}: {why}")
        self._chosen = columns
        self._cells = Cells(columns if self._schema is None else self._schema.names)
        self._columns: list[Column] = []
        self._rows = 0
        self._define()
        pyarrow()

    def feed(self, batch: Batch) -> list[Any]:
        """The tables that these rows complete.

        Raises:
            RowError: a value that does not fit its column; nothing of the batch is held then.
        """
        if hasattr(batch, "__arrow_c_array__"):
            rows: Any = self._record_batch(batch)
            add: Callable[[Any, int], None] = self._add_arrays
        else:
            rows = self._cells_of(batch)
            add = self._add_rows
        before = self._columns, self._rows
        self._columns = [column.copy() for column in self._columns]
        try:
            return self._grouped(rows, add)
        except RowError:
            self._columns, self._rows = before
            raise

    def end(self) -> Any:
        """The rows that are held, in a table, which has columns also if it has no rows.

        Raises:
            EmptySource: no row came, and nothing else says what the columns are.
        """
        if not self._columns:
            raise EmptySource(
                f"the source gave no rows, and so no columns for {self._format}. Pass "
                f"columns=[...], or {self._format}(schema=...), to send a file without rows."
            )
        return self._take()

    def _define(self) -> None:
        """Makes the columns, as soon as something says what they are."""
        if self._schema is not None:
            self._columns = [Column(field.name, field.type) for field in self._schema]
        elif self._cells.columns is not None:
            self._columns = [Column(name) for name in self._cells.columns]

    def _cells_of(self, batch: Batch) -> Sequence[Sequence[Any]]:
        if not self._columns:
            self._cells.start(batch)
            self._define()
        if batch and not self._columns:
            raise RowError(
                f"has no column names, and {self._format} needs them. Pass columns=[...], or "
                "give rows as mappings or dataclasses.",
                index=0,
                value=batch[0],
            )
        return list(self._cells.take(batch)) if batch else batch  # A deque cannot be sliced.

    def _record_batch(self, batch: Any) -> Any:
        """A batch of Arrow data, in the schema of this stream."""
        record = pyarrow().record_batch(batch)
        if self._chosen is not None:
            record = record.select([*self._chosen])
        if self._schema is None and not self._rows:
            self._check(record.schema)
            self._schema = record.schema
            self._define()
        schema = self._schema or self._schema_now()
        try:
            return record if record.schema == schema else record.cast(schema)
        except (ValueError, TypeError) as error:
            raise RowError(
                f"begins a batch of Arrow data that does not fit the schema: {error}", index=0
            ) from error

    def _check(self, schema: Any) -> None:
        for field in schema:
            if (why := self._why_not(field)) is not None:
                raise RowError(why, index=0, column=field.name)

    def _why_not(self, field: Any) -> str | None:
        """Why the format cannot carry a column; None if it can."""
        why = self._refused(pyarrow().schema([field]))
        return why and (
            f"{self._format} cannot carry {field.type}: {why}. Cast the column to another type "
            "first, or use format='arrow'."
        )

    def _grouped(self, rows: Any, add: Callable[[Any, int], None]) -> list[Any]:
        tables = []
        at = 0
        while at < len(rows):
            room = min(_BLOCK_ROWS - self._rows % _BLOCK_ROWS, self._group_rows - self._rows)
            part = rows[at : at + room]
            add(part, at)
            at += len(part)
            self._rows += len(part)
            if self._is_full():
                tables.append(self._take())
        return tables

    def _is_full(self) -> bool:
        if self._rows % _BLOCK_ROWS == 0:
            for column in self._columns:
                column.end_block()
        bits = sum(column.bits for column in self._columns)
        return self._rows == self._group_rows or bits >= self._group_bits

    def _add_arrays(self, record: Any, at: int) -> None:
        for column, array in zip(self._columns, record.columns, strict=True):
            column.add_array(array)

    def _add_rows(self, rows: Sequence[Sequence[Any]], at: int) -> None:
        for column, values in zip(self._columns, zip(*rows, strict=True), strict=True):
            try:
                column.add(values)
            except Misfit as misfit:
                raise RowError(
                    f"{misfit}. Give all values of the column one type, or choose it with "
                    f"{self._format}(schema=pyarrow.schema(...)).",
                    index=at + misfit.index,
                    column=column.name,
                    value=misfit.value,
                ) from misfit

    def _take(self) -> Any:
        self._rows = 0
        arrays = [column.take() for column in self._columns]
        return pyarrow().Table.from_arrays(arrays, schema=self._schema or self._schema_now())

    def _schema_now(self) -> Any:
        return pyarrow().schema([(column.name, column.type) for column in self._columns])
