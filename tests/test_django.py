import asyncio
import gzip
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from wsgiref.util import setup_testing_defaults

import pytest
from asgi_cases import AsgiCases, expected, variable
from asgi_client import AwaitedRows, PlainRows, ask, get
from asgiref.sync import sync_to_async
from django import VERSION
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection, connections
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.test import AsyncClient, Client, override_settings
from django.utils import translation
from django.views.decorators.gzip import gzip_page
from django_project import route
from helpers import encode, reader
from template_cases import PageCases, TemplateCases

from unspool import Csv, NotIterable, UsageError
from unspool.django import (
    stream,
    stream_csv,
    stream_template,
    stream_template_string,
    stream_with_context,
)

GZIP = "django.middleware.gzip.GZipMiddleware"
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"


def new_app(view, middleware=(), handler=ASGIHandler):
    route(view)
    with override_settings(MIDDLEWARE=list(middleware)):
        return handler()


class DjangoCases(AsgiCases):
    middleware = ()

    def view(self, rows, format, before, options):
        async def view(request):
            before()
            return stream(request, rows(), format, **options)

        return view

    def app(self, rows, format="ndjson", *, before=lambda: None, **options):
        return new_app(self.view(rows, format, before, options), self.middleware)


class TestAsyncView(DjangoCases):
    pass


class TestSyncView(DjangoCases):
    def view(self, rows, format, before, options):
        def view(request):
            before()
            return stream(request, rows(), format, **options)

        return view


def sync_only(get_response):
    return lambda request: get_response(request)


class TestUnderMiddlewares(DjangoCases):
    middleware = (
        GZIP,
        CONDITIONAL,
        f"{__name__}.sync_only",
        "django.middleware.common.CommonMiddleware",
    )
    # Before Django 6.0, its GZipMiddleware leaves our answers alone.
    more_headers = () if VERSION < (6, 0) else (("vary", "Accept-Encoding"),)


def call(app, method="GET", **environ):
    """The status, headers and iterable that a WSGI server gets."""
    setup_testing_defaults(environ)
    started = []
    iterable = app(
        environ | {"REQUEST_METHOD": method},
        lambda status, headers: started.append((status, headers)),
    )
    return *started[0], iterable


def wsgi_app(rows, format="ndjson", middleware=(), **options):
    def view(request):
        return stream(request, rows, format, **options)

    return new_app(view, middleware, WSGIHandler)


def watched(rows, **options):
    return wsgi_app(rows, **rows.options(), **options)


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
@pytest.mark.parametrize("format", ["csv", "ndjson"])
def test_wsgi_gives_the_whole_answer(format, count):
    rows = PlainRows(count)
    columns = ["n", "text"] if format == "csv" else None
    status, _, iterable = call(watched(rows, format=format, columns=columns))
    body = b"".join(iterable)
    iterable.close()
    assert status == "200 OK"
    assert body == encode([(n, f"text {n}") for n in range(count)], format, columns)
    assert rows.log == ["started", "closed"]
    assert rows.hooks == [("complete", count, len(body))]


