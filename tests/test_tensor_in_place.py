"""Views share memory and version; writing in place, and what backward notices of it."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Tensor


def leaf(*shape):
    return Tensor(np.arange(1.0, 1 + np.prod(shape)).reshape(shape), requires_grad=True)


# ---------------------------------------------------------------------------------- views and versions

VIEWS = {
    "slice": lambda x: x[1:],
    "integer": lambda x: x[1],
    "new axis": lambda x: x[None],
    "step": lambda x: x[:, ::2],
    "reshape": lambda x: x.reshape(-1),
    "view": lambda x: x.view(4, 3),
    "permute": lambda x: x.T,
    "detach": lambda x: x.detach(),
    "transpose": lambda x: x.transpose(0, 1),
    "squeeze": lambda x: x.squeeze(),
    "unsqueeze": lambda x: x.unsqueeze(0),
    "flatten": lambda x: x.flatten(),
    "split": lambda x: x.split(2)[1],
    "chunk": lambda x: x.chunk(2, 1)[1],
}
COPIES = {
    "array index": lambda x: x[[0, 1]],
    "mask": lambda x: x[x > -1],
    "clone": lambda x: x.clone(),
    "reshape of a transpose": lambda x: x.T.reshape(-1),
    "contiguous": lambda x: x.T.contiguous(),
    "pad": lambda x: tc.nn.functional.pad(x, (0, 0)),
}


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


# -------------------------------------------------------------------------------------------- in place


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
    "add_": lambda x: x.add_(1),
    "sub_": lambda x: x.sub_(1),
    "mul_": lambda x: x.mul_(2),
    "div_": lambda x: x.div_(2),
    "fill_": lambda x: x.fill_(3),
    "copy_": lambda x: x.copy_(2.0),
    "setitem": lambda x: x.__setitem__(0, 9.0),
}


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
        (
            lambda x: x.add_(tc.zeros(2)),
            ValueError,
            "add_: a value of shape (2,) cannot be broadcast to the tensor's shape (3,)",
        ),
        (lambda x: x.add_(tc.zeros(1, 3)), ValueError, "add_: a value of shape (1, 3) cannot be broadcast"),
        (lambda x: x.__setitem__(slice(2), [1, 2, 3]), ValueError, "setitem: could not broadcast input array"),
        (
            lambda x: x.__setitem__(7, 1),
            IndexError,
            "setitem: index 7 is out of bounds for axis 0 with size 3; the tensor has shape (3,)",
        ),
        (
            lambda x: x.long().add_(0.5),
            TypeError,
            "add_: the result is floating and does not fit into this int64 tensor",
        ),
        (lambda x: x.long().div_(2), TypeError, "div_: the result is floating and does not fit into this int64 tensor"),
        (lambda x: x.bool().add_(1), TypeError, "add_: the result is integer and does not fit into this bool tensor"),
        (lambda x: x.add_("1"), TypeError, "add_: the result is no number"),
        (
            lambda x: x.add_(tc.zeros(3, device="meta")),
            RuntimeError,
            'add_: self and value must be on one device, got "cpu" and "meta"',
        ),
    ],
)
def test_in_place_errors(change, error, message):
    with pytest.raises(error) as caught:
        change(tc.zeros(3))
    assert message in str(caught.value)
