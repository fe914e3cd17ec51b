"""Python values as Arrow arrays, and the types that columns get from their values.

Arrow wants one type a column, known before the first byte. A column's type is the narrowest
that holds all values met so far:

- bool, float (double), text, bytes (binary), date (date32), timedelta (duration, µs); int is
  int64, beyond that decimal128(38, 0); Decimal is decimal128(38, s), s being the most decimals met;
- datetime is timestamp (µs); with a zone it is the instant, in UTC; time is time64 (µs);
- UUID is text; an Enum is its value; None is null in any column;
- list and tuple are list, dict and dataclass are struct, to any depth;
- a column of None alone is null; ints and floats together are double, if no int loses a digit;
  ints and Decimals together are decimal128.

Everything else is a `Misfit`, which the encoder makes a RowError of.
"""

from __future__ import annotations

import datetime
import decimal
import numbers
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any

from unspool._optional import require
from unspool.errors import shown

__all__ = ["Column", "Misfit", "pyarrow", "size_bits"]

# Arrow's decimal128 has 38 digits, as Parquet's and DuckDB's; wider ones few readers know.
_DIGITS = 38
_INT64 = range(-(2**63), 2**63)

# A row of text, bytes or a list costs an offset beside its content.
_OFFSET_BITS = 32


# What pyarrow raises for a value that it does not take; its own exceptions are among these.
_REFUSED = (ValueError, TypeError, OverflowError)


@cache
def pyarrow() -> Any:
    """The package; MissingExtra if it is not installed."""
    package = require("pyarrow", extra="arrow")
    package.array([])  # Loads pandas, if that is there: now, and not while a loop waits.
    return package


class Misfit(Exception):
    """The value at `index` of those that came together cannot stand in its column."""

    index = 0
    value: object = None


class Column:
    """One column of the rows that are held: its values as arrays, and the type they need.

    The type of a column widens with its values until the column is `fixed`. A type that the
    user has chosen is `given`: pyarrow converts to it as it sees fit.
    """

    def __init__(self, name: str, given: Any = None) -> None:
        self.name = name
        self.type = given if given is not None else pyarrow().null()
        self.fixed = given is not None
        self._given = given is not None
        self._blocks: list[Any] = []
        self._parts: list[Any] = []
        self.bits = 0

    def copy(self) -> Column:
        """The same, for an attempt that may fail."""
        other = copy(self)
        other._blocks, other._parts = self._blocks.copy(), self._parts.copy()
        return other

    def add(self, values: Sequence[Any]) -> None:
        """Takes these values, and widens the type if need be; or takes none.

        Raises:
            Misfit: a value that no type holds together with those before.
        """
        try:
            self._add(values)
        except Misfit:
            trial = self.copy()
            for index, value in enumerate(values):
                try:
                    trial._add([value])
                except Misfit as misfit:
                    misfit.index = index
                    misfit.value = value
                    raise
            raise

    def _add(self, values: Sequence[Any]) -> None:
        array = self._quick_array(values)
        if array is None:
            kind = self.type if self._given else self._widened(values)
            array = _array([_plain(value) for value in values], kind)
            if kind != self.type:
                self._recast(kind, values)
        self.add_array(array)

    def add_array(self, array: Any) -> None:
        """Takes an array of the column's type."""
        self._parts.append(array)

    def end_block(self) -> None:
        """Makes one array of many small ones, and measures it."""
        if self._parts:
            block = (
                self._parts[0] if len(self._parts) == 1 else pyarrow().concat_arrays(self._parts)
            )
            self._blocks.append(block)
            self._parts.clear()
            self.bits += size_bits(block)

    def take(self) -> Any:
        """All values that are held, in one array. The type stays what it is from now on."""
        self.end_block()
        arrays = self._blocks or [pyarrow().array([], type=self.type)]
        self._blocks = []
        self.bits = 0
        self.fixed = True
        return _joined(arrays)

    def _quick_array(self, values: Sequence[Any]) -> Any:
        """The array that pyarrow makes of these values as they are, if it keeps their meaning."""
        if self._given or self._fits_as_it_is(values):
            with suppress(*_REFUSED):
                return pyarrow().array(values, type=self.type)
        return None

    def _fits_as_it_is(self, values: Sequence[Any]) -> bool:
        """Whether pyarrow takes these without changing their meaning, or refuses them."""
        kinds = set(map(type, values))
        kinds.discard(type(None))
        if kinds == {datetime.datetime}:
            return {_datetime(value) for value in values if value is not None} == {self.type}
        return kinds <= _taken_as_they_are().get(self.type, frozenset())

    def _widened(self, values: Sequence[Any]) -> Any:
        """The type that holds these values as well."""
        wider = self.type
        for value in values:
            kind = _type_of(value)
            before, wider = wider, _wider(wider, kind)
            if wider is None or (self.fixed and wider != self.type):
                raise Misfit(f"{shown(value)} is {_a(kind)}, but the column is {_a(before)}")
        return wider

    def _recast(self, kind: Any, values: Sequence[Any]) -> None:
        """Makes what is held an array of the wider type `kind`, which these values need."""
        try:
            self._blocks = [_cast(block, kind) for block in self._blocks]
            self._parts = [_cast(part, kind) for part in self._parts]
        except ValueError as error:
            raise Misfit(
                f"{shown(values[0])} makes the column {kind}, and a value before it does not fit: "
                f"{error}"
            ) from error
        self.type = kind


