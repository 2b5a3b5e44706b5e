"""Devices: where an array lives, how one is allocated there, and which kernels work on it.

``"cpu"`` arrays are NumPy's. ``"cuda"`` arrays are DeviceArrays: a GPU's memory, or the simulator's. ``"meta"`` arrays
have a shape and a dtype but no elements, and every kernel does nothing on them: a network runs on ``meta`` to learn its
output shapes without allocating or computing anything. Nothing of CUDA is imported before somebody asks for it.
"""

from __future__ import annotations

import functools
import importlib
import types
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinyconv_kernels.device_array import DeviceArray

ARRAYS = (np.ndarray, DeviceArray)  # what a Tensor's data may be
NAMES = ("cpu", "cuda", "meta")
_ALIGNMENT = 64  # bytes: a cache line, and an AVX-512 vector


class MetaArray(np.ndarray):
    """An array of which only shape and dtype are real: all strides are 0, so one element is all its memory.

    Views (reshape, transpose, slices) are NumPy's own, and stay MetaArrays.
    """

    def __new__(cls, shape: Sequence[int], dtype: Any = np.float32) -> MetaArray:
        """Make a MetaArray of this shape."""
        shape = tuple(int(n) for n in shape)
        return super().__new__(cls, shape, np.dtype(dtype), np.zeros(1, dtype), 0, (0,) * len(shape))

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> MetaArray:  # type: ignore[override]
        """Return a MetaArray of another dtype (NumPy's own would allocate)."""
        return MetaArray(self.shape, dtype)

    def copy(self, order: Any = "C") -> MetaArray:  # type: ignore[override]
        """Return another MetaArray (NumPy's own would allocate)."""
        return MetaArray(self.shape, self.dtype)


def check_name(device: str) -> str:
    """Return ``device`` if it can be used here, or raise with what to do."""
    if device not in NAMES:
        raise ValueError(f'device: wanted one of "cpu", "cuda", "meta", got {device!r}')
    if device == "cuda":
        _cuda()
    return device


@functools.cache
def _cuda() -> Any:
    """Return the CUDA kernels' memory module, or raise with why there is no GPU."""
    try:
        from tinyconv_kernels.cuda import memory

        reason = memory.why_not()
    except ImportError as problem:
        reason = str(problem)
    if reason:
        raise RuntimeError(
            f'device "cuda": {reason}; use device="cpu", or NUMBA_ENABLE_CUDASIM=1 before Python starts for the '
            "simulator. `tinyconv doctor` shows what this machine has"
        )
    return memory


def of(array: Any) -> str:
    """Return the name of the device an array lives on."""
    return "meta" if isinstance(array, MetaArray) else "cuda" if isinstance(array, DeviceArray) else "cpu"


def empty(like: Any, shape: Sequence[int], dtype: Any = None) -> Any:
    """Allocate an uninitialised array on the device of ``like``."""
    dtype = like.dtype if dtype is None else dtype
    if isinstance(like, MetaArray):
        return MetaArray(shape, dtype)
    return _cuda().empty(shape, dtype) if isinstance(like, DeviceArray) else np.empty(shape, dtype)


def zeros(like: Any, shape: Sequence[int], dtype: Any = None) -> Any:
    """Allocate an array of zeros on the device of ``like``."""
    if isinstance(like, DeviceArray):
        out = empty(like, shape, dtype)
        kernels_for(out).elementwise.fill(out, 0)
        return out
    dtype = like.dtype if dtype is None else dtype
    return MetaArray(shape, dtype) if isinstance(like, MetaArray) else np.zeros(shape, dtype)


def full(shape: Sequence[int], value: Any, dtype: Any) -> Any:
    """Allocate an array on "cuda", filled with a number."""
    return _cuda().full(shape, value, dtype)


def move(array: Any, device: str) -> Any:
    """Return the array on ``device``: itself if it is there already."""
    check_name(device)
    if of(array) == device:
        return array
    if device == "meta":
        return MetaArray(array.shape, array.dtype)
    if isinstance(array, MetaArray):
        raise RuntimeError(f'device "meta": an array of shape {array.shape} has no elements to copy to "{device}"')
    return _cuda().to_device(array) if device == "cuda" else _cuda().to_host(array)


# What `beside` has copied, by the identity of the host's array; an entry goes with that array.
_beside: dict[int, tuple[Any, Any]] = {}


def beside(array: np.ndarray, like: Any) -> Any:
    """Return a host array where ``like`` is; a GPU gets it once, as long as it lives. It must not change any more."""
    if not isinstance(like, DeviceArray):
        return move(array, of(like))
    found = _beside.get(id(array))
    if found is None or found[0]() is not array:
        key = id(array)
        found = weakref.ref(array, lambda _: _beside.pop(key, None)), move(array, "cuda")
        _beside[key] = found
    return found[1]


