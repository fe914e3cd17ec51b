"""A few threads that many streams share, each for as long as it makes one batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Lane", "Workers"]

T = TypeVar("T")
Job = Callable[[], None]

# So long a thread waits for its loop, once a job.
_PATIENCE_S = 0.1


class Workers:
    """At most `threads` daemon threads, started when they are needed.

    A thread that a lane keeps for itself is replaced, so that these never run out.
    """

    def __init__(self, threads: int) -> None:
        self._threads_max = threads
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._waiting = 0
        self._here = threading.local()

    def put(self, job: Job) -> None:
        """Runs `job` on one of the threads, as soon as one is free."""
        with self._lock:
            self._waiting += 1
            self._jobs.put(job)
            self._start_if_needed()

    def _start_if_needed(self) -> None:
        if self._waiting > self._idle and self._threads < self._threads_max:
            self._threads += 1
            self._idle += 1
            threading.Thread(target=self._work, name="unspool-worker", daemon=True).start()

    @property
    def crowded(self) -> bool:
        """Whether there are jobs that wait for a thread."""
        return self._waiting > 0

    def keep(self, lane: Lane) -> None:
        """Gives the thread that calls this to `lane`, once its job is done."""
        self._here.lane = lane

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            with self._lock:
                self._waiting -= 1
                self._idle -= 1
            job()
            del job  # It must not be kept alive until the next one comes.
            lane = getattr(self._here, "lane", None)
            if lane is not None:
                with self._lock:
                    self._threads -= 1
                    self._start_if_needed()
                lane.work()
                return
            with self._lock:
                self._idle += 1


class Lane:
    """One stream's way to the workers: its jobs run in order, one at a time.

    The caller sees to that by waiting for each. After `keep`, they all run on one thread.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._own: SimpleQueue[Job | None] | None = None

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """The future result of `function`, which a worker calls.

        If there are more jobs than threads, a worker lets the loop that this is called on catch
        up first. So what was made and not looked at never becomes more than the threads can
        make, and other requests need not stand behind it.
        """
        future: Future[T] = Future()
        loop = _running_loop()

        def job() -> None:
            if loop is not None and self._workers.crowded:
                _let_catch_up(loop)
            if not future.set_running_or_notify_cancel():
                return  # Nobody waits for it any more.
            try:
                result = function(*args)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        if self._own is None:
            self._workers.put(job)
        else:
            self._own.put(job)
        return future

    def stands_in_line(self, job: Future[Any]) -> bool:
        """Whether a job of this lane waits for a thread."""
        return not (job.running() or job.done())

    def keep(self) -> None:
        """Called in a job: this thread is the stream's own from now on, until `close`."""
        if self._own is None:
            self._own = SimpleQueue()
            self._workers.keep(self)

    def work(self) -> None:
        """Runs the jobs of a lane with a thread of its own; returns after `close`."""
        while self._own is not None and (job := self._own.get()) is not None:
            job()

    def close(self) -> None:
        """Lets a kept thread end."""
        if self._own is not None:
            self._own.put(None)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _let_catch_up(loop: asyncio.AbstractEventLoop) -> None:
    """Waits until `loop` has done what it had to do by now; for a moment at the most."""
    caught_up = threading.Event()
    try:
        loop.call_soon_threadsafe(caught_up.set)
    except RuntimeError:
        return  # It is closed.
    caught_up.wait(_PATIENCE_S)
