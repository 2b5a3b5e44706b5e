"""BLAS's threads beside those of the kernels: a small model is faster without them. See :func:`limited_threads`.

Kernels share their work among Python threads, which sleep when they have none. OpenBLAS's threads spin for a while
after each matrix product, on the cores that the next kernel needs. One training step in ms on 2 cores, median of 9:

==========================  ==============  ==============
network, images             1 BLAS thread   2 BLAS threads
==========================  ==============  ==============
LeNet-5, 64                 13.7            14.0
AlexNet, lesson scale, 64   51.2            76.0
AlexNet, 16                 538             540
AlexNet, torchvision's, 16  514             481
==========================  ==============  ==============
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyconv.nn import Module

# Parameters from which matrix products are so large that a second thread saves more than the spinning costs.
_LARGE = 10_000_000


class _Blas:
    """BLAS's pool of threads, limited while anybody wants it to be (models in several threads may overlap)."""

    def __init__(self) -> None:
        self.wanted = 0
        self.guard = threading.Lock()
        self.limits: Any = None

    def limit(self) -> None:
        with self.guard:
            self.wanted += 1
            if self.wanted == 1:
                from threadpoolctl import threadpool_limits

                self.limits = threadpool_limits(1, user_api="blas")

    def restore(self) -> None:
        with self.guard:
            self.wanted -= 1
            if self.wanted == 0:
                self.limits.restore_original_limits()


_blas = _Blas()


@contextmanager
def limited_threads(model: Module) -> Iterator[None]:
    """Inside, BLAS has one thread if the model is small; afterwards as many as before."""
    if sum(parameter.numel() for parameter in model.parameters()) >= _LARGE:
        yield
        return
    _blas.limit()
    try:
        yield
    finally:
        _blas.restore()
