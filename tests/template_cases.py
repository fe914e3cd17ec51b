"""What every `stream_template` for ASGI keeps to. A test class says how its app is made."""

import asyncio
import sqlite3
import time

import jinja2
import pytest
from asgi_cases import variable
from asgi_client import ask, get

TABLE = "<table>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>\n{% endfor %}</table>"
HEADERS = [
    ("content-type", "text/html; charset=utf-8"),
    ("x-accel-buffering", "no"),
    ("x-content-type-options", "nosniff"),
]


class Watched:
    """Rows for a template that note how they were closed; `gap_s` is slept before each but one."""

    def __init__(self, count=10**9, gap_s=0.0):
        self.log = []
        self.closed_at = None
        self._count, self._gap_s = count, gap_s

    def plain(self):
        try:
            for n in range(self._count):
                if self._gap_s and n:
                    time.sleep(self._gap_s)
                self.log.append(n)
                yield [n]
        finally:
            self.closed_at = time.monotonic()
            self.log.append("closed")

    async def awaited(self):
        try:
            for n in range(self._count):
                if self._gap_s and n:
                    await asyncio.sleep(self._gap_s)
                self.log.append(n)
                yield [n]
        finally:
            self.closed_at = time.monotonic()
            self.log.append("closed")

    async def closed_after(self, moment):
        for _ in range(1000):
            if self.closed_at is not None:
                break
            await asyncio.sleep(0.005)
        return self.closed_at - moment


class TemplateCases:
    # Headers that the framework adds by itself.
    more_headers = ()

    @pytest.fixture(params=[False, True], ids=["plain", "awaited"])
    def is_async(self, request):
        return request.param

    def app(self, source, context, is_async, *, before=lambda: None):
        """An ASGI app that answers with the template `source`; its view calls `before` first.

        `is_async` says whether its environment has `enable_async=True`.
        """
        raise NotImplementedError

    def check_late_error(self, error):
        assert isinstance(error, ZeroDivisionError)

    def test_the_page_is_what_the_template_renders(self, is_async):
        rows = [[n, "<&é>", n / 3, None] for n in range(3000)]
        answer = get(self.app(TABLE, {"rows": rows}, is_async))
        assert (answer.status, answer.ended, answer.error) == (200, True, None)
        want = jinja2.Environment(autoescape=True).from_string(TABLE).render(rows=rows)
        assert answer.body.decode() == want
        assert len(answer.chunks) < 30
        assert len(answer.chunks[0]) < 100

    def test_the_headers_are_those_of_a_page(self, is_async):
        answer = get(self.app("x", {}, is_async))
        assert sorted((name.lower(), value) for name, value in answer.headers) == sorted(
            [*HEADERS, *self.more_headers]
        )

    def test_an_empty_template_is_an_empty_page(self, is_async):
        answer = get(self.app("{# nothing #}", {}, is_async))
        assert (answer.status, answer.ended, answer.body) == (200, True, b"")

    def test_a_failure_before_the_first_piece_is_a_real_status(self, is_async):
        answer = get(self.app("{{ 1 // 0 }}", {}, is_async))
        assert (answer.status, answer.ended) == (500, True)

    def test_a_later_failure_breaks_the_transfer_after_what_was_made(self, is_async):
        answer = get(self.app("fine {{ 1 // n }}", {"n": 0}, is_async))
        assert (answer.status, answer.ended, answer.body) == (200, False, b"fine ")
        self.check_late_error(answer.error)

    def test_a_head_request_renders_nothing(self, is_async):
        log = []
        answer = get(self.app("{{ note(1) }}", {"note": log.append}, is_async), method="HEAD")
        assert (answer.status, answer.ended, answer.body, answer.error) == (200, True, b"", None)
        assert log == []

    @pytest.mark.parametrize("gap_s", [0.0, 0.01])
    @pytest.mark.parametrize("chunks", [1, 3])
    def test_a_client_that_leaves_closes_what_the_template_iterates(self, is_async, chunks, gap_s):
        rows = Watched(gap_s=gap_s)
        made = rows.awaited() if is_async else rows.plain()

        async def main():
            answer = await ask(self.app(TABLE, {"rows": made}, is_async), leave_after=chunks)
            if rows.log:
                assert await rows.closed_after(answer.left_at) < 0.5
            return answer

        answer = asyncio.run(main())
        assert not answer.ended
        assert answer.error is None
        assert rows.log[-1:] in (["closed"], [])
        assert rows.log.count("closed") <= 1

    def test_what_is_rendered_leaves_while_the_template_is_stuck(self, is_async):
        rows = Watched(3, gap_s=0.4)
        started = time.monotonic()
        answer = get(
            self.app(TABLE, {"rows": rows.awaited() if is_async else rows.plain()}, is_async)
        )
        at = {
            n: sent - started
            for n in range(3)
            for chunk, sent in zip(answer.chunks, answer.times)
            if b"<td>%d</td>" % n in chunk
        }
        assert at[0] < 0.3 < 0.4 < at[1] < 0.7 < 0.8 < at[2]
        assert rows.log == [0, 1, 2, "closed"]

    def test_a_template_that_never_waits_lets_the_loop_run(self, is_async):
        async def main():
            app = self.app(TABLE, {"rows": [[n] * 8 for n in range(40000)]}, is_async)
            asking = asyncio.create_task(ask(app))
            ticks = [time.monotonic()]
            while not asking.done():
                await asyncio.sleep(0)
                ticks.append(time.monotonic())
            assert (await asking).ended
            return max(b - a for a, b in zip(ticks, ticks[1:])), ticks[-1] - ticks[0]

        longest, whole = asyncio.run(main())
        assert longest < whole / 2

    @pytest.mark.parametrize("is_async", [False])
    def test_a_template_over_a_sqlite_cursor_works(self, is_async):
        def rows():
            database = sqlite3.connect(":memory:")
            try:
                yield from database.execute(
                    "with recursive n(i) as (select 1 union all select i+1 from n where i<3000) select i from n"
                )
            finally:
                database.close()

        answer = get(self.app(TABLE, {"rows": rows()}, is_async))
        assert answer.error is None
        assert answer.body.count(b"<tr>") == 3000

    def test_the_template_runs_in_the_context_of_the_view(self, is_async):
        app = self.app(
            "{% for n in range(2000) %}{{ seen() }}{% endfor %}",
            {"seen": variable.get},
            is_async,
            before=lambda: variable.set("inside;"),
        )
        assert get(app).body == b"inside;" * 2000
