"""Formats that have a directory, a footer or a marker at their end."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from unspool._optional import require
from unspool.verdict.text import SCANS
from unspool.verdict.types import Scan, Verdict, blocks

__all__ = ["FILES", "format_of"]


def format_of(filename: str) -> str:
    """`name`, or `name.coding`, by the suffix."""
    stem, _, suffix = filename.lower().rpartition(".")
    if suffix in {"gz", "zst"}:
        return f"{format_of(stem)}.{suffix}"
    return _SUFFIXES.get(suffix, suffix)


_SUFFIXES = {"jsonl": "ndjson", "arrows": "arrow"}


class _Rows:
    """Counts the rows of a sheet of XLSX."""

    def __init__(self) -> None:
        self.rows = 0
        self._tail = b""

    def feed(self, data: bytes) -> None:
        data = self._tail + data
        self.rows += data.count(b"<row ")
        self._tail = data[-4:]

    def end(self) -> Verdict:
        return Verdict("complete", "xlsx", "its checksum is right", self.rows)


class _Other:
    """What is in an archive, and has no end of its own."""

    def feed(self, data: bytes) -> None: ...

    def end(self) -> Verdict:
        return Verdict("complete", "", "its checksum is right")


def _verify_zip(path: Path, format: str) -> Verdict:
    import zipfile  # noqa: PLC0415 (`import unspool` need not wait for it)

    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            # An archive in the data of a member could be taken for the whole.
            start = min((info.header_offset for info in infos), default=archive.start_dir)
            if start:
                return Verdict("incomplete", format, "does not end with its own directory")
            members = {info.filename: _member(archive, info, format) for info in infos}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        return Verdict(
            "incomplete", format, f"has no directory at its end, or a wrong one: {error}"
        )
    return _archive_verdict(format, members)


def _member(archive: Any, info: Any, format: str) -> Verdict:
    """What is found of a member; its checksum is compared when its last byte is read."""
    from zipfile import BadZipFile  # noqa: PLC0415

    name = format_of(info.filename)
    scan: Scan = _Other() if format == "xlsx" else SCANS.get(name, _Other)()
    if format == "xlsx" and info.filename.startswith("xl/worksheets/"):
        scan = _Rows()
    try:
        with archive.open(info) as file:
            for block in blocks(file):
                scan.feed(block)
    except (BadZipFile, zlib.error, EOFError) as error:
        return Verdict("incomplete", name, str(error))
    verdict = scan.end()
    if verdict.state == "unproven":  # The archive proves it.
        return replace(verdict, state="complete", reason="its checksum is right")
    return replace(verdict, format=verdict.format or name)


def _archive_verdict(format: str, members: dict[str, Verdict]) -> Verdict:
    broken = [name for name, verdict in members.items() if verdict.state == "incomplete"]
    if broken:
        reason = f"{broken[0]!r} is incomplete: {members[broken[0]].reason}"
        return Verdict("incomplete", format, reason, None, members)
    counts = [verdict.rows for verdict in members.values() if verdict.rows is not None]
    reason = f"has its directory and {len(members)} members with right checksums"
    rows = sum(counts) if format == "xlsx" or len(counts) == len(members) else None
    return Verdict("complete", format, reason, rows, {} if format == "xlsx" else members)


def _verify_parquet(path: Path, format: str) -> Verdict:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4))
        if head != b"PAR1" or file.read() != b"PAR1":
            return Verdict("incomplete", format, "does not start and end with PAR1")
    parquet = require("pyarrow.parquet", extra="arrow")
    try:
        with parquet.ParquetFile(path) as file:
            said = file.metadata.num_rows
            if not _fills(file.metadata, path.stat().st_size):
                return Verdict("incomplete", format, "has a footer that is not its own")
            rows = sum(batch.num_rows for batch in file.iter_batches())
    except (OSError, ValueError) as error:
        return Verdict("incomplete", format, f"its footer or a page is damaged: {error}")
    if rows != said:
        return Verdict("incomplete", format, f"its footer says {said} rows, but it has {rows}")
    return Verdict("complete", format, f"has the {rows} rows of its footer", rows)


def _fills(footer: Any, size: int) -> bool:
    """Whether the columns that a footer tells of end where it begins.

    Another file, in the data of a cut one, ends with a footer too. Indexes stand between.
    """
    ends = [len(b"PAR1")]
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if column.has_offset_index or column.has_column_index:
                return True
            start = column.dictionary_page_offset or column.data_page_offset
            ends.append(min(start, column.data_page_offset) + column.total_compressed_size)
    return size == max(ends) + int(footer.serialized_size) + len(b"....PAR1")


class _Noted:
    """A file that notes whether more was asked of it than it has."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.too_short = False

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.too_short |= len(data) < size
        return data


def _verify_arrow(path: Path, format: str) -> Verdict:
    ipc = require("pyarrow", extra="arrow").ipc
    with path.open("rb") as file:
        if file.read(6) == b"ARROW1":
            return _verify_arrow_file(path, format)
        file.seek(0)
        noted = _Noted(file)
        try:
            rows = sum(batch.num_rows for batch in ipc.open_stream(noted))
        except (OSError, ValueError) as error:
            return Verdict("incomplete", format, f"ends in a record batch, or is damaged: {error}")
        if noted.too_short or file.read(1):
            return Verdict("incomplete", format, "does not end with the end-of-stream marker")
    return Verdict("complete", format, "has its end-of-stream marker", rows)


def _verify_arrow_file(path: Path, format: str) -> Verdict:
    ipc = require("pyarrow", extra="arrow").ipc
    try:
        with ipc.open_file(path) as file:
            rows = sum(file.get_batch(n).num_rows for n in range(file.num_record_batches))
    except (OSError, ValueError) as error:
        return Verdict("incomplete", format, f"its footer or a batch is damaged: {error}")
    return Verdict("complete", format, "has its footer", rows)


FILES: dict[str, Callable[[Path, str], Verdict]] = {
    "arrow": _verify_arrow,
    "parquet": _verify_parquet,
    "xlsx": _verify_zip,
    "zip": _verify_zip,
}
