"""What every `stream_template` for ASGI keeps to. A test class says how its app is made."""

import asyncio
import sqlite3
import threading
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

    def app(self, source, context, is_async, *, before=lambda: None, extensions=()):
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
                assert await rows.closed_after(answer.left_at) < 5
            return answer

        answer = asyncio.run(main())
        assert not answer.ended
        assert answer.error is None
        assert rows.log[-1:] in (["closed"], [])
        assert rows.log.count("closed") <= 1

    @pytest.mark.alone
    def test_what_is_rendered_leaves_while_the_template_is_stuck(self, is_async):
        rows = Watched(3, gap_s=0.4)
        started = time.monotonic()
        answer = get(
            self.app(TABLE, {"rows": rows.awaited() if is_async else rows.plain()}, is_async)
        )
        at, seen = {}, b""
        for chunk, sent in zip(answer.chunks, answer.times):
            seen += chunk
            for n in range(3):
                if b"<td>%d" % n in seen:
                    at.setdefault(n, sent - started)
        assert at[0] < 0.3 < 0.4 < at[1] < 0.7 < 0.8 < at[2]
        assert rows.log == [0, 1, 2, "closed"]

    @pytest.mark.alone
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


PAGES = ["unspool.templates.Streaming"]
PAGE = (
    "<body>{% defer a %}{{ wait() }}{{ seen() }}{% placeholder %}…{% enddefer %}"
    "{% defer b %}{{ 1 // 0 }}{% error e %}sorry{% enddefer %}</body>"
)


class Gate:
    """What a block waits for, until it is opened; on a thread or a loop."""

    def __init__(self, is_async):
        self._event = threading.Event()
        self._is_async = is_async
        self.ended = []
        self.never_began = True

    def open(self):
        self._event.set()

    @property
    def wait(self):
        return self._await if self._is_async else self._block

    def _block(self):
        self.never_began = False
        self._event.wait(5)
        self.ended.append("opened")
        return ""

    async def _await(self):
        self.never_began = False
        try:
            while not self._event.is_set():
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        return ""


class PageCases:
    """The same for pages with holes; `told` is what was called with a block's failure."""

    @pytest.fixture(params=[False, True], ids=["plain", "awaited"])
    def is_async(self, request):
        return request.param

    def page(self, gate, is_async, source=PAGE):
        context = {"wait": gate.wait, "seen": variable.get}
        return self.app(
            source, context, is_async, before=lambda: variable.set("inside"), extensions=PAGES
        )

    @pytest.mark.alone
    def test_the_shell_is_out_while_a_block_waits_and_a_failing_one_is_told(self, is_async, caplog):
        gate = Gate(is_async)
        app = self.page(gate, is_async)

        async def main():
            asyncio.get_running_loop().call_later(0.3, gate.open)
            return await ask(app)

        answer = asyncio.run(main())
        assert (answer.status, answer.ended, answer.error) == (200, True, None)
        shell = answer.chunks[0].decode()
        assert shell.startswith('<body><?start name="')
        assert "inside" not in shell
        assert answer.times[-1] - answer.times[0] > 0.15
        text = answer.body.decode()
        assert ">inside</template>" in text
        assert ">sorry</template>" in text
        assert text.endswith("</body>")
        failures = [r.exc_info[1] for r in caplog.records if r.exc_info]
        assert [type(error) for error in failures] == [ZeroDivisionError]

    @pytest.mark.parametrize(
        ("path", "headers"),
        [
            ("/?unspool=inorder", []),
            ("/", [(b"hx-request", b"true")]),
            ("/", [(b"user-agent", b"Googlebot/2.1")]),
        ],
    )
    def test_who_cannot_fill_holes_gets_the_page_in_order(self, is_async, path, headers):
        gate = Gate(is_async)
        gate.open()
        answer = get(self.page(gate, is_async), path, headers=headers)
        assert answer.body == b"<body>insidesorry</body>"

    def test_a_failure_in_the_shell_is_a_real_status(self, is_async, monkeypatch):
        # A busy machine takes its time.
        monkeypatch.setattr("unspool.templates.page.FLUSH_AFTER_S", 5)
        gate = Gate(is_async)
        gate.open()
        answer = get(self.page(gate, is_async, PAGE + "{{ 1 // 0 }}"))
        assert answer.status in {500, None}
        assert b"<body><?start" not in answer.body

    def test_a_client_that_leaves_ends_the_blocks(self, is_async):
        gate = Gate(is_async)
        app = self.page(gate, is_async)

        async def main():
            answer = await ask(app, leave_after=1)
            ended = time.monotonic()
            gate.open()
            for n in range(2000):
                if gate.ended or (gate.never_began and n > 100):
                    break
                await asyncio.sleep(0.01)
            return answer, ended - answer.left_at

        answer, took = asyncio.run(main())
        assert not answer.ended
        assert took < 4
        # A block that had not begun when the client left never does.
        assert gate.ended == (["cancelled"] if is_async else ["opened"]) or gate.never_began
