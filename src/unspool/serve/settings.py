"""What a server allows, and whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from unspool.errors import UsageError

__all__ = ["Limits", "Settings"]


# Of a statement that a stranger wrote, where nobody chose a limit.
_STATEMENT_ROWS = 10_000_000
_STATEMENT_BYTES = 4 * 2**30
_SECONDS = 60.0


@dataclass(frozen=True)
class Settings:
    """Limits, and who may read.

    Args:
        max_rows: most rows of an answer. Without it tables are given whole, and what a statement
            gives may have 10,000,000.
        max_bytes: most bytes of an answer, as they are sent; without it likewise, and 4 GiB.
        max_seconds: most seconds until the end of an answer, and until its first row. Without it
            tables may take any time once their first row is there, which may take 60 as all of a
            statement may.
        max_streams: most answers that one client gets at the same time.
        token: who has it may read; None lets everyone who can reach the server.
        hosts: the names by which the server may be called; None allows any.

    Raises:
        UsageError: a limit below 1, an empty token.
    """

    max_rows: int | None = None
    max_bytes: int | None = None
    max_seconds: float | None = None
    max_streams: int = 8
    token: str | None = None
    hosts: frozenset[str] | None = None

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_bytes", "max_streams"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1; got {value!r}.")
        if self.max_seconds is not None and not 0 < self.max_seconds < float("inf"):
            raise UsageError(f"max_seconds must be more than 0; got {self.max_seconds!r}.")
        if self.token is not None and not self.token.strip():
            raise UsageError("the token is empty. Set a long one that nobody can guess.")

    def limits(self, *, statement: bool) -> Limits:
        """Those of a statement, or of a table."""
        seconds = _SECONDS if self.max_seconds is None else self.max_seconds
        if not statement:
            return Limits(self.max_rows, self.max_bytes, seconds, self.max_seconds)
        return Limits(
            self.max_rows or _STATEMENT_ROWS, self.max_bytes or _STATEMENT_BYTES, seconds, seconds
        )


class Limits(NamedTuple):
    """Of one answer; seconds count from when the database is asked."""

    rows: int | None
    bytes: int | None
    first_s: float
    all_s: float | None
