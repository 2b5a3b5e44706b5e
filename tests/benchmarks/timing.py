"""Two functions timed in turns: pause, one untimed call, a block of calls; the other; and again. See :func:`compare`."""

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
    pause: float = 0.02  # seconds: the other library's threads, which spin for a while after their work, are then asleep


QUICK = Rule(rounds=5, block=0.01)


def compare(ours: Call, theirs: Call, rule: Rule = Rule()) -> dict[str, Any]:
    """Time two functions in turns.

    Returns
    -------
    dict
        ``ours`` and ``torch``: [lower quartile, median, upper quartile] of the blocks' mean seconds per call;
        ``ratio``: the same of the paired ratios ours / torch, in which a slow moment of the machine cancels.
    """
    calls = [_calls(function, rule) for function in (ours, theirs)]
    times = np.empty((rule.rounds, 2))
    enabled = gc.isenabled()
    gc.disable()
    try:
        for i in range(rule.rounds):
            # Who goes first changes: what one leaves in the caches is not always the other's.
            for j in (0, 1) if i % 2 else (1, 0):
                times[i, j] = _block((ours, theirs)[j], calls[j], rule.pause)
            gc.collect()
    finally:
        if enabled:
            gc.enable()
    return {"ours": quartiles(times[:, 0]), "torch": quartiles(times[:, 1]), "ratio": quartiles(times[:, 0] / times[:, 1])}


def quartiles(values: Any) -> list[float]:
    """Return [lower quartile, median, upper quartile], rounded to what a measurement can mean."""
    return [float(f"{q:.5g}") for q in np.percentile(values, (25, 50, 75))]


def _calls(function: Call, rule: Rule) -> int:
    """Return how many calls fill a block; the first call, which may compile, does not count."""
    function()
    once = _block(function, 1, rule.pause)
    return max(1, math.ceil(rule.block / max(once, 1e-7)))


def _block(function: Call, calls: int, pause: float) -> float:
    time.sleep(pause)
    function()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls
