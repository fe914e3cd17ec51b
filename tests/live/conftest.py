"""Real servers for the apps in this folder and for the example, and a real browser."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from live.servers import FLIGHTS, HERE, ROOT, Server, free_port, running, serve, wake

EXAMPLE = ROOT / "examples" / "flights"


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("live")


@pytest.fixture(params=["gunicorn gthread", "waitress", "granian wsgi"])
def server(request):
    with serve(request.param) as server:
        yield server


@pytest.fixture
def gunicorn():
    with serve("gunicorn gthread") as server:
        yield server


@pytest.fixture(scope="session")
def example():
    if not FLIGHTS.exists():
        env = {**os.environ, "FLIGHTS_DB": str(FLIGHTS)}
        subprocess.run([sys.executable, str(EXAMPLE / "data.py")], check=True, env=env)
    with serve("gunicorn gthread", folder=EXAMPLE) as server:
        yield server


@contextmanager
def chromium():
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "no Chromium here; `make test` installs it"
    quiet = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=quiet)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser):
    page = browser.new_page()
    yield page
    page.close()


@pytest.fixture
def curl(tmp_path):
    """Runs curl; gives its exit code and where the body is."""

    def curl(url, *options):
        body = tmp_path / "body"
        done = subprocess.run(
            ["curl", "-s", "-S", "--noproxy", "*", "-o", str(body), *options, url],
            capture_output=True,
            text=True,
        )
        return done.returncode, body

    return curl


@pytest.fixture
def short_path():
    """A folder whose path is short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture
def start(short_path):
    """Starts a server whose processes meet below `short_path`."""
    with ExitStack() as servers:

        def start(command, **more):
            port = free_port()
            (short_path / "contract.json").touch()
            env = {
                **os.environ,
                "CONTRACT_LOG": str(short_path / "contract.json"),
                "PYTHONPATH": os.pathsep.join(map(str, [HERE, HERE.parent, ROOT / "src"])),
                "XDG_RUNTIME_DIR": str(short_path),
                "ANSWER_WITHIN_S": "15",
                **more,
            }
            words = command.format(port=port).split()
            words[0] = str(Path(sys.executable).parent / words[0])
            log = short_path / f"{port}.log"
            process = servers.enter_context(running(words, port, HERE, env, log))
            wake(port)
            return Server(process, port, short_path, {port})

        yield start
