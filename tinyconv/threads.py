"""How training steps share the machine's cores: they take turns, and idle threads sleep. See :func:`step_lock`.

Two pools of threads are at work: Numba's (GNU OpenMP with pip's wheels on Linux) and OpenBLAS's for matrix products.
The idle threads of each spin, waiting for their next work, on the cores that the other needs. One step of the
lesson-scale AlexNet (batch of 64, 2 cores, median in ms; "busy": beside four other processes) and of the paper's (16):

==================  ===============  =============  ==============  ===============
Numba's layer       OpenBLAS         lesson, alone  lesson, busy    paper, alone
==================  ===============  =============  ==============  ===============
omp                 2 threads        170            412             1200 - 1360
omp                 1 thread         59 - 66        270 - 300       1266 - 1476
omp, passive        2 threads        66 - 95        367 - 512       1137 - 1143
omp, passive        1 thread         48 - 69        72 - 320        1234 - 1259
workqueue           2 threads        89 - 102       177 - 200       1213 - 1224
workqueue           1 thread         55 - 61        68 - 91         1354 - 1399
==================  ===============  =============  ==============  ===============

Hence: OpenMP's threads sleep while they wait, and a small model has one BLAS thread. Workqueue would be as fast, but
two Python threads in it abort the process.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyconv.nn import Module

# Parameters from which matrix products are so large that a second thread saves more than the spinning costs.
_LARGE = 10_000_000

# Numba's "workqueue" layer aborts the process when two Python threads are inside parallel kernels at once (numba#8563),
# and under GNU OpenMP each of them would start a pool of its own, which fight for the same cores. So steps take turns.
_lock = threading.RLock()


def step_lock() -> Any:
    """Return the lock that :func:`tinyconv.fit` and :func:`tinyconv.evaluate` hold while a batch is computed.

    A program of your own that runs models in several threads needs it too: ``with step_lock(): model(x)``.
    """
    return _lock


def let_idle_threads_sleep() -> None:
    """Load GNU OpenMP with ``OMP_WAIT_POLICY=PASSIVE``, unless the user has chosen one; the environment stays as it is.

    It reads the variable when it is loaded, which Numba would do at the first parallel kernel.
    """
    if "OMP_WAIT_POLICY" in os.environ or os.environ.get("NUMBA_THREADING_LAYER", "default") not in ("default", "omp"):
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        importlib.import_module("numba.np.ufunc.omppool")
    except ImportError:  # no OpenMP here: Numba takes another layer
        pass
    finally:
        del os.environ["OMP_WAIT_POLICY"]


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


let_idle_threads_sleep()
