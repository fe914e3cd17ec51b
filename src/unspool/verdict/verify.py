"""Verifies a file by its suffix."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from unspool.errors import UsageError
from unspool.verdict.coded import decoded
from unspool.verdict.files import FILES, format_of
from unspool.verdict.text import SCANS
from unspool.verdict.types import Broken, Verdict, blocks

__all__ = ["verify"]


def verify(path: str | os.PathLike[str], format: str | None = None) -> Verdict:
    """Whether the file at `path` is whole; see `unspool.verdict` for what proves it.

    Reads the whole file, and holds some megabytes of it at a time, whatever its size. Parquet
    and Arrow need the extra `arrow`, zst the extra `compress` (before Python 3.14).

    Args:
        path: a file.
        format: "csv", "ndjson", "json", "sse", "xlsx", "zip", "parquet" or "arrow", with ".gz"
            or ".zst" after it; by default what the suffix says.

    Raises:
        OSError: the file cannot be read.
        UsageError: a format without a way to tell.
        MissingExtra: a package that is needed is not installed.

    >>> import pathlib, tempfile, unspool
    >>> path = pathlib.Path(tempfile.mkdtemp(), "rows.ndjson")
    >>> rows = unspool.Ndjson(end_mark=True).encoder(None)
    >>> data = rows.feed([(1,), (2,)]) + rows.end()
    >>> path.write_bytes(data) and verify(path)
    Verdict(state='complete', format='ndjson', reason='has the 2 rows of its end mark', rows=2, \
members={})
    >>> path.write_bytes(data[:-1]) and verify(path).state
    'incomplete'
    """
    path = Path(path)
    name, _, coding = (format or format_of(path.name)).partition(".")
    if coding:
        with path.open("rb") as file:
            return _scanned(name, decoded(coding, file), f"{name}.{coding}")
    if name in FILES:
        return FILES[name](path, name)
    with path.open("rb") as file:
        return _scanned(name, blocks(file), name)


def _scanned(name: str, data: Iterable[bytes], format: str) -> Verdict:
    if name not in SCANS:
        known = ", ".join(sorted({*SCANS, *FILES}))
        raise UsageError(
            f"verify has no way to tell whether {format!r} is whole; it knows {known}, and the "
            "first ones with .gz or .zst. Pass format='csv' if the file is one of these."
        )
    scan = SCANS[name]()
    try:
        for block in data:
            scan.feed(block)
    except Broken as broken:
        return Verdict("incomplete", format, str(broken))
    return replace(scan.end(), format=format)
