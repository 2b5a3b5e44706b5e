"""How training steps share the machine's cores: they take turns. See :func:`step_lock`, :func:`limited_threads`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Numba's "workqueue" layer aborts the process when two Python threads are inside parallel kernels at once (numba#8563),
# and under GNU OpenMP each of them would start a pool of its own, which fight for the same cores. So steps take turns.
_lock = threading.RLock()


def step_lock() -> threading.RLock:
    """Return the lock that :func:`tinyconv.fit` and :func:`tinyconv.evaluate` hold while a batch is computed.

    A program of your own that runs models in several threads needs it too: ``with step_lock(): model(x)``.
    """
    return _lock


@contextmanager
def limited_threads() -> Iterator[None]:
    """Inside, BLAS uses the number of threads that goes best with Numba's."""
    yield
