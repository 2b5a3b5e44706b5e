"""Sharing tasks among threads: every task once, errors arrive, a forked child has threads of its own."""

import os
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from tinyconv_kernels.cpu import _share
from tinyconv_kernels.cpu._share import share


@pytest.fixture
def many_threads(monkeypatch):
    """Enough helpers for any test, however few cores the machine has."""
    with ThreadPoolExecutor(8) as pool:
        monkeypatch.setattr(_share, "_helpers", lambda: pool)
        yield pool


@pytest.mark.parametrize("tasks", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_task_is_done_once(tasks, threads):
    done = []

    def kernel(first, last, step):
        done.extend(range(first, last, step))

    share(threads, kernel, tasks, 1)
    assert sorted(done) == list(range(tasks))


def test_two_threads_work_at_the_same_time():
    barrier = threading.Barrier(2, timeout=30)  # passes only if two are there

    def kernel(first, last):
        barrier.wait()

    share(2, kernel, 2)


@pytest.mark.parametrize("bad", range(8))
def test_an_error_in_any_part_reaches_the_caller_when_nobody_is_at_work_any_more(bad, many_threads):
    at_work, most = [], []

    def kernel(first, last):
        at_work.append(first)
        most.append(len(at_work))
        time.sleep(0.01)
        try:
            if first <= bad < last:
                raise MemoryError("no room")
            time.sleep(0.02)
        finally:
            at_work.remove(first)

    with pytest.raises(MemoryError, match="no room"):
        share(4, kernel, 8)
    assert not at_work and max(most) > 1


def test_after_an_error_nobody_begins_another_part(many_threads):
    begun = []

    def kernel(first, last):
        begun.append(first)
        time.sleep(0.01)
        raise MemoryError

    with pytest.raises(MemoryError):
        share(3, kernel, 300)
    assert len(begun) <= 3


def test_a_helper_that_cannot_start_leaves_its_part_to_the_others(many_threads, monkeypatch):
    calls, done = [], []
    submit = many_threads.submit

    def fail_second(work):
        calls.append(work)
        if len(calls) == 2:
            raise RuntimeError("can't start new thread")
        return submit(work)

    monkeypatch.setattr(many_threads, "submit", fail_second)

    def kernel(first, last):
        time.sleep(0.005)
        done.extend(range(first, last))

    share(4, kernel, 100)
    assert sorted(done) == list(range(100))


@pytest.mark.skipif(os.name != "posix", reason="sends itself a signal")
@pytest.mark.parametrize("busy", [0, 10])  # seconds of the caller's own part: it waits for the helper, or is at work
def test_ctrl_c_waits_for_the_helper(busy, many_threads):
    at_work, both = [], threading.Barrier(2, timeout=30)

    def kernel(first, last):
        both.wait()  # one part each
        if threading.current_thread() is threading.main_thread():
            time.sleep(busy)
            return
        at_work.append(first)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        at_work.remove(first)

    with pytest.raises(KeyboardInterrupt):
        share(2, kernel, 2)
    assert not at_work


def test_two_python_threads_may_share_at_once(many_threads):
    def sums(n):
        found = []
        share(3, lambda first, last: found.extend(range(first, last)), n)
        return sorted(found) == list(range(n))

    with ThreadPoolExecutor(4) as callers:
        assert all(callers.map(sums, [50] * 40))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_threads_of_its_own():
    share(2, lambda first, last: None, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forking beside threads may hang; it must not
        child = os.fork()
    if child == 0:  # no pytest in here: its report must not appear twice
        signal.alarm(30)
        barrier = threading.Barrier(2, timeout=10)  # passes only if there is a helper
        try:
            share(2, lambda first, last: barrier.wait(), 2)
        except threading.BrokenBarrierError:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
