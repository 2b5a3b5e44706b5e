"""Indexing by position, defined: reading, and its gradient, adding in the order of the positions."""

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


def gather(x_flat, positions, out):
    """One output reads one element. Writes out[i] = x_flat[positions[i]]; out has the shape of positions."""
    for i in np.ndindex(positions.shape):
        out[i] = x_flat[positions[i]]


@_quiet
def scatter_add(dy, positions, dx_flat):
    """One element adds up the gradients of its readers, in order. ADDS to dx_flat[positions[i]] the element dy[i]."""
    for i in np.ndindex(positions.shape):
        dx_flat[positions[i]] += dy[i]


def embedding_forward(weight, index, out):
    """One index takes one row. Writes out[i] = weight[index[i]]; weight (V, D), index (...), out (..., D)."""
    for i in np.ndindex(index.shape):
        out[i] = weight[index[i]]


@_quiet
def embedding_backward(dy, index, dweight):
    """One row adds up the gradients of the places that took it, in order. Writes dweight, zero for unused rows."""
    dweight[...] = 0
    for i in np.ndindex(index.shape):
        dweight[index[i]] += dy[i]
