"""What is checked of every server stack: the cases of unspool.testing, and more beside them.

`KNOWN` has each case that does not pass, and why. It is kept true: a case in it that passes
fails its test.
"""

import json
import re
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
from live.conftest import chromium
from live.servers import STACKS, serve

from unspool.coalesce import CHUNK_BYTES
from unspool.testing import CASES, Result, check_app

FLASK = "contract_flask:app"
BRIDGE = "contract_bridge:app"
STARLETTE = "contract_starlette:app"
GUARDED = "contract_starlette:guarded"
DJANGO = "contract_django:app"
DJANGO_ASGI = "contract_django:asgi"
QUART = "contract_quart:app"

WSGI = [name for name, stack in STACKS.items() if stack.kind == "wsgi"]
ASGI = [name for name, stack in STACKS.items() if stack.kind == "asgi"]

# What is tested: name -> the stack, the app, and where in it the contract begins.
TARGETS = {
    **{name: (name, FLASK, "") for name in WSGI},
    "gunicorn gthread, Django": ("gunicorn gthread", DJANGO, "/sync"),
    **{f"{name}, Flask": (name, BRIDGE, "") for name in ASGI if name != "daphne"},
    **{f"{name}, Starlette": (name, STARLETTE, "") for name in ASGI},
    "uvicorn h11, Starlette, plain rows": ("uvicorn h11", STARLETTE, "/sync"),
    **{
        f"{name}, FastAPI, two middlewares": (name, GUARDED, "")
        for name in ("uvicorn h11", "hypercorn", "granian asgi")
    },
    "uvicorn h11, Django": ("uvicorn h11", DJANGO_ASGI, ""),
    "hypercorn, Django, plain rows": ("hypercorn", DJANGO_ASGI, "/sync"),
    "hypercorn, Quart": ("hypercorn", QUART, ""),
    "uvicorn httptools, Quart, plain rows": ("uvicorn httptools", QUART, "/sync"),
}

LATE = {
    version: [f"late-{version}-{at}" for at in (1, 1000, 100_000)] for version in ("1.0", "1.1")
}

DAPHNE_KEEPS_ALL = "Daphne takes all that it is given, and keeps it in memory: nothing ever stalls"

# (target, case) -> the reason.
KNOWN = {
    ("waitress", "head"): "Waitress writes a last chunk after an answer to HEAD",
    **{
        (target, case): (
            "It ends an answer cleanly when a WSGI app fails, and hides the connection"
        )
        for target in ("granian wsgi", "mod_wsgi daemon")
        for case in (*LATE["1.0"], *LATE["1.1"], "curl", "curl-1.0", "httpx", "fetch", "download")
    },
    **{
        (target, "leave-slow"): (
            "It notices that a client has left when it writes, and hides the connection"
        )
        for target in ("granian wsgi", "mod_wsgi daemon")
    },
    **{
        (f"nginx {version}, gunicorn", case): (
            "nginx ends its answers to HTTP/1.0 clients cleanly, whatever its server does"
        )
        for version in ("1.0", "1.1")
        for case in (*LATE["1.0"], "curl-1.0")
    },
    **{("daphne, Starlette", case): DAPHNE_KEEPS_ALL for case in ("stall", "ahead")},
}

# What is not asked, because the answer would depend on the moment.
LEFT_OUT = {
    ("mod_wsgi daemon", "closed-once"): (
        "It is not asked: a source that gives a row every 2 s is closed some rows later"
    ),
    ("daphne, Starlette", "leave-stalled"): DAPHNE_KEEPS_ALL,
}

# What is said, once, in the log of a server that a stream cannot be right on, or is cut by.
WARNED = {
    "gunicorn sync": "StreamWarning: gunicorn's sync worker is killed when one answer takes",
    "uwsgi": "StreamWarning: uWSGI closes a connection when its client reads nothing",
    "granian wsgi": "StreamWarning: Granian ends an answer cleanly",
    "mod_wsgi daemon": "StreamWarning: mod_wsgi in daemon mode ends an answer cleanly",
}


# What real clients see. Each gives whether it saw a failure, and what it said.