def _joined(arrays: list[Any]) -> Any:
    return arrays[0] if len(arrays) == 1 else pyarrow().concat_arrays(arrays)


def _array(values: list[Any], kind: Any) -> Any:
    try:
        return pyarrow().array(values, type=kind)
    except _REFUSED as error:
        raise Misfit(f"{shown(values[0])} does not fit {_a(kind)}: {error}") from error


def _cast(array: Any, kind: Any) -> Any:
    if pyarrow().types.is_nested(kind):
        return pyarrow().array(array.to_pylist(), type=kind)
    return array.cast(kind)


def size_bits(array: Any) -> int:
    """The content of an array in bits: the same however its rows were cut into arrays.

    (`nbytes` counts bitmaps of nulls, which a slice has and a copy of it may lack.)
    """
    pa = pyarrow()
    kind, types = array.type, pa.types
    if types.is_null(kind):
        return 0
    if types.is_dictionary(kind):
        return size_bits(array.indices)
    if isinstance(array, pa.ExtensionArray):
        return size_bits(array.storage)
    if types.is_struct(kind):
        return sum(map(size_bits, array.flatten()))
    if types.is_list(kind) or types.is_large_list(kind):
        return len(array) * _OFFSET_BITS + size_bits(array.flatten())
    if kind in _texts():
        compute = require("pyarrow.compute", extra="arrow")
        content = compute.sum(compute.binary_length(array)).as_py() or 0
        return len(array) * _OFFSET_BITS + 8 * int(content)
    try:
        return len(array) * int(kind.bit_width)
    except ValueError:
        return 8 * int(array.nbytes)


@cache
def _texts() -> frozenset[Any]:
    pa = pyarrow()
    return frozenset({pa.string(), pa.large_string(), pa.binary(), pa.large_binary()})


@cache
def _utc() -> Any:
    return pyarrow().timestamp("us", tz="UTC")


@cache
def _naive() -> Any:
    return pyarrow().timestamp("us")


@cache
def _simple_types() -> dict[type, Any]:
    """The Arrow types of values whose Python type says it all."""
    pa = pyarrow()
    binary = pa.binary()
    return {
        type(None): pa.null(),
        bool: pa.bool_(),
        float: pa.float64(),
        str: pa.string(),
        bytes: binary,
        bytearray: binary,
        memoryview: binary,
        datetime.date: pa.date32(),
        datetime.timedelta: pa.duration("us"),
        uuid.UUID: pa.string(),
    }


@cache
def _taken_as_they_are() -> dict[Any, frozenset[type]]:
    """For each Arrow type the Python types that pyarrow takes, whole or not at all."""
    pa = pyarrow()
    return {
        pa.null(): frozenset(),
        pa.bool_(): frozenset({bool}),
        pa.int64(): frozenset({int}),
        pa.float64(): frozenset({int, float}),
        pa.string(): frozenset({str}),
        pa.binary(): frozenset({bytes, bytearray, memoryview}),
        pa.date32(): frozenset({datetime.date}),
        pa.duration("us"): frozenset({datetime.timedelta}),
    }


