"""What the apps of the contract share: the rows, and the log of what becomes of them.

See unspool.testing. The log is a file, because some servers have several processes.
"""

import asyncio
import itertools
import json
import os
import time
from pathlib import Path

LOG = Path(os.environ["CONTRACT_LOG"])

STREAMS = ["rows", "fail", "slow", "endless"]


def log(event, id, rows):
    line = json.dumps({"at": time.monotonic(), "id": id, "event": event, "rows": rows}) + "\n"
    with LOG.open("ab", buffering=0) as file:
        file.write(line.encode())


def events():
    return [json.loads(line) for line in LOG.read_text().splitlines()]


def reset():
    LOG.write_bytes(b"")


def steps(stream, args):
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
        for n in itertools.count():
            if n % 1000 == 0:
                log("made", id, n)
            yield {"n": n, **pad}
            if n % 100 == 99:
                yield 0.001


def generate(stream, args):
    for step in steps(stream, args):
        if isinstance(step, float):
            time.sleep(step)
        else:
            yield step


async def agenerate(stream, args):
    for step in steps(stream, args):
        if isinstance(step, float):
            await asyncio.sleep(step)
        else:
            yield step


class Rows:
    """The rows of a stream. Notes each time they are closed, also if they never started."""

    def __init__(self, stream, args):
        self.id = args.get("id", "")
        self.rows = generate(stream, args)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.rows)

    def close(self):
        self.rows.close()
        log("closed", self.id, 0)


class AsyncRows:
    """The same, awaited."""

    def __init__(self, stream, args):
        self.id = args.get("id", "")
        self.rows = agenerate(stream, args)

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await anext(self.rows)

    async def aclose(self):
        await self.rows.aclose()
        log("closed", self.id, 0)
