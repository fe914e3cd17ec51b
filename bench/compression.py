"""Compression: flushing each chunk costs next to nothing, and beats zlib 6 per row many times.

First, in this process: the same ready pieces of CSV through coalescer and compressor, beside the
library's own one-shot call with the same level and window. Then over HTTP, on gunicorn: rows as
compressed CSV, beside a generator that compresses row by row.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from statistics import median
from typing import Any

import brotli
import common
from flask import Flask, Response, request
from isal import isal_zlib
from table import table

from unspool.coalesce import Coalescer
from unspool.compress import Compressor
from unspool.flask import stream_csv
from unspool.formats import find

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD = {
    zstd.CompressionParameter.compression_level: 1,
    zstd.CompressionParameter.window_log: 18,
}
ONE_SHOT: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: isal_zlib.compress(data, 1, 31),
    "zstd": lambda data: zstd.compress(data, options=ZSTD),
    "br": lambda data: brotli.compress(data, quality=1, lgwin=18),
}
DECODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: zlib.decompress(data, 31),
    "zstd": zstd.decompress,
    "br": brotli.decompress,
}
# What the pipeline asks for, to fill a chunk with one piece; and what needs joining.
PIECE_ROWS = (930, 100)

app = Flask(__name__)


def rows():
    return table(request.args.get("rows", type=int))


@app.get("/zlib-6-per-row")
def zlib_6_per_row():
    def generate():
        compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
        for row in table_rows:
            yield compressor.compress((",".join(map(str, row)) + "\n").encode())
        yield compressor.flush()

    table_rows = rows()
    return Response(generate(), mimetype="text/csv", headers={"Content-Encoding": "gzip"})


@app.get("/zlib-6-flushed-per-row")
def zlib_6_flushed_per_row():
    def generate():
        compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
        for row in table_rows:
            line = (",".join(map(str, row)) + "\n").encode()
            yield compressor.compress(line) + compressor.flush(zlib.Z_SYNC_FLUSH)
        yield compressor.flush()

    table_rows = rows()
    return Response(generate(), mimetype="text/csv", headers={"Content-Encoding": "gzip"})


@app.get("/unspool-<coding>")
def unspool(coding):
    request.environ["HTTP_ACCEPT_ENCODING"] = coding  # As if the client had said so.
    return stream_csv(rows(), compress=True)


WAYS = [
    "zlib-6-per-row",
    "zlib-6-flushed-per-row",
    *(f"unspool-{coding}" for coding in ["gzip", "zstd", "br", "identity"]),
]


def pieces(count: int, piece_rows: int) -> list[bytes]:
    """The table as CSV, in pieces of so many rows."""
    encoder = find("csv").encoder([f"column {n}" for n in range(10)])
    source, made = table(count), [encoder.begin()]
    while batch := list(islice(source, piece_rows)):
        made.append(encoder.feed(batch))
    return made


def streamed(coding: str, made: list[bytes]) -> Iterator[bytes]:
    coalescer, compressor = Coalescer(b""), Compressor(coding)
    compressor.begin()
    for piece in made:
        if chunk := coalescer.feed(piece, 0, 0):
            yield compressor.feed(chunk)
    yield compressor.feed(coalescer.flush())
    yield compressor.end()


def timed(function: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    started = time.process_time()
    result = function(*args)
    return time.process_time() - started, result


def sent(chunks: Iterator[bytes]) -> int:
    """The length of all chunks, each dropped before the next is made, as a server does it."""
    return sum(map(len, chunks))


def in_process(count: int, rounds: int) -> None:
    made = {rows: pieces(count, rows) for rows in PIECE_ROWS}
    data = b"".join(made[PIECE_ROWS[0]])
    cases = [(coding, rows) for coding in ONE_SHOT for rows in PIECE_ROWS]
    costs: dict[tuple[str, int], list[tuple[float, float]]] = {case: [] for case in cases}
    sizes = {}
    for _ in range(rounds):
        for coding, rows in cases:
            once_s, once = timed(ONE_SHOT[coding], data)
            ours_s, size = timed(sent, streamed(coding, made[rows]))
            costs[coding, rows].append((once_s, ours_s))
            sizes[coding, rows] = (len(once), size)
            if DECODE[coding](b"".join(streamed(coding, made[rows]))) != data:
                sys.exit(f"{coding} does not decode to the same bytes.")
    head = ["coding", "rows a piece", "one-shot MB/s", "ours MB/s", "CPU", "ratio", "ours", "size"]
    common.print_table(head, [line(len(data), case, costs[case], *sizes[case]) for case in cases])
    more = max(median(ours_s / once_s for once_s, ours_s in costs[case]) for case in cases) - 1
    claim, unit = "Coalescing and compression, over one-shot", "% more CPU"
    common.print_aim(claim, 5, 100 * more, unit=unit, at_most=True)


def line(
    plain: int, case: tuple[str, int], pairs: list[tuple[float, float]], once: int, ours: int
) -> list[str]:
    return [
        case[0],
        str(case[1]),
        f"{plain / 1e6 / median(once_s for once_s, _ in pairs):,.0f}",
        f"{plain / 1e6 / median(ours_s for _, ours_s in pairs):,.0f}",
        f"{median(ours_s / once_s for once_s, ours_s in pairs) - 1:+.1%}",
        f"{plain / once:.2f}",
        f"{plain / ours:.2f}",
        f"{ours / once - 1:+.2%}",
    ]


def over_http(count: int, rounds: int) -> None:
    cases = [("gunicorn", way) for way in WAYS]
    options = {"app": "compression:app", "rows": count, "check_rows": 1}
    results = common.measure_all(cases, rounds, **options)
    naive = cases[0]
    common.print_table(
        ["server", "way", "rows/s", "CPU s/1M", "wire MB", "first ms", "grown MB", "x CPU"],
        [
            [
                *case,
                f"{count / results.middle(case, 'wall_s'):,.0f}",
                f"{results.middle(case, 'cpu_s') / count * 1e6:.2f}",
                f"{results.middle(case, 'wire_bytes') / 1e6:.1f}",
                f"{results.middle(case, 'first_byte_ms'):.1f}",
                f"{results.middle(case, 'grown_mb'):.1f}",
                f"{results.times(case, naive, 'cpu_s'):.2f}",
            ]
            for case in cases
        ],
    )
    against = results.times(("gunicorn", "unspool-gzip"), naive, "cpu_s")
    common.print_aim("Tuples to CSV with gzip, against zlib 6 per row", 15, against)


def main() -> None:
    args = common.arguments(__doc__, rows=300_000)
    in_process(args.rows, args.rounds)
    over_http(args.rows, args.rounds)


if __name__ == "__main__":
    main()
