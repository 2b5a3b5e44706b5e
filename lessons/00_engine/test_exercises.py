"""Tests of exercises.py, task by task: ``pytest lessons/00_engine``, or ``-k task_0_5_`` for one of them.

The expected values come from the definitions, written below as plain loops, or from numbers worked out by hand.
"""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import data
from tinyconv.nn import functional as F


def _beside(name):
    """Import a file of this folder under a name of its own, so that several lessons can be tested together."""
    path = Path(__file__).with_name(name)
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{path.parent.name}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


exercises = _beside("exercises.py")


def task(number, points, minutes, difficulty):
    """Mark a test as one of task 0.number; minutes and difficulty (1 to 3) are those of the whole task."""
    return pytest.mark.task(id=f"0.{number}", points=points, minutes=minutes, difficulty=difficulty)


# Image (H, W), kernel, stride, padding, dilation: each one catches a mistake that the others let through.
GEOMETRIES = {
    "plain": ((4, 5), (3, 3), (1, 1), (0, 0), (1, 1)),
    "padded": ((4, 5), (3, 3), (1, 1), (1, 1), (1, 1)),
    "overlapping stride": ((7, 9), (3, 3), (2, 2), (0, 0), (1, 1)),
    "not square": ((6, 8), (3, 2), (2, 3), (1, 0), (1, 1)),
    "dilated": ((7, 8), (2, 3), (1, 2), (0, 2), (3, 2)),
    "does not fill the image": ((6, 5), (2, 2), (3, 3), (0, 0), (1, 1)),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())


def output_shape(size, kernel, stride, padding, dilation):
    """Count the windows that fit, one by one."""
    shape = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        starts = range(-p, n + p, s)
        shape.append(sum(start + d * (k - 1) < n + p for start in starts))
    return tuple(shape)


def taps(size, kernel, stride, padding, dilation):
    """Yield (i, j, oh, ow, h, w): tap (i, j) of output (oh, ow) reads pixel (h, w) of the image."""
    out = output_shape(size, kernel, stride, padding, dilation)
    for i, j, oh, ow in itertools.product(*map(range, (*kernel, *out))):
        h, w = oh * stride[0] + i * dilation[0] - padding[0], ow * stride[1] + j * dilation[1] - padding[1]
        if 0 <= h < size[0] and 0 <= w < size[1]:
            yield i, j, oh, ow, h, w


def garbage(*shape, dtype=np.float64):
    """Return an output array as a kernel may get it: full of something else."""
    return np.full(shape, 99, dtype)


def distinct(rng, *shape):
    """Return numbers no two of which are equal, in random order."""
    return rng.permutation(int(np.prod(shape))).reshape(shape) / 4 - 3


# --------------------------------------------------------------------------------------------------------- task 0.1
@task(1, points=1, minutes=10, difficulty=1)
@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 4), (4,), (), (1, 3, 4), (2, 1, 1), (3, 1), (1,), (1, 1, 1)])
def test_task_0_1_unbroadcast(shape, rng):
    """Every element of the small array gets the sum of dy over the places it was copied to."""
    dy = rng.standard_normal((2, 3, 4))
    expected = np.zeros(shape)
    owner = np.broadcast_to(np.arange(expected.size).reshape(shape), dy.shape)
    for place in np.ndindex(dy.shape):
        expected.reshape(-1)[owner[place]] += dy[place]
    found = exercises.unbroadcast(dy.copy(), shape)
    assert np.shape(found) == shape
    np.testing.assert_allclose(found, expected)


# --------------------------------------------------------------------------------------------------------- task 0.2
class Node:
    """A node of a graph: only its inputs matter."""

    def __init__(self, *inputs):
        self.inputs = inputs