def _type_of(value: Any) -> Any:
    """The narrowest Arrow type that holds `value`."""
    simple = _simple_types().get(type(value))
    if simple is not None:
        return simple
    if isinstance(value, Enum):
        return _type_of(value.value)
    for kind, type_of in _TYPES_OF:
        if isinstance(value, kind):
            return type_of(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _struct({field.name: getattr(value, field.name) for field in fields(value)})
    return _refuse(value)


def _refuse(value: Any) -> Any:
    raise Misfit(f"{shown(value)}, a {type(value).__name__}, has no Arrow type")


def _int(value: int) -> Any:
    if value in _INT64:
        return pyarrow().int64()
    return _decimal(decimal.Decimal(int(value)))


def _decimal(value: decimal.Decimal) -> Any:
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise Misfit(f"{shown(value)} is no number")
    decimals = max(0, -exponent)
    if max(len(digits) + exponent, 0) + decimals > _DIGITS:
        raise Misfit(f"{shown(value)} has more than {_DIGITS} digits")
    return pyarrow().decimal128(_DIGITS, decimals)


def _datetime(value: datetime.datetime) -> Any:
    return _naive() if value.tzinfo is None else _utc()


def _time(value: datetime.time) -> Any:
    if value.tzinfo is not None:
        raise Misfit(f"{shown(value)} is a time of a zone, which Arrow does not have")
    return pyarrow().time64("us")


def _struct(value: Mapping[Any, Any]) -> Any:
    if not value or not all(isinstance(name, str) for name in value):
        raise Misfit(f"{shown(value)} is a dict without keys, or with keys that are no text")
    return pyarrow().struct([(name, _type_of(inner)) for name, inner in value.items()])


def _list(value: Sequence[Any]) -> Any:
    inner = pyarrow().null()
    for each in value:
        wider = _wider(inner, _type_of(each))
        if wider is None:
            raise Misfit(f"{shown(each)} does not go with what stands before it in its list")
        inner = wider
    return pyarrow().list_(inner)


# In this order: a datetime is a date too.
_TYPES_OF: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (str, lambda _: pyarrow().string()),
    (numbers.Integral, _int),
    (decimal.Decimal, _decimal),
    (numbers.Rational, _refuse),
    (numbers.Real, lambda _: pyarrow().float64()),
    (datetime.datetime, _datetime),
    (datetime.date, lambda _: pyarrow().date32()),
    (datetime.time, _time),
    (Mapping, _struct),
    ((list, tuple), _list),
)


def _wider(a: Any, b: Any) -> Any:
    """The narrowest type that holds what `a` and `b` hold; None if there is none."""
    pa = pyarrow()
    types = pa.types
    if a == b or types.is_null(b):
        return a
    if types.is_null(a):
        return b
    kinds = {a.id, b.id}
    if kinds == {pa.int64().id, pa.float64().id}:
        return pa.float64()
    if kinds <= {pa.int64().id, pa.decimal128(1).id}:
        scales = [kind.scale for kind in (a, b) if types.is_decimal(kind)]
        return pa.decimal128(_DIGITS, max(scales))
    if types.is_list(a) and types.is_list(b):
        inner = _wider(a.value_type, b.value_type)
        return None if inner is None else pa.list_(inner)
    if types.is_struct(a) and types.is_struct(b):
        return _wider_struct(a, b)
    return None


def _wider_struct(a: Any, b: Any) -> Any:
    """All fields of both; a struct that lacks one has null there."""
    inner = {field.name: field.type for field in a}
    for field in b:
        inner[field.name] = _wider(inner.get(field.name, pyarrow().null()), field.type)
        if inner[field.name] is None:
            return None
    return pyarrow().struct(list(inner.items()))


def _plain(value: Any) -> Any:
    """`value` as pyarrow knows it, inside of lists and dicts too."""
    if type(value) in _simple_types():
        return str(value) if isinstance(value, uuid.UUID) else value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _a(kind: Any) -> str:
    """A type with its article, for a message."""
    name = str(kind)
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
