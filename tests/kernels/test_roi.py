"""Regions of interest: reference = cpu, the numbers worked out by hand, rounding, ties, NaN, regions beyond the map."""

import numpy as np
import pytest

from tinyconv_kernels.cpu import roi as cpu
from tinyconv_kernels.reference import roi as reference

modules = pytest.mark.parametrize("module", [reference, cpu])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# x1 and y1 from .. to, then width and height from .. to, in pixels; the map is 9 x 11 cells of 16 pixels.
KINDS = {
    "inside": (0, 90, 5, 60),
    "across the border": (-60, 170, 20, 150),
    "tiny": (-20, 190, 0, 3),
    "the wrong way round": (0, 150, -60, 20),
    "far larger": (-2000, 2000, 0, 4000),
}
kinds = pytest.mark.parametrize("kind", KINDS)
RAMP = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)  # value = 8 row + column


def regions(rng, kind, count, dtype, images=2):
    low, high, least, most = KINDS[kind]
    corners = rng.uniform(low, high, (count, 2))
    index = rng.integers(0, images, (count, 1))
    return np.concatenate([index, corners, corners + rng.uniform(least, most, (count, 2))], 1).astype(dtype)


def pool(module, x, rois, out, scale=1 / 16):
    """Forward into outputs filled with rubbish: a kernel must overwrite them completely."""
    y = np.full((len(rois), x.shape[1], *out), 77, x.dtype)
    switches = np.full(y.shape, 77)
    module.roi_pool_forward(x, np.asarray(rois, x.dtype), y, switches, scale)
    return y, switches


def pool_backward(module, dy, rois, switches, x):
    dx = np.full_like(x, 77)
    module.roi_pool_backward(dy, np.asarray(rois, x.dtype), switches, dx, 1 / 16)
    return dx


@kinds
@dtypes
@pytest.mark.parametrize("channels", [1, 37])  # a CPU's thread handles 32 side by side
def test_roi_pool(kind, dtype, channels):
    rng = np.random.default_rng(0)
    x, rois = rng.standard_normal((2, channels, 9, 11)).astype(dtype), regions(rng, kind, 12, dtype)
    (want, want_switches), (got, switches) = (pool(m, x, rois, (3, 4)) for m in (reference, cpu))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(switches, want_switches)
    dy = rng.standard_normal(got.shape).astype(dtype)
    want, got = (pool_backward(m, dy, rois, switches, x) for m in (reference, cpu))
    np.testing.assert_array_equal(got, want)  # same sums in the same order
    np.testing.assert_allclose(got.sum(dtype=np.float64), dy[switches >= 0].sum(dtype=np.float64), rtol=1e-4)


@modules
@pytest.mark.parametrize(
    "region,bins,wanted",
    [
        ((16, 0, 100, 75), 2, [[19, 22], [43, 46]]),  # cells 1 .. 6 and 0 .. 5; without the + 1, 19 21 35 37
        ((0, 0, 111, 111), 3, [[18, 21, 23], [42, 45, 47], [58, 61, 63]]),  # rows 0-2, 2-5, 5-7: they share some
        ((8, 8, 40, 40), 3, [[9, 10, 11], [17, 18, 19], [25, 26, 27]]),  # 0.5 is 1 and 2.5 is 3; to even, 0 and 2
        ((16, 16, 16, 16), 2, [[9, 9], [9, 9]]),  # one cell, in every bin
        ((64, 64, 16, 16), 1, [[36]]),  # the wrong way round: one cell
    ],
)
def test_roi_pool_by_hand(module, region, bins, wanted):
    y, switches = pool(module, RAMP, [[0, *region]], (bins, bins))
    np.testing.assert_array_equal(y[0, 0], wanted)
    np.testing.assert_array_equal(switches[0, 0], wanted)


