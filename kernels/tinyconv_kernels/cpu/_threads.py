"""When a kernel is worth splitting over threads: one rule for every CPU kernel."""

from numba import get_num_threads

# Below this many elements, starting threads (about 10 microseconds) and, the first time, compiling the parallel
# version (1 to 3 seconds) cost more than they save: small networks never compile it.
PARALLEL_FROM = 1 << 17


def worth_threads(work):
    """Return whether ``work`` (elements read or written) pays for threads; never in a loader thread, which has one.

    Convolution, pooling and normalisation share their tasks by cpu/_share.py. Elsewhere a kernel's body is a plain njit
    function over a range of elements, and ``_..._parallel`` is a separate, tiny prange function that calls it. The two
    must not be one Python function compiled twice: Numba's cache ignores ``parallel`` and would hand the serial machine
    code to both.
    """
    return work >= PARALLEL_FROM and get_num_threads() > 1
