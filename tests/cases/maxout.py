"""Maxout: units of linear layers and of maps, any axis, one piece, ties and NaN."""

from __future__ import annotations

from typing import Any

from .case import Case


def _torch_maxout(x: Any, pieces: int, dim: int = 1) -> Any:
    """PyTorch has no maxout; of several NaN its maximum over an axis takes the first, its max-pooling the last."""
    stacked = x.unflatten(dim, (x.shape[dim] // pieces, pieces))
    if not x.isnan().any():
        return stacked.max(dim % x.ndim + 1).values
    from torch.nn.functional import max_pool1d

    last = stacked.movedim(dim % x.ndim + 1, -1)
    return max_pool1d(last.reshape(1, -1, pieces), pieces).reshape(last.shape[:-1])


def _maxout(shape: tuple[int, ...], pieces: int, values: str = "distinct", note: str = "", **options: int) -> Case:
    return Case("maxout", (shape,), {"pieces": pieces, **options}, values, torch=_torch_maxout, note=note)


CASES = [
    _maxout((4, 15), 5),  # a linear layer's
    _maxout((4, 6), 2),
    _maxout((4, 6), 6),
    _maxout((2, 6, 4, 3), 3),  # a convolution's
    _maxout((2, 6, 5), 2),
    _maxout((4, 6), 1, note="one piece"),
    _maxout((2, 5, 4, 6), 2, dim=-1),
    _maxout((6, 5), 3, dim=0),
    _maxout((6,), 2, dim=0),
    _maxout((0, 6), 2, note="empty batch"),
    _maxout((0, 6, 4, 4), 2, note="empty batch"),
    *[_maxout(shape, 4, values) for shape in ((5, 12), (3, 8, 3, 2)) for values in ("ties", "nan")],
    _maxout((300, 1000), 5, note="large enough for threads"),
]
