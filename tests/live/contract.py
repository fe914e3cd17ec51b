"""What the apps of the contract share: the rows, and the log of what becomes of them.

See unspool.testing. The log is a file, because some servers have several processes.
"""

import asyncio
import itertools
import json
import os
import sqlite3
import time
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path

LOG = Path(os.environ["CONTRACT_LOG"])

# The last one is not of the public contract, nor is `database`: see conformance.py.
STREAMS = ["rows", "fail", "slow", "endless", "whose"]

# The `id` of the request, for frameworks that have no `request` to look at from anywhere.
WHO = ContextVar("WHO")

COUNTING = (
    "WITH RECURSIVE n(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM n) SELECT n FROM n LIMIT ?"
)


def log(event, id, rows):
    line = json.dumps({"at": time.monotonic(), "id": id, "event": event, "rows": rows}) + "\n"
    with LOG.open("ab", buffering=0) as file:
        file.write(line.encode())


def events():
    return [json.loads(line) for line in LOG.read_text().splitlines()]


def reset():
    LOG.write_bytes(b"")


def steps(stream, args, who):
    """The rows of a stream, and between them, as floats, the seconds to sleep."""
    id = args.get("id", "")
    log("started", id, 0)
    if stream == "rows":
        for n in range(int(args["n"])):
            yield {"n": n}
    elif stream == "fail":
        for n in range(int(args["at"])):
            yield {"n": n}
        raise LookupError("boom")
    elif stream == "slow":
        for n in range(int(args["n"])):
            if n:
                yield float(args["gap"])
            yield {"n": n}
    elif stream == "endless":
        pad = {"pad": "x" * int(args["pad"])} if "pad" in args else {}
        every = int(args.get("every", 1000))
        for n in itertools.count():
            if n % every == 0:
                log("made", id, n)
            yield {"n": n, **pad}
            if n % 100 == 99:
                yield 0.001
    elif stream == "whose":
        for n in range(int(args["n"])):
            yield {"n": n, "who": who()}
            yield 0.01


def generate(stream, args, who):
    for step in steps(stream, args, who):
        if isinstance(step, float):
            time.sleep(step)
        else:
            yield step


async def agenerate(stream, args, who):
    for step in steps(stream, args, who):
        if isinstance(step, float):
            await asyncio.sleep(step)
        else:
            yield step


def database(args):
    """Rows of sqlite3, whose objects refuse to be used by another thread than made them.

    Opened here with `view=1`, else by the first row.
    """
    connection = sqlite3.connect(":memory:") if "view" in args else None
    return selected(connection, int(args["n"]))


def selected(connection, count):
    with closing(connection or sqlite3.connect(":memory:")) as opened:
        for (n,) in opened.execute(COUNTING, [count]):
            yield {"n": n}


class Rows:
    """The rows of a stream. Notes each time they are closed, also if they never started."""

    def __init__(self, stream, args, who=WHO.get):
        self.id = args.get("id", "")
        WHO.set(self.id)
        self.rows = generate(stream, args, who)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.rows)

    def close(self):
        self.rows.close()
        log("closed", self.id, 0)


class AsyncRows:
    """The same, awaited."""

    def __init__(self, stream, args, who=WHO.get):
        self.id = args.get("id", "")
        WHO.set(self.id)
        self.rows = agenerate(stream, args, who)

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await anext(self.rows)

    async def aclose(self):
        await self.rows.aclose()
        log("closed", self.id, 0)
