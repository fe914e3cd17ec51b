"""Rows, bytes, seconds, streams at once: up to the limit, and one more."""

import threading
import time

import duckdb
import pytest

from unspool.errors import StreamError, UsageError
from unspool.serve import Settings, create_app
from unspool.serve.problems import BeyondLimit
from unspool.serve.reading import Alarms, LimitedReader
from unspool.sources.duckdb import query


@pytest.fixture
def place(tmp_path):
    path = tmp_path / "n.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE n AS SELECT range AS n FROM range(1000)")
        connection.execute(
            "CREATE TABLE long AS SELECT range AS n, repeat('x', 100) AS t FROM range(300000)"
        )
    return str(path)


def client(place, **limits):
    return create_app([f"n={place}"], Settings(**limits)).test_client()


def get_sql(client, sql, format="ndjson"):
    return client.get(f"/n/-/sql.{format}", query_string={"sql": sql})


@pytest.mark.parametrize(("most", "status"), [(999, 422), (1000, 200), (1001, 200)])
def test_rows_are_counted_before_the_first_byte(place, most, status):
    for answer in (
        client(place, max_rows=most).get("/n/n.ndjson"),
        get_sql(client(place, max_rows=most), "SELECT n FROM n"),
    ):
        assert answer.status_code == status
        if status == 200:
            assert len(answer.text.splitlines()) == 1000
        else:
            assert "more rows than 999" in answer.json["detail"]


@pytest.mark.parametrize(("limit", "status"), [(10, 200), (11, 422)])
def test_a_limit_of_ones_own_is_enough(place, limit, status):
    small = client(place, max_rows=10)
    assert small.get(f"/n/n.csv?_limit={limit}").status_code == status
    assert get_sql(small, f"SELECT n FROM n LIMIT {limit}").status_code == status
    assert small.get("/n/n.csv?n__lt=10").status_code == 200
    assert small.get("/n/n.csv?_offset=990").status_code == 200
    assert small.get("/n/n.csv?_offset=989").status_code == 422


def test_the_head_of_an_answer_counts_nothing(place):
    answer = client(place, max_rows=10).head("/n/n.csv")
    assert (answer.status_code, answer.data) == (200, b"")


def test_tables_are_given_whole_and_statements_not_where_no_limit_was_chosen(place, monkeypatch):
    from unspool.serve import settings

    monkeypatch.setattr(settings, "_STATEMENT_ROWS", 999)
    anyone = client(place)
    assert len(anyone.get("/n/n.csv").text.splitlines()) == 1001
    assert get_sql(anyone, "SELECT n FROM n").status_code == 422


def test_rows_that_were_not_foreseen_break_the_transfer_at_the_limit():
    rows = query(duckdb.connect(), "SELECT range AS n FROM range(5000)")
    reader = LimitedReader(rows, Alarms(), rows=3000, first_s=5, all_s=None)
    read = 0
    with pytest.raises(BeyondLimit):
        while batch := reader.read_batch(1000):
            read += len(batch)
    reader.close()
    assert read == 3000


def test_bytes_are_counted_as_they_are_sent(place):
    whole = client(place).get("/n/n.csv").data
    exact = client(place, max_bytes=len(whole)).get("/n/n.csv")
    assert exact.data == whole
    with pytest.raises(StreamError, match=f"more bytes than {len(whole) - 1}"):
        list(client(place, max_bytes=len(whole) - 1).get("/n/n.csv").response)
    tiny = client(place, max_bytes=5).get("/n/n.csv?_column=n")
    assert (tiny.status_code, "more bytes than 5" in tiny.json["detail"]) == (422, True)
    gzip = client(place, max_bytes=len(whole) - 1).get(
        "/n/n.csv", headers={"Accept-Encoding": "gzip"}
    )
    assert gzip.status_code == 200
    assert len(gzip.data) < len(whole)


