"""DLPack and the CUDA array interface: device memory handed to other libraries, and theirs taken, without a copy.

DLPack passes a C structure in a capsule (dlpack.h, version 0: DLManagedTensor); ctypes builds and reads it. In the
simulator device memory is the host's, so it is exported as such.
"""

import ctypes
import math

import numpy as np

from tinyconv_kernels.cuda import memory
from tinyconv_kernels.cuda._cuda import SIMULATED, cuda
from tinyconv_kernels.device_array import DeviceArray, row_major

HOST, GPU, _MANAGED = 1, 2, 13  # kDLCPU, kDLCUDA, kDLCUDAManaged
_KINDS = {"i": 0, "u": 1, "f": 2, "b": 6}  # kDLInt, kDLUInt, kDLFloat, kDLBool
_NAMES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex"}  # for messages
_DTYPES = {
    (_KINDS[dtype.kind], 8 * dtype.itemsize): dtype
    for dtype in map(np.dtype, "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64".split())
}
# Kernels read 16 bytes at once where an element's number, counted from its block's start, is a multiple of 4.
_ALIGNMENT = 16


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]

_python = ctypes.pythonapi
_python.PyCapsule_New.restype = ctypes.py_object
_python.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_python.PyCapsule_GetPointer.restype = ctypes.c_void_p
_python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_python.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]

# A capsule that nobody took. Its address only: a reference to an object that is being freed would free it again.
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _python))
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _python))

# Exports that another library still holds, by the address of their structure.
_lent: dict = {}


@_Deleter
def _returned(managed):
    _lent.pop(ctypes.addressof(managed.contents), None)


@_Destructor
def _dropped(capsule):
    if _is_valid(capsule, b"dltensor"):
        _lent.pop(_pointer_of(capsule, b"dltensor"), None)


def where():
    """Return DLPack's (type, number) of the device that kernels run on."""
    return (HOST, 0) if SIMULATED else (GPU, cuda.get_current_device().id)


def address(array):
    """Return the address of an array's first element."""
    whole = array.block.view(array.dtype)
    start = whole.__array_interface__["data"][0] if SIMULATED else whole.__cuda_array_interface__["data"][0]
    return start + array.offset * array.itemsize


def export(array, stream=None, max_version=None, dl_device=None, copy=None):
    """Return a capsule of a DeviceArray; its block stays alive for as long as the receiver holds it.

    Arguments as the array API standard says (``__dlpack__``). All kernels run in the default stream, which None and 1
    name; for another one they are waited for, and -1 asks to wait for nothing. ``max_version`` may be ignored.
    """
    if stream is not None and (not isinstance(stream, int) or stream == 0 or stream < -1):
        raise BufferError(f"dlpack: stream must be None, -1, 1, 2 or a stream's address, got {stream!r}")
    wanted = where() if dl_device is None else tuple(map(int, dl_device))
    if wanted != where():
        if wanted != (HOST, 0) or copy is False:
            how = " without a copy" if wanted == (HOST, 0) else ""
            raise BufferError(f"dlpack: an array on the device {where()} cannot be given to {wanted}{how}")
        return memory.to_host(array).__dlpack__()
    if copy:
        array = array.copy()
    if stream not in (None, -1, 1):
        memory.synchronize()
    return _capsule(array)


def _capsule(array):
    memory.written(array)  # it may be, by whoever gets the capsule
    n = array.ndim
    shape, strides = (ctypes.c_int64 * n)(*array.shape), (ctypes.c_int64 * n)(*array.steps)
    tensor = _Tensor(
        address(array), *where(), n, _KINDS[array.dtype.kind], 8 * array.itemsize, 1,
        ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64)), ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64)), 0,
    )  # fmt: skip
    managed = _Managed(tensor, None, _returned)
    _lent[ctypes.addressof(managed)] = managed, shape, strides, array
    return _python.PyCapsule_New(ctypes.addressof(managed), b"dltensor", ctypes.cast(_dropped, ctypes.c_void_p))


class Foreign:
    """A block of memory that belongs to another library; ``owner`` keeps it alive."""

    def __init__(self, start, count, dtype, owner):
        self.owner, self.dtype, self.known, self.derived = owner, dtype, None, {}
        self.raw = _wrap(start, count, dtype)

    def view(self, dtype):
        """Return the memory as Numba's 1-D array, in its one dtype."""
        assert dtype == self.dtype
        return self.raw


def _wrap(start, count, dtype):
    if SIMULATED:
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        buffer = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(start)
        return FakeCUDAArray(np.frombuffer(buffer, dtype))
    interface = {"shape": (count,), "typestr": dtype.str, "data": (start, False), "strides": None, "version": 3}
    return cuda.as_cuda_array(type("Memory", (), {"__cuda_array_interface__": interface})())


