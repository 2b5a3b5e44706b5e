"""Winograd's convolution: the three passes against the direct kernels, when it is chosen, and what it touches."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convolution_tools import arrays, three_passes, y_shape
from tinyconv_kernels.cpu import _schedule
from tinyconv_kernels.cpu import conv as cpu
from tinyconv_kernels.reference import conv as reference

TOLERANCE = 3e-5  # of float32, relative to the largest value: what the README promises
both = pytest.mark.parametrize("taps", [3, 5])


def geometry(shape, filters, taps, padding, groups=1, stride=(1, 1), dilation=(1, 1)):
    return shape, filters, (taps, taps), stride, padding, dilation, groups


@pytest.fixture
def taken(monkeypatch):
    """Which passes were Winograd's: "run" forward or to the input, "weight" to the filter."""
    names = []

    def spy(name):
        kernel = getattr(_schedule, f"_{name}_winograd")

        def called(*arguments):
            names.append(name)
            kernel(*arguments)

        return called

    for name in ("run", "weight"):
        monkeypatch.setattr(_schedule, f"_{name}_winograd", spy(name))
    return names


@pytest.fixture
def everywhere(monkeypatch):
    """Winograd's method is taken wherever it applies, not only where it is faster."""

    def suits(terms, channels, lanes, size, dtype, transforms):
        return _schedule.switches["winograd"] and terms in (3, 5) and dtype == np.float32

    def weight_suits(weight_shape, y_shape, dtype, groups):
        height, width = weight_shape[2:]
        return y_shape[0] > 0 and height == width and suits(height, 0, 0, 0, dtype, 0)

    monkeypatch.setattr(_schedule, "_suits_winograd", suits)
    monkeypatch.setattr(_schedule, "_weight_suits_winograd", weight_suits)


def check(geometry, kind="conv2d"):
    """Compare the three passes in float32 with the same in float64, which are never Winograd's."""
    x, weight, _, dy = arrays(geometry, np.float32)
    got = three_passes(cpu, x, weight, dy, geometry, kind)
    want = three_passes(cpu, *(a.astype(np.float64) for a in (x, weight, dy)), geometry, kind)
    for name, a, b in zip(("forward", "input", "weight"), got, want, strict=True):
        error = np.abs(a - b).max(initial=0)
        assert error <= TOLERANCE * np.abs(b).max(initial=1), f"{kind} {name} of {geometry}: {error}"


@both
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 2), (4, 3), (0, 4), (3, 1)])
def test_every_size_of_map(taps, padding, everywhere, taken):
    """Every remainder of 4 (or 2), maps smaller than a square, and than the filter."""
    done = 0
    for height in range(1, 18):
        for width in (height, 18 - height):
            g = geometry((2, 16, height, width), 17, taps, padding)
            if min(y_shape(*g)[2:]) > 0:
                check(g)
                done += 1
    # Not all: where no position sees some tap, that tap is left out, and fewer than 3x3 are not Winograd's.
    assert min(taken.count("run") / 2, taken.count("weight")) >= 0.7 * done


@both
@pytest.mark.parametrize(
    ("channels", "filters"),
    [(16, 16), (17, 31), (31, 17), (48, 50), (50, 48), (16, 96), (130, 20), (20, 130), (1, 1), (3, 9)],
)
def test_channels_fill_vectors_or_do_not(taps, channels, filters, everywhere, taken):
    for kind in ("conv2d", "conv_transpose2d"):
        check(geometry((2, channels, 9, 11), filters, taps, (1, 2)), kind)
    assert taken.count("run") == 4
    assert taken.count("weight") == 2


LARGE = {
    "several tiles": geometry((3, 20, 37, 41), 33, 3, (1, 1)),
    "several tiles, 5x5": geometry((3, 20, 37, 41), 33, 5, (2, 2)),
    "several chunks of squares": geometry((9, 64, 63, 50), 64, 3, (1, 1)),
    "many small images": geometry((130, 32, 4, 3), 32, 3, (1, 1)),
    "groups": geometry((4, 96, 21, 22), 66, 3, (1, 1), groups=2),
    "groups, 5x5": geometry((4, 99, 17, 15), 96, 5, (2, 1), groups=3),
    "one wide row": geometry((1, 32, 3, 450), 32, 3, (1, 1)),
    "many channels": geometry((2, 260, 14, 14), 140, 3, (1, 1)),
}


@pytest.mark.parametrize("g", LARGE.values(), ids=LARGE.keys())
def test_large(g, everywhere, taken):
    check(g)
    assert set(taken) == {"run", "weight"}


@both
@pytest.mark.parametrize("groups", [1, 2])
def test_cpu_equals_reference(taps, groups, everywhere, taken):
    """The comparisons above are with the direct kernels; this one is with the definition."""
    g = geometry((3, 16 * groups, 10, 9), 18 * groups, taps, (2, 1), groups)
    x, weight, _, dy = arrays(g, np.float32)
    for kind in ("conv2d", "conv_transpose2d"):
        got = three_passes(cpu, x, weight, dy, g, kind)
        want = three_passes(reference, *(a.astype(np.float64) for a in (x, weight, dy)), g, kind)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * np.abs(b).max())
    assert len(taken) >= 6


