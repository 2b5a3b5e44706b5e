"""Tensor: what it is, its views and versions, writing in place, and leaving for NumPy, PyTorch and back."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Tensor


def leaf(*shape):
    return Tensor(np.arange(1.0, 1 + np.prod(shape)).reshape(shape), requires_grad=True)


# ----------------------------------------------------------------------------------------------------- what it is


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
    "x + y": lambda x, y: x + y, "x - y": lambda x, y: x - y, "x * y": lambda x, y: x * y, "x / y": lambda x, y: x / y,
    "x ** y": lambda x, y: x**y, "x @ y": lambda x, y: x @ y, "x == y": lambda x, y: x == y, "x < y": lambda x, y: x < y,
    "x <= y": lambda x, y: x <= y, "x > y": lambda x, y: x > y, "x >= y": lambda x, y: x >= y, "x != y": lambda x, y: x != y,
}  # fmt: skip


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
    "exp", "log", "sqrt", "square", "abs", "sign", "sin", "cos", "isnan", "tanh", "sigmoid", "relu", "neg", "sum", "mean",
    "var", "std", "max", "min", "argmax", "argmin", "norm", "flatten", "squeeze", "contiguous", "clone",
]  # fmt: skip


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
    same(x.unsqueeze(1).numpy(), x[:, None].numpy()), same(x[:, :1].expand(2, 3).numpy(), x[:, :1].expand((-1, 3)).numpy())
    same(x.softmax(1).log().numpy().round(5), x.log_softmax(1).numpy().round(5))
    same(x.clamp(1, 2).numpy(), np.clip(x.numpy(), 1, 2)), same(x.matmul(x.T).numpy(), (x @ x.T).numpy())
    same(x.split(1)[1].numpy(), x.chunk(2)[1].numpy())
    values, indices = x.max(1)
    assert values.tolist() == [2, 4] and indices.tolist() == [1, 2] and x.min(0, keepdim=True)[1].tolist() == [[0, 1, 0]]


def test_conversions():
    x = tc.tensor([0.0, 1.7])
    assert (x.double().dtype, x.long().tolist(), x.bool().tolist()) == (np.float64, [0, 1], [False, True])
    assert x.float() is x and x.cpu() is x and x.to(tc.float32) is x and x.to("int32").dtype == np.int32
    assert x.to("meta").device == "meta"


# ---------------------------------------------------------------------------------------------- views and versions

VIEWS = {
    "slice": lambda x: x[1:], "integer": lambda x: x[1], "new axis": lambda x: x[None], "step": lambda x: x[:, ::2],
    "reshape": lambda x: x.reshape(-1), "view": lambda x: x.view(4, 3), "permute": lambda x: x.T, "detach": lambda x: x.detach(),
    "transpose": lambda x: x.transpose(0, 1), "squeeze": lambda x: x.squeeze(), "unsqueeze": lambda x: x.unsqueeze(0),
    "flatten": lambda x: x.flatten(), "split": lambda x: x.split(2)[1], "chunk": lambda x: x.chunk(2, 1)[1],
}  # fmt: skip
COPIES = {
    "array index": lambda x: x[[0, 1]], "mask": lambda x: x[x > -1], "clone": lambda x: x.clone(),
    "reshape of a transpose": lambda x: x.T.reshape(-1), "contiguous": lambda x: x.T.contiguous(), "pad": lambda x: tc.nn.functional.pad(x, (0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
def test_views_share_memory_and_version(name):
    x = Tensor(np.ones((3, 4)))
    view = VIEWS[name](x)
    view.zero_()
    assert (x.numpy() == 0).any() and view._version is x._version and x._version.value == 1


@pytest.mark.parametrize("name", COPIES)
def test_copies_do_not(name):
    x = Tensor(np.ones((3, 4)))
    COPIES[name](x).zero_()
    assert (x.numpy() == 1).all() and x._version.value == 0


def test_expand_is_a_view_that_cannot_be_written():
    x = tc.ones(3, 1)
    wide = x.expand(3, 4)
    assert np.shares_memory(wide.data, x.data)
    with pytest.raises(RuntimeError, match="add_: elements of this tensor share memory"):
        wide += 1
    x += 1
    assert wide.tolist() == [[2] * 4] * 3


def test_view_needs_memory_in_order():
    with pytest.raises(ValueError, match="view: a tensor of strides .* has no view of shape \\(12,\\); use reshape"):
        tc.zeros(3, 4).T.view(12)


# ---------------------------------------------------------------------------------------------------------- in place


def test_in_place_arithmetic():
    x = tc.tensor([2.0, 4])
    same = x
    x += 1
    x -= tc.tensor([1.0, 1])
    x *= np.array([3.0, 2])
    x /= 2
    assert x is same and x.tolist() == [3, 4] and x.dtype == np.float32
    assert x.add_(1).sub_(2).mul_(3).div_(3).tolist() == [2, 3]
    assert x.fill_(7).tolist() == [7, 7] and x.zero_().tolist() == [0, 0] and x.copy_([1, 2]).tolist() == [1, 2]


def test_setitem():
    x = tc.zeros(3, 4)
    x[0] = 1
    x[1, 1:3] = tc.tensor([2.0, 3.0])
    x[tc.tensor([2, 2]), tc.tensor([0, 1])] = np.array([4, 5])
    x[x == 0] = -1
    assert x.tolist() == [[1, 1, 1, 1], [-1, 2, 3, -1], [4, 5, -1, -1]]
    whole = tc.arange(2)
    whole[0] = 2.7  # as PyTorch: what is written takes the tensor's dtype
    assert whole.tolist() == [2, 1]


IN_PLACE = {
    "add_": lambda x: x.add_(1), "sub_": lambda x: x.sub_(1), "mul_": lambda x: x.mul_(2), "div_": lambda x: x.div_(2),
    "fill_": lambda x: x.fill_(3), "copy_": lambda x: x.copy_(2.0), "setitem": lambda x: x.__setitem__(0, 9.0),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_tensor_that_requires_a_gradient_cannot_be_changed_in_place(name):
    x = leaf(3)
    with pytest.raises(RuntimeError, match=f"{name}: this tensor requires a gradient, and a change in place is not"):
        IN_PLACE[name](x)
    assert x.tolist() == [1, 2, 3] and x._version.value == 0
    with tc.no_grad():
        IN_PLACE[name](x)
    assert x.tolist() != [1, 2, 3] and x._version.value == 1


def test_a_value_that_requires_a_gradient_cannot_be_written():
    x = tc.zeros(3)
    with pytest.raises(RuntimeError, match="setitem: the value requires a gradient"):
        x[0] = leaf(1)
    with pytest.raises(RuntimeError, match="add_: the value requires a gradient"):
        x += leaf(3)


@pytest.mark.parametrize("name", IN_PLACE)
def test_backward_notices_that_a_saved_tensor_was_changed(name):
    x, w = Tensor(np.ones(3)), leaf(3)
    loss = (x * w).sum()
    IN_PLACE[name](x)
    with pytest.raises(RuntimeError, match="Mul: a tensor that it saved for backward was changed in place since"):
        loss.backward()


def test_backward_notices_changes_through_views_and_of_outputs():
    x, w = Tensor(np.ones(3)), leaf(3)
    loss = (x.reshape(3, 1)[1:] * w[1:].reshape(2, 1)).sum()
    x[2] = 5
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
    y = leaf(3).exp()
    with tc.no_grad():
        y += 1
    with pytest.raises(RuntimeError, match="Exp: a tensor that it saved"):
        y.sum().backward()


def test_changing_what_was_not_saved_is_allowed():
    x, w = Tensor(np.ones(3)), leaf(3)
    loss = (x + w).sum()
    x += 1
    loss.backward()
    assert w.grad.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda x: x.add_(tc.zeros(2)), ValueError, "add_: a value of shape (2,) cannot be broadcast to the tensor's shape (3,)"),
        (lambda x: x.add_(tc.zeros(1, 3)), ValueError, "add_: a value of shape (1, 3) cannot be broadcast"),
        (lambda x: x.__setitem__(slice(2), [1, 2, 3]), ValueError, "setitem: could not broadcast input array"),
        (lambda x: x.__setitem__(7, 1), IndexError, "setitem: index 7 is out of bounds for axis 0 with size 3; the tensor has shape (3,)"),
        (lambda x: x.long().add_(0.5), TypeError, "add_: the result is floating and does not fit into this int64 tensor"),
        (lambda x: x.long().div_(2), TypeError, "div_: the result is floating and does not fit into this int64 tensor"),
        (lambda x: x.bool().add_(1), TypeError, "add_: the result is integer and does not fit into this bool tensor"),
        (lambda x: x.add_("1"), TypeError, "add_: the result is no number"),
        (lambda x: x.add_(tc.zeros(3, device="meta")), RuntimeError, 'add_: self and value must be on one device, got "cpu" and "meta"'),
    ],
)  # fmt: skip
def test_in_place_errors(change, error, message):
    with pytest.raises(error) as caught:
        change(tc.zeros(3))
    assert message in str(caught.value)


# ------------------------------------------------------------------------------------------------ leaving the engine


def test_numpy_shares_memory():
    x = tc.zeros(3)
    x.numpy()[0] = 5
    assert x.tolist() == [5, 0, 0] and np.shares_memory(np.asarray(x), x.numpy())
    assert not np.shares_memory(np.array(x), x.numpy()) and np.asarray(x, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.add(x, 1), [6, 1, 1])


@pytest.mark.parametrize("export", [lambda x: x.numpy(), np.asarray])
def test_numpy_of_a_tensor_that_requires_a_gradient(export):
    with pytest.raises(RuntimeError, match="numpy: this tensor requires a gradient; use tensor.detach\\(\\).numpy\\(\\)"):
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


@pytest.mark.parametrize("use", [lambda x: x.numpy(), lambda x: x.item(), lambda x: x.tolist(), np.from_dlpack, float])
def test_meta_tensors_have_no_elements_to_give(use):
    with pytest.raises(RuntimeError, match='device "meta": a tensor of shape \\(1,\\) has a shape and a dtype but no elements'):
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
