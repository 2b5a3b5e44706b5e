"""Making tensors: dtypes as PyTorch has them, what is copied and what is shared, and how errors read."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Tensor


@pytest.mark.parametrize(
    "data, dtype",
    [
        (1.5, "float32"),
        ([1.0, 2.0], "float32"),
        ([1, 2.0], "float32"),
        ([], "float32"),
        (3, "int64"),
        ([[1, 2], [3, 4]], "int64"),
        (True, "bool"),
        ([True, False], "bool"),
        (np.float64(1.5), "float64"),
        (np.float32(1.5), "float32"),
        (np.ones(2), "float64"),
        (np.ones(2, np.float32), "float32"),
        (np.ones(2, np.uint8), "uint8"),
        (np.ones(2, ">f4"), "float32"),
    ],
)
def test_tensor_dtype(data, dtype):
    found = tc.tensor(data)
    assert found.dtype == dtype and found.dtype.isnative
    np.testing.assert_array_equal(found.numpy(), np.asarray(data))


def test_tensor_dtypes_are_pytorch_s():
    torch = pytest.importorskip("torch")
    for data in (
        1.5,
        [1.0],
        [1, 2.0],
        [],
        3,
        [1],
        True,
        [True],
        [[1.0], [2.0]],
        np.float64(1.5),
        np.ones(2),
        np.ones(2, np.int32),
    ):
        assert str(tc.tensor(data).dtype) == str(torch.tensor(data).dtype).removeprefix("torch.")


DTYPE_RULES = [
    lambda lib, x, i, b, d, z: x * 2.5,
    lambda lib, x, i, b, d, z: i * 2.5,
    lambda lib, x, i, b, d, z: i * 2,
    lambda lib, x, i, b, d, z: b * 2,
    lambda lib, x, i, b, d, z: b * 2.5,
    lambda lib, x, i, b, d, z: b + b,
    lambda lib, x, i, b, d, z: i / 2,
    lambda lib, x, i, b, d, z: i / i,
    lambda lib, x, i, b, d, z: 1 / i,
    lambda lib, x, i, b, d, z: x * i,
    lambda lib, x, i, b, d, z: x * d,
    lambda lib, x, i, b, d, z: d * 2.5,
    lambda lib, x, i, b, d, z: x * z,
    lambda lib, x, i, b, d, z: z * x,
    lambda lib, x, i, b, d, z: i * z,
    lambda lib, x, i, b, d, z: z * 2.5,
    lambda lib, x, i, b, d, z: z * z,
    lambda lib, x, i, b, d, z: i * i.sum(),
    lambda lib, x, i, b, d, z: i**2,
    lambda lib, x, i, b, d, z: x**i,
    lambda lib, x, i, b, d, z: 2**x,
    lambda lib, x, i, b, d, z: i.sum(),
    lambda lib, x, i, b, d, z: b.sum(),
    lambda lib, x, i, b, d, z: x.sum() + d.sum(),
    lambda lib, x, i, b, d, z: x == i,
    lambda lib, x, i, b, d, z: lib.where(b, x, d),
    lambda lib, x, i, b, d, z: lib.where(b, i, 2.5),
    lambda lib, x, i, b, d, z: lib.maximum(x, d),
    lambda lib, x, i, b, d, z: lib.cat([x, d]),
    lambda lib, x, i, b, d, z: lib.cat([i, x]),
    lambda lib, x, i, b, d, z: lib.cat([b, i]),
    lambda lib, x, i, b, d, z: x.argmax(),
    lambda lib, x, i, b, d, z: i.max(),
    lambda lib, x, i, b, d, z: lib.full((2,), 1),
    lambda lib, x, i, b, d, z: lib.full((2,), 1.0),
    lambda lib, x, i, b, d, z: lib.full((2,), True),
    lambda lib, x, i, b, d, z: lib.arange(3),
    lambda lib, x, i, b, d, z: lib.arange(3.0),
    lambda lib, x, i, b, d, z: lib.arange(0, 1, 0.25),
    lambda lib, x, i, b, d, z: lib.linspace(0, 1, 3),
    lambda lib, x, i, b, d, z: lib.zeros(2),
    lambda lib, x, i, b, d, z: lib.eye(2),
    lambda lib, x, i, b, d, z: lib.randn(2),
    lambda lib, x, i, b, d, z: lib.randint(0, 5, (2,)),
    lambda lib, x, i, b, d, z: lib.zeros_like(d),
]


@pytest.mark.parametrize("rule", range(len(DTYPE_RULES)))
def test_dtype_rules_are_pytorch_s(rule):
    torch = pytest.importorskip("torch")
    arrays = [np.ones(2, np.float32), np.ones(2, np.int64), np.ones(2, bool), np.ones(2), np.ones(())]
    wanted = DTYPE_RULES[rule](torch, *[torch.from_numpy(a.copy()) for a in arrays])
    found = DTYPE_RULES[rule](tc, *[Tensor(a) for a in arrays])
    assert str(found.dtype) == str(wanted.dtype).removeprefix("torch.") and found.shape == tuple(wanted.shape)


def test_tensor_copies():
    array = np.ones(2)
    x = tc.tensor(array)
    again = tc.tensor(x)
    array[0] = x.numpy()[1] = 5
    assert x.tolist() == [1, 5] and again.tolist() == [1, 1]


def test_tensor_of_a_tensor_is_a_leaf():
    x = tc.tensor([1.0], requires_grad=True) * 2
    copy = tc.tensor(x, requires_grad=True)
    assert copy.is_leaf and copy.requires_grad and tc.tensor(x).requires_grad is False
    assert tc.tensor([x[0].detach(), x[0].detach()]).tolist() == [2, 2]


def test_tensor_arguments():
    x = tc.tensor([1, 2], dtype="float64", requires_grad=True)
    assert x.dtype == np.float64 and x.requires_grad
    assert tc.tensor([1.7], dtype=tc.int64).tolist() == [1] and tc.tensor([[1.0]], device="meta").shape == (1, 1)


def test_from_numpy_shares_memory():
    array = np.zeros(2)
    tc.from_numpy(array)[0] = 5
    assert array.tolist() == [5, 0]


@pytest.mark.parametrize(
    "make, shape, dtype",
    [
        (lambda: tc.zeros(2, 3), (2, 3), "float32"),
        (lambda: tc.zeros((2, 3), dtype=tc.int8), (2, 3), "int8"),
        (lambda: tc.ones([2]), (2,), "float32"),
        (lambda: tc.zeros(()), (), "float32"),
        (lambda: tc.zeros(0, 3), (0, 3), "float32"),
        (lambda: tc.empty(2, 3, dtype=None), (2, 3), "float32"),
        (lambda: tc.full((2,), np.int64(3)), (2,), "int64"),
        (lambda: tc.full((2,), 3, dtype=tc.float64), (2,), "float64"),
        (lambda: tc.ones_like(tc.zeros(2, dtype=tc.uint8)), (2,), "uint8"),
        (lambda: tc.eye(3, dtype=tc.float64), (3, 3), "float64"),
        (lambda: tc.arange(2, 8, 3), (2,), "int64"),
        (lambda: tc.arange(3, dtype=tc.float64), (3,), "float64"),
        (lambda: tc.linspace(0, 1, 5), (5,), "float32"),
        (lambda: tc.randn(2, 3, dtype=tc.float64), (2, 3), "float64"),
        (lambda: tc.rand((4,)), (4,), "float32"),
        (lambda: tc.randint(0, 3, (2, 2)), (2, 2), "int64"),
        (lambda: tc.randperm(4), (4,), "int64"),
    ],
)
def test_shapes_and_dtypes(make, shape, dtype):
    assert (make().shape, make().dtype) == (shape, dtype)


def test_values():
    assert (
        tc.ones(2).tolist() == [1, 1] and tc.full((2,), 7).tolist() == [7, 7] and tc.eye(2).tolist() == [[1, 0], [0, 1]]
    )
    assert tc.arange(1, 6, 2).tolist() == [1, 3, 5] and tc.linspace(0, 1, 3).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("make", [tc.zeros, tc.ones, tc.empty, tc.rand, tc.randn])
def test_makers_take_device_and_gradient(make):
    x = make(2, 3, device="meta", requires_grad=True)
    assert x.device == "meta" and x.requires_grad and x.shape == (2, 3)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: tc.tensor([[1, 2], [3]]), ValueError, "tensor: nested lists must be rectangular"),
        (lambda: tc.tensor("abc"), TypeError, "tensor: dtype must be one of float32"),
        (lambda: tc.tensor(1j), TypeError, "got complex128"),
        (
            lambda: tc.tensor([1, 2], requires_grad=True),
            TypeError,
            "only float32 and float64 tensors can require a gradient, got int64",
        ),
        (lambda: tc.tensor([1.0], dtype="float99"), TypeError, "tensor: dtype must be one of float32"),
        (lambda: tc.zeros(2, -1), ValueError, "shape: sizes must be non-negative ints, got (2, -1)"),
        (lambda: tc.zeros(2.5), ValueError, "shape: sizes must be non-negative ints, got (2.5,)"),
        (lambda: tc.from_numpy([1, 2]), TypeError, "from_numpy: wanted a NumPy array, got list; use tinyconv.tensor"),
        (lambda: tc.from_numpy(np.zeros(2, np.float16)), TypeError, "dtype must be one of"),
        (lambda: tc.from_dlpack([1]), TypeError, "from_dlpack: wanted an array of a library that speaks DLPack"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


def test_randint_draws_every_number_below_high():
    assert set(tc.randint(2, 5, (200,)).tolist()) == {2, 3, 4}
