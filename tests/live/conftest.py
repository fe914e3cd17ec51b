"""Real servers for the app in app.py and for the example, and a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLE = ROOT / "examples" / "flights"
FLIGHTS = ROOT / ".cache" / "flights.duckdb"

SERVERS = {
    "gunicorn": [
        "gunicorn",
        "-k",
        "gthread",
        "--threads",
        "8",
        "-b",
        "127.0.0.1:{port}",
        "--no-control-socket",
        "app:app",
    ],
    "waitress": ["waitress", "--listen=127.0.0.1:{port}", "app:app"],
    "granian": [
        "granian",
        "--interface",
        "wsgi",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "app:app",
    ],
}


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker("live")


class Server:
    def __init__(self, process, port):
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.port = port

    def pids(self):
        """The server's processes, the one that answers last."""
        pids = [self.process.pid]
        for pid in pids:
            path = Path(f"/proc/{pid}/task/{pid}/children")
            pids += [int(child) for child in path.read_text().split()]
        return pids

    def peak_kib(self):
        return max(_status(pid, "VmHWM") for pid in self.pids())


def _status(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)


@contextmanager
def serve(name, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [part.format(port=port) for part in SERVERS[name]]
    if command[0] == "waitress":
        command[0:1] = ["waitress-serve"]
    command[0] = str(Path(sys.executable).parent / command[0])
    env = {**os.environ, "FLIGHTS_DB": str(FLIGHTS), "PYTHONPATH": str(folder)}
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                assert process.poll() is None, f"{name} stopped"
                assert time.monotonic() < deadline, f"{name} does not answer"
                time.sleep(0.05)
        yield Server(process, port)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(params=SERVERS)
def server(request):
    with serve(request.param, HERE) as server:
        yield server


@pytest.fixture
def gunicorn():
    with serve("gunicorn", HERE) as server:
        yield server


@pytest.fixture(scope="session")
def example():
    if not FLIGHTS.exists():
        env = {**os.environ, "FLIGHTS_DB": str(FLIGHTS)}
        subprocess.run([sys.executable, str(EXAMPLE / "data.py")], check=True, env=env)
    with serve("gunicorn", EXAMPLE) as server:
        yield server


@pytest.fixture
def page():
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "no Chromium here; `make test` installs it"
    quiet = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        yield browser.new_page()
        browser.close()


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
