"""Tensors for NumPy, PyTorch and back; copies and pickles."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Tensor


def leaf(*shape):
    return Tensor(np.arange(1.0, 1 + np.prod(shape)).reshape(shape), requires_grad=True)


# ---------------------------------------------------------------------------------- leaving the engine


def test_numpy_shares_memory():
    x = tc.zeros(3)
    x.numpy()[0] = 5
    assert x.tolist() == [5, 0, 0] and np.shares_memory(np.asarray(x), x.numpy())
    assert not np.shares_memory(np.array(x), x.numpy()) and np.asarray(x, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.add(x, 1), [6, 1, 1])


@pytest.mark.parametrize("export", [lambda x: x.numpy(), np.asarray])
def test_numpy_of_a_tensor_that_requires_a_gradient(export):
    with pytest.raises(
        RuntimeError, match="numpy: this tensor requires a gradient; use tensor.detach\\(\\).numpy\\(\\)"
    ):
        export(leaf(2))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"])
def test_dlpack_with_numpy_both_ways(dtype):
    array = np.array([[0, 1], [1, 0]], dtype)
    x = tc.from_dlpack(array)
    assert x.dtype == dtype and np.shares_memory(x.data, array)
    back = np.from_dlpack(x)
    assert back.dtype == dtype and np.shares_memory(back, array)
    assert x.__dlpack_device__() == (1, 0)


def test_dlpack_of_views():
    x = tc.arange(6).reshape(2, 3)
    assert np.from_dlpack(x[:, ::-1]).tolist() == [[2, 1, 0], [5, 4, 3]]
    assert np.from_dlpack(x.T).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert np.from_dlpack(x[0, 0]).shape == () and np.from_dlpack(x[0, 0].expand(2)).tolist() == [0, 0]


def test_dlpack_of_a_tensor_that_requires_a_gradient():
    with pytest.raises(BufferError, match="dlpack: this tensor requires a gradient; export tensor.detach"):
        np.from_dlpack(leaf(2))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_dlpack_with_torch_both_ways(dtype):
    torch = pytest.importorskip("torch")
    theirs = torch.tensor([[0, 1], [1, 0]], dtype=getattr(torch, dtype))
    ours = tc.from_dlpack(theirs)
    ours[0, 0] = 1
    assert theirs[0, 0].item() == 1 and ours.dtype == dtype
    back = torch.from_dlpack(ours)
    back[1, 1] = 1
    assert theirs[1, 1].item() == 1 and ours.numpy()[1, 1] == 1
    assert torch.from_dlpack(ours.T).tolist() == theirs.T.tolist()
    np.testing.assert_array_equal(torch.as_tensor(ours.numpy()).numpy(), theirs.numpy())


def test_dlpack_of_a_dtype_that_numpy_lacks():
    torch = pytest.importorskip("torch")
    with pytest.raises(BufferError, match="from_dlpack: torch.bfloat16 is no dtype of tinyconv; convert the array"):
        tc.from_dlpack(torch.zeros(2, dtype=torch.bfloat16))
    with pytest.raises(BufferError, match="require.* gradient"):
        tc.from_dlpack(torch.zeros(2, requires_grad=True))


@pytest.mark.parametrize("use", [lambda x: x.numpy(), lambda x: x.item(), lambda x: x.tolist(), np.from_dlpack, float])
def test_meta_tensors_have_no_elements_to_give(use):
    with pytest.raises(
        RuntimeError, match='device "meta": a tensor of shape \\(1,\\) has a shape and a dtype but no elements'
    ):
        use(tc.zeros(1, device="meta"))


def test_deepcopy_and_pickle():
    x = leaf(3)
    (x * x).sum().backward()
    twin = copy.deepcopy({"a": x, "b": x})
    assert twin["a"] is twin["b"] and twin["a"].requires_grad and twin["a"].grad.tolist() == [2, 4, 6]
    assert not np.shares_memory(twin["a"].data, x.data) and not np.shares_memory(twin["a"].grad.data, x.grad.data)
    with pytest.raises(RuntimeError, match="deepcopy: only a leaf can be copied; use detach\\(\\).clone\\(\\)"):
        copy.deepcopy(x * 2)
    with pytest.raises(TypeError, match="pickle: a Tensor cannot be pickled; save tensor.numpy\\(\\), or a model with"):
        pickle.dumps(x)
