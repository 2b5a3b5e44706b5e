"""Arithmetic beyond the table: broadcasting of any shapes, matrix products, messages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes

import tinyconv as tc
from tinyconv import Tensor, gradcheck

PAIRS = shapes.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3)
BINARY = [tc.add, tc.sub, tc.mul, tc.maximum, tc.minimum, lambda x, y: tc.where(x > y, x, y)]


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@given(PAIRS, st.sampled_from(BINARY))
def test_broadcasting_of_any_shapes(pair, op):
    a, b = (Tensor(numbers(i, *s), requires_grad=True) for i, s in enumerate(pair.input_shapes))
    y = op(a, b)
    assert y.shape == pair.result_shape
    upstream = numbers(2, *y.shape)
    y.backward(Tensor(np.asarray(upstream)))
    for x in (a, b):
        assert x.grad.shape == x.shape
    # Both gradients together are the upstream gradient's flow along the diagonal: f(x + t, y + t), t a number.
    together = a.grad.numpy().sum() + b.grad.numpy().sum()
    if op in (tc.add,):
        assert together == pytest.approx(2 * upstream.sum())
    elif op is tc.sub:
        assert together == pytest.approx(0, abs=1e-9)
    elif op is not tc.mul:
        assert together == pytest.approx(upstream.sum())


@given(PAIRS)
def test_gradients_of_broadcast_products(pair):
    assert gradcheck(lambda x, y: x * y + x / (y * y + 1), [numbers(i, *s) for i, s in enumerate(pair.input_shapes)])


@given(shapes.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=3, max_side=3))
def test_matmul_of_any_shapes(pair):
    a, b = (numbers(i, *s) for i, s in enumerate(pair.input_shapes))
    np.testing.assert_allclose(tc.matmul(Tensor(a), Tensor(b)).numpy(), np.matmul(a, b), atol=1e-12)
    assert gradcheck(tc.matmul, [a, b])


def test_a_product_of_many_matrices_with_one_needs_no_array_per_matrix():
    x, w = Tensor(np.ones((50, 2, 30)), requires_grad=True), Tensor(np.ones((30, 40)), requires_grad=True)
    y = x @ w
    product = y.node.inputs[0]
    assert product.name == "MatMul" and product.outputs[0][0] == (100, 40)
    y.sum().backward()
    assert w.grad.tolist() == np.full((30, 40), 100.0).tolist() and x.grad.shape == x.shape


def test_ties_share_the_gradient():
    x, y = (Tensor(np.array([1.0, 2, 3]), requires_grad=True) for _ in range(2))
    tc.maximum(x, y).sum().backward()
    assert x.grad.tolist() == y.grad.tolist() == [0.5, 0.5, 0.5]


def test_infinities_pass_without_a_warning():
    x = tc.tensor([0.0, -1.0, 1000.0])
    assert (1 / x).tolist()[0] == np.inf and np.isnan((x / x).numpy()[0])
    assert np.isnan((x**0.5).numpy()[1]) and (10.0**x).numpy()[2] == np.inf
    assert (x.double() * 1e308 * 10).numpy()[2] == np.inf


def test_booleans_count_as_numbers_beside_numbers():
    assert (tc.arange(3) - (tc.arange(3) > 1) - True).tolist() == [-1, 0, 0]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: x + tc.zeros(3), ValueError, "add: shapes (2, 4) and (3,) cannot be broadcast together"),
        (lambda x: x == tc.zeros(3), ValueError, "eq: shapes (2, 4) and (3,) cannot be broadcast together"),
        (lambda x: tc.where(x > 0, x, tc.zeros(3)), ValueError, "where: shapes (2, 4) and (2, 4) and (3,) cannot be"),
        (lambda x: x + "1", TypeError, "add: operands must be Tensors, arrays or numbers, got str"),
        (lambda x: None * x, TypeError, "mul: operands must be Tensors, arrays or numbers, got NoneType"),
        (lambda x: tc.add(1, 2), TypeError, "add: one operand must be a Tensor, got int; wrap it in tinyconv.tensor"),
        (
            lambda x: tc.where(x, x, x),
            TypeError,
            "where: condition must be a bool tensor, got float32; compare something",
        ),
        (lambda x: x @ x, ValueError, "matmul: wanted (..., M, K) @ (..., K, N), got (2, 4) @ (2, 4)"),
        (lambda x: x @ tc.tensor(1.0), ValueError, "matmul: wanted (..., M, K) @ (..., K, N), got (2, 4) @ ()"),
        (lambda x: x @ x.double().T, TypeError, "matmul: x and y must have one dtype, got float32 and float64"),
        (
            lambda x: tc.zeros(2, 1, 3) @ tc.zeros(3, 3, 1),
            ValueError,
            "matmul (batch axes): shapes (2,) and (3,) cannot",
        ),
        (lambda x: x @ 2, TypeError, "matmul: y must be a Tensor, got int"),
        (
            lambda x: (x > 0) - (x > 0),
            TypeError,
            "sub: booleans cannot be subtracted; convert them with .long(), or use !=",
        ),
        (lambda x: -(x > 0), TypeError, "neg: booleans cannot be negated; use ~ or .long()"),
        (
            lambda x: tc.arange(3) ** -1,
            ValueError,
            "pow: integers have no negative integer powers; convert with .float()",
        ),
        (lambda x: tc.arange(3) ** tc.tensor([-1, 0, 1]), ValueError, "pow: integers have no negative integer powers"),
        (lambda x: tc.logical_not([1]), TypeError, "logical_not: x must be a Tensor, got list"),
        (lambda x: tc.isnan(3.0), TypeError, "isnan: x must be a Tensor, got float"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call(tc.zeros(2, 4))
    assert message in str(caught.value)


def test_linear_says_what_to_do_with_feature_maps():
    with pytest.raises(ValueError) as caught:
        tc.functional.linear(tc.zeros(2, 3, 4, 4), tc.zeros(10, 48))
    assert str(caught.value) == (
        "linear: x must be (..., 48) for a weight of shape (10, 48), got shape (2, 3, 4, 4); "
        "flatten feature maps with x.flatten(1)"
    )


def test_linear_gives_its_weight_a_gradient_in_the_weights_layout():
    """The optimiser and the checkpoint want it so; turning a transposed one round took longer than the product."""
    x, w, b = (Tensor(numbers(i, *s), requires_grad=True) for i, s in enumerate([(2, 5, 4), (3, 4), (3,)]))
    tc.nn.functional.linear(x, w, b).sum().backward()
    assert w.grad.data.flags.c_contiguous and w.grad.data.base is None
    np.testing.assert_allclose(w.grad.numpy(), np.tile(x.data.sum((0, 1)), (3, 1)))
    assert b.grad.tolist() == [10, 10, 10]
