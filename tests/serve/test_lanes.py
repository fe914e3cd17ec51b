"""What is answered before what, and the live view of a real server."""

import json
import threading
import time
from contextlib import ExitStack, closing
from http.client import HTTPConnection, IncompleteRead
from urllib.parse import quote

import duckdb
import pytest
from serve.running import get, serving

from unspool.serve import lanes
from unspool.serve.lanes import Courtesy

# Runs until it is interrupted, and gives no row until then.
ENDLESS = "SELECT count(*) AS n FROM items a, items b WHERE a.name || b.name = 'x'"
STATEMENTS = 8
PAGES = 20


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    path = tmp_path_factory.mktemp("lanes") / "shop.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE items AS SELECT range AS id, md5(range::VARCHAR) AS name"
                           " FROM range(1000000)")  # fmt: skip
        connection.execute(f"CREATE VIEW slow AS {ENDLESS}")
    return str(path)


def begin(port, path, **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers=headers)
    return connection


def live(port, path, method="GET", **headers):
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, f"/-/streams{path}", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_a_download_is_seen_in_the_live_view_and_can_be_cancelled(shop, tmp_path):
    with (
        serving(shop, cwd=tmp_path) as (port, _, _),
        closing(begin(port, "/shop/items.csv?_stream=a-download")) as connection,
    ):
        answer = connection.getresponse()
        answer.read(1000)
        [record] = json.loads(live(port, "/all.json")[1])["streams"]
        assert (record["id"], record["format"], record["client"]) == (
            "a-download",
            "csv",
            "127.0.0.1",
        )
        assert live(port, "/a-download/cancel", "POST", **{"X-Requested-With": "a"})[0] == 202
        with pytest.raises((IncompleteRead, ConnectionError)):
            answer.read()
        assert json.loads(live(port, "/a-download.json")[1])["state"] == "cancelled"
        assert b"unspool_streams_total" in get(port, "/-/metrics")[2]


def test_the_live_view_wants_the_token_too(shop, tmp_path):
    with serving(shop, cwd=tmp_path, token="secret") as (port, _, _):
        assert live(port, "/")[0] == 401
        assert live(port, "/all.json")[0] == 401
        assert live(port, "/all.json", Authorization="Bearer secret")[0] == 200
        assert get(port, "/-/metrics")[0] == 401


def test_statements_that_take_their_time_keep_neither_tables_nor_pages_waiting(shop, tmp_path):
    options = ["--max-streams", str(STATEMENTS + 2)]
    with serving(shop, *options, cwd=tmp_path) as (port, _, _), ExitStack() as leaving:
        for _ in range(STATEMENTS):
            leaving.enter_context(closing(begin(port, f"/shop/-/sql.csv?sql={quote(ENDLESS)}")))
        time.sleep(0.5)
        assert get(port, "/shop/items.csv?_limit=3", timeout=45)[0] == 200
        assert get(port, "/shop/items/", timeout=45)[0] == 200
        assert get(port, "/-/health", timeout=45)[0] == 200


def test_pages_that_wait_for_their_slow_parts_keep_no_other_waiting(shop, tmp_path):
    options = ["--max-streams", str(3 * PAGES)]  # A page asks for a count and for rows.
    with serving(shop, *options, cwd=tmp_path) as (port, _, _), ExitStack() as leaving:
        for _ in range(PAGES):
            page = leaving.enter_context(closing(begin(port, "/shop/slow/")))
            assert page.getresponse().read(100).startswith(b"<!doctype html>")
        assert get(port, "/shop/items/", timeout=45)[0] == 200
        assert get(port, "/-/health", timeout=45)[0] == 200


def test_rows_wait_for_what_is_small_and_not_for_ever(monkeypatch):
    monkeypatch.setattr(lanes, "_PATIENCE_S", 20)
    courtesy = Courtesy()
    courtesy.give_way()
    courtesy.come()
    courtesy.come()
    waited = threading.Thread(target=courtesy.give_way)
    waited.start()
    courtesy.gone()
    waited.join(0.01)
    assert waited.is_alive()
    courtesy.gone()
    waited.join(10)
    assert not waited.is_alive()
    monkeypatch.setattr(lanes, "_PATIENCE_S", 0.1)
    courtesy.come()
    began = time.monotonic()
    courtesy.give_way()
    assert 0.05 < time.monotonic() - began < 5
