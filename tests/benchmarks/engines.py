"""Both engines in one process: imported in the right order, and with the same number of threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Missing(RuntimeError):
    """What the benchmark needs is not installed; the message says what to do."""


def load_torch() -> Any:
    """Import PyTorch, and only then tinyconv.

    PyTorch's wheel brings a GNU OpenMP whose idle threads spin; tinyconv asks the system's to let them sleep. Each
    library keeps its own if PyTorch is loaded first. The other way round PyTorch would use the one that is there
    already, so its threads would sleep too, which is not how its users run it.
    """
    try:
        import torch
    except ImportError:
        raise Missing("benchmarks: PyTorch is not installed; `make bench` installs it, or: pip install torch") from None
    import tinyconv  # noqa: F401

    return torch


def all_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(count: int, blas: int | None = None) -> Iterator[None]:
    """Inside, Numba, PyTorch and NumPy's BLAS have ``count`` threads each (BLAS ``blas``, where given)."""
    import numba
    from threadpoolctl import threadpool_limits

    torch = load_torch()
    before = numba.get_num_threads(), torch.get_num_threads()
    with threadpool_limits(count if blas is None else blas, user_api="blas"):
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
        torch.set_num_threads(count)
        try:
            yield
        finally:
            numba.set_num_threads(before[0])
            torch.set_num_threads(before[1])
