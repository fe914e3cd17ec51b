"""Rows as answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flask import current_app

from unspool.coalesce import CHUNK_BYTES, FLUSH_AFTER_S
from unspool.drive import Chunks, drive
from unspool.flask.context import hold
from unspool.flask.response import StreamResponse, response_class
from unspool.formats.csv import Csv
from unspool.pipeline import BATCH_ROWS
from unspool.sources.rows import RowSource
from unspool.stream import Stream
from unspool.types import Format

__all__ = ["stream", "stream_csv"]


def stream(
    rows: Iterable[Any],
    format: str | Format = "csv",
    *,
    columns: Sequence[str] | None = None,
    filename: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    flush_after_s: float = FLUSH_AFTER_S,
    batch_rows: int = BATCH_ROWS,
    same_thread: bool = False,
) -> StreamResponse:
    """A response that sends `rows` in `format`, while they are made.

    The first row is made here, in the view: what fails before it reaches the app's error
    handlers, with a real status. What fails later breaks the transfer, after everything
    before it was sent, and sends `got_request_exception`. `request`, `session` and `g`
    work in the rows; teardown functions run once, after the last byte.

    Args:
        rows: an iterable of rows; see `unspool.Stream`.
        format: a name or a format object; see `unspool.Stream`.
        columns: the column names; see `unspool.Stream`.
        filename: makes it a download of this name.
        status: the status of the answer.
        headers: more headers, or others in the place of ours.
        chunk_bytes: when a chunk leaves; see `unspool.Stream`.
        flush_after_s: when a chunk leaves; see `unspool.Stream`.
        batch_rows: how many rows are taken at a time; see `unspool.Stream`.
        same_thread: iterate `rows` on the request's thread, always.

    The rows are iterated by a thread of the stream's own, so that rows are sent while the
    next one takes its time; except where they cannot block (a list) or are bound to the
    request's thread (a sqlite3 connection or cursor in them or in `g`). Holds two batches
    and less than two chunks. A HEAD request runs nothing of `rows`.

    Raises:
        OutsideContext: not in a view.
        NotIterable, UnknownFormat, UsageError: arguments that cannot work.
        RowError, EmptySource: the first row cannot be sent.

    >>> import flask
    >>> app = flask.Flask("example")
    >>> @app.get("/squares.csv")
    ... def squares():
    ...     return stream(({"n": n, "square": n * n} for n in range(3)), filename="squares.csv")
    >>> app.test_client().get("/squares.csv").text
    'n,square\\r\\n0,0\\r\\n1,1\\r\\n2,4\\r\\n'
    """
    plan = Stream(
        rows, format, columns, filename, chunk_bytes, flush_after_s, batch_rows, same_thread
    )
    held = hold()
    try:
        source: RowSource[Any] = RowSource(
            rows, held.context, same_thread=same_thread, beside=lambda: held.g_values
        )
    except BaseException:
        held.release()
        raise
    chunks = Chunks(drive(plan.pipeline(), source), source, held.release)
    if held.method != "HEAD":
        chunks.prime()
    kind = response_class(current_app.response_class)  # type: ignore[arg-type]
    response = kind(chunks, status, plan.headers())
    response.headers.update(headers or {})
    return response


def stream_csv(rows: Iterable[Any], dialect: Csv | None = None, **options: Any) -> StreamResponse:
    """A response that sends `rows` as CSV: `stream` with a `Csv` format.

    Args:
        rows: see `stream`.
        dialect: delimiter, quoting and so on; RFC 4180 if not given.
        **options: the other arguments of `stream`.

    >>> import flask
    >>> app = flask.Flask("example")
    >>> @app.get("/people.csv")
    ... def people():
    ...     return stream_csv([(1, "a;b")], Csv(delimiter=";"), columns=["id", "name"])
    >>> app.test_client().get("/people.csv").text
    'id;name\\r\\n1;"a;b"\\r\\n'
    """
    return stream(rows, dialect or Csv(), **options)
