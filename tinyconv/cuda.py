"""What an NVIDIA GPU has and holds; PyTorch's names. Nothing of CUDA is imported before a function here is called."""

from __future__ import annotations

from typing import Any

from tinyconv import device


def is_available() -> bool:
    """Return whether ``device="cuda"`` can be used here: a GPU, or the simulator."""
    try:
        device.check_name("cuda")
    except RuntimeError:
        return False
    return True


def _memory() -> Any:
    device.check_name("cuda")
    from tinyconv_kernels.cuda import memory

    return memory


def device_name() -> str:
    """Return the GPU's name, "simulator" for the simulator."""
    return str(_memory().device_name())


def synchronize() -> None:
    """Wait until all kernels have finished: they run while Python goes on."""
    _memory().synchronize()


def memory_allocated() -> int:
    """Return how many bytes of device memory arrays hold."""
    return int(_memory().memory_allocated())


def memory_reserved() -> int:
    """Return how many bytes this process holds: in arrays, and kept for the next ones."""
    return int(_memory().memory_reserved())


def empty_cache() -> None:
    """Give memory that is kept for later arrays back to the driver."""
    _memory().empty_cache()
