"""Tests of tasks 6.5 and 6.6: ``pytest lessons/06_rcnn``, or one task with ``-k 6_5``."""

import importlib.util
import time
import types
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import models, optim
from tinyconv.data import Scenes
from tinyconv.functional.roi import roi_pool
from tinyconv.vision.targets import pack_targets
from tinyconv_kernels import cpu

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_06_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

MAP = np.arange(64.0).reshape(1, 1, 8, 8)  # cell (h, w) is 8 h + w: a maximum is its own switch


def only(*names):
    """Return a module of some of the student's functions, so that no other task is asked."""
    module = types.ModuleType("kernels of your own")
    for name in names:
        setattr(module, name, getattr(exercises, name))
    return module


def pooled(x, rois, out, scale):
    """Return what the student's kernel writes, over NaN and strange switches."""
    rois = np.asarray(rois, x.dtype)
    y, switches = np.full((len(rois), x.shape[1], *out), np.nan, x.dtype), np.full((len(rois), x.shape[1], *out), -7)
    assert exercises.roi_pool_forward(x, rois, y, switches, scale) is None
    return y, switches


def random_case(seed, dtype=np.float64):
    """Return maps (3, 4, 9, 11), thirty regions of them, of which some reach over the border, and the scale 1 / 4."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(-12, 44, (30, 2)), rng.uniform(0, 40, (30, 2))
    rois = np.concatenate([rng.integers(0, 3, (30, 1)), corner, corner + size], axis=1)
    return rng.standard_normal((3, 4, 9, 11)).astype(dtype), rois.astype(dtype), 0.25


# -------------------------------------------------------------------------------------------- 6.5: RoI pooling, forward

pooling = pytest.mark.task(
    id="6.5",
    points=4,
    minutes=40,
    difficulty=3,
    hint="2.5 becomes 3 and -2.5 becomes -3; the last cell belongs to the box",
)


@pooling
@pytest.mark.parametrize(
    ("box", "out", "wanted", "why"),
    [
        ((16, 0, 100, 75), (2, 2), [[19, 22], [43, 46]], "columns 1 to 6, rows 0 to 5: both ends belong to the box"),
        ((0, 0, 111, 111), (3, 3), [[18, 21, 23], [42, 45, 47], [58, 61, 63]], "bins of 8 cells by 3 overlap"),
        ((8, 8, 40, 40), (3, 3), [[9, 10, 11], [17, 18, 19], [25, 26, 27]], "0.5 is rounded to 1, 2.5 to 3"),
        ((32, 32, 32, 32), (2, 2), [[18, 18], [18, 18]], "one cell, repeated"),
    ],
    ids=["both ends", "overlap", "halves", "one cell"],
)
def test_6_5_by_hand(box, out, wanted, why):
    y, switches = pooled(MAP, [[0, *box]], out, 1 / 16)
    np.testing.assert_array_equal(y[0, 0], wanted, err_msg=why)
    np.testing.assert_array_equal(switches[0, 0], wanted, err_msg="the switches: " + why)


@pooling
def test_6_5_bins_outside_the_map_are_0_and_have_no_switch():
    y, switches = pooled(MAP - 100, [[0, 64, 64, 200, 200]], (2, 2), 1 / 16)
    np.testing.assert_array_equal(y[0, 0], [[-37, 0], [0, 0]])
    np.testing.assert_array_equal(switches[0, 0], [[63, -1], [-1, -1]])
    y, switches = pooled(MAP - 100, [[0, -40, -40, 79, 79]], (3, 3), 1 / 16)  # -2.5 is rounded to -3, 4.9 to 5
    np.testing.assert_array_equal(y[0, 0], [[0, 0, 0], [0, -82, -79], [0, -58, -55]])
    np.testing.assert_array_equal(switches[0, 0], [[-1, -1, -1], [-1, 18, 21], [-1, 42, 45]])


@pooling
def test_6_5_a_region_whose_ends_are_the_wrong_way_round_has_one_cell():
    np.testing.assert_array_equal(pooled(MAP, [[0, 80, 48, 16, 48]], (1, 1), 1 / 16)[0], [[[[29]]]])


@pooling
def test_6_5_the_first_of_equal_maxima_wins():
    x = np.array([[[[1.0, 3, 3], [3, 2, 3], [0, 0, 0]]]])
    np.testing.assert_array_equal(pooled(x, [[0, 0, 0, 2, 2]], (1, 1), 1.0)[1], [[[[1]]]])
    np.testing.assert_array_equal(pooled(np.zeros((1, 1, 4, 4)), [[0, 1, 1, 3, 2]], (1, 1), 1.0)[1], [[[[5]]]])


@pooling
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("out", [(5, 5), (2, 3)])
def test_6_5_is_the_librarys(dtype, out):
    """Thirty regions of three images, of four maps each."""
    x, rois, scale = random_case(1, dtype)
    wanted = np.empty((30, 4, *out), dtype), np.empty((30, 4, *out), np.int64)
    cpu.roi.roi_pool_forward(x, rois, *wanted, scale)
    before = x.copy(), rois.copy()
    for found, known in zip(pooled(x, rois, out, scale), wanted, strict=True):
        np.testing.assert_array_equal(found, known)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(rois, before[1])


# ------------------------------------------------------------------------------------------- 6.6: RoI pooling, backward

returning = pytest.mark.task(
    id="6.6", points=3, minutes=20, difficulty=2, hint="np.add.at(dx, (image, map, cell), dy), where there is a switch"
)


def gradient(dy, rois, switches, shape, scale=0.25):
    """Return what the student's kernel writes, over NaN."""
    dx = np.full(shape, np.nan, dy.dtype)
    assert exercises.roi_pool_backward(dy, rois, switches, dx, scale) is None
    return dx


