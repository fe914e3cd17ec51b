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

_BOUND = (
    ("sqlite3", "Connection"),
    ("sqlite3", "Cursor"),
    ("django.db.backends.base.base", "BaseDatabaseWrapper"),
)

# These lead to everything else in the process.
_SHARED = (ModuleType, type, CodeType, FrameType)

# Enough for a generator of a generator of a cursor, and few enough to cost microseconds.
_DEPTH = 8
_OBJECTS_MAX = 2000

# Long lists hold data, all of one kind: some of their items tell.
_ITEMS_MAX = 50


def is_thread_bound(*roots: object, deep: bool = False) -> bool:
    """Whether something that must stay on its thread can be reached from `roots`.

    Such are sqlite3's connections and cursors, and Django's database connections: they refuse
    to be used on another thread than the one that made them. Looks through generators,
    closures and containers; and, if `deep`, through any object.
    """
    if any(getattr(root, "thread_bound", None) is True for root in roots):
        return True  # A reader of batches that says so itself.
    bound = tuple(
        getattr(sys.modules[module], name) for module, name in _BOUND if module in sys.modules
    )
    if not bound:
        return False
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
                most = _ITEMS_MAX if isinstance(thing, (list, tuple)) else _OBJECTS_MAX
                next_layer.extend(gc.get_referents(thing)[:most])
        layer = next_layer[:_OBJECTS_MAX]
    return False
