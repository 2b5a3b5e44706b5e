"""The project's one import of numba.cuda, and what differs in its simulator. Import it only when a GPU is asked for.

The simulator (``NUMBA_ENABLE_CUDASIM=1`` before Python starts) runs kernels as Python, each CUDA thread by a Python
thread: slow, but every line can be stepped through, and a bad index raises. There ``cuda`` must be a module global.
"""

import contextlib
import threading

import numpy as np

# numba-cuda takes the place of Numba's own numba.cuda by a .pth file, which after `pip install --target` nobody reads.
with contextlib.suppress(ImportError):
    import _numba_cuda_redirector  # noqa: F401

# numba-cuda 0.30 uses np.row_stack, which NumPy 2.5 removed (numba-cuda#907; it will not be mended there).
if not hasattr(np, "row_stack"):
    np.row_stack = np.vstack

from numba import config, cuda

__all__ = ["SIMULATED", "cuda", "device"]

SIMULATED = bool(config.ENABLE_CUDASIM)

if SIMULATED:
    from tinyconv_kernels.cuda import _simulator  # noqa: F401 (it makes the simulator faster)

    # The simulator lends ``cuda`` its barrier only in the file of the kernel that runs; device functions are elsewhere.
    cuda.syncthreads = lambda: getattr(threading.current_thread(), "syncthreads")()  # noqa: B009 (see _simulator.py)

    def device(function):
        """Mark a function that kernels call; in the simulator that is any function."""
        return function

else:
    config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # small arrays are not a mistake
    device = cuda.jit(device=True, inline="always")
