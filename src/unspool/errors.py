"""Every exception of Unspool, by who can mend it.

    UnspoolError
    ├── UsageError (ValueError)             the call is wrong: mend the calling code
    │   ├── UnknownFormat (LookupError)     no format has that name
    │   ├── NotIterable (TypeError)         the source cannot be read row by row
    │   └── OutsideContext (RuntimeError)   a request is needed, and there is none
    ├── SourceError (ValueError)            the data is wrong: mend the source
    │   ├── EmptySource                     no row came, so there is no header
    │   └── RowError                        one row cannot be written: names row and column
    │       └── MemberError                 the same, in a member of a ZIP
    ├── StreamError (RuntimeError)          the answer is used in a way that would lose it
    │   ├── WouldBuffer                     something wants the whole answer in memory
    │   ├── TooLate                         something was changed after it was sent
    │   ├── UsedTwice                       a stream was asked for its chunks a second time
    │   ├── LengthMismatch                  the answer is not as long as it said it was
    │   ├── TooManyBytes                    the answer is longer than it may be
    │   ├── DeadlineExceeded (TimeoutError) the stream took longer than it may
    │   ├── Cancelled                       somebody who watched it ended it
    │   └── BrokenApp                       an app does not keep to WSGI or ASGI
    ├── NotAcceptable (ValueError)          the request wants a format that there is not: 406
    └── MissingExtra (ImportError)          an optional package is not installed

An exception raised by your own source is passed on unchanged.
"""

from __future__ import annotations

__all__ = [
    "BrokenApp",
    "Cancelled",
    "DeadlineExceeded",
    "EmptySource",
    "LengthMismatch",
    "MemberError",
    "MissingExtra",
    "NotAcceptable",
    "NotIterable",
    "OutsideContext",
    "RowError",
    "SourceError",
    "StreamError",
    "TooLate",
    "TooManyBytes",
    "UnknownFormat",
    "UnspoolError",
    "UsageError",
    "UsedTwice",
    "WouldBuffer",
]

# A value is shown in a message up to this many characters: enough to recognise it,
# too few to fill a log with somebody's data.
_SHOWN_CHARS = 60


class UnspoolError(Exception):
    """The root of every exception that Unspool raises."""


class UsageError(UnspoolError, ValueError):
    """A call with arguments that cannot work."""


class UnknownFormat(UsageError, LookupError):
    """A format name that is not in the table of formats."""

    def __init__(self, name: object, known: list[str]) -> None:
        self.name = name
        self.known = known
        super().__init__(
            f"unknown format {name!r}; known formats: {', '.join(known)}. "
            "Pass one of these names, or a format object such as Csv(delimiter=';')."
        )


class NotIterable(UsageError, TypeError):
    """A source that is no iterable of rows."""


class OutsideContext(UsageError, RuntimeError):
    """A helper was used where no request is active."""


class SourceError(UnspoolError, ValueError):
    """The source gave something that cannot be sent."""


class EmptySource(SourceError):
    """The source ended before its first row, and nothing else names the columns."""


class RowError(SourceError):
    """One row that the format cannot carry. The rows before it were sent.

    `row` counts from 1 and leaves the header out; `column` is the column's name, or its
    number from 1 where columns have no names, or None where the whole row is at fault.
    """

    def __init__(
        self, problem: str, *, index: int, column: str | int | None = None, value: object = None
    ) -> None:
        self.problem = problem
        self.row = index + 1
        self.column = column
        self.value = value
        super().__init__(problem)

    def place_after(self, rows: int) -> None:
        """Makes `row`, which counted from the start of a batch, count these rows before it too."""
        self.row += rows

    def __str__(self) -> str:
        place = f"row {self.row}"
        if self.column is not None:
            place += f", column {self.column!r}"
        return f"{place}: {self.problem}"


class MemberError(RowError):
    """One row of a member of a ZIP that its format cannot carry. `row` counts in the member."""

    def __init__(self, member: str, rows_before: int, error: RowError) -> None:
        index = error.row - 1
        super().__init__(error.problem, index=index, column=error.column, value=error.value)
        self.member = member
        self._row_of_member = rows_before + error.row

    def place_after(self, rows: int) -> None:
        """Members count their own rows."""
        self.row = self._row_of_member

    def __str__(self) -> str:
        return f"member {self.member!r}, {super().__str__()}"


class StreamError(UnspoolError, RuntimeError):
    """The answer is being used in a way that would silently lose part of it."""


class WouldBuffer(StreamError):
    """Something asked for the whole answer at once."""


class TooLate(StreamError):
    """Something was changed after the headers had been sent."""


class UsedTwice(StreamError):
    """A stream can be sent once; this one was."""


class LengthMismatch(StreamError):
    """The answer has fewer or more bytes than its Content-Length says."""

    def __init__(self, declared: int, sent: int) -> None:
        self.declared = declared
        self.sent = sent
        fewer = "only" if sent < declared else "at least"
        super().__init__(
            f"Content-Length says {declared} bytes, but the answer has {fewer} {sent}. Leave the "
            "header out: a stream does not need it."
        )


class DeadlineExceeded(StreamError, TimeoutError):
    """The stream took longer than its `deadline_s`."""


class Cancelled(StreamError):
    """The stream was cancelled by somebody who watched it: see `unspool.observe`."""

    def __init__(self, id: str) -> None:
        self.id = id
        super().__init__(f"the stream {id} was cancelled.")


class TooManyBytes(StreamError):
    """The stream is longer than its `max_bytes`."""

    def __init__(self, limit: int, rows: int) -> None:
        self.limit = limit
        self.rows = rows
        super().__init__(
            f"the answer has more bytes than {limit}, which is the limit (max_bytes); {rows} rows "
            "were made. Raise the limit or send less."
        )


class BrokenApp(StreamError):
    """An application broke the rules of its interface, so that nothing can be sent."""


class NotAcceptable(UnspoolError, ValueError):
    """The request asks for a format that this view does not give (RFC 9110 §15.5.7).

    The adapters answer with `status` and the message, which lists the `formats` there are: name
    and media type of each.
    """

    status = 406

    def __init__(self, formats: list[tuple[str, str]]) -> None:
        self.formats = formats
        listed = "".join(f"\n  ?format={name}  ({media_type})" for name, media_type in formats)
        super().__init__(
            "This is not to be had in the format that was asked for. Ask for one of these, with "
            f"?format= or with Accept:{listed}\n"
        )

    def headers(self) -> list[tuple[str, str]]:
        """The headers of an answer that has the message as its content."""
        return [("Content-Type", "text/plain; charset=utf-8"), ("Vary", "Accept")]


class MissingExtra(UnspoolError, ImportError):
    """An optional package is needed and is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f"{package} is not installed. Install it with: pip install 'unspool[{extra}]'"
        )


def shown(value: object) -> str:
    """A short form of `value` for an error message."""
    try:
        text = repr(value)
    except Exception:  # An int of too many digits, or somebody's broken __repr__.
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
