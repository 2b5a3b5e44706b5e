"""The layout of arrays on a device is NumPy's: every view has the shape and the elements that NumPy's has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyconv_kernels.device_array import DeviceArray


def positions(array):
    """Return which element of the block each element is."""
    index = np.indices(array.shape) if array.ndim else np.zeros((0,), int)
    return array.offset + sum((index[i] * step for i, step in enumerate(array.steps)), np.zeros(array.shape, int))


def both(shape):
    """Return a NumPy array that holds each element's position, and a DeviceArray of that shape."""
    return np.arange(int(np.prod(shape))).reshape(shape), DeviceArray(None, shape, np.float32)


def check(ours, theirs):
    assert ours.shape == theirs.shape and ours.size == theirs.size
    np.testing.assert_array_equal(positions(ours), theirs)
    if theirs.size:
        assert ours.flags.c_contiguous == theirs.flags.c_contiguous


@given(st.data())
def test_views_are_numpys(data):
    theirs, ours = both(data.draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=4)))
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(["index", "transpose", "broadcast", "swap"]))
        if kind == "index":
            key = data.draw(hnp.basic_indices(theirs.shape, allow_newaxis=True))
            key = (*key, ...) if isinstance(key, tuple) and ... not in key else key
            theirs, ours = theirs[key], ours[key]
            theirs = np.asarray(theirs)  # NumPy gives a number where no axis is left
        elif kind == "transpose":
            order = data.draw(st.permutations(range(theirs.ndim)))
            theirs, ours = theirs.transpose(order), ours.transpose(order)
        elif kind == "swap" and theirs.ndim > 1:
            theirs, ours = theirs.swapaxes(-1, -2), ours.swapaxes(-1, -2)
        elif kind == "broadcast":
            shape = (2, *(3 if n == 1 else n for n in theirs.shape))
            theirs, ours = np.broadcast_to(theirs, shape), ours.broadcast_to(shape)
        check(ours, theirs)


@pytest.mark.parametrize("shape", [(24,), (2, 12), (4, -1), (2, 3, 4, 1), (1, 24, 1)])
def test_reshape_of_a_contiguous_array_is_a_view(shape):
    theirs, ours = both((4, 6))
    check(ours.reshape(shape), theirs.reshape(shape))
    check(ours[1:3].reshape(-1), theirs[1:3].reshape(-1))
    assert ours.reshape(shape).base is ours and ours[1:].reshape(-1).base is ours


def test_axes_of_size_1_come_and_go_in_any_view():
    theirs, ours = both((4, 6))
    check(ours.T[::2].reshape(3, 1, 4), theirs.T[::2].reshape(3, 1, 4))
    check(ours[:, None].reshape(4, 6), theirs[:, None].reshape(4, 6))


def test_properties():
    x = DeviceArray(None, (2, 3), np.float64)
    assert (x.ndim, x.size, x.nbytes, x.strides, len(x)) == (2, 6, 48, (24, 8), 2)
    assert x.flags.writeable and not x.broadcast_to((4, 2, 3)).flags.writeable
    assert x.flags.owndata and not x.T.flags.owndata
    assert DeviceArray(None, (0, 3), np.int64).T.flags.c_contiguous
    assert repr(x) == "DeviceArray(shape=(2, 3), dtype=float64)"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x[2], lambda x: x[0, 0, 0], lambda x: x[[0, 1]], lambda x: x[True], lambda x: x.reshape(4),
        lambda x: x.broadcast_to((5, 3)),
    ],
)  # fmt: skip
def test_what_numpy_refuses_or_would_copy_is_an_error(wrong):
    with pytest.raises((IndexError, ValueError)):
        wrong(DeviceArray(None, (2, 3), np.float32))


@pytest.mark.parametrize("touch", [np.asarray, float, bool, list, lambda x: x.tolist(), lambda x: np.add(x, 1), np.sum])
def test_the_host_may_not_touch_elements(touch):
    with pytest.raises(TypeError):
        touch(DeviceArray(None, (1,), np.float32))
