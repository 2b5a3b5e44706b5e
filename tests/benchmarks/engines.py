"""Both engines in one process: imported in the right order, with the same number of threads."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class BenchmarkError(RuntimeError):
    """A wrong argument, something that is not installed, engines that disagree: the command line shows one line."""


def load_torch() -> Any:
    """Import PyTorch, and only then tinyconv; return PyTorch.

    PyTorch's wheel brings a GNU OpenMP whose idle threads spin; tinyconv asks the system's to let them sleep. Each
    library keeps its own if PyTorch is loaded first. The other way round PyTorch would take the one that is there
    already, and its threads would sleep too, which is not how its users run it.
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise BenchmarkError("benchmarks: PyTorch is not installed; run `make bench`, or `pip install torch`") from None
    importlib.import_module("tinyconv")
    return torch


def all_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside, Numba, PyTorch and NumPy's BLAS have ``count`` threads each.

    Raises
    ------
    BenchmarkError
        Numba was started with fewer.
    """
    import numba
    from threadpoolctl import threadpool_limits

    torch = load_torch()
    most = numba.config.NUMBA_NUM_THREADS
    if not 1 <= count <= most:
        raise BenchmarkError(f"--threads: wanted 1 to {most} (cores that this process may use), got {count}")
    before = numba.get_num_threads(), torch.get_num_threads()
    with threadpool_limits(count, user_api="blas"):
        numba.set_num_threads(count)
        torch.set_num_threads(count)
        try:
            yield
        finally:
            numba.set_num_threads(before[0])
            torch.set_num_threads(before[1])


def check_equal(what: str, ours: Any, theirs: Any, tolerance: float = 1e-3) -> None:
    """Raise if two lists of arrays differ by more than ``tolerance`` of their largest value.

    A time means nothing if the two engines did not compute the same.
    """
    import numpy as np

    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            raise BenchmarkError(f"benchmarks: {what}: result {i} has shape {a.shape}, PyTorch's {b.shape}")
        error = float(np.abs(a - b).max(initial=0) / max(float(np.abs(b).max(initial=0)), 1e-30))
        if not error <= tolerance:
            raise BenchmarkError(f"benchmarks: {what}: result {i} differs from PyTorch's by {error:.1e} of its maximum")
