"""Parquet (Apache Parquet Format 2), by pyarrow, row group by row group.

What becomes of values, and of the types of columns: see `unspool.formats.arrow_types`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar, Literal, get_args

from unspool._optional import require
from unspool.errors import UsageError
from unspool.formats.arrow import TableEncoder
from unspool.formats.groups import Groups, check_group

__all__ = ["Parquet"]

Compression = Literal["snappy", "zstd", "gzip", "brotli", "lz4", "none"]


@dataclass(frozen=True)
class Parquet:
    """Parquet, whose bytes leave one row group at a time.

    Args:
        schema: a `pyarrow.Schema`, to which all values are converted. Without it, the types
            are those that hold the values of the first row group.
        row_group_rows: the rows of a row group. Readers work on a row group at a time.
        compression: how pages are compressed. Snappy is what every reader knows; "zstd" is
            smaller.

    Holds one row group, 8 MiB and 1,024 rows at the most, and once more while it is written;
    and some 100 bytes for each column of each row group, which stand at the end of the
    file. Batches of Arrow data pass without a Python object for each value.

    Raises:
        UsageError: a `row_group_rows` below 1, an unknown compression.

    >>> import io, pyarrow.parquet
    >>> rows = Parquet().encoder(["id", "name"])
    >>> data = rows.begin() + rows.feed([(1, "a"), (2, None)]) + rows.end()
    >>> pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
    [{'id': 1, 'name': 'a'}, {'id': 2, 'name': None}]
    """

    schema: Any = None
    row_group_rows: int = 65_536
    compression: Compression = "snappy"

    compressed: ClassVar[bool] = True

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return "application/vnd.apache.parquet"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".parquet"

    def __post_init__(self) -> None:
        check_group("row_group_rows", self.row_group_rows)
        known = get_args(Compression)
        if self.compression not in known:
            raise UsageError(f"compression {self.compression!r} must be one of {', '.join(known)}.")

    def encoder(self, columns: Sequence[str] | None) -> TableEncoder:
        """A new encoder for one stream.

        Raises:
            MissingExtra: pyarrow is not installed.
            UsageError: columns that are not those of the schema.
        """
        _parquet()  # It takes its time, the first time: not on a loop, among the first rows.
        size = self.row_group_rows
        groups = Groups("Parquet", columns, self.schema, size, refused=self._refused)
        return TableEncoder(groups, self._writer)

    def _refused(self, schema: Any) -> str | None:
        try:
            self._writer(BytesIO(), schema).close()
        except NotImplementedError as error:  # pyarrow's own is one.
            return str(error)
        return None

    def _writer(self, sink: Any, schema: Any) -> Any:
        return _parquet().ParquetWriter(sink, schema, compression=self.compression)


def _parquet() -> Any:
    return require("pyarrow.parquet", extra="arrow")