def check_order(root, count):
    order = exercises.topological_order(root)
    assert isinstance(order, list)
    assert len(order) == count, f"the graph has {count} nodes, the order has {len(order)}"
    position = {node: i for i, node in enumerate(order)}
    assert len(position) == count, "a node appears twice"
    assert order[-1] is root, "root was computed last"
    for node in order:
        for source in node.inputs:
            assert position[source] < position[node], "a node stands before one of its inputs"


@task(2, points=1, minutes=20, difficulty=2)
def test_task_0_2_order_of_small_graphs():
    a, b, c = Node(), Node(), Node()
    check_order(a, 1)
    check_order(Node(a, a), 2)  # x * x
    left, right = Node(a, b), Node(b, c)
    check_order(Node(left, right), 6)


@task(2, points=1, minutes=20, difficulty=2)
def test_task_0_2_order_where_a_short_way_and_a_long_way_meet():
    a = Node()
    b = Node(a)
    c = Node(b)
    check_order(Node(a, c), 4)
    check_order(Node(c, a), 4)


@task(2, points=1, minutes=20, difficulty=2)
def test_task_0_2_order_of_a_graph_that_is_very_deep_or_has_very_many_ways():
    node = Node()
    for _ in range(5000):
        node = Node(node)
    check_order(node, 5001)
    for _ in range(100):  # 2 ** 100 ways from the root: each node must be visited once
        node = Node(node, node)
    check_order(node, 5101)


# --------------------------------------------------------------------------------------------------------- task 0.3
@task(3, points=1, minutes=15, difficulty=1)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_task_0_3_numerical_gradient(shape, rng):
    """The gradient of sum(x^3) is 3 x^2; the error of central differences is eps^2, which a one-sided one misses."""
    x = np.asarray(rng.standard_normal(shape) + 3)
    before = x.copy()
    found = exercises.numerical_gradient(lambda a: float((a**3).sum()), x, eps=1e-4)
    assert np.shape(found) == shape
    np.testing.assert_array_equal(x, before, err_msg="x was not left as it was")
    np.testing.assert_allclose(found, 3 * x**2, rtol=1e-7)


@task(3, points=1, minutes=15, difficulty=1)
def test_task_0_3_numerical_gradient_of_coupled_elements():
    """The gradient of x0 x1 x2 is (x1 x2, x0 x2, x0 x1): all other elements must be at their place."""
    x = np.array([2.0, 3.0, 5.0])
    np.testing.assert_allclose(exercises.numerical_gradient(np.prod, x, eps=1e-3), [15, 10, 6])


# --------------------------------------------------------------------------------------------------------- task 0.4
@task(4, points=1, minutes=10, difficulty=1)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_task_0_4_relu(dtype):
    x = np.array([[-2, -0.5, 0], [0.5, 3, np.nan]], dtype)
    out = garbage(2, 3, dtype=dtype)
    exercises.relu(x, out)
    np.testing.assert_array_equal(out, np.array([[0, 0, 0], [0.5, 3, np.nan]], dtype))


@task(4, points=1, minutes=10, difficulty=1)
def test_task_0_4_relu_backward():
    y = np.array([0.0, 0.5, 3.0, 0.0, 1e-300])
    dx = garbage(5)
    exercises.relu_backward(np.array([7.0, 5.0, -2.0, 4.0, 6.0]), y, dx)
    np.testing.assert_array_equal(dx, [0, 5, -2, 0, 6])


# --------------------------------------------------------------------------------------------------------- task 0.5
@task(5, points=1, minutes=30, difficulty=2)
@geometries
def test_task_0_5_im2col(geometry, rng):
    size, kernel, *rest = geometry
    x = rng.standard_normal((2, 3, *size))
    out = output_shape(*geometry)
    expected = np.zeros((2, 3, *kernel, *out))
    for i, j, oh, ow, h, w in taps(*geometry):
        expected[:, :, i, j, oh, ow] = x[:, :, h, w]
    cols = garbage(2, 3 * kernel[0] * kernel[1], out[0] * out[1])
    exercises.im2col(x, cols, kernel, *rest)
    np.testing.assert_array_equal(cols, expected.reshape(cols.shape))


