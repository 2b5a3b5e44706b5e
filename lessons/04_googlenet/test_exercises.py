"""Tests of tasks 4.1 to 4.6: ``pytest lessons/04_googlenet``, or one task with ``-k 4_5``."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv.models.googlenet import GoogLeNet, Outputs
from tinyconv.models.inception import Inception, Widths
from tinyconv.nn import functional as F

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_04_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

# Table 1: input maps, side, filters; then (maps, parameters, multiply-adds) counted from these, biases included.
TABLE = {
    "3a": (192, 28, (64, 96, 128, 16, 32, 32), (256, 163_696, 128_049_152)),
    "3b": (256, 28, (128, 128, 192, 32, 96, 64), (480, 388_736, 304_267_264)),
    "4a": (480, 14, (192, 96, 208, 16, 48, 64), (512, 376_176, 73_608_192)),
    "4b": (512, 14, (160, 112, 224, 24, 64, 64), (512, 449_160, 87_908_352)),
    "4c": (512, 14, (128, 128, 256, 24, 64, 64), (512, 510_104, 99_850_240)),
    "4d": (512, 14, (112, 144, 288, 32, 64, 64), (528, 605_376, 118_515_712)),
    "4e": (528, 14, (256, 160, 320, 32, 128, 128), (832, 868_352, 169_996_288)),
    "5a": (832, 7, (256, 160, 320, 32, 128, 128), (832, 1_043_456, 51_079_168)),
    "5b": (832, 7, (384, 192, 384, 48, 128, 128), (1024, 1_444_080, 70_697_984)),
}


def normal(seed, *shape):
    """Return normally distributed numbers, always the same for a seed."""
    return np.random.default_rng(seed).standard_normal(shape)


# ------------------------------------------------------------------------------------------------- 4.1: a window of 1x1

pointing = pytest.mark.task(
    id="4.1", points=2, minutes=15, difficulty=1, hint="a matrix product over the channels, three times"
)


@pointing
def test_4_1_by_hand():
    x = np.array([[1.0, 2.0], [10.0, 20.0]]).reshape(1, 2, 1, 2)  # two channels, two pixels
    weight, bias = np.array([[1.0, 1.0], [0.0, 2.0], [3.0, 0.0]]), np.array([0.0, 1.0, 2.0])
    dy = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]).reshape(1, 3, 1, 2)
    y, dx, dweight, dbias = exercises.pointwise(x, weight, bias, dy)
    np.testing.assert_allclose(y[0, :, 0], [[11, 22], [21, 41], [5, 8]])
    np.testing.assert_allclose(dx[0, :, 0], [[1 + 6, 6], [1, 2]])
    np.testing.assert_allclose(dweight, [[1, 10], [2, 20], [6, 60]])
    np.testing.assert_allclose(dbias, [1, 1, 4])


@pointing
def test_4_1_is_the_librarys_convolution():
    x, weight, bias, dy = normal(0, 3, 5, 4, 6), normal(1, 2, 5), normal(2, 2), normal(3, 3, 2, 4, 6)
    tensors = [tinyconv.tensor(array, requires_grad=True) for array in (x, weight[:, :, None, None], bias)]
    wanted = F.conv2d(*tensors)
    wanted.backward(tinyconv.tensor(dy))
    y, dx, dweight, dbias = exercises.pointwise(x, weight, bias, dy)
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol=1e-10, atol=1e-10)
    for mine, tensor in zip((dx, dweight, dbias), tensors, strict=True):
        np.testing.assert_allclose(mine, tensor.grad.numpy().reshape(mine.shape), rtol=1e-10, atol=1e-10)
    assert (dx.shape, dweight.shape, dbias.shape) == (x.shape, weight.shape, bias.shape)


# --------------------------------------------------------------------------------------------- 4.2: what a module costs

costing = pytest.mark.task(
    id="4.2", points=2, minutes=20, difficulty=1, hint="25 * reduce5 * fives: the 5x5 sees the reduction, not the input"
)


@costing
@pytest.mark.parametrize("name", TABLE)
def test_4_2_gives_the_rows_of_the_table(name):
    channels, side, filters, wanted = TABLE[name]
    assert exercises.module_cost(channels, side, side, filters) == wanted


@costing
def test_4_2_by_hand_on_maps_that_are_no_squares():
    # 1x1: 3 * 2; before 3x3: 3 * 4, 3x3: 9 * 4 * 5; before 5x5: 3 * 1, 5x5: 25 * 1 * 6; behind the pool: 3 * 7
    weights = 6 + 12 + 180 + 3 + 150 + 21
    assert exercises.module_cost(3, 4, 9, (2, 4, 5, 1, 6, 7)) == (20, weights + 2 + 4 + 5 + 1 + 6 + 7, weights * 36)


# --------------------------------------------------------------------------------------------------- 4.3: naive modules

stacking = pytest.mark.task(
    id="4.3", points=2, minutes=15, difficulty=1, hint="maps out = ones + threes + fives + maps in"
)


@stacking
@pytest.mark.parametrize(
    ("name", "weights", "maps"),
    [
        ("3a", 387_072, 416),
        ("3b", 1_089_536, 672),
        ("4a", 1_566_720, 928),
        ("4e", 3_345_408, 1232),
        ("5b", 5_857_280, 1728),
    ],
)
def test_4_3_one_module_on_the_input_of_the_reduced_network(name, weights, maps):
    channels, _, filters, _ = TABLE[name]
    assert [tuple(row) for row in exercises.naive_chain(channels, [filters])] == [(weights, maps)]


@stacking
def test_4_3_every_module_is_wider_than_the_one_below():
    found = exercises.naive_chain(2, [(1, 9, 2, 9, 3, 9), (4, 9, 1, 9, 0, 9), (0, 9, 0, 9, 1, 9)])
    # 2 in: 2 * (1 + 18 + 75), 8 out; 8 in: 8 * (4 + 9), 13 out; 13 in: 13 * 25, 14 out
    assert [tuple(row) for row in found] == [(188, 8), (104, 13), (325, 14)]


@stacking
def test_4_3_the_nine_modules():
    found = exercises.naive_chain(192, [row[2] for row in TABLE.values()])
    assert [maps for _, maps in found] == [416, 832, 1280, 1728, 2176, 2640, 3344, 4048, 4944]
    assert exercises.naive_chain(192, []) == []


# ------------------------------------------------------------------------------------------- 4.4: branches side by side

branching = pytest.mark.task(
    id="4.4", points=3, minutes=20, difficulty=2, hint="np.concatenate along axis 1; the gradients of x add"
)


def scaling(factor, channels):
    """Return a branch: its first ``channels`` maps times a factor."""

    def branch(x):
        def back(d):
            dx = np.zeros_like(x)
            dx[:, :channels] = factor * d
            return dx

        return factor * x[:, :channels], back

    return branch


@branching
def test_4_4_outputs_stand_in_the_order_of_the_branches():
    x = normal(4, 2, 3, 4, 5)
    y, _ = exercises.side_by_side(x, [scaling(2, 1), scaling(3, 3), scaling(5, 2)], np.zeros((2, 6, 4, 5)))
    np.testing.assert_array_equal(y, np.concatenate([2 * x[:, :1], 3 * x, 5 * x[:, :2]], axis=1))


@branching
def test_4_4_every_branch_gets_its_piece_and_all_their_gradients_are_added():
    x, dy = normal(5, 2, 3, 4, 5), normal(6, 2, 6, 4, 5)
    _, dx = exercises.side_by_side(x, [scaling(2, 1), scaling(3, 3), scaling(5, 2)], dy)
    wanted = 3 * dy[:, 1:4]
    wanted[:, :1] += 2 * dy[:, :1]
    wanted[:, :2] += 5 * dy[:, 4:]
    np.testing.assert_allclose(dx, wanted, rtol=1e-12, atol=1e-12)


@branching
def test_4_4_one_branch_is_only_itself():
    x, dy = normal(7, 1, 2, 3, 3), normal(8, 1, 2, 3, 3)
    y, dx = exercises.side_by_side(x, [scaling(4, 2)], dy)
    np.testing.assert_array_equal(y, 4 * x)
    np.testing.assert_array_equal(dx, 4 * dy)


@branching
def test_4_4_what_a_branch_hands_out_stays_as_it_is():
    x, kept = normal(9, 1, 2, 3, 3), normal(10, 1, 2, 3, 3)
    before, calls = kept.copy(), []

    def branch(x):
        return x, lambda d: (calls.append(d), kept)[1]  # the gradient lies in the branch's own memory

    _, dx = exercises.side_by_side(x, [branch, branch, branch], np.zeros((1, 6, 3, 3)))
    np.testing.assert_array_equal(kept, before, err_msg="an array that a branch returned was written into")
    np.testing.assert_allclose(dx, 3 * before)
    assert len(calls) == 3


@branching
def test_4_4_carries_the_librarys_module():
    module = Inception(3, Widths(2, 3, 4, 2, 3, 2), dtype=np.float64)
    rng = np.random.default_rng(11)
    for p in module.parameters():
        p.data[...] = rng.standard_normal(p.shape)

    def branch_of(part):
        def branch(x):
            leaf = tinyconv.tensor(x, requires_grad=True)
            y = part(leaf)
            return y.detach().numpy(), lambda d: tinyconv.grad(y, [leaf], tinyconv.tensor(d))[0].numpy()

        return branch

    branches = [branch_of(part) for part in (module.ones, module.threes, module.fives, module.pooled)]

    x, dy = normal(12, 2, 3, 5, 4), normal(13, 2, 11, 5, 4)
    leaf = tinyconv.tensor(x, requires_grad=True)
    wanted = module(leaf)
    y, dx = exercises.side_by_side(x, branches, dy)
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol=1e-12)
    wanted_dx = tinyconv.grad(wanted, [leaf], tinyconv.tensor(dy))[0].numpy()
    np.testing.assert_allclose(dx, wanted_dx, rtol=1e-10, atol=1e-12)


# -------------------------------------------------------------------------------------------------- 4.5: sizes of pools

pooling = pytest.mark.task(
    id="4.5", points=2, minutes=10, difficulty=1, hint="window i begins at i * stride - padding: where does the last?"
)


@pooling
@pytest.mark.parametrize(
    ("size", "padding", "wanted"),
    [
        (112, 0, 56), (56, 0, 28), (28, 0, 14), (14, 0, 7), (55, 0, 27), (27, 0, 13), (13, 0, 6), (110, 0, 55),
        (112, 1, 57), (110, 1, 56), (56, 1, 29), (55, 1, 28), (28, 1, 15), (27, 1, 14), (14, 1, 8), (13, 1, 7),
    ],
)  # fmt: skip
def test_4_5_pools_of_three_with_stride_two(size, padding, wanted):
    assert exercises.pooled_size(size, 3, 2, padding) == wanted


@pooling
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "wanted"),
    [
        (7, 7, 1, 0, 1),  # the average at the end
        (14, 3, 1, 1, 14),  # the pool of a module: its last window begins at 12, inside
        (14, 5, 3, 0, 4),  # the auxiliary heads' average: (14 - 5) / 3 is whole
        (4, 2, 2, 1, 3),  # windows begin at -1, 1, 3
        (5, 2, 2, 1, 3),  # -1, 1, 3, and one at 5 that would see the border only: dropped
        (5, 3, 3, 1, 2),  # -1, 2: (5 + 2 - 3) / 3 rounds up to 2, a third window at 5 is dropped
        (4, 1, 3, 0, 2),  # 0, 3
        (6, 1, 3, 0, 3),  # 0, 3, and one at 6: beyond the input, but without a border Caffe keeps it
    ],
)
def test_4_5_other_windows_and_the_one_that_is_dropped(size, kernel, stride, padding, wanted):
    assert exercises.pooled_size(size, kernel, stride, padding) == wanted


# ---------------------------------------------------------------------------------------------------- 4.6: three losses

adding = pytest.mark.task(
    id="4.6", points=3, minutes=20, difficulty=2, hint="weight * part has the gradient weight * d(part)"
)


@adding
def test_4_6_guessing_costs_the_logarithm_of_the_number_of_classes():
    zeros = np.zeros((4, 10))
    assert exercises.total_loss(zeros, None, None, np.arange(4))[0] == pytest.approx(np.log(10))
    assert exercises.total_loss(zeros, zeros, zeros, np.arange(4))[0] == pytest.approx(1.6 * np.log(10))
    assert exercises.total_loss(zeros, zeros, zeros, np.arange(4), 0.5)[0] == pytest.approx(2 * np.log(10))


@adding
def test_4_6_is_the_librarys_loss_and_its_gradients():
    arrays, labels = [3 * normal(seed, 5, 4) for seed in (13, 14, 15)], np.array([0, 3, 1, 1, 2])
    tensors = [tinyconv.tensor(array, requires_grad=True) for array in arrays]
    wanted = GoogLeNet.loss(Outputs(*tensors), tinyconv.tensor(labels))
    wanted.backward()
    loss, *gradients = exercises.total_loss(*arrays, labels)
    assert loss == pytest.approx(wanted.item(), rel=1e-10)
    for mine, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(mine, tensor.grad.numpy(), rtol=1e-9, atol=1e-12)


@adding
def test_4_6_without_heads_as_in_testing():
    scores, labels = normal(16, 3, 5), np.array([4, 0, 2])
    loss, dscores, *others = exercises.total_loss(scores, None, None, labels)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-np.log(p[np.arange(3), labels]).mean())
    np.testing.assert_allclose(dscores, (p - np.eye(5)[labels]) / 3, atol=1e-12)
    assert others == [None, None]


@adding
def test_4_6_large_scores_do_not_overflow():
    scores = np.array([[1000.0, 0.0, -1000.0], [-3000.0, -2000.0, -2000.0]])  # each row has its own largest score
    loss, dscores, daux1, _ = exercises.total_loss(scores, scores, scores, np.array([0, 2]))
    assert loss == pytest.approx(1.6 * np.log(2) / 2)
    np.testing.assert_allclose(dscores, [[0, 0, 0], [0, 0.25, -0.25]], atol=1e-12)
    np.testing.assert_allclose(daux1, 0.3 * dscores, atol=1e-12)


@adding
def test_4_6_a_sure_mistake_is_dear_but_finite():
    scores = np.array([[1000.0, 0.0]])  # the softmax is (1, 0), and log 0 is not what is asked for
    loss, dscores, daux1, daux2 = exercises.total_loss(scores, scores, scores, np.array([1]), 0.5)
    assert loss == pytest.approx(2000)
    np.testing.assert_allclose([dscores, daux1, daux2], [[[1, -1]], [[0.5, -0.5]], [[0.5, -0.5]]], atol=1e-12)


@adding
def test_4_6_leaves_its_arguments_alone():
    arrays = [normal(seed, 2, 3) for seed in (17, 18, 19)]
    before = [array.copy() for array in arrays]
    exercises.total_loss(*arrays, np.array([0, 1]))
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)
