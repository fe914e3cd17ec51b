"""Rows under limits: how many, and for how long."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import Any

from unspool.serve.problems import BeyondLimit
from unspool.sources.queries import QueryReader
from unspool.types import Batch

__all__ = ["Alarms", "LimitedReader", "one_value"]


class Alarms:
    """Calls functions at their time, on one thread for all, which is there while one is due."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._runs = False

    def set(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        """Calls `function` after so many seconds; gives what prevents it."""
        with self._changed:
            number = next(self._numbers)
            heapq.heappush(self._due, (monotonic() + seconds, number, function))
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="unspool-alarms", daemon=True).start()
            self._changed.notify()
        return lambda: self._cancel(number)

    def _cancel(self, number: int) -> None:
        with self._changed:
            self._due = [each for each in self._due if each[1] != number]
            heapq.heapify(self._due)
            self._changed.notify()

    def _run(self) -> None:
        while (function := self._next()) is not None:
            with suppress(Exception):  # What it interrupts is over already.
                function()

    def _next(self) -> Callable[[], None] | None:
        """What is due, once it is; None if nothing is to come."""
        with self._changed:
            while self._due:
                wait_s = self._due[0][0] - monotonic()
                if wait_s <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait_s)
            self._runs = False
            return None


class LimitedReader:
    """The rows of a query, of which there may be so many, in such a time.

    Args:
        reader: the rows.
        alarms: who looks at the clock.
        rows: the most rows; one more is a failure, after these were given.
        first_s: seconds until the first row, or the end, must be there.
        all_s: seconds until the end, counted from the same moment.
        give_way: called before each batch but the first; may block for a moment.

    Raises, when rows are read: BeyondLimit; what the reader raises.
    """

    def __init__(
        self,
        reader: QueryReader,
        alarms: Alarms,
        *,
        rows: int | None,
        first_s: float,
        all_s: float | None,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self._reader = reader
        self._alarms = alarms
        self._rows_max = rows
        self._first_s = first_s
        self._all_s = all_s
        self._give_way = give_way
        self._rows = 0
        self._expired_s: float | None = None
        self._put_off: Callable[[], None] | None = None
        self._first = True
        self._began_at = 0.0

    @property
    def columns(self) -> Sequence[str] | None:
        """The names, with the first batch."""
        return self._reader.columns

    @property
    def thread_bound(self) -> bool:
        """Whether the reader is."""
        return self._reader.thread_bound

    def read_batch(self, want: int) -> Batch:
        """Some `want` rows; none after the last."""
        if self._put_off is None and self._first:
            self._began_at = monotonic()
            self._set(self._first_s if self._all_s is None else min(self._first_s, self._all_s))
        elif not self._first:
            self._give_way()
        try:
            rows = self._reader.read_batch(want)
        except Exception as error:
            self._check_time(error)
            raise
        self._check_time(None)
        if self._first:
            self._first = False
            self._put_off_alarm()
            if self._all_s is not None:
                self._set(self._all_s - (monotonic() - self._began_at), self._all_s)
        return self._counted(rows)

    def _counted(self, rows: Batch) -> Batch:
        if self._rows_max is not None and self._rows + len(rows) > self._rows_max:
            left = self._rows_max - self._rows
            if not left:
                raise BeyondLimit(
                    f"there are more rows than {self._rows_max}, which is the limit. Filter, or "
                    "ask for fewer."
                )
            rows = rows[:left]
        self._rows += len(rows)
        return rows

    def cancel(self) -> None:
        """Interrupts a read that is under way on another thread."""
        self._reader.cancel()

    def close(self) -> None:
        """Closes the reader."""
        self._put_off_alarm()
        self._reader.close()

    def _set(self, seconds: float, shown_s: float | None = None) -> None:
        def expire() -> None:
            self._expired_s = seconds if shown_s is None else shown_s
            self._reader.cancel()

        self._put_off = self._alarms.set(seconds, expire)

    def _put_off_alarm(self) -> None:
        if self._put_off is not None:
            self._put_off()
            self._put_off = None

    def _check_time(self, error: Exception | None) -> None:
        if self._expired_s is not None:
            what = "the first row was" if self._first else "the last row was"
            raise BeyondLimit(
                f"{what} not there after {self._expired_s:g} s, which is the limit. Filter, or "
                "ask for less."
            ) from error


def one_value(reader: Any) -> Any:
    """The one value of a query of one row, which is closed."""
    try:
        rows = reader.read_batch(1)
        if not rows:  # It was cancelled: nobody waits for what this becomes.
            raise BeyondLimit("the client has left.")
        return rows[0][0]
    finally:
        reader.close()
