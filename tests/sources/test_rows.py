import contextvars
import sqlite3
import threading
import time

import pytest
from helpers import new_source

from unspool import NotIterable, UsedTwice
from unspool.sources.affinity import is_thread_bound


def drain(source, want=7, timeout_s=1.0):
    rows = []
    while (batch := source.pull(want, timeout_s)) is not None:
        rows.extend(batch)
    return rows


def close(source):
    done = []
    source.close(lambda: done.append(threading.current_thread()))
    return done


def squares(count, log=None):
    try:
        for n in range(count):
            yield n * n
    finally:
        if log is not None:
            log.append(threading.current_thread())


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 7, 8, 14, 500])
@pytest.mark.parametrize("same_thread", [True, False])
def test_every_row_comes_once_and_in_order(count, same_thread):
    source = new_source(squares(count), same_thread=same_thread)
    assert drain(source) == [n * n for n in range(count)]
    assert len(close(source)) == 1


def test_a_list_is_pulled_where_it_is():
    before = set(threading.enumerate())
    source = new_source(list(range(100)))
    assert drain(source) == list(range(100))
    assert set(threading.enumerate()) <= before


def test_a_peeked_row_is_not_lost():
    source = new_source(squares(3))
    source.peek()
    source.peek()
    assert drain(source) == [0, 1, 4]
    source.peek()
    assert source.pull(1, 0) is None
    close(source)


def test_batches_are_never_larger_than_wanted():
    source = new_source(squares(100))
    sizes = []
    while (batch := source.pull(5, 1.0)) is not None:
        sizes.append(len(batch))
    assert max(sizes) <= 5
    close(source)


@pytest.mark.parametrize("same_thread", [True, False])
@pytest.mark.parametrize("good", [0, 1, 2, 5, 30])
def test_a_failure_comes_after_the_rows_before_it(good, same_thread):
    def rows():
        yield from range(good)
        raise LookupError("boom")

    source = new_source(rows(), same_thread=same_thread)
    got = []
    with pytest.raises(LookupError, match="boom"):
        while True:
            got.extend(source.pull(4, 1.0))
    assert got == list(range(good))
    close(source)


def test_rows_before_a_stuck_one_are_given_after_the_time_out():
    stuck = threading.Event()

    def rows():
        yield from range(5)
        stuck.wait(30)
        yield 5

    source = new_source(rows())
    assert list(source.pull(100, 0.05)) == [0]
    got = []
    while len(got) < 4:
        got += source.pull(100, 0.05)
    assert got == [1, 2, 3, 4]
    assert list(source.pull(100, 0.05)) == []
    stuck.set()
    assert drain(source) == [5]
    close(source)


def test_the_source_is_at_most_one_batch_ahead():
    made = []

    def rows():
        for n in range(1000):
            made.append(n)
            yield n

    source = new_source(rows())
    source.pull(10, 1)
    taken = len(source.pull(10, 1))
    time.sleep(0.1)
    assert len(made) <= 1 + taken + 2 * 10
    close(source)


def test_rows_and_close_run_on_one_thread_and_in_the_context():
    variable = contextvars.ContextVar("variable", default="outside")
    seen = []

    class Rows:
        def __iter__(self):
            return self

        def __next__(self):
            seen.append(("next", variable.get(), threading.current_thread()))
            if len(seen) > 20:
                raise StopIteration
            return 1

        def close(self):
            seen.append(("close", variable.get(), threading.current_thread()))

    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    from unspool.sources.rows import RowSource

    source = RowSource(Rows(), context)
    drain(source)
    close(source)
    assert {name for _, name, _ in seen} == {"inside"}
    assert [step for step, _, _ in seen].count("close") == 1
    threads = [thread for _, _, thread in seen]
    assert threads[0] is threading.current_thread()
    assert len(set(threads[1:])) == 1


def test_closing_early_closes_the_generator_on_its_own_thread():
    log = []
    source = new_source(squares(10**9, log))
    source.pull(10, 1)
    source.pull(10, 1)
    assert close(source) == [threading.current_thread()]
    assert [thread.name for thread in log] == ["unspool-source"]


def test_a_source_that_was_never_pulled_is_closed():
    class Rows:
        closed = 0

        def __iter__(self):
            return self

        def __next__(self):
            raise AssertionError

        def close(self):
            self.closed += 1

    rows = Rows()
    assert len(close(new_source(rows))) == 1
    assert rows.closed == 1