def test_wsgi_gives_the_headers_of_the_stream():
    _, headers, iterable = call(wsgi_app([(1,)], filename="a.ndjson", headers={"X-More": "1"}))
    iterable.close()
    assert headers == [
        ("Content-Type", "application/x-ndjson"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Disposition", 'attachment; filename="a.ndjson"'),
        ("X-More", "1"),
    ]


def test_wsgi_answers_406_with_what_there_is_and_closes_the_rows():
    rows = PlainRows(1)
    app = watched(rows, format="csv", formats=["csv", "json"])
    status, headers, iterable = call(app, QUERY_STRING="format=xls")
    assert status.startswith("406")
    assert ("Vary", "Accept") in headers
    assert b"?format=json" in b"".join(iterable)
    assert rows.log == ["closed"]
    status, headers, iterable = call(
        wsgi_app([(1,)], "csv", formats=["csv", "json"]), HTTP_ACCEPT="application/json"
    )
    assert (status, b"".join(iterable)) == ("200 OK", b"[\n[1]\n]\n")


def test_wsgi_gives_a_failure_before_the_first_row_a_real_status():
    rows = PlainRows(fail_at=0)
    status, _, iterable = call(watched(rows))
    assert status == "500 Internal Server Error"
    iterable.close()
    assert rows.log == ["started", "closed"]
    assert rows.hooks == [("on_error", "boom"), ("error", 0, 0)]


@pytest.mark.parametrize("middleware", [(), (GZIP, CONDITIONAL)])
@pytest.mark.parametrize("fail_at", [1, 2, 1000])
def test_wsgi_raises_a_later_failure_to_the_server(fail_at, middleware):
    rows = PlainRows(fail_at=fail_at)
    _, _, iterable = call(watched(rows, middleware=middleware), HTTP_ACCEPT_ENCODING="gzip")
    chunks = []
    with pytest.raises(LookupError, match="boom"):
        for chunk in iterable:
            chunks.append(chunk)
    iterable.close()
    assert (
        zlib.decompressobj(31).decompress(b"".join(chunks)) if middleware else b"".join(chunks)
    ) == (b"" if middleware else expected(fail_at))
    assert rows.log == ["started", "closed"]
    assert rows.hooks[0] == ("on_error", "boom")
    assert len(rows.hooks) == 2


def test_wsgi_resets_the_connection_where_the_server_would_end_cleanly():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    more = {"SERVER_PROTOCOL": "HTTP/1.0", "gunicorn.socket": server}
    _, _, iterable = call(wsgi_app(PlainRows(fail_at=1)), **more)
    with pytest.raises(LookupError):
        list(iterable)
    iterable.close()
    with client, server, pytest.raises(ConnectionResetError):
        client.recv(1)


@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_wsgi_closes_the_rows_once_when_the_client_leaves(chunks):
    rows = PlainRows(gap_s=0.01)
    _, _, iterable = call(watched(rows, chunk_bytes=1))
    started = iter(iterable)
    for _ in range(chunks):
        next(started)
    left_at = time.monotonic()
    iterable.close()
    iterable.close()
    assert rows.closed_at - left_at < 5
    assert rows.log == ["started", "closed"]
    assert rows.hooks[0] == "on_disconnect"
    assert [told[0] for told in rows.hooks[1:]] == ["disconnect"]


def test_wsgi_runs_nothing_of_the_rows_for_head():
    rows = PlainRows()
    status, headers, iterable = call(watched(rows), "HEAD")
    assert (status, list(iterable)) == ("200 OK", [])
    iterable.close()
    assert headers[0] == ("Content-Type", "application/x-ndjson")
    assert rows.log == ["closed"]
    assert rows.hooks == ["on_disconnect", ("disconnect", 0, 0)]


@pytest.mark.alone
def test_wsgi_sends_the_rows_before_a_stuck_one():
    made = []

    def rows():
        for n in range(3):
            made.append(time.monotonic())
            yield (n,)
            time.sleep(0.3)

    sent = []
    _, _, iterable = call(wsgi_app(rows()))
    for _ in iterable:
        sent.append(time.monotonic())
    iterable.close()
    assert max(at - since for at, since in zip(sent, made)) < 0.1


def test_wsgi_refuses_async_rows():
    async def rows():
        yield 1

    def view(request):
        with pytest.raises(NotIterable, match="asynchronous"):
            stream(request, rows())
        return HttpResponse("refused")

    _, _, iterable = call(new_app(view, handler=WSGIHandler))
    assert b"".join(iterable) == b"refused"
    iterable.close()


def query_rows(threads):
    """Rows from a database, with another query for each."""
    with connection.cursor() as numbers, connection.cursor() as texts:
        numbers.execute("select n from t order by n")
        for (n,) in numbers:
            threads.add(threading.get_ident())
            texts.execute("select %s", [f"text {n}"])
            yield (n, *texts.fetchone())


def fill_table():
    with connection.cursor() as cursor:
        cursor.execute("create table t (n)")
        cursor.executemany("insert into t values (%s)", [(n,) for n in range(2000)])


def test_wsgi_rows_stay_with_the_database_connection_of_the_request():
    threads = set()

    def view(request):
        fill_table()
        return stream(request, query_rows(threads), "ndjson")

    _, _, iterable = call(new_app(view, handler=WSGIHandler))
    assert b"".join(iterable) == expected(2000)
    iterable.close()
    connections.close_all()
    assert threads == {threading.get_ident()}


def test_wsgi_closes_the_connections_that_rows_open_on_a_thread_of_their_own(monkeypatch):
    log = []

    def rows():
        yield (0,)
        with connection.cursor() as cursor:
            cursor.execute("select 1")
            log.append(("opened", threading.get_ident()))
            yield cursor.fetchone()

    def close_all():
        log.append(("closed", threading.get_ident()))

    monkeypatch.setattr(connections, "close_all", close_all)

    def serve():
        log.append(threading.get_ident())
        _, _, iterable = call(wsgi_app(rows(), release=lambda: log.append("released")))
        assert b"".join(iterable) == b"[0]\n[1]\n"
        iterable.close()

    with ThreadPoolExecutor(1) as server:  # A thread that has no connection yet.
        server.submit(serve).result()
    served_by, (_, thread), *after = log
    assert thread != served_by
    assert after == ["released", ("closed", thread)]


@pytest.mark.parametrize("is_async", [False, True])
def test_asgi_rows_use_the_thread_and_connections_of_sync_views(is_async):
    threads, views = set(), set()

    def prepare():
        views.add(threading.get_ident())
        fill_table()

    def view(request):
        prepare()
        return stream(request, query_rows(threads), "ndjson")

    async def aview(request):
        await sync_to_async(prepare)()
        return stream(request, query_rows(threads), "ndjson")

    answer = get(new_app(aview if is_async else view))
    assert answer.error is None
    assert answer.body == expected(2000)
    assert threads == views


@pytest.mark.parametrize("middleware", [(), (f"{__name__}.sync_only",)])
def test_asgi_async_rows_can_call_sync_code(middleware):
    async def rows():
        await sync_to_async(fill_table)()
        for row in await sync_to_async(lambda: list(query_rows(set())))():
            yield row
        assert await sync_to_async(lambda: len(list(query_rows(set()))))() == 2000

    async def view(request):
        return stream(request, rows(), "ndjson")

    answer = get(new_app(view, middleware))
    assert answer.error is None
    assert answer.body == expected(2000)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("handler", [ASGIHandler, WSGIHandler])
def test_rows_speak_the_language_of_their_view(is_async, handler):
    def rows():
        for _ in range(2000):
            yield (translation.get_language(),)

    async def arows():
        for row in rows():
            yield row

    def view(request):
        translation.activate("de")
        source = arows() if is_async and handler is ASGIHandler else rows()
        return stream(request, source, "ndjson")

    async def aview(request):
        return view(request)

    app = new_app(aview if is_async and handler is ASGIHandler else view, handler=handler)
    if handler is ASGIHandler:
        body = get(app).body
    else:
        _, _, iterable = call(app)
        body = b"".join(iterable)
        iterable.close()
    translation.deactivate()
    assert body == b'["de"]\n' * 2000


@pytest.mark.parametrize("handler", [ASGIHandler, WSGIHandler])
@pytest.mark.parametrize("decorated", [False, True])
def test_gzip_gets_all_chunks(handler, decorated):
    def view(request):
        return stream(request, PlainRows(3000), "ndjson")

    view = gzip_page(view) if decorated else view
    app = new_app(view, () if decorated else (GZIP, CONDITIONAL), handler)
    if handler is ASGIHandler:
        client = get(app, headers=[(b"accept-encoding", b"gzip")])
        assert b"content-encoding" not in dict(client.headers)
        assert client.body == expected(3000)
        return
    _, _, iterable = call(app, HTTP_ACCEPT_ENCODING="gzip")
    decoder = zlib.decompressobj(31)
    body = decoder.decompress(b"".join(iterable))
    iterable.close()
    assert body == expected(3000)
    assert decoder.unused_data == b""  # Clients read the first gzip stream only.


@pytest.mark.parametrize("new_rows", [PlainRows, AwaitedRows])
def test_asgi_closes_a_stream_that_a_middleware_replaced(new_rows):
    rows = new_rows()

    async def view(request):
        return stream(request, rows, headers={"ETag": '"1"'}, **rows.options())

    async def main():
        answer = await ask(new_app(view, [CONDITIONAL]), headers=[(b"if-none-match", b'"1"')])
        await rows.closed_after(time.monotonic())
        return answer

    answer = asyncio.run(main())
    assert (answer.status, answer.ended) == (304, True)
    assert rows.log == ["started", "closed"]
    assert [told[0] for told in rows.hooks[1:]] == ["disconnect"]


def test_wsgi_closes_a_stream_that_a_middleware_replaced():
    rows = PlainRows()
    status, _, iterable = call(
        watched(rows, middleware=[CONDITIONAL], headers={"ETag": '"1"'}), HTTP_IF_NONE_MATCH='"1"'
    )
    iterable.close()
    assert status == "304 Not Modified"
    assert rows.log == ["started", "closed"]
    assert [told[0] for told in rows.hooks[1:]] == ["disconnect"]


@pytest.mark.parametrize("new_rows", [PlainRows, AwaitedRows])
@pytest.mark.parametrize("rendered", [False, True])
def test_closing_a_response_that_was_never_sent_closes_the_rows(new_rows, rendered):
    rows = new_rows()

    class Asked:
        method, scope, META = "GET", {}, {}

    async def main():
        response = stream(Asked, rows, **rows.options())
        if rendered:
            await response.render()
        await sync_to_async(response.close)()
        await sync_to_async(response.close)()

    asyncio.run(main())
    assert rows.log == (["started", "closed"] if rendered else ["closed"])
    assert [told[0] for told in rows.hooks[1:]] == ["disconnect"]


class ErrorPage:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, error):
        return HttpResponse(f"Sorry: {error}", status=503)

    def process_template_response(self, request, response):
        response.context_data["title"] = "Title"
        return response


