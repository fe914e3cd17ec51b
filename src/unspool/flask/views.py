"""Rows as answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from flask import Response, current_app
from werkzeug import exceptions

from unspool.connection import Watch
from unspool.drive import Chunks, drive
from unspool.errors import NotAcceptable
from unspool.flask.context import hold
from unspool.flask.response import StreamResponse, response_class
from unspool.formats.csv import Csv
from unspool.headers import Asked, merged
from unspool.observe import Outcome
from unspool.sources.members import rows_for
from unspool.sources.rows import RowSource
from unspool.stream import Stream
from unspool.types import Format
from unspool.wsgi import Environ, refuse

__all__ = ["stream", "stream_csv"]


def stream(
    rows: Iterable[Any],
    format: str | Format = "csv",
    *,
    columns: Sequence[str] | None = None,
    filename: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **options: Any,
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
        **options: the other arguments of `unspool.Stream`: limits, times and hooks.

    The rows are iterated by a thread of the stream's own, so that rows are sent while the
    next one takes its time; except where they cannot block (a list) or are bound to the
    request's thread (a sqlite3 connection or cursor in them or in `g`). Holds two batches
    and less than two chunks. A HEAD request runs nothing of `rows`.

    Raises:
        OutsideContext: not in a view.
        NotIterable, UnknownFormat, UsageError: arguments that cannot work.
        RowError, EmptySource: the first row cannot be sent.
        werkzeug.exceptions.NotAcceptable: the request wants none of the `formats`.

    >>> import flask
    >>> app = flask.Flask("example")
    >>> @app.get("/squares.csv")
    ... def squares():
    ...     return stream(({"n": n, "square": n * n} for n in range(3)), filename="squares.csv")
    >>> app.test_client().get("/squares.csv").text
    'n,square\\r\\n0,0\\r\\n1,1\\r\\n2,4\\r\\n'
    """
    plan = Stream(rows, format, columns, filename, **options)
    held = hold()
    try:
        plan = _asked(plan, held.environ)
        source: RowSource[Any] = RowSource(
            rows_for(plan.format, rows),
            held.context,
            same_thread=plan.same_thread,
            beside=lambda: held.g_values,
            release=plan.release,
        )
    except BaseException:
        held.release()
        raise
    pipeline = plan.pipeline()
    watch = Watch(held.environ)
    running = plan.born(lambda: Asked.by_environ(held.environ), pipeline)
    watch.heed(running)
    running.on_cancel(source.stop)

    def on_closed(outcome: Outcome, error: BaseException | None) -> None:
        told = running.end(outcome, error)
        with ExitStack() as last_first:
            last_first.callback(held.release, told[1])
            last_first.callback(watch.close)
            held.context.run(plan.hooks().tell, *told, pipeline.rows, pipeline.sent)

    steps = drive(pipeline, source, idle=watch.check)
    chunks = Chunks(steps, source, on_closed, pipeline, running)
    kind = response_class(current_app.response_class)  # type: ignore[arg-type]
    response = kind(chunks, status, merged(plan.headers(), (headers or {}).items()))
    if held.environ["REQUEST_METHOD"] != "HEAD":
        # A list has all its rows now: if it ends within three chunks (the first is one row),
        # the length of the answer is known.
        length = chunks.prime(3 if source.never_blocks else 1)
        if length is not None and response.content_length is None:
            response.content_length = length
    return response


def _asked(plan: Stream, environ: Environ) -> Stream:
    """The plan of the answer to this request; if there is none, closes the rows."""
    try:
        return plan.asked(Asked.by_environ(environ))
    except NotAcceptable as error:
        refuse(plan, environ)
        answer = Response(str(error), error.status, error.headers())
        raise exceptions.NotAcceptable(str(error), answer) from error


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
