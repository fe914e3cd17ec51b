import random

import pytest
from helpers import new_pipeline, new_source

from unspool import RowError
from unspool.coalesce import CHUNK_BYTES, Coalescer
from unspool.drive import drive
from unspool.errors import TooManyBytes
from unspool.formats import find
from unspool.pipeline import Pipeline


def test_the_machine_counts_rows_and_bytes():
    p = new_pipeline("ndjson")
    p.begin()
    sent = p.feed([(1,), (2,)], 0, 0) + p.feed([(3,)], 0, 0) + p.end()
    assert sent == b"[1]\n[2]\n[3]\n"
    assert (p.rows, p.sent) == (3, 12)


def test_what_stands_first_leaves_with_the_first_row():
    p = new_pipeline("json")
    p.begin()
    assert p.feed([], 0, 10) == b""
    assert p.feed([(1,)], 10, 10) == b"[\n[1]"


def test_the_end_of_no_rows_is_a_whole_document():
    p = new_pipeline("json")
    p.begin()
    assert p.end() == b"[\n]\n"


def test_batches_grow_from_one_row_to_what_fills_a_chunk():
    p = new_pipeline("ndjson", chunk_bytes=100, batch_rows=512)
    p.begin()
    wants = []
    for _ in range(8):
        wants.append(p.want)
        p.feed([(1,)] * p.want, 0, 0)  # 4 bytes a row
    assert wants == [1, 8, 26, 26, 26, 26, 26, 26]


def test_batches_stop_at_batch_rows():
    p = new_pipeline("ndjson", batch_rows=5)
    p.begin()
    for _ in range(5):
        p.feed([(1,)] * p.want, 0, 0)
    assert p.want == 5


@pytest.mark.parametrize(
    ("batch_rows", "want"), [(102, 52), (103, 52), (104, 104), (105, 104), (106, 104)]
)
def test_rows_that_fill_a_chunk_are_asked_for_in_equal_batches(batch_rows, want):
    p = new_pipeline("ndjson", chunk_bytes=400, batch_rows=batch_rows)
    p.begin()
    for _ in range(8):
        p.feed([(1,)] * p.want, 0, 0)  # 4 bytes a row: 100, and 4 more to be sure
    assert p.want == want


def test_rows_of_uneven_length_make_chunks_of_even_length():
    """A batch that falls short is joined with another one, to a chunk of twice the size."""
    rng = random.Random(1)
    rows = ["x" * rng.randrange(50, 300) for _ in range(40_000)]
    pipeline = new_pipeline("text", chunk_bytes=CHUNK_BYTES, batch_rows=1024)
    sizes = [len(chunk) for chunk in drive(pipeline, new_source(rows))]
    steady = sizes[40:-1]
    even = [size for size in steady if CHUNK_BYTES <= size < 128 * 1024]
    assert len(steady) > 20
    assert len(even) >= 0.8 * len(steady)


def test_a_row_larger_than_a_chunk_makes_batches_of_one():
    p = new_pipeline("text", chunk_bytes=10)
    p.begin()
    p.feed(["x" * 1000], 0, 0)
    p.feed(["x" * 1000], 0, 0)
    assert p.want == 1


def test_the_rows_before_a_bad_one_are_kept_and_the_error_has_its_number_in_the_stream():
    p = new_pipeline("csv", columns=["a", "b"])
    p.begin()
    assert p.feed([(1, 2)], 0, 0) == b"a,b\r\n1,2\r\n"
    with pytest.raises(RowError) as caught:
        p.feed([(3, 4), (5, 6), (7,), (8, 9)], 0, 0)
    assert caught.value.row == 4
    assert p.rest() == b"3,4\r\n5,6\r\n"
    assert p.rows == 3


@pytest.mark.parametrize("format", ["csv", "json", "xlsx", "html"])
def test_a_bad_first_row_leaves_nothing(format):
    p = new_pipeline(format, columns=["a", "b"])
    p.begin()
    with pytest.raises(RowError) as caught:
        p.feed([(1,)], 0, 0)
    assert caught.value.row == 1
    assert p.rest() == b""
    assert p.sent == 0


def test_of_two_rows_at_fault_the_first_is_named_whatever_the_encoder_looks_at_first():
    class LastFirst:
        def begin(self):
            return b""

        def feed(self, batch):
            for index, row in reversed(list(enumerate(batch))):
                if row == "bad":
                    raise RowError("is bad", index=index)
            return b"".join(b"%s;" % row.encode() for row in batch)

        def end(self):
            return b""

    pipeline = Pipeline(LastFirst(), Coalescer(b""))
    sent = pipeline.feed(["a"], 0, 0)
    with pytest.raises(RowError, match="row 3: is bad"):
        pipeline.feed(["b", "bad", "c", "bad", "d"], 0, 0)
    assert sent + pipeline.flush() == b"a;b;"
    assert pipeline.rows == 2


@pytest.mark.parametrize(("most", "fails"), [(11, True), (12, False), (13, False)])
def test_no_more_bytes_leave_than_may(most, fails):
    p = Pipeline(find("ndjson").encoder(None), Coalescer(b"", 1, 0), max_bytes=most)
    p.begin()
    sent = p.feed([(1,)], 0, 0) + p.feed([(2,)], 0, 0)
    if not fails:
        assert sent + p.feed([(3,)], 0, 0) + p.end() == b"[1]\n[2]\n[3]\n"
        return
    with pytest.raises(TooManyBytes, match="more bytes than 11") as error:
        p.feed([(3,)], 0, 0)
    assert (error.value.limit, error.value.rows) == (11, 3)
    assert p.sent == 8