@pytest.mark.parametrize("handler", [ASGIHandler, WSGIHandler])
def test_middlewares_can_answer_an_early_failure(handler):
    def view(request):
        return stream(request, PlainRows(fail_at=0))

    app = new_app(view, [f"{__name__}.ErrorPage"], handler)
    if handler is ASGIHandler:
        answer = get(app)
        assert (answer.status, answer.body) == (503, b"Sorry: boom")
    else:
        status, _, iterable = call(app)
        assert (status, b"".join(iterable)) == ("503 Service Unavailable", b"Sorry: boom")
        iterable.close()


@pytest.mark.parametrize("middleware", [(), (f"{__name__}.sync_only",)])
@pytest.mark.parametrize("new_rows", [PlainRows, AwaitedRows])
def test_a_sync_view_can_answer_an_early_failure_itself_under_asgi(new_rows, middleware):
    rows = new_rows(fail_at=0)

    def view(request):
        try:
            return stream(request, rows, **rows.options())
        except LookupError as error:
            return HttpResponse(f"Sorry: {error}", status=503)

    answer = get(new_app(view, middleware))
    assert (answer.status, answer.body) == (503, b"Sorry: boom")
    assert rows.log == ["started", "closed"]
    assert rows.hooks == [("on_error", "boom"), ("error", 0, 0)]