# --------------------------------------------------------------------------------------------------------- task 0.6
@task(6, points=1, minutes=20, difficulty=2)
@geometries
def test_task_0_6_col2im(geometry, rng):
    size, kernel, *rest = geometry
    out = output_shape(*geometry)
    cols = rng.standard_normal((2, 3 * kernel[0] * kernel[1], out[0] * out[1]))
    columns = cols.reshape(2, 3, *kernel, *out)
    expected = np.zeros((2, 3, *size))
    for i, j, oh, ow, h, w in taps(*geometry):
        expected[:, :, h, w] += columns[:, :, i, j, oh, ow]
    x = garbage(2, 3, *size)
    exercises.col2im(cols, x, kernel, *rest)
    np.testing.assert_allclose(x, expected, atol=1e-12)


# --------------------------------------------------------------------------------------------------- tasks 0.7 and 0.8
def convolution(geometry, groups, rng):
    """Return x (2 images, 4 channels), weight (6 filters), bias and dy for a geometry."""
    size, kernel = geometry[:2]
    x, weight = rng.standard_normal((2, 4, *size)), rng.standard_normal((6, 4 // groups, *kernel))
    return x, weight, rng.standard_normal(6), rng.standard_normal((2, 6, *output_shape(*geometry)))


def convolution_products(geometry, groups, x, weight):
    """Yield (k, c, tap, output, pixel) for every product weight[k, c, tap] x[:, group's channel c, pixel]."""
    for i, j, oh, ow, h, w in taps(*geometry):
        for k, c in itertools.product(range(weight.shape[0]), range(weight.shape[1])):
            channel = k // (weight.shape[0] // groups) * weight.shape[1] + c
            yield k, c, channel, i, j, oh, ow, h, w


@task(7, points=1, minutes=30, difficulty=2)
@pytest.mark.parametrize("groups", [1, 2])
@geometries
def test_task_0_7_conv2d_forward(geometry, groups, rng):
    x, weight, bias, dy = convolution(geometry, groups, rng)
    expected = np.zeros(dy.shape) + bias[:, None, None]
    for k, c, channel, i, j, oh, ow, h, w in convolution_products(geometry, groups, x, weight):
        expected[:, k, oh, ow] += weight[k, c, i, j] * x[:, channel, h, w]
    y = garbage(*dy.shape)
    exercises.conv2d_forward(x, weight, bias, y, *geometry[2:], groups, None, None)
    np.testing.assert_allclose(y, expected, atol=1e-12)


@task(7, points=1, minutes=30, difficulty=2)
def test_task_0_7_conv2d_forward_with_relu_and_without_a_bias():
    x = np.arange(6.0).reshape(1, 1, 2, 3)
    weight = np.array([1.0, -2.0]).reshape(2, 1, 1, 1)
    y = garbage(1, 2, 2, 3)
    exercises.conv2d_forward(x, weight, None, y, (1, 1), (0, 0), (1, 1), 1, None, None)
    np.testing.assert_array_equal(y, np.concatenate([x, -2 * x], axis=1))
    exercises.conv2d_forward(x, weight, np.array([-2.0, 5.0]), y, (1, 1), (0, 0), (1, 1), 1, "relu", None)
    np.testing.assert_array_equal(y[0], [[[0, 0, 0], [1, 2, 3]], [[5, 3, 1], [0, 0, 0]]])


@task(8, points=1, minutes=35, difficulty=3)
@pytest.mark.parametrize("groups", [1, 2])
@geometries
def test_task_0_8_conv2d_backward_weight(geometry, groups, rng):
    x, weight, _, dy = convolution(geometry, groups, rng)
    expected = np.zeros(weight.shape)
    for k, c, channel, i, j, oh, ow, h, w in convolution_products(geometry, groups, x, weight):
        expected[k, c, i, j] += (dy[:, k, oh, ow] * x[:, channel, h, w]).sum()
    dweight = garbage(*weight.shape)
    exercises.conv2d_backward_weight(dy, x, dweight, *geometry[2:], groups, None)
    np.testing.assert_allclose(dweight, expected, atol=1e-12)


@task(8, points=1, minutes=35, difficulty=3)
@pytest.mark.parametrize("groups", [1, 2])
@geometries
def test_task_0_8_conv2d_backward_input(geometry, groups, rng):
    x, weight, _, dy = convolution(geometry, groups, rng)
    expected = np.zeros(x.shape)
    for k, c, channel, i, j, oh, ow, h, w in convolution_products(geometry, groups, x, weight):
        expected[:, channel, h, w] += weight[k, c, i, j] * dy[:, k, oh, ow]
    dx = garbage(*x.shape)
    exercises.conv2d_backward_input(dy, weight, dx, *geometry[2:], groups, None)
    np.testing.assert_allclose(dx, expected, atol=1e-12)


# --------------------------------------------------------------------------------------------------------- task 0.9
def pooled(geometry, x):
    """Return the maxima of x over each window and their places h W + w, row by row, the first of equals."""
    out = output_shape(*geometry)
    best, at = np.full((*x.shape[:2], *out), -np.inf), np.full((*x.shape[:2], *out), -1)
    for _, _, oh, ow, h, w in taps(*geometry):  # i before j: in every window, row by row
        for n, c in np.ndindex(x.shape[:2]):
            if x[n, c, h, w] > best[n, c, oh, ow]:
                best[n, c, oh, ow], at[n, c, oh, ow] = x[n, c, h, w], h * x.shape[3] + w
    return best, at


@task(9, points=1, minutes=40, difficulty=3)
@pytest.mark.parametrize("values", ["distinct", "tied", "negative"])
@geometries
def test_task_0_9_max_pool2d_forward(geometry, values, rng):
    shape = (2, 3, *geometry[0])
    x = rng.integers(-1, 2, shape).astype(float) if values == "tied" else distinct(rng, *shape)
    x -= 100 if values == "negative" else 0  # then a padding of zeros would be the maximum
    best, at = pooled(geometry, x)
    y, switches = garbage(*best.shape), garbage(*best.shape, dtype=np.int64)
    exercises.max_pool2d_forward(x, y, switches, *geometry[1:])
    np.testing.assert_array_equal(y, best)
    np.testing.assert_array_equal(switches, at)


@task(9, points=1, minutes=40, difficulty=3)
@geometries
def test_task_0_9_max_pool2d_backward(geometry, rng):
    x = distinct(rng, 2, 3, *geometry[0])
    best, at = pooled(geometry, x)
    dy = rng.standard_normal(best.shape)
    expected = np.zeros((2, 3, x[0, 0].size))
    for n, c, oh, ow in np.ndindex(dy.shape):
        expected[n, c, at[n, c, oh, ow]] += dy[n, c, oh, ow]
    dx = garbage(*x.shape)
    exercises.max_pool2d_backward(dy, at, dx, *geometry[1:])
    np.testing.assert_allclose(dx, expected.reshape(x.shape), atol=1e-12)


# -------------------------------------------------------------------------------------------- a network on your kernels
KERNELS = (
    "relu", "relu_backward", "conv2d_forward", "conv2d_backward_weight", "conv2d_backward_input",
    "max_pool2d_forward", "max_pool2d_backward",
)  # fmt: skip


def train_on_digits(epochs):
    """Train a net of two convolutions on 480 of the 8 x 8 digits; return the losses and the accuracy on 160 others."""
    digits, test = data.digits("train"), np.arange(640) % 4 == 0
    images, labels = digits.images[:640] / np.float32(16), digits.labels[:640]
    train_images, train_labels = images[~test], labels[~test]
    rng = np.random.default_rng(2)
    shapes = [(8, 1, 3, 3), (8,), (16, 8, 3, 3), (16,), (10, 64), (10,)]
    weights = []
    for shape in shapes:
        spread = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0
        weights.append(tinyconv.tensor(rng.normal(0, 1, shape) * spread, dtype="float32", requires_grad=True))

    def network(x):
        x = F.max_pool2d(F.relu(F.conv2d(x, weights[0], weights[1], padding=1)), 2)
        x = F.max_pool2d(F.relu(F.conv2d(x, weights[2], weights[3], padding=1)), 3, 2, 1)
        return F.linear(x.flatten(1), weights[4], weights[5])

    losses, velocities = [], [np.zeros(shape, np.float32) for shape in shapes]
    for first in range(0, 480 * epochs, 32):
        batch = slice(first % 480, first % 480 + 32)
        loss = F.cross_entropy(network(tinyconv.tensor(train_images[batch])), tinyconv.tensor(train_labels[batch]))
        losses.append(loss.item())
        for w, v, gradient in zip(weights, velocities, tinyconv.grad(loss, weights), strict=True):
            v[...] = 0.9 * v - 0.05 * gradient.data
            w.data += v
    with tinyconv.no_grad():
        right = network(tinyconv.tensor(images[test])).numpy().argmax(1) == labels[test]
    return losses, right.mean()


@task(9, points=3, minutes=40, difficulty=3)
def test_task_0_9_a_network_learns_on_your_kernels():
    """The engine's network, run on the kernels of this file: the same losses as on the engine's own, and it learns."""
    for name in KERNELS:
        assert callable(getattr(exercises, name, None)), f"exercises.py has no function {name}"
    with tinyconv.backend(exercises):
        losses, accuracy = train_on_digits(epochs=4)
    expected, _ = train_on_digits(epochs=1)
    np.testing.assert_allclose(losses[:10], expected[:10], rtol=1e-3)
    assert accuracy > 0.8, f"{accuracy:.0%} of the test digits recognised"


# -------------------------------------------------------------------------------------------------------- task 0.10
def counted(operation):
    """Return float's method of this name, with its result a Counted again; products of two Counted are counted."""

    def method(self, other):
        Counted.products += operation == "__mul__" and isinstance(other, Counted)
        return Counted(getattr(float, operation)(self, float(other)))

    return method


OPERATIONS = ("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__")
Counted = type("Counted", (float,), {"products": 0} | {name: counted(name) for name in OPERATIONS})


def check_winograd(x, w, convert):
    y = np.array(exercises.winograd_1d(convert(x), convert(w)), float)
    expected = [sum(np.correlate(row, taps) for row, taps in zip(x, channels, strict=True)) for channels in w]
    assert y.shape == (w.shape[0], x.shape[1] - 2)
    np.testing.assert_allclose(y, expected, atol=1e-12)


@task(10, points=1, minutes=30, difficulty=3)
@pytest.mark.parametrize("width", [3, 4, 5, 8, 9])
@pytest.mark.parametrize("channels, filters", [(1, 1), (3, 2)])
def test_task_0_10_winograd_1d(width, channels, filters, rng):
    check_winograd(rng.standard_normal((channels, width)), rng.standard_normal((filters, channels, 3)), np.copy)


@task(10, points=2, minutes=30, difficulty=3)
@pytest.mark.parametrize("outputs", [2, 6, 7])
def test_task_0_10_winograd_1d_multiplies_four_times_for_two_outputs(outputs, rng):
    Counted.products = 0
    convert = np.vectorize(Counted, otypes=[object])
    check_winograd(rng.standard_normal((3, outputs + 2)), rng.standard_normal((2, 3, 3)), convert)
    allowed = 4 * 3 * 2 * ((outputs + 1) // 2)
    assert Counted.products <= allowed, f"{Counted.products} multiplications; {allowed} are enough"
