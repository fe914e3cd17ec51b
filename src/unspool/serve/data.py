"""The URLs of data: what there is, and the rows of tables and statements."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, Response, current_app, request

from unspool.connection import LEAVING
from unspool.errors import TooManyBytes, UnspoolError, shown
from unspool.flask import stream
from unspool.formats import FORMATS as ALL_FORMATS
from unspool.formats import find, suffixes
from unspool.serve.engines.base import Engine
from unspool.serve.families import Family
from unspool.serve.openapi import openapi
from unspool.serve.problems import (
    BadParameter,
    BadStatement,
    BeyondLimit,
    NotAcceptable,
    NotFound,
    Problem,
    SourceFailed,
    SourceLost,
)
from unspool.serve.reading import LimitedReader, one_value
from unspool.serve.selection import Selection
from unspool.serve.serving import serving
from unspool.serve.settings import Limits
from unspool.serve.statement import check

__all__ = ["FORMATS", "data", "find_source", "lost"]

FORMATS = {
    "csv": ("csv", "CSV"),
    "xlsx": ("xlsx", "Excel"),
    "parquet": ("parquet", "Parquet"),
    "ndjson": ("ndjson", "JSON lines"),
    "json": ("json", "JSON"),
    "arrow": ("arrow", "Arrow"),
    "tsv": ("tsv", "Tab-separated"),
    "html": ("html", "HTML"),
    "md": ("markdown", "Markdown"),
    "xml": ("xml", "XML"),
}
"""By the suffix of a URL: the name of the format, and how people call it; theirs come first."""
# What a format has a form for, beside text, whole numbers, dates and times; JSON has no NaN.
_FLOATS = {Family.SINGLE, Family.FLOAT}
_CARRIED = {
    "json": {Family.NESTED},
    "ndjson": {Family.NESTED},
    "parquet": {Family.NESTED, Family.BINARY, *_FLOATS},
    "arrow": {Family.NESTED, Family.BINARY, *_FLOATS},
}

_STREAM_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")

# What a file name cannot have: see `unspool.headers.content_disposition`.
_NOT_IN_FILENAMES = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_FILENAME_CHARS_MAX = 60

data = Blueprint("data", __name__)

# What there is ---------------------------------------------------------------------------------


@data.get("/-/health")
def health() -> dict[str, str]:
    """That the server answers."""
    _parameters(())
    return {"status": "ok"}


@data.get("/-/openapi.json")
def openapi_json() -> dict[str, Any]:
    """The description of all this."""
    _parameters(())
    media_types = {suffix: find(name).media_type for suffix, (name, _) in FORMATS.items()}
    sources = serving().sources.values()
    return openapi(media_types, {each.name: [t.name for t in each.tables()] for each in sources})


@data.get("/-/sources.json")
def sources_json() -> dict[str, Any]:
    """All that is served."""
    _parameters(())
    settings = serving().settings
    return {
        "sources": [_described(source) for source in serving().sources.values()],
        "formats": [
            {"suffix": suffix, "media_type": find(name).media_type, "label": label}
            for suffix, (name, label) in FORMATS.items()
        ],
        "limits": {
            "rows": settings.max_rows,
            "bytes": settings.max_bytes,
            "seconds": settings.max_seconds,
        },
    }


def _described(source: Engine) -> dict[str, Any]:
    return {
        "name": source.name,
        "kind": source.kind,
        "tables": [
            {
                "name": table.name,
                "kind": table.kind,
                "columns": [{"name": each.name, "type": each.type} for each in table.columns],
            }
            for table in source.tables()
        ],
    }


def find_source(name: str) -> Engine:
    """The source of this name.

    Raises:
        NotFound: there is none.
    """
    sources = serving().sources
    if name not in sources:
        raise NotFound(f"there is no source {shown(name)}. /-/sources.json lists them.")
    return sources[name]


# Data ------------------------------------------------------------------------------------------


@data.get("/<source>/<path:file>")
def table_data(source: str, file: str) -> Response:
    """The rows of a table."""
    engine = find_source(source)
    name, format = _format(file)
    selection = Selection.of(engine.table(name), _parameters(None))
    query = engine.select(selection, _CARRIED.get(format, _FLOATS))
    limits = serving().settings.limits(statement=False)

    def too_many(most: int) -> bool:
        if selection.limit is not None and selection.limit <= most:
            return False
        sql, values = engine.count(selection, most + 1)
        return int(_ask(engine, sql, values, limits)) > most

    def reader() -> Any:
        return engine.query(*query, limits.first_s)

    return _answer(engine, reader, too_many, limits, format, name, SourceFailed)


@data.get("/<source>/-/sql.<format>")
def statement_data(source: str, format: str) -> Response:
    """The rows of a statement."""
    engine = find_source(source)
    _, name = _format(f"sql.{format}")
    statement = check(_only("sql"), engine)
    limits = serving().settings.limits(statement=True)

    def too_many(most: int) -> bool:
        # Counted before, up to one more than is allowed: the one way that is exact in every
        # database. Estimates (EXPLAIN) are wrong by any factor, and SQLite has none. It costs what
        # the statement costs, but no more than the limit's rows of it.
        if statement.limit is not None and statement.limit <= most:
            return False
        return int(_ask(engine, engine.count_of(statement.sql, most + 1), None, limits)) > most

    def reader() -> Any:
        return engine.statement(statement.sql, limits.first_s)

    return _answer(engine, reader, too_many, limits, name, f"{source}-query", BadStatement)


@data.get("/-/count/<source>/<path:file>")
def count_json(source: str, file: str) -> dict[str, Any]:
    """The number of rows of a table."""
    engine = find_source(source)
    name, suffix = file.rpartition(".")[::2]
    if suffix != "json":
        raise NotFound(f"{shown(file)} does not end in .json, as counts do.")
    selection = Selection.of(engine.table(name), _parameters(None))
    if not selection.is_filter:
        raise BadParameter("a count takes filters alone: COLUMN__OPERATOR=VALUE.")
    limits = serving().settings.limits(statement=False)
    leave = serving().clients.enter(_client())
    try:
        rows = _ask(engine, *engine.count(selection), limits)
    except Exception as error:
        raise _explained(engine, error, SourceFailed) from error
    finally:
        leave()
    return {"rows": int(rows), "exact": True}


def _answer(
    engine: Engine,
    reader: Callable[[], Any],
    too_many: Callable[[int], bool],
    limits: Limits,
    format: str,
    name: str,
    failed: type[Problem],
) -> Response:
    """The rows as the answer, unless they are known to be too many."""
    shared = serving()
    shared.courtesy.give_way()
    leave = shared.clients.enter(_client())
    try:
        if limits.rows is not None and request.method != "HEAD" and too_many(limits.rows):
            raise BeyondLimit(
                f"the answer has more rows than {limits.rows}, which is the limit. Filter, or ask "
                "for fewer."
            )
        rows: Any = LimitedReader(
            reader(),
            shared.alarms,
            rows=limits.rows,
            first_s=limits.first_s,
            all_s=limits.all_s,
            give_way=shared.courtesy.give_way,
        )
        _cancel_if_left(rows)
        return stream(
            rows,
            format,
            filename=_filename(name) + find(format).suffix,
            compress=True,
            max_bytes=limits.bytes,
            on_close=lambda *_: leave(),
        )
    except Exception as error:
        leave()
        raise _explained(engine, error, failed) from error


def _explained(engine: Engine, error: Exception, failed: type[Problem]) -> Problem:
    """What to say of a failure before the first byte."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, TooManyBytes):
        return BeyondLimit(str(error))
    if engine.is_lost(error):
        return lost(error)
    if engine.is_late(error):
        return BeyondLimit(f"the database has stopped the query: {error}. Filter, or ask for less.")
    if failed is SourceFailed and not isinstance(error, UnspoolError):
        # What the database says can tell where its files are.
        current_app.logger.warning("a table cannot be read", exc_info=error)
        return SourceFailed(f"{engine.name} cannot be read. The server's log has the reason.")
    return failed(f"{engine.name} failed: {' '.join(str(error).split()) or type(error).__name__}")


