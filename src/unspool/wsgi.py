"""Streams over WSGI (PEP 3333): the body that a server iterates, plain apps, and limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from http import HTTPStatus
from time import monotonic, sleep
from typing import Any
from weakref import WeakSet

from unspool.connection import Watch, break_off, ends_cleanly, socket_of, warn_of
from unspool.drive import Chunks, drive
from unspool.errors import BrokenApp, LengthMismatch, NotAcceptable, UsageError
from unspool.formats.csv import Csv
from unspool.headers import Asked
from unspool.observe import Outcome, unseen
from unspool.sources.members import rows_for
from unspool.sources.rows import RowSource
from unspool.stream import Stream
from unspool.templates.pieces import (
    BATCH_PIECES,
    PAGE,
    Asking,
    block_failed,
    check_template,
    sync_pieces,
)
from unspool.types import Format

__all__ = ["Body", "limit", "live_view", "stream", "stream_csv", "stream_template"]

Environ = Mapping[str, Any]
App = Callable[..., Iterable[bytes]]


class Body:
    """The chunks of one stream as a server sees them: an iterable with `close`.

    A failure is raised to the server; where that would still end the answer cleanly, the
    connection is reset first (see `unspool.connection`). Checks a declared Content-Length.
    """

    def __init__(
        self,
        chunks: Chunks[bytes],
        environ: Environ,
        close: Callable[[], None],
        length: int | None = None,
    ) -> None:
        self.chunks = chunks
        self.close = close
        self.length = length
        self._environ = environ
        self._sent = 0
        self._given = False
        self._was_empty = False
        warn_of(environ)

    def __iter__(self) -> Iterator[bytes]:
        if not self._was_empty:  # Nothing can be lost of it: Werkzeug's test client looks twice.
            iter(self.chunks)  # Raises UsedTwice if they are over.
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self.chunks, b"")
            self._check_length(len(chunk))
        except Exception:
            self._break_off()
            self.close()
            raise
        if not chunk:
            self._was_empty = not self._given
            raise StopIteration
        self._given = True
        return chunk

    def _check_length(self, size: int) -> None:
        if self.length is None:
            return
        if self._sent + size > self.length or (not size and self._sent < self.length):
            raise LengthMismatch(self.length, self._sent + size)
        self._sent += size

    def _break_off(self) -> None:
        if ends_cleanly(self._environ) and self.length is None:
            connection = socket_of(self._environ)
            if connection is not None:
                break_off(connection)


def stream(
    rows: Iterable[Any], format: str | Format = "csv", *, status: str = "200 OK", **options: Any
) -> Callable[[Environ, Callable[..., Any]], Iterable[bytes]]:
    """A WSGI application that answers with `rows`; see `unspool.Stream` for `options`.

    Use it once, for one request: `return stream(rows)(environ, start_response)`.

    Raises:
        UsageError: arguments that cannot work.

    >>> from wsgiref.util import setup_testing_defaults
    >>> environ = {}
    >>> setup_testing_defaults(environ)
    >>> app = stream([(1, "a")], columns=["id", "name"])
    >>> b"".join(app(environ, lambda status, headers: None))
    b'id,name\\r\\n1,a\\r\\n'
    """
    plan = Stream(rows, format, **options)

    def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            asked = plan.asked(Asked.by_environ(environ))
        except NotAcceptable as error:
            refuse(plan, environ)
            start_response("406 Not Acceptable", error.headers())
            return [str(error).encode()]
        chunks = open_chunks(asked, environ)
        if environ["REQUEST_METHOD"] == "HEAD":
            chunks.close()
            start_response(status, asked.headers())
            return ()
        chunks.prime()
        start_response(status, asked.headers())
        return Body(chunks, environ, chunks.close)

    return app


def stream_csv(
    rows: Iterable[Any], dialect: Csv | None = None, **options: Any
) -> Callable[[Environ, Callable[..., Any]], Iterable[bytes]]:
    """The same with a `Csv` format."""
    return stream(rows, dialect or Csv(), **options)


def stream_template(
    template: Any,
    context: Mapping[str, Any] | None = None,
    *,
    mode: str = "auto",
    status: str = "200 OK",
    **options: Any,
) -> Callable[[Environ, Callable[..., Any]], Iterable[bytes]]:
    """A WSGI application that answers with a `jinja2.Template`, rendered piece by piece.

    Use it once, like `stream`, whose `options` it takes (of the hooks, `on_close` gets the
    number of pieces as rows, and `on_error` also what a block of a page fails with). At the end
    the generators in `context` are closed. `mode` is for pages: "auto", "inorder" or "whole".

    Raises:
        UsageError: the template's environment has `enable_async=True`, without the extension
            `unspool.templates.Streaming`; no such mode, or one that needs that extension.

    >>> from wsgiref.util import setup_testing_defaults
    >>> from jinja2 import Template
    >>> environ = {}
    >>> setup_testing_defaults(environ)
    >>> app = stream_template(Template("Hi {{ name }}"), {"name": "Ann"})
    >>> b"".join(app(environ, lambda status, headers: None))
    b'Hi Ann'
    """
    names = dict(context or {})
    options = {"batch_rows": BATCH_PIECES} | options
    asking = Asking(mode, on_error=block_failed(options.get("on_error")))
    check_template(template, mode, sync=True)
    Stream((), PAGE, **options)  # What is wrong is raised here.

    def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = asking.by(Asked.by_environ(environ), environ["REQUEST_METHOD"])
        pieces = sync_pieces(template, names, asked)
        return stream(pieces, PAGE, status=status, **options)(environ, start_response)

    return app


def open_chunks(
    plan: Stream, environ: Environ, beside: Callable[[], Iterable[object]] = tuple
) -> Chunks[bytes]:
    """The chunks of a plan, in a copy of the current context; for `beside` see `RowSource`."""
    context = copy_context()
    source: RowSource[Any] = RowSource(
        rows_for(plan.format, plan.rows),
        context,
        same_thread=plan.same_thread,
        beside=beside,
        release=plan.release,
    )
    pipeline = plan.pipeline()
    watch = Watch(environ)
    running = plan.born(lambda: Asked.by_environ(environ), pipeline)
    watch.heed(running)
    running.on_cancel(source.stop)

    def on_closed(outcome: Outcome, error: BaseException | None) -> None:
        watch.close()
        told = running.end(outcome, error)
        context.run(plan.hooks().tell, *told, pipeline.rows, pipeline.sent)

    steps = drive(pipeline, source, idle=watch.check)
    return Chunks(steps, source, on_closed, pipeline, running)


def refuse(plan: Stream, environ: Environ) -> None:
    """Closes the rows of a plan that is not sent."""
    with unseen():
        open_chunks(plan, environ).close()


def live_view(
    app: App,
    *,
    prefix: str = "/-/streams",
    metrics: str | None = "/-/metrics",
    token: str | None = None,
) -> App:
    """`app` with a page that shows every stream of it, in all its processes.

        application = unspool.wsgi.live_view(application, token=os.environ["LIVE_TOKEN"])

    Args:
        app: a WSGI application, such as Django's. (For Flask's there is an extension,
            `unspool.flask.LiveView`.)
        prefix: the path of the page.
        metrics: the path of the figures for Prometheus; None for none. They need the extra `live`.
        token: what a request must bring, as Bearer token or as password of any user. Without one,
            only this machine is answered. Behind a proxy everything comes from this machine: set
            a token there.

    Raises:
        UsageError: paths that cannot be, an empty token.
    """
    from unspool.live import Ask, View  # noqa: PLC0415 (who shows nothing need not load it)

    view = View(prefix, metrics, token)

    def watched(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not view.owns(path):
            return app(environ, start_response)
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        method = environ["REQUEST_METHOD"]
        reply = view.answer(Ask(method, path, headers, environ.get("REMOTE_ADDR") or ""))
        if reply.events:
            with unseen():
                return stream(view.events(), view.events_format)(environ, start_response)
        length = ("Content-Length", str(len(reply.body)))
        status = HTTPStatus(reply.status)
        start_response(f"{status.value} {status.phrase}", [*reply.headers, length])
        return [] if method == "HEAD" else [reply.body]

    return watched


def limit(
    app: App,
    *,
    streams_max: int | None = None,
    retry_after_s: int = 5,
    bytes_per_s_min: float = 0.0,
    grace_s: float = 10.0,
) -> App:
    """`app` with limits, for servers that spend a thread on each answer while it is sent.

    Lists of bytes pass untouched; every other answer counts as a stream.

    Args:
        app: a WSGI application.
        streams_max: while so many streams are being sent, further ones are refused with
            503 and Retry-After, so that threads stay free for small answers.
        retry_after_s: what Retry-After says.
        bytes_per_s_min: a client that takes its chunk more slowly than this is cut off: its
            connection is reset.
        grace_s: but not before that chunk has waited this long.

    Raises:
        UsageError: a limit that would let nothing through.
    """
    if streams_max is not None and streams_max < 1:
        raise UsageError(f"streams_max must be at least 1; got {streams_max!r}.")
    if grace_s <= 0:
        raise UsageError(f"grace_s must be more than 0 seconds; got {grace_s!r}.")
    sending = _Sending(bytes_per_s_min, grace_s)

    def limited(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start = _Start(start_response)
        body = app(environ, start)
        if isinstance(body, (list, tuple)):
            start.go()
            return [*start.written, *body]
        limited_body = _LimitedBody(body, start, sending, environ)
        if not sending.add(limited_body, streams_max):
            limited_body.close()
            start_response(
                "503 Service Unavailable",
                [("Content-Type", "text/plain"), ("Retry-After", str(retry_after_s))],
            )
            return [b"Too many downloads are being sent. Try again in a few seconds.\n"]
        limited_body.start()
        return limited_body

    return limited


def _close(body: object) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


class _Start:
    """The app's `start_response`, held back until it is known whether its answer is refused."""

    def __init__(self, start_response: Callable[..., Any]) -> None:
        self._start_response = start_response
        self._gone = False
        self.said: list[tuple[Any, ...]] = []
        self.written: list[bytes] = []

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        said = (status, headers, exc_info) if exc_info else (status, headers)
        if self._gone:
            self._start_response(*said)  # To say no, by raising, is the server's part.
        self.said.append(said)
        return self.written.append

    def go(self) -> None:
        if not self.said:
            raise BrokenApp("the application gave its body without calling start_response().")
        self._gone = True
        for said in self.said:
            self._start_response(*said)


