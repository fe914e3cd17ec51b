"""An ASGI server for one request, and sources that note what becomes of them."""

import asyncio
import itertools
import time


class Answer:
    """What the server was told, until its client left; `error` is what the app raised."""

    def __init__(self):
        self.status = None
        self.headers = None
        self.chunks = []
        self.times = []
        self.ended = False
        self.error = None
        self.left_at = None

    @property
    def body(self):
        return b"".join(self.chunks)


async def ask(app, path="/", method="GET", headers=(), leave_after=None, leave_after_s=None):
    """The answer of `app`; the client leaves after so many chunks, or seconds."""
    answer = Answer()
    left = asyncio.Event()
    over = asyncio.Event()  # Then servers say that the client is gone, too.
    requests = iter([{"type": "http.request", "body": b"", "more_body": False}])

    def leave():
        answer.left_at = time.monotonic()
        left.set()
        over.set()

    async def receive():
        if (message := next(requests, None)) is not None:
            return message
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        await asyncio.sleep(0)
        if left.is_set():
            return
        assert not answer.ended
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [(n.decode(), v.decode()) for n, v in message["headers"]]
        else:
            assert answer.status
            answer.ended = not message.get("more_body", False)
            if answer.ended:
                over.set()
            if message.get("body"):
                answer.chunks.append(bytes(message["body"]))
                answer.times.append(time.monotonic())
        if leave_after is not None and len(answer.chunks) >= leave_after:
            leave()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.partition("?")[0],
        "raw_path": path.partition("?")[0].encode(),
        "query_string": path.partition("?")[2].encode(),
        "root_path": "",
        "headers": [(b"host", b"testserver"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }
    if leave_after_s is not None:
        asyncio.get_running_loop().call_later(leave_after_s, leave)
    try:
        await asyncio.wait_for(app(scope, receive, send), 10)
    except Exception as error:
        answer.error = error
    return answer


def get(app, *args, **options):
    return asyncio.run(ask(app, *args, **options))


class Rows:
    """Rows that note when they start and are closed; `fail_at`, `gap_s` and `count` say how."""

    def __init__(self, count=None, fail_at=None, gap_s=0.0):
        self.log = []
        self.closed_at = None
        self.hooks = []
        self._steps = self._make(count, fail_at, gap_s)

    def _make(self, count, fail_at, gap_s):
        self.log.append("started")
        for n in itertools.count() if count is None else range(count):
            if n == fail_at:
                raise LookupError("boom")
            if gap_s and n:
                yield gap_s
            yield (n, f"text {n}")

    def options(self):
        """Hooks that note how the stream ended."""
        return {
            "on_close": lambda *args: self.hooks.append(args),
            "on_error": lambda error: self.hooks.append(("on_error", str(error))),
            "on_disconnect": lambda: self.hooks.append("on_disconnect"),
        }

    async def closed_after(self, moment):
        """Waits until the rows are closed, and all is told; gives the seconds since `moment`."""
        for _ in range(1000):
            if self.closed_at is not None and self.hooks:
                break
            await asyncio.sleep(0.005)
        return self.closed_at - moment

    def _close(self):
        self._steps.close()
        self.closed_at = time.monotonic()
        self.log.append("closed")


class PlainRows(Rows):
    def __iter__(self):
        return self

    def __next__(self):
        while isinstance(step := next(self._steps), float):
            time.sleep(step)
        return step

    def close(self):
        self._close()


class AwaitedRows(Rows):
    def __aiter__(self):
        return self

    async def __anext__(self):
        for step in self._steps:
            if not isinstance(step, float):
                return step
            await asyncio.sleep(step)
        raise StopAsyncIteration

    async def aclose(self):
        self._close()