def test_closing_does_not_wait_for_a_stuck_source_which_closes_when_it_can(monkeypatch):
    monkeypatch.undo()  # The wait of a close is as it is for users.
    stuck = threading.Event()
    log = []

    def rows():
        try:
            yield 0
            yield 1
            stuck.wait(10)
            yield 2
        finally:
            log.append("rows closed")

    source = new_source(rows())
    source.pull(1, 1)
    while not source.pull(5, 0.1):
        pass
    started = time.monotonic()
    done = threading.Event()
    source.close(lambda: (log.append("then"), done.set()))
    assert time.monotonic() - started < 5
    assert log == []
    stuck.set()
    assert done.wait(5)
    assert log == ["rows closed", "then"]


@pytest.mark.parametrize("same_thread", [True, False])
def test_what_the_close_raises_is_raised_after_then_was_called(same_thread):
    def rows():
        try:
            yield from range(100)
        finally:
            raise LookupError("close failed")

    source = new_source(rows(), same_thread=same_thread)
    source.pull(1, 1)
    source.pull(1, 1)
    done = []
    with pytest.raises(LookupError, match="close failed"):
        source.close(lambda: done.append(1))
    assert done == [1]


def test_a_sqlite_cursor_is_pulled_on_the_thread_that_made_it():
    con = sqlite3.connect(":memory:")
    source = new_source(
        con.execute(
            "with recursive n(i) as (select 1 union all select i+1 from n where i<2000) select i from n"
        )
    )
    assert len(drain(source)) == 2000
    close(source)
    con.close()


def test_a_generator_over_a_sqlite_cursor_stays_too():
    con = sqlite3.connect(":memory:")

    def rows(con):
        for row in con.execute(
            "with recursive n(i) as (select 1 union all select i+1 from n where i<2000) select i from n"
        ):
            yield row

    source = new_source(row for row in rows(con))
    assert len(drain(source)) == 2000
    close(source)
    con.close()


def test_a_generator_that_opens_its_own_database_works_on_any_thread():
    def rows():
        con = sqlite3.connect(":memory:")
        yield (0,)
        yield from con.execute("select 1 union select 2")
        con.close()

    assert drain(new_source(rows())) == [(0,), (1,), (2,)]


def test_what_lies_beside_the_source_can_bind_it_to_its_thread():
    con = sqlite3.connect(":memory:")
    before = set(threading.enumerate())
    source = new_source(squares(100), beside=lambda: [con])
    source.pull(1, 1)
    source.pull(1, 1)
    assert set(threading.enumerate()) <= before
    close(source)
    con.close()


def test_thread_bound_things_are_found_where_sources_keep_them():
    con = sqlite3.connect(":memory:")

    def unnamed():
        for row in con.execute("select 1 union select 2"):
            yield row

    started = unnamed()
    next(started)
    assert is_thread_bound(con)
    assert is_thread_bound(con.execute("select 1"))
    assert is_thread_bound(started)
    assert is_thread_bound(map(str, started))
    assert is_thread_bound({"a": [con]})
    assert is_thread_bound({f"name {n}": n for n in range(500)} | {"z": con})
    assert not is_thread_bound(squares(3), map(str, [1]), [1, 2])
    started.close()
    con.close()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (5, "got 5 \\(int\\)"),
        (None, "got None"),
        ("text", "character by character"),
        (b"bytes", "one bytes"),
        (squares, "It is a function: call it"),
    ],
)
def test_what_is_no_source_is_refused(rows, message):
    with pytest.raises(NotIterable, match=message):
        new_source(rows)


def test_an_async_generator_is_refused_by_a_thread():
    async def rows():
        yield 1

    with pytest.raises(NotIterable, match="asynchronous"):
        new_source(rows())


@pytest.mark.parametrize("trial", range(20))
def test_a_source_with_random_pauses_loses_and_repeats_nothing(trial):
    import random

    rng = random.Random(trial)

    def rows():
        for n in range(300):
            if rng.random() < 0.05:
                time.sleep(rng.random() * 0.01)
            yield n

    source = new_source(rows())
    got = []
    while (batch := source.pull(rng.randint(1, 40), rng.random() * 0.005)) is not None:
        got.extend(batch)
    assert got == list(range(300))
    close(source)


def test_a_generator_that_is_over_is_refused_and_one_that_has_begun_is_not():
    rows = squares(3)
    assert next(rows) == 0
    assert drain(new_source(rows)) == [1, 4]
    with pytest.raises(UsedTwice, match="gives its rows once"):
        new_source(rows)


def test_rows_that_wait_are_told_to_stop_when_the_source_is_closed():
    class Waiting:
        def __init__(self):
            self.stopped = threading.Event()
            self.given = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.given += 1
            if self.given > 1:
                assert self.stopped.wait(5)
                raise StopIteration
            return 1

        def cancel(self):
            self.stopped.set()

    rows = Waiting()
    source = new_source(rows)
    assert list(source.pull(1, 0)) == [1]
    assert not source.pull(1, 0.01)
    closed = []
    source.close(lambda: closed.append(True))
    assert rows.stopped.is_set()
    assert closed == [True]