class _Sending:
    """The streams being sent now, and the thread that looks for slow clients."""

    def __init__(self, bytes_per_s_min: float, grace_s: float) -> None:
        # Weak: Werkzeug's server does not close an answer whose connection was reset.
        self._bodies: WeakSet[_LimitedBody] = WeakSet()
        self._bytes_per_s_min = bytes_per_s_min
        self._grace_s = grace_s
        self._lock = threading.RLock()  # `remove` can be called by the garbage collector.
        self._looking = False

    @property
    def watches(self) -> bool:
        """Whether it looks for slow clients."""
        return bool(self._bytes_per_s_min)

    def add(self, body: _LimitedBody, streams_max: int | None) -> bool:
        """Counts `body`, unless there are so many already."""
        with self._lock:
            if streams_max is not None and len(self._bodies) >= streams_max:
                return False
            self._bodies.add(body)
            if self._bytes_per_s_min and not self._looking:
                self._looking = True
                threading.Thread(target=self._look, name="unspool-limit", daemon=True).start()
            return True

    def remove(self, body: _LimitedBody) -> None:
        with self._lock:
            self._bodies.discard(body)

    def _look(self) -> None:
        sleep(self._grace_s / 4)
        while self._cut_slow():
            sleep(self._grace_s / 4)

    def _cut_slow(self) -> bool:
        with self._lock:
            bodies = list(self._bodies)
            self._looking = bool(bodies)
        for body in bodies:
            body.cut_if_slower(self._bytes_per_s_min, self._grace_s)
        return bool(bodies)


