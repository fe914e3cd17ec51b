"""The pages of `unspool serve`: sources and tables, one table, a statement.

They are rendered by the server and work without JavaScript. The shell of each leaves at once; row
counts and the first rows of a preview follow when the database has them. The script
(`static/page.js`) streams the rest of the preview as one scrolls, and follows downloads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from threading import Semaphore
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.routing import PathConverter

from unspool._optional import require
from unspool.flask import stream_template
from unspool.observe import unseen
from unspool.serve.catalog import Column, Table
from unspool.serve.data import FORMATS, find_source
from unspool.serve.engines.base import Engine
from unspool.serve.links import (
    OPERATORS,
    View,
    count_url,
    data_url,
    from_form,
    is_form,
    page_url,
    sql_data_url,
    sql_url,
)
from unspool.serve.preview import FIRST_ROWS, Shown, as_text, ask, first_rows, kind_of, refusal
from unspool.serve.problems import Problem
from unspool.serve.serving import serving
from unspool.serve.snippets import snippets
from unspool.templates import SCRIPT_HASH, TemplateStream, defer

__all__ = ["pages"]

pages = Blueprint(
    "pages",
    __name__,
    template_folder="templates",
    static_folder="static",
    static_url_path="/-/static",
)

_POLICY = (
    f"default-src 'self'; script-src 'self' '{SCRIPT_HASH}'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

# Where the reader of statements (sqlglot) stopped.
_POSITION = re.compile(r"\bLine \d+, Col: \d+")

# From so many tables on there is a field to search them.
_MANY_TABLES = 8

# The formats that have a button of their own; the others are behind a disclosure.
_COMMON = 4

# So many tables are counted for the page of all, so many at a time, and none waits longer for its
# turn: each that waits holds a thread, and a database that counts slowly has other things to do.
_COUNTED = 30
_COUNTS_AT_ONCE = 4
_TURN_S = 10


class _TableConverter(PathConverter):
    """A table's name and the slash that ends the path of its page.

    The slash belongs to it, or paths without one would be redirected here: they are of data,
    whose rule is tried after this one.
    """

    regex = "[^/].*?/"
    weight = PathConverter.weight - 50

    def to_python(self, value: str) -> str:
        """The name."""
        return value.removesuffix("/")

    def to_url(self, value: str) -> str:
        """The path of this name."""
        return super().to_url(value) + "/"


@pages.record_once
def _set_up(state: Any) -> None:
    state.app.jinja_env.add_extension("unspool.templates.Streaming")
    state.app.url_map.converters["table"] = _TableConverter


@pages.after_request
def _headers(response: Response) -> Response:
    if response.mimetype == "text/html":
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Cache-Control"] = "no-store"
    return response


@pages.app_context_processor
def _names() -> dict[str, Any]:
    def static(name: str) -> str:
        return url_for("pages.static", filename=name)

    return {"static": static, "as_text": as_text}


@pages.get("/")
def home() -> ResponseReturnValue:
    """The sources and their tables."""
    words = request.args.get("q", "").strip()
    counting = Semaphore(_COUNTS_AT_ONCE)
    sources = [
        _shown_source(source, words.lower().split(), counting)
        for source in serving().sources.values()
    ]
    many = words or sum(len(source["tables"]) for source in sources) > _MANY_TABLES
    return _page("home.html", sources=sources, words=words, searchable=many, counted=_COUNTED)


@pages.get("/<source>/<table:table>")
def table_page(source: str, table: str) -> ResponseReturnValue:
    """One table: what is in it, filtered and sorted as the query says."""
    database = find_source(source)
    found = database.table(table)
    names = [column.name for column in found.columns]
    pairs = list(request.args.items(multi=True))
    path = page_url(source, found)
    if is_form(pairs):
        query = from_form(pairs, names).query()
        return redirect(path + ("?" + query if query else ""), 303)
    view = View.of(pairs)

    def url_of(suffix: str) -> str:
        return data_url(source, table, suffix, view.query())

    status, refused = refusal(url_of("ndjson"))
    page = _page(
        "table.html",
        source=_shown_source(database),
        table={"name": found.name, "kind": found.kind, "path": path, "names": names},
        view=view,
        operators=OPERATORS,
        count_url=count_url(source, table, view.filter_query()),
        refusal=refused,
        preview=None if refused else defer(_table_rows, source, found, view),
        taken=_taken(found.name, url_of),
    )
    return page, status


@pages.get("/<source>/-/sql/")
def sql_page(source: str) -> ResponseReturnValue:
    """A statement on a source, and the beginning of what it gives."""
    database = find_source(source)
    # Forms send line ends as CRLF; what counts lines counts LF.
    sql = request.args.get("sql", "").replace("\r\n", "\n").strip()

    def url_of(suffix: str) -> str:
        return sql_data_url(source, suffix, sql)

    status, refused = refusal(url_of("ndjson")) if sql else (200, "")
    refused, pointed = pointed_at(sql, database.dialect, refused)
    preview = defer(first_rows, url_of("ndjson"), ()) if sql and not refused else None
    page = _page(
        "sql.html",
        source=_shown_source(database),
        sql=sql,
        refusal=refused,
        pointed=pointed,
        preview=preview,
        taken=_taken(f"{source}-query", url_of) if sql and not refused else None,
    )
    return page, status


def pointed_at(sql: str, dialect: str, refused: str) -> tuple[str, str]:
    """A refusal that names a place in the statement as it was written, and that line, marked.

    (What is checked, and named by the refusal, is the statement without its line ends.)

    >>> text, line = pointed_at("SELECT\\n  1 +", "duckdb", "It cannot be read. Line 1, Col: 8.")
    >>> print(text, line, sep="\\n")
    It cannot be read. Line 2, column 5.
      1 +
        ^
    """
    sqlglot = require("sqlglot", extra="serve")
    if not _POSITION.search(refused):
        return refused, ""
    try:
        sqlglot.parse(sql, read=dialect)
    except sqlglot.errors.ParseError as error:
        line, column = error.errors[0]["line"], error.errors[0]["col"]
        text = _POSITION.sub(f"Line {line}, column {column}", refused)
        return text, "\n".join([*sql.split("\n")[line - 1 : line], " " * (column - 1) + "^"])
    except (sqlglot.errors.SqlglotError, RecursionError):
        pass
    return refused, ""


def _page(template: str, **context: Any) -> TemplateStream:
    """A page whose slow parts come late. The live view has enough to show without it."""
    with unseen():
        return stream_template(template, **context)


def _shown_source(
    source: Engine, words: Sequence[str] = (), counting: Semaphore | None = None
) -> dict[str, Any]:
    tables = [_shown_table(source.name, table, counting) for table in source.tables()]
    return {
        "name": source.name,
        "kind": source.kind,
        "anchor": f"source-{list(serving().sources).index(source.name) + 1}",
        "sql_url": sql_url(source.name),
        "tables": [each for each in tables if all(word in each["words"] for word in words)],
    }


def _shown_table(source: str, table: Table, counting: Semaphore | None) -> dict[str, Any]:
    url = count_url(source, table.name, "")

    def count() -> str:
        if counting is None or not counting.acquire(timeout=_TURN_S):
            return "not counted"
        try:
            rows = ask(url)["rows"]
        except Problem:
            return "not counted"
        finally:
            counting.release()
        return f"{rows:,} row" + ("" if rows == 1 else "s")

    return {
        "name": table.name,
        "kind": table.kind,
        "url": page_url(source, table),
        "columns": table.columns,
        "words": " ".join([table.name, *(column.name for column in table.columns)]).lower(),
        "count": count,
    }


def _table_rows(source: str, table: Table, view: View) -> Any:
    """The first rows; the stream that goes on asks for one more than a page shows.

    Without what is binary: there is nothing to see in it.
    """
    shown = _shown_columns(table, view)
    if any(each.kind == "binary" for each in shown):
        view = view.with_columns(each.name for each in shown if each.kind != "binary")
    preview = first_rows(_limited(source, table, view, FIRST_ROWS + 1), shown)
    if preview.url:
        preview.url = _limited(source, table, view, preview.max_rows + 1)
    return preview


def _limited(source: str, table: Table, view: View, rows: int) -> str:
    asked = view.window()[1]
    limit = min(rows, int(asked)) if asked else rows
    return data_url(source, table.name, "ndjson", view.query(_limit=str(limit)))


def _shown_columns(table: Table, view: View) -> list[Shown]:
    columns = {column.name: column for column in table.columns}
    return [_shown_column(columns[name], view) for name in view.columns or columns]


def _shown_column(column: Column, view: View) -> Shown:
    name = column.name
    direction = view.sorted_by(name)
    after = {None: "asc", "asc": "desc", "desc": None}[direction]
    return Shown(
        name,
        column.type,
        kind_of(column.family),
        {None: "", "asc": "ascending", "desc": "descending"}[direction],
        f"{name}:{after}" if after else "",
    )


def _taken(name: str, url_of: Callable[[str], str]) -> dict[str, Any]:
    """The downloads, and the lines to copy."""
    formats = [
        {"label": label, "url": url_of(suffix), "filename": f"{name}.{suffix}"}
        for suffix, (_, label) in FORMATS.items()
    ]
    host = request.host_url.rstrip("/")
    return {
        "common": formats[:_COMMON],
        "others": formats[_COMMON:],
        "snippets": snippets(
            lambda suffix: host + url_of(suffix),
            name,
            token=serving().settings.token is not None,
        ),
    }
