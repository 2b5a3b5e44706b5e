"""Shapes beyond the table: any shapes and borders, conversions of dtype, messages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes

import tinyconv as tc
from tinyconv import Tensor, gradcheck
from tinyconv.nn import functional as F


def ramp(*shape):
    return np.arange(float(np.prod(shape))).reshape(shape)


@given(st.permutations(range(4)), st.sampled_from([(-1,), (4, -1), (2, 2, 3, -1), (24,), (1, 24, 1)]))
def test_reshape_of_any_permutation(dims, shape):
    array = ramp(2, 3, 4, 1)
    x = Tensor(array).permute(dims)
    np.testing.assert_array_equal(x.reshape(shape).numpy(), array.transpose(dims).reshape(shape))
    assert gradcheck(lambda x: x.permute(dims).reshape(shape) * Tensor(ramp(24).reshape(shape)), [array])


@given(shapes.array_shapes(max_dims=3, max_side=4), st.data())
def test_pad_of_any_width(shape, data):
    mode = data.draw(st.sampled_from(["constant", "replicate", "reflect"]))
    widths = [data.draw(st.tuples(*[st.integers(0, n - 1 if mode == "reflect" else 3)] * 2)) for n in shape]
    flat = [w for pair in widths[::-1] for w in pair]
    wanted = np.pad(ramp(*shape), widths, {"replicate": "edge"}.get(mode, mode))
    np.testing.assert_array_equal(F.pad(Tensor(ramp(*shape)), flat, mode).numpy(), wanted)
    assert gradcheck(lambda x: F.pad(x, flat, mode), [ramp(*shape)])


@given(shapes.array_shapes(min_dims=1, max_dims=3, max_side=5), st.data())
def test_split_and_cat_are_each_others_inverse(shape, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = Tensor(ramp(*shape))
    for parts in (x.split(data.draw(st.integers(1, 6)), dim), x.chunk(data.draw(st.integers(1, 6)), dim)):
        np.testing.assert_array_equal(tc.cat(parts, dim).numpy(), x.numpy())


def test_to_another_dtype_carries_the_gradient_back():
    x = Tensor(np.array([1.0, 2], np.float32), requires_grad=True)
    (x.double() * 3).sum().backward()
    assert x.grad.dtype == np.float32 and x.grad.tolist() == [3, 3]
    assert not x.long().requires_grad and x.to("float32") is x


def test_integers_are_cut_and_nan_is_no_warning():
    x = tc.tensor([1.9, -1.9, float("inf"), float("nan")])
    assert x.long().tolist()[:2] == [1, -1]


def test_clone_is_recorded_and_contiguous_copies_only_if_it_must():
    x = Tensor(ramp(2, 3), requires_grad=True)
    assert x.contiguous() is x and x.T.contiguous().data.flags.c_contiguous
    x.clone().sum().backward()
    assert x.grad.tolist() == [[1] * 3] * 2


def test_stack_of_transposed_tensors():
    x = Tensor(ramp(2, 3)).T
    assert tc.stack([x, x], 1).shape == (3, 2, 2) and tc.stack([x, x], -1)[0].tolist() == [[0, 0], [3, 3]]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: x.reshape(4), ValueError, "reshape: 6 elements of shape (2, 3) do not fit into (4,)"),
        (lambda x: x.reshape(-1, 4), ValueError, "reshape: 6 elements of shape (2, 3) do not fit into (-1, 4)"),
        (
            lambda x: x.reshape(-1, -1),
            ValueError,
            "reshape: at most one size may be -1 and the others must not be negative",
        ),
        (lambda x: x.reshape(-2, 3), ValueError, "reshape: at most one size may be -1"),
        (lambda x: x.flatten(1, 0), ValueError, "flatten: start_dim must not come after end_dim, got 1 and 0"),
        (lambda x: x.squeeze(5), IndexError, "squeeze: dim must be in [-2, 1], got 5"),
        (lambda x: x.unsqueeze(4), IndexError, "unsqueeze: dim must be in [-3, 2], got 4"),
        (lambda x: x.permute(0, 0), ValueError, "permute: dims must name each of the 2 axes once, got (0, 0)"),
        (lambda x: x.permute(0), ValueError, "permute: dims must name each of the 2 axes once, got (0,)"),
        (lambda x: x.transpose(0, 2), IndexError, "transpose: dim must be in [-2, 1], got 2"),
        (
            lambda x: x.expand(4, 3),
            ValueError,
            "expand: shape (2, 3) cannot be expanded to (4, 3); only axes of size 1 can grow",
        ),
        (lambda x: x[:1].expand(-2, 3), ValueError, "expand: shape (1, 3) cannot be expanded to (-2, 3)"),
        (lambda x: x.expand(3), ValueError, "expand: shape (2, 3) cannot be expanded to (3,)"),
        (lambda x: tc.cat([]), ValueError, "cat: wanted a list of at least one tensor"),
        (lambda x: tc.cat(x), ValueError, "cat: wanted a list of at least one tensor"),
        (
            lambda x: tc.cat([x, tc.zeros(2, 4)]),
            ValueError,
            "cat: tensor 1 must have shape (2, 3) as tensor 0 has but along dim 0, got (2, 4)",
        ),
        (lambda x: tc.cat([x, tc.zeros(3)]), ValueError, "cat: tensor 1 must have shape"),
        (lambda x: tc.cat([x, 3]), TypeError, "cat: tensor 1 must be a Tensor, got int"),
        (lambda x: tc.cat([tc.tensor(1.0)]), ValueError, "cat: 0-d tensors cannot be joined; use stack"),
        (lambda x: tc.stack([]), ValueError, "stack: wanted a list of at least one tensor"),
        (
            lambda x: tc.stack([x, x[:1]]),
            ValueError,
            "stack: tensor 1 must have shape (2, 3) as tensor 0 has, got (1, 3)",
        ),
        (lambda x: x.split(0), ValueError, "split: split_size must be at least 1, got 0"),
        (lambda x: x.split([1, 2]), ValueError, "split: sizes must sum to 2, the size of axis 0, got [1, 2]"),
        (lambda x: x.split([-1, 3]), ValueError, "split: sizes must sum to 2, the size of axis 0, got [-1, 3]"),
        (lambda x: x.split(np.int64(0)), ValueError, "split: split_size must be at least 1, got 0"),
        (lambda x: x.chunk(0), ValueError, "chunk: chunks must be at least 1, got 0"),
        (
            lambda x: F.pad(x, (1,)),
            ValueError,
            "pad: wanted non-negative pairs (before, after) for at most 2 axes, got (1,)",
        ),
        (lambda x: F.pad(x, (1.5, 1)), ValueError, "pad: wanted non-negative pairs"),
        (lambda x: F.pad(x, (1, -1)), ValueError, "pad: wanted non-negative pairs"),
        (
            lambda x: F.pad(x, (3, 0), "reflect"),
            ValueError,
            "pad: a reflected border must be narrower than the image, got (3, 0) for (2, 3)",
        ),
        (
            lambda x: F.pad(x, (1, 1), "circular"),
            ValueError,
            "pad: mode must be one of 'constant', 'reflect', 'replicate', got 'circular'",
        ),
        (
            lambda x: F.pad(tc.zeros(0, 3), (0, 0, 1, 0), "replicate"),
            ValueError,
            "pad: an axis of size 0 has no border to replicate, got shape (0, 3)",
        ),
        (lambda x: x.to("float16"), TypeError, "to: dtype must be one of float32"),
        (
            lambda x: x.to("gpu"),
            ValueError,
            'to: wanted a device ("cpu", "cuda", "meta") or a dtype such as "float64", got \'gpu\'',
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call(tc.zeros(2, 3))
    assert message in str(caught.value)
