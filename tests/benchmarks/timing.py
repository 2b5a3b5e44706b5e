"""Two functions timed in turns: a pause, an untimed call, a block of calls; the other; again. See :func:`compare`."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Call = Callable[[], Any]


class Rule(NamedTuple):
    """How long and how often to measure."""

    rounds: int = 9
    block: float = 0.03  # seconds: a block has as many calls as fit, at least one
    pause: float = 0.02  # seconds: the other library's threads spin for a while after their work; then they are asleep


FULL, QUICK = Rule(), Rule(rounds=5, block=0.01)
_LONG = 0.25  # seconds: a call that takes longer needs no untimed one before it in every round


def compare(ours: Call, theirs: Call, rule: Rule = FULL) -> dict[str, Any]:
    """Time two functions in turns.

    Returns
    -------
    dict
        ``ours`` and ``torch``: [lower quartile, median, upper quartile] of the blocks' mean seconds per call;
        ``ratio``: the same of the paired ratios ours / torch, in which a slow moment of the machine cancels.
    """
    plans = [_plan(function, rule) for function in (ours, theirs)]
    times = np.empty((rule.rounds, 2))
    # Both engines' calls make objects: Python collects their cycles as it does for users, but not the imports'.
    gc.collect()
    gc.freeze()
    try:
        for i in range(rule.rounds):
            # Who goes first changes: what one leaves in the caches is not always the other's.
            for j in (0, 1) if i % 2 else (1, 0):
                times[i, j] = _block((ours, theirs)[j], *plans[j], rule.pause)
    finally:
        gc.unfreeze()
    ours_, torch_ = times.T
    return {"ours": quartiles(ours_), "torch": quartiles(torch_), "ratio": quartiles(ours_ / torch_)}


def quartiles(values: Any) -> list[float]:
    """Return [lower quartile, median, upper quartile], rounded to what a measurement can mean."""
    return [float(f"{q:.5g}") for q in np.percentile(values, (25, 50, 75))]


def _plan(function: Call, rule: Rule) -> tuple[int, bool]:
    """Return how many calls fill a block, and whether an untimed one comes before; the first of all may compile."""
    function()
    once = _block(function, 1, True, rule.pause)
    return max(1, math.ceil(rule.block / max(once, 1e-7))), once < _LONG


def _block(function: Call, calls: int, untimed: bool, pause: float) -> float:
    time.sleep(pause)
    if untimed:
        function()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls
