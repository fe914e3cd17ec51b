"""The verdict on a file, and how its bytes are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Literal, Protocol

__all__ = ["READ_BYTES", "Broken", "Scan", "State", "Verdict", "blocks"]

State = Literal["complete", "incomplete", "unproven"]

READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

    Args:
        state: "complete", "incomplete" or "unproven".
        format: what the file was taken for.
        reason: why, in words.
        rows: the number of rows, where it could be counted; of xlsx with the header rows.
        members: of a ZIP, what was found of each member.
    """

    state: State
    format: str
    reason: str
    rows: int | None = None
    members: dict[str, Verdict] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether it is proven that nothing is missing."""
        return self.state == "complete"


class Scan(Protocol):
    """Reads the bytes of a file as they come."""

    def feed(self, data: bytes) -> None:
        """Takes the next bytes."""
        ...

    def end(self) -> Verdict:
        """The verdict, after the last byte."""
        ...


class Broken(Exception):
    """What encloses the data ends too early, or is damaged."""


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a file, some at a time."""
    while block := file.read(READ_BYTES):
        yield block
