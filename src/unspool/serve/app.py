"""The Flask app of `unspool serve`. Its URLs are a promise: see docs/serve.md."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from flask import Flask, Response, current_app, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from unspool.serve.access import Clients, add_security_headers, check_host, check_token
from unspool.serve.data import data, lost
from unspool.serve.pages import pages
from unspool.serve.problems import Problem, TooLong
from unspool.serve.serving import Serving, serving
from unspool.serve.settings import Settings
from unspool.serve.sources import Catalog

__all__ = ["create_app"]

# A query string of more than this is no honest question; servers stop at 64 KiB themselves.
_QUERY_BYTES_MAX = 48 * 1024


def create_app(sources: Sequence[str], settings: Settings | None = None) -> Flask:
    """The app that serves `sources`: paths and URLs, each as it is or as `NAME=SOURCE`.

    Opens each of them, to see that it can be read; a database file stays open.

    Raises:
        UsageError: a source that is not there, or cannot be read; a name twice.

    >>> import csv, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "people.csv").write_text("id,name\\n1,Ann\\n2,Bob\\n")
    >>> app = create_app([str(folder / "people.csv")])
    >>> app.test_client().get("/people/people.ndjson?id__gt=1").text
    '{"id":2,"name":"Bob"}\\n'
    """
    settings = settings or Settings()
    app = Flask("unspool.serve", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False
    app.extensions["unspool.serve"] = Serving(
        Catalog(sources), settings, Clients(settings.max_streams)
    )
    app.before_request(_check_request)
    app.after_request(_finish)
    app.register_blueprint(data)
    app.register_error_handler(Problem, _answer_problem)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_failure)
    app.register_blueprint(pages)
    return app


def _check_request() -> None:
    if len(request.query_string) > _QUERY_BYTES_MAX:
        raise TooLong(
            f"the query string has {len(request.query_string)} bytes; the limit is "
            f"{_QUERY_BYTES_MAX}. Ask for less."
        )
    settings = serving().settings
    check_host(request.environ.get("HTTP_HOST", ""), settings.hosts)
    check_token(request.headers.get("Authorization"), settings.token)


def _finish(response: Response) -> Response:
    add_security_headers(response.headers)
    if "Cache-Control" not in response.headers and response.mimetype != "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response


def _answer_problem(problem: Problem) -> Response:
    """A page where pages are, unless who asks prefers JSON; and JSON everywhere else."""
    status = HTTPStatus(problem.status)
    if request.path.endswith("/") and _wants_page():
        body = render_template("error.html", title=status.phrase, detail=problem.detail)
        answer = Response(body, mimetype="text/html")
    else:
        members = {"type": problem.kind, "title": status.phrase, "status": int(status)}
        answer = jsonify(**members, detail=problem.detail)
        answer.mimetype = "application/problem+json"
    answer.status_code = int(status)
    answer.headers.extend(problem.headers())
    return answer


def _wants_page() -> bool:
    kinds = ["text/html", "application/problem+json", "application/json"]
    return request.accept_mimetypes.best_match(kinds, kinds[0]) == kinds[0]


def _answer_http(error: HTTPException) -> Response:
    """What Flask says itself: of paths, methods and requests that are malformed."""
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    problem = Problem(error.description or "")
    problem.status = HTTPStatus(error.code or 500)
    answer = _answer_problem(problem)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            answer.headers[name] = value
    return answer


def _answer_failure(error: Exception) -> Response:
    if any(source.is_lost(error) for source in serving().sources.values()):
        return _answer_problem(lost(error))
    current_app.logger.error("the request failed", exc_info=error)
    problem = Problem("the server failed. Its log has the reason.")
    problem.status = HTTPStatus.INTERNAL_SERVER_ERROR
    return _answer_problem(problem)
