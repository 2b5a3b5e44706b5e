"""Tensor: what it is, its operators and its methods."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Tensor


def leaf(*shape):
    return Tensor(np.arange(1.0, 1 + np.prod(shape)).reshape(shape), requires_grad=True)


# ------------------------------------------------------------------------------------------ what it is


def test_attributes():
    x = tc.tensor([[1.0, 2, 3], [4, 5, 6]])
    assert (x.shape, x.ndim, x.dim(), x.dtype, x.device) == ((2, 3), 2, 2, np.float32, "cpu")
    assert (x.numel(), len(x), x.size(), x.size(-1), x.is_leaf, x.requires_grad) == (6, 2, (2, 3), 3, True, False)


def test_takes_an_array_without_copying():
    array = np.zeros(3)
    assert Tensor(array).data is array and Tensor([1, 2]).dtype == np.int64


@pytest.mark.parametrize(
    "data, message",
    [
        (np.zeros(2, complex), "Tensor: dtype must be one of float32"),
        (np.array(["a"]), "Tensor: dtype must be one of"),
        (np.zeros(2, np.float16), "got float16"),
        (np.zeros(2, ">f4"), "convert with array.astype(np.float32)"),
    ],
)
def test_refuses_other_dtypes(data, message):
    with pytest.raises(TypeError) as caught:
        Tensor(data)
    assert message in str(caught.value)


def test_only_floats_require_a_gradient():
    for make in (lambda: Tensor(np.arange(3), requires_grad=True), lambda: tc.arange(3).requires_grad_()):
        with pytest.raises(TypeError, match="only float32 and float64 tensors can require a gradient, got int64"):
            make()


@pytest.mark.parametrize(
    "tensor, text",
    [
        (tc.tensor([1.0, 2.5]), "tensor([1. , 2.5], dtype=float32)"),
        (tc.tensor([True]), "tensor([ True], dtype=bool)"),
        (tc.tensor(1.5, requires_grad=True), "tensor(1.5, dtype=float32, requires_grad=True)"),
        (tc.tensor(1.5, requires_grad=True) * 2, "tensor(3., dtype=float32, grad_fn=<Mul>)"),
        (tc.zeros(2, 3, device="meta"), "tensor(..., shape=(2, 3), dtype=float32, device='meta')"),
    ],
)
def test_repr(tensor, text):
    assert repr(tensor) == text


def test_repr_of_a_large_tensor_is_short():
    assert len(repr(tc.zeros(1000, 1000))) < 500


def test_one_element_is_a_number():
    x = tc.tensor([[2.5]])
    assert (x.item(), float(x), int(x), bool(x)) == (2.5, 2.5, 2, True)
    assert isinstance(tc.tensor(3).item(), int) and isinstance(tc.tensor(True).item(), bool)
    assert [10, 20, 30][tc.tensor(1)] == 20 and list(range(tc.tensor(2))) == [0, 1]


@pytest.mark.parametrize("convert", [bool, float, int, lambda x: x.item()])
def test_several_elements_are_no_number(convert):
    with pytest.raises(ValueError, match="only a tensor of one element has a value, got shape \\(2,\\)"):
        convert(tc.zeros(2))


def test_truth_of_several_elements_names_all_and_any():
    with pytest.raises(ValueError, match="use .all\\(\\) or .any\\(\\)"):
        if tc.zeros(2) == tc.zeros(2):
            pass


def test_a_float_is_no_index():
    with pytest.raises(TypeError, match="index: only an integer tensor can be an index or a count, got float32"):
        range(tc.tensor(2.7))


def test_length_and_iteration():
    assert [row.tolist() for row in tc.tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]
    assert 3 in tc.tensor([1, 3]) and 2 not in tc.tensor([1, 3])
    with pytest.raises(TypeError, match="len: a 0-d tensor has no length"):
        len(tc.tensor(1))
    with pytest.raises(TypeError, match="0-d"):
        list(tc.tensor(1))


def test_equality_is_elementwise_and_none_equals_nothing():
    x = tc.tensor([1, 2])
    assert (x == tc.tensor([1, 3])).tolist() == [True, False] and (x != 1).tolist() == [False, True]
    assert (x == None) is False and (x != None) is True  # noqa: E711
    assert {x: "hashed by identity"}[x] and x in {x}


def test_all_and_any_are_tensors_as_in_pytorch():
    x = tc.tensor([[0.0, 1], [2, 3]])
    assert x.any().item() is True and x.all().item() is False and (x == x).all()
    assert x.all(1).tolist() == [False, True] and x.any(0, keepdim=True).shape == (1, 2)
    assert x.to("meta").all().device == "meta"


def test_booleans_combine_and_integers_do_not():
    x = tc.tensor([-1.0, 0.5, 2])
    assert ((x > 0) & (x < 1)).tolist() == [False, True, False]
    assert ((x < 0) | (x > 1)).tolist() == [True, False, True] and (~(x > 0)).tolist() == [True, False, False]
    for operation in (lambda: tc.arange(3) & 1, lambda: tc.arange(3) | tc.arange(3), lambda: ~tc.arange(3)):
        with pytest.raises(TypeError, match="both sides must be bool tensors"):
            operation()


OPERATORS = {
    "x + y": lambda x, y: x + y,
    "x - y": lambda x, y: x - y,
    "x * y": lambda x, y: x * y,
    "x / y": lambda x, y: x / y,
    "x ** y": lambda x, y: x**y,
    "x @ y": lambda x, y: x @ y,
    "x == y": lambda x, y: x == y,
    "x < y": lambda x, y: x < y,
    "x <= y": lambda x, y: x <= y,
    "x > y": lambda x, y: x > y,
    "x >= y": lambda x, y: x >= y,
    "x != y": lambda x, y: x != y,
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("side", ["tensors", "array on the left", "array on the right"])
def test_operators_take_arrays_on_either_side(name, side):
    a, b = np.array([[1.0, 2], [3, 4]]), np.array([[2.0, 1], [3, 5]])
    x, y = (Tensor(a) if side != "array on the left" else a), (Tensor(b) if side != "array on the right" else b)
    found = OPERATORS[name](x, y)
    assert isinstance(found, Tensor)
    np.testing.assert_allclose(found.numpy(), OPERATORS[name](a, b))


@pytest.mark.parametrize("number", [2, 2.0, True, np.float64(2), np.int64(2)])
def test_operators_take_numbers_on_either_side(number):
    x = tc.tensor([1.0, 4])
    for op in ("x + y", "x - y", "x * y", "x / y", "x ** y"):
        for found, wanted in [
            (OPERATORS[op](x, number), OPERATORS[op](x.numpy(), number)),
            (OPERATORS[op](number, x), OPERATORS[op](number, x.numpy())),
        ]:
            assert isinstance(found, Tensor) and found.dtype == np.float32
            np.testing.assert_allclose(found.numpy(), wanted)


METHODS = [
    "exp",
    "log",
    "sqrt",
    "square",
    "abs",
    "sign",
    "sin",
    "cos",
    "isnan",
    "tanh",
    "sigmoid",
    "relu",
    "neg",
    "sum",
    "mean",
    "var",
    "std",
    "max",
    "min",
    "argmax",
    "argmin",
    "norm",
    "flatten",
    "squeeze",
    "contiguous",
    "clone",
]


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_the_functions(name):
    x = tc.tensor([[0.5, 2, 1], [3, 0.25, 4]])
    np.testing.assert_array_equal(getattr(x, name)().numpy(), getattr(tc.functional, name)(x).numpy())


def test_methods_with_arguments():
    x = tc.tensor([[0.5, 2, 1], [3, 0.25, 4]])
    same = np.testing.assert_array_equal
    for name in ("add", "sub", "mul", "div", "pow", "maximum", "minimum"):
        same(getattr(x, name)(x + 1).numpy(), getattr(tc.functional, name)(x, x + 1).numpy())
    same((-x).numpy(), -x.numpy()), same(abs(-x).numpy(), x.numpy()), same((2**x).numpy(), 2 ** x.numpy())
    same(x.reshape(3, 2).numpy(), x.reshape((3, -1)).numpy()), same(x.view(6).numpy(), x.view((6,)).numpy())
    same(x.permute(1, 0).numpy(), x.T.numpy()), same(x.transpose(0, 1).numpy(), x.permute((1, 0)).numpy())
    (
        same(x.unsqueeze(1).numpy(), x[:, None].numpy()),
        same(x[:, :1].expand(2, 3).numpy(), x[:, :1].expand((-1, 3)).numpy()),
    )
    same(x.softmax(1).log().numpy().round(5), x.log_softmax(1).numpy().round(5))
    same(x.clamp(1, 2).numpy(), np.clip(x.numpy(), 1, 2)), same(x.matmul(x.T).numpy(), (x @ x.T).numpy())
    same(x.split(1)[1].numpy(), x.chunk(2)[1].numpy())
    values, indices = x.max(1)
    assert (
        values.tolist() == [2, 4] and indices.tolist() == [1, 2] and x.min(0, keepdim=True)[1].tolist() == [[0, 1, 0]]
    )


def test_conversions():
    x = tc.tensor([0.0, 1.7])
    assert (x.double().dtype, x.long().tolist(), x.bool().tolist()) == (np.float64, [0, 1], [False, True])
    assert x.float() is x and x.cpu() is x and x.to(tc.float32) is x and x.to("int32").dtype == np.int32
    assert x.to("meta").device == "meta"
