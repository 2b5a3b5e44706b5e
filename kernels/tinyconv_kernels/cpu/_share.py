"""Share the tasks of a kernel among threads: the serial kernel, run by Python threads that do not hold the GIL.

Numba's own way, prange, compiles a kernel a second time: with it all convolution kernels together took 38 s of
compiling on an empty cache, without it 15 s. Handing work to a sleeping Python thread costs some 60 microseconds,
prange's threads 4 to 17, so this is for kernels that take longer.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

# Parts per thread: with more than one, a thread that another program slowed down leaves parts to the others.
PARTS = 3

_pools: dict[int, ThreadPoolExecutor] = {}
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_pools.clear)  # the threads stay behind in the parent


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
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                first, last = next(ranges, (0, 0))
            if first == last:
                return
            kernel(first, last, *arguments)

    others = []
    try:
        if threads not in _pools:
            _pools[threads] = ThreadPoolExecutor(threads - 1, "tinyconv")
        others = [_pools[threads].submit(work) for _ in range(threads - 1)]
    except RuntimeError:  # the interpreter is shutting down: no new work for threads, this one does all
        pass
    try:
        work()
    finally:
        with lock:
            list(ranges)  # after an error nobody begins another part
        for other in others:
            if not other.cancel():
                other.result()