def ask_curl(url, *options):
    command = ["curl", "-s", "-S", "--noproxy", "*", "-m", "10", "-o", "/dev/null", *options, url]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode not in {0, 28}, f"exit code {done.returncode} {done.stderr.strip()}"


def ask_curl_1_0(url):
    return ask_curl(url, "--http1.0")


def ask_httpx(url):
    try:
        answer = httpx.get(url, timeout=10, trust_env=False)
    except httpx.TimeoutException as error:
        return False, repr(error)
    except httpx.TransportError as error:
        return True, repr(error)
    return False, f"status {answer.status_code}, {len(answer.content)} bytes"


FETCH = """
async url => {
    try {
        const response = await fetch(url, {signal: AbortSignal.timeout(10000)});
        return [false, `status ${response.status}, ${(await response.text()).length} characters`];
    } catch (error) {
        return [error.name == "TypeError", String(error)];
    }
}
"""


def ask_fetch(url, page):
    page.goto("/".join([*url.split("/")[:3], "nothing"]))  # A page of the same origin.
    return page.evaluate(FETCH, url)


def ask_download(url, page):
    with page.expect_download(timeout=10_000) as download:
        page.evaluate("url => { location.href = url }", url)
    failure = download.value.failure()
    return failure is not None, f"the download ended: {failure}"


CLIENTS = {"curl": ask_curl, "curl-1.0": ask_curl_1_0, "httpx": ask_httpx}
PAGES = {"fetch": ask_fetch, "download": ask_download}


def check_client(name, ask, url):
    """The client sees that an answer is not whole, and takes a whole one."""
    failed, detail = ask(f"{url}/rows?n=1000&id={name}")
    if failed:
        return Result(name, False, f"a whole answer: {detail}")
    return Result(name, *ask(f"{url}/fail?at=1000&id={name}"))


def check_page(name, ask, url, page):
    return check_client(name, lambda url: ask(url, page), url)


# What is made ahead of a client that reads nothing.

PAD = 1000
EVERY = 8  # So many rows are noted in the log at a time.
CHUNK = CHUNK_BYTES + CHUNK_BYTES // 32 + PAD  # What a batch may have too much, and a row.

# What some servers, and what stands before them, hold themselves of an answer: in bytes.
HELD = {
    "uvicorn": (64 * 1024, "64 KiB, asyncio's transport"),
    "granian": (408 * 1024 + 5 * CHUNK, "408 KiB, hyper's buffer, and a few chunks in a queue"),
    "mod_wsgi daemon": (3 * CHUNK, "up to 3 chunks, Apache's two processes"),
    "waitress": (16 * 1024 * 1024 + CHUNK, "16 MiB on disk, outbuf_high_watermark"),
    "two middlewares": (2 * CHUNK, "2 chunks, each middleware of Starlette's one"),
}


def check_ahead(target, server, url):
    """At most two chunks are made that neither the kernel nor the server holds."""
    id = uuid4().hex
    address = ("127.0.0.1", server.port)
    prefix = url.removeprefix(server.url)
    most = 2 * CHUNK + sum(held for name, (held, _) in HELD.items() if name in target)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        sock.connect(address)
        path = f"{prefix}/endless?pad={PAD}&every={EVERY}&id={id}"
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        made = rows_when_still(url, id) * len('{"n":100,"pad":""}\n' + PAD * "x")
        held = in_the_kernel(server.ports)
    ahead = max(0, made - held)
    detail = f"{made} bytes made, {held} in the kernel: {ahead} made ahead; allowed are {most}"
    return Result("ahead", held > 0 and ahead <= most, detail)


def rows_when_still(url, id):
    made, since = 0, time.monotonic()
    while time.monotonic() < since + 0.3:
        events = httpx.get(url + "/log", trust_env=False, timeout=30).json()
        now = max(
            (event["rows"] for event in events if (event["id"], event["event"]) == (id, "made")),
            default=0,
        )
        if now > made:
            made, since = now, time.monotonic()
        if made * PAD > 50_000_000:
            break
    return made


def in_the_kernel(ports):
    """The bytes on the way to and from these ports: sent and not read, on both sides."""
    held = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        if state != "0A" and ports & {int(each.split(":")[1], 16) for each in (local, remote)}:
            held += sum(int(size, 16) for size in queues.split(":"))
    return held


