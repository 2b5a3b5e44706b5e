"""Indexing by position; definition: ``reference/index.py``. Sums run in one thread, in order: the same on every run."""

import numpy as np
from numba import njit


def gather(x_flat, positions, out):
    """Writes out[i] = x_flat[positions[i]]; out has the shape of positions."""
    np.take(x_flat, positions, out=out)


def scatter_add(dy, positions, dx_flat):
    """One thread owns the array. ADDS to dx_flat[positions[i]] the element dy[i]."""
    _scatter_add(dy.reshape(-1), positions.reshape(-1), dx_flat)


@njit(cache=True)
def _scatter_add(dy, positions, dx_flat):
    for i in range(positions.size):
        dx_flat[positions[i]] += dy[i]


def embedding_forward(weight, index, out):
    """Writes out[i] = weight[index[i]]; weight (V, D), index (...), out (..., D)."""
    np.take(weight, index, axis=0, out=out)


def embedding_backward(dy, index, dweight):
    """One thread owns the array. Writes dweight: zero, then dy[i] added to row index[i]."""
    _embedding_backward(dy.reshape(index.size, dweight.shape[1]), index.reshape(-1), dweight)


@njit(cache=True)
def _embedding_backward(dy, index, dweight):
    dweight[:] = 0
    for i in range(index.size):
        row = dweight[index[i]]
        for d in range(row.size):
            row[d] += dy[i, d]
