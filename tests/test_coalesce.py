import pytest

from unspool.coalesce import CHUNK_BYTES, Coalescer


def coalescer(chunk_bytes=10, flush_after_s=0.05):
    return Coalescer(b"", chunk_bytes, flush_after_s)


def started(**limits):
    c = coalescer(**limits)
    assert c.feed(b"!", 0, 0) == b"!"
    return c


def test_the_first_piece_leaves_at_once_with_what_was_held():
    c = coalescer()
    c.hold(b"[")
    assert c.feed(b"1", 0, 0) == b"[1"


def test_nothing_leaves_before_the_first_piece():
    c = coalescer()
    c.hold(b"[")
    assert c.feed(b"", 0, 100) == b""


@pytest.mark.parametrize(("size", "leaves"), [(9, False), (10, True), (11, True)])
def test_a_chunk_leaves_when_it_has_the_size(size, leaves):
    assert started().feed(b"x" * size, 0, 0) == (b"x" * size if leaves else b"")


@pytest.mark.parametrize(("now", "leaves"), [(0.0499, False), (0.05, True), (0.0501, True)])
def test_a_chunk_leaves_so_long_after_its_first_piece_was_asked_for(now, leaves):
    c = started()
    assert c.feed(b"a", 0, 0) == b""
    assert c.feed(b"b", now, now) == (b"ab" if leaves else b"")


def test_a_piece_that_took_its_time_leaves_at_once():
    assert started().feed(b"a", 0, 0.06) == b"a"


def test_a_piece_leaves_at_once_after_a_silence():
    c = started()
    for since in (0, 0.05, 0.1):
        assert c.feed(b"", since, since + 0.05) == b""
        assert c.due_in_s(since + 0.05) == 0.05
    assert c.feed(b"a", 0.15, 0.16) == b"a"
    assert c.feed(b"b", 0.16, 0.17) == b""
    assert c.feed(b"c", 0.17, 0.22) == b"bc"


def test_the_time_that_the_client_takes_is_no_silence():
    c = started()
    assert c.feed(b"a", 7, 7.01) == b""


def test_an_empty_piece_lets_time_pass():
    c = started()
    c.feed(b"a", 0, 0)
    assert c.feed(b"", 0.04, 0.04) == b""
    assert c.feed(b"", 0.05, 0.05) == b"a"


def test_the_time_counts_anew_after_a_chunk():
    c = started()
    assert c.feed(b"x" * 10, 0, 0) == b"x" * 10
    assert c.feed(b"a", 0.04, 0.04) == b""
    assert c.feed(b"b", 0.08, 0.08) == b""
    assert c.feed(b"c", 0.09, 0.09) == b"abc"


def test_due_in_s_counts_down_from_the_oldest_piece_and_stops_at_zero():
    c = started()
    assert c.due_in_s(7) == 0.05
    c.feed(b"a", 1.0, 1.0)
    c.feed(b"b", 1.03, 1.03)
    assert c.due_in_s(1.03) == pytest.approx(0.02)
    assert c.due_in_s(2.0) == 0


def test_a_single_piece_is_passed_on_without_a_copy():
    piece = b"x" * 100
    assert started().feed(piece, 0, 0) is piece


def test_text_works_like_bytes():
    c = Coalescer("", 3, 0.05)
    assert c.feed("ä", 0, 0) == "ä"
    assert c.feed("öü", 0, 0) == ""
    assert c.feed("ß", 0, 0) == "öüß"


def test_flush_gives_what_is_held_once():
    c = started()
    c.feed(b"a", 0, 0)
    assert c.flush() == b"a"
    assert c.flush() == b""


@pytest.mark.parametrize(
    ("sent_bytes", "target_kib"),
    [
        (0, 7.5),
        (120 * 1024 - 1, 7.5),
        (120 * 1024, 15),
        (240 * 1024 - 1, 15),
        (240 * 1024, 30),
        (480 * 1024 - 1, 30),
        (480 * 1024, 60),
        (960 * 1024 - 1, 60),
        (960 * 1024, 120),
        (1920 * 1024, 120),
        (1 << 50, 120),
    ],
)
def test_chunks_double_with_what_was_sent_up_to_120_kib(sent_bytes, target_kib):
    c = Coalescer(b"")
    c._given = sent_bytes
    assert c.target == target_kib * 1024


def test_chunks_never_grow_beyond_chunk_bytes():
    c = started(chunk_bytes=20_000)
    for _ in range(200):
        c.feed(b"x" * 20_000, 0, 0)
    assert c.target == 20_000


def test_a_chunk_and_its_framing_fit_in_two_packets_of_loopback_and_below_what_malloc_maps():
    assert CHUNK_BYTES + CHUNK_BYTES // 32 + 1024 < min(2 * 65_483, 128 * 1024)
