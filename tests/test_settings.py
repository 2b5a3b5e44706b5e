"""The knobs: threads of kernels and BLAS, and Winograd's method."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import tinyconv
from tinyconv.nn import functional as F
from tinyconv_kernels.switches import cores


@pytest.fixture
def same_threads_afterwards():
    before = tinyconv.get_num_threads()
    with threadpool_limits():
        yield
        tinyconv.set_num_threads(before)


def test_one_thread_is_one_for_kernels_and_blas(same_threads_afterwards):
    tinyconv.set_num_threads(1)
    assert tinyconv.get_num_threads() == 1
    assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}


@pytest.mark.parametrize("count", [0, -1, 1.0, "2", True, cores() + 1])
def test_a_wrong_number_of_threads(count):
    with pytest.raises(ValueError, match=r"^set_num_threads: count must be .* from 1 to \d+ \(cores\), got"):
        tinyconv.set_num_threads(count)


def convolution(rng):
    x, weight = (tinyconv.tensor(rng.standard_normal(s).astype(np.float32)) for s in ((2, 32, 16, 16), (32, 32, 3, 3)))
    return lambda: F.conv2d(x, weight, padding=1).numpy()


def test_winograd_can_be_forbidden(rng):
    y = convolution(rng)
    fast = y()
    with tinyconv.use_winograd(False):
        direct = y()
    assert not np.array_equal(fast, direct)  # another way of computing rounds differently
    np.testing.assert_allclose(fast, direct, rtol=0, atol=1e-4 * np.abs(direct).max())
    np.testing.assert_array_equal(y(), fast)
    try:
        tinyconv.use_winograd(False)
        np.testing.assert_array_equal(y(), direct)
    finally:
        tinyconv.use_winograd(True)
