"""The pytest plugin, in the tests of somebody else's project."""

import textwrap

import flask
import pytest

from unspool import UsageError
from unspool.flask import stream
from unspool.pytest_plugin import InjectedFailure, assert_streams, disconnect_at, fail_at

pytest_plugins = ["pytester"]

# By its module: installed, it has a name as well, under which it would be there twice.
PLUGIN = ["-p", "no:unspool", "-p", "unspool.pytest_plugin", "-p", "no:cacheprovider"]

FLASK = """
import flask
from unspool.flask import stream

app_ = flask.Flask("shop")

@app_.get("/export.csv")
def export():
    return stream({"n": n} for n in range(10_000))
"""

STARLETTE = """
from fastapi import FastAPI
from unspool.starlette import stream

app_ = FastAPI()

@app_.get("/export.csv")
async def export():
    return stream({"n": n} for n in range(10_000))
"""

DJANGO = """
from django.conf import settings

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"], LOGGING_CONFIG=None)

from django.urls import path
from unspool.django import stream

def export(request):
    return stream(request, ({"n": n} for n in range(10_000)))

urlpatterns = [path("export.csv", export)]
"""

TESTS = """
import pytest
from unspool.pytest_plugin import InjectedFailure, assert_streams, disconnect_at, fail_at

{project}

@pytest.fixture
def app():
    return app_

def test_streams({client}):
    seen = assert_streams(
        lambda: {client}.get("/export.csv"), first_byte_s=5, rows_ahead=300, memory_bytes=4_000_000
    )
    assert seen.size == 58893

def test_leaves({client}):
    disconnect_at(1, lambda: {client}.get("/export.csv"))

def test_fails({client}):
    with fail_at(5000), pytest.raises(InjectedFailure):
        list({client}.get("/export.csv"))

def test_is_whole_again({client}):
    assert len(b"".join({client}.get("/export.csv"))) == 58893
"""


@pytest.mark.parametrize(
    ("project", "client"),
    [
        (FLASK, "stream_client"),
        (STARLETTE, "stream_client"),
        (DJANGO, "django_stream_client"),
        (DJANGO, "django_async_stream_client"),
    ],
    ids=["flask", "fastapi", "django wsgi", "django asgi"],
)
def test_a_project_uses_the_fixtures(pytester, project, client):
    pytester.makepyfile(TESTS.format(project=project, client=client))
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=4)


def test_a_layer_that_collects_fails_the_test_and_the_message_has_the_numbers(pytester):
    broken = """
    def test_streams(stream_client):
        assert_streams(lambda: stream_client.get("/export.csv"), rows_ahead=9998)

    def test_streams_enough(stream_client):
        assert_streams(lambda: stream_client.get("/export.csv"), rows_ahead=9999)
    """
    collecting = """
    from werkzeug.middleware.profiler import ProfilerMiddleware
    app_ = ProfilerMiddleware(app_, stream=None)
    """
    head = TESTS.partition("def test_streams")[0]
    project = FLASK + textwrap.dedent(collecting)
    pytester.makepyfile(head.format(project=project) + textwrap.dedent(broken))
    result = pytester.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*9999 more rows were made before the first byte came; the limit is rows_ahead=9998."]
    )


@pytest.fixture
def client():
    app = flask.Flask("shop")

    @app.get("/<int:count>")
    def rows(count):
        return stream(((n,) for n in range(count)), columns=["n"], chunk_bytes=1, batch_rows=1)

    @app.get("/slow")
    def slow():
        import time

        time.sleep(0.2)
        return stream([(1,)], columns=["n"])

    @app.get("/plain")
    def plain():
        return flask.Response(iter([b"a", b"b"]))

    @app.get("/memory")
    def memory():
        return flask.Response(b"%d" % n * 1_000_000 for n in range(3))

    return app.test_client()


def test_a_late_first_byte_is_told(client):
    with pytest.raises(
        AssertionError, match=r"came after \d+\.\d+ s; the limit is first_byte_s=0.1"
    ):
        assert_streams(lambda: client.get("/slow"), first_byte_s=0.1)


def test_memory_is_told(client):
    with pytest.raises(AssertionError, match=r"\d{7} bytes were held .* memory_bytes=900000"):
        assert_streams(lambda: client.get("/memory"), memory_bytes=900_000)


def test_a_response_is_as_good_for_what_can_still_be_watched(client):
    seen = assert_streams(client.get("/5"), first_byte_s=10)
    assert (seen.chunks, seen.size, seen.memory_bytes) == (5, 3 + 5 * 3, None)


@pytest.mark.parametrize("limit", ["rows_ahead", "memory_bytes"])
def test_what_began_before_cannot_be_watched(client, limit):
    with pytest.raises(UsageError, match="pass a function that asks"):
        assert_streams(client.get("/5"), **{limit: 1})


def test_nothing_to_assert_is_refused(client):
    with pytest.raises(UsageError, match="nothing to assert"):
        assert_streams(lambda: client.get("/5"))


def test_rows_of_others_cannot_be_counted(client):
    with pytest.raises(UsageError, match="there was none"):
        assert_streams(lambda: client.get("/plain"), rows_ahead=1)


def test_a_response_that_was_read_already_is_refused():
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    with pytest.raises(UsageError, match="has been read already"):
        assert_streams(lambda: TestClient(Starlette()).get("/"), first_byte_s=1)


def test_failing_at_each_row(client):
    for at in range(5):
        got = b""
        with fail_at(at):
            if at == 0:
                assert client.get("/4").status_code == 500
                continue
            response = client.get("/4")
            with pytest.raises(InjectedFailure, match=rf"fail_at\({at}\)"):
                for chunk in response.iter_encoded():
                    got += chunk
        assert got == b"n\r\n" + b"".join(b"%d\r\n" % n for n in range(at))
    with fail_at(5):
        assert client.get("/4").data == b"n\r\n0\r\n1\r\n2\r\n3\r\n"


def test_leaving_after_each_chunk(client):
    for at in range(4):
        disconnect_at(at, lambda: client.get("/4"))
    with pytest.raises(AssertionError, match="was over before it had 5 chunks"):
        disconnect_at(5, lambda: client.get("/4"))


def test_a_stream_that_is_not_closed_is_told(client, monkeypatch):
    monkeypatch.setattr("unspool.pytest_plugin._CLOSED_WITHIN_S", 0.05)
    with pytest.raises(AssertionError, match="was not closed in 0.05 s"):
        disconnect_at(1, lambda: client.get("/plain"))


def test_a_stream_that_ended_is_told(client):
    with pytest.raises(AssertionError, match="ended as complete, not once as disconnect"):
        disconnect_at(1, lambda: list(client.get("/1").iter_encoded()))
