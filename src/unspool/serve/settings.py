"""What a server allows, and whom."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Limits and access; None means no limit of one's own choice.

    Args:
        max_rows: most rows of an answer. Without it tables are given whole, and the answers of
            statements may have `STATEMENT_ROWS`.
        max_bytes: most bytes of an answer, as sent; likewise.
        max_seconds: most seconds until the first row, and from there to the end of an answer.
            Without it tables may take any time once their first row is there.
        max_streams: most answers that one client gets at the same time.
        token: who has it may read; None lets everyone who can reach the server.
        hosts: the names by which the server may be called; None allows any.
    """

    max_rows: int | None = None
    max_bytes: int | None = None
    max_seconds: float | None = None
    max_streams: int = 8
    token: str | None = None
    hosts: frozenset[str] | None = None