@both
@pytest.mark.parametrize("activation", [None, "relu"])
def test_bias_and_relu(taps, activation, everywhere, taken):
    g = geometry((2, 16, 10, 7), 35, taps, (1, 1))
    x, weight, bias, y = arrays(g, np.float32)
    want = np.empty(y.shape)
    cpu.conv2d_forward(x, weight, bias, y, *g[3:7], activation, None)
    arguments = (a.astype(np.float64) for a in (x, weight, bias))
    reference.conv2d_forward(*arguments, want, *g[3:7], activation, None)
    np.testing.assert_allclose(y, want, rtol=0, atol=TOLERANCE * np.abs(want).max())
    assert taken == ["run"]
    assert (y.min() >= 0) == (activation == "relu")


@both
def test_the_fused_relu_keeps_nan(taps, everywhere, taken):
    g = geometry((2, 16, 10, 7), 35, taps, (1, 1))
    x, weight, bias, y = arrays(g, np.float32)
    x[1, 3, 6, 2] = np.nan
    plain, limited = np.full_like(y, 77), np.full_like(y, 77)
    cpu.conv2d_forward(x, weight, bias, plain, *g[3:7], None, None)
    cpu.conv2d_forward(x, weight, bias, limited, *g[3:7], "relu", None)
    np.testing.assert_array_equal(limited, np.where(plain < 0, 0, plain))
    assert 0 < np.isnan(limited).sum() < y.size / 2
    assert taken == ["run", "run"]


@both
def test_empty_batch(taps, everywhere):
    g = geometry((0, 16, 9, 9), 16, taps, (1, 1))
    x, weight, _, dy = arrays(g, np.float32)
    for kind in ("conv2d", "conv_transpose2d"):
        first, second, dweight = three_passes(cpu, x, weight, dy, g, kind)
        assert first.size == second.size == 0
        assert not dweight.any()


THREADS = {**LARGE, "one small image": geometry((1, 160, 9, 9), 130, 3, (1, 1))}


@pytest.mark.parametrize("g", THREADS.values(), ids=THREADS.keys())
def test_threads_do_not_change_a_bit(g, everywhere, taken, monkeypatch):
    x, weight, _, dy = arrays(g, np.float32)
    results = []
    for threads in (1, 2, 3, 5):
        monkeypatch.setattr(_schedule, "threads_for", lambda work, n=threads: n)
        results.append(three_passes(cpu, x, weight, dy, g))
    for more in results[1:]:
        for one, many in zip(results[0], more, strict=True):
            np.testing.assert_array_equal(one, many)
    assert set(taken) == {"run", "weight"}


@both
def test_size_of_tiles_does_not_change_a_bit(taps, everywhere, monkeypatch):
    """Few squares at a time, or as many as there are: every output is one sum over channels, in their order."""
    g = geometry((3, 70, 14, 15), 40, taps, (1, 1))
    x, weight, _, dy = arrays(g, np.float32)
    results = []
    for transformed in (1, 3 << 18):
        monkeypatch.setattr(_schedule, "TRANSFORMED", transformed)
        results.append(three_passes(cpu, x, weight, dy, g)[:2])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_it_is_taken_where_it_pays(taken):
    check(geometry((8, 32, 28, 28), 32, 3, (1, 1)))
    assert taken == ["run", "run", "weight"]


@pytest.mark.parametrize(
    "g",
    [
        geometry((2, 16, 12, 12), 16, 3, (1, 1), stride=(2, 2)),
        geometry((2, 16, 12, 12), 16, 3, (1, 1), stride=(1, 2)),
        geometry((2, 16, 12, 12), 16, 5, (2, 2), stride=(2, 2)),  # of its input gradient's phases, one has 3x3 taps
        geometry((2, 16, 12, 12), 16, 3, (2, 2), stride=(2, 2), dilation=(2, 2)),  # likewise
        geometry((2, 16, 12, 12), 16, 3, (2, 2), dilation=(2, 2)),
        geometry((2, 16, 12, 12), 16, 3, (1, 1), dilation=(1, 2)),
        geometry((2, 16, 12, 12), 16, 4, (1, 1)),
        geometry((2, 16, 12, 12), 16, 1, (0, 0)),
        ((2, 16, 12, 12), 16, (3, 5), (1, 1), (1, 1), (1, 1), 1),
    ],
)
def test_it_is_not_taken_otherwise(g, taken, everywhere):
    for kind in ("conv2d", "conv_transpose2d"):
        check(g, kind)
    assert taken == []


def test_few_channels_are_direct(taken):
    """They do not fill a vector."""
    check(geometry((8, 15, 28, 28), 64, 3, (1, 1)))
    check(geometry((8, 64, 28, 28), 15, 3, (1, 1)))
    check(geometry((8, 32, 28, 28), 32, 3, (1, 1), groups=4))
    assert taken == []


