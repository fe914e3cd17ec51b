"""Optional packages, imported on use."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

from unspool.errors import MissingExtra

__all__ = ["found", "require"]


def require(package: str, *, extra: str) -> ModuleType:
    """The imported `package`.

    Raises:
        MissingExtra: it is not installed; the message has the install command.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package.split(".", maxsplit=1)[0]:
            raise  # The package is there and lacks something of its own.
        raise MissingExtra(package, extra) from error


@cache
def found(package: str) -> ModuleType | None:
    """The imported `package`; None if it cannot be had. Looks once."""
    try:
        return import_module(package)
    except ImportError:
        return None
