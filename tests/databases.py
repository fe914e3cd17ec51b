"""Private database servers for the tests: started on a free port, gone afterwards, nothing kept.

A database server refuses to run as root: it then runs as the user that its package made.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from live.servers import answers, free_port

# Durability costs time, and these clusters live for a minute.
FAST = ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off"]

# Written into by every session that connects: nobody else is there to be kept out.
MARIADB = """
[server]
innodb-flush-log-at-trx-commit=0
innodb-buffer-pool-size=64M
innodb-log-file-size=16M
skip-name-resolve
"""


def tool(name):
    """The path of a server's program; Debian keeps PostgreSQL's out of the way."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), Path("/usr/sbin"), Path("/usr/bin")]
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, folders)))
    assert found, f"no {name} here; `make test` installs it"
    return found


@contextmanager
def folder(user):
    """A temporary folder of `user`, and the arguments by which a process runs as that user."""
    as_user = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
    path = Path(tempfile.mkdtemp(prefix="unspool-"))
    if as_user:
        shutil.chown(path, user, user)
    try:
        yield path, as_user
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def running(command, is_ready, at, as_user, stop):
    """Runs a server until it is told to `stop`, and waits until it is ready."""
    log = at / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=at, stdout=output, stderr=output, start_new_session=True, **as_user
        )
    try:
        deadline = time.monotonic() + 30
        while not is_ready():
            assert process.poll() is None, f"{command[0]} stopped:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{command[0]} is silent:\n{log.read_text()}"
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def postgres():
    """The URL of an empty PostgreSQL database."""
    with folder("postgres") as (at, as_user):
        data, port = at / "data", free_port()
        quiet = {"stdout": subprocess.DEVNULL, "check": True, "cwd": at, **as_user}
        init = ["-D", data, "-A", "trust", "-U", "test", "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run([tool("initdb"), *init], **quiet)
        options = [f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={at}"]
        flags = [part for option in [*options, *FAST] for part in ("-c", option)]
        ready = [tool("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]

        def is_ready():
            return subprocess.run(ready).returncode == 0

        # SIGQUIT: stop at once, whoever is still connected.
        command = [tool("postgres"), "-D", data, *flags]
        with running(command, is_ready, at, as_user, signal.SIGQUIT):
            yield f"postgresql://test@127.0.0.1:{port}/postgres"


@contextmanager
def mariadb():
    """Host, port, user, password and database of an empty MariaDB database, as a dict."""
    with folder("mysql") as (at, as_user):
        port, config = free_port(), at / "my.cnf"
        # Its own folder for temporary tables: those of two that begin together have the same names.
        config.write_text(f"{MARIADB}tmpdir={at}\n")
        quiet = {"stdout": subprocess.DEVNULL, "check": True, "cwd": at, **as_user}
        common = [f"--defaults-file={config}", f"--datadir={at / 'data'}"]
        install = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run([tool("mariadb-install-db"), *common, *install], **quiet)
        start = at / "start.sql"
        start.write_text(
            "CREATE DATABASE test CHARACTER SET utf8mb4;\n"
            "CREATE USER test@'127.0.0.1' IDENTIFIED BY 'secret';\n"
            "GRANT ALL ON *.* TO test@'127.0.0.1';\n"
        )
        flags = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={at / 'socket'}"]
        command = [tool("mariadbd"), *common, *flags, f"--init-file={start}"]
        with running(command, lambda: answers(port), at, as_user, signal.SIGKILL):
            yield {
                "host": "127.0.0.1",
                "port": port,
                "user": "test",
                "password": "secret",
                "database": "test",
            }
