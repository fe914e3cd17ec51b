"""Anything that gives rows, as a source that can be pulled in batches."""

from __future__ import annotations

__all__: list[str] = []
