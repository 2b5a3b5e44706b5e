"""Elementwise kernels: which of the two is launched, and whole powers."""

from __future__ import annotations

import numpy as np
import pytest
from on_device import home, kernels, moved

pytestmark = pytest.mark.cuda


@pytest.fixture
def arguments(monkeypatch):
    """How many arguments each launch has."""
    launch, found, each = kernels("launch"), [], kernels("launch").each

    def counted(kernel, count, *rest):
        found.append(len(rest))
        each(kernel, count, *rest)

    monkeypatch.setattr(launch, "each", counted)
    return found


def test_arrays_without_gaps_take_no_sizes_and_steps(arguments):
    """Each argument of a launch costs microseconds, a tuple one for each number in it."""
    elementwise, x = kernels("elementwise"), moved(np.arange(6.0).reshape(2, 3))
    out = moved(np.zeros((2, 3)))
    elementwise.neg(x, out)
    elementwise.add(x, x, out)
    elementwise.mul(x, 2.0, out)
    elementwise.where(moved(np.ones((2, 3), bool)), x, out, out)
    elementwise.fill(out, 1.0)
    assert arguments == [5, 7, 7, 9, 5]


@pytest.mark.parametrize(
    "view", [lambda a: a.T, lambda a: a[:1], lambda a: a[..., ::-1], lambda a: a[:, :1], lambda a: a[1:2, 1:2]]
)
def test_other_views_take_them(view, arguments):
    elementwise, array = kernels("elementwise"), np.arange(16.0).reshape(4, 4)
    want, out = array + view(array), moved(np.zeros((4, 4)))
    elementwise.add(moved(array), view(moved(array)), out)
    np.testing.assert_array_equal(home(out), want)
    assert arguments == [11]


def test_a_shifted_view_of_the_output_is_no_dense_operand():
    elementwise, x = kernels("elementwise"), moved(np.arange(8.0))
    elementwise.add(x[:-1], 1.0, x[1:])
    assert home(x).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    elementwise.mul(x[1:], 2.0, x[:-1])
    assert home(x).tolist() == [2, 4, 6, 8, 10, 12, 14, 7]


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_whole_powers_are_exact_and_wrap(dtype):
    base, exponent = (np.array(v).astype(dtype) for v in ([3, 3, 2, 0, 0, 7, 255, 2], [39, 41, 62, 0, 3, 1, 3, 8]))
    want, out = np.power(base, exponent), moved(np.zeros(8, dtype))
    kernels("elementwise").pow(moved(base), moved(exponent), out)
    np.testing.assert_array_equal(home(out), want)
    assert dtype != np.int64 or want[0] == 3**39 > 2**53
