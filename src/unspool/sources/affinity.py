"""Which sources must stay on the thread that made them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from itertools import chain, islice
from types import (
    AsyncGeneratorType,
    CellType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    ModuleType,
)

__all__ = ["is_thread_bound"]

# What a source is usually made of: only these are looked into. A generator refers to its
# local variables and to the iterators of the loops that it is in.
_LOOKED_INTO = (
    GeneratorType,
    AsyncGeneratorType,
    CoroutineType,
    CellType,
    tuple,
    list,
    dict,
    map,
    filter,
    zip,
    enumerate,
    islice,
    chain,
)

# These lead to everything else in the process.
_SHARED = (ModuleType, type, CodeType, FrameType)

# Enough for a generator of a generator of a cursor, and few enough to cost microseconds.
_DEPTH = 8
_OBJECTS_MAX = 2000


def is_thread_bound(*roots: object, deep: bool = False) -> bool:
    """Whether a sqlite3 connection or cursor can be reached from `roots`.

    The sqlite3 module refuses to use them on another thread than the one that made them.
    Looks through generators, closures and containers; and, if `deep`, through any object.
    """
    sqlite3 = sys.modules.get("sqlite3")
    if sqlite3 is None:
        return False
    bound = (sqlite3.Connection, sqlite3.Cursor)
    layer: Iterable[object] = roots
    seen: set[int] = set()
    for _ in range(_DEPTH):
        next_layer: list[object] = []
        for thing in layer:
            if isinstance(thing, bound):
                return True
            if id(thing) in seen:
                continue
            seen.add(id(thing))
            if isinstance(thing, FunctionType):
                next_layer.extend(thing.__closure__ or ())
            elif isinstance(thing, _LOOKED_INTO) or (deep and not isinstance(thing, _SHARED)):
                next_layer.extend(gc.get_referents(thing)[:_OBJECTS_MAX])
        layer = next_layer[:_OBJECTS_MAX]
    return False
