"""Device memory: arrays, their blocks, and the pool that keeps freed blocks for the next array.

The driver takes tens of microseconds to allocate and waits for all kernels before it frees. A training step allocates
the same sizes over and over, so a freed block is kept and handed out again: all kernels run in one stream, so whoever
wrote to it before has finished before the next kernel begins.
"""

import os
import weakref
from collections import defaultdict

import numpy as np

from tinyconv_kernels.cuda._cuda import SIMULATED, cuda
from tinyconv_kernels.device_array import DeviceArray

_SMALLEST = 512  # bytes
_KNOWN = 1 << 20  # bytes up to which the host remembers the whole numbers that it uploads
_free: dict = defaultdict(list)  # size in bytes: blocks' memory
_STATISTICS = {"allocated": 0, "to_host": 0, "to_device": 0}


class Block:
    """Bytes on the device, seen as elements of one dtype or another; they return to the pool with the Block.

    ``known`` is a copy on the host of what was uploaded, None where there is none, or a kernel has written since;
    ``derived`` holds what was worked out of it.
    """

    __slots__ = ("raw", "views", "known", "derived", "__weakref__")

    def __init__(self, nbytes):
        size = _rounded(nbytes)
        self.raw = _free[size].pop() if _free[size] else _new(size, nbytes)
        self.views, self.known, self.derived = {}, None, {}
        _STATISTICS["allocated"] += size
        weakref.finalize(self, _give_back, self.raw, size).atexit = False

    def view(self, dtype):
        """Return the whole block as a 1-D array of Numba's, for kernels. It may be longer than what was asked for."""
        found = self.views.get(dtype)
        if found is None:
            found = self.views[dtype] = self.raw.view(dtype)
        return found


def _rounded(nbytes):
    """Size class: at most an eighth more, so that arrays of similar sizes share blocks."""
    if nbytes <= _SMALLEST:
        return _SMALLEST
    step = max(_SMALLEST, 1 << (int(nbytes - 1).bit_length() - 4))
    return -(-nbytes // step) * step


def _give_back(raw, size):
    _free[size].append(raw)
    _STATISTICS["allocated"] -= size


def _new(size, wanted):
    try:
        return cuda.device_array(size, np.uint8)
    except Exception as problem:
        if not _out_of_memory(problem):
            raise
    empty_cache()
    try:
        return cuda.device_array(size, np.uint8)
    except Exception as problem:
        if not _out_of_memory(problem):
            raise
        raise MemoryError(
            f"cuda: no room for {_text(wanted)}: {_text(available())} are free on the device, and this process holds "
            f"{_text(_STATISTICS['allocated'])} in arrays; use a smaller batch, or no_grad() where you need no gradient"
        ) from None


def _out_of_memory(problem):
    return isinstance(problem, MemoryError) or "OUT_OF_MEMORY" in str(problem)


def _text(nbytes):
    return f"{nbytes / 2**30:.2f} GiB" if nbytes >= 2**28 else f"{nbytes / 2**20:.1f} MiB"


def why_not():
    """Return why kernels cannot run here, "" if they can."""
    if SIMULATED:
        return ""
    try:
        if not cuda.cudadrv.driver.driver.is_available:
            return "no NVIDIA GPU with a driver was found"
        missing = _missing()
    except Exception as problem:  # whatever a broken driver raises
        return f"the driver does not answer ({problem})"
    if not missing:
        return ""
    return (
        f"there is a GPU, but not NVIDIA's {' and '.join(missing)}, which its kernels are compiled with: pip install "
        '"tinyconv[cuda13]"; after pip install --target DIR, LD_LIBRARY_PATH=DIR/nvidia/cu13/lib before Python starts'
    )


def _missing():
    """Return the libraries that Numba compiles with and does not find: ``cuda.is_available()`` does not say."""
    found = [] if cuda.cudadrv.nvvm.is_available() else ["libnvvm"]
    ask = getattr(getattr(cuda.cudadrv, "nvrtc", None), "get_lowest_supported_cc", None)  # numba-cuda's
    try:
        if ask is not None:
            ask()
    except Exception:  # a class of its loader's, another in each version
        found.append("libnvrtc")
    return found


def package():
    """Return (who made this numba.cuda, its folder)."""
    return getattr(cuda, "implementation", "built into numba"), os.path.dirname(cuda.__file__)


def available():
    """Return how many bytes the driver could still give."""
    return 0 if SIMULATED else cuda.current_context().get_memory_info()[0]


def memory_allocated():
    """Return how many bytes arrays hold."""
    return _STATISTICS["allocated"]


def memory_reserved():
    """Return how many bytes arrays hold and the pool keeps."""
    return _STATISTICS["allocated"] + sum(size * len(blocks) for size, blocks in _free.items())


def device_name():
    """Return the GPU's name."""
    if SIMULATED:
        return "simulator"
    name = cuda.get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)


def synchronize():
    """Wait for all kernels."""
    cuda.synchronize()


def empty_cache():
    """Give kept blocks back to the driver."""
    _free.clear()
    if not SIMULATED:
        cuda.current_context().memory_manager.deallocations.clear()


def empty(shape, dtype):
    """Return an uninitialised DeviceArray."""
    shape = tuple(int(n) for n in shape)
    dtype = np.dtype(dtype)
    size = 1
    for n in shape:
        size *= n
    if size >= 1 << 32:
        raise MemoryError(f"cuda: arrays have fewer than 2^32 elements (indices are 32 bits), got shape {shape}")
    return DeviceArray(Block(size * dtype.itemsize), shape, dtype)


def to_device(array):
    """Return a copy of a NumPy array on the device."""
    array = np.asarray(array, order="C")
    out = empty(array.shape, array.dtype)
    if array.size:
        _STATISTICS["to_device"] += 1
        flat(out)[: array.size].copy_to_device(array.reshape(-1))
        if _worth_knowing(out):
            out.block.known = array.reshape(-1).copy()
    return out


def full(shape, value, dtype):
    """Return a DeviceArray filled with a number: by a kernel, for an upload would wait."""
    from tinyconv_kernels.cuda import elementwise  # which needs this file

    out = empty(shape, dtype)
    elementwise.fill(out, value)
    if _worth_knowing(out):
        out.block.known = np.full(out.size, value, dtype)
    return out


def _worth_knowing(array):
    return array.dtype.kind in "iub" and array.nbytes <= _KNOWN


def to_host(array):
    """Return a copy of a DeviceArray in the host's memory; waits for the kernels that compute it.

    It waits for nothing where the host knows what it has uploaded: labels, words and positions are checked and sorted
    on the host, and a training step would stand still for each.
    """
    if array.size == 0:
        return np.empty(array.shape, array.dtype)
    if array.block.known is not None:
        return np.lib.stride_tricks.as_strided(array.block.known[array.offset :], array.shape, array.strides).copy()
    _STATISTICS["to_host"] += 1
    if not array.flags.c_contiguous:
        array = array.copy()
    part = flat(array)[array.offset : array.offset + array.size]
    return np.ascontiguousarray(part.copy_to_host()).reshape(array.shape)


def written(array):
    """Note that a kernel writes to an array. Every kernel that may write whole numbers or booleans calls this."""
    if array.block.known is not None:
        array.block.known = None
        array.block.derived.clear()


def copies():
    """Return (copies to the host, copies to the device) since the start: each waits for all kernels before it."""
    return _STATISTICS["to_host"], _STATISTICS["to_device"]


def flat(array):
    """Return Numba's 1-D array of the whole block that an array lies in; its first element is at ``array.offset``."""
    return array.block.view(array.dtype)
