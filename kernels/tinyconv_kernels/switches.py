"""What changes how kernels compute, not what: the number of threads (Numba's), and which methods are allowed."""

import os

from numba import config, get_num_threads, set_num_threads

__all__ = ["cores", "get_num_threads", "set_num_threads", "switches"]

switches = {"winograd": os.environ.get("TINYCONV_WINOGRAD", "1") != "0"}


def cores():
    """Return the largest number of threads."""
    return int(config.NUMBA_NUM_THREADS)
