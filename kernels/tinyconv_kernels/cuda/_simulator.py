"""Numba's simulator, three to seven times faster for kernels without barriers, and silent about infinities.

It starts a Python thread for every CUDA thread of a block, which only barriers and shared memory need. Without them one
thread can do a block's work in a loop. A GPU's arithmetic does not warn of overflow or 0 / 0, so NumPy's shall not.
"""

import threading

import numpy as np
from numba.cuda.simulator import kernel as simulator

_with_barriers = simulator.BlockManager.run


def _quiet(function):
    """NumPy's warnings are settings of a thread, so each simulated thread switches them off for itself."""

    def run(*arguments):
        with np.errstate(all="ignore"):
            return function(*arguments)

    return run


def _needs_threads(function):
    names = function.__code__.co_names
    return "syncthreads" in names or "shared" in names


def _run(self, block, *arguments):
    function = self._f
    if _needs_threads(getattr(function, "__wrapped__", function)):
        quiet = _quiet(function)
        quiet.__wrapped__ = function
        self._f = quiet
        try:
            return _with_barriers(self, block, *arguments)
        finally:
            self._f = function

    def all_threads():
        thread = threading.current_thread()
        for position in np.ndindex(*self._block_dim):
            thread.threadIdx = simulator.Dim3(*position)
            width, height, _ = self._block_dim
            thread.thread_id = position[0] + width * (position[1] + height * position[2])
            _quiet(function)(*arguments)

    one = simulator.BlockThread(all_threads, self, block, (0, 0, 0), self._debug)
    one.start()
    one.join()
    if one.exception:
        raise one.exception[0].with_traceback(one.exception[1])


simulator.BlockManager.run = _run