@modules
def test_bins_beyond_the_map_are_0_and_get_no_gradient(module):
    rois = [[0, 64, 64, 200, 200]]
    y, switches = pool(module, RAMP, rois, (2, 2))
    np.testing.assert_array_equal(y[0, 0], [[63, 0], [0, 0]])
    np.testing.assert_array_equal(switches[0, 0], [[63, -1], [-1, -1]])
    dx = pool_backward(module, np.ones_like(y), rois, switches, RAMP)
    assert dx[0, 0, 7, 7] == 1 and dx.sum() == 1
    everywhere = [[0, -1e30, -1e30, 1e30, 1e30], [0, 1e30, 1e30, 2e30, 2e30], [0, -2e30, -2e30, -1e30, -1e30]]
    y, switches = pool(module, RAMP, everywhere, (1, 1))
    assert y.ravel().tolist() == [63, 0, 0] and switches.ravel().tolist() == [63, -1, -1]


@modules
def test_gradients_of_regions_that_overlap_add(module):
    rois = [[0, 16, 0, 100, 75], [0, 0, 0, 111, 111]]
    one = pool(module, RAMP, rois[:1], (2, 2))
    dy = np.array([[[[1, 2], [3, 4]]]], np.float32)
    once = pool_backward(module, dy, rois[:1], one[1], RAMP)
    assert once[0, 0].ravel()[[19, 22, 43, 46]].tolist() == [1, 2, 3, 4] and once.sum() == 10
    twice = pool(module, RAMP, [rois[0]] * 2, (2, 2))
    dx = pool_backward(module, np.concatenate([dy, dy]), [rois[0]] * 2, twice[1], RAMP)
    np.testing.assert_array_equal(dx, 2 * once)


@pytest.mark.parametrize("values", [(0.0,), (0.0, 1.0), (np.nan, 0.0, 1.0), (-np.inf,), (-np.inf, np.nan)])
@kinds
def test_roi_pool_ties_and_nan(kind, values):
    rng = np.random.default_rng(1)
    x, rois = rng.choice(values, (2, 3, 9, 11)).astype(np.float32), regions(rng, kind, 12, np.float32)
    (want, want_switches), (got, switches) = (pool(m, x, rois, (2, 3)) for m in (reference, cpu))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(switches, want_switches)


@modules
def test_the_first_maximum_wins_and_a_nan_over_all(module):
    x = np.array([[[[1, 5, 5], [5, np.nan, 2], [np.nan, 9, 9]]]], np.float64)
    regions_of_rows = [[0, 0, 0, 2, 0], [0, 0, 1, 2, 1], [0, 0, 0, 2, 2]]
    y, switches = pool(module, x, regions_of_rows, (1, 1), 1.0)
    np.testing.assert_array_equal(y.ravel(), [5, np.nan, np.nan])
    assert switches.ravel().tolist() == [1, 4, 6]  # the first 5, the NaN, the last NaN


@modules
def test_halves_are_rounded_away_from_zero_below_it_too(module):
    """-1.5 is -2 and 1.5 is 2: five cells, so that both bins have cell 0. From -1 on there would be four."""
    _, switches = pool(module, -RAMP, [[0, -24, -24, 24, 24]], (2, 2))
    assert not switches.any()


@modules
def test_a_half_less_the_smallest_step_is_rounded_down(module):
    """Adding 0.5 would round up twice."""
    almost = np.nextafter(np.float32(0.5), np.float32(0))
    y, _ = pool(module, RAMP, [[0, almost, almost, almost, almost]], (1, 1), 1.0)
    assert y.item() == 0


# ---------------------------------------------------------------------------------------------------------------- align
def align(module, x, rois, out, *rule):
    y = np.full((len(rois), x.shape[1], *out), 77, x.dtype)
    module.roi_align_forward(x, np.asarray(rois, x.dtype), y, *rule)
    return y


@kinds
@dtypes
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 1, 3])
def test_roi_align(kind, ratio, aligned, dtype):
    rng = np.random.default_rng(2)
    x, rois = rng.standard_normal((2, 3, 9, 11)).astype(dtype), regions(rng, kind, 6, dtype)
    rule = 1 / 16, ratio, aligned
    want, got = (align(m, x, rois, (3, 2), *rule) for m in (reference, cpu))
    close = {"rtol": 0, "atol": 1e-5 if dtype == np.float32 else 1e-13}
    np.testing.assert_allclose(got, want, **close)
    dy, grads = rng.standard_normal(got.shape).astype(dtype), [np.full_like(x, 77), np.full_like(x, 77)]
    for module, dx in zip((reference, cpu), grads, strict=True):
        module.roi_align_backward(dy, rois, dx, *rule)
    np.testing.assert_allclose(grads[1], grads[0], **close)
    # Linear in x, so that <dy, align(x)> = <dx, x>.
    left, right = (dy * got).sum(dtype=np.float64), (grads[1] * x).sum(dtype=np.float64)
    np.testing.assert_allclose(left, right, rtol=1e-3 if dtype == np.float32 else 1e-11, atol=1e-5)


