"""Unspool streams answers of any size from Python web apps."""

from unspool.errors import (
    EmptySource,
    MissingExtra,
    NotIterable,
    OutsideContext,
    RowError,
    SourceError,
    StreamError,
    TooLate,
    UnknownFormat,
    UnspoolError,
    UsageError,
    WouldBuffer,
)
from unspool.formats.csv import Csv
from unspool.formats.json import Json, Ndjson
from unspool.formats.text import Text
from unspool.stream import Stream

__all__ = [
    "Csv",
    "EmptySource",
    "Json",
    "MissingExtra",
    "Ndjson",
    "NotIterable",
    "OutsideContext",
    "RowError",
    "SourceError",
    "Stream",
    "StreamError",
    "Text",
    "TooLate",
    "UnknownFormat",
    "UnspoolError",
    "UsageError",
    "WouldBuffer",
]