def _ask(engine: Engine, sql: str, values: Any, limits: Limits) -> Any:
    """The one value that a query gives."""
    reader = (
        engine.statement(sql, limits.first_s)
        if values is None
        else engine.query(sql, values, limits.first_s)
    )
    limited = LimitedReader(reader, serving().alarms, rows=None, first_s=limits.first_s, all_s=None)
    _cancel_if_left(limited)
    return one_value(limited)


def _cancel_if_left(reader: LimitedReader) -> None:
    """Ends the wait for the first row if the client leaves meanwhile."""
    leaving = request.environ.get(LEAVING)
    if leaving is not None:
        leaving.tell(reader.cancel)


def _client() -> str:
    """Who asks: all who have the token are one, as they are to the server."""
    return "token" if serving().settings.token else request.remote_addr or ""


def _format(file: str) -> tuple[str, str]:
    """The name before the last suffix, and the name of the format that the suffix stands for."""
    name, _, suffix = file.rpartition(".")
    if suffix in FORMATS:
        return name, FORMATS[suffix][0]
    listed = ", ".join(FORMATS)
    known = suffixes().get(f".{suffix}")
    if known in {name for name, _ in FORMATS.values()}:
        return name, str(known)  # As such files are called: .arrows
    if suffix in ALL_FORMATS or known:
        raise NotAcceptable(f"tables are not to be had as {shown(suffix)}. Formats are {listed}.")
    raise NotFound(f"{shown(file)} ends in the suffix of no format. Formats are {listed}.")


def _filename(name: str) -> str:
    safe = _NOT_IN_FILENAMES.sub("_", name)[:_FILENAME_CHARS_MAX].strip(" .")
    return safe or "data"


def _parameters(allowed: Sequence[str] | None) -> list[tuple[str, str]]:
    """The parameters of the request, without the name of its stream; with `allowed`, only those."""
    found = []
    for name, value in request.args.items(multi=True):
        if name == "_stream":
            if not _STREAM_ID.fullmatch(value):
                raise BadParameter(
                    f"_stream is {shown(value)}; it must be 8 to 64 letters, digits, - or _."
                )
        elif allowed is not None and name not in allowed:
            takes = ", ".join(allowed) or "none"
            raise BadParameter(f"there is no parameter {shown(name)} here; there is: {takes}.")
        else:
            found.append((name, value))
    return found


def _only(name: str) -> str:
    values = [value for _, value in _parameters([name])]
    if len(values) != 1:
        raise BadParameter(f"{name} must be there once; it is there {len(values)} times.")
    return values[0]


def lost(error: Exception) -> SourceLost:
    """What to say of a database that does not answer; the log has the reason."""
    current_app.logger.warning("a source does not answer: %s", error)
    return SourceLost("the database does not answer. Try again later.")