@pytest.mark.parametrize("new_rows", [PlainRows, AwaitedRows])
@pytest.mark.parametrize("fail_at", [0, 1])
def test_an_async_view_can_render_before_it_returns(new_rows, fail_at):
    rows = new_rows(fail_at=fail_at)

    async def view(request):
        try:
            response = stream(request, rows, "ndjson")
            await response.render()
        except LookupError as error:
            return HttpResponse(f"Sorry: {error}", status=503)
        return response

    answer = get(new_app(view))
    if fail_at:
        assert (answer.status, answer.body, answer.ended) == (200, expected(1), False)
    else:
        assert (answer.status, answer.body) == (503, b"Sorry: boom")


def test_rows_under_asgi_have_the_language_of_the_call():
    def view(request):
        with translation.override("de"):
            return stream(request, ([translation.get_language()] for _ in range(2000)), "ndjson")

    async def aview(request):
        return view(request)

    for each in (view, aview):
        assert get(new_app(each)).body == b'["de"]\n' * 2000


def test_middlewares_for_templates_do_no_harm():
    def view(request):
        return stream(request, PlainRows(3), "ndjson")

    assert get(new_app(view, [f"{__name__}.ErrorPage"])).body == expected(3)


def test_the_test_clients_of_django_get_the_whole_answer():
    def view(request):
        return stream_csv(request, [(1, "a")], Csv(delimiter=";"))

    async def aview(request):
        return view(request)

    async def main():
        response = await AsyncClient().get("/")
        return b"".join([chunk async for chunk in response.streaming_content])

    route(view)
    assert b"".join(Client().get("/").streaming_content) == b"1;a\r\n"
    assert asyncio.run(main()) == b"1;a\r\n"
    route(aview)
    assert asyncio.run(main()) == b"1;a\r\n"
    assert b"".join(Client().get("/").streaming_content) == b"1;a\r\n"


