"""500 downloads at once through `unspool serve`: none lost, none wrong, and the server at ease."""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import duckdb
import pytest
from helpers import encode
from live.servers import free_port, running

HERE = Path(__file__).parent
DOWNLOADS = 500
ROWS = 20_000
FORMATS = ["csv", "ndjson", "xlsx", "parquet", "html"]
STARTS = [0, 1, 77_777, 1_000_000, 1_980_000]

pytestmark = [pytest.mark.live, pytest.mark.alone]

SQL = """
    CREATE TABLE items AS
    SELECT range AS id, 'item, ' || range AS name, range / 8 AS price, range % 3 = 0 AS sold,
           DATE '2013-01-01' + CAST(range % 365 AS INTEGER) AS day
    FROM range(2000000)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    path = tmp_path_factory.mktemp("load") / "shop.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute(SQL)
    return path


@pytest.fixture(scope="module")
def server(shop, tmp_path_factory):
    port = free_port()
    command = [sys.executable, "-m", "unspool", "serve", str(shop), f"--port={port}"]
    command += [f"--max-streams={DOWNLOADS + 10}"]
    log = tmp_path_factory.mktemp("load") / "log"
    with running(command, port, HERE, dict(os.environ), log) as process:
        yield process.pid, port


def path(format, start):
    return f"/shop/items.{format}?_limit={ROWS}&_offset={start}"


def downloads(port, paths, count):
    """The digests of all downloads, and how many seconds small requests took meanwhile."""
    command = [sys.executable, str(HERE / "downloads.py"), str(port), str(count)]
    took_s = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write("\n".join(paths))
        process.stdin.close()
        while process.poll() is None:
            took_s.append(small_request(port))
            time.sleep(0.05)
        return json.loads(process.stdout.read()), took_s


def small_request(port):
    began = time.monotonic()
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/-/health")
        assert connection.getresponse().read() == b'{"status":"ok"}\n'
    return time.monotonic() - began


def test_500_downloads_at_once_are_whole_and_small_requests_are_quick(server, shop):
    pid, port = server
    paths = [path(format, start) for format in FORMATS for start in STARTS]
    alone, _ = downloads(port, paths, 1)
    with duckdb.connect(shop, read_only=True) as connection:
        for start in STARTS:
            rows = connection.execute(f"FROM items LIMIT {ROWS} OFFSET {start}").fetchall()
            names = ["id", "name", "price", "sold", "day"]
            expected = hashlib.sha256(encode(rows, "csv", names)).hexdigest()
            assert alone[path("csv", start)] == [expected]
    before = peak_mib(pid)
    together, took_s = downloads(port, paths, DOWNLOADS // len(paths))
    assert together == {each: alone[each] * (DOWNLOADS // len(paths)) for each in paths}
    took_s.sort()
    print(
        f"{len(took_s)} small requests: median {statistics.median(took_s) * 1000:.0f} ms, of 95 %"
        f" {took_s[len(took_s) * 95 // 100] * 1000:.0f} ms, longest {took_s[-1] * 1000:.0f} ms;"
        f" {before:.0f} MiB before, {peak_mib(pid):.0f} at the peak"
    )
    assert statistics.median(took_s) < 0.2
    assert peak_mib(pid) < before + DOWNLOADS * 2


def peak_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise LookupError
