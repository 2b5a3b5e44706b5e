"""Spectral projected gradients: minimise many functions at once, each over its own box. See :func:`minimise`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_MEMORY = 5  # values among whose largest a new one may lie
_ENOUGH = 1e-4  # share of the decrease that the slope promises
_SHORTEST = 1e-3  # of the longest step; a search that would go below it has ended

Box = tuple[np.ndarray, np.ndarray] | None
Objective = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def minimise(
    objective: Objective,
    start: np.ndarray,
    box: Box,
    longest: np.ndarray,
    *,
    steps: int,
    origin: np.ndarray,
    tolerance: float = 1e-2,
) -> np.ndarray:
    """Follow the projected gradient of N functions f_n over boxes, each with steps of its own length.

        d = P(x - a f'(x)) - x,   x <- x + b d,   a = s.s / s.y  with s, y the last changes of x and f'

    (Barzilai & Borwein 1988; Birgin, Martinez & Raydan 2000, SPG2). a is at most the longest step and at least a
    thousandth of it. b is 1, or 0.3, 0.09, ... until f has decreased against the largest of its last five values; where
    it would fall below a thousandth, the search has ended. Functions that have ended are not computed any more.

    Parameters
    ----------
    objective : callable
        (points (M, ...), which (M,)) -> values (M,) float64 and gradients (M, ...) of the functions of these numbers.
    start : array, (N, ...)
    box : (low, high) or None
        Arrays of the points' shape.
    longest : array, (N,)
        The longest a: 1 over the least curvature, if it is known.
    steps : int
        How often each function is computed at most.
    origin : array, (N, ...)
        A function has converged where a step of the longest length would move its point by less than ``tolerance``
        times the point's distance from here.

    Returns
    -------
    array, (N, ...)
        The last points that were accepted.
    """
    everyone = np.arange(len(start))
    x = inside(start, box, everyone)
    value, slope = objective(x, everyone)
    recent = np.full((len(x), _MEMORY), -np.inf)
    recent[:, 0] = value
    length, share = longest.copy(), np.ones(len(x))
    direction = inside(x - column(length, x) * slope, box, everyone) - x
    promised = dot(slope, direction)
    active = everyone
    for step in range(1, steps):
        move = inside(x[active] - column(longest[active], x) * slope[active], box, active) - x[active]
        away = x[active] - origin[active]
        still = dot(move, move) > tolerance**2 * dot(away, away)
        active = active[still & (share[active] > _SHORTEST)]
        if not active.size:
            break
        trial = inside(x[active] + column(share[active], x) * direction[active], box, active)
        found, steep = objective(trial, active)
        better = found <= recent[active].max(axis=1) + _ENOUGH * share[active] * promised[active]
        share[active[~better]] *= 0.3
        now = active[better]
        s, y = trial[better] - x[now], steep[better] - slope[now]
        curvature = dot(s, y)
        bend = np.divide(dot(s, s), curvature, out=longest[now].copy(), where=curvature > 0)
        length[now] = np.clip(bend, _SHORTEST * longest[now], longest[now])
        x[now], slope[now], share[now] = trial[better], steep[better], 1.0
        recent[now, step % _MEMORY] = found[better]
        direction[now] = inside(x[now] - column(length[now], x) * slope[now], box, now) - x[now]
        promised[now] = dot(slope[now], direction[now])
    return x


def inside(x: np.ndarray, box: Box, which: np.ndarray) -> np.ndarray:
    """Return the points nearest to x in the boxes of these numbers."""
    limits = of(box, which)
    return x.copy() if limits is None else np.clip(x, *limits)


def of(box: Box, which: np.ndarray) -> Box:
    """Return the boxes of these numbers; where all are the same, a view with stride 0, one row stands for all."""
    if box is None:
        return None
    low, high = (limit[:1] if limit.strides[0] == 0 else limit[which] for limit in box)
    return low, high


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the scalar products (N,) of N pairs, in float64."""
    shape = len(a), int(np.prod(a.shape[1:]))
    return np.einsum("ni,ni->n", a.reshape(shape), b.reshape(shape), dtype=np.float64)


def column(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return N numbers so that they multiply N arrays such as those of ``like``."""
    return values.astype(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