@pytest.mark.parametrize("accept", ["gzip", "gzip, br, zstd"])
@pytest.mark.parametrize("handler", [WSGIHandler, ASGIHandler])
def test_djangos_gzip_leaves_what_is_compressed_alone(accept, handler):
    def view(request):
        return stream(request, PlainRows(1000), "ndjson", compress=True)

    app = new_app(gzip_page(view), [GZIP], handler)
    coding = "zstd" if "zstd" in accept else "gzip"
    if handler is WSGIHandler:
        _, headers, iterable = call(app, HTTP_ACCEPT_ENCODING=accept)
        body = b"".join(iterable)
        iterable.close()
    else:
        answer = get(app, headers=[(b"accept-encoding", accept.encode())])
        headers, body = answer.headers, answer.body
    told = {name.lower(): value for name, value in headers}
    assert (told["content-encoding"], told["vary"]) == (coding, "Accept-Encoding")
    assert reader(coding)(body) == expected(1000)


def test_djangos_gzip_compresses_what_we_do_not():
    """So that the test above can fail."""
    _, headers, iterable = call(
        wsgi_app(PlainRows(1000), middleware=[GZIP]), HTTP_ACCEPT_ENCODING="gzip"
    )
    assert gzip.decompress(b"".join(iterable)) == expected(1000)
    iterable.close()


# Templates


def page_view(source, context, is_async, before, extensions):
    def view(request):
        before()
        engine = "awaited" if is_async else "plain"
        engine += " pages" if extensions else ""
        return stream_template_string(request, source, context, using=engine)

    return view


class TestTemplateOfSyncView(TemplateCases, PageCases):
    def app(self, source, context, is_async, *, before=lambda: None, extensions=()):
        return new_app(page_view(source, context, is_async, before, extensions))


class TestTemplateOfAsyncView(TemplateCases, PageCases):
    def app(self, source, context, is_async, *, before=lambda: None, extensions=()):
        view = page_view(source, context, is_async, before, extensions)

        async def aview(request):
            return view(request)

        return new_app(aview)


def the_page(app, handler, **headers):
    """The status, headers and body of a page, by any interface."""
    if handler is ASGIHandler:
        answer = get(app)
        return answer.status, {n.lower(): v.strip() for n, v in answer.headers}, answer.body
    status, headers, iterable = call(app)
    body = b"".join(iterable)
    iterable.close()
    return int(status.split()[0]), {n.lower(): v.strip() for n, v in headers}, body


@pytest.mark.parametrize("handler", [ASGIHandler, WSGIHandler])
def test_a_template_by_name_has_what_render_gives_it(handler):
    given = {"n": 5}

    def ours(request):
        return stream_template(request, ["missing.html", "a.html"], given, status=203)

    def theirs(request):
        return render(request, "a.html", dict(given), status=203)

    ours, theirs = (the_page(new_app(view, handler=handler), handler) for view in (ours, theirs))
    token = b'/ GET 5 <input type="hidden" name="csrfmiddlewaretoken" value="'
    assert ours[2][: len(token)] == theirs[2][: len(token)] == token
    assert len(ours[2]) == len(theirs[2])
    assert ours[0] == theirs[0] == 203
    assert ours[1]["content-type"] == theirs[1]["content-type"]
    assert given == {"n": 5}


@pytest.mark.parametrize("handler", [ASGIHandler, WSGIHandler])
def test_the_cookie_of_the_csrf_token_goes_out_before_the_page(handler):
    def view(request):
        rows = range(3000)
        return stream_template_string(
            request, "{% for n in rows %}{{ n }}{% endfor %}{{ csrf_token }}", {"rows": rows}
        )

    app = new_app(view, ["django.middleware.csrf.CsrfViewMiddleware"], handler)
    _, headers, _ = the_page(app, handler)
    assert headers["set-cookie"].startswith("csrftoken=")


def test_wsgi_sends_a_template_piece_by_piece_and_breaks_off_a_late_failure():
    def view(request):
        return stream_template_string(request, "fine {{ 1 // n }}", {"n": 0})

    status, _, iterable = call(new_app(view, handler=WSGIHandler))
    chunks = iter(iterable)
    assert (status, next(chunks)) == ("200 OK", b"fine ")
    with pytest.raises(ZeroDivisionError):
        next(chunks)
    iterable.close()