@returning
def test_6_6_by_hand():
    """Two images of one map of 2 x 2; three regions of two bins each, the last bin is empty."""
    switches = np.array([[[[0, 3]]], [[[3, 3]]], [[[1, -1]]]])
    rois = np.array([[1.0, 0, 0, 1, 1], [1, 0, 0, 1, 1], [0, 0, 0, 1, 1]])
    dy = np.array([[[[1.0, 2]]], [[[4, 8]]], [[[16, 32]]]])
    np.testing.assert_array_equal(
        gradient(dy, rois, switches, (2, 1, 2, 2)), [[[[0, 16], [0, 0]]], [[[1, 0], [0, 14]]]]
    )


@returning
def test_6_6_the_same_region_twice_gives_twice_the_gradient():
    dy, switches = np.array([[[[1.0, 2], [3, 4]]]]), np.array([[[[0, 3], [3, 8]]]])
    rois = np.array([[0.0, 0, 0, 2, 2]])
    once = gradient(dy, rois, switches, (1, 1, 3, 3))
    twice = gradient(*(np.concatenate([part, part]) for part in (dy, rois, switches)), (1, 1, 3, 3))
    np.testing.assert_array_equal(once[0, 0], [[1, 0, 0], [5, 0, 0], [0, 0, 4]])
    np.testing.assert_array_equal(twice, 2 * once)


@returning
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_6_6_is_the_librarys(dtype):
    x, rois, scale = random_case(2, dtype)
    rng = np.random.default_rng(3)
    y, switches = np.empty((30, 4, 3, 2), dtype), np.empty((30, 4, 3, 2), np.int64)
    cpu.roi.roi_pool_forward(x, rois, y, switches, scale)
    dy, wanted = rng.standard_normal(y.shape).astype(dtype), np.empty_like(x)
    cpu.roi.roi_pool_backward(dy, rois, switches, wanted, scale)
    found, before = gradient(dy, rois, switches, x.shape), dy.copy()
    np.testing.assert_allclose(found, wanted, atol=1e-5 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(found.sum(), dy[switches >= 0].sum(), rtol=1e-4, err_msg="nothing may be lost")
    assert (switches < 0).any()
    np.testing.assert_array_equal(dy, before)


@returning
def test_6_6_passes_the_gradient_check():
    x, rois, scale = random_case(4)
    x = np.random.default_rng(5).permutation(x.size).reshape(x.shape) / x.size  # no two alike: no ties
    regions, y, switches = tinyconv.tensor(rois), np.empty((30, 4, 3, 3)), np.empty((30, 4, 3, 3), np.int64)
    cpu.roi.roi_pool_forward(x, rois, y, switches, scale)
    assert gradient(y, rois, switches, x.shape).any()
    with tinyconv.backend(only("roi_pool_backward")):
        tinyconv.gradcheck(lambda maps: roi_pool(maps, regions, 3, scale), [x])


@returning
def test_6_6_trains_fast_rcnn_as_the_librarys_kernels_do():
    """Four steps of the lesson's network on two scenes; the weights that come out are the library's."""
    scenes = Scenes(2, seed=6, items=("mnist",), background="textured")
    rng, targets = np.random.default_rng(7), []
    for scene in (scenes[0], scenes[1]):
        around = np.repeat(scene.boxes, 8, axis=0) + rng.normal(0, 2, (8 * len(scene.boxes), 4)).astype(np.float32)
        targets.append(pack_targets((64, 64), scene.boxes, scene.labels, around))
    rows = max(map(len, targets))
    targets = np.stack([np.pad(t, ((0, rows - len(t)), (0, 0)), constant_values=-2) for t in targets])
    images = tinyconv.tensor(np.stack([(scene.image - 0.5) / 0.25 for scene in (scenes[0], scenes[1])]))
    weights, seconds = [], []
    for kernels in (only(*written()), "cpu"):
        tinyconv.manual_seed(0)
        model = models.fast_rcnn(10, scale="lesson")
        model.eval()  # the same proposals in every step
        optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        began = time.perf_counter()
        with tinyconv.backend(kernels):
            for _ in range(4):
                optimizer.zero_grad()
                model.loss(model(images), tinyconv.tensor(targets)).backward()
                optimizer.step()
        seconds.append((time.perf_counter() - began) / 4)
        weights.append([p.detach().numpy().copy() for p in model.parameters()])
    print(f"\na step of Fast R-CNN: {1e3 * seconds[0]:.0f} ms on {', '.join(written())} of yours, ", end="")
    print(f"{1e3 * seconds[1]:.0f} ms on the library's kernels")
    for found, wanted in zip(*weights, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def written():
    """Return the kernels of RoI pooling to train on: the forward one too, if it is written (task 6.5)."""
    try:
        pooled(MAP, [[0, 0, 0, 64, 64]], (2, 2), 1 / 16)
    except NotImplementedError:
        return ["roi_pool_backward"]
    return ["roi_pool_forward", "roi_pool_backward"]
