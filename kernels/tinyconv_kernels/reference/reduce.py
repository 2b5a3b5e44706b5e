"""Reductions, defined with NumPy; ``axes`` is a tuple of axes, reduced dimensions stay as 1."""

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


@_quiet
def reduce_sum(x, out, axes):
    """One output sums the elements along the axes. Writes out (in out's dtype: booleans may be counted)."""
    out[...] = np.sum(x, axis=axes, keepdims=True, dtype=out.dtype)


@_quiet
def reduce_max(x, out, axes):
    """One output is the largest element along the axes, NaN if one is NaN. Writes out."""
    out[...] = np.max(x, axis=axes, keepdims=True)


@_quiet
def reduce_min(x, out, axes):
    """One output is the smallest element along the axes, NaN if one is NaN. Writes out."""
    out[...] = np.min(x, axis=axes, keepdims=True)


def argmax(x, out, axis):
    """One output is the position of the largest element on the axis. Writes out (int64); first wins, NaN beats all."""
    out[...] = np.argmax(x, axis=axis)


def argmin(x, out, axis):
    """One output is the position of the smallest on the axis. Writes out (int64); first wins, NaN beats all."""
    out[...] = np.argmin(x, axis=axis)