def test_templates_of_the_wrong_engine_are_refused():
    def view(request):
        with pytest.raises(UsageError, match="Django's own templates cannot"):
            stream_template_string(request, "x", using="django")
        with pytest.raises(UsageError, match="enable_async=True"):
            stream_template_string(request, "x", using="awaited")
        with (
            override_settings(TEMPLATES=settings.TEMPLATES[:1]),
            pytest.raises(UsageError, match=r"the engines are \['django'\]"),
        ):
            stream_template_string(request, "x")
        return HttpResponse("refused")

    assert the_page(new_app(view, handler=WSGIHandler), WSGIHandler)[2] == b"refused"


# stream_with_context


@pytest.mark.parametrize("handler", [ASGIHandler, WSGIHandler])
@pytest.mark.parametrize("is_async", [False, True])
def test_items_keep_the_language_and_variables_of_their_call(handler, is_async):
    if is_async and handler is WSGIHandler:
        return

    def items():
        for _ in range(300):
            yield f"{translation.get_language()} {variable.get()};"

    async def awaited():
        for item in items():
            yield item

    def view(request):
        with translation.override("de"):
            token = variable.set("inside")
            made = stream_with_context(request, awaited() if is_async else items())
            variable.reset(token)
        return StreamingHttpResponse(made)

    async def aview(request):
        return view(request)

    for each in [view, aview][: 1 if handler is WSGIHandler else 2]:
        assert the_page(new_app(each, handler=handler), handler)[2] == b"de inside;" * 300


@pytest.mark.alone
def test_plain_items_stream_under_asgi_and_use_the_connections_of_the_view():
    threads, views, times = set(), set(), []

    def items(request):
        started = time.monotonic()
        for n, text in query_rows(threads):
            if n == 1999:
                time.sleep(0.4)
            times.append(time.monotonic() - started)
            yield f"{n} {text};"

    def view(request):
        views.add(threading.get_ident())
        fill_table()
        return StreamingHttpResponse(stream_with_context(request, items)(request))

    started = time.monotonic()
    answer = get(new_app(view))
    assert answer.body == b"".join(b"%d text %d;" % (n, n) for n in range(2000))
    assert threads == views
    assert answer.times[-2] - started < 0.4 <= answer.times[-1] - started


@pytest.mark.parametrize("middleware", [(), (f"{__name__}.sync_only",)])
def test_async_items_can_call_sync_code(middleware):
    async def items():
        for n in range(3):
            yield await sync_to_async(lambda: f"{n};")()

    async def view(request):
        return StreamingHttpResponse(stream_with_context(request, items()))

    answer = get(new_app(view, middleware))
    assert (answer.error, answer.body) == (None, b"0;1;2;")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_client_that_leaves_closes_the_items(is_async):
    log = []

    def items():
        try:
            while True:
                time.sleep(0.01)
                yield "x"
        finally:
            log.append(("closed", time.monotonic(), threading.get_ident()))

    async def awaited():
        try:
            while True:
                await asyncio.sleep(0.01)
                yield "x"
        finally:
            log.append(("closed", time.monotonic(), threading.get_ident()))

    views = []

    def view(request):
        views.append(threading.get_ident())
        return StreamingHttpResponse(
            stream_with_context(request, (awaited if is_async else items)())
        )

    async def main():
        answer = await ask(new_app(view), leave_after=3)
        for _ in range(2000):
            await asyncio.sleep(0.005)
            if log:
                break
        return answer.left_at

    left_at = asyncio.run(main())
    assert len(log) == 1
    assert log[0][1] - left_at < 5
    assert is_async or log[0][2] == views[0]


def test_wsgi_closes_the_items_with_the_response():
    log = []

    def items():
        try:
            yield from "abc"
        finally:
            log.append("closed")

    def view(request):
        return StreamingHttpResponse(stream_with_context(request, items()))

    _, _, iterable = call(new_app(view, handler=WSGIHandler))
    assert next(iter(iterable)) == b"a"
    iterable.close()
    iterable.close()
    assert log == ["closed"]


def test_wsgi_refuses_async_items():
    async def items():
        yield "x"

    def view(request):
        with pytest.raises(NotIterable, match="asynchronous"):
            stream_with_context(request, items())
        return HttpResponse("refused")

    assert the_page(new_app(view, handler=WSGIHandler), WSGIHandler)[2] == b"refused"
