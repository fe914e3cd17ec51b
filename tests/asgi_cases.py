"""What every adapter for ASGI keeps to. A test class of an adapter says how its app is made."""

import asyncio
import contextvars
import sqlite3
import time
import zlib

import pytest
from asgi_client import AwaitedRows, PlainRows, ask, get
from helpers import encode, reader

from unspool.formats import find

HEADERS = [
    ("content-type", "application/x-ndjson"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
    ("x-content-type-options", "nosniff"),
]

variable = contextvars.ContextVar("variable", default="outside")


def expected(count, format="ndjson"):
    return encode([(n, f"text {n}") for n in range(count)], format)


class AsgiCases:
    # Headers that the framework adds by itself.
    more_headers = ()

    def app(self, rows, format="ndjson", *, before=lambda: None, **options):
        """An ASGI app that answers with `rows()`; its view calls `before` first."""
        raise NotImplementedError

    def check_late_error(self, error):
        assert isinstance(error, LookupError)

    @pytest.fixture(params=[PlainRows, AwaitedRows], ids=["plain", "awaited"])
    def new_rows(self, request):
        return request.param

    def watched(self, rows, **options):
        return self.app(lambda: rows, **rows.options(), **options)

    @pytest.mark.parametrize("count", [0, 1, 2, 5000])
    @pytest.mark.parametrize("format", ["csv", "ndjson"])
    def test_the_whole_answer_has_the_bytes_of_the_rows(self, new_rows, format, count):
        columns = ["n", "text"] if format == "csv" else None
        rows = new_rows(count)
        answer = get(self.watched(rows, format=format, columns=columns))
        want = encode([(n, f"text {n}") for n in range(count)], format, columns)
        assert (answer.status, answer.ended, answer.error) == (200, True, None)
        assert answer.body == want
        assert rows.log == ["started", "closed"]
        assert rows.hooks == [("complete", count, len(want))]

    def test_the_headers_are_those_of_the_stream(self, new_rows):
        answer = get(self.app(lambda: new_rows(1), filename="a.ndjson"))
        disposition = ("content-disposition", 'attachment; filename="a.ndjson"')
        assert sorted((name.lower(), value) for name, value in answer.headers) == sorted(
            [*HEADERS, disposition, *self.more_headers]
        )

    def test_status_and_headers_can_be_given(self, new_rows):
        headers = {"Content-Type": "text/x-log", "X-More": "1"}
        answer = get(self.app(lambda: new_rows(1), status=203, headers=headers))
        assert answer.status == 203
        assert sorted((name.lower(), value) for name, value in answer.headers) == sorted(
            [*HEADERS[1:], ("content-type", "text/x-log"), ("x-more", "1"), *self.more_headers]
        )

    @pytest.mark.parametrize(
        ("path", "accept", "format"),
        [
            ("/", b"*/*", "csv"),
            ("/?format=json", b"text/csv", "json"),
            ("/", b"application/json, text/csv;q=0.9", "json"),
        ],
    )
    def test_a_request_chooses_among_formats(self, new_rows, path, accept, format):
        rows = new_rows(3)
        app = self.watched(
            rows, format="csv", columns=["n", "t"], formats=["csv", "json"], filename="a"
        )
        answer = get(app, path, headers=[(b"accept", accept)])
        assert answer.body == encode([(n, f"text {n}") for n in range(3)], format, ["n", "t"])
        headers = {name.lower(): value for name, value in answer.headers}
        assert headers["content-disposition"] == f'attachment; filename="a.{format}"'
        assert headers["content-type"] == find(format).media_type
        assert headers["vary"].split(", ")[0] == "Accept"
        assert rows.log == ["started", "closed"]

    def test_a_request_that_wants_another_format_gets_406_and_what_there_is(self, new_rows):
        rows = new_rows(3)
        answer = get(self.watched(rows, format="csv", formats=["csv", "json"]), "/?format=xls")
        assert (answer.status, answer.ended, answer.error) == (406, True, None)
        assert ("vary", "Accept") in [(name.lower(), value) for name, value in answer.headers]
        assert b"?format=json  (application/json)" in answer.body
        assert rows.log == ["closed"]
        assert rows.hooks[-1] == ("disconnect", 0, 0)

    @pytest.mark.parametrize("format", ["csv", "json", "xlsx"])
    def test_a_failure_before_the_first_row_is_a_real_status(self, new_rows, format):
        rows = new_rows(fail_at=0)
        answer = get(self.watched(rows, format=format))
        assert (answer.status, answer.ended) == (500, True)
        assert rows.log == ["started", "closed"]
        assert rows.hooks == [("on_error", "boom"), ("error", 0, 0)]

    @pytest.mark.parametrize("fail_at", [1, 2, 1000])
    def test_a_later_failure_reaches_the_server_and_never_ends_the_answer(self, new_rows, fail_at):
        rows = new_rows(fail_at=fail_at)
        answer = get(self.watched(rows))
        assert answer.status == 200
        self.check_late_error(answer.error)
        assert not answer.ended
        assert answer.body == expected(fail_at)
        assert rows.log == ["started", "closed"]
        assert rows.hooks == [("on_error", "boom"), ("error", fail_at, len(answer.body))]

    @pytest.mark.parametrize("kind", [OSError, TimeoutError, ConnectionResetError])
    def test_a_source_that_fails_as_connections_do_has_failed(self, new_rows, kind):
        class Failing(new_rows):
            def _make(self, *args):
                yield from super()._make(*args)
                raise kind("boom")

        rows = Failing(3)
        answer = get(self.watched(rows))
        assert answer.error is not None
        assert not answer.ended
        assert rows.hooks[-1][0] == "error"

    def test_a_time_out_of_the_source_reaches_the_server_too(self, new_rows):
        rows = new_rows(gap_s=0.05)

        async def main():
            answer = await ask(self.watched(rows, deadline_s=1))
            await rows.closed_after(0)
            return answer

        answer = asyncio.run(main())
        assert answer.error is not None
        assert not answer.ended
        assert rows.hooks[-1][0] == "error"

    @pytest.mark.parametrize("chunks", [0, 1, 3])
    def test_a_client_that_leaves_closes_the_rows_once(self, new_rows, chunks):
        rows = new_rows(gap_s=0.01)

        async def main():
            answer = await ask(self.watched(rows, chunk_bytes=1), leave_after=chunks)
            assert await rows.closed_after(answer.left_at) < 5
            return answer

        answer = asyncio.run(main())
        assert not answer.ended
        assert answer.error is None
        assert rows.log == ["started", "closed"]
        assert rows.hooks[:1] == ["on_disconnect"]
        assert [told[0] for told in rows.hooks[1:]] == ["disconnect"]

    def test_a_client_that_leaves_before_the_first_row_closes_the_rows(self):
        class Late(AwaitedRows):
            async def __anext__(self):
                await asyncio.sleep(0.3)
                return await super().__anext__()

        rows = Late()

        async def main():
            answer = await ask(self.watched(rows), leave_after_s=0.05)
            assert await rows.closed_after(answer.left_at) < 5

        asyncio.run(main())
        assert rows.log[-1:] == ["closed"]
        assert [told[0] for told in rows.hooks[1:]] == ["disconnect"]

    def test_a_client_that_leaves_a_stuck_source_closes_it_after_its_row(self):
        free_at = []

        class Stuck(PlainRows):
            def __next__(self):
                if self.log:
                    time.sleep(1)
                    free_at.append(time.monotonic())
                return super().__next__()

        rows = Stuck()

        async def main():
            answer = await ask(self.watched(rows), leave_after=1)
            assert await rows.closed_after(answer.left_at) < 5

        asyncio.run(main())
        assert free_at and free_at[-1] <= rows.closed_at
        assert rows.log == ["started", "closed"]
        assert [told[0] for told in rows.hooks[1:]] == ["disconnect"]

    def test_a_head_request_runs_nothing_of_the_rows(self, new_rows):
        rows = new_rows()
        answer = get(self.watched(rows), method="HEAD")
        assert (answer.status, answer.ended, answer.body, answer.error) == (200, True, b"", None)
        assert ("content-type", "application/x-ndjson") in [
            (name.lower(), value) for name, value in answer.headers
        ]
        assert rows.log == ["closed"]
        assert rows.hooks == ["on_disconnect", ("disconnect", 0, 0)]

    @pytest.mark.alone
    def test_a_stuck_source_delays_no_row_and_does_not_block_the_loop(self):
        made, ticks = [], []

        def rows():
            for n in range(3):
                made.append(time.monotonic())
                yield (n,)
                time.sleep(0.4)

        async def tick():
            while True:
                ticks.append(time.monotonic())
                await asyncio.sleep(0.005)

        async def main():
            ticking = asyncio.create_task(tick())
            answer = await ask(self.app(rows))
            ticking.cancel()
            return answer

        answer = asyncio.run(main())
        assert answer.chunks == [b"[0]\n", b"[1]\n", b"[2]\n"]
        assert max(sent - at for sent, at in zip(answer.times, made)) < 0.1
        assert max(b - a for a, b in zip(ticks, ticks[1:])) < 0.1

    def test_a_database_opened_by_the_rows_stays_on_its_thread(self):
        def rows():
            database = sqlite3.connect(":memory:")
            try:
                database.execute("create table t (n)")
                database.executemany("insert into t values (?)", [(n,) for n in range(3000)])
                yield from database.execute("select n from t")
            finally:
                database.close()

        answer = get(self.app(rows))
        assert answer.error is None
        assert answer.body == encode([(n,) for n in range(3000)], "ndjson")

    def test_the_rows_run_in_the_context_of_the_view(self, new_rows):
        class Seeing(new_rows):
            def _make(self, *args):
                for n, _ in super()._make(*args):
                    yield (n, variable.get())

        answer = get(self.app(lambda: Seeing(2000), before=lambda: variable.set("inside")))
        assert answer.error is None
        assert answer.body == encode([(n, "inside") for n in range(2000)], "ndjson")

    @pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
    def test_a_compressed_answer_decodes_chunk_by_chunk_to_the_rows(self, new_rows, coding):
        rows = new_rows(5000)
        accept = [(b"accept-encoding", coding.encode())]
        answer = get(self.watched(rows, compress=True), headers=accept)
        read = reader(coding)
        parts = [read(chunk) for chunk in answer.chunks]
        assert (answer.status, answer.ended, answer.error) == (200, True, None)
        assert b"".join(parts) == expected(5000)
        assert parts[0] == expected(1)
        assert sorted((name.lower(), value) for name, value in answer.headers) == sorted(
            [*HEADERS, ("content-encoding", coding), ("vary", "Accept-Encoding")]
        )
        assert rows.hooks == [("complete", 5000, len(answer.body))]

    @pytest.mark.parametrize("accept", [[], [(b"accept-encoding", b"deflate, br;q=0")]])
    def test_what_the_client_cannot_decode_is_not_compressed_but_varies(self, new_rows, accept):
        answer = get(self.app(lambda: new_rows(100), compress=True), headers=accept)
        assert answer.body == expected(100)
        assert sorted((name.lower(), value) for name, value in answer.headers) == sorted(
            [*HEADERS, ("vary", "Accept-Encoding")]
        )

    def test_a_compressed_answer_that_fails_is_cut_off_after_the_rows_before(self, new_rows):
        accept = [(b"accept-encoding", b"gzip")]
        rows = new_rows(fail_at=1000)
        answer = get(self.watched(rows, compress=True), headers=accept)
        self.check_late_error(answer.error)
        assert not answer.ended
        decoder = zlib.decompressobj(31)
        assert decoder.decompress(answer.body) == expected(1000)
        assert not decoder.eof

    def test_head_has_the_headers_of_the_compressed_answer(self, new_rows):
        accept = [(b"accept-encoding", b"br")]
        rows = new_rows(10)
        got = get(self.app(lambda: new_rows(10), compress=True), headers=accept)
        head = get(self.app(lambda: rows, compress=True), method="HEAD", headers=accept)
        assert sorted(head.headers) == sorted(got.headers)
        assert ("content-encoding", "br") in [(name.lower(), value) for name, value in head.headers]
        assert (head.body, rows.log) == (b"", ["closed"])

    def test_headers_of_the_view_are_joined_or_left_out_when_compressed(self, new_rows):
        headers = {"Vary": "Origin", "Content-Length": "7"}
        self.check_compressed_headers(
            self.app(lambda: new_rows(10), compress=True, headers=headers)
        )

    def check_compressed_headers(self, app):
        answer = get(app, headers=[(b"accept-encoding", b"gzip")])
        told = {name.lower(): value for name, value in answer.headers}
        assert told["vary"] == "Accept-Encoding, Origin"
        assert "content-length" not in told
        assert zlib.decompress(answer.body, 31) == expected(10)
