"""The Flask app of `unspool serve`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify, request

from unspool.errors import UsageError
from unspool.flask import stream
from unspool.formats import find, suffixes
from unspool.serve.catalog import Catalog, Source
from unspool.serve.engines.duckdb import DuckDb
from unspool.serve.problems import NotFound, Problem
from unspool.serve.settings import Settings

__all__ = ["FORMATS", "create_app"]

# The formats of tables, the ones for people first.
FORMATS = {
    "csv": "CSV",
    "xlsx": "Excel",
    "parquet": "Parquet",
    "ndjson": "JSON lines",
    "json": "JSON",
    "arrow": "Arrow",
    "tsv": "Tab-separated",
    "html": "HTML",
    "markdown": "Markdown",
    "xml": "XML",
}

data = Blueprint("data", __name__)


def create_app(sources: Sequence[str], settings: Settings = Settings()) -> Flask:  # noqa: B008
    """The app that serves `sources`: paths and URLs, each as it is or as `NAME=SOURCE`."""
    app = Flask("unspool.serve", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["unspool.serve"] = Catalog([_opened(each) for each in sources])
    app.config["UNSPOOL_SETTINGS"] = settings
    app.register_blueprint(data)
    app.register_error_handler(Problem, _answer_problem)
    if find_spec("unspool.serve.pages"):
        app.register_blueprint(import_module("unspool.serve.pages").pages)
    return app


def _opened(source: str) -> Source:
    name, _, place = source.rpartition("=")
    path = Path(place)
    if not path.is_file():
        raise UsageError(f"{place} does not exist.")
    return DuckDb(name or path.stem, path)


def _answer_problem(problem: Problem) -> Response:
    status = problem.status
    answer = jsonify(
        type=problem.kind, title=status.phrase, status=int(status), detail=problem.detail
    )
    answer.status_code = int(status)
    answer.mimetype = "application/problem+json"
    return answer


def _source(name: str) -> Source:
    catalog: Catalog = current_app.extensions["unspool.serve"]
    if name not in catalog.sources:
        raise NotFound(f"there is no source {name!r}.")
    return catalog.sources[name]


@data.get("/-/sources.json")
def sources_json() -> dict[str, Any]:
    """All that is served."""
    catalog: Catalog = current_app.extensions["unspool.serve"]
    settings: Settings = current_app.config["UNSPOOL_SETTINGS"]
    return {
        "sources": [
            {
                "name": source.name,
                "kind": source.kind,
                "tables": [
                    {
                        "name": table.name,
                        "kind": table.kind,
                        "columns": [
                            {"name": column.name, "type": column.type} for column in table.columns
                        ],
                    }
                    for table in source.tables()
                ],
            }
            for source in catalog.sources.values()
        ],
        "formats": [
            {
                "suffix": "md" if name == "markdown" else name,
                "media_type": find(name).media_type,
                "label": label,
            }
            for name, label in FORMATS.items()
        ],
        "limits": {
            "rows": settings.max_rows,
            "bytes": settings.max_bytes,
            "seconds": settings.max_seconds,
        },
    }


@data.get("/-/health")
def health() -> dict[str, str]:
    """That the server answers."""
    return {"status": "ok"}


@data.get("/<source>/<path:file>")
def table_data(source: str, file: str) -> Response:
    """The rows of a table."""
    found = _source(source)
    table, _, suffix = file.rpartition(".")
    path = found.table(table).path
    name = suffix if suffix in FORMATS else suffixes().get(f".{suffix}")
    if name not in FORMATS:
        raise NotFound(f"there is no format {suffix!r}.")
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in path)
    limit = request.args.get("_limit", type=int)
    sql = f"SELECT * FROM {quoted}" + ("" if limit is None else f" LIMIT {limit:d}")  # noqa: S608
    rows: Any = found.query(sql, ())
    return stream(rows, name, filename=table, compress=True)
