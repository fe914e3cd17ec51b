"""Small tools that many tests use."""

import contextvars
import zlib

import brotli
import zstandard

from unspool.coalesce import Coalescer
from unspool.formats import find
from unspool.pipeline import Pipeline
from unspool.sources.rows import RowSource


class Clock:
    """A clock that stands still until it is told the time."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def new_pipeline(format="csv", columns=None, chunk_bytes=65536, flush_after_s=0.05, batch_rows=512):
    return Pipeline(
        find(format).encoder(columns),
        Coalescer(b"", chunk_bytes, flush_after_s),
        batch_rows=batch_rows,
    )


def new_source(rows, **options):
    return RowSource(rows, contextvars.copy_context(), **options)


def encode(rows, format="csv", columns=None, batches_of=None):
    """The bytes of `rows`, fed in batches of this many rows."""
    encoder = find(format).encoder(columns)
    size = batches_of or max(1, len(rows))
    parts = [encoder.begin()]
    parts += [encoder.feed(rows[at : at + size]) for at in range(0, len(rows), size)]
    parts.append(encoder.end())
    return b"".join(parts)


def reader(coding):
    """A decoder of somebody else's: it is called with data, and gives what it can decode by now."""
    if coding == "gzip":
        return zlib.decompressobj(31).decompress
    if coding == "br":
        return brotli.Decompressor().process
    return zstandard.ZstdDecompressor().decompressobj().decompress
