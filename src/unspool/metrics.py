"""What becomes of streams, for Prometheus, OpenTelemetry and the log.

Each is switched on with one line, for all streams of the process:

    unspool.metrics.prometheus()
    unspool.metrics.opentelemetry()
    unspool.metrics.log()
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from functools import cache
from typing import Any

from unspool._optional import require
from unspool.observe import Running, watch

__all__ = ["exposition", "log", "opentelemetry", "prometheus"]

# Downloads take from some milliseconds to hours.
_FIRST_BYTE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_DURATION_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600)

# What needs no quotes in logfmt, and cannot end a line or begin another field.
_PLAIN = re.compile(r"[!#-<>-~]+")


def prometheus() -> None:
    """Counts streams in the default registry of `prometheus_client`, from now on.

        unspool_streams_running                            gauge
        unspool_streams_total{format, outcome}             counter
        unspool_rows_total{format}, unspool_bytes_total{format}
        unspool_first_byte_seconds{format}                 histogram
        unspool_duration_seconds{format}                   histogram

    Rows and bytes of a stream that runs are counted once a second. With several processes set
    PROMETHEUS_MULTIPROC_DIR, as prometheus_client wants it. The second call does nothing.

    Raises:
        MissingExtra: prometheus_client is not installed (`unspool[live]`).
    """
    watch(_prometheus())


def opentelemetry() -> None:
    """Makes a span of every stream, which ends with its last byte, from now on.

    It is a child of the span of the request. Attributes: `unspool.format`, `unspool.rows`,
    `unspool.bytes`, `unspool.outcome`, `unspool.id`. A failed or cancelled stream has the status
    ERROR and the exception. Uses the global tracer provider. The second call does nothing.

    Raises:
        MissingExtra: opentelemetry-api is not installed (`unspool[live]`).
    """
    watch(_spans())


def log() -> None:
    """Logs a line at the end of every stream, on the logger `unspool.streams`, from now on.

    At INFO; a failed one at WARNING. The line is logfmt; `record.stream` has the same as a dict.
    Names that could break the line are quoted. The second call does nothing.
    """
    watch(_lines())


def exposition(accept: str = "") -> tuple[str, bytes]:
    """The media type and the text of all metrics, of all processes in multiprocess mode.

    Raises:
        MissingExtra: prometheus_client is not installed (`unspool[live]`).
    """
    client = require("prometheus_client", extra="live")
    exposing = require("prometheus_client.exposition", extra="live")
    registry = client.REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess = require("prometheus_client.multiprocess", extra="live")
        registry = client.CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
    encode, media_type = exposing.choose_encoder(accept)
    return media_type, encode(registry)


@cache
def _prometheus() -> _Prometheus:
    return _Prometheus(require("prometheus_client", extra="live"))


@cache
def _spans() -> _Spans:
    return _Spans(require("opentelemetry.trace", extra="live"))


@cache
def _lines() -> _Lines:
    return _Lines()


class _Prometheus:
    def __init__(self, client: Any) -> None:
        self._running = client.Gauge(
            "unspool_streams_running", "Streams that run now.", multiprocess_mode="livesum"
        )
        self._streams = client.Counter(
            "unspool_streams", "Streams that ended, by how.", ["format", "outcome"]
        )
        self._rows = client.Counter("unspool_rows", "Rows that were made.", ["format"])
        self._bytes = client.Counter("unspool_bytes", "Bytes that were made.", ["format"])
        self._first_byte = client.Histogram(
            "unspool_first_byte_seconds",
            "Seconds until the first chunk of a stream was made.",
            ["format"],
            buckets=_FIRST_BYTE_S,
        )
        self._duration = client.Histogram(
            "unspool_duration_seconds",
            "Seconds from the first to the last byte of a stream.",
            ["format"],
            buckets=_DURATION_S,
        )
        self._counted: dict[Running, tuple[int, int]] = {}
        self._counting = threading.RLock()

    def began(self, stream: Running) -> None:
        self._running.inc()
        self._counted[stream] = 0, 0

    def goes_on(self, stream: Running) -> None:
        """Counts what has come since the last time."""
        with self._counting:
            if stream not in self._counted:
                return  # It has just ended.
            rows, sent = stream.pipeline.rows, stream.pipeline.sent
            rows_before, sent_before = self._counted[stream]
            self._counted[stream] = rows, sent
        self._rows.labels(stream.format).inc(rows - rows_before)
        self._bytes.labels(stream.format).inc(sent - sent_before)

    def ended(self, stream: Running) -> None:
        with self._counting:
            if stream not in self._counted:
                return  # It began before anybody counted.
            self.goes_on(stream)
            del self._counted[stream]
        self._running.dec()
        self._streams.labels(stream.format, stream.state).inc()
        self._duration.labels(stream.format).observe(stream.age_s)
        if stream.first_byte_s is not None:
            self._first_byte.labels(stream.format).observe(stream.first_byte_s)


class _Spans:
    def __init__(self, trace: Any) -> None:
        self._trace = trace
        self._tracer = trace.get_tracer("unspool")
        self._spans: dict[Running, Any] = {}

    def began(self, stream: Running) -> None:
        attributes = {"unspool.id": stream.id, "unspool.format": stream.format}
        self._spans[stream] = self._tracer.start_span(
            f"stream {stream.format}", attributes=attributes
        )

    def goes_on(self, stream: Running) -> None:
        """A span has only its end."""

    def ended(self, stream: Running) -> None:
        span = self._spans.pop(stream, None)
        if span is None:
            return
        span.set_attribute("unspool.rows", stream.pipeline.rows)
        span.set_attribute("unspool.bytes", stream.pipeline.sent)
        span.set_attribute("unspool.outcome", stream.state)
        if stream.error is not None:
            span.record_exception(stream.error)
            status = self._trace.Status(self._trace.StatusCode.ERROR, str(stream.error))
            span.set_status(status)
        span.end()


class _Lines:
    def __init__(self) -> None:
        self._log = logging.getLogger("unspool.streams")

    def began(self, stream: Running) -> None:
        """A stream has one line, at its end."""

    def goes_on(self, stream: Running) -> None:
        """A stream has one line, at its end."""

    def ended(self, stream: Running) -> None:
        fields = _fields(stream)
        line = " ".join(f"{name}={_logfmt(value)}" for name, value in fields.items())
        level = logging.WARNING if stream.state == "error" else logging.INFO
        self._log.log(level, "stream %s", line, extra={"stream": fields})


def _fields(stream: Running) -> dict[str, Any]:
    first_byte_s = stream.first_byte_s
    fields = {
        "id": stream.id,
        "method": stream.asked.method,
        "path": stream.asked.path,
        "client": stream.asked.client,
        "format": stream.format,
        "rows": stream.pipeline.rows,
        "bytes": stream.pipeline.sent,
        "outcome": stream.state,
        "duration_s": round(stream.age_s, 6),
        "first_byte_s": None if first_byte_s is None else round(first_byte_s, 6),
    }
    if stream.error is not None:
        fields["error"] = f"{type(stream.error).__name__}: {stream.error}"
    return fields


def _logfmt(value: object) -> str:
    """A value of logfmt: as it is, or in the quotes of JSON, where nothing ends a line."""
    text = "" if value is None else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text).replace("\x7f", "\\u007f")
