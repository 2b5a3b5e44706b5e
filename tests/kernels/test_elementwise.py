"""Elementwise kernels: reference = cpu for every layout and dtype, special values, stability, no warnings, threads."""

import math

import numpy as np
import pytest

from tinyconv_kernels.cpu import elementwise as cpu
from tinyconv_kernels.reference import elementwise as reference

UNARY = ["neg", "exp", "log", "sqrt", "abs", "sign", "sin", "cos", "tanh", "sigmoid", "relu", "softplus", "floor"]
BINARY = ["add", "sub", "mul", "div", "pow", "maximum", "minimum"]
COMPARE = ["eq", "ne", "lt", "le", "gt", "ge"]
LOGIC = ["logical_and", "logical_or"]
nan, inf = np.nan, np.inf
SPECIAL = [nan, inf, -inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1000.0, -1000.0, 1e-30, 30.0, -40.0]
modules = pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def close(dtype):
    return {"rtol": 3e-6 if dtype == np.float32 else 1e-13, "atol": 1e-6 if dtype == np.float32 else 1e-14}


def both(name, inputs, shape, dtype, *options):
    """Run one kernel on both backends into arrays of rubbish and return the outputs."""
    results = []
    for module in (reference, cpu):
        out = np.full(shape, 1, dtype)
        getattr(module, name)(*inputs, out, *options)
        results.append(out)
    return results


def arrays(dtype, count):
    """Return ``count`` random arrays in each of the layouts the engine may hand over."""
    rng = np.random.default_rng(0)
    yield [rng.standard_normal((3, 4, 5)).astype(dtype) for _ in range(count)]
    yield [rng.standard_normal((5, 4, 3)).astype(dtype).transpose(2, 1, 0) for _ in range(count)]
    yield [rng.standard_normal((6, 4, 10)).astype(dtype)[::2, :, ::-2] for _ in range(count)]
    yield [np.asarray(rng.standard_normal(), dtype) for _ in range(count)]
    yield [np.empty((0, 3), dtype) for _ in range(count)]
    yield [rng.standard_normal(1 << 17).astype(dtype) for _ in range(count)]  # large enough for threads


@pytest.mark.parametrize("name", UNARY)
@dtypes
def test_unary(name, dtype):
    for (x,) in arrays(dtype, 1):
        x = np.abs(x) if name in ("log", "sqrt") else x
        want, got = both(name, (x,), x.shape, dtype)
        np.testing.assert_allclose(got, want, **close(dtype))


@pytest.mark.parametrize("name", UNARY)
@dtypes
def test_special_values_do_not_warn(name, dtype):
    x = np.array(SPECIAL, dtype)
    want, got = both(name, (x,), x.shape, dtype)
    np.testing.assert_allclose(got, want, **close(dtype))
    assert np.isnan(got[0])  # NaN in, NaN out


@pytest.mark.parametrize("name", BINARY + COMPARE)
@dtypes
def test_binary(name, dtype):
    out_dtype = bool if name in COMPARE else dtype
    for x, y in arrays(dtype, 2):
        x = np.abs(x) if name == "pow" else x
        want, got = both(name, (x, y), x.shape, out_dtype)
        np.testing.assert_allclose(got, want, **close(dtype))
    x, row, column = np.ones((3, 4), dtype) * 2, np.arange(1, 5, dtype=dtype), np.arange(1, 4, dtype=dtype)[:, None]
    for left, right in [
        (x, row),
        (column, row),
        (x, 3),
        (2.5, row),
        (x, 2),
        (row, np.float64(2)),
        (np.array(2, dtype), x),
    ]:
        shape = np.broadcast_shapes(np.shape(left), np.shape(right))
        want, got = both(name, (left, right), shape, out_dtype)
        np.testing.assert_allclose(got, want, **close(dtype))


@pytest.mark.parametrize("name", BINARY + COMPARE)
def test_binary_special_values_do_not_warn(name):
    x, y = np.meshgrid(np.array(SPECIAL), np.array(SPECIAL))
    want, got = both(name, (x, y), x.shape, bool if name in COMPARE else x.dtype)
    np.testing.assert_array_equal(got, want)


@modules
def test_values_by_hand(module):
    def run(name, *inputs, dtype=np.float64):
        out = np.empty(np.broadcast_shapes(*map(np.shape, inputs)), dtype)
        getattr(module, name)(*map(np.asarray, inputs), out)
        return out.tolist()

    assert run("log", [0.0, 1.0]) == [-inf, 0]
    assert run("div", [1.0, -1.0], [0.0, 0.0]) == [inf, -inf]
    assert run("sigmoid", [1000.0, 0.0, -1000.0]) == [1, 0.5, 0]
    assert run("sigmoid", [-40.0])[0] == pytest.approx(math.exp(-40), rel=1e-12)  # not rounded to 0
    assert run("softplus", [1000.0, -1000.0, 0.0]) == [1000, 0, pytest.approx(math.log(2))]
    assert run("softplus", [-40.0])[0] == pytest.approx(math.exp(-40), rel=1e-12)
    assert run("relu", [-1.0, 0.0, 2.0]) == [0, 0, 2]
    assert run("sign", [-3.0, 0.0, 2.0]) == [-1, 0, 1]
    assert run("floor", [-0.5, 1.5]) == [-1, 1]
    assert run("pow", [2.0, 9.0], [3.0, 0.5]) == [8, 3]
    assert run("isnan", [nan, 1.0, inf], dtype=bool) == [True, False, False]
    assert run("ne", [nan, 1.0], [nan, 1.0], dtype=bool) == [True, False]
    assert run("logical_not", [True, False], dtype=bool) == [False, True]


