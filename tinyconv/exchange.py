"""Arrays for other libraries and from them, without a copy: DLPack, and CUDA's array interface. Used by Tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import device
from tinyconv_kernels.device_array import DeviceArray


def _exchange() -> Any:
    from tinyconv_kernels.cuda import dlpack  # nobody has a DeviceArray without CUDA, or its simulator

    return dlpack


def dlpack(array: Any, **options: Any) -> Any:
    """Return the DLPack capsule of a Tensor's array."""
    if isinstance(array, DeviceArray):
        return _exchange().export(array, **options)
    # Contiguous: importers abort the process on negative strides.
    return device.contiguous(device.host(array)).__dlpack__(**options)


def dlpack_device(array: Any) -> tuple[int, int]:
    """Return DLPack's (type, number) of the device: (1, 0) is the host, (2, 0) the first GPU."""
    return _exchange().where() if isinstance(array, DeviceArray) else device.host(array).__dlpack_device__()


def cuda_array_interface(array: Any) -> dict[str, Any]:
    """Return ``__cuda_array_interface__``; AttributeError for what is not on a GPU, so that ``hasattr`` is False."""
    if not isinstance(array, DeviceArray):
        raise AttributeError('__cuda_array_interface__: this tensor is not on "cuda"')
    return _exchange().interface(array)


def take(source: Any) -> Any:
    """Return an array over the memory of another library's array, on the host or on a GPU."""
    where = source.__dlpack_device__() if hasattr(source, "__dlpack_device__") else (1, 0)
    if where[0] in (2, 13):  # kDLCUDA, kDLCUDAManaged
        device.check_name("cuda")
        _exchange().check_device(where)
        if hasattr(source, "__cuda_array_interface__"):
            return _exchange().from_interface(source)
        return _exchange().from_capsule(source.__dlpack__())
    try:
        return np.from_dlpack(source)
    except RuntimeError as problem:
        if "dtype" not in str(problem):
            raise
        dtype = getattr(source, "dtype", "its dtype")  # bfloat16, for which NumPy has no name
        raise BufferError(f"from_dlpack: {dtype} is no dtype of tinyconv; convert the array first") from None
