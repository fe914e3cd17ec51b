"""The probe: a stream of known rows that notes what is done to it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import cache
from time import monotonic, sleep
from typing import Any

from unspool.asgi.guard import STATE
from unspool.headers import stream_headers

__all__ = ["ROWS", "ROW_BYTES", "Probe", "ProbeFailed", "expected"]

# More than any layer is known to hold back on purpose (New Relic's agent: 64 KiB of HTML).
ROWS = 1024
ROW_BYTES = 128

# A row that a layer passes on is at the client far sooner. The first rows wait for this, once.
_PATIENCE_S = 1.0
_PATIENT_ROWS = 8

# What a source takes for a row once the client has left: time in which a layer can tell it.
_ROW_AFTER_LEAVING_S = 0.001


class ProbeFailed(Exception):
    """The failure that the probe was asked for."""


@cache
def row(n: int) -> bytes:
    """A row of the probe: numbered, of one width, and as hard to compress as any hex text."""
    return b"%05d %s\n" % (n, hashlib.shake_128(b"%d" % n).hexdigest(61)[1:].encode())


def expected(rows: int) -> bytes:
    """The first rows."""
    return b"".join(map(row, range(rows)))


class Probe:
    """One answer of rows, as an application of any kind, that counts what becomes of it.

    Args:
        media_type: its Content-Type; layers treat some differently.
        fail_at: how many rows there are before it fails; it does not if this is None.
        patient: each of the first rows waits a moment until the client has it. A layer that
            passes rows on in a task or thread of its own gets no further then, and one that
            holds them back is told from it.
    """

    def __init__(
        self, media_type: str, *, fail_at: int | None = None, patient: bool = True
    ) -> None:
        self.headers = stream_headers(media_type)
        self.reached = False
        self.pulled = 0
        self.closed = 0
        self.delivered = 0  # Told by the client.
        self.left = False  # The same.
        self.other_thread = False
        self._fail_at = fail_at
        self._patient = patient
        self._client_thread = threading.get_ident()

    @property
    def relaxed(self) -> bool:
        """Whether rows are made beside the client and do not wait for it any more.

        How far they have come then says nothing of what is held back.
        """
        return self.other_thread and self._patient and self.pulled > _PATIENT_ROWS

    def app(self, *, asgi: bool) -> Any:
        """The probe as an application."""
        return self._asgi if asgi else self._wsgi

    def rows(self) -> Iterator[bytes]:
        """The rows, as a generator, which is what most views return."""
        body = self.body()
        try:
            yield from body
        finally:
            body.close()

    async def async_rows(self) -> AsyncIterator[bytes]:
        """The same, asynchronous."""
        self.reached = True
        try:
            while (data := self._pull()) is not None:
                yield data
                await self._wait()
        finally:
            self.closed += 1

    def body(self) -> _Body:
        """The rows as an iterable with `close`."""
        self.reached = True
        return _Body(self)

    def _pull(self) -> bytes | None:
        if self.pulled == self._fail_at:
            raise ProbeFailed("the probe failed, as it was told to.")
        if self.pulled == ROWS:
            return None
        self.pulled += 1
        return row(self.pulled - 1)

    def _steps(self) -> Iterable[float]:
        """Seconds to sleep until the row may be followed by the next."""
        if self.left:
            yield _ROW_AFTER_LEAVING_S
        deadline = monotonic() + _PATIENCE_S
        while self._patient and self.pulled <= _PATIENT_ROWS and self.delivered < self.pulled:
            self._patient = monotonic() < deadline
            yield 0.0005

    def _wait_here(self) -> None:
        if threading.get_ident() != self._client_thread:  # Else nobody would read meanwhile.
            self.other_thread = True
            for step in self._steps():
                sleep(step)

    async def _wait(self) -> None:
        self.other_thread = True
        await asyncio.sleep(0)
        for step in self._steps():
            await asyncio.sleep(step)

    def _wsgi(self, environ: Any, start_response: Callable[..., Any]) -> _Body:
        start_response("200 OK", self.headers)
        return self.body()

    async def _asgi(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Answers as `unspool.asgi` does: see there for the state that `guard` looks at."""
        self.reached = True
        state = scope.get(STATE)
        leaving = asyncio.ensure_future(_client_left(receive))
        try:
            if state is not None:
                state.open = True
            headers = [(name.lower().encode(), value.encode()) for name, value in self.headers]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while (data := self._pull()) is not None and not leaving.done():
                await send({"type": "http.response.body", "body": data, "more_body": True})
                await self._wait()
            if state is not None:
                state.open = False
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except ProbeFailed as error:
            if state is not None:
                state.error = error
            raise
        finally:
            leaving.cancel()
            self.closed += 1


async def _client_left(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Body:
    """What a WSGI application returns: it notes when it is pulled and closed."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        probe = self._probe
        if probe.pulled:
            probe._wait_here()
        if (data := probe._pull()) is None:
            raise StopIteration
        return data

    def close(self) -> None:
        self._probe.closed += 1
