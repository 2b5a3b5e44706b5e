"""Convolution kernels: reference = cpu over a geometry table, threads, NaN, adjointness, and hand-made values."""

import numba
import numpy as np
import pytest

from convolution_tools import arrays, three_passes, y_shape
from tinyconv_kernels.cpu import _schedule
from tinyconv_kernels.cpu import conv as cpu
from tinyconv_kernels.geometry import transposed_size
from tinyconv_kernels.reference import conv as reference

DTYPES = [np.float32, np.float64]
# shape (N, C, H, W), K, kernel, stride, padding, dilation, groups
GEOMETRIES = {
    "3x3": ((2, 3, 7, 8), 4, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "valid": ((3, 2, 6, 5), 9, (3, 3), (1, 1), (0, 0), (1, 1), 1),
    "non-square": ((2, 4, 9, 11), 6, (3, 2), (2, 3), (1, 0), (1, 1), 2),
    "dilation": ((2, 2, 10, 9), 3, (3, 3), (1, 1), (2, 1), (2, 3), 1),
    "dilation shares a factor with stride": ((1, 2, 12, 11), 3, (3, 2), (4, 6), (2, 3), (2, 4), 1),
    "stride 2": ((2, 3, 9, 8), 5, (3, 3), (2, 2), (1, 1), (1, 1), 1),
    "stride over kernel": ((2, 2, 10, 11), 3, (2, 1), (3, 4), (0, 0), (1, 1), 1),
    "11x11 stride 4": ((1, 3, 23, 25), 7, (11, 11), (4, 4), (2, 2), (1, 1), 1),
    "padding over kernel": ((1, 2, 3, 4), 3, (2, 2), (1, 1), (4, 3), (1, 1), 1),
    "padding over kernel, stride": ((1, 2, 3, 4), 3, (2, 2), (3, 2), (4, 5), (1, 1), 1),
    "window of the image": ((2, 3, 5, 4), 6, (5, 4), (1, 1), (0, 0), (1, 1), 1),
    "1x1": ((2, 5, 4, 6), 10, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "1x1 stride 2": ((2, 3, 5, 6), 4, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    "1x1 stride and padding, sizes equal": ((2, 4, 5, 3), 6, (1, 1), (2, 2), (2, 1), (1, 1), 2),
    "1x1 groups, more filters": ((2, 6, 5, 7), 40, (1, 1), (1, 1), (0, 0), (1, 1), 2),
    "1x1 padding": ((1, 2, 3, 3), 2, (1, 1), (1, 1), (1, 2), (1, 1), 1),
    "1x1, stride and padding keep the size": ((1, 1, 4, 4), 2, (1, 1), (2, 2), (2, 2), (1, 1), 1),
    "1x1, more filters": ((2, 4, 3, 5), 12, (1, 1), (1, 1), (0, 0), (1, 1), 2),
    "groups": ((2, 6, 6, 6), 9, (3, 3), (1, 1), (1, 1), (1, 1), 3),
    "depthwise": ((2, 5, 7, 6), 10, (3, 3), (2, 1), (1, 1), (1, 1), 5),
    "one row": ((2, 2, 1, 9), 3, (1, 3), (1, 2), (0, 1), (1, 1), 1),
    "one column": ((2, 2, 9, 1), 3, (3, 1), (1, 1), (0, 0), (2, 1), 1),
    "one pixel": ((1, 1, 1, 1), 1, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "taps far outside": ((1, 2, 3, 2), 3, (3, 3), (1, 1), (40, 31), (40, 30), 1),
    "taps far outside, stride": ((1, 2, 5, 4), 2, (3, 2), (3, 2), (40, 20), (40, 39), 1),
    "stride far over the image": ((1, 2, 2, 3), 3, (1, 2), (70000, 90000), (0, 1), (1, 1), 1),
    # one phase of the gradient of the input is a convolution with stride 1 and 3x3 taps, whose results lie apart
    "3x3 phases": ((1, 17, 6, 7), 16, (5, 5), (2, 2), (2, 2), (1, 1), 1),
    "3x3 phase, dilated": ((1, 16, 7, 6), 16, (3, 3), (3, 3), (2, 1), (3, 3), 1),
    "empty batch": ((0, 2, 5, 5), 3, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    # larger than one tile, one block of channels, one block of filters
    "several tiles": ((2, 3, 18, 17), 50, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "long rows": ((1, 2, 3, 300), 3, (2, 3), (1, 1), (0, 1), (1, 1), 1),
    "many channels": ((1, 70, 6, 5), 12, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "tiles across small images": ((40, 2, 4, 4), 3, (3, 3), (1, 1), (0, 0), (1, 1), 1),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def assert_close(got, want, dtype):
    """Compare; the tolerance is relative to the largest value, since a sum may cancel."""
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    scale = np.abs(want[np.isfinite(want)]).max(initial=1.0)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("kind", ["conv2d", "conv_transpose2d"])
@geometries
@dtypes
def test_cpu_equals_reference(geometry, dtype, kind):
    x, weight, _, dy = arrays(geometry, dtype)
    got, want = (three_passes(module, x, weight, dy, geometry, kind) for module in (cpu, reference))
    for a, b in zip(got, want, strict=True):
        assert_close(a, b, dtype)


def test_memory_does_not_grow_with_what_lies_outside():
    """With only the middle tap inside the image, every dilation (= padding) from its size on gives the same."""
    near = ((1, 2, 3, 2), 3, (3, 3), (1, 1), (3, 3), (3, 3), 1)
    far = (*near[:4], (10**6, 10**6), (10**6, 10**6), 1)
    x, weight, _, dy = arrays(near, np.float64)
    for kind in ("conv2d", "conv_transpose2d"):
        for a, b in zip(*(three_passes(cpu, x, weight, dy, g, kind) for g in (near, far)), strict=True):
            assert_close(a, b, np.float64)


@geometries
def test_bias_and_relu(geometry):
    x, weight, bias, y = arrays(geometry, np.float64)
    for activation in (None, "relu"):
        want = np.empty_like(y)
        cpu.conv2d_forward(x, weight, bias, y, *geometry[3:7], activation, None)
        reference.conv2d_forward(x, weight, bias, want, *geometry[3:7], activation, None)
        assert_close(y, want, np.float64)
    channel_bias, got, want = np.random.default_rng(3).standard_normal(x.shape[1]), np.empty_like(x), np.empty_like(x)
    for module, out in ((cpu, got), (reference, want)):
        module.conv_transpose2d_forward(y, weight, channel_bias, out, *geometry[3:7], None)
    assert_close(got, want, np.float64)
    got, want = np.empty_like(bias), np.empty_like(bias)
    cpu.conv2d_backward_bias(y, got)
    reference.conv2d_backward_bias(y, want)
    assert_close(got, want, np.float64)


@geometries
@pytest.mark.parametrize("module", [reference, cpu])
def test_the_three_passes_are_adjoint(module, geometry):
    """<W * x, dy> = <x, dx> = <W, dW>: what makes the two backward passes the gradients of the forward pass."""
    x, weight, _, dy = arrays(geometry, np.float64, seed=1)
    y, dx, dweight = three_passes(module, x, weight, dy, geometry)
    assert np.vdot(y, dy) == pytest.approx(np.vdot(x, dx), rel=1e-10, abs=1e-10)
    assert np.vdot(y, dy) == pytest.approx(np.vdot(weight, dweight), rel=1e-10, abs=1e-10)


@geometries
@dtypes
def test_columns(geometry, dtype):
    shape, _, *window, _ = geometry
    rng = np.random.default_rng(2)
    positions = int(np.prod(y_shape(*geometry)[2:]))
    x = rng.standard_normal(shape).astype(dtype)
    dcols = rng.standard_normal((shape[0], shape[1] * window[0][0] * window[0][1], positions)).astype(dtype)
    cols, want_cols, dx, want_dx = (np.full_like(a, 77) for a in (dcols, dcols, x, x))
    cpu.im2col(x, cols, *window)
    reference.im2col(x, want_cols, *window)
    np.testing.assert_array_equal(cols, want_cols)
    cpu.col2im(dcols, dx, *window)
    reference.col2im(dcols, want_dx, *window)
    assert_close(dx, want_dx, dtype)


BIG = {
    "several tiles": ((5, 12, 30, 31), 40, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "strided": ((3, 16, 33, 30), 24, (5, 3), (2, 3), (2, 1), (1, 2), 2),
    "one small image": ((1, 160, 9, 9), 130, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "1x1": ((2, 48, 30, 30), 64, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "small images, packed": ((70, 8, 7, 7), 64, (5, 5), (1, 1), (0, 0), (1, 1), 1),
}


@pytest.mark.parametrize("geometry", BIG.values(), ids=BIG.keys())
@dtypes
def test_threads_do_not_change_a_bit(geometry, dtype, monkeypatch):
    """Python threads share the tasks, as many as one says, on any machine."""
    x, weight, _, dy = arrays(geometry, dtype)
    results, shared = [], set()
    share = _schedule.share
    monkeypatch.setattr(_schedule, "share", lambda n, *others: [shared.add(n), share(n, *others)])
    for threads in (1, 2, 3, 5):
        monkeypatch.setattr(_schedule, "threads_for", lambda work, n=threads: n)
        results.append(three_passes(cpu, x, weight, dy, geometry))
    assert shared == {1, 2, 3, 5}
    for more in results[1:]:
        for one, many in zip(results[0], more, strict=True):
            np.testing.assert_array_equal(one, many)


@dtypes
def test_threads_do_not_change_a_bit_of_columns(dtype, rng, monkeypatch):
    dcols, x = rng.standard_normal((2, 4 * 9, 49)).astype(dtype), rng.standard_normal((2, 4, 7, 7)).astype(dtype)
    results = []
    for threads in (1, 2):
        monkeypatch.setattr(cpu, "threads_for", lambda work, n=threads: n)
        results.append((np.full_like(dcols, 77), np.full_like(x, 77)))
        cpu.im2col(x, results[-1][0], (3, 3), (1, 1), (1, 1), (1, 1))
        cpu.col2im(dcols, results[-1][1], (3, 3), (1, 1), (1, 1), (1, 1))
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@geometries
def test_tile_size_does_not_change_a_bit(geometry, monkeypatch):
    """Tiles of 16 positions and of as many as there are give the same sums in the same order."""
    x, weight, _, dy = arrays(geometry, np.float32)
    results = []
    for tile in (16, 1 << 20):
        monkeypatch.setattr(_schedule, "TILE", tile)
        results.append(three_passes(cpu, x, weight, dy, geometry)[:2])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="takes half a minute without the compiler")
def test_long_sums_round_little(monkeypatch):
    """Sums of 4608 and 3200 products: as one running sum each, the errors would be near 3e-6 of the largest value."""
    monkeypatch.setitem(_schedule.switches, "winograd", False)
    geometry = ((8, 512, 20, 20), 48, (3, 3), (1, 1), (1, 1), (1, 1), 1)
    x, weight, _, dy = arrays(geometry, np.float32)
    got = three_passes(cpu, x, weight, dy, geometry)
    want = three_passes(cpu, *(a.astype(np.float64) for a in (x, weight, dy)), geometry)
    for a, b in zip(got, want, strict=True):
        assert np.abs(a - b).max() < 8e-7 * np.abs(b).max()


@geometries
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_reach_exactly_what_they_touch(geometry, value):
    """What stands behind the last column of a tile is multiplied too, and must not reach the result."""
    x, weight, _, dy = arrays(geometry, np.float64)
    if x.size == 0:
        return
    x[-1, 0, x.shape[2] // 2, -1] = value
    for kind in ("conv2d", "conv_transpose2d"):
        got, want = (three_passes(module, x, weight, dy, geometry, kind) for module in (cpu, reference))
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))


@geometries
@dtypes
def test_the_fused_relu_keeps_nan(geometry, dtype, monkeypatch):
    """It is exactly the ReLU of what stands there without it: also where results lie apart, as a stride puts them."""
    x, weight, bias, dy = arrays(geometry, dtype)
    x[:, 0, x.shape[2] // 2, -1] = dy[:, 0, dy.shape[2] // 2, dy.shape[3] // 2] = np.nan
    run, activations = _schedule.run, (None, "relu")
    y, dx = ([np.full_like(a, 77) for _ in activations] for a in (dy, x))
    for i, activation in enumerate(activations):
        cpu.conv2d_forward(x, weight, bias, y[i], *geometry[3:7], activation, None)
        if activation:  # no kernel asks for a ReLU behind a transposed convolution
            monkeypatch.setattr(_schedule, "run", lambda *arguments: run(*arguments[:-2], True, arguments[-1]))
        cpu.conv2d_backward_input(dy, weight, dx[i], *geometry[3:7], None)
    for plain, limited in (y, dx):
        np.testing.assert_array_equal(limited, np.where(plain < 0, 0, plain))
    wanted = np.empty_like(dy), np.empty_like(x)
    reference.conv2d_forward(x, weight, bias, wanted[0], *geometry[3:7], "relu", None)
    reference.conv2d_backward_input(dy, weight, wanted[1], *geometry[3:7], None)
    np.testing.assert_array_equal(np.isnan(y[1]), np.isnan(wanted[0]))
    assert np.isnan(dx[1])[np.isnan(wanted[1])].all()


@pytest.mark.parametrize("module", [reference, cpu])
@dtypes
def test_by_hand(module, dtype):
    """LeCun's "valid" convolution is a correlation: the filter is not turned."""
    x = np.arange(9, dtype=dtype).reshape(1, 1, 3, 3)
    weight = np.array([[[[1, 2], [3, 4]]]], dtype)
    geometry = (x.shape, 1, (2, 2), (1, 1), (0, 0), (1, 1), 1)
    dy = np.array([[[[1, 0], [0, 10]]]], dtype)
    y, dx, dweight = three_passes(module, x, weight, dy, geometry)
    assert y.tolist() == [[[[27, 37], [57, 67]]]]
    assert dx.tolist() == [[[[1, 2, 0], [3, 14, 20], [0, 30, 40]]]]
    assert dweight.tolist() == [[[[40, 51], [73, 84]]]]


@pytest.mark.parametrize("module", [reference, cpu])
def test_output_padding_adds_pixels_no_stamp_reaches(module):
    x, weight = np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
    size = transposed_size(2, 2, 3, 0, 1, 2)
    assert size == 7
    y = np.full((1, 1, size, size), 77.0)
    size = module.conv_transpose2d_forward_workspace(x.shape, weight.shape, y.shape, y.dtype, 1)
    workspace = np.empty(size, np.uint8)
    module.conv_transpose2d_forward(x, weight, np.array([0.5]), y, (3, 3), (0, 0), (1, 1), 1, workspace)
    stamped = np.array([1, 1, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(y[0, 0], np.outer(stamped, stamped) + 0.5)
