"""Runs the own tests of Flask and others with our functions in the place of theirs.

    python tests/peers/run.py FOLDER_WITH_THEIR_SOURCE_ARCHIVES

All of Flask's and Jinja's tests run, and the others' tests of streams and templates. Tests that do
not fit are listed here, each with the reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent

TESTS = {
    "flask": ["tests"],
    "jinja2": ["tests"],
    "starlette": [
        "tests/test_templates.py",
        "tests/test_responses.py",
        "tests/test_testclient.py",
        "tests/middleware/test_base.py",
        "tests/middleware/test_gzip.py",
        "-k",
        "(templates or stream or gzip or disconnect or background or chunk) and not trio",
    ],
    "fastapi": [
        "tests/test_stream_cancellation.py",
        "tests/test_dependency_after_yield_streaming.py",
        "tests/test_dependency_concurrency.py",
        "tests/test_dependency_contextmanager.py",
        "tests/test_dependency_yield_scope.py",
        "-k",
        "not trio",
    ],
    "werkzeug": ["tests/test_serving.py", "-k", "streaming"],
}

LEFT_OUT = [
    # Fails with Flask's own functions too: written for an older Werkzeug.
    "tests/test_reqctx.py::test_bad_environ_raises_bad_request",
    # A failed send is how a server says that the client has left: theirs raises
    # ClientDisconnect then, ours ends.
    "tests/test_responses.py::test_streaming_response_on_client_disconnects",
    # Ours makes the first chunk before the status goes out, so that a failure is a real one.
    "tests/test_testclient.py::test_streaming_response_is_available_before_first_chunk",
    "tests/test_dependency_after_yield_streaming.py::test_broken_session_stream_no_raise",
    # Ours does not answer websockets.
    "tests/test_responses.py::test_streaming_response_runs_background_on_websocket_scope",
    # Theirs ends a failed answer cleanly in HTTP/1.0; ours breaks it off.
    "tests/test_serving.py::test_streaming_close_response[crash]",
]

MUST_RUN = {
    "flask": [
        "TestStreaming",
        "test_simple_stream",
        "test_response_types",
        "test_client_pop_all_preserved",
    ],
    "jinja2": ["TestStreaming", "TestInheritance", "TestMacros", "TestForLoop", "TestAsyncForLoop"],
    "starlette": [
        "test_templates.py::test_templates[",
        "test_templates_with_environment[",
        "test_calls_context_processors[",
        "test_streaming_response[",
        "test_streaming_response_custom_iterator",
        "test_streaming_response_custom_iterable",
        "test_sync_streaming_response",
        "test_streaming_response_unknown_size",
        "test_streaming_response_known_size",
        "test_streaming_response_memoryview",
        "test_streaming_response_stops_if_receiving_http_disconnect",
        "test_gzip_streaming_response[",
        "test_gzip_streaming_response_identity",
        "test_gzip_ignored_for_responses_with_encoding_set",
        "test_gzip_ignored_on_server_sent_events",
        "test_run_background_tasks_even_if_client_disconnects",
        "test_app_receives_http_disconnect_while_sending_if_discarded",
        "test_multiple_middlewares_stacked_client_disconnected",
    ],
    "fastapi": [
        "test_raw_stream_cancellation",
        "test_stream_simple",
        "test_stream_session",
        "test_broken_session_stream_raise",
        "test_context_b_raise",
    ],
    "werkzeug": [
        "test_streaming_close_response[]",
        "test_streaming_chunked_response",
        "test_streaming_chunked_truncation",
    ],
}


def unpack(archive: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(archive.parent, filter="data")
    return archive.parent / archive.name.removesuffix(".tar.gz")


def run(name: str, folder: Path, tests: list[str]) -> str:
    """What pytest printed; exits if a test failed."""
    # What their newer pytest reads is no configuration for ours, which would look for one above.
    command = [sys.executable, "-m", "pytest", "--rootdir=."]
    command += ["-p", "ours", "-p", "no:cacheprovider", "-v"]
    command += ["-W", "default", *[f"--deselect={test}" for test in LEFT_OUT], *tests]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.resolve()), os.environ.get("PYTHONPATH", "")]),
        "PEER": name,
    }
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    print(f"{folder.name}:", result.stdout.splitlines()[-1])
    return result.stdout


def main(archives: Path) -> None:
    for name, chosen in TESTS.items():
        (archive,) = archives.glob(f"{name}-*.tar.gz")
        printed = run(name, unpack(archive), chosen)
        lines = [line for line in printed.splitlines() if " PASSED " in line]
        missing = [test for test in MUST_RUN[name] if not any(test in line for line in lines)]
        if missing:
            sys.exit(f"{name}: these tests did not run: {missing}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
