"""The public API as its users write it. Never run: mypy and pyright read it."""

from __future__ import annotations

from collections.abc import Iterator

import flask
import quart
import starlette.requests
from starlette.templating import Jinja2Templates

import unspool.quart
import unspool.starlette
from unspool import (
    Arrow,
    Csv,
    Event,
    Json,
    Member,
    Ndjson,
    Parquet,
    RowError,
    Sse,
    Stream,
    Text,
    Verdict,
    Zip,
    verify,
)
from unspool.flask import (
    StreamResponse,
    stream,
    stream_csv,
    stream_template,
    stream_template_string,
    stream_with_context,
)
from unspool.templates import TemplateStream
from unspool.types import Encoder, Format

app = flask.Flask(__name__)


def rows() -> Iterator[tuple[int, str]]:
    yield 1, "a"


@app.get("/rows")
def view_rows() -> StreamResponse:
    return stream(rows(), "ndjson", columns=["id", "name"], filename="rows.ndjson", status=200)


@app.get("/csv")
def view_csv() -> flask.Response:
    return stream_csv(rows(), Csv(delimiter=";", quoting="all"), columns=("id", "name"))


@app.get("/template")
def view_template() -> Iterator[str]:
    return stream_template(["a.html", "b.html"], rows=rows())


@app.get("/string")
def view_string() -> TemplateStream:
    stream = stream_template_string("{{ n }}", n=1)
    stream.enable_buffering(5)
    return stream


@app.get("/context")
def view_context() -> Iterator[str]:
    @stream_with_context
    def generate(greeting: str) -> Iterator[str]:
        yield greeting

    return generate("hi")


@app.get("/iterator")
def view_iterator() -> Iterator[str]:
    return stream_with_context(name for _, name in rows())


def plans() -> list[Stream]:
    formats: list[Format] = [Csv(), Json(), Ndjson(), Text("text/html"), Sse(), Zip()]
    formats += [Arrow(batch_rows=10), Parquet(compression="zstd")]
    encoder: Encoder[bytes] = formats[0].encoder(None)
    data: bytes = encoder.begin() + encoder.feed([(1,)]) + encoder.end()
    return [Stream([data], format) for format in formats]


def place(error: RowError) -> tuple[int, str | int | None]:
    return error.row, error.column


@app.get("/zip")
def view_zip() -> StreamResponse:
    return stream((Member(f"{n}.csv", rows(), columns=["id", "name"]) for n in range(3)), "zip")


@app.get("/choice")
def view_choice() -> StreamResponse:
    return stream(rows(), formats=["csv", Ndjson(end_mark=True)], columns=["id", "name"])


@app.get("/events")
def view_events() -> StreamResponse:
    return stream((Event({"n": n}, id=n) for n in range(3)), Sse(retry_ms=1000), keep_alive_s=15)


def whole(path: str) -> int | None:
    verdict: Verdict = verify(path)
    return verdict.rows if verdict.complete else None


async def on_starlette(request: starlette.requests.Request) -> None:
    templates = Jinja2Templates("templates")
    page: unspool.starlette.StreamResponse = unspool.starlette.stream_template(
        request, templates, "a.html", {"rows": rows()}, status=200
    )
    del page
    async for _, name in unspool.starlette.stream_with_context(rows()):
        name.upper()
    async for _, name in unspool.starlette.stream_with_context(rows)():
        name.upper()


async def on_quart() -> quart.Response:
    async for _, name in unspool.quart.stream_with_context(rows()):
        name.upper()
    return await unspool.quart.stream_template("a.html", rows=rows())
