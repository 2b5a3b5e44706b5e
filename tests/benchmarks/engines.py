"""Both engines in one process, with the same number of threads."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class BenchmarkError(RuntimeError):
    """A wrong argument, something that is not installed, engines that disagree: the command line shows one line."""


def load_torch() -> Any:
    """Import PyTorch, or raise one line."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise BenchmarkError("benchmarks: PyTorch is not installed; run `make bench`, or `pip install torch`") from None


def all_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside, tinyconv, PyTorch and NumPy's BLAS have ``count`` threads each.

    Raises
    ------
    BenchmarkError
        Numba was started with fewer.
    """
    from threadpoolctl import threadpool_limits

    from tinyconv_kernels.switches import cores, switches

    torch = load_torch()
    most = cores()
    if not 1 <= count <= most:
        raise BenchmarkError(f"--threads: wanted 1 to {most} (cores that this process may use), got {count}")
    before = switches["threads"], torch.get_num_threads()
    with threadpool_limits(count, user_api="blas"):
        switches["threads"] = count
        torch.set_num_threads(count)
        try:
            yield
        finally:
            switches["threads"] = before[0]
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
