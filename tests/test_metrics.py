"""Figures, spans and log lines of streams, as those read them who are meant to."""

import logging
import os
import subprocess
import sys

import flask
import prometheus_client
import pytest
from helpers import new_pipeline
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from unspool import metrics, observe
from unspool.flask import stream
from unspool.headers import Asked
from unspool.observe import born, running_streams


@pytest.fixture(autouse=True)
def nobody_else_watches(monkeypatch):
    monkeypatch.setattr(observe, "_observers", ())


def new_stream(path="/data.csv", format="csv", query=""):
    return born(lambda: Asked(path=path, query=query, client="10.0.0.7"), format, new_pipeline())


def failing():
    yield (1, 2)
    raise LookupError("boom")


app = flask.Flask(__name__)
app.add_url_rule("/whole", "whole", lambda: stream(iter([(1, 2), (3, 4)])))
app.add_url_rule("/failed", "failed", lambda: stream(failing()))


# Prometheus


def samples():
    """What a reader of somebody else's finds in our exposition, by name and labels."""
    media_type, text = metrics.exposition()
    assert media_type.startswith("text/plain; version=")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name.startswith("unspool_")
    }


class Change:
    """By how much a figure has changed since."""

    def __init__(self):
        self.before = samples()

    def __call__(self, name, **labels):
        key = (name, *sorted(labels.items()))
        return samples().get(key, 0) - self.before.get(key, 0)


def test_prometheus_gets_streams_rows_bytes_and_times():
    metrics.prometheus()
    metrics.prometheus()  # The second time does nothing.
    change = Change()
    body = app.test_client().get("/whole").data
    with pytest.raises(LookupError):
        app.test_client().get("/failed").data  # noqa: B018
    assert change("unspool_streams_total", format="csv", outcome="complete") == 1
    assert change("unspool_streams_total", format="csv", outcome="error") == 1
    assert change("unspool_rows_total", format="csv") == 3
    assert change("unspool_bytes_total", format="csv") == len(body) + len("1,2\r\n")
    assert change("unspool_duration_seconds_count", format="csv") == 2
    assert change("unspool_first_byte_seconds_count", format="csv") == 2
    assert 0 < change("unspool_first_byte_seconds_sum", format="csv")
    assert change("unspool_first_byte_seconds_sum", format="csv") <= change(
        "unspool_duration_seconds_sum", format="csv"
    )
    assert change("unspool_streams_running") == 0


def test_a_stream_that_runs_is_counted_as_it_goes():
    metrics.prometheus()
    (observer,) = observe._observers
    change = Change()
    running = new_stream(format="xlsx")
    assert change("unspool_streams_running") == 1
    running.pipeline.rows, running.pipeline.sent = 10, 100
    observer.goes_on(running)
    assert change("unspool_rows_total", format="xlsx") == 10
    running.pipeline.rows, running.pipeline.sent = 25, 250
    observer.goes_on(running)
    running.pipeline.rows, running.pipeline.sent = 30, 300
    running.end("disconnect", None)
    observer.goes_on(running)  # The thread was just about to.
    assert change("unspool_rows_total", format="xlsx") == 30
    assert change("unspool_bytes_total", format="xlsx") == 300
    assert change("unspool_streams_total", format="xlsx", outcome="disconnect") == 1
    assert change("unspool_first_byte_seconds_count", format="xlsx") == 0  # It never had one.
    assert change("unspool_streams_running") == 0


def test_a_stream_that_began_before_is_not_counted():
    observe.watch(Nothing())
    running = new_stream(format="xml")
    metrics.prometheus()
    change = Change()
    running.pipeline.rows = 7
    observe._observers[-1].goes_on(running)
    assert change("unspool_rows_total", format="xml") == 0
    running.end("complete", None)
    assert change("unspool_streams_running") == 0
    assert change("unspool_streams_total", format="xml", outcome="complete") == 0


class Nothing:
    def began(self, stream):
        pass

    goes_on = ended = began


PROCESS = """
import flask, os, sys
from unspool import metrics
from unspool.flask import stream
metrics.prometheus()
app = flask.Flask("app")
app.add_url_rule("/", "data", lambda: stream([(n,) for n in range(5)]))
if not os.fork():
    app.test_client().get("/").data
    os._exit(0)
os.wait()
app.test_client().get("/").data
print(metrics.exposition("application/openmetrics-text; version=1.0.0")[1].decode())
"""


def test_with_several_processes_the_figures_are_those_of_all(tmp_path):
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROCESS], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'unspool_streams_total{format="csv",outcome="complete"} 2.0' in done.stdout
    assert 'unspool_rows_total{format="csv"} 10.0' in done.stdout
    assert "unspool_streams_running 0.0" in done.stdout
    assert done.stdout.rstrip().endswith("# EOF")


def test_the_names_of_the_figures_are_those_that_are_documented():
    metrics.prometheus()
    new_stream().end("complete", None)
    families = {
        family.name: family.type
        for family in text_string_to_metric_families(
            prometheus_client.generate_latest(prometheus_client.REGISTRY).decode()
        )
        if family.name.startswith("unspool_") and not family.name.endswith("_created")
    }
    assert families == {
        "unspool_streams_running": "gauge",
        "unspool_streams": "counter",
        "unspool_rows": "counter",
        "unspool_bytes": "counter",
        "unspool_first_byte_seconds": "histogram",
        "unspool_duration_seconds": "histogram",
    }


