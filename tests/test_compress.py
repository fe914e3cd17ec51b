import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import new_source, reader

from unspool import Stream, UsageError, compress
from unspool.compress import CODINGS, Compressor, offered
from unspool.drive import drive
from unspool.headers import Asked

CHUNKS = [b"id,name\r\n", *(b"%d,Ada \xc3\xa9\r\n" % n * 50 for n in range(8))]
ALL = list(CODINGS)


def tool(coding, data):
    """The exit status and output of the command line tool for `coding`."""
    program = {"gzip": "gzip", "zstd": "zstd", "br": "brotli"}[coding]
    done = subprocess.run([program, "-d", "-c"], input=data, capture_output=True)
    return done.returncode, done.stdout


def compressed(coding, chunks=CHUNKS):
    compressor = Compressor(coding)
    compressor.begin()
    return [*map(compressor.feed, chunks), compressor.end()]


@pytest.mark.parametrize("coding", ALL)
def test_each_chunk_can_be_decoded_as_it_arrives(coding):
    read = reader(coding)
    for chunk, data in zip(CHUNKS, compressed(coding)):
        assert read(data) == chunk


@pytest.mark.parametrize("coding", ALL)
@pytest.mark.parametrize("chunks", [CHUNKS, [b"x"], []], ids=["many", "one byte", "none"])
def test_the_tools_read_the_whole(coding, chunks):
    assert tool(coding, b"".join(compressed(coding, chunks))) == (0, b"".join(chunks))


@pytest.mark.parametrize("coding", ALL)
def test_without_the_end_the_tools_find_it_cut_off_after_any_chunk(coding):
    parts = compressed(coding)[:-1]
    for count in range(1, len(parts) + 1):
        status, output = tool(coding, b"".join(parts[:count]))
        assert status != 0
        assert coding != "gzip" or output == b"".join(CHUNKS[:count])


@pytest.mark.parametrize("coding", ALL)
def test_a_cut_at_any_byte_is_found_by_the_tools(coding):
    data = b"".join(compressed(coding, CHUNKS[:3]))
    assert [cut for cut in range(len(data) + 1) if tool(coding, data[:cut])[0] == 0] == [len(data)]


@pytest.mark.parametrize("coding", ALL)
def test_nothing_gives_nothing(coding):
    compressor = Compressor(coding)
    compressor.begin()
    assert compressor.feed(b"") == b""
    assert compressor.feed(b"x")
    assert compressor.feed(b"") == b""


@pytest.mark.parametrize("coding", ALL)
def test_the_same_chunks_give_the_same_bytes(coding):
    assert compressed(coding) == compressed(coding)


