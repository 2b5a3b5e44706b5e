"""The matrix product on the device: NumPy's rules, every way to read a matrix, tile shapes, sums in parts, TF32."""

import numpy as np
import pytest

pytestmark = pytest.mark.cuda

pytest.importorskip("numba.cuda")

from tinyconv_kernels.cuda import _mma, _tile, matmul, memory  # noqa: E402
from tinyconv_kernels.cuda._tile import Tile  # noqa: E402
from tinyconv_kernels.reference import matmul as reference  # noqa: E402
from tinyconv_kernels.switches import switches  # noqa: E402

SHAPES = [
    ((3, 4), (4, 5)), ((1, 1), (1, 1)), ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((2, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (6, 4, 5)), ((2, 3, 4), (2, 1, 4, 5)), ((2, 3, 4), (4,)), ((4,), (2, 4, 5)), ((0, 4), (4, 5)),
    ((3, 0), (0, 5)), ((0, 3, 4), (4, 2)), ((5, 3, 4), (4, 2)),
]  # fmt: skip
SMALL = Tile(16, 16, 8, 1, 1)
PRODUCTION = Tile(128, 128, 8, 2, 2)


def numbers(shape, dtype=np.float64, seed=0):
    return (10 * np.random.default_rng([seed, *shape]).standard_normal(shape)).astype(dtype)


def stored(array, how):
    """Return the array on the device: in its own layout, transposed, or with gaps along both axes."""
    if how == "transposed":
        return memory.to_device(np.ascontiguousarray(array.swapaxes(-1, -2))).swapaxes(-1, -2)
    if how == "gaps":
        wide = np.full([2 * n for n in array.shape], 77, array.dtype)
        wide[tuple(slice(None, None, 2) for _ in array.shape)] = array
        return memory.to_device(wide)[tuple(slice(None, None, 2) for _ in array.shape)]
    if how == "offset":
        return memory.to_device(np.concatenate([np.full(3, 77, array.dtype), array.ravel()]))[3:].reshape(array.shape)
    return memory.to_device(array)


def assert_close(found, wanted, rtol):
    found = memory.to_host(found)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=rtol * max(1e-30, np.abs(wanted).max(initial=0)))


