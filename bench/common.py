"""What the benchmarks share: a fresh server for each case, its CPU and memory, a raw client.

Needs Linux, for /proc. The server runs on the first core, the client on the last.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
# What each claim came to, for `picture.py`.
AIMS = HERE.parent / ".cache" / "bench" / "aims.json"
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES = CORES[:1]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

# Each with four threads, as an app with some traffic would have.
SERVERS = {
    "gunicorn": "gunicorn -k gthread --threads 4 --no-control-socket --log-level warning -b {at}",
    "waitress": "waitress --threads 4 --listen {at}",
    "granian": "granian --interface wsgi --blocking-threads 4 --log-level warning"
    " --host {host} --port {port}",
}


@dataclass(frozen=True)
class Result:
    """What one answer took, of the server and of one `beside` it. Bytes are those on the wire."""

    wall_s: float
    cpu_s: float
    first_byte_ms: float
    wire_bytes: int
    grown_mb: float
    digest: str
    beside_cpu_s: float = 0.0

    @property
    def all_cpu_s(self) -> float:
        """The CPU time of both."""
        return self.cpu_s + self.beside_cpu_s


class Server:
    """A running server: its process, and where it listens."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port

    def processes(self) -> list[Path]:
        """The /proc directories of the server and all below it."""
        pids = [str(self.pid)]
        for pid in pids:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                pids += children.read_text().split()
        return [Path("/proc", pid) for pid in pids]

    def cpu_s(self) -> float:
        """CPU seconds, user and system, of all of them so far, and of those that have ended."""
        processes = self.processes()
        stats = [(process / "stat").read_text() for process in processes]
        ended = [stat.rpartition(")")[2].split()[13:15] for stat in stats]
        running_s = sum(time.clock_gettime(cpu_clock(int(process.name))) for process in processes)
        return running_s + sum(map(int, chain.from_iterable(ended))) / TICKS_PER_S

    def peak_mb(self) -> float:
        """The most resident memory since `forget_peak`, summed over them."""
        lines = "\n".join((process / "status").read_text() for process in self.processes())
        peaks = [line.split()[1] for line in lines.splitlines() if line.startswith("VmHWM")]
        return sum(map(int, peaks)) / 1024

    def forget_peak(self) -> None:
        """Lets the peak start again from what is resident now."""
        for process in self.processes():
            (process / "clear_refs").write_text("5")

    def body(self, path: str) -> bytes:
        """The whole body; raises if it is cut off."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read()


def cpu_clock(pid: int) -> int:
    """The clock of a process's CPU time, in nanoseconds: what clock_getcpuclockid(3) gives."""
    return ~pid << 3 | 2


