"""Apps that do what they must not: a clear error, and nothing that looks whole."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from live.servers import serve

# The answer has 35 bytes. What was sent of it is never more than was declared.
LENGTHS = {
    "length/34": "LengthMismatch: Content-Length says 34 bytes, but the answer has at least 35",
    "length/36": "LengthMismatch: Content-Length says 36 bytes, but the answer has only 35",
    "length/1000": "LengthMismatch: Content-Length says 1000 bytes, but the answer has only 35",
}
USED = {
    "used": "UsedTwice: the stream is over, and was asked for its chunks again",
    "over": "UsedTwice: the rows are a generator",
}
# What is not ours to check on a WSGI server is checked on the way to an ASGI server.
WRONG = {
    "str": "BrokenApp: a WSGI application must give bytes; got 'line 0\\n' (str)",
    "none": "BrokenApp: a WSGI application must give bytes; got None (NoneType)",
    "late-str": "BrokenApp: a WSGI application must give bytes; got 'line 1\\n' (str)",
    "late-none": "BrokenApp: a WSGI application must give bytes; got None (NoneType)",
    "silent": "BrokenApp: the application gave its body without calling start_response()",
    "nothing": "TypeError: 'NoneType' object is not iterable",
    "twice": "BrokenApp: start_response() was called twice, the second time without exc_info",
}

STACKS = {
    ("gunicorn gthread", "bad:app"): {**LENGTHS, **USED},
    ("waitress", "bad:app"): {**LENGTHS, **USED},
    ("granian wsgi", "bad:app"): {**LENGTHS, **USED},
    ("uvicorn h11", "bad:bridged"): {**LENGTHS, **USED, **WRONG},
    ("granian asgi", "bad:bridged"): {**LENGTHS, **USED, **WRONG},
    ("uvicorn httptools", "bad:native"): LENGTHS,
    ("hypercorn", "bad:native"): LENGTHS,
    ("granian asgi", "bad:native"): LENGTHS,
    ("gunicorn asgi", "bad:native"): LENGTHS,
    ("daphne", "bad:native"): LENGTHS,
}

# These have no rows that could be closed.
NO_SOURCE = {"nothing", "over"}


def ask(url):
    """Whether the answer is visibly wrong, and what it was."""
    try:
        answer = httpx.get(url, trust_env=False, timeout=20)
    except httpx.TimeoutException as error:
        return False, repr(error)
    except httpx.TransportError as error:
        return True, repr(error)
    return answer.status_code == 500, f"{answer.status_code} {answer.text!r}"


def run(stack):
    """What each path gave, how often each source was closed, and what the server has printed."""
    with serve(*stack) as server:
        whole = httpx.get(server.url + "/length/35", trust_env=False, timeout=30)
        assert whole.text.endswith("line 4\n")
        seen = {path: ask(f"{server.url}/{path}") for path in STACKS[stack]}
        deadline = time.monotonic() + 20
        while True:
            closed = httpx.get(server.url + "/closed", trust_env=False, timeout=30).json()
            if closed == closed_once(stack) or time.monotonic() > deadline:
                return seen, closed, server.log()
            time.sleep(0.05)


def closed_once(stack):
    return dict.fromkeys(["length/35", *(set(STACKS[stack]) - NO_SOURCE)], 1)


@pytest.fixture(scope="module")
def runs():
    with ThreadPoolExecutor(3) as pool:
        yield {stack: pool.submit(run, stack) for stack in STACKS}


@pytest.mark.parametrize("stack", STACKS, ids=" ".join)
def test_what_an_app_must_not_do_is_a_clear_error_and_visible_and_closed(runs, stack):
    seen, closed, log = runs[stack].result()
    assert {path: detail for path, (visible, detail) in seen.items() if not visible} == {}
    assert closed == closed_once(stack)
    if "daphne" not in stack:  # It looks once a second at what its applications have raised.
        assert [error for error in STACKS[stack].values() if error not in log] == []
