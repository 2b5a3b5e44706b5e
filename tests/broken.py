"""Operations with a wrong gradient, for the tests of gradcheck."""

from __future__ import annotations

import numpy as np
import pytest

from tinyconv import Function, GradientError, gradcheck


def square(spoil=lambda g: g):
    """Return the Function x * x with a spoilt gradient."""

    def forward(ctx, x):
        ctx.save(x)
        return x * x

    def backward(ctx, dy):
        return spoil(2 * ctx.saved[0] * dy)

    return function("Square", forward, backward)


def function(name, forward, backward):
    """Return a Function of these two methods."""
    return type(name, (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


def numbers(*shape, seed=0):
    """Return values away from 0, all different."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape)


def failure(fn, *inputs, **options) -> GradientError:
    """Return the error that the check must raise."""
    with pytest.raises(GradientError) as caught:
        gradcheck(fn, inputs, **options)
    return caught.value


def changed(key, factor):
    def spoil(g):
        g = g.copy()
        g[key] *= factor
        return g

    return spoil
