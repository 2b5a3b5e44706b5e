"""Reductions as NumPy calls that write straight into ``out``; definition: ``reference/reduce.py``."""

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


@_quiet
def reduce_sum(x, out, axes):
    """One output sums the elements along the axes. Writes out (in out's dtype: booleans may be counted)."""
    np.add.reduce(x, axis=axes, dtype=out.dtype, out=out, keepdims=True)


@_quiet
def reduce_max(x, out, axes):
    """One output is the largest element along the axes, NaN if one is NaN. Writes out."""
    np.maximum.reduce(x, axis=axes, out=out, keepdims=True)


@_quiet
def reduce_min(x, out, axes):
    """One output is the smallest element along the axes, NaN if one is NaN. Writes out."""
    np.minimum.reduce(x, axis=axes, out=out, keepdims=True)


def argmax(x, out, axis):
    """One output is the position of the largest element on the axis. Writes out (int64); first wins, NaN beats all."""
    np.argmax(x, axis=axis, out=out)


def argmin(x, out, axis):
    """One output is the position of the smallest on the axis. Writes out (int64); first wins, NaN beats all."""
    np.argmin(x, axis=axis, out=out)
