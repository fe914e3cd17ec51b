import io
import random
import subprocess
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unspool.formats import zip32
from unspool.formats.zip32 import Zip32


def archive_of(members, split=None):
    """The bytes of `members`, each written in parts of `split` bytes, or whole by `add`."""
    archive = Zip32()
    data = b""
    for name, content in members:
        if split is None:
            data += archive.add(name, content)
            continue
        data += archive.open(name)
        for at in range(0, len(content), split):
            data += archive.write(content[at : at + split])
        data += archive.close()
    data += archive.end()
    assert archive.offset == len(data)
    return data


@pytest.fixture(params=["zlib", "isal"])
def codec(request, monkeypatch):
    if request.param == "zlib":
        monkeypatch.setattr(zip32, "_codec", lambda: zlib)
    else:
        pytest.importorskip("isal")


NOISE = random.Random(1).randbytes(200_000)
MEMBERS = [("a.txt", b"text " * 60_000), ("b/c.bin", NOISE), ("empty", b"")]


@pytest.mark.parametrize("split", [None, 1000, 65_535, 65_536, 65_537, 10**6])
def test_python_reads_the_members_back(codec, split):
    with zipfile.ZipFile(io.BytesIO(archive_of(MEMBERS, split))) as archive:
        assert archive.testzip() is None
        assert [(info.filename, archive.read(info)) for info in archive.infolist()] == MEMBERS
        for info in archive.infolist():
            assert info.extract_version == 20
            assert info.extra == b""
            assert info.flag_bits == (0 if split is None else 8)
            assert info.date_time == (1980, 1, 1, 0, 0, 0)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 150_000), min_size=1, max_size=8), st.integers(200, 200_000))
def test_how_the_data_is_cut_changes_no_byte(sizes, split):
    data = (b"<c>%d</c>" * 30_000) % tuple(range(30_000))
    archive = Zip32()
    got = archive.open("a")
    at = 0
    for size in [*sizes, len(data)]:
        got += archive.write(data[at : at + size])
        at += size
    got += archive.close() + archive.end()
    assert got == archive_of([("a", data)], split)


def test_bytes_come_before_the_member_ends():
    archive = Zip32()
    assert archive.open("a")[:4] == b"PK\3\4"
    assert archive.write(NOISE[:65_535]) == b""
    came = sum(len(archive.write(NOISE)) for _ in range(10))
    assert came > 9 * len(NOISE)


@pytest.mark.parametrize("split", [None, 1000])
@pytest.mark.parametrize("command", [["unzip", "-tq"], ["7z", "t"]])
def test_unzip_and_7z_find_no_fault(command, split, tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(archive_of(MEMBERS, split))
    try:
        subprocess.run([*command, path], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")


@pytest.mark.parametrize("split", [None, 1000])
def test_a_reader_that_cannot_seek_reads_it(codec, split):
    stream_unzip = pytest.importorskip("stream_unzip").stream_unzip
    data = archive_of(MEMBERS, split)
    parts = (data[at : at + 777] for at in range(0, len(data), 777))
    got = [(name.decode(), b"".join(chunks)) for name, _, chunks in stream_unzip(parts)]
    assert got == MEMBERS