@pytest.mark.parametrize("name", LOGIC)
@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_logic(name, dtype):
    x, y = np.array([[0, 1], [0, 1]]).astype(dtype), np.array([[0, 0], [1, 1]]).astype(dtype)
    want, got = both(name, (x, y), (2, 2), bool)
    np.testing.assert_array_equal(got, want)
    assert got.sum() == (1 if name == "logical_and" else 3)


@modules
def test_whole_numbers(module):
    x, y = np.array([7, -7, 2]), np.array([2, 2, 2])
    out, real = np.empty(3, np.int64), np.empty(3, np.float32)
    module.mul(x, y, out)
    assert out.tolist() == [14, -14, 4]
    module.maximum(x, 0, out)
    assert out.tolist() == [7, 0, 2]
    module.pow(x, 2, out)
    assert out.tolist() == [49, 49, 4]
    module.div(x, y, real)
    assert real.tolist() == [3.5, -3.5, 1]


@dtypes
def test_where_copy_fill(dtype):
    for x, y in arrays(dtype, 2):
        want, got = both("where", (x > 0, x, y), x.shape, dtype)
        np.testing.assert_array_equal(got, want)
        want, got = both("where", (x > 0, 1.5, y), x.shape, dtype)
        np.testing.assert_array_equal(got, want)
        want, got = both("copy", (x,), x.shape, np.float32)
        np.testing.assert_array_equal(got, x.astype(np.float32))
    for module in (reference, cpu):
        out = np.zeros((2, 3), dtype)
        module.copy(np.array([1.0, 2, 3]), out)  # broadcast
        assert out.tolist() == [[1, 2, 3]] * 2
        module.fill(out[:, ::2], 7)
        assert out.tolist() == [[7, 2, 7]] * 2


@modules
def test_copy_casts_without_warnings(module):
    out = np.empty(3, np.int64)
    module.copy(np.array([1.7, -1.7, 2.0]), out)
    assert out.tolist() == [1, -1, 2]
    module.copy(np.array([nan, 1e300, 0.0]), out)  # no meaningful whole number, but no warning either
    single = np.empty(2, np.float32)
    module.copy(np.array([1e300, nan]), single)
    assert single[0] == inf and np.isnan(single[1])
    truth = np.empty(3, bool)
    module.copy(np.array([0.0, 0.5, nan]), truth)
    assert truth.tolist() == [False, True, True]


@pytest.mark.parametrize("low,high", [(-0.5, 0.5), (None, 0.2), (0.1, None), (1, -1)])
@dtypes
def test_clamp(dtype, low, high):
    for (x,) in arrays(dtype, 1):
        want, got = both("clamp", (x,), x.shape, dtype, low, high)
        np.testing.assert_array_equal(got, want)
    want, got = both("clamp", (np.array([nan, inf, -inf, 0.0]),), (4,), np.float64, -1, 1)
    np.testing.assert_array_equal(got, [nan, 1, -1, 0])
    np.testing.assert_array_equal(want, got)
    x = np.array([-3.0, 3.0])
    cpu.clamp(x, x, -1, None)  # in place
    assert x.tolist() == [-1, 3]


BACKWARD = {"relu": "y", "leaky_relu": "x", "tanh": "y", "sigmoid": "y", "softplus": "x"}


@pytest.mark.parametrize("name", BACKWARD)
@dtypes
def test_backward(name, dtype):
    options = (0.2,) if name == "leaky_relu" else ()
    for dy, x in arrays(dtype, 2):
        want_y, y = both(name, (x,), x.shape, dtype, *options)
        np.testing.assert_allclose(y, want_y, **close(dtype))
        want, got = both(f"{name}_backward", (dy, y if BACKWARD[name] == "y" else x), x.shape, dtype, *options)
        np.testing.assert_allclose(got, want, **close(dtype))


@pytest.mark.parametrize("name", BACKWARD)
@modules
def test_backward_is_the_slope(module, name):
    """Central differences in float64, away from the kink."""
    options = (0.2,) if name == "leaky_relu" else ()
    x, step = np.array([-2.0, -0.3, 0.4, 3.0]), 1e-6
    low, high, y, dx = (np.empty(4) for _ in range(4))
    forward = getattr(module, name)
    forward(x - step, low, *options)
    forward(x + step, high, *options)
    forward(x, y, *options)
    getattr(module, f"{name}_backward")(np.full(4, 2.0), y if BACKWARD[name] == "y" else x, dx, *options)
    np.testing.assert_allclose(dx, 2 * (high - low) / (2 * step), rtol=1e-8)


@modules
def test_gradients_at_zero_and_nan(module):
    x, dy, dx = np.array([0.0, nan, -1.0, 1.0, inf]), np.full(5, 3.0), np.empty(5)
    module.relu_backward(dy, x, dx)
    assert dx.tolist() == [0, 3, 0, 3, 3]
    module.leaky_relu_backward(dy, x, dx, 0.5)
    assert dx.tolist() == [1.5, 1.5, 1.5, 3, 3]
    module.leaky_relu(x, dx, 0.0)
    np.testing.assert_array_equal(dx, [0, nan, 0, 1, inf])  # inf, not 0 * inf
    module.softplus_backward(dy, np.array([1000.0, -1000, 0, 1000, -1000]), dx)
    assert dx.tolist() == [3, 0, 1.5, 3, 0]
