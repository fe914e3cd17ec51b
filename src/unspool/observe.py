"""Who watches the streams, what they see of each, and whom a stream tells that it is over.

A stream is born in `born` and ends in `Running.end`: two calls each, whatever the framework.
While nobody watches, `born` gives `UNSEEN`, and nothing is kept.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from secrets import token_urlsafe
from time import monotonic, sleep
from typing import Any, Literal, Protocol
from urllib.parse import parse_qs

from unspool.errors import Cancelled
from unspool.headers import Asked
from unspool.pipeline import Phase, Pipeline

__all__ = [
    "UNSEEN",
    "Hooks",
    "Observer",
    "Outcome",
    "Running",
    "State",
    "Unseen",
    "born",
    "running_streams",
    "unseen",
    "watch",
]

Outcome = Literal["complete", "error", "disconnect"]
"""How a stream ended: all was handed to the server; the source failed (or its deadline
passed, or it was cancelled); or the client left before the end (or asked for no body at all)."""

State = Phase | Outcome | Literal["cancelled"]
"""What a stream does now, or how it ended. A cancelled one ended with an error, `Cancelled`."""

# Somebody who watches sees rates of the last three or four seconds: long enough for a source
# that gives a row a second, short enough to see a stream get stuck.
_SAMPLE_EVERY_S = 1.0
_SAMPLES = 4

# What a request may name its stream, as `_stream` in its query.
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")

_log = logging.getLogger("unspool")


@dataclass(frozen=True)
class Hooks:
    """Functions to call at the end of a stream; each is called at most once.

    They run where the rows ran, after the rows were closed. All of them run, even if one
    raises.

    Args:
        on_close: called with outcome, rows and bytes, always.
        on_error: called with what the source raised.
        on_disconnect: called if the client left before the end.
    """

    on_close: Callable[[Outcome, int, int], object] | None = None
    on_error: Callable[[BaseException], object] | None = None
    on_disconnect: Callable[[], object] | None = None

    def tell(self, outcome: Outcome, error: BaseException | None, rows: int, sent: int) -> None:
        """Calls those that this end concerns."""
        with ExitStack() as last_first:
            if self.on_close is not None:
                last_first.callback(self.on_close, outcome, rows, sent)
            if self.on_disconnect is not None and outcome == "disconnect":
                last_first.callback(self.on_disconnect)
            if self.on_error is not None and error is not None:
                last_first.callback(self.on_error, error)


class Observer(Protocol):
    """Somebody who is told of every stream of the process. What it raises is logged."""

    def began(self, stream: Running) -> None:
        """A stream begins; called in the context of its request."""
        ...

    def goes_on(self, stream: Running) -> None:
        """Once a second, on a thread of ours, while the stream runs."""
        ...

    def ended(self, stream: Running) -> None:
        """Its source is closed; maybe on another thread than it began."""
        ...


class Running:
    """One stream, as those see it who watch. Its numbers are read, never written, by them.

    Attributes:
        id: what names it: `_stream` of its query, or random.
        asked: what its request said.
        format: the name of its format, as files are named ("csv").
        pipeline: the machine that makes it, with the counters.
        error: what it failed with.
    """

    def __init__(self, asked: Asked, format: str, pipeline: Pipeline[Any]) -> None:
        self.asked = asked
        self.format = format
        self.pipeline = pipeline
        self.began_at = monotonic()
        self.ended_at: float | None = None
        self.error: BaseException | None = None
        self.id = _id(asked.query)
        self._outcome: Outcome | None = None
        self._cancelled: Cancelled | None = None
        self._enders: list[Callable[[], object]] = []
        self._samples = deque([(self.began_at, 0, 0)], _SAMPLES)

    @property
    def state(self) -> State:
        """What it does now, or how it ended."""
        if self._cancelled is not None:
            return "cancelled"  # Maybe its source does not know yet.
        return self._outcome or self.pipeline.phase

    @property
    def age_s(self) -> float:
        """For how long it has run, or ran."""
        return (self.ended_at or monotonic()) - self.began_at

    @property
    def first_byte_s(self) -> float | None:
        """After how long its first chunk was made; None if there was none yet."""
        first_at = self.pipeline.first_at
        return None if first_at is None else max(0.0, first_at - self.began_at)

    def record(self) -> dict[str, Any]:
        """All of it, as the live view shows it."""
        rows_per_s, bytes_per_s = self._rates()
        return {
            "id": self.id,
            "method": self.asked.method,
            "path": self.asked.path,
            "client": self.asked.client,
            "format": self.format,
            "rows": self.pipeline.rows,
            "bytes": self.pipeline.sent,
            "rows_per_s": round(rows_per_s, 1),
            "bytes_per_s": round(bytes_per_s, 1),
            "state": self.state,
            "age_s": round(self.age_s, 3),
            "pid": os.getpid(),
        }

    def _rates(self) -> tuple[float, float]:
        """Rows and bytes a second: of the last seconds, or of the whole stream if it is over."""
        since, rows, sent = (self.began_at, 0, 0) if self.ended_at else self._samples[0]
        took = max((self.ended_at or monotonic()) - since, 1e-3)
        return (self.pipeline.rows - rows) / took, (self.pipeline.sent - sent) / took

    def follow(self, pipeline: Pipeline[Any]) -> None:
        """Another machine makes the stream from now on: its request wants it compressed."""
        self.pipeline = pipeline

    def sample(self) -> None:
        """Remembers the counters of this moment, for the rates."""
        self._samples.append((monotonic(), self.pipeline.rows, self.pipeline.sent))

    def on_cancel(self, end: Callable[[], object]) -> None:
        """Has `end` called when the stream is cancelled; from any thread, it must not block."""
        self._enders.append(end)
        if self._cancelled is not None:
            end()

    def cancel(self) -> bool:
        """Ends the stream at once, as a failure does; False if it is over already.

        Its transfer breaks, its source is closed, and its hooks get a `Cancelled`. A source
        that is stuck in its own code, on a thread, is closed as soon as it gives a row.
        """
        with _lock:
            if self._outcome is not None:
                return False
            self._cancelled = self._cancelled or Cancelled(self.id)
            self.pipeline.cancelled = self._cancelled
        for end in list(self._enders):
            _safely(end)
        return True

    def end(
        self, outcome: Outcome, error: BaseException | None
    ) -> tuple[Outcome, BaseException | None]:
        """Tells those who watch; gives how the stream ended, which is otherwise if cancelled."""
        with _lock:
            if self._cancelled is not None:
                outcome, error = "error", self._cancelled
            self._outcome, self.error, self.ended_at = outcome, error, monotonic()
            _running.pop(self.id, None)
        self._enders.clear()
        for observer in _observers:
            _safely(observer.ended, self)
        return outcome, error


class Unseen:
    """Stands for a stream that nobody watches."""

    def on_cancel(self, end: Callable[[], object]) -> None:
        """Nobody can cancel it."""

    def end(
        self, outcome: Outcome, error: BaseException | None
    ) -> tuple[Outcome, BaseException | None]:
        """Nobody is told."""
        return outcome, error

    def follow(self, pipeline: Pipeline[Any]) -> None:
        """Nobody looks at it."""


UNSEEN = Unseen()

_observers: tuple[Observer, ...] = ()
_running: dict[str, Running] = {}
# The garbage collector can end a stream at any point of its own thread, also within these.
_lock = threading.RLock()
_sampling = False
_hidden: ContextVar[bool] = ContextVar("hidden", default=False)


def watch(observer: Observer) -> Callable[[], None]:
    """Tells `observer` of every stream that begins from now on; gives what ends that.

    The second time does nothing.
    """
    global _observers  # noqa: PLW0603
    with _lock:
        if observer not in _observers:
            _observers = (*_observers, observer)

    def unwatch() -> None:
        global _observers  # noqa: PLW0603
        with _lock:
            _observers = tuple(each for each in _observers if each is not observer)

    return unwatch


def running_streams() -> list[Running]:
    """The streams of this process that run now, the oldest first, if somebody watches."""
    with _lock:
        return list(_running.values())


def born(asked: Callable[[], Asked], format: str, pipeline: Pipeline[Any]) -> Running | Unseen:
    """A stream begins. `asked` gives what its request said; it is only called if needed.

    Answers to HEAD are no streams: nothing of them runs.
    """
    if not _observers or _hidden.get():
        return UNSEEN
    request = asked()
    if request.method == "HEAD":
        return UNSEEN
    with _lock:
        stream = Running(request, format, pipeline)
        _running[stream.id] = stream
    for observer in _observers:
        _safely(observer.began, stream)
    _sample_soon()
    return stream


@contextmanager
def unseen() -> Iterator[None]:
    """Streams that are opened within this are not shown, such as those of the live view."""
    token = _hidden.set(True)
    try:
        yield
    finally:
        _hidden.reset(token)


def _id(query: str) -> str:
    """What the query names the stream, unless another one that runs has that name."""
    wanted = parse_qs(query).get("_stream", [""])[0]
    return wanted if _ID.fullmatch(wanted) and wanted not in _running else token_urlsafe(12)


def _safely(function: Callable[..., object], *args: object) -> None:
    """Who watches must not break what is watched."""
    try:
        function(*args)
    except Exception:
        _log.exception("%r failed.", function)


def _sample_soon() -> None:
    """Starts the thread that looks at the streams once a second, while there are any."""
    global _sampling  # noqa: PLW0603
    with _lock:
        if _sampling:
            return
        _sampling = True
    threading.Thread(target=_sample, name="unspool-observe", daemon=True).start()


def _sample() -> None:
    global _sampling  # noqa: PLW0603
    while True:
        sleep(_SAMPLE_EVERY_S)
        with _lock:
            streams = list(_running.values())
            if not streams:
                _sampling = False
                return
        for stream in streams:
            stream.sample()
            for observer in _observers:
                _safely(observer.goes_on, stream)


def _forget() -> None:
    """In a forked process none of the streams of its parent runs, nor the thread, nor the lock."""
    global _lock, _sampling  # noqa: PLW0603
    _running.clear()
    _lock = threading.RLock()
    _sampling = False


if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=_forget)
