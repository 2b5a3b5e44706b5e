"""Sharing tasks among threads: every task once, errors arrive, a forked child has threads of its own."""

import os
import signal
import threading
import warnings

import pytest

from tinyconv_kernels.cpu._share import share


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


@pytest.mark.parametrize("bad", range(4))
def test_an_error_in_any_part_reaches_the_caller(bad):
    def kernel(first, last):
        if first <= bad < last:
            raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        share(2, kernel, 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_threads_of_its_own():
    share(2, lambda first, last: None, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forking beside threads may hang; it must not
        child = os.fork()
    if child == 0:  # no pytest in here: its report must not appear twice
        signal.alarm(30)
        share(2, lambda first, last: None, 8)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
