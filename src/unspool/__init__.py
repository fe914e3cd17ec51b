"""Unspool streams answers of any size from Python web apps."""

from unspool.errors import (
    BrokenApp,
    Cancelled,
    DeadlineExceeded,
    EmptySource,
    LengthMismatch,
    MemberError,
    MissingExtra,
    NotAcceptable,
    NotIterable,
    OutsideContext,
    RowError,
    SourceError,
    StreamError,
    TooLate,
    UnknownFormat,
    UnspoolError,
    UsageError,
    UsedTwice,
    WouldBuffer,
)
from unspool.formats.arrow import Arrow
from unspool.formats.csv import Csv
from unspool.formats.html import Html
from unspool.formats.json import Json, Ndjson
from unspool.formats.markdown import Markdown
from unspool.formats.parquet import Parquet
from unspool.formats.sse import Event, Sse
from unspool.formats.text import Text
from unspool.formats.tsv import Tsv
from unspool.formats.xlsx import Xlsx
from unspool.formats.xml import Xml
from unspool.formats.zip import Member, Zip
from unspool.stream import Stream
from unspool.verdict import Verdict, verify

__all__ = [
    "Arrow",
    "BrokenApp",
    "Cancelled",
    "Csv",
    "DeadlineExceeded",
    "EmptySource",
    "Event",
    "Html",
    "Json",
    "LengthMismatch",
    "Markdown",
    "Member",
    "MemberError",
    "MissingExtra",
    "Ndjson",
    "NotAcceptable",
    "NotIterable",
    "OutsideContext",
    "Parquet",
    "RowError",
    "SourceError",
    "Sse",
    "Stream",
    "StreamError",
    "Text",
    "TooLate",
    "Tsv",
    "UnknownFormat",
    "UnspoolError",
    "UsageError",
    "UsedTwice",
    "Verdict",
    "WouldBuffer",
    "Xlsx",
    "Xml",
    "Zip",
    "verify",
]
