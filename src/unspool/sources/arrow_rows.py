"""Rows of pyarrow's record batches, where there is no kernel: the values that it would make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unspool._optional import require
from unspool.errors import shown
from unspool.sources.arrow_values import interval, maker, refused

__all__ = ["arrow_rows"]

_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def arrow_rows(batch: Any) -> list[tuple[Any, ...]]:
    """The rows of a record batch of pyarrow's.

    Raises:
        RowError: a value that Python does not have.
    """
    names = batch.schema.names
    columns = [_values(name, batch.column(at)) for at, name in enumerate(names)]
    return list(zip(*columns, strict=True)) if columns else [()] * batch.num_rows


def _values(name: str, column: Any) -> list[Any]:
    types = require("pyarrow", extra="arrow").types
    if any(is_plain(column.type) for is_plain in _plain(types)):
        return column.to_pylist()  # type: ignore[no-any-return]
    values = []
    for index, scalar in enumerate(column):
        try:
            values.append(_value(types, scalar))
        except Exception as error:
            raise refused(error, index, name) from error
    return values


def _plain(types: Any) -> Sequence[Callable[[Any], bool]]:
    """The types of whose values pyarrow and the kernel never think differently."""
    return types.is_integer, types.is_floating, types.is_boolean, types.is_binary, types.is_null


def _value(types: Any, scalar: Any) -> Any:
    """A scalar's value, whatever its type."""
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _value(types, scalar.value)
    if types.is_nested(kind):
        return _nested(types, scalar)
    if types.is_timestamp(kind):
        return maker("timestamp", _DIGITS[kind.unit], kind.tz)(scalar.value)
    if types.is_time(kind) or types.is_duration(kind):
        name = "time" if types.is_time(kind) else "duration"
        return maker(name, _DIGITS[kind.unit], None)(scalar.value)
    value = scalar.as_py()
    return interval(*value) if types.is_interval(kind) else value


def _nested(types: Any, scalar: Any) -> Any:
    kind = scalar.type
    if types.is_union(kind):
        return _value(types, scalar.value)
    if types.is_struct(kind):
        entries = [(field.name, _value(types, scalar[at])) for at, field in enumerate(kind)]
        return _dict_of(entries, "field")
    if types.is_map(kind):
        entries = [(_value(types, e[0]), _value(types, e[1])) for e in scalar.values]
        return _dict_of(entries, "key")
    return [_value(types, item) for item in scalar.values]


def _dict_of(entries: Sequence[tuple[Any, Any]], what: str) -> dict[Any, Any]:
    made = dict(entries)
    if len(made) < len(entries):
        raise ValueError(f"a {what} stands twice in {shown(entries)}")
    return made