@pytest.mark.parametrize("isal", [True, False])
def test_the_gzip_header_has_no_name_and_no_time(isal, without):
    if not isal:
        without("isal")
    header = compressed("gzip")[0][:10]
    assert header[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"  # Magic, deflate, no flags, no time.


@pytest.fixture
def without(monkeypatch):
    """Takes packages away, as if they were not installed."""

    def take(*packages):
        found = compress.found
        monkeypatch.setattr(
            compress, "found", lambda name: None if name.startswith(packages) else found(name)
        )

    return take


def test_gzip_needs_nothing_but_the_standard_library(without):
    without("isal", "brotli", "backports", "compression")
    assert offered() == ("gzip",)
    assert gzip.decompress(b"".join(compressed("gzip"))) == b"".join(CHUNKS)


def test_what_is_not_installed_is_not_offered(without):
    assert offered() == ("zstd", "br", "gzip")
    without("brotli")
    assert offered() == ("zstd", "gzip")
    plan = Stream([], compress=True)
    assert plan.asked(Asked("br, gzip;q=0.1")).coding == "gzip"
    with pytest.raises(UsageError, match=r"'br' cannot be made here; there are zstd, gzip\. .*pip"):
        Compressor("br")


def test_packages_that_are_missing_are_found_missing_in_a_fresh_python():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['isal', 'brotli', 'backports.zstd',"
        " 'compression.zstd']));"
        "from unspool.compress import offered; print(*offered())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["gzip"]


@pytest.mark.parametrize("coding", ["identity", "deflate", ""])
def test_there_is_no_other_coding(coding):
    with pytest.raises(UsageError, match="cannot be made here; there are zstd, br, gzip"):
        Compressor(coding)


HOLDS = """
import os, sys
from unspool.compress import Compressor

def resident():
    lines = open('/proc/self/status').read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmRSS'))

chunks = [os.urandom(30_000).hex().encode() for _ in range(8)]
kept = []
for count in (5, 50):
    before = resident()
    for _ in range(count):
        compressor = Compressor(sys.argv[1])
        compressor.begin()
        for chunk in chunks:
            compressor.feed(chunk)
        kept.append(compressor)
print((resident() - before) / 50)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize(("coding", "kib"), [("gzip", 230), ("zstd", 430), ("br", 290)])
def test_a_compressor_holds_what_its_docstring_says(coding, kib):
    assert f"{kib} KiB ({coding})" in Compressor.__doc__
    command = [sys.executable, "-c", HOLDS, coding]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.1 * kib


# In the pipeline


def chunks_of(plan, coding):
    return drive(plan.asked(Asked(coding)).pipeline(), new_source(plan.rows))


def rows(count, fail_at=None):
    for n in range(count):
        if n == fail_at:
            raise LookupError("boom")
        yield (n, f"text {n}")


PLAIN = b"".join(b'[%d,"text %d"]\n' % (n, n) for n in range(20_000))


@pytest.mark.parametrize("coding", ALL)
def test_a_compressed_stream_decodes_chunk_by_chunk_to_the_plain_one(coding):
    read = reader(coding)
    plan = Stream(rows(20_000), "ndjson", compress=True)
    parts = [read(chunk) for chunk in chunks_of(plan, coding)]
    assert b"".join(parts) == PLAIN
    assert parts[0] == b'[0,"text 0"]\n'
    assert len(parts) > 3
    assert all(part.endswith(b"\n") for part in parts[:-1] if part)


@pytest.mark.parametrize("coding", ALL)
@pytest.mark.parametrize("fail_at", [1, 2, 10, 20_000 - 1])
def test_a_failed_stream_has_all_rows_before_and_is_visibly_cut_off(coding, fail_at):
    got = b""
    with pytest.raises(LookupError):
        for chunk in chunks_of(Stream(rows(20_000, fail_at), "ndjson", compress=True), coding):
            got += chunk
    assert reader(coding)(got) == b"".join(PLAIN.splitlines(keepends=True)[:fail_at])
    assert tool(coding, got)[0] != 0


@pytest.mark.parametrize("coding", ALL)
def test_no_rows_are_a_whole_stream_of_nothing(coding):
    assert tool(coding, b"".join(chunks_of(Stream([], "ndjson", compress=True), coding))) == (
        0,
        b"",
    )


@pytest.mark.parametrize("coding", ALL)
def test_a_byte_that_keeps_the_stream_alive_arrives_at_once(coding):
    plan = Stream([], "json", compress=True, keep_alive_s=1.0)
    pipeline = plan.asked(Asked(coding)).pipeline()
    read = reader(coding)
    pipeline.begin()
    assert read(pipeline.feed([(1,)], 0.0, 0.0)) == b"[\n[1]"
    assert pipeline.feed([], 0.9, 0.9) == b""
    assert read(pipeline.feed([], 1.0, 1.0)) == b"\n"
    assert read(pipeline.feed([], 2.0, 2.0)) == b"\n"
    assert read(pipeline.end()) == b"\n]\n"


@pytest.mark.parametrize("coding", ALL)
def test_sent_counts_the_compressed_bytes(coding):
    plan = Stream(rows(20_000), "ndjson", compress=True).asked(Asked(coding))
    pipeline = plan.pipeline()
    size = sum(map(len, drive(pipeline, new_source(plan.rows))))
    assert pipeline.sent == size < len(PLAIN) / 4
    assert pipeline.rows == 20_000


def test_an_end_mark_is_compressed_with_the_rest():
    from unspool import Csv

    plan = Stream([(1,)], Csv(end_mark=True), compress=True)
    plain = b"".join(chunks_of(plan, None))
    assert len(plain) > 3
    assert gzip.decompress(b"".join(chunks_of(plan, "gzip"))) == plain
