"""Images with and without a batch axis."""

from __future__ import annotations

from collections.abc import Callable

from tinyconv import errors
from tinyconv.tensor import Tensor


def batched(op: str, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return x as (N, C, H, W), and a function that takes an added batch axis away from a result."""
    errors.check_ndim(op, "x", x, (3, 4), "(N, C, H, W) or (C, H, W)")
    errors.check_float(op, "x", x)
    if x.ndim == 4:
        return x, lambda y: y
    return x.unsqueeze(0), lambda y: y.squeeze(0)
