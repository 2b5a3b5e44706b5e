"""For the tests of one CUDA kernel: its module, and arrays on the device that do not begin where their memory does."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest


def kernels(name: str) -> Any:
    """Return a module of tinyconv_kernels.cuda, imported only now: plain pytest loads these files, but not CUDA."""
    memory = importlib.import_module("tinyconv_kernels.cuda.memory")
    if memory.why_not():
        pytest.skip(f"{memory.why_not()}; the simulator: NUMBA_ENABLE_CUDASIM=1")
    return importlib.import_module(f"tinyconv_kernels.cuda.{name}")


def moved(array: Any, before: int = 3) -> Any:
    """Return a copy on the device, as a view into a larger array: its offset is not 0."""
    array = np.asarray(array)
    whole = np.concatenate([np.ones(before, array.dtype), array.reshape(-1), np.ones(2, array.dtype)])
    return kernels("memory").to_device(whole)[before : before + array.size].reshape(array.shape)


def home(array: Any) -> np.ndarray:
    """Return a copy in the host's memory."""
    return kernels("memory").to_host(array)