@modules
def test_roi_align_by_hand(module):
    x = RAMP.astype(np.float64)

    def one(region, *rule):
        return align(module, x, [[0, *region]], (1, 1), 1.0, *rule).item()

    # A ramp's mean over samples is its value at their centre: here row 2.5 and column 3.
    assert one((2, 1, 4, 4), 2, False) == 8 * 2.5 + 3
    assert one((2, 1, 4, 4), 2, True) == 8 * 2 + 2.5  # half a cell up and to the left
    assert one((2, 1, 4, 4), 0, False) == 8 * 2.5 + 3  # 3 x 2 samples
    assert one((3, 3, 3, 3), 1, False) == 8 * 3.5 + 3.5  # at least one cell long
    assert one((3.5, 3.5, 3.5, 3.5), 1, True) == 8 * 3 + 3  # a point, without that rule
    assert one((3.5, 3.5, 3.5, 3.5), 0, True) == 0  # of no length and no samples
    # Along the columns: -1 .. 0 is column 0, 7 .. 8 is column 7, beyond there are zeros.
    assert one((-1, 0, -1, 0), 1, True) == 0 and one((8, 0.5, 8, 0.5), 1, True) == 7
    assert one((8.5, 0.5, 8.5, 0.5), 1, True) == 7 and one((8.51, 0.5, 8.51, 0.5), 1, True) == 0
    assert one((-0.5, 1.5, -0.5, 1.5), 1, True) == 8 and one((-0.51, 1.5, -0.51, 1.5), 1, True) == 0


@pytest.mark.parametrize("ratio", [0, 1, 2])
def test_a_cell_of_weight_0_may_hold_a_nan(ratio):
    rng = np.random.default_rng(3)
    x = rng.choice([np.nan, np.inf, 1.0, 2.0], (2, 2, 9, 11), p=[0.03, 0.02, 0.5, 0.45])
    rois = np.concatenate([rng.integers(0, 2, (60, 1)), rng.integers(-2, 12, (60, 4))], 1).astype(float)
    want, got = (align(m, x, rois, (1, 1), 1.0, ratio, False) for m in (reference, cpu))
    np.testing.assert_allclose(got, want, rtol=1e-13)
    assert np.isnan(got).any() and np.isfinite(got).any()
    x = np.array([[[[1, np.nan, 3]]]])
    assert align(cpu, x, [[0, 0.5, 0.5, 0.5, 0.5]], (1, 1), 1.0, 1, True).item() == 1  # exactly at the first cell


@pytest.mark.parametrize("module,reach", [(reference, 50), (cpu, 50), (cpu, 10**6)])
def test_of_a_region_far_larger_than_the_map_nine_samples_a_side_count(module, reach):
    """A sample a cell, at -0.5, 0.5 .. 7.5: row 0, the seven between two rows, row 7. The others are 0."""
    y = align(module, RAMP.astype(np.float64), [[0, -reach, -reach, reach, reach]], (1, 1), 1.0, 0, False)
    rows = 0 + sum(k + 0.5 for k in range(7)) + 7
    assert y.item() == pytest.approx(9 * (8 * rows + rows) / (2 * reach) ** 2)


@modules
@dtypes
def test_no_regions(module, dtype):
    x, none = np.ones((2, 3, 4, 5), dtype), np.zeros((0, 5), dtype)
    y, switches = pool(module, x, none, (2, 2))
    assert y.shape == (0, 3, 2, 2) and not pool_backward(module, y, none, switches, x).any()
    dx = np.full_like(x, 77)
    module.roi_align_backward(y, none, dx, 1.0, 2, False)
    assert not dx.any() and align(module, x, none, (2, 2), 1.0, 2, False).shape == (0, 3, 2, 2)
    no_image = np.zeros((0, 3, 4, 5), dtype)
    assert pool(module, no_image, none, (2, 2))[0].shape == (0, 3, 2, 2)