def take(shape, steps, start, dtype, owner):
    """Return a DeviceArray over memory that begins at the address ``start``; steps in elements.

    An array without elements has no memory of theirs, whose address may be anything.
    """
    if math.prod(shape) == 0:
        return memory.empty(shape, dtype)
    if not start:
        raise BufferError(f"dlpack: an array of shape {tuple(shape)} has no address")
    ends = [(n - 1) * step for n, step in zip(shape, steps, strict=True)]
    low, high = sum(e for e in ends if e < 0), sum(e for e in ends if e > 0)
    first = start + low * dtype.itemsize
    if first % dtype.itemsize:
        raise BufferError(f"dlpack: {dtype} elements cannot begin at the address {start:#x}; copy the array first")
    gap = first % _ALIGNMENT  # bytes of the same allocation: drivers and allocators align theirs to more
    count = high - low + 1 + gap // dtype.itemsize
    if max(count, math.prod(shape)) >= 1 << 32:
        raise BufferError(f"dlpack: kernels take fewer than 2^32 elements, got shape {tuple(shape)}")
    block = Foreign(first - gap, count, dtype, owner)
    return DeviceArray(block, tuple(shape), dtype, gap // dtype.itemsize - low, tuple(steps))


def _known(dtype, text):
    """Return the dtype if kernels compute in it, else raise."""
    if dtype not in _DTYPES.values() or not dtype.isnative:
        raise BufferError(f"dlpack: {text} is no dtype of tinyconv; convert the array first, to float32 for example")
    return dtype


def interface(array):
    """Return the ``__cuda_array_interface__`` of a DeviceArray; all kernels run in the default stream (1)."""
    if SIMULATED:
        raise AttributeError("the simulator's memory is no GPU's: there is no __cuda_array_interface__")
    memory.written(array)  # it may be, by whoever asks
    strides = None if array.flags.c_contiguous else array.strides
    data = address(array), False
    return {
        "shape": array.shape,
        "strides": strides,
        "typestr": array.dtype.str,
        "data": data,
        "version": 3,
        "stream": 1,
    }


def from_interface(source):
    """Return a DeviceArray over an object with ``__cuda_array_interface__`` (PyTorch, CuPy, JAX, Numba)."""
    given = source.__cuda_array_interface__
    dtype, shape = _known(np.dtype(given["typestr"]), given["typestr"]), tuple(given["shape"])
    if given.get("mask") is not None:
        raise BufferError("dlpack: an array with a mask cannot be taken")
    strides = given.get("strides")
    if strides is not None and any(s % dtype.itemsize for s in strides):
        raise BufferError(f"dlpack: strides of {tuple(strides)} bytes are no multiples of {dtype}'s size")
    steps = row_major(shape) if strides is None else tuple(s // dtype.itemsize for s in strides)
    if not SIMULATED:
        cuda.synchronize()  # their stream may still be writing
    return take(shape, steps, given["data"][0], dtype, source)


def from_capsule(capsule):
    """Return a DeviceArray over a DLPack capsule, which is used up; raises before that if it cannot be taken."""
    pointer = _python.PyCapsule_GetPointer(capsule, b"dltensor")
    managed = _Managed.from_address(pointer)
    t = managed.tensor
    check_device((t.device_type, t.device_id))
    dtype = _DTYPES.get((t.code, t.bits)) if t.lanes == 1 else None
    if dtype is None:
        text = f"{_NAMES.get(t.code, f'type {t.code} of ')}{t.bits}" + (f" x {t.lanes}" if t.lanes != 1 else "")
        raise BufferError(f"dlpack: {text} is no dtype of tinyconv; convert the array first, to float32 for example")
    shape = tuple(t.shape[i] for i in range(t.ndim))
    steps = tuple(t.strides[i] for i in range(t.ndim)) if t.strides else row_major(shape)
    if not SIMULATED:
        cuda.synchronize()
    _python.PyCapsule_SetName(capsule, b"used_dltensor")
    return take(shape, steps, (t.data or 0) + t.byte_offset, dtype, _Loan(managed))


def check_device(given):
    """Raise unless memory of this DLPack device is what kernels run on."""
    kind, number = map(int, given)
    if (GPU if kind == _MANAGED else kind, number) != where():
        raise BufferError(f"dlpack: kernels run on the device {where()}, and the array is on {(kind, number)}")


class _Loan:
    """What another library lent: given back when nobody here needs it."""

    def __init__(self, managed):
        self.managed = managed

    def __del__(self):
        if self.managed.deleter:
            self.managed.deleter(ctypes.byref(self.managed))
