"""The server stacks that are tested, and how to start and stop them."""

import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FLIGHTS = ROOT / ".cache" / "flights.duckdb"

# Ports for outgoing connections begin above (32768 on Linux), so none of those can take a port
# between the moment it is found free and the moment the server has it.
PORTS = range(20_000, 32_000)

# Each process of the tests has a part of them, and gives each of these once before it begins anew.
PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
OWN_PORTS = PORTS[PROCESS::PROCESSES]
IN_TURN = itertools.cycle(random.sample(OWN_PORTS, len(OWN_PORTS)))


@dataclass(frozen=True)
class Stack:
    """One way to serve an app: a command line with {port} and {app}."""

    kind: str  # "wsgi" or "asgi"
    command: str
    front: str = ""  # The HTTP version that an nginx in front speaks to the server.


GUNICORN = "gunicorn --no-control-socket --log-level warning -b 127.0.0.1:{port} {app} -k "
GTHREAD = GUNICORN + "gthread --threads 8"
UWSGI = "uwsgi --threads 8 --need-app --die-on-term --disable-logging --wsgi {app} "
GRANIAN = "granian --host 127.0.0.1 --port {port} {app} --interface "
UVICORN = "uvicorn --log-level warning --port {port} {app} --http "
MOD_WSGI = "python {here}/run_mod_wsgi.py {port} {app} "

STACKS = {
    # A stalled client keeps one sync worker for itself; the log is asked for beside it.
    "gunicorn sync": Stack("wsgi", GUNICORN + "sync --workers 3"),
    "gunicorn gthread": Stack("wsgi", GTHREAD),
    "gunicorn gevent": Stack("wsgi", GUNICORN + "gevent"),
    "waitress": Stack("wsgi", "waitress-serve --listen=127.0.0.1:{port} --threads 8 {app}"),
    "uwsgi": Stack("wsgi", UWSGI + "--http-socket 127.0.0.1:{port}"),
    "uwsgi chunked": Stack("wsgi", UWSGI + "--http11-socket 127.0.0.1:{port} --route-run chunked:"),
    "granian wsgi": Stack("wsgi", GRANIAN + "wsgi --blocking-threads 8"),
    "cheroot": Stack("wsgi", "python {here}/run_cheroot.py {port} {app}"),
    "werkzeug": Stack("wsgi", "python {here}/run_werkzeug.py {port} {app}"),
    "werkzeug debugger": Stack("wsgi", "python {here}/run_werkzeug.py {port} {app} debug"),
    "mod_wsgi daemon": Stack("wsgi", MOD_WSGI + "daemon"),
    "mod_wsgi embedded": Stack("wsgi", MOD_WSGI + "embedded"),
    "nginx 1.0, gunicorn": Stack("wsgi", GTHREAD, front="1.0"),
    "nginx 1.1, gunicorn": Stack("wsgi", GTHREAD, front="1.1"),
    "gunicorn asgi": Stack("asgi", GUNICORN + "asgi"),
    "granian asgi": Stack("asgi", GRANIAN + "asgi"),
    "uvicorn h11": Stack("asgi", UVICORN + "h11"),
    "uvicorn httptools": Stack("asgi", UVICORN + "httptools"),
    "hypercorn": Stack("asgi", "hypercorn -b 127.0.0.1:{port} {app}"),
    "daphne": Stack("asgi", "daphne -v 0 -b 127.0.0.1 -p {port} {app}"),
}

# Nothing but what is needed to run in a folder of its own, as any user, in the foreground.
# Buffering is on, as it is by default: the answers themselves turn it off.
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_http_version {version};
            proxy_set_header Connection "";
        }}
    }}
}}
"""


class Server:
    def __init__(self, process, port, folder, ports):
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.folder = folder
        self.ports = ports  # Its own, and that of what stands before it.

    def pids(self):
        """The server's processes, the one that answers last."""
        pids = [self.process.pid]
        for pid in pids:
            path = Path(f"/proc/{pid}/task/{pid}/children")
            pids += [int(child) for child in path.read_text().split()]
        return pids

    def log(self):
        """What the server, and what stands before it, have printed."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))

    def peak_kib(self):
        return max(_status(pid, "VmHWM") for pid in self.pids())


def _status(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)


@contextmanager
def serve(name, app="app:app", folder=HERE):
    """A running server of the stack `name`, with an app of `folder`. Nothing of it is left."""
    stack = STACKS[name]
    with ExitStack() as cleanup:
        temp = Path(cleanup.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        (temp / "contract.json").touch()
        env = {
            **os.environ,
            "FLIGHTS_DB": str(FLIGHTS),
            "CONTRACT_LOG": str(temp / "contract.json"),
            "PYTHONPATH": os.pathsep.join(map(str, [folder, HERE.parent, ROOT / "src"])),
        }
        port = behind = free_port()
        command = stack.command.format(port=port, app=app, here=HERE).split()
        command[0] = str(Path(sys.executable).parent / command[0])
        process = cleanup.enter_context(running(command, port, folder, env, temp / "server.log"))
        if stack.front:
            port = proxy(cleanup, temp, port, stack.front)
        wake(port)
        yield Server(process, port, temp, {port, behind})


def nginx():
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    assert path, "no nginx here; install it with: apt-get install nginx-light"
    return path


def proxy(cleanup, folder, behind, version):
    """The port of an nginx in front of the port `behind`."""
    port = free_port()
    config = NGINX.format(folder=folder, port=port, behind=behind, version=version)
    (folder / "nginx.conf").write_text(config)
    log = folder / "nginx.log"
    command = [nginx(), "-e", str(log), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    cleanup.enter_context(running(command, port, folder, None, log))
    return port


def free_port():
    while True:
        port = next(IN_TURN)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def running(command, port, folder, env, log):
    """Runs `command` in a process group of its own, and ends the whole group."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert process.poll() is None, f"{command[0]} stopped:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{command[0]} is silent:\n{log.read_text()}"
            time.sleep(0.05)
        yield process
    finally:
        stop(process)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def wake(port):
    """Waits for an answer of the app: a server may listen before it has imported it."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/-/nothing")
        connection.getresponse().read()


def stop(process):
    """Ends the process and its children: politely, and after a while not."""
    process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