@contextmanager
def server(kind: str, *app: str) -> Iterator[Server]:
    """A fresh server (one of SERVERS, or a command line) that answers; gone afterwards."""
    port = free_port()
    command = SERVERS.get(kind, kind).format(at=f"127.0.0.1:{port}", host="127.0.0.1", port=port)
    os.sched_setaffinity(0, SERVER_CORES)
    process = subprocess.Popen([sys.executable, "-m", *command.split(), *app], cwd=HERE)
    os.sched_setaffinity(0, CORES[-1:])
    try:
        wait_until_open(port, process)
        yield Server(process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


def wait_until_open(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
    sys.exit(f"{' '.join(process.args)} does not answer.")


def read(port: int, path: str) -> tuple[float, float, int]:
    """Seconds to the last and to the first byte of the body, and the bytes on the wire."""
    buffer = memoryview(bytearray(1 << 20))
    with closing(socket.create_connection(("127.0.0.1", port), timeout=600)) as connection:
        started = time.perf_counter()
        host = f"Host: 127.0.0.1:{port}"
        request = f"GET {path} HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        head, first = read_head(connection)
        wire_bytes, tail = len(head), head[-5:]
        while got := connection.recv_into(buffer):
            wire_bytes += got
            tail = (tail + bytes(buffer[max(0, got - 5) : got]))[-5:]
        wall_s = time.perf_counter() - started
    check_whole(path, head, wire_bytes, tail)
    return wall_s, first - started, wire_bytes


def read_head(connection: socket.socket) -> tuple[bytes, float]:
    """The headers with the first bytes of the body, and when these came."""
    head = b""
    while not head.partition(b"\r\n\r\n")[2]:
        got = connection.recv(65536)
        if not got:
            sys.exit(f"The server hung up after {head!r}.")
        head += got
    return head, time.perf_counter()


def check_whole(path: str, head: bytes, wire_bytes: int, tail: bytes) -> None:
    headers = head.partition(b"\r\n\r\n")[0]
    if b"\r\ntransfer-encoding: chunked" in headers.lower():
        whole = tail == b"0\r\n\r\n"
    else:
        length = headers.lower().partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0]
        whole = wire_bytes == len(headers) + 4 + int(length or -1)
    if not (headers.startswith(b"HTTP/1.1 200") and whole):
        sys.exit(f"{path}: {wire_bytes} bytes came, and not all or not with status 200.")


def measure(
    kind: str, way: str, *, app: str, rows: int, check_rows: int, beside: Server | None = None
) -> Result:
    """One answer of `rows` rows by a fresh, warm server; the digest is of `check_rows` rows.

    `beside` is a server that ours asks, such as a database.
    """
    with server(kind, app) as running:
        running.body(f"/{way}?rows=1")
        running.forget_peak()
        cpu_s, peak_mb = running.cpu_s(), running.peak_mb()
        beside_cpu_s = beside.cpu_s() if beside else 0.0
        wall_s, first_s, wire_bytes = read(running.port, f"/{way}?rows={rows}")
        cpu_s, peak_mb = running.cpu_s() - cpu_s, running.peak_mb() - peak_mb
        beside_cpu_s = beside.cpu_s() - beside_cpu_s if beside else 0.0
        digest = sha256(running.body(f"/{way}?rows={check_rows}")).hexdigest()
    return Result(wall_s, cpu_s, first_s * 1000, wire_bytes, peak_mb, digest, beside_cpu_s)


Case = tuple[str, str]


class Results(dict[Case, list[Result]]):
    """The results of each (server, way), one a round."""

    def middle(self, case: Case, field: str) -> float:
        """The median of a figure over the rounds."""
        return median(getattr(result, field) for result in self[case])

    def times(self, case: Case, base: Case, field: str) -> float:
        """How many times less than `base` it took: the median over the rounds."""
        pairs = zip(self[base], self[case], strict=True)
        return median(getattr(other, field) / getattr(own, field) for other, own in pairs)

    def check_same(self, cases: Sequence[Case]) -> None:
        """Stops the program if not all these cases sent the same body."""
        digests = {case: {result.digest for result in self[case]} for case in cases}
        if len(set.union(*digests.values())) > 1:
            sys.exit(f"The bodies differ: {digests}")


def measure_all(cases: Sequence[Case], rounds: int, **options: Any) -> Results:
    """Measures all cases once a round, so that a noisy minute hits them all."""
    results = Results({case: [] for case in cases})
    for number in range(rounds):
        for case in cases:
            print(f"round {number + 1} of {rounds}:", *case, file=sys.stderr)
            results[case].append(measure(*case, **options))
    return results


def arguments(claim: str, rows: int) -> argparse.Namespace:
    """The command line; `rows` is how many rows are sent by default."""
    return parser(claim, rows).parse_args()


def parser(claim: str, rows: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=claim)
    parser.add_argument("--rows", type=int, default=rows, help="default: %(default)s")
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    return parser


def print_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Prints the lines in columns; the first two to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in [head, *lines]:
        cells = zip(line, widths, range(len(widths)), strict=True)
        print("  ".join(c.ljust(w) if i < 2 else c.rjust(w) for c, w, i in cells).rstrip())


def print_aim(
    claim: str, aim: float, reached: float, *, unit: str = "times", at_most: bool = False
) -> None:
    """Prints what was reached beside what is aimed at, and keeps it for `picture.py`."""
    print(f"{claim}: {reached:.1f} {unit}, aim: {'at most' if at_most else 'at least'} {aim:g}")
    AIMS.parent.mkdir(parents=True, exist_ok=True)
    aims = json.loads(AIMS.read_text()) if AIMS.exists() else {}
    aims[claim] = {"aim": aim, "reached": round(reached, 2), "unit": unit, "at_most": at_most}
    AIMS.write_text(json.dumps(aims, indent=1))
