"""What a stream tells when it is over, and whom."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

__all__ = ["Hooks", "Outcome"]

Outcome = Literal["complete", "error", "disconnect"]
"""How a stream ended: all was handed to the server; the source failed (or its deadline
passed); or the client left before the end (or asked for no body at all)."""


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
