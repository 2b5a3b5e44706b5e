"""Gradients that are too large: see :func:`clip_grad_norm_`, :func:`clip_grad_value_`."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinyconv import device
from tinyconv.function import no_grad
from tinyconv.tensor import Tensor


@no_grad()
def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients by one factor, so that their common L2 norm is at most ``max_norm``.

    g <- g min(1, max_norm / (|g| + 1e-6)), where |g|^2 sums over all elements of all gradients.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
        Positive.

    Returns
    -------
    float
        The norm before; infinite or NaN if a gradient is, and then the gradients are left as they are.

    Raises
    ------
    ValueError
        ``max_norm`` is not positive.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_grad_norm_: max_norm must be positive, got {max_norm}")
    gradients = _gradients(parameters)
    # One sum per parameter in its own dtype, all of them added in float64.
    norm = math.sqrt(sum(float((g * g).sum().item()) for g in gradients))
    if math.isfinite(norm) and norm + 1e-6 > max_norm:
        for g in gradients:
            g.mul_(max_norm / (norm + 1e-6))
    return norm


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of every gradient to [-clip_value, clip_value]; NaN stays."""
    if not clip_value > 0:
        raise ValueError(f"clip_grad_value_: clip_value must be positive, got {clip_value}")
    for g in _gradients(parameters):
        g.copy_(Tensor(device.move(np.clip(device.host(g.data), -clip_value, clip_value), g.device)))


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in given if p.grad is not None]
