"""The client in the process: it takes one chunk at a time, and can leave."""

import asyncio

import pytest

from unspool.client import Client, is_asgi


class Wsgi:
    def __init__(self, fail_at=None, at_once=True):
        self.log = []
        self.fail_at = fail_at

    def __call__(self, environ, start_response):
        self.environ = environ
        start_response("201 Created", [("X-One", "1"), ("X-Two", "2"), ("X-Two", "3")])
        return self

    def __iter__(self):
        for n in range(4):
            if n == self.fail_at:
                raise LookupError("boom")
            self.log.append(n)
            yield b"%d" % n

    def close(self):
        self.log.append("closed")


class Asgi(Wsgi):
    async def __call__(self, scope, receive, send):
        self.scope = scope
        assert (await receive())["type"] == "http.request"
        headers = [(b"x-one", b"1"), (b"x-two", b"2"), (b"x-two", b"3")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        leaving = asyncio.ensure_future(receive())
        try:
            for chunk in iter(self):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if leaving.done():
                    assert leaving.result() == {"type": "http.disconnect"}
                    return
            await send({"type": "http.response.body"})
        finally:
            leaving.cancel()
            self.close()


kinds = pytest.mark.parametrize("kind", [Wsgi, Asgi])


def test_an_app_is_told_by_how_it_is_called():
    async def function(scope, receive, send): ...

    def wrapped(scope, receive, send): ...

    def wsgi(environ, start_response, extra=None): ...

    assert [is_asgi(app) for app in (Asgi(), function, wrapped)] == [True] * 3
    assert [is_asgi(app) for app in (Wsgi(), wsgi, print)] == [False] * 3


@kinds
def test_a_chunk_is_made_when_it_is_asked_for(kind):
    app = kind()
    with Client(app) as client, client.get("/a%20b?c=d", headers={"X-Y": "z"}) as answer:
        assert answer.status == 201
        assert (answer.header("x-one"), answer.header("x-two"), answer.header("no")) == (
            "1",
            "2, 3",
            None,
        )
        for n in range(4):
            assert next(answer) == b"%d" % n
            assert app.log == list(range(n + 1))
        assert list(answer) == []
        assert answer.ended
    assert app.log == [0, 1, 2, 3, "closed"]


def test_what_a_wsgi_app_is_told():
    app = Wsgi()
    with Client(app) as client:
        client.get("/a%20b?c=d", headers={"X-Y": "z", "Host": "shop"}, method="HEAD").close()
    names = ["REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_X_Y", "HTTP_HOST"]
    assert [app.environ[name] for name in names] == ["HEAD", "/a b", "c=d", "z", "shop"]


def test_what_an_asgi_app_is_told():
    app = Asgi()
    with Client(app) as client:
        client.get("/a%20b?c=d", headers={"X-Y": "z"}).close()
    names = ["method", "path", "raw_path", "query_string", "headers"]
    headers = [(b"host", b"testserver"), (b"x-y", b"z")]
    assert [app.scope[name] for name in names] == ["GET", "/a b", b"/a%20b", b"c=d", headers]


@kinds
@pytest.mark.parametrize("after", [0, 1, 3])
def test_leaving_closes_the_answer_and_makes_no_more(kind, after):
    app = kind()
    with Client(app) as client, client.get("/") as answer:
        for _ in range(after):
            next(answer)
        made = len(app.log)
    assert app.log == [*range(made), "closed"]
    assert not answer.ended


@kinds
@pytest.mark.parametrize("at", [1, 3])
def test_a_failure_is_raised_after_what_came_before_it(kind, at):
    app = kind(fail_at=at)
    with Client(app) as client, client.get("/") as answer:
        assert [next(answer) for _ in range(at)] == [b"%d" % n for n in range(at)]
        with pytest.raises(LookupError):
            next(answer)
        assert not answer.ended
    assert app.log[-1] == "closed"


def test_a_failure_after_the_end_is_kept():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x"})
        raise LookupError("late")

    with Client(app) as client, client.get("/") as answer:
        assert list(answer) == [b"x"]
    assert answer.ended and isinstance(answer.error, LookupError)


def test_an_app_that_gives_nothing_is_not_waited_for_for_ever():
    async def app(scope, receive, send):
        await asyncio.Event().wait()

    with Client(app, patience_s=0.05) as client, pytest.raises(TimeoutError, match="0.05 s"):
        client.get("/")


def test_write_and_a_generator_as_the_app():
    def app(environ, start_response):
        write = start_response("200 OK", [])
        write(b"written")
        yield b"given"

    with Client(app) as client, client.get("/") as answer:
        assert list(answer) == [b"written", b"given"]


def test_start_response_twice_needs_a_reason():
    def app(environ, start_response):
        start_response("200 OK", [])
        start_response("500 Oh", [])
        return []

    def failed(environ, start_response):
        start_response("200 OK", [])
        try:
            raise LookupError("boom")
        except LookupError as error:
            start_response("500 Oh", [], (LookupError, error, None))
        return []

    with Client(app) as client, pytest.raises(AssertionError, match="twice"):
        client.get("/")
    with Client(failed) as client:
        assert client.get("/").status == 500
