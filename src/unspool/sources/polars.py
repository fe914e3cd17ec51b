"""Rows of Polars: data frames, and lazy frames that are computed while they are sent.

- Values: those that Arrow has for them, see `unspool.sources.arrow`; without the kernel Python's,
  as `DataFrame.rows()` gives them.
- Memory: of a `DataFrame` its own; of a `LazyFrame` what the streaming engine has under way (tens
  of megabytes; a sort or a join holds what it must), and one batch.
- Close: lets go of the frame; what the engine has begun ends with the batch it is at.
- Cancel: Polars has no call for it: a batch that takes long is finished first.
- Threads: any, one at a time. The engine uses all cores.
- A lazy frame needs `LazyFrame.collect_batches`, which Polars has since 1.34 and calls unstable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from unspool._optional import require
from unspool.errors import UsageError
from unspool.sources.tables import TableReader, ToRows

__all__ = ["reader_of"]

# Enough rows for the engine to be worth its while, few enough to be a few megabytes.
_ROWS = 10_000


def reader_of(source: Any) -> TableReader | None:
    """A reader of a `DataFrame` or `LazyFrame`.

    Raises:
        UsageError: a lazy frame of a Polars that cannot give it in batches.

    >>> import polars
    >>> rows = reader_of(polars.LazyFrame({"n": [1, 2], "name": ["a", "b"]}))
    >>> list(rows.read_batch(1)), rows.columns
    ([(1, 'a')], ('n', 'name'))
    >>> rows.close()
    """
    polars = require("polars", extra="polars")
    if isinstance(source, polars.DataFrame):
        columnar = polars.Object not in source.dtypes  # Of which Arrow knows nothing.
        return TableReader(lambda _: ([source], source.columns, _rows), columnar=columnar)
    if not isinstance(source, polars.LazyFrame):
        return None
    if not hasattr(source, "collect_batches"):
        raise UsageError(
            f"Polars {polars.__version__} cannot give a lazy frame in batches. Use 1.34 or newer, "
            "or pass frame.collect(), which holds all of it."
        )
    return TableReader(lambda _: _batches(source))


def _batches(frame: Any) -> tuple[Iterable[Any], Sequence[str], ToRows]:
    names = frame.collect_schema().names()
    return frame.collect_batches(chunk_size=_ROWS, maintain_order=True, lazy=True), names, _rows


def _rows(frame: Any) -> list[Any]:
    return frame.rows()  # type: ignore[no-any-return]
