"""A pytest plugin: what a test asks of a stream.

Installed with Unspool, and found by pytest. See docs/doctor.md.

    from unspool.pytest_plugin import assert_streams, disconnect_at, fail_at

    def test_the_export_streams(stream_client):
        assert_streams(lambda: stream_client.get("/export.csv"), first_byte_s=0.5, rows_ahead=1)

    def test_a_failed_export_is_seen_to_be_one(stream_client):
        with fail_at(1000), pytest.raises(InjectedFailure):
            list(stream_client.get("/export.csv"))

    def test_the_cursor_is_closed_when_the_client_leaves(stream_client):
        disconnect_at(3, lambda: stream_client.get("/export.csv"))
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from unspool.errors import UsageError

if TYPE_CHECKING:
    from unspool.client import Client

__all__ = [
    "InjectedFailure",
    "Streamed",
    "assert_streams",
    "disconnect_at",
    "django_async_stream_client",
    "django_stream_client",
    "fail_at",
    "stream_client",
]

# What runs beside the client has come as far as it may after this.
_PAUSE_S = 0.1

# A stream is closed this soon after its client has left, also if a row takes its time.
_CLOSED_WITHIN_S = 5.0


class InjectedFailure(Exception):
    """What `fail_at` has a stream fail with."""


@dataclass(frozen=True)
class Streamed:
    """How an answer came.

    Args:
        first_byte_s: seconds from the request, if that was watched, to the first chunk.
        rows_ahead: rows that had been made then, but for the first; None if not watched.
        memory_bytes: the most that Python held for the rest of the answer; None if not asked for.
        chunks: how many there were.
        size: how many bytes.
    """

    first_byte_s: float
    rows_ahead: int | None
    memory_bytes: int | None
    chunks: int
    size: int


def assert_streams(
    response_or_call: Any,
    *,
    first_byte_s: float | None = None,
    rows_ahead: int | None = None,
    memory_bytes: int | None = None,
) -> Streamed:
    """Asserts that an answer is streamed, through all that is around the view; reads all of it.

    Args:
        response_or_call: a function that asks for the answer, such as
            `lambda: client.get("/export.csv")`, or what it gives: a response of Flask's or
            Django's test client, or of a fixture of this plugin.
        first_byte_s: the first bytes come within this many seconds.
        rows_ahead: when they come, at most this many rows have been made after the first; so
            nothing collects the answer. For streams of Unspool, asked for by a function.
        memory_bytes: while the answer is read, Python holds at most this much more than before
            it, as `tracemalloc` counts it: not what C libraries hold by themselves. Slow. Asked
            for by a function.

    Raises:
        AssertionError: it is not so.
        UsageError: nothing to assert, or nothing that can be watched.

    >>> import flask
    >>> from unspool.flask import stream
    >>> app = flask.Flask("shop")
    >>> @app.get("/export.csv")
    ... def export():
    ...     return stream({"n": n} for n in range(100_000))
    >>> client = app.test_client()
    >>> seen = assert_streams(lambda: client.get("/export.csv"), rows_ahead=1)
    >>> seen.rows_ahead, seen.size
    (0, 688893)
    """
    if first_byte_s is rows_ahead is memory_bytes is None:
        raise UsageError("nothing to assert: pass first_byte_s, rows_ahead or memory_bytes.")
    if not _is_call(response_or_call) and not (rows_ahead is memory_bytes is None):
        raise UsageError(
            "rows_ahead and memory_bytes need the whole request to be watched: pass a function "
            "that asks, such as lambda: client.get('/export.csv')."
        )
    with _watching() as watch, _memory(memory_bytes) as peak_bytes:
        began = monotonic()
        with _opened(response_or_call) as chunks:
            size, count = len(next(chunks, b"")), 1
            took_s = monotonic() - began
            ahead = watch.rows_ahead()
            for chunk in chunks:
                size, count = size + len(chunk), count + 1
        used = peak_bytes()
    if rows_ahead is not None and ahead is None:
        raise UsageError("rows_ahead counts rows of Unspool's streams, and there was none.")
    _check("first_byte_s", first_byte_s, took_s, "the first byte came after {:.3f} s")
    _check("rows_ahead", rows_ahead, ahead, "{} more rows were made before the first byte came")
    _check("memory_bytes", memory_bytes, used, "{} bytes were held while it was read")
    return Streamed(took_s, ahead, used, count, size)


def _check(name: str, limit: float | None, seen: float | None, words: str) -> None:
    if limit is not None and seen is not None and seen > limit:
        raise AssertionError(f"{words.format(seen)}; the limit is {name}={limit!r}.")


def disconnect_at(chunks: int, response_or_call: Any) -> None:
    """Leaves after so many chunks, and asserts that each stream was closed, once.

    Args:
        chunks: how many to take; with 0 only the status is known.
        response_or_call: see `assert_streams`.

    Raises:
        AssertionError: a stream was not closed, or twice, or was over before.
        UsageError: it is no stream of Unspool.
    """
    with _watching() as watch:
        with _opened(response_or_call) as taken:
            for _ in range(chunks):
                if not next(taken, b""):
                    raise AssertionError(f"the answer was over before it had {chunks} chunks.")
        ends = watch.ends()
    if not ends:
        raise AssertionError(f"the stream was not closed in {_CLOSED_WITHIN_S:g} s.")
    if ends != ["disconnect"]:
        raise AssertionError(f"the stream ended as {', '.join(ends)}, not once as disconnect.")


@contextmanager
def fail_at(rows: int) -> Iterator[None]:
    """Has each stream of Unspool that is read inside fail after so many rows.

    The source is left alone: to what is around it, it has failed. `InjectedFailure` is raised in
    its place, and must reach the client as a broken answer, after those rows.

    >>> from unspool import wsgi
    >>> from unspool.client import Client
    >>> with fail_at(2), Client(wsgi.stream([(1,), (2,), (3,)], columns=["n"])) as client:
    ...     list(client.get("/"))
    Traceback (most recent call last):
    unspool.pytest_plugin.InjectedFailure: fail_at(2)
    """
    pipeline: Any = import_module("unspool.pipeline").Pipeline
    feed, end = pipeline.feed, pipeline.end

    def failing_feed(self: Any, batch: Any, *times: float) -> Any:
        left = rows - self.rows
        if batch and left <= 0:
            raise InjectedFailure(f"fail_at({rows})")
        if len(batch) > left:
            batch = batch[:left] if hasattr(batch, "columns") else list(batch)[:left]
        return feed(self, batch, *times)

    def failing_end(self: Any) -> Any:
        if self.rows >= rows:
            raise InjectedFailure(f"fail_at({rows})")
        return end(self)

    with patch.object(pipeline, "feed", failing_feed), patch.object(pipeline, "end", failing_end):
        yield


@dataclass
class _Watch:
    """The streams of Unspool that ran in the meantime."""

    pipelines: list[Any] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    def rows_ahead(self) -> int | None:
        """How many rows have been made after the first, when all that runs has stopped."""
        if not self.pipelines:
            return None
        sleep(_PAUSE_S)
        rows: int = sum(each.rows for each in self.pipelines)
        return max(rows - 1, 0)

    def ends(self) -> list[str]:
        """How streams ended; waits for the first one."""
        deadline = monotonic() + _CLOSED_WITHIN_S
        while not self.outcomes and monotonic() < deadline:
            sleep(0.01)
        return self.outcomes


@contextmanager
def _watching() -> Iterator[_Watch]:
    watch = _Watch()
    pipeline: Any = import_module("unspool.pipeline").Pipeline
    hooks: Any = import_module("unspool.observe").Hooks
    feed, tell = pipeline.feed, hooks.tell

    def watched_feed(self: Any, *args: Any) -> Any:
        if not any(each is self for each in watch.pipelines):
            watch.pipelines.append(self)
        return feed(self, *args)

    def watched_tell(self: Any, outcome: str, *args: Any) -> Any:
        watch.outcomes.append(outcome)
        return tell(self, outcome, *args)

    with patch.object(pipeline, "feed", watched_feed), patch.object(hooks, "tell", watched_tell):
        yield watch


@contextmanager
def _memory(limit: int | None) -> Iterator[Callable[[], int | None]]:
    """Gives what says how much more memory was held, at the most, than now."""
    if limit is None:
        yield lambda: None
        return
    ours = not tracemalloc.is_tracing()
    if ours:
        tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        if ours:
            tracemalloc.stop()


def _is_call(response_or_call: Any) -> bool:
    """Whether it asks for a response; Flask's responses can be called, too, and closed."""
    return callable(response_or_call) and not hasattr(response_or_call, "close")


