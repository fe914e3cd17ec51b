import asyncio
import threading
import time

import pytest

from unspool.sources import workers as workers_module
from unspool.sources.workers import Lane, Workers


def wait_for(condition, timeout_s=5):
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


class Gate:
    """A job that waits until it is let through, and knows how many wait at a time."""

    def __init__(self):
        self.free = threading.Event()
        self.threads = []

    def __call__(self, result=None):
        self.threads.append(threading.current_thread())
        assert self.free.wait(10)
        return result


def kept_lane(workers):
    """A lane with a thread of its own."""
    lane = Lane(workers)

    def keep():
        lane.keep()
        return threading.current_thread()

    return lane, lane.submit(keep).result(5)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_there_are_as_many_threads_as_allowed_and_no_more(threads):
    workers, gate = Workers(threads), Gate()
    jobs = [Lane(workers).submit(gate, n) for n in range(20)]
    wait_for(lambda: len(gate.threads) == threads)
    time.sleep(0.05)
    assert len(set(gate.threads)) == len(gate.threads) == threads
    gate.free.set()
    assert [job.result(5) for job in jobs] == list(range(20))
    assert len(set(gate.threads)) == threads


def test_a_thread_is_only_started_when_none_is_idle():
    workers = Workers(5)
    names = set()
    for _ in range(20):
        names.add(Lane(workers).submit(threading.get_ident).result(5))
        wait_for(lambda: workers._idle == 1)
    assert len(names) == 1


def test_jobs_of_many_lanes_all_run_and_those_of_one_in_order():
    workers = Workers(3)
    done = {n: [] for n in range(30)}

    def use(n):
        lane = Lane(workers)
        for step in range(50):
            lane.submit(done[n].append, step).result(10)

    users = [threading.Thread(target=use, args=(n,)) for n in range(30)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert all(steps == list(range(50)) for steps in done.values())


def test_a_kept_thread_serves_its_lane_and_no_other():
    workers = Workers(1)
    lane, own = kept_lane(workers)
    for _ in range(10):
        assert lane.submit(threading.current_thread).result(5) is own
        assert Lane(workers).submit(threading.current_thread).result(5) is not own
    lane.close()


def test_threads_that_are_kept_never_run_out():
    workers = Workers(2)
    kept = [kept_lane(workers) for _ in range(10)]
    assert len({thread for _, thread in kept}) == 10
    assert Lane(workers).submit(lambda: "ran").result(5) == "ran"
    for lane, thread in kept:
        assert lane.submit(threading.current_thread).result(5) is thread
        lane.close()


def test_a_kept_thread_is_replaced_for_the_jobs_that_wait():
    workers, gate = Workers(1), Gate()
    lane = Lane(workers)

    def keep():
        gate()
        lane.keep()

    kept = lane.submit(keep)
    waiting = [Lane(workers).submit(int, n) for n in range(3)]
    time.sleep(0.05)
    assert not any(job.done() for job in waiting)
    gate.free.set()
    kept.result(5)
    assert [job.result(5) for job in waiting] == [0, 1, 2]
    lane.close()


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, SystemExit])
def test_what_a_job_raises_goes_to_its_future_and_the_thread_stays(kept, error):
    workers = Workers(1)
    lane = kept_lane(workers)[0] if kept else Lane(workers)

    def fail():
        raise error("boom")

    with pytest.raises(error, match="boom"):
        lane.submit(fail).result(5)
    assert lane.submit(lambda: "ran").result(5) == "ran"
    lane.close()


def test_a_job_that_was_cancelled_does_not_run_and_the_thread_stays():
    workers, gate, ran = Workers(1), Gate(), []
    busy = Lane(workers).submit(gate)
    cancelled = Lane(workers).submit(ran.append, 1)
    assert cancelled.cancel()
    gate.free.set()
    busy.result(5)
    assert Lane(workers).submit(lambda: "ran").result(5) == "ran"
    assert ran == []


def test_no_kept_thread_is_left_after_its_lane_is_closed():
    workers = Workers(2)
    kept = [kept_lane(workers) for _ in range(5)]
    last = [lane.submit(lambda: "last") for lane, _ in kept]
    for lane, _ in kept:
        lane.close()
    assert [job.result(5) for job in last] == ["last"] * 5
    for _, thread in kept:
        thread.join(5)
        assert not thread.is_alive()


def test_closing_a_lane_without_a_thread_of_its_own_changes_nothing():
    workers = Workers(1)
    lane = Lane(workers)
    lane.close()
    assert lane.submit(lambda: "ran").result(5) == "ran"


def submit_50(workers, ran):
    return [Lane(workers).submit(ran.append, n) for n in range(50)]


def stay_busy(ran):
    time.sleep(0.2)
    return len(ran)


def test_a_loop_that_is_busy_is_not_buried_under_what_the_threads_make(monkeypatch):
    monkeypatch.setattr(workers_module, "_PATIENCE_S", 60)
    workers, gate = Workers(2), Gate()
    for _ in range(2):
        Lane(workers).submit(gate)

    async def main():
        ran = []
        jobs = submit_50(workers, ran)
        gate.free.set()
        ran_meanwhile = stay_busy(ran)
        await asyncio.gather(*map(asyncio.wrap_future, jobs))
        return ran_meanwhile, sorted(ran)

    ran_meanwhile, ran = asyncio.run(main())
    assert ran_meanwhile <= 2
    assert ran == list(range(50))


def test_a_loop_that_is_stuck_or_closed_does_not_keep_the_jobs_waiting(monkeypatch):
    ran, workers, gate = [], Workers(1), Gate()

    async def stuck():
        submit_50(Workers(2), ran)
        wait_for(lambda: len(ran) == 50, 20)

    async def closed():
        submit_50(workers, ran)

    monkeypatch.setattr(workers_module, "_PATIENCE_S", 0.01)
    asyncio.run(stuck())
    monkeypatch.setattr(workers_module, "_PATIENCE_S", 60)
    Lane(workers).submit(gate)
    asyncio.run(closed())
    gate.free.set()
    wait_for(lambda: len(ran) == 100)
