"""What changes how kernels compute, not what: how many threads share a kernel's work, and which methods are allowed."""

import os

from numba import config

__all__ = ["cores", "switches"]


def cores():
    """Return the largest number of threads: the cores of this process, or NUMBA_NUM_THREADS."""
    return int(config.NUMBA_NUM_THREADS)


switches = {
    "threads": 1 if config.DISABLE_JIT else cores(),  # as plain Python, in a debugger, kernels gain nothing from more
    "winograd": os.environ.get("TINYCONV_WINOGRAD", "1").lower() not in ("0", "false", "no", "off"),
    "tf32": False,  # tensor cores of NVIDIA GPUs
}
