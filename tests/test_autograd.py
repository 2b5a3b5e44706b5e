"""backward and grad: graphs of every form, depth, whose memory a gradient is, and the messages of errors."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Function, Tensor


def leaf(*values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


# ------------------------------------------------------------------------------------- forms of graphs


def test_chain():
    x = leaf(2.0)
    (x * x * x).backward(Tensor(np.ones(1)))
    assert x.grad.tolist() == [12]


def test_the_same_tensor_twice():
    x = leaf(3.0, 4.0)
    (x + x).sum().backward()
    assert x.grad.tolist() == [2, 2]
    x.grad = None
    (x * x - x / x).sum().backward()
    assert x.grad.tolist() == [6, 8]


def test_diamond():
    # y = x^2; z = (y + 1) (y - 1) = x^4 - 1
    x = leaf(2.0, -1.0)
    y = x * x
    ((y + 1) * (y - 1)).sum().backward()
    assert x.grad.tolist() == [32, -4]


def test_a_ladder_of_diamonds_is_walked_once_per_node():
    x = y = leaf(1.0)
    for _ in range(60):  # 2^60 paths
        y = y * 0.5 + y * 0.5
    y.backward(Tensor(np.ones(1)))
    assert x.grad.tolist() == [1]


def test_two_outputs_of_one_operation():
    x = leaf(1.0, 5.0, 2.0)
    low, high = x[:1], x[1:]
    (low * high.sum()).sum().backward()
    assert x.grad.tolist() == [7, 1, 1]
    x.grad = None
    values, indices = x.max(0)
    assert not indices.requires_grad
    values.backward()
    assert x.grad.tolist() == [0, 1, 0]


def test_an_unused_output_counts_as_zero():
    class Both(Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x, 3 * x

        @staticmethod
        def backward(ctx, dy, dz):
            assert dz.shape == (2,) and not dz.any()
            return 2 * dy + 3 * dz

    x = leaf(1.0, 1.0)
    Both.apply(x)[0].sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_a_branch_without_gradient_gets_none():
    x, constant = leaf(2.0), Tensor(np.array([5.0]))
    (x * constant).sum().backward()
    assert constant.grad is None and x.grad.tolist() == [5]
    assert not (constant * constant).requires_grad and (constant * constant).node is None


def test_detach_cuts_the_graph():
    x = leaf(3.0)
    (x * x.detach()).sum().backward()
    assert x.grad.tolist() == [3]


def test_a_scalar_leaf_is_its_own_gradient():
    x = tc.tensor(5.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1


def test_gradients_add_up_over_calls():
    x = leaf(1.0)
    for _ in range(3):
        (x * 2).sum().backward()
    assert x.grad.tolist() == [6]


def test_gradients_keep_the_dtype_of_their_tensor():
    x, y = Tensor(np.ones(2, np.float32), requires_grad=True), leaf(1.0, 1.0)
    (x * y).sum().backward()
    assert x.grad.dtype == np.float32 and y.grad.dtype == np.float64


# ------------------------------------------------------------------------------------ depth and memory


def test_chain_of_100_000_nodes_without_recursion():
    class Next(Function):
        @staticmethod
        def forward(ctx, x):
            return x + 1.0

        @staticmethod
        def backward(ctx, dy):
            return dy

    x = y = leaf(1.0)
    for _ in range(100_000):
        y = Next.apply(y)
    last = weakref.ref(y.node)
    y.backward(Tensor(np.ones(1)))
    assert x.grad.tolist() == [1] and y.tolist() == [100_001]
    del y  # frees 100,000 nodes that hold each other: no recursion here either
    assert last() is None


def test_1202_layers():
    rng = np.random.default_rng(0)
    x = y = Tensor(rng.standard_normal((2, 4)), requires_grad=True)
    weights = [Tensor(np.eye(4) * 0.999, requires_grad=True) for _ in range(1202)]
    for w in weights:
        y = y + (y @ w).relu() * 1e-3
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all() and all(w.grad.shape == (4, 4) for w in weights)


def saved_arrays(y):
    return [weakref.ref(a) for a in y.node.ctx.saved]


def test_backward_frees_what_was_saved():
    y = leaf(1.0, 2.0).exp().exp()
    references = saved_arrays(y)
    total = y.sum()
    del y
    gc.disable()  # by reference counts alone, without waiting for the cycle collector
    try:
        assert references[0]() is not None
        total.backward()
        assert references[0]() is None
    finally:
        gc.enable()


def test_memory_of_a_forgotten_graph_goes_at_once():
    gc.disable()
    try:
        y = (leaf(1.0, 2.0) * 3).exp()
        references = [weakref.ref(y.node), *saved_arrays(y)]
        del y
        assert [r() for r in references] == [None, None]
    finally:
        gc.enable()


# ---------------------------------------------------------------------- a gradient's memory is its own


def assert_apart(*tensors):
    for i, a in enumerate(tensors):
        for b in tensors[i + 1 :]:
            assert not np.shares_memory(a.data, b.data)


@pytest.mark.parametrize(
    "op",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: (a + b) + (a + b),
        lambda a, b: a.reshape(3, 2).T + b.reshape(2, 3),
        lambda a, b: tc.cat([a, b]),
        lambda a, b: tc.stack([a, b]),
        lambda a, b: a.expand(2, 6) + b,
        lambda a, b: a[2:] + b[:4],
        lambda a, b: a.clone() + b.detach() + b,
    ],
)
def test_gradients_share_no_memory(op):
    a, b = leaf(*range(6)), leaf(*range(6))
    y = op(a, b)
    upstream = Tensor(np.ones(y.shape))
    y.backward(upstream)
    assert_apart(a.grad, b.grad, upstream, a, b)
    before = b.grad.numpy().copy()
    a.grad.zero_()
    np.testing.assert_array_equal(b.grad.numpy(), before)
    np.testing.assert_array_equal(upstream.numpy(), 1)


def test_a_leafs_gradient_is_not_the_callers_array():
    x, upstream = leaf(1.0, 2.0), Tensor(np.ones(2))
    x.backward(upstream)
    x.backward(upstream)
    assert upstream.tolist() == [1, 1] and x.grad.tolist() == [2, 2]


def test_captured_gradients_share_no_memory():
    x, upstream = leaf(1.0, 2.0), Tensor(np.ones(2))
    a, b = x * 2, x * 3
    y = a + b
    found = tc.grad(y, [y, a, b, x], upstream)
    assert [g.tolist() for g in found] == [[1, 1], [1, 1], [1, 1], [5, 5]]
    assert_apart(*found, upstream)


def test_a_backward_that_returns_what_it_saved():
    class Keeper(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save(np.array([1.0, 2.0]))
            return x * np.array([1.0, 2.0])

        @staticmethod
        def backward(ctx, dy):
            return ctx.saved[0]

    x = leaf(1.0, 1.0)
    y = Keeper.apply(x)
    for _ in range(3):
        y.backward(Tensor(np.ones(2)), retain_graph=True)
    assert x.grad.tolist() == [3, 6]


def test_the_same_buffer_for_two_arguments():
    class Sum(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, dy):
            fresh = 2 * dy
            return fresh, fresh

    a, b = leaf(1.0), leaf(1.0)
    Sum.apply(a, b).sum().backward()
    assert_apart(a.grad, b.grad)


# --------------------------------------------------------------------------- a second backward; grad()


def test_second_backward_is_a_clear_error():
    x = leaf(2.0)
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="Sum: backward through this graph a second time, but its buffers") as e:
        loss.backward()
    assert "call backward(retain_graph=True) the first time, or run the forward pass again" in str(e.value)
    assert x.grad.tolist() == [4]


def test_second_backward_through_a_shared_part():
    x = leaf(2.0)
    shared = x * x
    shared.sum().backward()
    with pytest.raises(RuntimeError, match="Mul: backward through this graph a second time"):
        (shared * 3).sum().backward()


def test_retain_graph():
    x = leaf(2.0)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    loss.backward()
    assert x.grad.tolist() == [12]


def test_grad_leaves_grad_alone():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    x.grad = Tensor(np.array([7.0, 7.0]))
    assert tc.grad((x * w).sum(), x).tolist() == [3, 4]
    assert x.grad.tolist() == [7, 7] and w.grad is None


def test_grad_of_intermediates_and_of_what_does_not_matter():
    x, unused = leaf(1.0, 2.0), leaf(1.0)
    hidden = x * 3
    elsewhere = x.exp()
    y = (hidden * hidden).sum()
    found = tc.grad(y, [hidden, x, unused, elsewhere], retain_graph=True)
    assert [g if g is None else g.tolist() for g in found] == [[6, 12], [18, 36], None, None]
    assert isinstance(found, tuple) and isinstance(tc.grad(y, [x]), tuple)


def test_grad_with_an_upstream_gradient():
    x = leaf(1.0, 2.0)
    assert tc.grad(x * x, x, Tensor(np.array([1.0, 10.0]))).tolist() == [2, 40]
    assert tc.grad(x * x, x, np.array([1.0, 10.0])).tolist() == [2, 40]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: (x * 2).backward(), "without a gradient argument the tensor must be a scalar, got shape (2,)"),
        (lambda x: (x * 2).backward(Tensor(np.ones(3))), "gradient must have the tensor's shape (2,), got (3,)"),
        (lambda x: (x * 2).backward(tc.ones(2, device="meta")), 'gradient must be on "cpu" as the tensor, got "meta"'),
        (lambda x: x.detach().sum().backward(), "this tensor does not require a gradient; it was made under no_grad"),
        (lambda x: tc.grad(x.sum(), [x, x.detach()]), "grad: input 1 does not require a gradient; create it with"),
        (lambda x: (x * 2).requires_grad_(False), "requires_grad_: only a leaf can be changed; use detach()"),
        (lambda x: x.detach().register_hook(print), "register_hook: this tensor does not require a gradient"),
    ],
)
def test_errors(call, message):
    with pytest.raises(RuntimeError) as caught:
        call(leaf(1.0, 2.0))
    assert message in str(caught.value)


def test_a_tensor_of_one_element_needs_no_gradient_argument():
    x = leaf(1.0, 2.0)
    (x * 2).sum().reshape(1, 1).backward()
    assert x.grad.tolist() == [2, 2]
