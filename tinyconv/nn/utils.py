"""Gradients that are too large: see :func:`clip_grad_norm_`, :func:`clip_grad_value_`."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinyconv.function import no_grad
from tinyconv.functional.activation import clamp
from tinyconv.tensor import Tensor


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients by one factor, so that their common norm is at most ``max_norm``.

    g <- g min(1, max_norm / (|g| + 1e-6)), where |g|^p sums over all elements of all gradients.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
        Positive.
    norm_type : float
        p: 2, another positive number, or infinity for the largest absolute element.
    error_if_nonfinite : bool
        Raise if the norm is infinite or NaN. Otherwise the gradients are left as they are (PyTorch makes NaN of them).

    Returns
    -------
    Tensor, ()
        The norm before.

    Raises
    ------
    ValueError
        ``max_norm`` or ``norm_type`` is not positive.
    RuntimeError
        The norm is not finite, and that was asked for.
    """
    for name, value in (("max_norm", max_norm), ("norm_type", norm_type)):
        if not value > 0:
            raise ValueError(f"clip_grad_norm_: {name} must be positive, got {value}")
    gradients = _gradients(parameters)
    if norm_type == math.inf:
        norm = float(np.max([float(g.abs().max().item()) for g in gradients], initial=0.0))
    else:  # one sum per parameter in its own dtype, all of them added in float64
        total = sum(float((g * g if norm_type == 2 else g.abs() ** norm_type).sum().item()) for g in gradients)
        norm = math.sqrt(total) if norm_type == 2 else total ** (1 / norm_type)
    if math.isfinite(norm):
        if norm + 1e-6 > max_norm:
            for g in gradients:
                g.mul_(max_norm / (norm + 1e-6))
    elif error_if_nonfinite:
        raise RuntimeError(f"clip_grad_norm_: wanted gradients of a finite norm, got {norm}")
    return Tensor(np.array(norm, gradients[0].dtype if gradients else np.float32))


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of every gradient to [-clip_value, clip_value]; NaN stays."""
    if not clip_value > 0:
        raise ValueError(f"clip_grad_value_: clip_value must be positive, got {clip_value}")
    for g in _gradients(parameters):
        g.copy_(clamp(g, -clip_value, clip_value))


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in given if p.grad is not None]
