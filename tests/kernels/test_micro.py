"""The LLVM versions of the vector loops against the Python functions of the same name, which are their meaning."""

import base64
import os
import pickle
import platform
import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from tinyconv_kernels.cpu import _direct, _micro, conv

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="needs the compiled loops")
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
u64 = np.uint64


@pytest.fixture(scope="module")
def python():
    """The module once more, with nothing compiled."""
    namespace = {"__name__": "python_loops"}
    source = Path(_micro.__file__).read_text().replace("if not config.DISABLE_JIT:", "if False:")
    exec(compile(source, _micro.__file__, "exec"), namespace)
    return namespace


# Compiles a kernel of cpu/_direct.py for the processor in the environment, without running it; prints its instructions.
COMPILE = """
import base64, pickle, sys, numba
from tinyconv_kernels.cpu import _direct
signature = pickle.loads(base64.b64decode(sys.argv[2]))
kernel = numba.njit(nogil=True, error_model="numpy")(getattr(_direct, sys.argv[1]).py_func)
kernel.compile(signature)
print(kernel.inspect_asm(signature))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="instructions of x86 are read")
@pytest.mark.parametrize("name", ["correlate", "correlate_weight"])
def test_the_inner_loops_keep_their_sums_in_registers(name, tmp_path):
    """Compiled for a Zen 4: there LLVM had sums on the stack, and 1x1 convolutions took up to twice their time."""
    x, weight, y = (np.ones(shape, np.float32) for shape in ((1, 16, 8, 8), (16, 16, 1, 1), (1, 16, 8, 8)))
    geometry = (1, 1), (0, 0), (1, 1), 1
    conv.conv2d_forward(x, weight, None, y, *geometry, None, None)
    conv.conv2d_backward_weight(y, x, weight, *geometry, None)
    signature = base64.b64encode(pickle.dumps(getattr(_direct, name).signatures[0])).decode()
    zen4 = {"NUMBA_CPU_NAME": "znver4", "NUMBA_CPU_FEATURES": "+avx512f", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, name, signature], env={**os.environ, **zen4}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    blocks = re.split(r"^[.\w]+:.*$", done.stdout, flags=re.MULTILINE)
    loops = [block for block in blocks if block.count("vfmadd") >= 8 * 3]  # a whole tile at least
    assert loops, "no loop was found: has the micro-kernel changed?"
    vectors = [line for loop in loops for line in loop.splitlines() if "%zmm" in line]
    assert [line for line in vectors if re.search(r"%r[sb]p\)", line)] == []


@dtypes
@pytest.mark.parametrize("vectors", range(1, _micro.VECTORS + 1))
@pytest.mark.parametrize("accumulate", [False, True])
def test_outer_tile(python, rng, dtype, vectors, accumulate):
    outer_tile = _micro.outer_tile

    @numba.njit
    def compiled(a, a_row, a_col, b, c, vectors, depth):
        outer_tile(a, a_row, u64(2), a_col, u64(3), b, u64(5), u64(100), c, u64(7), u64(90), depth, vectors, accumulate)

    for depth in (1, 9, 40):
        a, b, c = (rng.standard_normal(n).astype(dtype) for n in (600, 6000, 1000))
        a_row, a_col = (rng.integers(0, 300, n).astype(np.uint64) for n in (_micro.ROWS + 2, depth + 3))
        want, before = c.copy(), c.copy()
        python["outer_tile"](a, a_row, 2, a_col, 3, b, 5, 100, want, 7, 90, depth, vectors, accumulate)
        compiled(a, a_row, a_col, b, c, u64(vectors), u64(depth))
        np.testing.assert_allclose(c, want, rtol=0, atol=(1e-5 if dtype == np.float32 else 1e-13))
        r, q = _micro.ROWS - 1, 1  # and one element written out, as the docstring defines it
        total = before[7 + 90 * r + q] if accumulate else 0
        total += sum(a[a_row[2 + r] + a_col[3 + k]] * b[5 + 100 * k + q] for k in range(depth))
        np.testing.assert_allclose(c[7 + 90 * r + q], total, atol=1e-4)


@dtypes
def test_transpose_block(python, rng, dtype):
    transpose_block = _micro.transpose_block

    @numba.njit
    def compiled(src, dst):
        transpose_block(src, u64(3), u64(21), dst, u64(2), u64(18))

    src, dst = rng.standard_normal(400).astype(dtype), np.zeros(400, dtype)
    want = dst.copy()
    python["transpose_block"](src, 3, 21, want, 2, 18)
    compiled(src, dst)
    np.testing.assert_array_equal(dst, want)
    assert dst[2 + 18 * 1 + 0] == src[3 + 21 * 0 + 1]


@dtypes
@pytest.mark.parametrize("floor", [-np.inf, 0])
def test_copy_row(python, rng, dtype, floor):
    """Every number of whole vectors and left-over elements: NaN stays NaN, and nothing beside the row is written."""
    copy_row = _micro.copy_row

    @numba.njit
    def compiled(src, dst, length, add, floor):
        copy_row(src, u64(3), dst, u64(5), length, add, floor)

    lanes = _micro.VECTOR_BYTES // np.dtype(dtype).itemsize
    add, floor = dtype(0.25), dtype(floor)
    for length in range(2 * lanes + 2):
        for first in range(3):  # every element is a NaN, and an infinity, once
            src, dst = rng.standard_normal(2 * lanes + 20).astype(dtype), np.full(2 * lanes + 20, 77, dtype)
            src[3 + first :: 3], src[4 + first :: 6] = np.nan, -np.inf
            want = dst.copy()
            python["copy_row"](src, 3, want, 5, length, add, floor)
            compiled(src, dst, u64(length), add, floor)
            np.testing.assert_array_equal(dst, want)
            row = src[3 : 3 + length]
            np.testing.assert_array_equal(np.isnan(dst[5 : 5 + length]), np.isnan(row))
            assert (dst[:5] == 77).all() and (dst[5 + length :] == 77).all()
            assert not (dst[5 : 5 + length] < floor).any()