@contextmanager
def _opened(response_or_call: Any) -> Iterator[Iterator[bytes]]:
    """The chunks of a response of any kind, which is closed afterwards."""
    response: Any = response_or_call() if _is_call(response_or_call) else response_or_call
    if hasattr(response, "iter_bytes"):
        raise UsageError(
            "this response has been read already: the test client of Starlette, like httpx, reads "
            "all before it returns. Use the fixture stream_client."
        )
    encoded = getattr(response, "iter_encoded", None)  # Flask's.
    try:
        yield iter(response if encoded is None else encoded())
    finally:
        with suppress(AttributeError):
            response.close()


@pytest.fixture
def stream_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client for the app that your fixture `app` gives: Flask, Quart, Starlette, FastAPI, any.

    It takes one chunk at a time; see `unspool.client`.
    """
    yield from _client(request.getfixturevalue("app"))


@pytest.fixture
def django_stream_client() -> Iterator[Client]:
    """The same for your Django project, under WSGI."""
    yield from _client(import_module("django.core.wsgi").get_wsgi_application())


@pytest.fixture
def django_async_stream_client() -> Iterator[Client]:
    """The same under ASGI."""
    yield from _client(import_module("django.core.asgi").get_asgi_application())


def _client(app: Any) -> Iterator[Client]:
    with import_module("unspool.client").Client(app) as client:
        yield client
