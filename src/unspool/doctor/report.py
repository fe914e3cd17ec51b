"""What was found, as a table and as findings with a remedy each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Diagnosis", "Finding"]


@dataclass(frozen=True)
class Finding:
    """Something that breaks streaming: where, what, and what to do."""

    layer: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.layer} {self.problem}.\n    {self.remedy}"


@dataclass(frozen=True)
class Diagnosis:
    """What `examine` or `examine_url` found. Its `str()` is a table and the findings.

    Args:
        target: the app or URL.
        columns: what each row of the table says.
        rows: a row for each layer, outermost first, or for each thing looked at.
        findings: what is wrong; nothing, if all is well.

    >>> seen = (("first byte", "after 0.02 s"), ("framing", "chunked"))
    >>> print(Diagnosis("http://127.0.0.1:8000/", ("what", "seen"), seen))
    http://127.0.0.1:8000/
    <BLANKLINE>
    what        seen
    first byte  after 0.02 s
    framing     chunked
    <BLANKLINE>
    No findings.
    """

    target: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    findings: tuple[Finding, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __str__(self) -> str:
        parts = [self.target, "", *_table([self.columns, *self.rows]), ""]
        if self.passed:
            return "\n".join([*parts, "No findings."])
        numbered = [f"{n}. {finding}" for n, finding in enumerate(self.findings, 1)]
        return "\n".join([*parts, *numbered])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