# What streams that run at the same time see of each other.

AT_ONCE = 10


def at_once(url, paths):
    """The rows of several answers, fetched at the same time."""
    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(lambda path: rows_of(url + path), paths))


def rows_of(url):
    try:
        answer = httpx.get(url, timeout=10, trust_env=False)
    except httpx.TransportError as error:
        return repr(error)
    return [json.loads(line) for line in answer.text.splitlines()]


def check_whose(url):
    """Each stream sees its own request, at every row."""
    rows = 20
    ids = [uuid4().hex for _ in range(AT_ONCE)]
    answers = at_once(url, [f"/whose?n={rows}&id={id}" for id in ids])
    wrong = [
        id
        for id, answer in zip(ids, answers, strict=True)
        if answer != [{"n": n, "who": id} for n in range(rows)]
    ]
    return Result("whose", not wrong, f"{len(wrong)} of {len(ids)} saw another request")


def check_sqlite(url, options):
    """Connections of sqlite3 are used by their own threads only."""
    rows = 3000
    paths = [f"/database?n={rows}{options[n % len(options)]}" for n in range(AT_ONCE)]
    answers = at_once(url, paths)
    wrong = [answer for answer in answers if answer != [{"n": n} for n in range(rows)]]
    return Result("sqlite", not wrong, f"{len(wrong)} of {len(paths)} are not whole")


MORE = ("whose", "sqlite", "ahead")
ALL_CASES = (*CASES, *CLIENTS, *PAGES, *MORE)


# All of it.


def examine(target, browse):
    """The result of each of `ALL_CASES`, and what the server has printed.

    `browse` calls a function with a page of a browser.
    """
    stack, app, prefix = TARGETS[target]
    with serve(stack, app) as server:
        url = server.url + prefix
        # What asynchronous views open stays with the loop.
        options = ("", "&view=1") if app in (FLASK, BRIDGE, DJANGO) else ("",)
        cases = [case for case in CASES if (target, case) not in LEFT_OUT]
        more = {
            "whose": partial(check_whose, url),
            "sqlite": partial(check_sqlite, url, options),
            "ahead": partial(check_ahead, target, server, url),
            **{name: partial(check_client, name, ask, url) for name, ask in CLIENTS.items()},
            **{
                name: partial(browse, partial(check_page, name, ask, url))
                for name, ask in PAGES.items()
            },
        }
        results = [*check_app(url, cases=cases).results, *(check() for check in more.values())]
        found = {result.name: result for result in results}
        # Those again that are not as they should be: the machine may have been busy.
        for name in [name for name, result in found.items() if not as_known(target, result)]:
            if name in more:
                found[name] = more[name]()
            elif name != "closed-once":  # Alone it would always pass.
                found[name] = check_app(url, cases=[name]).results[0]
        if stack == "daphne":  # It looks once a second at what its applications have raised.
            time.sleep(1.5)
        return found, server.log()


@contextmanager
def browsing():
    """A function that calls others with a page of one browser, from any thread."""
    with ThreadPoolExecutor(1) as thread:  # Playwright stays on its thread.
        opened = thread.submit(lambda: (manager := chromium(), manager.__enter__())).result()
        manager, browser = opened

        def call(function):
            page = browser.new_page()
            try:
                return function(page)
            finally:
                page.close()

        try:
            yield lambda function: thread.submit(call, function).result()
        finally:
            thread.submit(manager.__exit__, None, None, None).result()


@contextmanager
def examining(targets):
    """For each target, the future result of `examine`. Two run at a time: they mostly wait."""
    with browsing() as browse, ThreadPoolExecutor(2) as pool:
        futures = {target: pool.submit(examine, target, browse) for target in targets}
        try:
            yield futures
        finally:
            pool.shutdown(cancel_futures=True)


def as_known(target, result):
    """Whether a result is as it should be, or as it is known to be."""
    return result.passed != ((target, result.name) in KNOWN)


def spoken(log):
    """A log without the line breaks that a server put into its messages."""
    return re.sub(r"\s+", " ", log)