# OpenTelemetry


@pytest.fixture(scope="module")
def exporter():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter):
    exporter.clear()
    metrics.opentelemetry()
    metrics.opentelemetry()  # The second time does nothing.
    return exporter.get_finished_spans


def test_a_span_is_a_child_of_its_request_and_ends_with_the_last_byte(spans):
    tracer = trace.get_tracer("test")
    traced = flask.Flask(__name__)

    def view():
        with tracer.start_as_current_span("the request"):
            return stream(iter([(1, 2), (3, 4)]), batch_rows=1, chunk_bytes=1)

    traced.add_url_rule("/", "view", view)
    with traced.test_client().get("/", buffered=False) as answer:
        assert [span.name for span in spans()] == ["the request"]
        body = b"".join(answer.response)
    request, ours = spans()
    assert ours.name == "stream csv"
    assert ours.parent.span_id == request.context.span_id
    assert ours.context.trace_id == request.context.trace_id
    assert ours.end_time > request.end_time
    assert dict(ours.attributes) | {"unspool.id": ""} == {
        "unspool.id": "",
        "unspool.format": "csv",
        "unspool.rows": 2,
        "unspool.bytes": len(body),
        "unspool.outcome": "complete",
    }
    assert ours.status.status_code == trace.StatusCode.UNSET


def test_the_span_of_a_failed_stream_has_its_error(spans):
    with pytest.raises(LookupError):
        app.test_client().get("/failed").data  # noqa: B018
    (span,) = spans()
    assert span.status.status_code == trace.StatusCode.ERROR
    assert span.status.description == "boom"
    assert span.attributes["unspool.outcome"] == "error"
    assert span.events[0].attributes["exception.type"] == "LookupError"


def test_the_span_of_a_cancelled_stream_says_so(spans):
    stream = new_stream()
    stream.cancel()
    stream.end("disconnect", None)
    (span,) = spans()
    assert span.attributes["unspool.outcome"] == "cancelled"
    assert span.status.status_code == trace.StatusCode.ERROR
    assert span.events[0].attributes["exception.type"] == "unspool.errors.Cancelled"


def test_the_span_of_a_client_that_left_is_no_error(spans):
    new_stream().end("disconnect", None)
    (span,) = spans()
    assert span.status.status_code == trace.StatusCode.UNSET


# The log


def logged(caplog, end=("complete", None), **asked):
    caplog.set_level(logging.INFO, "unspool.streams")
    metrics.log()
    stream = new_stream(**asked)
    if end == "cancel":
        stream.cancel()
        end = ("disconnect", None)
    stream.end(*end)
    (record,) = [record for record in caplog.records if record.name == "unspool.streams"]
    return record


def test_a_line_is_logged_at_the_end_of_a_stream(caplog, monkeypatch):
    monkeypatch.setattr(observe, "monotonic", lambda: 5.0)
    metrics.log()  # The second time does nothing.
    record = logged(caplog, query="_stream=our-download")
    assert record.getMessage() == (
        "stream id=our-download method=GET path=/data.csv client=10.0.0.7 format=csv rows=0 "
        'bytes=0 outcome=complete duration_s=0.0 first_byte_s=""'
    )
    assert record.levelno == logging.INFO
    assert record.stream == {
        "id": "our-download",
        "method": "GET",
        "path": "/data.csv",
        "client": "10.0.0.7",
        "format": "csv",
        "rows": 0,
        "bytes": 0,
        "outcome": "complete",
        "duration_s": 0.0,
        "first_byte_s": None,
    }


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/a", "/a"),
        ("/a-b_c.csv?x&y", "/a-b_c.csv?x&y"),
        ("", '""'),
        ("/a b", '"/a b"'),
        ("/a=b", '"/a=b"'),
        ('/a"b', '"/a\\"b"'),
        ("/a\nstream outcome=complete", '"/a\\nstream outcome=complete"'),
        ("/a\rb", '"/a\\rb"'),
        ("/\x1b[2J", '"/\\u001b[2J"'),
        ("/\x7f", '"/\\u007f"'),
        ("/\x85\u2028\u202e", '"/\\u0085\\u2028\\u202e"'),
        ("/ü", '"/\\u00fc"'),
        ("/%s%d", "/%s%d"),
    ],
)
def test_nothing_that_a_client_sends_ends_a_line_or_makes_a_field(path, written, caplog):
    message = logged(caplog, path=path).getMessage()
    assert f" path={written} client=" in message
    assert message.isascii()
    assert message.isprintable()


def test_a_failed_stream_is_a_warning_with_its_error(caplog):
    record = logged(caplog, ("error", LookupError("bad\nrow")))
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith('error="LookupError: bad\\nrow"')
    assert record.stream["error"] == "LookupError: bad\nrow"


def test_a_cancelled_stream_is_logged_as_that(caplog):
    record = logged(caplog, "cancel")
    assert record.levelno == logging.INFO
    assert " outcome=cancelled " in record.getMessage()
    assert running_streams() == []
