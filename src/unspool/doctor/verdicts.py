"""What was measured, in words, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from unspool.doctor.measure import Measured
from unspool.doctor.probe import ROW_BYTES, ROWS
from unspool.doctor.report import Finding

__all__ = ["COLUMNS", "HIDES", "cells", "findings"]

COLUMNS = ("layer", "holds back", "merges", "runs ahead", "closes", "failures", "headers")

HIDES = "ends a failed answer as if it were complete"

# Rows that may be made for a client that stopped reading, or left: bounded, and few.
_AHEAD_ROWS = 256
_AFTER_LEAVING_ROWS = 100

_COMPRESS = (
    "Let the stream compress itself, `stream(rows, compress=True)`: such answers are passed on "
    "as they are."
)
_GUARD = (
    "Write it as a plain ASGI middleware, or put `unspool.asgi.guard` around the app, which "
    "keeps the failures of streams visible."
)

# What to do about a layer that is known, by how its name begins.
_KNOWN = {
    "werkzeug.middleware.profiler.": (
        "Put ProfilerMiddleware around the app only while you profile; a sampling profiler "
        "leaves streams alone."
    ),
    "werkzeug.debug.": (
        "Use DebuggedApplication, and `flask run --debug`, in development only: there, a broken "
        "download looks complete."
    ),
    "flask_compress.": (
        "Set COMPRESS_STREAMS = False, and let streams compress themselves: "
        "`stream(rows, compress=True)`."
    ),
    "flask_caching.": (
        "Cache no view that returns a generator: the cache keeps all of it. What "
        "`unspool.flask.stream` returns is passed on, and not cached."
    ),
    "newrelic.": (
        "Set browser_monitoring.auto_instrument = false in newrelic.ini, or call "
        "newrelic.agent.disable_browser_autorum() in views that stream HTML."
    ),
    "starlette.middleware.base.": _GUARD,
    "starlette.middleware.gzip.": _COMPRESS,
    "django.middleware.gzip.": _COMPRESS,
}

# What to do otherwise, by what is wrong.
_COLLECTS = (
    "Have it leave alone what is streamed: in Flask, `if not response.is_streamed:` before "
    "add_etag(), make_conditional(), get_data() and their like."
)
_CLOSE = "It must call close() of the answer that it was given, once, also when it is left early."
_LATE = "It must let exceptions through that are raised while the answer is sent."

_Check = tuple[Callable[[Measured], bool], Callable[[Measured], str], str]


def _goes_on(measured: Measured) -> bool:
    return measured.after_leaving_rows > _AFTER_LEAVING_ROWS


def _held(measured: Measured) -> str:
    rows = measured.waited_rows
    return f"{rows} rows, {rows * ROW_BYTES / 1024:.1f} KiB"


_CHECKS: tuple[_Check, ...] = (
    (
        lambda m: bool(m.problem),
        lambda m: f"fails when the answer is a stream ({m.problem})",
        "Take it off the paths that stream.",
    ),
    (
        lambda m: m.waited_rows >= ROWS,
        lambda _: "collects the whole answer before it gives the first byte",
        _COLLECTS,
    ),
    (
        lambda m: not m.streams and m.waited_rows < ROWS,
        lambda m: f"holds back up to {_held(m)}",
        "Take it off the paths that stream, or have it pass on each chunk as it comes.",
    ),
    (
        lambda m: m.ahead_rows > _AHEAD_ROWS,
        lambda m: f"runs {m.ahead_rows} rows ahead of a client that has stopped reading",
        "Its queue must have a bound: with none, the answer ends up in memory.",
    ),
    (
        lambda m: not m.problem and not m.whole,
        lambda _: "changes the rows, or loses some",
        "Take it off the paths that stream.",
    ),
    (
        lambda m: m.members > 1,
        lambda _: (
            "compresses each chunk by itself, and Chromium, curl and httpx read only the first"
        ),
        _COMPRESS,
    ),
    (
        lambda m: not m.problem and m.closed != 1 and not (_goes_on(m) and not m.closed),
        lambda m: f"closes the source {_times(m.closed)} when the client leaves early",
        _CLOSE,
    ),
    (
        _goes_on,
        lambda _: "goes on when the client has left",
        "It must pass http.disconnect on, and cancel nothing less than the app.",
    ),
    (lambda m: m.hides_failure, lambda _: HIDES, _LATE),
    (lambda m: m.hangs, lambda _: "hangs when the answer fails", _LATE),
    (
        lambda m: "-X-Accel-Buffering" in m.headers,
        lambda _: "takes X-Accel-Buffering away, so that nginx collects the answer",
        "Leave the header alone, or set proxy_buffering off in nginx.",
    ),
    (
        lambda m: m.streams and "+Content-Length" in m.headers,
        lambda _: "adds a Content-Length to an answer whose length it cannot know",
        "Set no Content-Length on answers that are streams.",
    ),
)


def findings(layer: str, measured: Iterable[Measured], kinds: Sequence[str] = ()) -> list[Finding]:
    """What is wrong with a layer; each thing once, naming the media types that it is true of."""
    reached = [each for each in measured if each.reached]
    found = []
    for applies, words, remedy in _CHECKS:
        bad = [each for each in reached if applies(each)]
        if bad:
            worst = max(bad, key=lambda each: each.waited_rows)
            problem = words(worst)
            if len(bad) < len(reached):
                problem += f" ({_types(bad)})"
            found.append(Finding(layer, problem, _known([layer, *kinds]) or remedy))
    return found


def _known(names: Sequence[str]) -> str | None:
    remedies = (_KNOWN[start] for name in names for start in _KNOWN if name.startswith(start))
    return next(remedies, None)


def _times(closed: int) -> str:
    return {0: "never", 1: "once"}.get(closed, f"{closed} times")


def _types(measured: Iterable[Measured]) -> str:
    return ", ".join(each.media_type.partition(";")[0] for each in measured)


def cells(measured: Sequence[Measured]) -> tuple[str, ...]:
    """The row of a layer in the table, without its name: the worst of each column."""
    asked = [each for each in measured if each.reached and not each.problem]
    if not asked:
        return (f"not seen: {measured[0].problem or _denied(measured[0])}", "", "", "", "", "")
    worst = max(asked, key=lambda each: each.waited_rows)
    merged = max(each.merged_rows for each in asked)
    ahead = max(each.ahead_rows for each in asked)
    closed = {each.closed for each in asked}
    return (
        "no" if worst.streams else "all" if worst.waited_rows >= ROWS else _held(worst),
        "no" if merged == 1 else f"{merged} rows",
        "no" if ahead <= 1 else f"{ahead} rows",
        " or ".join(map(_times, sorted(closed))),
        _failures(asked),
        " ".join(dict.fromkeys(change for each in asked for change in each.headers)),
    )


def _failures(measured: Sequence[Measured]) -> str:
    if any(each.hides_failure for each in measured):
        return "HIDDEN"
    return "hang" if any(each.hangs for each in measured) else "visible"


def _denied(measured: Measured) -> str:
    return f"it answered by itself, with status {measured.status}"
