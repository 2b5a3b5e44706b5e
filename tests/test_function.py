"""Function: a student's own operation, what the engine checks about it, and the graph it leaves."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Function, Tensor


class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save(x)
        return x * x

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved
        return 2 * x * dy


class Scale(Function):
    """x times a number and a constant array."""

    @staticmethod
    def forward(ctx, x, factor, constant=None):
        ctx.factor = factor
        return x * factor

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.factor, None


def leaf(*values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


def test_forward_and_backward():
    x = leaf(1.0, 3.0)
    y = Square.apply(x)
    assert y.tolist() == [1, 9] and y.requires_grad and not y.is_leaf
    y.sum().backward()
    assert x.grad.tolist() == [2, 6]


def test_an_argument_handed_through_is_still_guarded():
    class Identity(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, dy):
            return dy

    x = leaf(1.0, 2.0)
    hidden = x * 1.0
    through = Identity.apply(hidden)
    y = (hidden * hidden).sum()
    with tc.no_grad():
        through.add_(1)
    with pytest.raises(RuntimeError, match="Mul: a tensor that it saved for backward was changed in place"):
        y.backward()


def test_arguments_that_are_no_tensors_are_passed_on():
    x = leaf(1.0, 3.0)
    Scale.apply(x, 5).sum().backward()
    assert x.grad.tolist() == [5, 5]


def test_scalars_from_numpy_are_wrapped():
    class Total(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.shape = x.shape
            return x.sum()  # an np.float64, no array

        @staticmethod
        def backward(ctx, dy):
            return np.full(ctx.shape, dy)

    x = leaf(1.0, 3.0)
    total = Total.apply(x)
    total.backward()
    assert total.shape == () and x.grad.tolist() == [1, 1]


def test_needs_input_grad_says_what_backward_may_leave_out():
    seen = []

    class Product(Function):
        @staticmethod
        def forward(ctx, x, y, z):
            seen.append(ctx.needs_input_grad)
            return x * y

        @staticmethod
        def backward(ctx, dy):
            seen.append(ctx.needs_input_grad)
            return dy, None, None

    x, y = leaf(2.0), Tensor(np.ones(1))
    Product.apply(x, y, 3).backward(Tensor(np.ones(1)))
    Product.apply(y, y, 3)
    with tc.no_grad():
        Product.apply(x, y, 3)
    assert seen == [(True, False, False), (True, False, False), (False, False, False), (False, False, False)]


def test_integer_outputs_have_no_gradient():
    class Largest(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save(x)
            return x.max(), x.argmax(), x > 0

        @staticmethod
        def backward(ctx, dy, *others):
            assert [o.dtype.kind for o in others] == ["i", "b"]
            dx = np.zeros_like(ctx.saved[0])
            dx[ctx.saved[0].argmax()] = dy
            return dx

    x = leaf(1.0, 7.0, 2.0)
    value, index, positive = Largest.apply(x)
    assert (index.requires_grad, positive.requires_grad) == (False, False)
    value.backward()
    assert x.grad.tolist() == [0, 1, 0]


def test_marked_outputs_have_no_gradient():
    class WithCount(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_non_differentiable(1)
            return x * 2, np.array(3.0)

        @staticmethod
        def backward(ctx, dy, _):
            return dy * 2

    y, count = WithCount.apply(leaf(1.0))
    assert y.requires_grad and not count.requires_grad and count.is_leaf


@pytest.mark.parametrize(
    "returned, message",
    [
        (
            lambda dy: dy[:1],
            "Broken.backward: the gradient of argument 0 must have the argument's shape (2,), got (1,)",
        ),
        (lambda dy: dy.sum(), "argument 0 must have the argument's shape (2,), got ()"),
        (lambda dy: (dy, dy), "Broken.backward: wanted 1 gradients, one per argument of forward, got 2"),
        (lambda dy: (), "wanted 1 gradients, one per argument of forward, got 0"),
    ],
)
def test_gradients_are_checked_and_the_operation_named(returned, message):
    class Broken(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, dy):
            return returned(dy)

    with pytest.raises(RuntimeError) as caught:
        Broken.apply(leaf(1.0, 2.0)).sum().backward()
    assert message in str(caught.value)


def test_gradients_take_the_argument_dtype():
    class Coarse(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, dy):
            return (dy * 2).astype(np.float32).tolist()

    x = leaf(1.0, 2.0)
    Coarse.apply(x).sum().backward()
    assert x.grad.dtype == np.float64


def test_methods_that_are_missing():
    class Nothing(Function):
        pass

    class NoBackward(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with pytest.raises(NotImplementedError, match="Function.forward: define it in your subclass"):
        Nothing.apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="Function.backward: define it in your subclass"):
        NoBackward.apply(leaf(1.0)).backward(Tensor(np.ones(1)))


def test_all_tensors_must_be_on_one_device():
    with pytest.raises(
        RuntimeError, match='Scale: all tensors must be on one device, got "cpu", "meta"; move them with .to'
    ):
        Scale.apply(leaf(1.0), tc.zeros(1, device="meta"))


# ------------------------------------------------------------------------------------------- the graph


def test_nodes_tell_their_name_and_inputs():
    x, w = leaf(1.0, 2.0), Tensor(np.ones(2))
    product = Square.apply(x) * w
    node = product.node
    assert node.name == "Mul" and node.inputs[0].name == "Square" and node.inputs[1] is None
    assert node.inputs[0].inputs == (x,)
    assert repr(node) == "<Mul -> (2,)>" and node.module is None


def test_nodes_name_the_innermost_module_whose_forward_made_them():
    inner, outer = tc.nn.Identity(), tc.nn.Identity()
    tc.function.mode.modules.append(outer)
    try:
        a = leaf(1.0) * 2
        tc.function.mode.modules.append(inner)
        b = a * 2
        tc.function.mode.modules.pop()
    finally:
        tc.function.mode.modules.pop()
    assert a.node.module is outer and b.node.module is inner and (b * 2).node.module is None


def test_nodes_do_not_hold_the_tensors_between_them():
    import weakref

    y = leaf(1.0) + 1.0
    between = weakref.ref(y)
    z = y + 1.0
    del y
    assert between() is None
    z.backward(Tensor(np.ones(1)))


def test_nothing_is_recorded_where_nothing_requires_a_gradient():
    y = Square.apply(Tensor(np.ones(2)))
    assert y.node is None and not y.requires_grad


def test_doctest_example_of_function():
    assert tc.gradcheck(Square, [np.array([1.0, -2.0])])


@pytest.mark.parametrize(
    ("name", "hint"),
    [("save_for_backward", r"here it is ctx.save\(\*arrays\), of"), ("saved_tensors", "here it is ctx.saved, of")],
)
def test_pytorchs_names_of_the_context_lead_to_ours(name, hint):
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return getattr(ctx, name)

    with pytest.raises(AttributeError, match=f"ctx has no '{name}'; {hint}"):
        Wrong.apply(tc.zeros(2))


def test_an_attribute_that_forward_did_not_set_is_said_so():
    class Wrong(Square):
        @staticmethod
        def backward(ctx, dy):
            return dy * ctx.factor

    with pytest.raises(AttributeError, match="ctx has no 'factor'; forward did not set it"):
        Wrong.apply(tc.ones(2, requires_grad=True)).sum().backward()