def test_too_many_bytes_break_the_transfer(place):
    answer = client(place, max_bytes=1_000_000).get("/n/long.csv")
    assert answer.status_code == 200
    got = 0
    with pytest.raises(StreamError):
        for chunk in answer.response:
            got += len(chunk)
    assert 0 < got <= 1_000_000


def test_what_has_no_first_row_in_time_is_refused_and_its_query_ends(place):
    slow = client(place, max_seconds=0.3)
    began = time.monotonic()
    answer = get_sql(slow, "SELECT count(*) AS c FROM long a, long b WHERE a.t < b.t || 'y'")
    assert answer.status_code == 422
    assert "0.3 s" in answer.json["detail"]
    assert time.monotonic() - began < 15


def test_a_statement_must_end_in_time(place):
    answer = get_sql(client(place, max_seconds=2), "SELECT t FROM long LIMIT 300000")
    assert answer.status_code == 200
    chunks = iter(answer.response)
    next(chunks)
    time.sleep(2.2)
    with pytest.raises(BeyondLimit):
        list(chunks)


def test_a_table_may_take_any_time_once_its_first_row_is_there(place, monkeypatch):
    from unspool.serve import settings

    monkeypatch.setattr(settings, "_SECONDS", 2)
    answer = client(place).get("/n/long.csv")
    chunks = iter(answer.response)
    size = len(next(chunks))
    time.sleep(2.2)
    assert size + sum(map(len, chunks)) > 30_000_000


def test_a_client_gets_so_many_answers_at_once_and_then_again(place):
    few = client(place, max_streams=2)
    running = [few.get("/n/long.csv") for _ in range(2)]
    third = few.get("/n/long.csv")
    assert third.status_code == 429
    assert third.headers["Retry-After"] == "1"
    assert few.get("/-/count/n/n.json").status_code == 429
    assert few.get("/-/sources.json").status_code == 200
    assert few.get("/n/n.csv", environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 200
    running[0].close()
    deadline = time.monotonic() + 15  # Its query is closed on a thread of its own.
    while (fourth := few.get("/n/n.csv")).status_code == 429 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert fourth.status_code == 200
    fourth.close()
    running[1].close()


@pytest.mark.parametrize(
    "path", ["/n/none.csv", "/n/n.csv?x=1", "/n/-/sql.csv?sql=SELECT+x", "/n/n.zip"]
)
def test_a_refusal_takes_no_place(place, path):
    few = client(place, max_streams=1)
    for _ in range(3):
        assert 400 <= few.get(path).status_code < 429
    assert few.head("/n/n.csv").status_code == 200
    assert few.get("/n/n.csv").status_code == 200


def test_a_token_is_one_client_wherever_it_comes_from(place):
    few = client(place, max_streams=1, token="secret")
    headers = {"Authorization": "Bearer secret"}
    first = few.get("/n/long.csv", headers=headers)
    assert first.status_code == 200
    other = few.get("/n/n.csv", headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert other.status_code == 429
    first.close()


@pytest.mark.parametrize(
    "wrong",
    [{"max_rows": 0}, {"max_bytes": -1}, {"max_seconds": 0}, {"max_seconds": float("nan")}, {"max_streams": 0},
     {"token": ""}, {"token": " "}],
)  # fmt: skip
def test_limits_that_cannot_be_are_told(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Settings(**wrong)


def test_alarms_ring_in_order_and_not_if_they_are_put_off():
    alarms, rung, over = Alarms(), [], threading.Event()
    put_off = alarms.set(1.0, lambda: rung.append("never"))
    alarms.set(0.8, lambda: rung.append("second"))
    alarms.set(0.05, lambda: rung.append("first"))
    alarms.set(0.06, lambda: 1 / 0)
    alarms.set(1.2, over.set)
    put_off()
    assert over.wait(5)
    assert rung == ["first", "second"]
    again = threading.Event()
    time.sleep(0.05)
    alarms.set(0.01, again.set)  # The thread was gone.
    assert again.wait(5)
