"""The rows that every benchmark sends: ten columns of mixed kinds, from a pool of 10,000."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import cycle, islice

WORDS = ["alpha", "Beta", "gamma ray", "Köln", "São Paulo", "quiet", "lorem ipsum dolor", "x"]
AWKWARD = ["Smith, John", 'the "big" one', "two\nlines", 'a, "b", c']
DAY = date.fromisoformat("2024-01-01")
MOMENT = datetime.fromisoformat("2024-01-01T00:00:00")


def text(rng: random.Random) -> str:
    """Some words; one text in twenty must be quoted in CSV."""
    return rng.choice(AWKWARD) if rng.random() < 0.05 else " ".join(rng.choices(WORDS, k=2))


def row(rng: random.Random) -> tuple:
    return (
        rng.randrange(10**7),
        text(rng),
        text(rng),
        text(rng),
        rng.randrange(100),
        rng.random() * 1000,
        round(rng.random() * 100, 2),
        DAY + timedelta(days=rng.randrange(1000)),
        MOMENT + timedelta(seconds=rng.randrange(10**8)),
        text(rng),
    )


RNG = random.Random(1)
POOL = [row(RNG) for _ in range(10_000)]


def table(rows: int) -> Iterator[tuple]:
    """So many rows, made at next to no cost."""
    return islice(cycle(POOL), rows)
