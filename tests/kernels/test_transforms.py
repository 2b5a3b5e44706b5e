"""The matrices and transforms of Winograd's method: the paper's numbers, exact fractions, LLVM against Python."""

import re
from fractions import Fraction
from pathlib import Path

import numba
import numpy as np
import pytest

from tinyconv_kernels.cpu import _micro, _transforms

compiled = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="needs the compiled loops")
LANES = {dtype: _micro.VECTOR_BYTES // np.dtype(dtype).itemsize for dtype in (np.float32, np.float64)}


def test_the_matrices_are_those_of_the_paper():
    """Lavin & Gray 2016, sec. 4.1, F(4x4, 3x3)."""
    pixels = [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
    filters = [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
    output = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
    np.testing.assert_array_equal(_transforms.PIXELS, pixels)
    np.testing.assert_allclose(_transforms.FILTER[3], filters, rtol=1e-15)
    np.testing.assert_array_equal(_transforms.OUTPUT[4], output)


def convolve(pixels, taps):
    """Return the outputs of a small convolution, the sums written out."""
    n, terms = len(taps), 7 - len(taps)
    return [
        [sum(pixels[i + a][j + b] * taps[a][b] for a in range(n) for b in range(n)) for j in range(terms)]
        for i in range(terms)
    ]


@pytest.mark.parametrize("taps", [2, 3, 4, 5])
def test_in_fractions_the_method_is_exact(taps, rng):
    exact = {
        name: np.array([[Fraction(value).limit_denominator(1000) for value in row] for row in matrix])
        for name, matrix in (
            ("pixels", _transforms.PIXELS),
            ("filter", _transforms.FILTER[taps]),
            ("output", _transforms.OUTPUT[7 - taps]),
        )
    }
    pixels, filters = (rng.integers(-9, 10, (n, n)).astype(object) for n in (6, taps))
    at_points = [m @ a @ m.T for m, a in ((exact["pixels"], pixels), (exact["filter"], filters))]
    outputs = exact["output"] @ (at_points[0] * at_points[1]) @ exact["output"].T
    assert outputs.tolist() == convolve(pixels, filters)


@pytest.fixture(scope="module")
def python():
    """The module once more, with nothing compiled."""
    source = Path(_transforms.__file__).read_text()
    source = re.sub(r"@njit\(.*\)\n", "", source).replace("if config.DISABLE_JIT else intrinsic(typed)", "")
    namespace = {"__name__": "python_transforms"}
    exec(compile(source, _transforms.__file__, "exec"), namespace)
    return namespace


def call(module, name, terms, src, dst, *where):
    """Transform once; ``where`` are first element, row and column stride of src and of dst."""
    s, s_row, s_col, d, d_row, d_col = (np.uint64(w) for w in where)
    function = module[name]
    if name == "transform_pixels":
        function(src, s, s_row, s_col, dst, d, d_row, d_col)
    else:
        function(terms, src, s, s_row, s_col, dst, d, d_row, d_col)


@pytest.fixture(scope="module")
def llvm():
    """Functions that can be called from here; intrinsics cannot."""
    transform_pixels = _transforms.transform_pixels

    @numba.njit
    def pixels(src, s, s_row, s_col, dst, d, d_row, d_col):
        transform_pixels(src, s, s_row, s_col, dst, d, d_row, d_col)

    return {
        "transform_pixels": pixels,
        "transform_filter": _transforms.transform_filter,
        "transform_output": _transforms.transform_output,
    }


@compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "terms"),
    [("transform_pixels", 6), *(("transform_" + kind, n) for kind in ("filter", "output") for n in (2, 3, 4, 5))],
)
def test_transforms(python, llvm, rng, dtype, name, terms):
    lanes = LANES[dtype]
    size = 7 + 6 * 7 * lanes * 6  # rows are not whole multiples of columns, nothing begins at a whole vector
    src = rng.standard_normal(size).astype(dtype)
    got, want = np.full(size, 77, dtype), np.full(size, 77, dtype)
    where = 3, 7 * lanes + 1, lanes, 5, lanes + 2, 6 * lanes + 13
    call(llvm, name, terms, src, got, *where)
    call(python, name, terms, src, want, *where)
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())
    np.testing.assert_array_equal(got == 77, want == 77)  # nothing else is written


@compiled
@pytest.mark.parametrize("taps", [2, 3, 4, 5])
def test_transforms_make_a_convolution(llvm, rng, taps):
    """In float64 and with small whole numbers, one convolution in each lane."""
    lanes = LANES[np.float64]
    pixels, filters = (rng.integers(-9, 10, (n, n, lanes)).astype(np.float64) for n in (6, taps))
    at_points = [np.empty((6, 6, lanes)) for _ in range(2)]
    for name, n, src, dst in zip(
        ("transform_pixels", "transform_filter"), (6, taps), (pixels, filters), at_points, strict=True
    ):
        call(llvm, name, n, src.reshape(-1), dst.reshape(-1), 0, n * lanes, lanes, 0, 6 * lanes, lanes)
    outputs, side = np.empty((7 - taps, 7 - taps, lanes)), 7 - taps
    product = (at_points[0] * at_points[1]).reshape(-1)
    call(llvm, "transform_output", side, product, outputs.reshape(-1), 0, 6 * lanes, lanes, 0, side * lanes, lanes)
    for lane in range(lanes):
        want = convolve(pixels[:, :, lane], filters[:, :, lane])
        np.testing.assert_allclose(outputs[:, :, lane], want, rtol=0, atol=1e-10)
