"""Drives WebKitGTK by its WebDriver, on a screen that nobody sees."""

import json
import os
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from live.servers import free_port, running

WAIT_S = 60


@contextmanager
def webkit(folder):
    """A tab of a new browser; its log goes to `folder`."""
    port = free_port()
    command = ["xvfb-run", "-a", "WebKitWebDriver", f"--port={port}"]
    with running(command, port, folder, dict(os.environ), folder / "webkit.log"):
        with closing(Tab(port)) as tab:
            yield tab


class Tab:
    """One tab. Scripts are JavaScript functions without arguments."""

    def __init__(self, port):
        self._port = port
        self._session = ""
        options = {"binary": browser(), "args": ["--automation"]}
        wanted = {"pageLoadStrategy": "none", "webkitgtk:browserOptions": options}
        begun = self._ask("POST", "", capabilities={"alwaysMatch": wanted})
        self._session = "/" + begun["sessionId"]

    def open(self, url):
        """Begins to load a page."""
        self._ask("POST", "/url", url=url)

    def run(self, function):
        return self._ask("POST", "/execute/sync", script=f"return ({function})()", args=[])

    def wait(self, condition):
        """Until this expression is true."""
        end = time.monotonic() + WAIT_S
        while not self.run(f"() => !!({condition})"):
            assert time.monotonic() < end, f"{condition} did not come to be true"
            time.sleep(0.02)

    def close(self):
        self._ask("DELETE", "")

    def _ask(self, method, path, **body):
        connection = HTTPConnection("127.0.0.1", self._port, timeout=120)
        with closing(connection):
            connection.request(method, f"/session{self._session}{path}", json.dumps(body))
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        assert answer.status == 200, value
        return value


def browser():
    found = sorted(Path("/usr/lib").glob("*/webkit2gtk-4*/MiniBrowser"))
    assert found, "no WebKit here; `make test` installs it"
    return str(found[-1])
