"""Formats of text: what can be counted in them, and how they end."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from unspool.verdict.types import Scan, Verdict

__all__ = ["SCANS"]

# The longest end mark has some 60 bytes.
_TAIL_BYTES = 128


def _judged(format: str, rows: int, counted: range) -> Verdict:
    """The verdict on a file whose end mark says `rows`; it has one of the numbers `counted`."""
    if rows in counted:
        return Verdict("complete", format, f"has the {rows} rows of its end mark", rows)
    reason = f"its end mark says {rows} rows, but it has {counted.stop - 1}"
    return Verdict("incomplete", format, reason, counted.stop - 1)


def _open_ended(format: str, what: str) -> Verdict:
    return Verdict("unproven", format, f"has {what} and no end mark (end_mark=True)")


class _Lines:
    """Counts the lines of NDJSON."""

    _MARK = re.compile(rb'(?:\A|\n)\{"unspool":\{"rows":(\d+)\}\}\n\Z')

    def __init__(self) -> None:
        self._lines = 0
        self._tail = b""

    def feed(self, data: bytes) -> None:
        self._lines += data.count(b"\n")
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]

    def end(self) -> Verdict:
        if self._tail[-1:] not in {b"", b"\n"}:
            return Verdict("incomplete", "ndjson", "its last line has no line end")
        mark = self._MARK.search(self._tail)
        if mark is None:
            return replace(_open_ended("ndjson", f"{self._lines} lines"), rows=self._lines)
        return _judged("ndjson", int(mark[1]), range(self._lines - 1, self._lines))


class _Events:
    """Looks for the end mark of an SSE stream, whose events end with an empty line."""

    _MARK = re.compile(rb'(?:\A|\n\n)event: end\ndata: \{"rows":(\d+)\}\n\n\Z')

    def __init__(self) -> None:
        self._tail = b""
        self._any = False

    def feed(self, data: bytes) -> None:
        self._any = True
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]

    def end(self) -> Verdict:
        if self._any and not self._tail.endswith(b"\n\n"):
            return Verdict("incomplete", "sse", "its last event has no end")
        mark = self._MARK.search(self._tail)
        if mark is None:
            return _open_ended("sse", "whole events")
        return Verdict("complete", "sse", "has its end mark", int(mark[1]))


class _Records:
    """Counts the records of a CSV file, in any dialect of ours."""

    _MARK = re.compile(rb"(?:\A|[\r\n])# (\d+) rows(?:\r\n|\n|\r)\Z")

    def __init__(self) -> None:
        self._records = 0
        self._pairs = 0
        self._quoted = False
        self._cr = b""
        self._tail = b""

    def feed(self, data: bytes) -> None:
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        data = self._cr + data
        self._cr = b"\r" if data.endswith(b"\r") else b""  # Its "\n" may come next.
        self._count(data.removesuffix(self._cr))

    def _count(self, data: bytes) -> None:
        pieces = data.split(b'"')
        plain = b'"'.join(pieces[int(self._quoted) :: 2])
        pairs = plain.count(b"\r\n")
        self._pairs += pairs
        self._records += plain.count(b"\n") + plain.count(b"\r") - pairs
        self._quoted ^= len(pieces) % 2 == 0

    def end(self) -> Verdict:
        self._count(self._cr)
        if self._quoted:
            return Verdict("incomplete", "csv", "ends inside of a quoted cell")
        if self._tail and (self._tail[-1:] not in b"\r\n" or (self._cr and self._pairs)):
            return Verdict("incomplete", "csv", "its last line has no line end")
        mark = self._MARK.search(self._tail)
        if mark is None:
            return _open_ended("csv", f"{self._records} lines")
        # The first one may be a header.
        return _judged("csv", int(mark[1]), range(self._records - 2, self._records))


class _Json:
    """Counts the elements of an array, and looks for its end.

    Strings are cut out, and of the rest only brackets and commas are looked at. Holds the
    brackets that are open.
    """

    _ESCAPE = re.compile(rb"\\.", re.DOTALL)
    _NO_STRUCTURE = bytes(set(range(256)) - set(b"[]{},"))
    _MARKED = b'{"rows":['
    _MARK = re.compile(rb'\],"unspool":\{"rows":(\d+)\}\}\s*\Z')

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._escape = b""
        self._quoted = False
        self._structure = b""
        self._root = b""
        self._commas = 0
        self._closed = False

    def feed(self, data: bytes) -> None:
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        if len(self._head) <= len(self._MARKED):
            self._head += data.translate(None, b" \t\r\n")[: len(self._MARKED) + 1]
        data = self._ESCAPE.sub(b"", self._escape + data)
        self._escape = b"\\" if data.endswith(b"\\") else b""
        pieces = data.removesuffix(b"\\").split(b'"')
        plain = b"".join(pieces[int(self._quoted) :: 2])
        self._quoted ^= len(pieces) % 2 == 0
        self._structure += plain.translate(None, self._NO_STRUCTURE)
        if len(self._head) > len(self._MARKED):
            self._read()

    def _read(self) -> None:
        """Takes what is closed from the structure, and counts the commas of the outermost array."""
        if not self._root:
            size = 2 if self._head.startswith(self._MARKED) else 1
            self._root, self._structure = self._structure[:size], self._structure[size:]
        self._structure = _without_closed(self._structure)
        if self._closed:
            return
        inside = self._structure.lstrip(b",")
        self._commas += len(self._structure) - len(inside)
        if inside[:1] == (b"]" if self._root.endswith(b"[") else b"}"):
            self._closed = True
            self._structure = inside[1:]
        else:
            self._structure = inside.translate(None, b",")

    def end(self) -> Verdict:
        self._read()
        whole = _without_closed(self._root[:-1] + self._structure) == b""
        if self._quoted or not self._closed or not whole:
            return Verdict("incomplete", "json", "its brackets are not closed, each with its own")
        if not self._root.endswith(b"["):
            return Verdict("complete", "json", "its brackets are closed")
        first = self._head.removeprefix(self._MARKED if len(self._root) > 1 else b"[")[:1]
        rows = 0 if first == b"]" else self._commas + 1
        mark = self._MARK.search(self._tail) if len(self._root) > 1 else None
        if mark is not None:
            return _judged("json", int(mark[1]), range(rows, rows + 1))
        return Verdict("complete", "json", "its brackets are closed", rows)


_CLOSED = re.compile(rb"\[,*\]|\{,*\}")


def _without_closed(structure: bytes) -> bytes:
    """Brackets and commas without the pairs that are closed."""
    while (rest := _CLOSED.sub(b"", structure)) != structure:
        structure = rest
    return structure


SCANS: dict[str, Callable[[], Scan]] = {
    "csv": _Records,
    "json": _Json,
    "ndjson": _Lines,
    "sse": _Events,
}
