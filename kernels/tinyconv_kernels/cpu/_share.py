"""Share the tasks of a kernel among threads: the serial kernel, run by Python threads that do not hold the GIL.

Numba's own way, prange, compiles a kernel a second time, which took longer than the first: 27 of the 53 seconds that
all convolution kernels together needed on an empty cache. And the idle threads of OpenMP wait busily, on cores that
somebody else could use. Handing work to a sleeping Python thread costs some 30 microseconds, prange's threads 5 to 50.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

# Parts per thread: with more than one, a thread that another program slowed down leaves parts to the others.
PARTS = 3

_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # the threads stay behind in the parent


def share(threads, kernel, tasks, *arguments):
    """Call kernel(first, last, *arguments) for ranges that make up range(tasks), in ``threads`` threads, this one too.

    The kernel must be compiled with ``nogil=True``, and a task must compute the same in whichever range it is.
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

    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads - 1, "tinyconv")
    others = [_pools[threads].submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        other.result()
