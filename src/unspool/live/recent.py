"""The streams of this process: those that run, and those that ended a moment ago."""

from __future__ import annotations

import os
from collections import deque
from time import monotonic
from typing import Any

from unspool.live.peers import Listener
from unspool.observe import Running, running_streams, watch

__all__ = ["RECENT", "Recent"]

Record = dict[str, Any]

# What has ended is shown this long, and not more of it: a busy server ends thousands a minute.
_SHOWN_S = 60.0
_SHOWN_STREAMS = 200


class Recent:
    """An observer that remembers the streams that ended in the last minute, 200 at the most.

    From its first stream on, this process answers the questions of its peers.
    """

    def __init__(self) -> None:
        self._ended: deque[tuple[float, Record]] = deque(maxlen=_SHOWN_STREAMS)
        self.listener = Listener(self.answer)

    def watch(self) -> None:
        """Sees every stream from now on."""
        watch(self)

    def began(self, stream: Running) -> None:
        """Listens, from the first one on: by then the process has forked, if it does."""
        self.listener.start()

    def goes_on(self, stream: Running) -> None:
        """It is asked when somebody looks."""

    def ended(self, stream: Running) -> None:
        """Keeps its record for a while, and nothing that it used."""
        self._ended.append((monotonic(), stream.record()))

    def records(self) -> list[Record]:
        """What is known of each stream, those that run first."""
        since = monotonic() - _SHOWN_S
        running = [stream.record() for stream in running_streams()]
        return running + [record for at, record in reversed(list(self._ended)) if at > since]

    def cancel(self, id: str) -> bool:
        """Cancels the stream of that name; False if none that runs has it."""
        named = [stream for stream in running_streams() if stream.id == id]
        return bool(named) and named[0].cancel()

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """What a peer wants to know, or wants done."""
        if "cancel" in question:
            return {"cancelled": self.cancel(question["cancel"])}
        return {"streams": self.records()}

    def forget(self) -> None:
        """In a forked process: what the parent has seen is the parent's."""
        self._ended.clear()
        self.listener.forget()


RECENT = Recent()

if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=RECENT.forget)
