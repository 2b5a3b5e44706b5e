"""Convolution on the device: both kinds of kernels against the CPU's, in odd geometries; columns; TF32; tables."""

import numpy as np
import pytest

import convolution_tools as tools

pytestmark = pytest.mark.cuda

pytest.importorskip("numba.cuda")

from tinyconv_kernels.cpu import conv as cpu  # noqa: E402
from tinyconv_kernels.cuda import _mma, _taps, conv, memory  # noqa: E402
from tinyconv_kernels.cuda._tile import Tile  # noqa: E402
from tinyconv_kernels.reference import conv as reference  # noqa: E402

# x's shape, filters, kernel, stride, padding, dilation, groups
GEOMETRIES = {
    "same": ((2, 3, 6, 5), 5, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "stride": ((2, 2, 9, 6), 3, (3, 2), (2, 3), (1, 0), (1, 1), 1),
    "stride beyond the kernel": ((1, 3, 7, 8), 4, (2, 2), (3, 4), (0, 1), (1, 1), 1),
    "stride and dilation": ((2, 2, 7, 8), 3, (3, 2), (2, 2), (3, 2), (2, 3), 1),
    "groups": ((2, 4, 5, 5), 6, (3, 3), (2, 1), (1, 1), (1, 1), 2),
    "depthwise": ((3, 4, 4, 4), 4, (3, 3), (1, 1), (1, 1), (1, 1), 4),
    "more padding than filter": ((1, 2, 4, 4), 2, (2, 2), (1, 1), (4, 3), (1, 1), 1),
    "one by one": ((2, 5, 4, 4), 6, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "one pixel": ((6, 5, 1, 1), 3, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "filter of the image": ((5, 2, 3, 4), 6, (3, 4), (1, 1), (0, 0), (1, 1), 1),
    "four neighbours": ((2, 3, 6, 4), 4, (3, 3), (1, 1), (1, 1), (1, 1), 1),
}  # fmt: skip
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())


@pytest.fixture(params=["threads", "tiles"])
def kernels(request, monkeypatch):
    """Each kind of kernel for all shapes."""
    if request.param == "tiles":
        monkeypatch.setattr(conv, "_FEW", 0)
        monkeypatch.setattr(conv, "_NARROW", 0)
    else:
        monkeypatch.setattr(conv, "_FEW", 1 << 40)
    return request.param


def on_device(function, arrays, *options):
    """Call a kernel with NumPy arrays: the last one is written and returned, filled with rubbish before."""
    *inputs, out = [None if a is None else _shifted(a) for a in arrays]
    function(*inputs, out, *options)
    return memory.to_host(out)


def _shifted(array):
    """Move an array to the device, behind a few other elements: its offset is not 0."""
    return memory.to_device(np.concatenate([np.full(5, 77, array.dtype), array.ravel()]))[5:].reshape(array.shape)


def assert_close(found, wanted, rtol):
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=rtol * max(1e-30, np.abs(wanted).max(initial=0)))


def passes(geometry, dtype, run):
    """Forward with bias and ReLU, and both gradients, by ``run(name, arrays, options)``."""
    x, weight, bias, dy = tools.arrays(geometry, dtype)
    rule = geometry[3:7]
    return [
        run("conv2d_forward", [x, weight, bias, np.full_like(dy, 77)], *rule, "relu", None),
        run("conv2d_backward_input", [dy, weight, np.full_like(x, 77)], *rule, None),
        run("conv2d_backward_weight", [dy, x, np.full_like(weight, 77)], *rule, None),
        run("conv_transpose2d_forward", [dy, weight, bias_of(x), np.full_like(x, 77)], *rule, None),
    ]


def bias_of(x):
    return np.linspace(-1, 1, x.shape[1]).astype(x.dtype)


def by_reference(name, arrays, *options):
    getattr(reference, name)(*arrays, *options)
    return arrays[-1]


def by_device(name, arrays, *options):
    return on_device(getattr(conv, name), arrays, *options)


@every_geometry
def test_passes(geometry, kernels):
    wanted = passes(geometry, np.float64, by_reference)
    for a, b in zip(passes(geometry, np.float64, by_device), wanted, strict=True):
        assert_close(a, b, 1e-12)


@pytest.mark.parametrize("name", ["four neighbours", "stride"])
def test_float32(name, kernels):
    in_float32(GEOMETRIES[name])


def in_float32(geometry):
    wanted = passes(geometry, np.float32, by_reference)
    for a, b in zip(passes(geometry, np.float32, by_device), wanted, strict=True):
        assert a.dtype == np.float32
        assert_close(a, b, 1e-6)


@pytest.mark.parametrize("tile", [Tile(32, 16, 8, 1, 1), Tile(64, 16, 8, 2, 2), Tile(16, 16, 16, 1, 1)])
def test_tile_shapes(tile, monkeypatch):
    monkeypatch.setattr(conv, "_FEW", 0)
    monkeypatch.setattr(conv, "_NARROW", 0)
    monkeypatch.setattr(conv, "choose", lambda *shape: tile)
    in_float32(((1, 2, 4, 6), 3, (3, 2), (1, 1), (1, 0), (1, 1), 1))


def test_production_tile(monkeypatch):
    monkeypatch.setattr(conv, "_FEW", 0)
    monkeypatch.setattr(conv, "choose", lambda *shape: Tile(128, 128, 8, 2, 2))
    geometry = ((1, 1, 4, 4), 6, (3, 3), (1, 1), (1, 1), (1, 1), 1)
    x, weight, bias, dy = tools.arrays(geometry, np.float32)
    for name, arrays, rest in (
        ("conv2d_forward", [x, weight, bias, dy.copy()], ("relu", None)),
        ("conv2d_backward_weight", [dy, x, weight.copy()], (None,)),
    ):
        found = by_device(name, arrays, *geometry[3:], *rest)
        assert_close(found, by_reference(name, arrays, *geometry[3:], *rest), 1e-6)


def test_sums_in_parts(kernels, monkeypatch):
    monkeypatch.setattr(conv, "parts", lambda *shape: (3, 16))
    monkeypatch.setattr(conv, "_thread_parts", lambda *shape: (3, 16))
    geometry = ((3, 2, 4, 4), 3, (2, 2), (1, 1), (0, 0), (1, 1), 1)  # 27 positions: the last part has none
    x, weight, _, dy = tools.arrays(geometry, np.float64)
    arrays = [dy, x, np.full_like(weight, 77)]
    found = by_device("conv2d_backward_weight", arrays, *geometry[3:], None)
    assert_close(found, by_reference("conv2d_backward_weight", arrays, *geometry[3:], None), 1e-12)


@pytest.mark.parametrize("shape", [(0, 3, 6, 5), (0, 3, 3, 3)], ids=["window", "filter of the image"])
def test_no_images(shape, kernels):
    geometry = (shape, 4, (3, 3), (1, 1), (0, 0), (1, 1), 1)
    y, dx, dweight, _ = passes(geometry, np.float64, by_device)
    assert y.size == dx.size == 0
    assert (dweight == 0).all()


def test_nan_and_infinity(kernels):
    geometry = ((2, 2, 4, 4), 3, (3, 3), (1, 1), (1, 1), (1, 1), 1)
    x, weight, bias, dy = tools.arrays(geometry, np.float64)
    x[0, 0, 1, 2], x[1, 1, 0, 0] = np.nan, np.inf
    arrays = [x, weight, bias, dy.copy()]
    found = by_device("conv2d_forward", arrays, *geometry[3:], "relu", None)
    np.testing.assert_allclose(found, by_reference("conv2d_forward", arrays, *geometry[3:], "relu", None), rtol=1e-12)
    arrays = [dy, x, weight.copy()]
    found = by_device("conv2d_backward_weight", arrays, *geometry[3:], None)
    np.testing.assert_allclose(found, by_reference("conv2d_backward_weight", arrays, *geometry[3:], None), rtol=1e-12)


def test_bias_gradient():
    dy = np.random.default_rng(0).standard_normal((3, 4, 5, 2))
    assert_close(on_device(conv.conv2d_backward_bias, [dy, np.full(4, 77.0)]), dy.sum((0, 2, 3)), 1e-12)


@every_geometry
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns(geometry, dtype):
    shape, _, *window, _ = geometry
    x, rng = tools.arrays(geometry, dtype)[0], np.random.default_rng(0)
    positions = np.prod(tools.y_shape(*geometry)[2:])
    cols = rng.standard_normal((shape[0], shape[1] * np.prod(window[0]), positions)).astype(dtype)
    for name, arrays in (("im2col", [x, np.full_like(cols, 77)]), ("col2im", [cols, np.full_like(x, 77)])):
        found = by_device(name, arrays, *window)
        assert_close(found, by_reference(name, arrays, *window), 1e-6 if dtype == np.float32 else 1e-14)


@pytest.mark.skipif("not _mma.available()", reason="needs TF32 tensor cores (compute capability 8.0)")
def test_tf32(monkeypatch):
    monkeypatch.setattr(conv, "_FEW", 0)
    monkeypatch.setattr(conv, "_NARROW", 0)
    monkeypatch.setattr(conv, "choose", lambda *shape: Tile(32, 16, 8, 2, 2, True))
    geometry = ((2, 2, 5, 4), 3, (3, 2), (1, 1), (1, 0), (1, 1), 1)
    x, weight, bias, dy = tools.arrays(geometry, np.float32)
    for name, arrays, rest in (
        ("conv2d_forward", [x, weight, bias, dy], (None, None)),
        ("conv2d_backward_input", [dy, weight, x], (None,)),
        ("conv2d_backward_weight", [dy, x, weight], (None,)),
    ):
        rounded = [_mma.rounded(a).astype(float) if a is not bias else a.astype(float) for a in arrays]
        found = by_device(name, arrays, *geometry[3:], *rest)
        assert_close(found, by_reference(name, rounded, *geometry[3:], *rest), 1e-6)


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 55 * 55, 224 * 224, 2**20 - 1, 2**20, 2**31 - 1])
def test_reciprocals(divisor):
    multiplier, shift = _taps.reciprocal(divisor)
    assert multiplier < 2**32
    rng = np.random.default_rng(divisor)
    multiples = [m * divisor for m in (1, 2, 3, (2**31 - 1) // divisor)]
    numbers = [0, 1, 2**31 - 1, *rng.integers(2**31, size=1000).tolist(), *multiples, *(m - 1 for m in multiples)]
    for n in (n for n in numbers if n < 2**31):
        assert n * multiplier < 2**64 and n * multiplier >> shift == n // divisor


def test_tables_are_kept():
    first = _taps.forward(3, (8, 8), (8, 8), (3, 3), (1, 1))
    assert _taps.forward(3, (8, 8), (8, 8), (3, 3), (1, 1)) is first


def test_no_zero_is_multiplied_between_strides():
    table = _taps.backward(1, 1, (4, 4), (8, 8), (3, 3), (2, 2), (1, 1), (1, 1))
    rows = memory.to_host(table.rows)[: _taps.PHASE * 4].reshape(4, _taps.PHASE)
    assert rows[:, 1].tolist() == [1, 2, 2, 4]  # taps that meet the pixels of each phase: 9 together


def test_cpu_agrees_on_a_larger_one(kernels):
    geometry = ((1, 3, 9, 8), 5, (3, 3), (2, 2), (1, 1), (1, 1), 1)
    x, weight, _, dy = tools.arrays(geometry, np.float64)
    wanted = tools.three_passes(cpu, x, weight, dy, geometry)
    found = [
        by_device("conv2d_forward", [x, weight, None, np.full_like(dy, 77)], *geometry[3:], None, None),
        by_device("conv2d_backward_input", [dy, weight, np.full_like(x, 77)], *geometry[3:], None),
        by_device("conv2d_backward_weight", [dy, x, np.full_like(weight, 77)], *geometry[3:], None),
    ]
    for a, b in zip(found, wanted, strict=True):
        assert_close(a, b, 1e-12)
