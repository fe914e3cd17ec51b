"""The description of the URLs for programs: OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from unspool.serve.selection import OPERATORS

__all__ = ["openapi"]

# Of every URL: a malformed request, no token, a method that there is not, a name of the server
# that is not its own, a request line of too many bytes.
_ALWAYS = (400, 401, 405, 414, 421)
_OF_DATA = (403, 404, 406, 422, 429, 503)

# Names of tables that stand in the document; /-/sources.json has all.
_EXAMPLES = 5

_NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}


def openapi(media_types: Mapping[str, str], sources: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The document, of the media types of suffixes, and the names of the tables of sources."""
    rows: dict[str, Any] = {media_type: {} for media_type in media_types.values()}
    tables = sorted({name for names in sources.values() for name in names[:_EXAMPLES]})
    name = {"type": "string", "minLength": 1, "examples": tables[:_EXAMPLES]}
    source = _in_path("source", {"type": "string", "enum": list(sources)}, "A source.")
    table = _in_path("table", name, "A table of the source.")
    format = _in_path("format", {"type": "string", "enum": list(media_types)}, "The format.")
    data = {"description": "The rows, as they are made.", "content": rows}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "unspool serve",
            "version": "1",
            "description": "Tables and read-only statements as streamed downloads.",
        },
        "paths": {
            "/{source}/{table}.{format}": {
                "parameters": [source, table, format],
                **_both("tableRows", "The rows of a table.", _selection(), data, _OF_DATA),
            },
            "/{source}/-/sql.{format}": {
                "parameters": [source, format],
                **_both(
                    "statementRows", "The rows of a statement.", [_sql(), _stream()], data, _OF_DATA
                ),
            },
            "/-/count/{source}/{table}.json": {
                "parameters": [source, table],
                **_both(
                    "countRows",
                    "The number of rows of a table, of those that filters let through.",
                    [_filters(), _stream()],
                    _json("The number.", _object(rows=_NUMBER, exact={"type": "boolean"})),
                    _OF_DATA,
                ),
            },
            "/-/sources.json": _both(
                "sources",
                "All that is served.",
                [],
                _json("Sources and formats.", _CATALOG),
                (503,),
            ),
            "/-/openapi.json": _both(
                "openapi", "This document.", [], _json("OpenAPI 3.1.", {"type": "object"})
            ),
            "/-/health": _both(
                "health",
                "That the server answers.",
                [],
                _json("It does.", _object(status={"const": "ok"})),
            ),
        },
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "responses": {str(status): _problem(status) for status in {*_ALWAYS, *_OF_DATA}},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Any name, and the token as the password.",
                },
            },
        },
        "security": [{}, {"bearer": []}, {"basic": []}],
    }


def _both(
    name: str,
    summary: str,
    parameters: Sequence[Any],
    found: Any,
    others: Iterable[int] = (),
) -> dict[str, Any]:
    """GET, and HEAD, which runs no query and has no content."""
    refusals = {
        str(status): {"$ref": f"#/components/responses/{status}"}
        for status in sorted({*_ALWAYS, *others})
    }
    operation = {"summary": summary, "parameters": list(parameters)}
    return {
        "get": {"operationId": name, **operation, "responses": {"200": found, **refusals}},
        "head": {
            "operationId": f"{name}Head",
            **operation,
            "responses": {"200": {"description": "There are some."}, **refusals},
        },
    }


def _in_path(name: str, schema: Any, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": schema,
        "description": description,
    }


def _in_query(name: str, schema: Any, description: str, **others: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description, **others}


def _selection() -> list[dict[str, Any]]:
    return [
        _filters(),
        _in_query("_column", _strings(), "These columns, in this order."),
        _in_query("_sort", _strings(), "COLUMN:asc or COLUMN:desc; NULL comes last."),
        _in_query("_limit", _NUMBER, "The most rows."),
        _in_query("_offset", _NUMBER, "Rows to leave out before."),
        _stream(),
    ]


def _filters() -> dict[str, Any]:
    return _in_query(
        "filters",
        {
            "type": "object",
            "propertyNames": {"pattern": f"^.+__({'|'.join(OPERATORS)})$"},
            "additionalProperties": {"type": "string"},
        },
        "COLUMN__OPERATOR=VALUE, any number of them; rows must meet all.",
        style="form",
        explode=True,
    )


def _strings() -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}}


def _sql() -> dict[str, Any]:
    return _in_query(
        "sql",
        {"type": "string", "minLength": 1, "maxLength": 4_000, "examples": ["SELECT 1 AS n"]},
        "A query. Up to 20,000 characters are read where the query string has no more than 48 KiB; "
        "4,000 of any kind fit.",
        required=True,
    )


def _stream() -> dict[str, Any]:
    return _in_query(
        "_stream",
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{8,64}$"},
        "A name for this answer in the live view.",
    )


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _json(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_TEXT = {"type": "string"}
_CATALOG = _object(
    sources=_list(
        _object(
            name=_TEXT,
            kind=_TEXT,
            tables=_list(
                _object(
                    name=_TEXT,
                    kind={"enum": ["table", "view"]},
                    columns=_list(_object(name=_TEXT, type=_TEXT)),
                )
            ),
        )
    ),
    formats=_list(_object(suffix=_TEXT, media_type=_TEXT, label=_TEXT)),
    limits=_object(
        rows={"type": ["integer", "null"]},
        bytes={"type": ["integer", "null"]},
        seconds={"type": ["number", "null"]},
    ),
)

_PROBLEM = _object(type=_TEXT, title=_TEXT, status={"type": "integer"}, detail=_TEXT)


def _problem(status: int) -> dict[str, Any]:
    content: dict[str, Any] = {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
    }
    if status == HTTPStatus.BAD_REQUEST:  # What is no HTTP, the server in front of the app refuses.
        content["text/plain"] = {"schema": _TEXT}
    return {"description": HTTPStatus(status).phrase, "content": content}
