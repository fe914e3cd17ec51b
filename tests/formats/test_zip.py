"""ZIP: bytes, members, closing, and readers that others wrote."""

import asyncio
import io
import subprocess
import sys
import zipfile
import zlib
from wsgiref.util import setup_testing_defaults

import pytest
from asgi_client import get
from helpers import encode, new_pipeline
from hypothesis import given
from hypothesis import strategies as st

import unspool.asgi
import unspool.wsgi
from unspool import (
    Csv,
    EmptySource,
    Member,
    MemberError,
    NotIterable,
    Parquet,
    RowError,
    Stream,
    StreamError,
    Text,
    UsageError,
    Zip,
)
from unspool.formats import archive
from unspool.formats.archive import Archive
from unspool.formats.zip import Opened
from unspool.sources.batches import AsyncBatchRows, Records
from unspool.sources.members import Members, rows_for


def zipped(members, want=1000):
    """The bytes of an archive, whose rows are read some at a time."""
    reader, encoder = Members(members), Zip().encoder(None)
    parts = [encoder.begin()]
    while batch := reader.read_batch(want):
        parts.append(encoder.feed(batch))
    reader.close()
    return b"".join([*parts, encoder.end()])


def answer(members, **options):
    environ = {}
    setup_testing_defaults(environ)
    return b"".join(unspool.wsgi.stream(members, "zip", **options)(environ, lambda *_: None))


