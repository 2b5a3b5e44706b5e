"""Indexing as NumPy does it, with gradients that add up where an element is taken twice; embeddings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as keys

import tinyconv as tc
from tinyconv import Tensor, gradcheck
from tinyconv.nn import functional as F

ARRAY = np.arange(24.0).reshape(2, 3, 4)


@given(keys.basic_indices((2, 3, 4), allow_newaxis=True))
def test_slices_are_numpy_s_and_views(key):
    x = Tensor(ARRAY.copy())
    np.testing.assert_array_equal(x[key].numpy(), ARRAY[key])
    assert np.may_share_memory(x[key].data, x.data) or not x[key].numel()
    assert gradcheck(lambda x: x[key], [ARRAY])


@given(keys.integer_array_indices((2, 3, 4)))
def test_arrays_of_indices_are_numpy_s(key):
    np.testing.assert_array_equal(Tensor(ARRAY)[key].numpy(), ARRAY[key])
    as_tensors = tuple(tc.tensor(k) for k in key)
    np.testing.assert_array_equal(Tensor(ARRAY)[as_tensors].numpy(), ARRAY[key])
    assert tc.zeros(2, 3, 4, device="meta")[key].shape == ARRAY[key].shape
    assert gradcheck(lambda x: x[key], [ARRAY])


def test_an_element_taken_twice_gets_both_gradients():
    x = Tensor(np.zeros(3), requires_grad=True)
    (x[[0, 2, 2, 2]] * Tensor(np.array([1.0, 10, 100, 1000]))).sum().backward()
    assert x.grad.tolist() == [1, 0, 1110]


def test_masks():
    x = Tensor(ARRAY.copy(), requires_grad=True)
    chosen = x[x > 20]
    assert chosen.tolist() == [21, 22, 23]
    chosen.sum().backward()
    assert x.grad.numpy().sum() == 3 and x.grad.numpy()[1, 2].tolist() == [0, 1, 1, 1]
    assert x[np.array([True, False])].shape == (1, 3, 4) and x[tc.tensor(False)].shape == (0, 2, 3, 4)


def test_an_index_without_axes_takes_the_axis_away():
    x = Tensor(ARRAY)
    assert x[tc.tensor(1)].shape == (3, 4) and x[tc.tensor(1), tc.tensor(2), tc.tensor(3)].shape == ()
    assert x[np.int64(1)].shape == (3, 4) and np.may_share_memory(x[np.int64(1)].data, x.data)


def test_changing_an_index_afterwards_does_not_change_the_gradient():
    x, index = Tensor(np.zeros(3), requires_grad=True), np.array([0, 0])
    y = x[index]
    index[:] = 2
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 0]


def test_backward_notices_a_changed_embedding_index():
    table, index = Tensor(np.zeros((3, 2)), requires_grad=True), tc.tensor([0, 1])
    y = F.embedding(index, table).sum()
    index[0] = 2
    with pytest.raises(RuntimeError, match="Embedding: a tensor that it saved for backward was changed in place"):
        y.backward()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_embedding_takes_any_integers(dtype):
    table = Tensor(np.arange(6.0).reshape(3, 2))
    assert F.embedding(Tensor(np.array([[2, 0]], dtype)), table).tolist() == [[[4, 5], [0, 1]]]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda x: x[2],
            IndexError,
            "getitem: index 2 is out of bounds for axis 0 with size 2; the tensor has shape (2, 3, 4)",
        ),
        (lambda x: x[0, 0, 0, 0], IndexError, "getitem: too many indices for array"),
        (
            lambda x: x[[0, 5]],
            IndexError,
            "getitem: index 5 is out of bounds for axis 0 with size 2; the tensor has shape",
        ),
        (lambda x: x[0.5], IndexError, "getitem: only integers, slices"),
        (lambda x: x["a"], IndexError, "getitem: only integers, slices"),
        (lambda x: x[[True]], IndexError, "getitem: boolean index did not match indexed array along axis 0"),
        (
            lambda x: x[tc.tensor([0.0])],
            IndexError,
            "getitem: arrays used as indices must be of integer (or boolean) type",
        ),
        (
            lambda x: x.to("meta")[x.to("meta") > 0],
            RuntimeError,
            'device "meta": a tensor of shape (2, 3, 4) has a shape and a',
        ),
        (
            lambda x: x[tc.zeros(2, dtype=tc.int64, device="meta")],
            RuntimeError,
            'device "meta": a tensor of shape (2,) has a shape',
        ),
        (
            lambda x: F.embedding(tc.tensor([0]), x),
            ValueError,
            "embedding: weight must be (rows, columns), got shape (2, 3, 4)",
        ),
        (lambda x: F.embedding(tc.tensor([0.0]), x[0]), TypeError, "embedding: index must hold integers, got float32"),
        (
            lambda x: F.embedding(tc.tensor([2, -1, -1]), x[0]),
            IndexError,
            "embedding: index must be in [0, 3), got -1; padding is -1: np.maximum(ids, 0), and give lengths",
        ),
        (lambda x: F.embedding(tc.tensor([0, 3]), x[0]), IndexError, "embedding: index must be in [0, 3), got 3"),
        (lambda x: F.embedding([0], x[0]), TypeError, "embedding: index must be a Tensor, got list"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call(Tensor(ARRAY))
    assert message in str(caught.value)


def test_only_minus_one_may_be_padding():
    """Sentences are filled up with -1; other wrong numbers are no sentence's end."""
    table = Tensor(ARRAY)[0]
    for ids in ([-2], [-2, -1], [3]):
        with pytest.raises(IndexError) as caught:
            F.embedding(tc.tensor(ids), table)
        assert str(caught.value) == f"embedding: index must be in [0, 3), got {ids[0]}"
