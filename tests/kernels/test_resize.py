"""Resizing kernels: reference = cpu over sizes, hand-made values, and the gradient as the transpose."""

import numpy as np
import pytest

from tinyconv_kernels.cpu import resize as cpu
from tinyconv_kernels.reference import resize as reference

modules = pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
SIZES = [
    ((5, 7), (10, 14)), ((5, 7), (3, 4)), ((4, 4), (9, 13)), ((1, 1), (3, 3)), ((6, 5), (6, 5)), ((5, 5), (1, 1)),
    ((3, 3), (7, 2)), ((49, 7), (23, 99)),
]  # fmt: skip
MODES = ["nearest", "bilinear", "bilinear aligned"]


def steps(size, out, mode):
    """Source pixels per output pixel."""
    if mode == "bilinear aligned":
        return tuple((n - 1) / (m - 1) if m > 1 else 0.0 for n, m in zip(size, out, strict=True))
    return tuple(n / m for n, m in zip(size, out, strict=True))


def resize(module, x, out, mode, scale=None):
    y = np.full(x.shape[:2] + out, 77, x.dtype)
    scale = steps(x.shape[2:], out, mode) if scale is None else scale
    if mode == "nearest":
        module.interpolate_nearest_forward(x, y, scale)
    else:
        module.interpolate_bilinear_forward(x, y, mode == "bilinear aligned", scale)
    return y


def gradient(module, dy, size, mode):
    dx = np.full(dy.shape[:2] + size, 77, dy.dtype)
    scale = steps(size, dy.shape[2:], mode)
    if mode == "nearest":
        module.interpolate_nearest_backward(dy, dx, scale)
    else:
        module.interpolate_bilinear_backward(dy, dx, mode == "bilinear aligned", scale)
    return dx


@pytest.mark.parametrize("size,out", SIZES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [2, 0])
def test_resize(size, out, mode, dtype, batch):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((batch, 3, *size)).astype(dtype), rng.standard_normal((batch, 3, *out)).astype(dtype)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}
    np.testing.assert_allclose(resize(cpu, x, out, mode), resize(reference, x, out, mode), **tolerance)
    np.testing.assert_allclose(gradient(cpu, dy, size, mode), gradient(reference, dy, size, mode), **tolerance)


@pytest.mark.parametrize("size,out", SIZES)
@pytest.mark.parametrize("mode", MODES)
@modules
def test_gradient_is_the_transpose(module, size, out, mode):
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((1, 2, *size)), rng.standard_normal((1, 2, *out))
    forward, backward = (resize(module, x, out, mode) * dy).sum(), (x * gradient(module, dy, size, mode)).sum()
    assert forward == pytest.approx(backward, rel=1e-12)


@modules
def test_by_hand(module):
    x = np.array([[[[0.0, 1, 2, 3]]]])
    assert resize(module, x, (2, 8), "nearest")[0, 0].tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]] * 2
    assert resize(module, x, (1, 3), "nearest")[0, 0].tolist() == [[0, 1, 2]]
    assert resize(module, x, (1, 2), "bilinear")[0, 0].tolist() == [[0.5, 2.5]]
    assert resize(module, x, (1, 8), "bilinear")[0, 0].tolist() == [[0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]]
    assert resize(module, x, (1, 7), "bilinear aligned")[0, 0].tolist() == [[0, 0.5, 1, 1.5, 2, 2.5, 3]]
    # A scale factor that leaves the size alone, or doubles it, copies pixels, whatever its step.
    assert resize(module, x, (1, 4), "nearest", (1.0, 1 / 1.1))[0, 0].tolist() == [[0, 1, 2, 3]]
    assert resize(module, x, (2, 8), "nearest", (1 / 2.1, 1 / 2.1))[0, 0].tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]] * 2
