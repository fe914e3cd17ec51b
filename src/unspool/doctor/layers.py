"""The layers of an app: middlewares around middlewares around a framework.

A layer is asked alone: the probe takes the place of what is below it, for as long as that lasts,
in the attribute or closure where it keeps that. So what is found is the layer's own doing.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import CellType, FunctionType, MethodType
from typing import Any, Protocol

from unspool.client import is_asgi
from unspool.doctor.measure import Standing
from unspool.doctor.probe import Probe

__all__ = [
    "Layer",
    "Slot",
    "Stack",
    "cell_of",
    "find_slot",
    "is_a",
    "name_of",
    "patched",
    "plain_layer",
    "under",
]

# Where middlewares keep the next application, by name.
_NAMES = (
    "app",
    "wsgi_app",
    "asgi_app",
    "application",
    "get_response",
    "wrapped",
    "inner",
    "next_app",
    "wsgi",
    "asgi",
    "func",
    "fn",
    "f",
)

_ARGUMENTS = (2, 3)


@dataclass(frozen=True)
class Layer:
    """A layer: its name, and how to ask it, alone, with a probe below it.

    `fallbacks` ask it with more around it, for layers that cannot do alone. `kinds` are names of
    what it derives from.
    """

    name: str
    alone: Standing
    asgi: bool
    fallbacks: Sequence[Standing] = ()
    kinds: Sequence[str] = ()


@dataclass
class Stack:
    """All layers, outermost first, and how to ask them together; None if there is no way."""

    layers: list[Layer] = field(default_factory=list)
    together: Standing | None = None


class Slot(Protocol):
    """Where a layer keeps what is below it."""

    def get(self) -> Any:
        """What is there."""
        ...

    def put(self, value: Any) -> AbstractContextManager[None]:
        """Something else, for a while."""
        ...


@contextmanager
def patched(target: Any, **values: Any) -> Iterator[None]:
    """`target` with other attributes, for a while."""
    missing = object()
    old = {name: _own(target).get(name, missing) for name in values}
    try:
        for name, value in values.items():
            setattr(target, name, value)
        yield
    finally:
        for name, value in old.items():
            if value is missing:
                delattr(target, name)
            else:
                setattr(target, name, value)


def _own(target: Any) -> dict[str, Any]:
    slots = [name for kind in type(target).__mro__ for name in getattr(kind, "__slots__", ())]
    own = {name: getattr(target, name) for name in slots if hasattr(target, name)}
    return {**own, **getattr(target, "__dict__", {})}


@dataclass(frozen=True)
class _Attribute:
    owner: Any
    name: str

    def get(self) -> Any:
        return getattr(self.owner, self.name)

    @contextmanager
    def put(self, value: Any) -> Iterator[None]:
        old = self.get()
        setattr(self.owner, self.name, value)
        try:
            yield
        finally:
            setattr(self.owner, self.name, old)


@dataclass(frozen=True)
class _Cell:
    cell: CellType

    def get(self) -> Any:
        return self.cell.cell_contents

    @contextmanager
    def put(self, value: Any) -> Iterator[None]:
        old = self.get()
        self.cell.cell_contents = value
        try:
            yield
        finally:
            self.cell.cell_contents = old


def cell_of(function: FunctionType, value: Any) -> Slot | None:
    """The cell of a closure that holds `value`."""
    cells = map(_Cell, function.__closure__ or ())
    return next((cell for cell in cells if cell.get() is value), None)


def is_a(value: Any, module: str, name: str) -> bool:
    """Whether it is one, without an import: if nobody has imported the module, it is not.

    By its type: a proxy around one says that it is one, too.
    """
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and issubclass(type(value), kind)


def find_slot(layer: Any) -> Slot | None:
    """Where `layer` keeps the application below it; None if it keeps none, as far as one can see.

    By the names that middlewares use, `_app` like `app`; else, what takes the arguments of an
    application.
    """
    if hasattr(type(layer), "__wrapped__"):  # A proxy, whose other attributes are the wrapped's.
        return _Attribute(layer, "__wrapped__")
    slots: dict[str, Slot]
    if isinstance(layer, FunctionType):
        names = layer.__code__.co_freevars
        slots = {n: _Cell(cell) for n, cell in zip(names, layer.__closure__ or (), strict=True)}
    else:
        slots = {name: _Attribute(layer, name) for name in _own(layer)}
    below = {name.lstrip("_"): slot for name, slot in slots.items() if _is_below(slot, layer)}
    named = [below[name] for name in _NAMES if name in below]
    return next(iter([*named, *(slot for slot in below.values() if _takes_request(slot))]), None)


def _is_below(slot: Slot, layer: Any) -> bool:
    try:
        value = slot.get()
    except (AttributeError, ValueError):  # An empty cell.
        return False
    return callable(value) and not isinstance(value, type) and _owner(value) is not layer


def _owner(value: Any) -> Any:
    return value.__self__ if type(value) is MethodType else None


def _takes_request(slot: Slot) -> bool:
    try:
        parameters = inspect.signature(slot.get()).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [each for each in parameters if each.default is each.empty]
    return len(needed) in _ARGUMENTS and all(
        each.kind is each.POSITIONAL_OR_KEYWORD for each in needed
    )


def name_of(layer: Any) -> str:
    """A layer's class and module; of a function, the name that it was written under."""
    function = layer.__func__ if type(layer) is MethodType else layer
    if isinstance(function, FunctionType):  # Not __qualname__: that of the wrapped one, often.
        name = f"{function.__globals__['__name__']}.{function.__code__.co_qualname}"
        return name.replace(".<locals>", "")
    kind = type(layer)
    name = f"{kind.__module__}.{kind.__qualname__}".replace(".<locals>", "")
    dispatch = _own(layer).get("dispatch_func")  # Starlette's BaseHTTPMiddleware.
    return f"{name} ({name_of(dispatch)})" if type(dispatch) is FunctionType else name


def plain_layer(layer: Any, slot: Slot) -> Layer:
    """A layer that keeps the application below it in `slot`."""
    kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(layer).__mro__]
    return Layer(name_of(layer), under(layer, slot), is_asgi(layer), kinds=kinds)


def under(outermost: Any, slot: Slot) -> Standing:
    """The probe in `slot`, below all that there is between it and `outermost`."""
    below_is_asgi = is_asgi(slot.get())

    @contextmanager
    def standing(probe: Probe) -> Iterator[Any]:
        with slot.put(probe.app(asgi=below_is_asgi)):
            yield outermost

    return standing
