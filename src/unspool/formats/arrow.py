"""Arrow IPC streams (Apache Arrow Columnar Format, "IPC Streaming Format"), by pyarrow.

What becomes of values, and of the types of columns: see `unspool.formats.arrow_types`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from unspool.formats.arrow_types import pyarrow
from unspool.formats.groups import Groups, check_group
from unspool.types import Batch

__all__ = ["Arrow", "TableEncoder"]


@dataclass(frozen=True)
class Arrow:
    """Record batches, as every Arrow library reads them.

    Args:
        schema: a `pyarrow.Schema`, to which all values are converted. Without it, the types
            are those that hold the values of the first record batch.
        batch_rows: the rows of a record batch. With fewer, the first bytes leave earlier.

    Holds one record batch, 8 MiB and 1,024 rows at the most, and once more while it is
    written. Batches of Arrow data pass without a Python object for each value.

    Raises:
        UsageError: a `batch_rows` below 1.

    >>> import pyarrow
    >>> rows = Arrow().encoder(["id", "name"])
    >>> data = rows.begin() + rows.feed([(1, "a"), (2, None)]) + rows.end()
    >>> pyarrow.ipc.open_stream(data).read_all().to_pylist()
    [{'id': 1, 'name': 'a'}, {'id': 2, 'name': None}]
    """

    schema: Any = None
    batch_rows: int = 8192

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return "application/vnd.apache.arrow.stream"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".arrows"

    def __post_init__(self) -> None:
        check_group("batch_rows", self.batch_rows)

    def encoder(self, columns: Sequence[str] | None) -> TableEncoder:
        """A new encoder for one stream.

        Raises:
            MissingExtra: pyarrow is not installed.
            UsageError: columns that are not those of the schema.
        """
        groups = Groups("Arrow", columns, self.schema, self.batch_rows)
        return TableEncoder(groups, pyarrow().ipc.new_stream)


class TableEncoder:
    """Writes groups of rows, each in one go, with one of pyarrow's writers."""

    def __init__(self, groups: Groups, open_writer: Callable[[Any, Any], Any]) -> None:
        self._groups = groups
        self._open_writer = open_writer
        self._sink = _Sink()
        self._writer: Any = None

    def begin(self) -> bytes:
        """Nothing: the types of the columns stand first, and are not known yet."""
        return b""

    def feed(self, batch: Batch) -> bytes:
        """The groups that these rows complete; mostly nothing."""
        for table in self._groups.feed(batch):
            self._write(table)
        return self._sink.take()

    def end(self) -> bytes:
        """The last group, and what stands after it."""
        self._write(self._groups.end())
        self._writer.close()
        return self._sink.take()

    def _write(self, table: Any) -> None:
        if self._writer is None:
            self._writer = self._open_writer(self._sink, table.schema)
        if len(table):
            self._writer.write_table(table, len(table))


class _Sink:
    """What pyarrow writes to: keeps the bytes until they are taken."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        """There is nothing to do."""

    close = flush

    def take(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data