def host(array: Any) -> np.ndarray:
    """Return the array in the host's memory: itself on the CPU, a copy of what is on a GPU."""
    if isinstance(array, MetaArray):
        raise RuntimeError(f'device "meta": a tensor of shape {array.shape} has a shape and a dtype but no elements')
    return _cuda().to_host(array) if isinstance(array, DeviceArray) else array


def workspace(like: Any, nbytes: int) -> Any:
    """Allocate ``nbytes`` of scratch memory, aligned to 64 bytes, for a kernel that asked for it; None for 0."""
    if nbytes == 0 or isinstance(like, MetaArray):
        return None
    if isinstance(like, DeviceArray):
        return _cuda().empty((nbytes,), np.uint8)
    raw = np.empty(nbytes + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + nbytes]


def contiguous(array: Any) -> Any:
    """Return the array itself if it is C-contiguous and writable, else a copy.

    Kernels are compiled once for that layout: a strided or read-only argument would compile each of them again.
    """
    if isinstance(array, MetaArray) or (array.flags.c_contiguous and array.flags.writeable):
        return array
    return array.copy() if isinstance(array, DeviceArray) else np.array(array, order="C")


def share_memory(a: Any, b: Any) -> bool:
    """Whether a write to one array may change the other."""
    if a is b:
        return True
    if isinstance(a, MetaArray) or isinstance(b, MetaArray):
        return False
    if isinstance(a, DeviceArray) or isinstance(b, DeviceArray):
        return getattr(a, "block", 0) is getattr(b, "block", 1)  # may be: parts of one block are not told apart
    # Two arrays that own their memory share none: told in a tenth of the time that NumPy's comparison of bounds takes.
    return not (a.flags.owndata and b.flags.owndata) and np.may_share_memory(a, b)


# ------------------------------------------------------------------------------------------------------------- kernels


class _Nothing:
    """The kernels of ``meta``: each does nothing, and a ``_workspace`` twin asks for 0 bytes."""

    def __getattr__(self, name: str) -> _Nothing:
        return self

    def __call__(self, *args: Any) -> int:
        return 0


class _Overlay:
    """The kernels of ``base``, except those that the user's module defines."""

    def __init__(self, base: Any, module: types.ModuleType) -> None:
        self._base, self._module = base, module

    def __getattr__(self, name: str) -> Any:
        below = getattr(self._base, name)
        if isinstance(below, types.ModuleType):
            return _Overlay(below, self._module)
        mine = vars(self._module).get(name)
        return mine if _is_own(mine) else below


def _is_own(value: Any) -> bool:
    """Whether something in a user's module is a kernel of theirs, not what ``from math import exp`` brought there."""
    package = str(getattr(value, "__module__", "")).partition(".")[0]
    return callable(value) and package not in ("builtins", "math", "numpy")


_NOTHING = _Nothing()
_chosen: list[Any] = []


def broadcast_to(array: Any, shape: Sequence[int]) -> Any:
    """Return a view in which axes of size 1 are repeated."""
    if isinstance(array, MetaArray):
        return MetaArray(shape, array.dtype)
    return array.broadcast_to(shape) if isinstance(array, DeviceArray) else np.broadcast_to(array, shape)


def kernels_for(array: Any) -> Any:
    """Return the package of kernels for an array: ``kernels_for(x).pool.max_pool2d_forward(...)``."""
    if isinstance(array, MetaArray):
        return _NOTHING
    if isinstance(array, DeviceArray):
        return _backend("cuda")
    return _chosen[-1] if _chosen else _backend("cpu")


@functools.cache
def _backend(name: str) -> Any:
    return importlib.import_module(f"tinyconv_kernels.{name}")


@contextmanager
def backend(which: str | types.ModuleType) -> Iterator[list[str]]:
    """Run everything inside on other kernels.

    Parameters
    ----------
    which : "cpu", "reference" or a module
        ``"reference"``: the plain definitions. A module: its functions replace the CPU kernels of the same names
        (``max_pool2d_forward`` and so on, same signature), so that a network runs on kernels of your own.

    Yields
    ------
    list of str
        The kernels that a module replaces: a misspelt one is not among them.

    Raises
    ------
    ValueError
        ``which`` is no backend, or the module defines no kernel's name.
    """
    replaced: list[str] = []
    if isinstance(which, types.ModuleType):
        chosen: Any = _Overlay(_backend("cpu"), which)
        replaced = sorted(name for name in kernel_names() if _is_own(vars(which).get(name)))
        if not replaced:
            raise ValueError(
                f"backend: module {which.__name__} defines no kernel; expected names such as conv2d_forward"
            )
    elif which in ("cpu", "reference"):
        chosen = _backend(which)
    else:
        raise ValueError(f'backend: wanted "cpu", "reference" or a module, got {which!r}')
    _chosen.append(chosen)
    try:
        yield replaced
    finally:
        _chosen.pop()


def kernel_names() -> set[str]:
    """Return the names of all kernels."""
    files = [getattr(_backend("cpu"), name) for name in _backend("cpu").__all__]
    return {
        name
        for module in files
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", "") == module.__name__
    }
