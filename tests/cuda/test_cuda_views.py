"""Views of device memory: where NumPy has one, a DeviceArray has the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_device import home, kernels

import tinyconv as tc

pytestmark = pytest.mark.cuda


@st.composite
def reshapes(draw):
    """Return (a NumPy view of 0, 1, 2, ..., how it was made, another shape of as many elements)."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    order = draw(st.permutations(range(len(shape))))
    key = tuple(draw(st.sampled_from([slice(None), slice(None, None, 2), slice(None, None, -1), slice(1, None)]))
                for _ in shape)  # fmt: skip
    array = np.arange(np.prod(shape)).reshape(shape).transpose(order)[key]
    sizes, rest = [], array.size
    while rest > 1:
        sizes.append(draw(st.sampled_from([n for n in range(2, rest + 1) if rest % n == 0])))
        rest //= sizes[-1]
    wanted = [n for size in sizes for n in draw(st.sampled_from([[size], [1, size]]))]
    wanted += draw(st.sampled_from([[], [1]]))
    return shape, order, key, array, tuple(wanted) if array.size else (0, 3)


@settings(max_examples=100)
@given(reshapes())
def test_a_reshape_is_a_view_where_numpys_is(made):
    shape, order, key, array, wanted = made
    on_device = kernels("memory").to_device(np.arange(np.prod(shape)).reshape(shape)).transpose(order)[key]
    theirs, ours = array.reshape(wanted), on_device.reshape(wanted)
    np.testing.assert_array_equal(home(ours), theirs)
    if array.size:
        assert np.shares_memory(theirs, array) == (ours.block is on_device.block)


def test_view_cuts_an_axis_of_a_strided_tensor():
    for device in ("cpu", "cuda"):
        x = tc.arange(24).reshape(4, 6).to(device)
        cut = x[:, ::2].view(2, 2, 3)  # the axis of 4, whose elements are 6 apart
        x[3, 0] = 100
        assert cut.tolist()[1][1][0] == 100
        assert x.T.view(6, 2, 2).tolist() == x.T.reshape(6, 2, 2).tolist()
        with pytest.raises(ValueError, match="view: a tensor of strides .* has no view of shape"):
            x.T.view(3, 8)