def test_float64_is_always_direct(taken, everywhere):
    g = geometry((2, 16, 12, 12), 16, 3, (1, 1))
    x, weight, _, dy = arrays(g, np.float64)
    three_passes(cpu, x, weight, dy, g)
    assert taken == []


@both
def test_the_switch(taps, everywhere, taken, monkeypatch):
    g = geometry((3, 32, 15, 13), 32, taps, (1, 1))
    x, weight, _, dy = arrays(g, np.float32)
    ours = three_passes(cpu, x, weight, dy, g)
    assert set(taken) == {"run", "weight"}
    taken.clear()
    monkeypatch.setitem(_schedule.switches, "winograd", False)
    direct = three_passes(cpu, x, weight, dy, g)
    assert taken == []
    want = three_passes(reference, *(a.astype(np.float64) for a in (x, weight, dy)), g)
    for a, b, c in zip(ours, direct, want, strict=True):
        assert (a != b).any()  # another order of the sums
        np.testing.assert_allclose(b, c, rtol=0, atol=3e-6 * np.abs(c).max())


@pytest.mark.parametrize(("value", "on"), [("0", False), ("1", True), (None, True)])
def test_the_switch_in_the_environment(value, on):
    environment = {name: v for name, v in os.environ.items() if name != "TINYCONV_WINOGRAD"}
    if value is not None:
        environment["TINYCONV_WINOGRAD"] = value
    program = "from tinyconv_kernels.cpu import _schedule; print(_schedule.switches['winograd'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "PYTHONPATH": str(Path(cpu.__file__).parents[2])},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == str(on)


@both
@pytest.mark.parametrize("kind", ["conv2d", "conv_transpose2d"])
def test_a_workspace_is_not_needed(taps, kind, everywhere, monkeypatch):
    """With a workspace of exactly the bytes asked for (`three_passes`; it looks behind them too) and with none."""
    g = geometry((3, 20, 15, 13), 33, taps, (1, 1))
    x, weight, _, dy = arrays(g, np.float32)
    want = three_passes(cpu, x, weight, dy, g, kind)
    for name in ("forward", "backward_input", "backward_weight"):
        monkeypatch.setattr(cpu, f"{kind}_{name}_workspace", lambda *shapes: 0)
    for a, b in zip(three_passes(cpu, x, weight, dy, g, kind), want, strict=True):
        np.testing.assert_array_equal(a, b)


def spread(first, taps, size):
    """The rows of ``size`` whose square sees pixel ``first`` (counted from the padding's first row)."""
    square = 7 - taps
    return [row for row in range(size) if 0 <= first - row // square * square < 6]


@both
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_the_squares_that_see_them(taps, value, everywhere, taken):
    """They reach what they must, and nothing outside those squares: that has the bits it has without them."""
    g = geometry((3, 34, 14, 11), 35, taps, (2, 1))
    x, weight, _, dy = arrays(g, np.float32)
    clean = three_passes(cpu, x, weight, dy, g)
    x[1, 3, 9, 5] = dy[2, 34, 0, 7] = value
    got, want = (three_passes(module, x, weight, dy, g) for module in (cpu, reference))
    y_squares = [1], range(35), spread(9 + 2, taps, dy.shape[2]), spread(5 + 1, taps, dy.shape[3])
    dx_squares = [2], range(34), spread(0 + taps - 1 - 2, taps, 14), spread(7 + taps - 1 - 1, taps, 11)
    for position, squares in enumerate((y_squares, dx_squares)):
        reached, must = ~np.isfinite(got[position]), ~np.isfinite(want[position])
        may = np.zeros(reached.shape, bool)
        may[np.ix_(*squares)] = True
        assert must.any()
        assert not (must & ~reached).any()
        assert not (reached & ~may).any()
        np.testing.assert_array_equal(got[position][~may], clean[position][~may])
    assert set(taken) == {"run", "weight"}


@both
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_filters_and_channels(taps, value, everywhere, taken):
    g = geometry((3, 34, 14, 11), 35, taps, (1, 1))
    clean = three_passes(cpu, *arrays(g, np.float32)[:2], arrays(g, np.float32)[3], g)
    for position, pixel, results in (
        (0, (1, 3, 9, 5), {2: np.s_[:, 3]}),
        (1, (7, 5, 0, 1), {0: np.s_[:, 7], 1: np.s_[:, 5]}),
        (2, (2, 34, 0, 7), {2: np.s_[34]}),
    ):
        x, weight, _, dy = arrays(g, np.float32)
        (x, weight, dy)[position][pixel] = value
        got = three_passes(cpu, x, weight, dy, g)
        for result, where in results.items():
            reached = np.zeros(got[result].shape, bool)
            reached[where] = True
            np.testing.assert_array_equal(got[result][~reached], clean[result][~reached])
            assert not np.isfinite(got[result][reached]).any()
    assert set(taken) == {"run", "weight"}