class _LimitedBody:
    """An answer's body that knows how long the server has been sending its last chunk."""

    def __init__(
        self, body: Iterable[bytes], start: _Start, sending: _Sending, environ: Environ
    ) -> None:
        self._body = body
        self._start = start
        self._chunks = iter(body)
        self._sending = sending
        self._environ = environ
        self._last: tuple[float, int] | None = None
        self._closed = False

    @property
    def chunks(self) -> Any:
        """What `from_wsgi` takes over, where no chunk of it has to be timed here."""
        if self._start.written or self._sending.watches:
            return None
        return getattr(self._body, "chunks", None)

    @property
    def length(self) -> int | None:
        """The declared length of such an answer."""
        return getattr(self._body, "length", None)

    def start(self) -> None:
        try:
            if not self._start.said:  # A generator as the app: it starts with its first chunk.
                self._start.written.append(next(self._chunks, b""))
            self._start.go()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._last = None
        written = self._start.written
        chunk = written.pop(0) if written else next(self._chunks)
        self._last = (monotonic(), len(chunk))
        return chunk

    def close(self) -> None:
        self._sending.remove(self)
        if not self._closed:
            self._closed = True
            _close(self._body)

    def __del__(self) -> None:
        self.close()

    def cut_if_slower(self, bytes_per_s_min: float, grace_s: float) -> None:
        if self._last is None:
            return
        since, size = self._last
        waited = monotonic() - since
        if waited > grace_s and size < bytes_per_s_min * waited:
            connection = socket_of(self._environ)
            if connection is not None:
                self._sending.remove(self)  # First: the client can be back at once.
                break_off(connection, drain_s=0)
