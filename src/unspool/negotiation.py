"""Which of several formats a request gets (RFC 9110 §12.5.1).

The first of these that says something decides: `?format=NAME`, the suffix of the path, and
Accept. What it says must be among the formats that the view allows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qs

from unspool.errors import NotAcceptable, UsageError
from unspool.formats import find, suffixes
from unspool.headers import Asked
from unspool.types import Format

__all__ = ["check_formats", "chosen_format", "name_of", "named_file"]

# `type/subtype` (RFC 9110 §12.5.1), and a weight (§12.4.2).
_KIND = re.compile(r"([!#$%&'*+.^_`|~0-9a-z-]+)/([!#$%&'*+.^_`|~0-9a-z-]+)")
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def check_formats(formats: Sequence[str | Format]) -> None:
    """Raises UsageError if `formats` is no choice, or one in which two could not be told apart."""
    if isinstance(formats, str) or not formats:
        raise UsageError(f"formats must be a sequence such as ['csv', 'json']; got {formats!r}.")
    names = [_names(format)[0] for format in formats]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"formats has {name!r} twice, which no request could tell apart.")
        if name == "zip":
            raise UsageError("formats has 'zip', whose rows are members, not rows of the others.")


def name_of(format: str | Format) -> str:
    """What a request calls it: its name in the table of formats, or its suffix without the dot."""
    return format if isinstance(format, str) else find(format).suffix.removeprefix(".")


def chosen_format(formats: Sequence[str | Format], asked: Asked) -> str | Format:
    """The one of `formats` that this request gets; of equals the first.

    A format that Accept names wins over one that a wildcard allows, at the same weight.

    Raises:
        NotAcceptable: none of them.

    >>> chosen_format(["csv", "ndjson"], Asked(accept="application/x-ndjson, text/csv;q=0.5"))
    'ndjson'
    >>> chosen_format(["csv", "ndjson"], Asked(accept="application/x-ndjson", query="format=csv"))
    'csv'
    """
    wanted = parse_qs(asked.query).get("format")
    if wanted:
        return _only(formats, [each for each in formats if wanted[0].lower() in _names(each)])
    file = asked.path.rpartition("/")[2].lower()
    if file.endswith((*_suffixes(formats), *suffixes())):
        return _only(formats, [each for each in formats if file.endswith(find(each).suffix)])
    ranges = _ranges(asked.accept or "")
    if not ranges:
        return formats[0]
    fits = [_fit(find(format).media_type, ranges) for format in formats]
    best = max(fits)
    if best.weight == 0:
        raise _not_acceptable(formats)
    return formats[fits.index(best)]


def named_file(filename: str, format: str | Format, formats: Sequence[str | Format] | None) -> str:
    """`filename` with the suffix of the format, if it has none, or that of another choice.

    >>> named_file("flights", "csv", None), named_file("flights.txt", "csv", None)
    ('flights.csv', 'flights.txt')
    >>> named_file("flights.csv", "ndjson", ["csv", "ndjson"])
    'flights.ndjson'
    """
    suffix = find(format).suffix
    if formats is None:
        return filename if "." in filename else filename + suffix
    for each in formats:
        filename = filename.removesuffix(find(each).suffix)
    return filename + suffix


class _Range(NamedTuple):
    """One member of Accept."""

    kind: str
    subtype: str
    parameters: frozenset[tuple[str, str]]
    weight: float


class _Fit(NamedTuple):
    """How well a media type fits: by weight, then by how closely it was named."""

    weight: float
    named: tuple[bool, bool, int]


def _ranges(accept: str) -> list[_Range]:
    """The members of Accept; malformed ones are passed over.

    So are those with a comma or semicolon in a quoted string, which no media type of ours has.
    """
    found = map(_range, accept.lower().split(","))
    return [each for each in found if each is not None]


def _range(member: str) -> _Range | None:
    kinds, *rest = (part.strip(" \t") for part in member.split(";"))
    kind = _KIND.fullmatch(kinds)
    pairs = [part.partition("=")[::2] for part in rest if part]
    weights = [value for name, value in pairs if name == "q"]
    if kind is None or kind[1] == "*" != kind[2] or not all(map(_WEIGHT.fullmatch, weights)):
        return None
    parameters = frozenset((name, value.strip('"')) for name, value in pairs if name != "q")
    return _Range(kind[1], kind[2], parameters, float(weights[0]) if weights else 1.0)


def _fit(media_type: str, ranges: Sequence[_Range]) -> _Fit:
    """The weight of the closest range that has `media_type`; 0 if none has."""
    own = _range(media_type.lower())
    if own is None:
        return _Fit(0.0, (False, False, 0))
    fits = [
        _Fit(each.weight, (each.kind != "*", each.subtype != "*", len(each.parameters)))
        for each in ranges
        if each.kind in {"*", own.kind}
        and each.subtype in {"*", own.subtype}
        and each.parameters <= own.parameters
    ]
    return max(fits, key=lambda fit: fit.named, default=_Fit(0.0, (False, False, 0)))


def _names(format: str | Format) -> tuple[str, str]:
    return name_of(format), find(format).suffix.removeprefix(".")


def _suffixes(formats: Sequence[str | Format]) -> list[str]:
    return [find(format).suffix for format in formats]


def _only(formats: Sequence[str | Format], found: list[str | Format]) -> str | Format:
    if not found:
        raise _not_acceptable(formats)
    return found[0]


def _not_acceptable(formats: Sequence[str | Format]) -> NotAcceptable:
    return NotAcceptable([(name_of(format), find(format).media_type) for format in formats])
