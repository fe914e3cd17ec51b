"""What the tests of the sources share: whole answers, clients that leave, and memory."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from unspool import Stream, asgi, wsgi


def answer(rows, format="csv", **options):
    """The whole body, driven by a thread."""
    chunks = wsgi.open_chunks(Stream(rows, format, **options), {})
    try:
        return b"".join(chunks)
    finally:
        chunks.close()


async def aanswer(rows, format="csv", **options):
    """The whole body, driven by a loop."""
    chunks = asgi.open_chunks(Stream(rows, format, **options))
    try:
        return b"".join([chunk async for chunk in chunks])
    finally:
        await chunks.aclose()


# What is not ended would go on for a minute or for ever; and other tests run beside these.
AT_ONCE_S = 10


def failing(rows, format="csv"):
    """What was sent before the source failed, and the exception."""
    sent, chunks = [], wsgi.open_chunks(Stream(rows, format), {})
    try:
        sent.extend(chunks)
    except Exception as error:
        return b"".join(sent), error
    finally:
        chunks.close()
    raise AssertionError("it did not fail")


async def afailing(rows, format="csv"):
    """The same on a loop."""
    sent, chunks = [], asgi.open_chunks(Stream(rows, format))
    try:
        async for chunk in chunks:
            sent.append(chunk)
    except Exception as error:
        return b"".join(sent), error
    finally:
        await chunks.aclose()
    raise AssertionError("it did not fail")


def leave(rows, after_s=0.3):
    """What was sent, and how many seconds after the client left the stream was closed.

    The client leaves `after_s` seconds after the first chunk.
    """
    server, client = socket.socketpair()
    left = []

    def hang_up():
        left.append(time.monotonic())
        client.close()

    stream = wsgi.open_chunks(Stream(rows), {"gunicorn.socket": server})
    first = next(stream)
    timer = threading.Timer(after_s, hang_up)
    timer.start()
    sent = first + b"".join(stream)
    closed = time.monotonic()
    timer.join()
    server.close()
    return sent, closed - left[0]


def abandon(rows, chunks=3):
    """What was sent before the stream was closed, and how many seconds that took."""
    stream = wsgi.open_chunks(Stream(rows), {})
    sent = b"".join(next(stream) for _ in range(chunks))
    left = time.monotonic()
    stream.close()
    return sent, time.monotonic() - left


async def aabandon(rows, chunks=3):
    """The same on a loop."""
    stream = asgi.open_chunks(Stream(rows))
    sent = b"".join([await anext(stream) for _ in range(chunks)])
    left = time.monotonic()
    await stream.aclose()
    return sent, time.monotonic() - left


async def aleave(rows, after_s=0.3, first=False):
    """The same on a loop; only with `first` the client waits for the first chunk."""
    stream, sent, came = asgi.open_chunks(Stream(rows)), [], asyncio.Event()

    async def send():
        async for chunk in stream:
            sent.append(chunk)
            came.set()

    sending = asyncio.ensure_future(send())
    if first:
        await asyncio.wait_for(came.wait(), 30)
    await asyncio.wait([sending], timeout=after_s)
    left = time.monotonic()
    sending.cancel()
    await asyncio.wait([sending])
    await stream.aclose()
    return b"".join(sent), time.monotonic() - left


def drained(rows, format="csv"):
    """The length of the body, which is not kept."""
    return sum(map(len, wsgi.open_chunks(Stream(rows, format), {})))


async def adrained(rows, format="csv"):
    """The same on a loop."""
    size, chunks = 0, asgi.open_chunks(Stream(rows, format))
    async for chunk in chunks:
        size += len(chunk)
    await chunks.aclose()
    return size


@contextmanager
def memory():
    """A list, to which is added by how many MiB the peak of this process has grown meanwhile."""
    status = Path("/proc/self/status")

    def read(name):
        line = next(line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) / 1024

    Path("/proc/self/clear_refs").write_text("5")
    before, grown = read("VmRSS"), []
    yield grown
    grown.append(read("VmHWM") - before)


def until(condition, within_s=20):
    """Waits until it holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        time.sleep(0.01)
