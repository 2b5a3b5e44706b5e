"""How training steps share the machine's cores: they take turns. See :func:`step_lock`."""

from __future__ import annotations

import threading

# Numba's "workqueue" layer aborts the process when two Python threads are inside parallel kernels at once (numba#8563),
# and under GNU OpenMP each of them would start a pool of its own, which fight for the same cores. So steps take turns.
_lock = threading.RLock()


def step_lock() -> threading.RLock:
    """Return the lock that :func:`tinyconv.fit` and :func:`tinyconv.evaluate` hold while a batch is computed.

    A program of your own that runs a model in several threads needs it too: ``with step_lock(): model(x)``.
    """
    return _lock
