"""No grid is larger than CUDA allows: the simulator would take it, a GPU refuses."""

from __future__ import annotations

import numpy as np
import pytest
from on_device import home, kernels, moved

from tinyconv_kernels.reference import conv as reference

pytestmark = pytest.mark.cuda


@pytest.fixture
def grids(monkeypatch):
    """What is launched, without running it."""
    found, launch = [], kernels("launch")
    monkeypatch.setattr(launch, "blocks", lambda kernel, grid, threads, *rest: found.append(grid))
    monkeypatch.setattr(launch, "each", lambda *rest, **more: None)
    return found


def allowed(grid):
    return grid[0] < 1 << 31 and all(n <= 65535 for n in grid[1:])


@pytest.mark.parametrize("outputs,count", [(1, (1 << 31) + 5), (2, (1 << 30) + (1 << 29)), (1, (1 << 32) - 1)])
def test_sums_of_more_than_2_to_the_30_elements(outputs, count, grids):
    one, out = kernels("memory").empty((outputs, 1), np.float32), kernels("memory").empty((outputs,), np.float32)
    kernels("reduce").reduce_sum(one.broadcast_to((outputs, count)), out, (1,))
    assert grids and all(map(allowed, grids))


def test_a_sum_in_larger_chunks(monkeypatch):
    reduce, launch = kernels("reduce"), kernels("launch")
    monkeypatch.setattr(launch, "GRID", 3)
    x = np.random.default_rng(0).standard_normal((2, 999))
    out = kernels("memory").empty((2,), np.float64)
    (kept, gone), on_device = reduce._split(kernels("memory").to_device(x), (1,)), kernels("memory").to_device(x)
    reduce._by_blocks("add", on_device, out, np.float64(0), 999, kept, gone, chunk=16, threads=4)
    np.testing.assert_allclose(home(out), x.sum(1), rtol=1e-12)


@pytest.mark.parametrize("few", [0, 1 << 40], ids=["tiles", "threads"])
def test_more_phases_of_a_stride_than_a_grid_has_rows(few, monkeypatch):
    """A stride of 256 along both axes has 65536; here a grid shall have 8 rows, and a stride of 3 has 9."""
    launch, conv, real = kernels("launch"), kernels("conv"), kernels("launch").blocks
    grids = []
    monkeypatch.setattr(launch, "GRID", 8)
    monkeypatch.setattr(launch, "blocks", lambda kernel, grid, *rest: (grids.append(grid), real(kernel, grid, *rest)))
    monkeypatch.setattr(conv, "_FEW", few)
    monkeypatch.setattr(conv, "_NARROW", 0)
    rng = np.random.default_rng(0)
    x, weight, want = rng.standard_normal((2, 3, 2, 3)), rng.standard_normal((3, 8, 4, 3)), np.empty((2, 8, 7, 9))
    options = (3, 3), (0, 0), (1, 1), 1, None
    reference.conv_transpose2d_forward(x, weight, None, want, *options)
    out = moved(np.full_like(want, 77))
    conv.conv_transpose2d_forward(moved(x), moved(weight), None, out, *options)
    np.testing.assert_allclose(home(out), want, rtol=1e-12)
    assert len(grids) == 1 and all(n <= 8 for n in grids[0][1:])


def test_parts_of_a_weights_gradient_by_threads():
    conv = kernels("conv")
    for weights, positions in ((1, 1 << 30), (3, 1 << 24), (1, 1), (70000, 100)):
        count, each = conv._thread_parts(weights, positions)
        assert 1 <= count <= 65535 and (count - 1) * each < positions <= count * each


def test_a_grid_that_is_too_large_is_an_error():
    with pytest.raises(AssertionError):
        kernels("launch").blocks(None, (1, 65536), 32)
