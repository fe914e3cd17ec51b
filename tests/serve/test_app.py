"""What each URL gives, and what of it is the same for all."""

import json

import pytest
from serve import zoo

from unspool.serve import create_app

SUFFIXES = ["csv", "xlsx", "parquet", "ndjson", "json", "arrow", "tsv", "html", "md", "xml"]


def test_the_catalog_lists_sources_tables_columns_formats_and_limits(client):
    catalog = client.get("/-/sources.json").json
    assert [source["name"] for source in catalog["sources"]] == list(zoo.ENGINES)
    assert [source["kind"] for source in catalog["sources"]] == [
        "duckdb", "files", "sqlite", "postgresql", "mysql",
    ]  # fmt: skip
    for source in catalog["sources"]:
        tables = {table["name"]: table for table in source["tables"]}
        assert [column["name"] for column in tables["zoo"]["columns"]] == zoo.NAMES
        assert tables["zoo"]["kind"] == "table"
        assert tables["big"]["kind"] == ("table" if source["kind"] == "files" else "view")
    assert [each["suffix"] for each in catalog["formats"]] == SUFFIXES
    assert catalog["limits"] == {"rows": None, "bytes": None, "seconds": None}


@pytest.mark.parametrize("source", zoo.ENGINES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_table_is_to_be_had_in_every_format(client, source, suffix):
    media_types = {
        each["suffix"]: each["media_type"] for each in client.get("/-/sources.json").json["formats"]
    }
    answer = client.get(f"/{source}/zoo.{suffix}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == media_types[suffix]
    file = f"zoo.{'arrows' if suffix == 'arrow' else suffix}"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{file}"'
    assert len(answer.data) > 5000
    answer = client.get(
        f"/{source}/-/sql.{suffix}", query_string={"sql": "SELECT id, name FROM zoo"}
    )
    assert answer.status_code == 200, answer.text
    assert f"{source}-query." in answer.headers["Content-Disposition"]


def test_a_head_has_the_headers_and_no_content(client):
    head = client.head("/duckdb/zoo.csv?id__gt=5")
    body = client.get("/duckdb/zoo.csv?id__gt=5")
    assert head.data == b""
    assert list(head.headers) == list(body.headers)


HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@pytest.mark.parametrize(
    "path",
    ["/duckdb/zoo.csv", "/-/sources.json", "/none/x.csv", "/duckdb/zoo.csv?x=1", "/-/openapi.json"],
)
def test_every_answer_has_the_headers_that_keep_it_apart(client, path):
    answer = client.get(path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "Server" not in answer.headers


@pytest.mark.parametrize(
    ("path", "accept", "kind"),
    [
        ("/none/x.csv", "text/html", "application/problem+json"),
        ("/none/x/", "text/html,*/*;q=0.8", "text/html"),
        ("/none/x/", "*/*", "text/html"),
        ("/none/x/", "application/json", "application/problem+json"),
        ("/none/x/", "application/problem+json, text/html;q=0.5", "application/problem+json"),
    ],
)
def test_a_refusal_is_a_page_only_where_a_page_was_wanted(client, path, accept, kind):
    answer = client.get(path, headers={"Accept": accept})
    assert (answer.status_code, answer.mimetype) == (404, kind)


def test_a_page_of_a_refusal_shows_names_as_text(client):
    answer = client.get("/<script>alert(1)<%2Fscript>/x/", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text


def test_a_problem_says_what_rfc_9457_says(client):
    answer = client.get("/duckdb/zoo.csv?_limit=-1")
    assert answer.mimetype == "application/problem+json"
    assert answer.json == {
        "type": "urn:unspool:bad-parameter",
        "title": "Bad Request",
        "status": 400,
        "detail": "_limit is '-1'; it must be a whole number of at least 0.",
    }


def test_a_stream_can_be_named(client):
    assert client.get("/duckdb/zoo.csv?_stream=abcdEFGH_-12&_limit=1").status_code == 200
    assert client.get("/duckdb/-/sql.csv?sql=SELECT+1&_stream=abcdEFGH").status_code == 200


def test_a_failure_of_ours_says_nothing_of_us(app, monkeypatch):
    def broken(*_):
        raise RuntimeError("a secret")

    monkeypatch.setattr("unspool.serve.data.openapi", broken)
    answer = app.test_client().get("/-/openapi.json")
    assert answer.status_code == 500
    assert answer.mimetype == "application/problem+json"
    assert "secret" not in answer.text


def test_a_database_that_is_gone_is_told_and_may_come_back(tmp_path):
    path = tmp_path / "x.sqlite"
    zoo.make_sqlite(path)
    client = create_app([str(path)]).test_client()
    path.rename(tmp_path / "y.sqlite")
    answer = client.get("/x/zoo.csv")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    (tmp_path / "y.sqlite").rename(path)
    assert client.get("/x/zoo.csv").status_code == 200


def test_a_server_that_is_gone_is_told(places):
    client = create_app([f"pg={places['postgres']}", f"my={places['mysql']}"]).test_client()
    for name, attribute in (("pg", "_url"), ("my", "_settings")):
        engine = client.application.extensions["unspool.serve"].sources[name]
        if name == "pg":
            setattr(engine, attribute, "postgresql://test@127.0.0.1:1/postgres")
        else:
            setattr(engine, attribute, {**engine._settings, "port": 1})
        answer = client.get(f"/{name}/zoo.csv")
        assert answer.status_code == 503, answer.text
        assert client.get(f"/{name}/-/sql.csv?sql=SELECT+1").status_code == 503
        assert client.get(f"/-/count/{name}/zoo.json").status_code == 503
        assert "127.0.0.1" not in answer.text


def test_the_description_is_of_the_urls_that_there_are(app, client):
    document = client.get("/-/openapi.json").json
    assert document["openapi"] == "3.1.0"
    described = set(document["paths"])
    assert described == {
        "/{source}/{table}.{format}", "/{source}/-/sql.{format}", "/-/count/{source}/{table}.json",
        "/-/sources.json", "/-/openapi.json", "/-/health",
    }  # fmt: skip
    json.dumps(document)


def test_a_table_that_cannot_be_read_is_told_without_where_it_is(tmp_path):
    (tmp_path / "gone.csv").write_text("id,name\n1,Ann\n")
    (tmp_path / "kept.csv").write_text("id,name\n1,Ann\n")
    client = create_app([f"files={tmp_path}"]).test_client()
    (tmp_path / "gone.csv").unlink()
    answer = client.get("/files/gone.csv")
    assert answer.status_code == 422
    assert answer.json["type"] == "urn:unspool:source-failed"
    assert str(tmp_path) not in answer.text
    assert client.get("/-/count/files/gone.json").status_code == 422
    assert client.get("/files/kept.csv").status_code == 200


def test_a_value_that_a_format_cannot_carry_is_told_with_row_and_column(client):
    answer = client.get("/duckdb/-/sql.csv", query_string={"sql": "SELECT [1, 2] AS l"})
    assert answer.status_code == 400
    assert "row 1, column 'l'" in answer.json["detail"]
    assert client.get("/duckdb/-/sql.json", query_string={"sql": "SELECT [1, 2] AS l"}).json == [
        {"l": [1, 2]}
    ]


@pytest.mark.parametrize("source", zoo.ENGINES)
def test_the_same_rows_come_by_every_source(client, source):
    """Dates, numbers and text of a table are alike wherever it is; but SQLite has no such types."""
    lines = client.get(f"/{source}/zoo.csv?_sort=id&_column=id&_column=name&_column=day").text
    assert lines == client.get("/duckdb/zoo.csv?_sort=id&_column=id&_column=name&_column=day").text
