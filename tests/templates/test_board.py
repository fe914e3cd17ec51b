import pytest

from unspool.templates.board import SCRIPT, SCRIPT_HASH, Board


def patch(hole, html):
    return f'<template for="{hole.id}">{html}</template>\n'


def item(hole, html):
    return patch(hole, f'{html}<?marker name="{hole.id}">')


def board_of(*holes):
    """A board, and its holes: (name, number of the parent or None, after, live)."""
    board, made = Board("auto"), []
    for name, parent, after, live in holes:
        made.append(
            board.new_hole(name, made[parent] if parent is not None else None, after, live=live)
        )
    return board, made


PLAIN = (None, None, False)


@pytest.mark.parametrize(
    ("holes", "steps"),
    [
        # (holes, [(which is made, which are sent then)])
        ([("a", *PLAIN), ("b", *PLAIN)], [(1, [1]), (0, [0])]),
        # The child waits for its parent,
        ([("a", *PLAIN), ("b", 0, None, False)], [(1, []), (0, [0, 1])]),
        # and its own child for both.
        (
            [("a", *PLAIN), ("b", 0, None, False), ("c", 1, None, False)],
            [(2, []), (1, []), (0, [0, 1, 2])],
        ),
        ([("a", *PLAIN), ("b", None, "a", False)], [(1, []), (0, [0, 1])]),
        ([("a", *PLAIN), ("b", None, "a", False)], [(0, [0]), (1, [1])]),
        # All of that name,
        ([("a", *PLAIN), ("a", *PLAIN), ("b", None, "a", False)], [(2, []), (1, [1]), (0, [0, 2])]),
        # which may be none.
        ([("a", *PLAIN), ("b", None, "nobody", False)], [(1, [1]), (0, [0])]),
        # Those that wait for each other go once nothing else can come.
        ([("a", None, "b", False), ("b", None, "a", False)], [(0, []), (1, [0, 1])]),
        ([("a", None, "a", False)], [(0, [0])]),
        ([("a", None, "b", False), ("b", 0, None, False)], [(1, []), (0, [0, 1])]),
    ],
)
def test_what_is_ready_is_sent_as_soon_as_its_place_is_in_the_page(holes, steps):
    board, made = board_of(*holes)
    for ready, sent in steps:
        patches = board.patches(made[ready], f"<b>{ready}</b>")
        assert patches == [patch(made[n], f"<b>{n}</b>") for n in sent]
    assert board.open == 0


def test_items_of_a_live_hole_are_sent_as_they_come_and_taken():
    board, (hole,) = board_of(("log", None, None, True))
    taken = []
    hole.taken = lambda: taken.append(1)
    assert (hole.start, hole.end, hole.waits) == (f'<?marker name="{hole.id}">', "", False)
    assert board.patches(hole, "1") == [item(hole, "1")]
    assert board.patches(hole, "2") == [item(hole, "2")]
    assert (board.open, len(taken)) == (1, 2)
    assert board.patches(hole, None) == []
    assert board.open == 0


def test_items_of_a_live_hole_wait_for_the_block_that_it_is_in():
    board, (outer, live) = board_of(("a", *PLAIN), ("log", 0, None, True))
    taken = []
    live.taken = lambda: taken.append(1)
    assert board.patches(live, "1") == []
    assert board.patches(live, "2") == []
    assert taken == []
    assert board.patches(outer, "o") == [patch(outer, "o"), item(live, "1"), item(live, "2")]
    assert len(taken) == 2
    assert board.patches(live, "3") == [item(live, "3")]
    assert board.patches(live, None) == []
    assert board.open == 0


def test_what_a_block_that_failed_had_begun_is_not_waited_for():
    board, (outer, inner, innermost, other) = board_of(
        ("a", *PLAIN), ("b", 0, None, False), ("c", 1, None, False), ("d", *PLAIN)
    )
    assert board.patches(innermost, "never seen") == []
    outer.lost = board.inside(outer)
    assert outer.lost == [inner]
    assert board.patches(outer, "error") == [patch(outer, "error")]
    assert (board.open, inner.ended, innermost.sent, other.ended) == (1, True, True, False)
    assert board.patches(other, "o") == [patch(other, "o")]
    assert board.open == 0


def test_a_hole_in_order_is_a_mark_that_nobody_can_guess():
    board = Board("inorder")
    hole = board.new_hole("a", None, None, live=False)
    assert hole.start == f"{board.mark}{hole.id}-->"
    assert (hole.end, hole.waits) == ("", False)
    assert len(board.mark) == len("<!--0123456789abcdef:")
    assert board.mark != Board("inorder").mark


def test_names_are_unique_in_a_page_and_others_in_the_next():
    board = Board("auto")
    ids = [board.new_hole("a", None, None, live=False).id for _ in range(5000)]
    assert len(set(ids)) == 5000
    assert {len(id) for id in ids} == {4}
    assert Board("auto").new_hole("a", None, None, live=False).id != ids[0]
    assert abs(ord(ids[0][-1]) - ord(ids[1][-1])) + abs(ord(ids[0][0]) - ord(ids[1][0])) > 1


def test_a_block_costs_at_most_60_bytes_and_the_script_900():
    board, (hole,) = board_of(("a", *PLAIN))
    assert len(str(hole.start) + str(hole.end) + patch(hole, "")) <= 60
    assert len(f"<script>{SCRIPT}</script>") <= 900


def test_the_hash_is_that_of_the_script():
    import base64
    import hashlib

    algorithm, digest = SCRIPT_HASH.split("-", 1)
    assert algorithm == "sha256"
    assert base64.b64decode(digest) == hashlib.sha256(SCRIPT.encode()).digest()
    assert "</" not in SCRIPT
    assert "<!--" not in SCRIPT
