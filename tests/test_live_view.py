"""The live view over HTTP: what it answers, to whom, and how; in Flask and over ASGI."""

import asyncio
import base64
import gc
import itertools
import json
import os
import re
import stat
import time
import weakref
from pathlib import Path
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import flask
import pytest
from asgi_client import ask as ask_asgi
from helpers import new_pipeline
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import unspool.starlette
from unspool import UsageError, asgi, observe, wsgi
from unspool.flask import LiveView
from unspool.flask import stream as flask_stream
from unspool.headers import Asked
from unspool.live import RECENT, Ask, View, peers, recent
from unspool.live.access import from_here, has_token
from unspool.observe import born
from unspool.pipeline import Pipeline

PREFIX = "/-/streams"
SAFE = {
    "content-security-policy": "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    """Nobody else watches, and no other process of this app is met."""
    monkeypatch.setattr(observe, "_observers", ())
    monkeypatch.setattr(RECENT.listener, "start", lambda: None)
    RECENT._ended.clear()


@pytest.fixture
def view():
    return View()


def ask(view, path, method="GET", client="127.0.0.1", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return view.answer(Ask(method, path, {"host": "localhost:8000", **headers}, client))


def new_stream(query="_stream=a-stream-of-ours", pipeline=None):
    asked = Asked(path="/data.csv", query=query, client="10.0.0.7")
    return born(lambda: asked, "csv", pipeline or new_pipeline())


def body(reply):
    return json.loads(reply.body)


# What there is


def test_all_streams_are_listed_those_that_run_first_and_the_newest_of_them_first(
    view, monkeypatch
):
    now = 100.0
    monkeypatch.setattr(observe, "monotonic", lambda: now)
    monkeypatch.setattr(recent, "monotonic", lambda: now)
    for n in range(4):
        stream = new_stream(f"_stream=stream-{n}")
        now += 1
        if n in {0, 2}:
            stream.end("complete", None)
    reply = ask(view, f"{PREFIX}/all.json")
    assert reply.status == 200
    assert reply.headers == [
        ("Content-Type", "application/json"),
        *[(name.title(), value) for name, value in SAFE.items()],
    ]
    streams = body(reply)["streams"]
    assert [each["id"] for each in streams] == ["stream-3", "stream-1", "stream-2", "stream-0"]
    assert list(streams[0]) == [
        "id",
        "method",
        "path",
        "client",
        "format",
        "rows",
        "bytes",
        "rows_per_s",
        "bytes_per_s",
        "state",
        "age_s",
        "pid",
    ]
    now += 58  # 59 s after the end of stream-2, 61 s after that of stream-0.
    streams = body(ask(view, f"{PREFIX}/all.json"))["streams"]
    assert [each["id"] for each in streams] == ["stream-3", "stream-1", "stream-2"]
    for stream in observe.running_streams():
        stream.end("complete", None)


def test_nothing_that_a_stream_has_used_is_kept_when_it_is_over(view):
    stream = new_stream()
    pipeline = weakref.ref(stream.pipeline)
    stream.end("error", LookupError("boom"))
    del stream
    gc.collect()
    assert pipeline() is None
    assert body(ask(view, f"{PREFIX}/a-stream-of-ours.json"))["state"] == "error"


def test_no_more_than_200_that_ended_are_remembered(view):
    for n in range(201):
        new_stream(f"_stream=stream-{n:03}").end("complete", None)
    ids = [each["id"] for each in body(ask(view, f"{PREFIX}/all.json"))["streams"]]
    assert len(ids) == 200
    assert "stream-000" not in ids


def test_one_stream_is_shown_by_name(view):
    stream = new_stream()
    assert body(ask(view, f"{PREFIX}/{stream.id}.json"))["id"] == stream.id
    stream.end("error", LookupError("boom"))
    assert body(ask(view, f"{PREFIX}/{stream.id}.json"))["state"] == "error"
    reply = ask(view, f"{PREFIX}/no-such-stream.json")
    assert reply.status == 404
    assert dict(reply.headers)["Content-Type"] == "application/problem+json"
    assert body(reply) == {
        "status": 404,
        "detail": "No stream no-such-stream runs, or ended in the last minute.",
    }


def test_a_stream_is_cancelled_only_by_post_and_with_a_header_that_forms_cannot_send(view):
    stream = new_stream()
    path = f"{PREFIX}/{stream.id}/cancel"
    assert ask(view, path).status == 405
    assert dict(ask(view, path).headers)["Allow"] == "POST"
    assert ask(view, path, "POST").status == 403
    assert stream.state == "waiting for the source"
    assert ask(view, f"{PREFIX}/no-such-stream/cancel", "POST", x_requested_with="x").status == 404
    reply = ask(view, path, "POST", x_requested_with="x")
    assert (reply.status, body(reply)) == (202, {"id": stream.id})
    assert stream.state == "cancelled"
    stream.end("disconnect", None)
    assert ask(view, path, "POST", x_requested_with="x").status == 404


@pytest.mark.parametrize(
    ("path", "media_type", "begins"),
    [
        ("/", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/live.css", "text/css; charset=utf-8", b":root {"),
        ("/live.js", "text/javascript; charset=utf-8", b'"use strict";'),
    ],
)
def test_the_page_is_made_of_files_of_our_own(view, path, media_type, begins):
    reply = ask(view, PREFIX + path)
    assert (reply.status, dict(reply.headers)["Content-Type"]) == (200, media_type)
    assert reply.body.startswith(begins)
    assert not re.search(rb"https?://", reply.body)
    assert ask(view, PREFIX + path, "POST").status == 405


def test_the_policy_of_the_page_allows_what_it_needs_and_it_has_nothing_inline():
    page = Path(peers.__file__).with_name("static").joinpath("live.html").read_text()
    assert re.findall(r"<script[^>]*>", page) == ['<script src="live.js" defer>']
    assert "<style" not in page
    assert "style=" not in page
    assert not re.search(r"\son\w+=", page)


def test_the_path_without_its_slash_leads_to_the_page(view):
    reply = ask(view, PREFIX)
    assert (reply.status, reply.headers) == (308, [("Location", "streams/")])


@pytest.mark.parametrize("path", ["/nothing", "/a/b.json", "/a/b/cancel", "/../x", "/live.html"])
def test_there_is_nothing_else(view, path):
    assert ask(view, PREFIX + path).status in {404, 405}
    assert ask(view, PREFIX + path, "POST", x_requested_with="x").status in {404, 405}


def test_events_are_the_list_once_a_second_for_a_minute(view, monkeypatch):
    from unspool.live import view as module

    now = 0.0

    def sleep(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(module, "monotonic", lambda: now)
    monkeypatch.setattr(module, "sleep", sleep)
    assert ask(view, f"{PREFIX}/events").events
    events = list(view.events())
    assert len(events) == 60
    assert events[0].data == {"streams": []}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"prefix": "streams"}, "prefix must begin"),
        ({"prefix": "/streams/"}, "prefix must begin"),
        ({"prefix": "/"}, "prefix must begin"),
        ({"metrics": "metrics"}, "metrics must begin"),
        ({"token": ""}, "token is empty"),
        ({"token": " "}, "token is empty"),
    ],
)
def test_what_cannot_be_is_refused(arguments, says):
    with pytest.raises(UsageError, match=says):
        View(**arguments)


# To whom


def basic(password, user="anyone"):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "good"),
    [
        ("Bearer tökén:1", True),
        ("bearer tökén:1", True),
        ("Bearer  tökén:1 ", True),
        (basic("tökén:1"), True),
        (basic("tökén:1", ""), True),
        ("Bearer tökén:", False),
        ("Bearer tökén:11", False),
        ("Bearer", False),
        ("", False),
        ("tökén:1", False),
        ("Basic tökén:1", False),
        ("Basic !!!!", False),
        ("Basic /w==", False),
        (basic(""), False),
        ("Digest tökén:1", False),
    ],
)
def test_a_token_is_taken_as_bearer_or_as_password(authorization, good):
    """Of a header, servers make a text in which each byte is a character."""
    assert has_token(authorization.encode().decode("latin-1"), "tökén:1") is good


@pytest.mark.parametrize(
    "path", ["/", "/all.json", "/events", "/x.json", "/live.js", "/x/cancel", ""]
)
def test_with_a_token_nothing_is_answered_without_it_not_even_to_this_machine(path):
    view = View(token="secret")
    for method in ("GET", "POST", "HEAD"):
        reply = ask(view, PREFIX + path, method, x_requested_with="x")
        assert reply.status == 401
        assert dict(reply.headers)["WWW-Authenticate"] == 'Basic realm="streams", charset="UTF-8"'
        assert not reply.events
    assert ask(view, "/-/metrics").status == 401
    good = ask(view, PREFIX + path, client="8.8.8.8", authorization="Bearer secret")
    assert good.status not in {401, 403}


@pytest.mark.parametrize(
    ("client", "headers", "here"),
    [
        ("127.0.0.1", {"host": "localhost:8000"}, True),
        ("127.8.9.1", {"host": "127.0.0.1"}, True),
        ("::1", {"host": "[::1]:80"}, True),
        ("::ffff:127.0.0.1", {"host": "LOCALHOST"}, True),
        ("10.0.0.1", {"host": "localhost"}, False),
        ("::ffff:10.0.0.1", {"host": "localhost"}, False),
        ("", {"host": "localhost"}, False),  # A Unix socket: behind a proxy.
        ("testclient", {"host": "localhost"}, False),
        ("127.0.0.1", {"host": "evil.example"}, False),  # Its name leads to this machine.
        ("127.0.0.1", {"host": "localhost.evil.example"}, False),
        ("127.0.0.1", {"host": "[::1"}, False),
        ("127.0.0.1", {}, False),
        ("127.0.0.1", {"host": "localhost", "x-forwarded-for": "127.0.0.1"}, False),
        ("127.0.0.1", {"host": "localhost", "forwarded": "for=127.0.0.1"}, False),
        ("127.0.0.1", {"host": "localhost", "x-real-ip": "127.0.0.1"}, False),
    ],
)
def test_without_a_token_only_this_machine_is_answered(client, headers, here):
    assert from_here(client, headers) is here
    reply = View().answer(Ask("GET", f"{PREFIX}/all.json", headers, client))
    assert reply.status == (200 if here else 403)


# In Flask


def flask_app(**options):
    app = flask.Flask(__name__)
    LiveView(app, **options)
    app.add_url_rule("/data.csv", view_func=lambda: flask_stream([(1,)]), endpoint="data")
    return app


def test_a_flask_app_shows_its_streams_and_not_those_of_the_view():
    client = flask_app().test_client()
    client.get("/data.csv?_stream=our-download")
    with client.get(f"{PREFIX}/events", buffered=False) as events:
        first = next(iter(events.response))
        assert events.headers["Content-Type"] == "text/event-stream"
        assert events.headers["Cache-Control"] == "no-store"
        assert observe.running_streams() == []
    text = first.decode()
    assert text.startswith("retry: 1000\n\nevent: streams\ndata: ")
    (stream,) = json.loads(text.split("data: ")[1])["streams"]
    assert (stream["id"], stream["state"], stream["rows"]) == ("our-download", "complete", 1)
    assert client.get(f"{PREFIX}/all.json").json["streams"] == [stream]


def test_every_answer_in_flask_has_the_headers_of_the_view():
    client = flask_app(token="secret").test_client()
    assert client.get("/data.csv").status_code == 200
    assert client.get(f"{PREFIX}/").status_code == 401
    answer = client.get(f"{PREFIX}/", headers={"Authorization": basic("secret")})
    assert {name: answer.headers[name] for name in SAFE} == SAFE
    assert answer.status_code == 200
    assert client.head(f"{PREFIX}/", headers={"Authorization": basic("secret")}).data == b""
    answer = client.post(f"{PREFIX}/x/cancel", headers={"Authorization": "Bearer secret"})
    assert answer.status_code == 403
    answer = client.get(PREFIX, headers={"Authorization": "Bearer secret"})
    assert (answer.status_code, answer.headers["Location"]) == (308, "streams/")


def test_the_paths_can_be_chosen_in_flask_and_metrics_left_out():
    app = flask.Flask(__name__)
    view = LiveView(prefix="/admin/live", metrics=None)
    view.init_app(app)
    client = app.test_client()
    assert app.extensions["unspool.live"] is view
    assert client.get("/admin/live/all.json").json == {"streams": []}
    assert client.get(f"{PREFIX}/all.json").status_code == 404
    assert client.get("/-/metrics").status_code == 404


def test_metrics_are_those_of_prometheus():
    client = flask_app().test_client()
    client.get("/data.csv").close()
    answer = client.get("/-/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'unspool_streams_total{format="csv",outcome="complete"} ' in answer.text
    assert client.post("/-/metrics").status_code == 405


def test_without_prometheus_the_view_works_and_says_what_is_missing(monkeypatch):
    from unspool.live import view as module

    monkeypatch.setattr(module, "found", lambda package: None)
    client = flask_app().test_client()
    assert client.get(f"{PREFIX}/all.json").status_code == 200
    answer = client.get("/-/metrics")
    assert answer.status_code == 501
    assert "pip install 'unspool[live]'" in answer.json["detail"]


# Over ASGI


def starlette_app(**options):
    async def data(request):
        return unspool.starlette.stream([(1,)])

    app = Starlette(routes=[Route("/data.csv", data)])
    return asgi.live_view(app, **options)


def client_of(app, **options):
    return TestClient(app, "http://localhost", client=("127.0.0.1", 1), **options)


def test_an_asgi_app_shows_its_streams_and_not_those_of_the_view():
    app = starlette_app()
    client_of(app).get("/data.csv?_stream=our-download")

    async def first_event():
        headers = [(b"host", b"localhost")]
        return await ask_asgi(app, f"{PREFIX}/events", headers=headers, leave_after=1)

    answer = asyncio.run(first_event())
    assert ("content-type", "text/event-stream") in answer.headers
    text = answer.body.decode()
    assert text.startswith("retry: 1000\n\nevent: streams\ndata: ")
    (stream,) = json.loads(text.split("data: ")[1])["streams"]
    assert (stream["id"], stream["state"], stream["rows"]) == ("our-download", "complete", 1)
    assert client_of(app).get(f"{PREFIX}/all.json").json()["streams"] == [stream]


def test_every_asgi_answer_has_the_headers_of_the_view_and_its_length():
    client = client_of(starlette_app(token="secret"), follow_redirects=False)
    assert client.get("/data.csv").status_code == 200
    assert client.get(f"{PREFIX}/").status_code == 401
    client.headers["Authorization"] = basic("secret")
    answer = client.get(f"{PREFIX}/")
    assert {name: answer.headers[name] for name in SAFE} == SAFE
    assert int(answer.headers["content-length"]) == len(answer.content) > 500
    assert client.head(f"{PREFIX}/").content == b""
    assert client.post(f"{PREFIX}/x/cancel").status_code == 403
    answer = client.get(PREFIX)
    assert (answer.status_code, answer.headers["location"]) == (308, "streams/")
    assert client.get("/-/metrics").headers["content-type"].startswith("text/plain; version=")


def test_an_asgi_app_below_a_root_path_has_its_view_there():
    for path in ("/shop", ""):  # Servers put the root path into the path, or do not.
        client = client_of(starlette_app(), root_path=path)
        assert client.get(f"{path}{PREFIX}/all.json").json() == {"streams": []}
        assert client.get("/-/streamsx").status_code == 404


def test_everything_else_passes_the_middleware():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])
        if scope["type"] == "http":
            await PlainTextResponse("ok")(scope, receive, send)
        elif scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})

    with client_of(asgi.live_view(app)) as client:
        assert client.get("/").text == "ok"
    assert seen == ["lifespan", "http"]


# Over WSGI


def wsgi_ask(app, path, method="GET", **environ):
    """Status, headers and body; the app is checked as well."""
    setup_testing_defaults(environ)
    environ = {"QUERY_STRING": ""} | environ
    environ |= {"REQUEST_METHOD": method, "PATH_INFO": path, "REMOTE_ADDR": "127.0.0.1"}
    started = []
    body = validator(app)(environ, lambda *said: started.append(said))
    data = b"".join(itertools.islice(body, 1))
    body.close()
    return started[0][0], dict(started[0][1]), data


def test_a_wsgi_app_shows_its_streams_and_not_those_of_the_view():
    def data(environ, start_response):
        return wsgi.stream([(1,)])(environ, start_response)

    app = wsgi.live_view(data)
    wsgi_ask(app, "/data.csv", QUERY_STRING="_stream=our-download")
    status, headers, first = wsgi_ask(app, f"{PREFIX}/events")
    assert (status, headers["Content-Type"]) == ("200 OK", "text/event-stream")
    (stream,) = json.loads(first.split(b"data: ")[1])["streams"]
    assert (stream["id"], stream["rows"], stream["path"]) == ("our-download", 1, "/data.csv")
    status, headers, body = wsgi_ask(app, f"{PREFIX}/all.json")
    assert json.loads(body) == {"streams": [stream]}
    assert headers["Content-Length"] == str(len(body))
    assert headers["Content-Security-Policy"] == SAFE["content-security-policy"]
    assert wsgi_ask(app, f"{PREFIX}/", "HEAD")[2] == b""


def test_a_wsgi_app_asks_for_its_token():
    app = wsgi.live_view(lambda environ, start_response: [], token="secret")
    assert wsgi_ask(app, f"{PREFIX}/")[0] == "401 Unauthorized"
    good = basic("secret")
    assert wsgi_ask(app, f"{PREFIX}/", HTTP_AUTHORIZATION=good)[0] == "200 OK"
    status, _, body = wsgi_ask(app, f"{PREFIX}/x/cancel", "POST", HTTP_AUTHORIZATION=good)
    assert status == "403 Forbidden"
    headers = {"HTTP_AUTHORIZATION": good, "HTTP_X_REQUESTED_WITH": "x"}
    assert wsgi_ask(app, f"{PREFIX}/x/cancel", "POST", **headers)[0] == "404 Not Found"


# Folders and sockets


@pytest.fixture
def folder(monkeypatch, tmp_path):
    import tempfile

    monkeypatch.setattr(peers, "_ANSWER_WITHIN_S", 10)
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        monkeypatch.delenv("UNSPOOL_LIVE_DIR", raising=False)
        yield Path(path)


def listening(answer=lambda question: {"asked": question}):
    listener = peers.Listener(answer)
    listener.start()
    return listener


def test_a_process_answers_from_its_first_stream_on_and_leaves_nothing_behind(folder):
    listener = listening()
    path = listener.path
    assert path.name == f"{os.getpid()}.sock"
    assert path.parent.name.startswith(f"{os.getppid()}-")
    assert path.parent.parent == folder / f"unspool-{os.geteuid()}"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(peers.ask(path.parent, {"a": 1})) == [{"asked": {"a": 1}}]
    assert list(peers.ask(path.parent, {"a": 1}, but=path)) == []
    assert peers.folders() == [path.parent]
    assert peers.folders(os.getpid()) == peers.folders(os.getppid()) == [path.parent]
    assert peers.folders(1 << 30) == []
    listener.stop()
    assert list(folder.rglob("*.sock")) == []
    assert not path.parent.exists()
    listener.stop()  # The second time does nothing.


def test_what_is_no_question_is_not_answered_and_the_next_one_is(folder):
    import socket

    listener = listening()
    for nonsense in (b"", b"\n", b"{", b"x" * 5000 + b"\n", b"\xff\n"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(listener.path))
            sock.sendall(nonsense)
            sock.shutdown(socket.SHUT_WR)
            try:
                assert sock.recv(100) == b""
            except ConnectionResetError:
                pass
    assert list(peers.ask(listener.path.parent, {})) == [{"asked": {}}]
    listener.stop()


def test_a_process_is_not_to_be_found_before_it_listens(folder, monkeypatch):
    """Another one would take it for dead, and remove its socket."""
    import socket

    listen = socket.socket.listen

    def listen_after_another_has_asked(sock):
        assert list(peers.ask(peers.app_folder(), {})) == []
        listen(sock)

    monkeypatch.setattr(socket.socket, "listen", listen_after_another_has_asked)
    listener = listening()
    assert list(peers.ask(listener.path.parent, {})) == [{"asked": {}}]
    listener.stop()


def test_the_socket_of_a_dead_process_is_removed(folder):
    import socket

    listener = listening()
    dead = listener.path.with_name("1.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(dead))
    assert list(peers.ask(listener.path.parent, {})) == [{"asked": {}}]
    assert not dead.exists()
    listener.stop()


def test_what_killed_apps_have_left_behind_is_removed_when_another_begins(folder):
    import socket

    base = folder / f"unspool-{os.geteuid()}"
    for name in ("1-dead", "2-alive"):
        (base / name).mkdir(mode=0o700, parents=True)
    base.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX) as alive:
        dead.bind(str(base / "1-dead" / "1.sock"))
        alive.bind(str(base / "2-alive" / "2.sock"))
        alive.listen()
        listener = listening()
        assert sorted(base.iterdir()) == sorted([base / "2-alive", listener.path.parent])
        listener.stop()


def test_a_folder_that_others_can_enter_is_refused_and_named(folder):
    open_to_all = folder / "open"
    open_to_all.mkdir(mode=0o755)
    link = folder / "link"
    link.symlink_to(open_to_all)
    for path in (open_to_all, link):
        with pytest.raises(UsageError, match=f"{path} is not a folder of this user alone"):
            peers.private(path)
    assert peers.private(folder / "new").is_dir()


def test_a_process_that_cannot_listen_says_so_once_and_goes_on(folder, monkeypatch):
    monkeypatch.setenv("UNSPOOL_LIVE_DIR", str(folder / ("x" * 100)))
    with pytest.warns(UserWarning, match="other processes cannot see the streams of this one"):
        listener = listening()
    listener.start()
    assert list(folder.iterdir()) == []


def test_the_folder_can_be_named(folder, monkeypatch):
    monkeypatch.setenv("UNSPOOL_LIVE_DIR", str(folder / "ours"))
    listener = listening()
    assert listener.path == folder / "ours" / f"{os.getpid()}.sock"
    assert folder / "ours" in peers.folders()
    listener.stop()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_a_socket_of_its_own(folder, monkeypatch):
    listener = listening()
    child = os.fork()
    if not child:
        listener.forget()
        listener.start()
        time.sleep(60)
        os._exit(0)
    try:
        deadline = time.monotonic() + 30
        while len(list(folder.rglob("*.sock"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        names = {path.name for path in folder.rglob("*.sock")}
        assert names == {f"{os.getpid()}.sock", f"{child}.sock"}
        # The child is of another parent, as a worker of a worker would be.
        assert len({path.parent for path in folder.rglob("*.sock")}) == 2
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        listener.stop()


def test_a_peer_is_answered_with_records_and_cancels(monkeypatch):
    RECENT.watch()
    stream = new_stream(pipeline=new_pipeline())
    assert isinstance(stream.pipeline, Pipeline)
    (record,) = RECENT.answer({})["streams"]
    assert record["id"] == stream.id
    assert RECENT.answer({"cancel": "none"}) == {"cancelled": False}
    assert RECENT.answer({"cancel": stream.id}) == {"cancelled": True}
    stream.end("disconnect", None)
    assert RECENT.answer({"cancel": stream.id}) == {"cancelled": False}
    RECENT.forget()
    assert RECENT.answer({}) == {"streams": []}
