"""Apps that do what they must not: a clear error, and nothing that looks whole."""

import time

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
        answer = httpx.get(url, trust_env=False, timeout=5)
    except httpx.TimeoutException as error:
        return False, repr(error)
    except httpx.TransportError as error:
        return True, repr(error)
    return answer.status_code == 500, f"{answer.status_code} {answer.text!r}"


@pytest.mark.parametrize("stack", STACKS, ids=" ".join)
def test_what_an_app_must_not_do_is_a_clear_error_and_visible_and_closed(stack):
    bad = STACKS[stack]
    with serve(*stack) as server:
        assert httpx.get(server.url + "/length/35", trust_env=False).text.endswith("line 4\n")
        seen = {path: ask(f"{server.url}/{path}") for path in bad}
        expected = dict.fromkeys([path for path in bad if path not in NO_SOURCE], 1)
        deadline = time.monotonic() + 2
        while True:
            closed = httpx.get(server.url + "/closed", trust_env=False).json()
            if closed == {"length/35": 1, **expected} or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        log = server.log()
    assert {path: detail for path, (visible, detail) in seen.items() if not visible} == {}
    assert closed == {"length/35": 1, **expected}
    if "daphne" not in stack:  # It does not log what an application raises.
        assert [error for error in bad.values() if error not in log] == []
