"""Share the tasks of a kernel among threads: the serial kernel, run by Python threads that do not hold the GIL.

Numba's own way, prange, compiles a kernel a second time (all of convolution: 38 s instead of 15 on an empty cache),
rounds differently in the second version, and brings a pool of threads that spin against BLAS's and, depending on the
machine, must not be used by two Python threads at once, or not after a fork. Those threads wake up sooner; handing work
to a sleeping Python thread costs some 80 microseconds (tests/benchmarks/notes.md).
"""

import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

from tinyconv_kernels.switches import cores, switches

# Elements read or written from which a second thread saves more than it costs: one core passes over so many in 0.2 ms.
WORTH = 1 << 18
# Parts per thread: with more than one, a thread that another program slowed down leaves parts to the others.
PARTS = 3


def threads_for(work):
    """Return how many threads ``work`` (elements read or written) is worth."""
    return switches["threads"] if work >= WORTH else 1


@functools.cache
def _helpers():
    return ThreadPoolExecutor(max(1, cores() - 1), "tinyconv")


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # the threads stay behind in the parent


def share(threads, kernel, tasks, *arguments):
    """Call kernel(first, last, *arguments) for ranges that make up range(tasks), in ``threads`` threads, this one too.

    The kernel must be compiled with ``nogil=True``, and a task must compute the same in whichever range it is. When
    ``share`` returns, or raises what a part raised, no thread is at work any more.
    """
    if threads == 1 or tasks < 2:
        kernel(0, tasks, *arguments)
        return
    parts = min(tasks, threads * PARTS)
    ranges = iter([(tasks * part // parts, tasks * (part + 1) // parts) for part in range(parts)])
    lock, failures = threading.Lock(), []

    def leave_the_rest():
        with lock:
            list(ranges)

    def work():
        while True:
            with lock:
                first, last = next(ranges, (0, 0))
            if first == last:
                return
            try:
                kernel(first, last, *arguments)
            except BaseException as problem:
                failures.append(problem)
                leave_the_rest()

    others = []
    try:
        for _ in range(threads - 1):
            others.append(_helpers().submit(work))
    except RuntimeError:  # no new thread: the interpreter is shutting down, or there are too many
        pass
    try:
        work()
    finally:  # also after Ctrl-C: the caller may change the arrays as soon as this returns
        leave_the_rest()
        _end(others)
    if failures:
        raise failures[0]


def _end(others):
    """Wait until no helper is at work; Ctrl-C has to wait for it, too: a part takes milliseconds."""
    working, interrupted = [other for other in others if not other.cancel()], None
    while working:
        try:
            wait(working)
            working = []
        except KeyboardInterrupt as problem:
            interrupted = problem
    if interrupted:
        raise interrupted
