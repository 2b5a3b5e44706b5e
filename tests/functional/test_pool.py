"""Pooling options whose value reaches no second implementation in the table of cases."""

import tinyconv as tc
from tinyconv.nn import functional as F


def test_avg_pool2d_divides_by_the_divisor_given():
    assert F.avg_pool2d(tc.ones(1, 1, 2, 2), 2, divisor_override=16).tolist() == [[[[0.25]]]]
