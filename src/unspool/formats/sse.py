"""Server-Sent Events (WHATWG HTML, "Server-sent events"), as `EventSource` in browsers reads them.

What becomes of rows:

- an `Event` is sent as it says: its data is text, or any value that JSON can carry;
- text is the data of an event;
- every other row is the data of an event, as JSON, an object if it has column names.

Data of several lines keeps them; a reader gets "\\n" for each line break.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from unspool.errors import RowError, UsageError, shown
from unspool.formats.json import Ndjson
from unspool.formats.rows import Cells
from unspool.types import Batch

__all__ = ["Event", "Sse", "SseEncoder"]

_LINE_END = re.compile(r"\r\n|\r|\n")
_NOT_IN_NAMES = re.compile(r"[\r\n\0]")


@dataclass(frozen=True)
class Event:
    """One event, as a row.

    Args:
        data: text, or a value that JSON can carry; None for an event without data, of which
            a browser only keeps the id.
        event: its name, for `addEventListener`; browsers call it "message" if it has none.
        id: what a browser sends as `Last-Event-ID` when it comes back after this event.
        retry_ms: how long a browser waits before it comes back.
        comment: something that browsers pass over.

    >>> Sse().encoder(None).feed([Event("two\\nlines", event="note", id=7)])
    b'id: 7\\nevent: note\\ndata: two\\ndata: lines\\n\\n'
    """

    data: Any = None
    event: str | None = None
    id: str | int | None = None
    retry_ms: int | None = None
    comment: str | None = None


@dataclass(frozen=True)
class Sse:
    """Events, each ended with an empty line.

    Args:
        id_column: the column whose values are the ids of the events.
        event: the name of events that are made of rows.
        retry_ms: how long browsers wait before they come back; said once, at the start.
        end_mark: a last event "end" with the number of events, by which a reader knows that
            it has them all; browsers would come back for more otherwise.

    Raises:
        UsageError: a name with a line break, a `retry_ms` below 0.

    >>> Sse(id_column="n").encoder(["n", "text"]).feed([(1, "a")])
    b'id: 1\\ndata: {"n":1,"text":"a"}\\n\\n'
    """

    id_column: str | None = None
    event: str | None = None
    retry_ms: int | None = None
    end_mark: bool = False

    blank: ClassVar[bytes] = b":\n\n"

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return "text/event-stream"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return ".sse"

    def __post_init__(self) -> None:
        _check_retry(self.retry_ms)
        if self.event is not None and _NOT_IN_NAMES.search(self.event):
            raise UsageError(f"event {self.event!r} has a line break or a NUL.")

    def encoder(self, columns: Sequence[str] | None) -> SseEncoder:
        """A new encoder for one stream."""
        return SseEncoder(self, columns)


def _check_retry(retry_ms: object) -> None:
    if retry_ms is None:
        return
    if isinstance(retry_ms, bool) or not isinstance(retry_ms, int) or retry_ms < 0:
        raise UsageError(f"retry_ms must be a whole number of at least 0; got {retry_ms!r}.")


class SseEncoder:
    """Writes rows as events. Holds nothing of them."""

    def __init__(self, format: Sse, columns: Sequence[str] | None) -> None:
        self._format = format
        self._cells = Cells(columns)
        self._json = Ndjson().encoder(columns)
        self._values = Ndjson().encoder(None)
        self._events = 0

    def begin(self) -> bytes:
        """How long to wait before coming back, if it is said."""
        retry_ms = self._format.retry_ms
        return b"" if retry_ms is None else b"retry: %d\n\n" % retry_ms

    def feed(self, batch: Batch) -> bytes:
        """These rows, each as one event."""
        if not len(batch):
            return b""
        if not any(isinstance(row, (Event, str)) for row in batch):
            events = self._events_of(batch)
        else:
            events = [event for i, row in enumerate(batch) for event in self._event_of(row, i)]
        data = b"".join([self._encode(event, index) for index, event in enumerate(events)])
        self._events += len(batch)
        return data

    def end(self) -> bytes:
        """The end mark, if wanted."""
        if not self._format.end_mark:
            return b""
        return b'event: end\ndata: {"rows":%d}\n\n' % self._events

    def _event_of(self, row: Any, index: int) -> Sequence[Event]:
        if isinstance(row, Event):
            return (row,)
        if isinstance(row, str):
            return (Event(row, self._format.event),)
        try:
            return self._events_of([row])
        except RowError as error:
            error.place_after(index)
            raise

    def _events_of(self, batch: Batch) -> Sequence[Event]:
        """Rows as events, whose data are lines of JSON."""
        lines = self._json.feed(batch).decode().split("\n")[:-1]
        ids = self._ids(batch) if self._format.id_column is not None else [None] * len(lines)
        return [Event(line, self._format.event, id) for line, id in zip(lines, ids, strict=True)]

    def _ids(self, batch: Batch) -> list[Any]:
        self._cells.start(batch)
        names = self._cells.columns or ()
        if self._format.id_column not in names:
            raise RowError(
                f"has no column {self._format.id_column!r}, which has the ids (id_column)",
                index=0,
                value=batch[0],
            )
        position = names.index(self._format.id_column)
        return [cells[position] for cells in self._cells.take(batch)]

    def _encode(self, event: Event, index: int) -> bytes:
        try:
            return "".join(f"{line}\n" for line in self._lines(event, index)).encode() + b"\n"
        except UnicodeEncodeError as error:
            raise RowError(
                f"{shown(event.data)} has a lone surrogate, which UTF-8 cannot carry.",
                index=index,
                value=event.data,
            ) from error

    def _lines(self, event: Event, index: int) -> list[str]:
        lines = [] if event.comment is None else _split(": ", event.comment)
        for field, value in (("id", event.id), ("event", event.event), ("retry", event.retry_ms)):
            if value is not None:
                lines.append(f"{field}: {_checked(field, value, index)}")
        if event.data is not None:
            text = event.data if isinstance(event.data, str) else self._as_json(event.data, index)
            lines += _split("data: ", text)
        return lines

    def _as_json(self, data: Any, index: int) -> str:
        try:
            return self._values.feed([[data]]).decode()[1:-2]  # Without brackets and line end.
        except RowError as error:
            raise RowError(error.problem, index=index, column="data", value=data) from error


def _split(field: str, text: str) -> list[str]:
    return [field + line for line in _LINE_END.split(text)]


def _checked(field: str, value: object, index: int) -> object:
    """`value`, if it can stand in this field."""
    if field == "retry":
        try:
            _check_retry(value)
        except UsageError as error:
            raise RowError(str(error), index=index, column=field, value=value) from error
    elif _NOT_IN_NAMES.search(str(value)):
        raise RowError(
            f"{shown(value)} has a line break or a NUL, which no {field} of an event has.",
            index=index,
            column=field,
            value=value,
        )
    return value
