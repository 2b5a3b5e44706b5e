"""Grids of transformations: both conventions of the corners, axes of one position, points of one's own, no images."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any

from .case import Case

_POINTS = [[-1.0, -1.0], [0.5, -0.75], [-0.25, 0.5], [1.0, 1.0], [0.0, 0.1]]
_SIZES = [(5, 4), (1, 6), (3, 1), (1, 1), (8, 8)]
_CORNERS = [{"size": (2, 3, *size), "align_corners": align} for size, align in product(_SIZES, (True, False))]


def _affine(theta: Any, size: Any, align_corners: bool) -> Any:
    """Return PyTorch's grid, without what it says about axes of one position."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*unit-size grids", category=UserWarning)
        return torch.nn.functional.affine_grid(theta, size, align_corners)


def _attention(theta: Any, size: Any, align_corners: bool) -> Any:
    """Return PyTorch's grid of the affine map that scales and shifts."""
    import torch

    s, shift, none = theta[:, 0], theta[:, 1:], torch.zeros_like(theta[:, 0])
    rows = [torch.stack([s, none, shift[:, 0]], 1), torch.stack([none, s, shift[:, 1]], 1)]
    return _affine(torch.stack(rows, 1), size, align_corners)


def _projective(theta: Any, size: Any, align_corners: bool) -> Any:
    """Return the quotient of PyTorch's grids: the maps of the numerator and, twice, of the denominator."""
    import torch

    theta = theta * 0.4  # as the adapter does
    below = torch.cat([theta[:, 6:], torch.ones_like(theta[:, :1])], 1)
    above, below = (_affine(n.reshape(-1, 2, 3), size, align_corners) for n in (theta[:, :6], below.repeat(1, 2)))
    return above / below


CASES = [
    *[Case("affine_grid", ((2, 2, 3),), rule, torch=_affine) for rule in _CORNERS],
    *[Case("attention_grid", ((2, 3),), rule, torch=_attention) for rule in _CORNERS],
    *[Case("projective_grid", ((2, 8),), rule, "distinct", torch=_projective) for rule in _CORNERS],
    *[Case("thin_plate_spline_grid", ((2, 16, 2),), rule, parity=False) for rule in _CORNERS],
    Case("thin_plate_spline_grid", ((2, 5, 2),), {"size": (2, 1, 4, 3), "control": _POINTS}, parity=False),
    Case("affine_grid", ((2, 2, 3),), {"size": (2, 3, 4, 5)}, parity=False, note="corners by default"),
    *[
        Case(op, shape, {"size": (0, 3, 4, 5), "align_corners": True}, parity=False, note="no images")
        for op, *shape in (
            ("affine_grid", (0, 2, 3)), ("attention_grid", (0, 3)), ("projective_grid", (0, 8)),
            ("thin_plate_spline_grid", (0, 16, 2)),
        )
    ],
    *[
        Case(op, shape, {"size": (2, 1, 3, 4), "align_corners": True}, "nan", parity=False)
        for op, *shape in (
            ("affine_grid", (2, 2, 3)), ("attention_grid", (2, 3)), ("projective_grid", (2, 8)),
            ("thin_plate_spline_grid", (2, 16, 2)),
        )
    ],
]  # fmt: skip
