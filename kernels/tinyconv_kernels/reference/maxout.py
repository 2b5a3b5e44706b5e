"""Maxout, defined: NumPy over the pieces, all units at once. x is (N, U, P, M).

Source: Goodfellow et al. 2013, "Maxout Networks", sec. 3. Ties and NaN are those of ``max_pool2d``.
"""

import numpy as np


def maxout_forward(x, y, switches):
    """One output is the largest of its unit's P pieces. Writes y (N, U, M) and switches (int64, the winning piece).

    First maximum wins; a NaN beats every number and the last NaN is kept.
    """
    y[...], switches[...] = x[:, :, 0], 0
    for p in range(1, x.shape[2]):
        piece = x[:, :, p]
        take = (piece > y) | np.isnan(piece)  # > and not >=: the first maximum wins
        y[take], switches[take] = piece[take], p


def maxout_backward(dy, switches, dx):
    """A piece takes its unit's dy where it won, else 0: losing pieces learn nothing. Writes dx (N, U, P, M)."""
    for p in range(dx.shape[2]):
        dx[:, :, p] = np.where(switches == p, dy, 0)