def contents(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


class Rows:
    """Rows that log when they are started and closed."""

    def __init__(self, name, rows, log, fail_at=None):
        self.name, self.log, self.fail_at = name, log, fail_at
        self.rows = iter(rows)
        self.given = 0

    def __iter__(self):
        return self

    def __next__(self):
        if not self.given:
            self.log.append(f"{self.name} started")
        if self.given == self.fail_at:
            raise LookupError("boom")
        self.given += 1
        return next(self.rows)

    def close(self):
        self.log.append(f"{self.name} closed")


PEOPLE = [{"id": n, "name": f"Ann {n}"} for n in range(3000)]


def members():
    return [
        Member("people.csv", iter(PEOPLE)),
        Member("2026/people.ndjson", iter(PEOPLE)),
        Member("2026/été 日本.csv", [(1, "a;b")], Csv(delimiter=";"), ["n", "t"]),
        Member("data.bin", [b"\0" * 200_000, b"x"], Text()),
        Member("empty.csv", [], columns=["a"]),
        Member("none.txt", []),
        Member("people.parquet", iter(PEOPLE), Parquet(row_group_rows=1000)),
    ]


def expected():
    return {
        "people.csv": encode(PEOPLE),
        "2026/people.ndjson": encode(PEOPLE, "ndjson"),
        "2026/été 日本.csv": b'n;t\r\n1;"a;b"\r\n',
        "data.bin": b"\0" * 200_000 + b"x",
        "empty.csv": b"a\r\n",
        "none.txt": b"",
        "people.parquet": encode(PEOPLE, Parquet(row_group_rows=1000)),
    }


def test_each_member_has_the_bytes_of_its_own_stream():
    assert contents(answer(members())) == expected()
    assert contents(answer(iter(members()))) == expected()


def test_the_archive_has_the_same_bytes_for_every_batch_size():
    assert len({zipped(members(), want) for want in (1, 7, 1000, 100_000)}) == 1
    assert answer(members()) == zipped(members())


def test_an_archive_may_have_no_member():
    assert answer([]) == b"PK\5\6" + bytes(18)
    assert contents(answer([])) == {}


def test_the_bytes_of_an_archive_are_those_of_the_note():
    data = zipped([Member("a.txt", ["hi"])])
    deflated = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = deflated.compress(b"hi") + deflated.flush()
    crc = zlib.crc32(b"hi").to_bytes(4, "little")
    local = b"PK\3\4\x14\0\x08\x08\x08\0\0\0\x21\0" + bytes(12) + b"\5\0\0\0a.txt"
    assert data[: len(local)] == local
    size = data.index(b"PK\7\x08") - len(local)
    assert zlib.decompress(data[len(local) :][:size], -15) == b"hi"
    sizes = crc + size.to_bytes(4, "little") + b"\2\0\0\0"
    directory = (
        b"PK\1\2\x14\3\x14\0\x08\x08\x08\0\0\0\x21\0"
        + sizes
        + b"\5\0"
        + bytes(8)
        + b"\0\0\xa4\x81"
        + bytes(4)
        + b"a.txt"
    )
    start = len(local) + size + 16
    end = (
        b"PK\5\6\0\0\0\0\1\0\1\0"
        + len(directory).to_bytes(4, "little")
        + start.to_bytes(4, "little")
        + b"\0\0"
    )
    assert data[len(local) + size :] == b"PK\7\x08" + sizes + directory + end
    assert len(body) >= size - 10


# Readers that others wrote: name and content of each member.


def by_stream_unzip(path, folder):
    stream_unzip = pytest.importorskip("stream_unzip")
    chunks = (path.read_bytes()[at : at + 1000] for at in range(0, path.stat().st_size, 1000))
    return {name.decode(): b"".join(data) for name, _, data in stream_unzip.stream_unzip(chunks)}


def unpacked(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def by_unzip(path, folder):
    env = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    subprocess.run(["unzip", "-q", path, "-d", folder], check=True, env=env)
    return unpacked(folder)


def by_7z(path, folder):
    subprocess.run(["7z", "x", "-bd", f"-o{folder}", path], check=True, capture_output=True)
    return unpacked(folder)


def by_python(path, folder):
    return contents(path.read_bytes())


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("reader", [by_stream_unzip, by_unzip, by_7z, by_python])
def test_an_archive_is_read_back_equal_by(reader, large, tmp_path):
    path, folder = tmp_path / "a.zip", tmp_path / "out"
    folder.mkdir()
    path.write_bytes(answer(Member(m.name, m.rows, m.format, m.columns, large) for m in members()))
    assert reader(path, folder) == expected()


@pytest.mark.live
def test_seventy_thousand_members_are_read_back_by_three_readers(tmp_path):
    path, folder = tmp_path / "a.zip", tmp_path / "out"
    count = 0x10000 + 5
    path.write_bytes(answer(Member(f"{n}.txt", [str(n)]) for n in range(count)))
    want = {f"{n}.txt": str(n).encode() for n in range(count)}
    assert by_python(path, folder) == want
    assert by_stream_unzip(path, folder) == want
    listing = subprocess.run(["7z", "t", path], check=True, capture_output=True, text=True).stdout
    assert f"Files: {count}" in listing


@pytest.mark.live
def test_a_member_of_more_than_4_gib_is_read_back_by_three_readers(tmp_path):
    """Its data are zeros: 4 MiB in the archive."""
    size = 2**32 + 7
    path = tmp_path / "a.zip"
    block = bytes(2**26)

    def pieces():
        for _ in range(2**32 // len(block)):
            yield block
        yield b"1234567"

    path.write_bytes(
        zipped([Member("big.bin", pieces(), "text", large=True), Member("b.txt", ["after"])], 1)
    )
    for command in (["unzip", "-tqq", path], ["7z", "t", path]):
        subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(path) as archive:
        assert [info.file_size for info in archive.infolist()] == [size, 5]
        assert archive.read("b.txt") == b"after"
    with path.open("rb") as file:
        sizes = {}
        for name, _, chunks in pytest.importorskip("stream_unzip").stream_unzip(
            iter(lambda: file.read(2**20), b"")
        ):
            sizes[name] = sum(map(len, chunks))
    assert sizes == {b"big.bin": size, b"b.txt": 5}


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
def test_a_member_that_was_not_said_to_be_large_may_not_become_it(size, fits, monkeypatch):
    monkeypatch.setattr(archive, "_MEMBER_BYTES_MAX", 100)
    archive_ = Archive()
    archive_.open("a.txt", compressed=False)
    archive_.write(b"x" * size)
    if fits:
        archive_.close()
        return
    with pytest.raises(StreamError, match=r"member 'a.txt' has more than 100 bytes.*large=True"):
        archive_.close()


def test_places_beyond_4_gib_are_told_in_the_directory(monkeypatch, tmp_path):
    """As if the limit were 100 bytes: the numbers that need it stand in ZIP64 fields."""
    plain = zipped([Member("a.txt", ["x" * 90]), Member("b.txt", ["y"])])
    monkeypatch.setattr(archive, "_COUNT_MAX", 2)
    data = zipped([Member("a.txt", ["x" * 90]), Member("b.txt", ["y"])])
    assert len(data) == len(plain) + 56 + 20
    assert b"PK\6\6" in data and b"PK\6\7" in data
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    for command in (["7z", "t", path], [sys.executable, "-m", "zipfile", "-t", path]):
        subprocess.run(command, check=True, capture_output=True)


# How the members' rows are started and closed.


def test_members_are_started_one_after_another_and_closed_once():
    log = []
    names = ["a", "b", "c"]
    zipped([Member(f"{name}.csv", Rows(name, [(1,), (2,)], log), "csv") for name in names], 1)
    assert log == ["a started", "a closed", "b started", "b closed", "c started", "c closed"]


@pytest.mark.parametrize("reads", range(8))
def test_members_that_were_not_read_are_closed_too(reads):
    log = []
    reader = Members([Member(f"{name}.csv", Rows(name, [(1,)], log), "csv") for name in "abc"])
    for _ in range(reads):
        reader.read_batch(1)
    reader.close()
    assert sorted(each for each in log if "closed" in each) == ["a closed", "b closed", "c closed"]


def test_every_member_is_closed_even_if_one_refuses():
    class Refusing(Rows):
        def close(self):
            super().close()
            raise LookupError("no")

    log = []
    reader = Members([Member("a.csv", Refusing("a", [], log)), Member("b.csv", Rows("b", [], log))])
    with pytest.raises(LookupError):
        reader.close()
    assert log == ["a closed", "b closed"]


def test_a_generator_of_members_is_closed_with_the_rows_that_are_open():
    log = []

    def members():
        try:
            for name in "abc":
                log.append(f"made {name}")
                yield Member(f"{name}.csv", Rows(name, [(1,)], log))
        finally:
            log.append("members closed")

    reader = Members(members())
    reader.read_batch(1)
    reader.close()
    assert log == ["made a", "a started", "a closed", "members closed"]


def test_a_failure_in_the_first_row_of_the_first_member_comes_before_the_first_byte():
    log = []
    for bad in (Rows("a", [], log, fail_at=0), [{"x": b"?"}]):
        environ = {}
        setup_testing_defaults(environ)
        started = []
        app = unspool.wsgi.stream(
            [Member("a.csv", bad), Member("b.csv", Rows("b", [], log))], "zip"
        )
        with pytest.raises((LookupError, MemberError)):
            app(environ, lambda *args: started.append(args))
        assert started == []
    assert log.count("b closed") == 2


def test_a_failure_in_a_later_member_breaks_the_transfer():
    log, sent = [], []
    environ = {}
    setup_testing_defaults(environ)
    rows = [Member("a.csv", [(1,)] * 5), Member("b.csv", Rows("b", [(1,)] * 9, log, fail_at=3))]
    body = unspool.wsgi.stream(rows, "zip", on_error=log.append)(environ, lambda *_: None)
    with pytest.raises(LookupError):
        sent.extend(body)
    assert sent and b"PK\5\6" not in b"".join(sent)
    assert log[:2] == ["b started", "b closed"]
    assert isinstance(log[2], LookupError)


def test_a_bad_row_is_named_by_member_row_and_column():
    pipeline = new_pipeline("zip")
    reader = Members(
        [Member("a.csv", [(1,)] * 5), Member("b.csv", [{"n": 1}, {"n": 2}, {"n": b"x"}])]
    )
    data = b""
    with pytest.raises(MemberError) as caught:
        while batch := reader.read_batch(2):
            data += pipeline.feed(batch, 0.0, 0.0)
    error = caught.value
    assert (error.member, error.row, error.column, error.value) == ("b.csv", 3, "n", b"x")
    assert str(error).startswith("member 'b.csv', row 3, column 'n': CSV cannot carry a bytes")
    data += pipeline.flush() + pipeline.end()
    assert contents(data)["b.csv"] == b"n\r\n1\r\n2\r\n"


def test_a_member_without_rows_and_columns_breaks_the_transfer():
    with pytest.raises(EmptySource):
        zipped([Member("a.csv", [(1,)]), Member("b.csv", [])])


def test_batches_that_name_their_columns_name_those_of_a_member():
    class Reader:
        columns = ("a", "b")
        batches = [Records([(1, 2)], columns)]

        def read_batch(self, want):
            return self.batches.pop() if self.batches else Records((), self.columns)

        def close(self):
            pass

    data = zipped([Member("a.csv", Reader()), Member("b.csv", Reader())])
    assert contents(data) == {"a.csv": b"a,b\r\n1,2\r\n", "b.csv": b"a,b\r\n"}


# Names.


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is not a file name"),
        ("a/", "is not a file name"),
        ("/etc/a.csv", "'/' at its start"),
        ("C:a.csv", "has a drive"),
        ("a\\b.csv", "a backslash"),
        ("../a.csv", "leads out"),
        ("a/../../b.csv", "leads out"),
        ("a//b.csv", "leads out of its folder, or has a folder without a name"),
        ("./a.csv", "leads out"),
        ("a\nb.csv", "control character"),
        ("\ud800.csv", "control character"),
        ("x" * 65_536, "is 65536 bytes long; the limit is 65535"),
    ],
)
def test_names_that_no_member_may_have_are_refused(name, problem):
    with pytest.raises(UsageError, match=problem):
        Member(name, [], "csv")


@pytest.mark.parametrize("name", ["a", "a b/c d.csv", "..a/b..csv", "x" * 65_535])
def test_names_that_members_may_have(name):
    assert contents(zipped([Member(name, [(1,)], "csv")])) == {name: b"1\r\n"}


@pytest.mark.parametrize(
    "names", [("a.csv", "a.csv"), ("a.csv", "A.CSV"), ("é.csv", "e\u0301.csv")]
)
def test_a_name_stands_once(names):
    members = [Member(name, [(1,)]) for name in names]
    with pytest.raises(UsageError, match="stands twice"):
        Members(members)
    with pytest.raises(UsageError, match="stands twice"):
        zipped(iter(members))


def test_the_suffix_of_a_name_says_what_the_member_is():
    assert Member("a/B.NDJSON", []).format == "ndjson"
    with pytest.raises(UsageError, match=r"'a.dat' has the suffix of no format, .* .csv,"):
        Member("a.dat", [])
    with pytest.raises(UsageError, match="ZIP in a ZIP"):
        Member("a.zip", [])
    with pytest.raises(UsageError, match="column"):
        Member("a.csv", [], columns=["a", "a"])


def test_what_is_no_member_is_refused():
    with pytest.raises(NotIterable, match=r"are members, such as Member.*got \(1, 2\) \(tuple\)"):
        answer([(1, 2)])
    with pytest.raises(RowError, match="are members"):
        encode([(1, 2)], "zip")
    with pytest.raises(UsageError, match="format 'zip' has no columns"):
        Stream([], "zip", columns=["a"])


# Awaited rows.


async def awaited(rows, log, name):
    try:
        log.append(f"{name} started")
        for row in rows:
            await asyncio.sleep(0)
            yield row
    finally:
        log.append(f"{name} closed")


class AwaitedReader:
    columns = ("a",)

    def __init__(self, log):
        self.log = log
        self.batches = [Records([(1,), (2,)], self.columns)]

    async def read_batch(self, want):
        return self.batches.pop() if self.batches else Records((), self.columns)

    async def aclose(self):
        self.log.append("reader closed")


@pytest.mark.parametrize("kind", ["list", "awaited"])
def test_members_may_have_awaited_rows(kind):
    log = []

    def members():
        yield Member("a.csv", awaited(PEOPLE, log, "a"))
        yield Member("b.ndjson", awaited([(1,)], log, "b"))
        yield Member("c.csv", AwaitedReader(log))

    async def awaited_members():
        for member in members():
            await asyncio.sleep(0)
            yield member

    async def app(scope, receive, send):
        rows = list(members()) if kind == "list" else awaited_members()
        await unspool.asgi.stream(rows, "zip")(scope, receive, send)

    found = get(app)
    assert found.error is None
    assert contents(found.body) == {
        "a.csv": encode(PEOPLE),
        "b.ndjson": b"[1]\n",
        "c.csv": b"a\r\n1\r\n2\r\n",
    }
    assert log == ["a started", "a closed", "b started", "b closed", "reader closed"]


def test_awaited_members_that_were_not_read_are_closed_too():
    log = []

    async def main():
        rows = rows_for(
            "zip",
            [Member("a.csv", awaited([(1,), (2,)], log, "a")), Member("b.csv", AwaitedReader(log))],
        )
        assert isinstance(rows, AsyncBatchRows)
        assert isinstance((await anext(rows))[0], Opened)
        await rows.aclose()

    asyncio.run(main())
    assert log == ["a started", "a closed", "reader closed"]


def test_plain_and_awaited_rows_do_not_mix():
    async def app(scope, receive, send):
        rows = [Member("a.csv", awaited([(1,)], [], "a")), Member("b.csv", [(1,)])]
        await unspool.asgi.stream(rows, "zip")(scope, receive, send)

    assert isinstance(get(app).error, NotIterable)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(st.lists(st.lists(texts, max_size=6), max_size=5), st.integers(1, 4))
def test_any_text_comes_back(members, want):
    data = zipped([Member(f"{n}.txt", rows) for n, rows in enumerate(members)], want)
    assert contents(data) == {f"{n}.txt": "".join(rows).encode() for n, rows in enumerate(members)}
