"""Runs Flask's and Jinja's own tests with our functions in the place of theirs.

    python tests/peers/run.py FOLDER_WITH_THEIR_SOURCE_ARCHIVES

All of Flask's tests run, and Jinja's tests of streams. A test that also fails with their
own functions is not ours to mend, and listed here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent

# Fails with Flask's own functions too: written for an older Werkzeug.
NOT_OURS = ["tests/test_reqctx.py::test_bad_environ_raises_bad_request"]

MUST_RUN = {
    "flask": [
        "TestStreaming",
        "test_simple_stream",
        "test_response_types",
        "test_client_pop_all_preserved",
    ],
    "jinja2": ["TestStreaming"],
}


def unpack(archive: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(archive.parent, filter="data")
    return archive.parent / archive.name.removesuffix(".tar.gz")


def run(name: str, folder: Path, tests: list[str]) -> str:
    """What pytest printed; exits if a test failed."""
    command = [sys.executable, "-m", "pytest", "-p", "ours", "-p", "no:cacheprovider", "-v"]
    command += ["-W", "default", *[f"--deselect={test}" for test in NOT_OURS], *tests]
    env = {**os.environ, "PYTHONPATH": str(HERE.resolve()), "PEER": name}
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    print(f"{folder.name}:", result.stdout.splitlines()[-1])
    return result.stdout


def main(archives: Path) -> None:
    tests = {"flask": ["tests"], "jinja2": ["tests/test_api.py::TestStreaming"]}
    for name, chosen in tests.items():
        (archive,) = archives.glob(f"{name}-*.tar.gz")
        printed = run(name, unpack(archive), chosen)
        lines = [line for line in printed.splitlines() if " PASSED " in line]
        missing = [test for test in MUST_RUN[name] if not any(test in line for line in lines)]
        if missing:
            sys.exit(f"{name}: these tests did not run: {missing}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