@pytest.mark.parametrize("a_shape,b_shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_ranks(a_shape, b_shape, dtype):
    a, b = numbers(a_shape, dtype), numbers(b_shape, dtype, seed=1)
    wanted = np.full((a @ b).shape, 77, dtype)
    out = memory.to_device(wanted)
    matmul.matmul(memory.to_device(a), memory.to_device(b), out)
    reference.matmul(a, b, wanted)
    assert_close(out, wanted, 1e-6 if dtype == np.float32 else 1e-12)


def test_views():
    a, b, wide = numbers((4, 6)), numbers((10, 4)), np.full((6, 10), 77.0)
    out = memory.to_device(wide)
    matmul.matmul(memory.to_device(a).T, memory.to_device(b).T[:, ::2], out[:, 1::2])
    wide[:, 1::2] = a.T @ b.T[:, ::2]
    assert_close(out, wide, 1e-12)
    matmul.matmul(memory.to_device(a).T, memory.to_device(b)[0], out[:, 0])
    wide[:, 0] = a.T @ b[0]
    assert_close(out, wide, 1e-12)


def test_infinity_and_nan():
    a, b = np.array([[np.inf, 0], [1, 1]]), np.array([[-1.0, 0], [0, 1]])
    out = memory.empty((2, 2), np.float64)
    matmul.matmul(memory.to_device(a), memory.to_device(b), out)
    assert_close(out[1], np.array([-1.0, 1]), 0)
    assert memory.to_host(out)[0, 0] == -np.inf and np.isnan(memory.to_host(out)[0, 1])


@pytest.mark.parametrize("a_how", ["as it is", "transposed"])
@pytest.mark.parametrize("b_how", ["as it is", "transposed"])
@pytest.mark.parametrize("sizes", [(20, 12, 24), (17, 11, 18)], ids=["16 bytes", "4 bytes"])
def test_every_way_to_read(a_how, b_how, sizes):
    m, k, n = sizes
    a, b = numbers((m, k), np.float32), numbers((k, n), np.float32)
    out = memory.to_device(np.full((m, n), 77, np.float32))
    matmul._by_tiles(stored(a, a_how), stored(b, b_how), out, SMALL)
    assert_close(out, a.astype(float) @ b.astype(float), 1e-6)


@pytest.mark.parametrize("how", ["gaps", "offset"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiles_of_any_view(how, dtype, monkeypatch):
    monkeypatch.setattr(matmul, "_FEW", 0)
    a, b = numbers((2, 1, 17, 9), dtype), numbers((2, 9, 12), dtype)
    wanted = a.astype(float) @ b.astype(float)
    out = stored(np.full(wanted.shape, 77, dtype), how)
    matmul.matmul(stored(a, how), stored(b, how), out)
    assert_close(out, wanted, 1e-6 if dtype == np.float32 else 1e-12)


def test_out_that_is_transposed(monkeypatch):
    monkeypatch.setattr(matmul, "_FEW", 0)
    a, b = numbers((20, 8), np.float32), numbers((8, 24), np.float32)
    out = stored(np.full((20, 24), 77, np.float32), "transposed")  # and so the product is taken the other way round
    matmul.matmul(memory.to_device(a), memory.to_device(b), out)
    assert_close(out, a.astype(float) @ b.astype(float), 1e-6)


def test_many_matrices_times_one_are_one_product(monkeypatch):
    monkeypatch.setattr(matmul, "_FEW", 0)
    a, b = numbers((3, 5, 9)), numbers((9, 12))
    rows, columns, out = matmul._without_batch(*map(memory.to_device, (a, b, np.full((3, 5, 12), 77.0))))
    assert (rows.shape, columns.shape, out.shape) == ((15, 9), (9, 12), (15, 12))
    matmul.matmul(rows, columns, out)
    assert_close(out, (a @ b).reshape(15, 12), 1e-12)


@pytest.mark.parametrize("tile", [Tile(32, 16, 8, 1, 1), Tile(64, 16, 8, 2, 2), Tile(32, 32, 16, 2, 1)])
def test_tile_shapes(tile):
    a, b = numbers((33, 21), np.float32), numbers((21, 35), np.float32)
    out = memory.to_device(np.full((33, 35), 77, np.float32))
    matmul._by_tiles(stored(a, "transposed"), memory.to_device(b), out, tile)
    assert_close(out, a.astype(float) @ b.astype(float), 1e-6)


def test_production_tile():
    a, b = numbers((12, 20), np.float32), numbers((20, 16), np.float32)
    out = memory.to_device(np.full((12, 16), 77, np.float32))
    matmul._by_tiles(memory.to_device(a), stored(b, "transposed"), out, PRODUCTION)
    assert_close(out, a.astype(float) @ b.astype(float), 1e-6)


def test_sums_in_parts():
    a, b = numbers((17, 40), np.float64), numbers((40, 15), np.float64)
    out = stored(np.full((17, 15), 77.0), "gaps")
    matmul._by_tiles(memory.to_device(a), memory.to_device(b), out, SMALL, (3, 16))
    assert_close(out, a @ b, 1e-12)


@pytest.mark.parametrize("sizes", [(16, 4096, 10), (4096, 16, 9216), (1, 9216, 4096), (64, 64, 1), (1, 10**6, 1)])
def test_parts_cover_a_sum(sizes):
    rows, terms, columns = sizes
    tile = _tile.choose(rows, columns, 1, np.float32)
    count, each = _tile.parts(tile, rows, columns, 1, terms)
    assert (count - 1) * each < terms <= count * each and (count == 1 or each % 16 == 0)


@pytest.mark.skipif("not _mma.available()", reason="needs TF32 tensor cores (compute capability 8.0)")
def test_tf32():
    a, b = numbers((33, 13), np.float32), numbers((13, 17), np.float32)
    out = memory.to_device(np.full((33, 17), 77, np.float32))
    matmul._by_tiles(memory.to_device(a), stored(b, "transposed"), out, Tile(32, 16, 8, 2, 2, True))
    wanted = _mma.rounded(a).astype(float) @ _mma.rounded(b).astype(float)
    assert_close(out, wanted, 1e-6)
    assert np.abs(memory.to_host(out) - a.astype(float) @ b).max() > 1e-5 * np.abs(wanted).max()  # it is not float32


@pytest.mark.skipif("not _mma.available()", reason="needs TF32 tensor cores (compute capability 8.0)")
def test_tf32_is_off_until_it_is_allowed(monkeypatch):
    assert not _tile.choose(512, 512, 1, np.dtype(np.float32)).tf32
    monkeypatch.setitem(switches, "tf32", True)
    assert _tile.choose(512, 512, 1, np.dtype(np.float32)).tf32
    assert not _tile.choose(512, 512, 1, np.dtype(np.float64)).tf32


def test_rounding_to_tf32():
    one = np.float32(1)
    steps = np.array([1 + 2.0**-11 - 2.0**-20, 1 + 2.0**-11, 1 + 2.0**-10, -1 - 2.0**-11], np.float32)
    np.testing.assert_array_equal(_mma.rounded(steps), np.float32([1, 1 + 2.0**-10, 1 + 2.0**-10, -1 - 2.0**-10]))
    assert np.isinf(_mma.rounded(np.float32(np.inf))) and np.isnan(_mma.rounded(one * np.nan))
