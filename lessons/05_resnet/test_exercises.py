"""Tests of tasks 5.1 to 5.5: ``pytest lessons/05_resnet``, or one task with ``-k 5_3``."""

import importlib.util
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import models, nn
from tinyconv.nn import functional as F

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_05_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

# ------------------------------------------------------------------------------------------------ 5.1: the CIFAR family

counting = pytest.mark.task(
    id="5.1", points=2, minutes=15, difficulty=1, hint="the first convolution of a stage has the maps of the one before"
)


@counting
@pytest.mark.parametrize(
    ("n", "a", "b", "macs"),
    [
        (3, 269_722, 272_474, 40_551_040),
        (5, 464_154, 466_906, 68_862_592),
        (9, 853_018, 855_770, 125_485_696),
        (18, 1_727_962, 1_730_714, 252_887_680),
        (200, 19_421_274, 19_424_026, 2_829_238_912),
    ],
)
def test_5_1_gives_the_papers_table(n, a, b, macs):
    assert exercises.cifar_cost(n) == (a, macs)
    assert exercises.cifar_cost(n, "B")[0] == b
    assert exercises.cifar_cost(n, "plain") == (a, macs), "shortcut A costs nothing"


@counting
def test_5_1_two_projections_by_hand():
    """16 to 32 maps at 16x16 pixels, 32 to 64 at 8x8; two numbers of BN for every new map."""
    a, b = exercises.cifar_cost(1), exercises.cifar_cost(1, "B")
    assert b[0] - a[0] == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert b[1] - a[1] == 16 * 32 * 16 * 16 + 32 * 64 * 8 * 8


@counting
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_5_1_counts_what_the_library_builds(shortcut):
    summary = tinyconv.summary(models.resnet_cifar(14, shortcut=shortcut, device="meta"))
    assert exercises.cifar_cost(2, shortcut) == (summary.total_params, summary.total_macs)


# -------------------------------------------------------------------------------------------------------- 5.2: ImageNet

tabling = pytest.mark.task(
    id="5.2", points=3, minutes=30, difficulty=2, hint="in v1.5 the 1x1 before the stride still sees the large maps"
)
TABLE = {  # parameters; multiply-adds of v1 and v1.5
    18: (11_689_512, 1_814_073_344, 1_814_073_344),
    34: (21_797_672, 3_663_761_408, 3_663_761_408),
    50: (25_557_032, 3_857_973_248, 4_089_184_256),
    101: (44_549_160, 7_570_194_432, 7_801_405_440),
    152: (60_192_808, 11_282_415_616, 11_513_626_624),
}


@tabling
@pytest.mark.parametrize("depth", TABLE)
def test_5_2_gives_the_papers_table(depth):
    params, v1, v15 = TABLE[depth]
    assert exercises.imagenet_cost(depth) == (params, v1)
    assert exercises.imagenet_cost(depth, variant="v1.5") == (params, v15)


@tabling
@pytest.mark.parametrize(
    ("depth", "shortcut", "params", "macs"),
    [
        (18, "A", 11_515_688, 1_794_805_760),
        (18, "C", 12_043_816, 1_878_298_624),
        (34, "A", 21_623_848, 3_644_493_824),
        (34, "C", 22_716_840, 3_830_747_136),
    ],
)
def test_5_2_shortcuts(depth, shortcut, params, macs):
    assert exercises.imagenet_cost(depth, shortcut) == (params, macs)


@tabling
@pytest.mark.parametrize("shortcut", ["A", "C"])
def test_5_2_bottlenecks_with_other_shortcuts_are_the_librarys(shortcut):
    for variant in ("v1", "v1.5"):
        summary = tinyconv.summary(models.resnet(50, shortcut=shortcut, variant=variant, device="meta"))
        assert exercises.imagenet_cost(50, shortcut, variant) == (summary.total_params, summary.total_macs)


# ------------------------------------------------------------------------------------ 5.3: batch normalisation, forward

normalising = pytest.mark.task(
    id="5.3", points=2, minutes=20, difficulty=1, hint="biased variance for y, unbiased for running_var; in place"
)


def state(rng, C):
    """Return weight, bias, running_mean, running_var."""
    return rng.uniform(0.5, 2, C), rng.standard_normal(C), rng.standard_normal(C), rng.uniform(0.5, 2, C)


@normalising
def test_5_3_by_hand():
    """One map with the values 1, 3, 5, 7: mean 4, variance 5, unbiased 20 / 3."""
    x, mean, var = np.array([1.0, 3, 5, 7]).reshape(2, 1, 1, 2), np.array([10.0]), np.array([2.0])
    y = exercises.batch_norm(x, np.array([2.0]), np.array([0.5]), mean, var, True, momentum=0.25, eps=0.0)
    np.testing.assert_allclose(y.ravel(), 2 * np.array([-3, -1, 1, 3]) / 5**0.5 + 0.5)
    assert mean[0] == pytest.approx(0.75 * 10 + 0.25 * 4), "momentum is the weight of the new batch"
    assert var[0] == pytest.approx(0.75 * 2 + 0.25 * 20 / 3), "running_var gets the unbiased variance"


@normalising
@pytest.mark.parametrize("training", [True, False])
def test_5_3_is_the_librarys(training):
    rng = np.random.default_rng(1)
    x = rng.normal(3, 2, (3, 4, 2, 5))
    weight, bias, mean, var = state(rng, 4)
    theirs = [tinyconv.tensor(v.copy()) for v in (mean, var)]
    wanted = F.batch_norm(
        tinyconv.tensor(x), *theirs, tinyconv.tensor(weight), tinyconv.tensor(bias), training, 0.3, 1e-2
    )
    kept = x.copy()
    found = exercises.batch_norm(x, weight, bias, mean, var, training, momentum=0.3, eps=1e-2)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-10)
    np.testing.assert_allclose(mean, theirs[0].numpy(), rtol=1e-10)
    np.testing.assert_allclose(var, theirs[1].numpy(), rtol=1e-10)
    np.testing.assert_array_equal(x, kept)


@normalising
def test_5_3_evaluation_changes_nothing_and_sees_each_image_alone():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((4, 2, 3, 3))
    weight, bias, mean, var = state(rng, 2)
    before = mean.copy(), var.copy()
    together = exercises.batch_norm(x, weight, bias, mean, var, False)
    alone = exercises.batch_norm(x[:1], weight, bias, mean, var, False)
    np.testing.assert_array_equal(mean, before[0])
    np.testing.assert_array_equal(var, before[1])
    np.testing.assert_allclose(alone, together[:1], rtol=1e-12, err_msg="an image's result depends on its neighbours")


@normalising
def test_5_3_a_map_without_contrast_gives_no_nan():
    y = exercises.batch_norm(np.full((2, 1, 2, 2), 7.0), np.ones(1), np.ones(1), np.zeros(1), np.ones(1), True)
    np.testing.assert_array_equal(y, np.ones((2, 1, 2, 2)))


# ----------------------------------------------------------------------------------- 5.4: batch normalisation, backward

deriving = pytest.mark.task(
    id="5.4", points=4, minutes=30, difficulty=3, hint="dx = weight invstd (dy - mean(dy) - xhat mean(dy xhat))"
)


def case(seed=3, shape=(3, 4, 5)):
    """Return dy, x, mean, invstd, weight of a batch."""
    rng = np.random.default_rng(seed)
    x = rng.normal(1, 2, shape)
    mean, invstd = x.mean(axis=(0, 2)), 1 / np.sqrt(x.var(axis=(0, 2)) + 1e-5)
    return rng.standard_normal(shape), x, mean, invstd, rng.uniform(0.5, 2, shape[1])


def written(dy, x, mean, invstd, weight, train):
    """Return the three gradients, from arrays that begin full of NaN."""
    outs = [np.full(shape, np.nan) for shape in (x.shape, mean.shape, mean.shape)]
    exercises.batch_norm_backward(dy, x, mean, invstd, weight, *outs, train)
    return outs


@deriving
@pytest.mark.parametrize("train", [True, False])
def test_5_4_agrees_with_differences_of_the_loss(train):
    dy, x, mean, invstd, weight = case()
    if not train:
        mean, invstd = mean + 0.7, invstd * 1.3  # running statistics are not the batch's own
    bias = np.linspace(-1, 1, len(weight))

    def loss(x, weight, bias):
        m, s = (x.mean(axis=(0, 2)), 1 / np.sqrt(x.var(axis=(0, 2)) + 1e-5)) if train else (mean, invstd)
        return (dy * ((x - m[:, None]) * (s * weight)[:, None] + bias[:, None])).sum()

    found = written(dy, x, mean, invstd, weight, train)
    for number, (argument, gradient) in enumerate(zip((x, weight, bias), found, strict=True)):
        numeric = np.empty(argument.shape)
        for i in np.ndindex(argument.shape):
            moved = [[a.copy() for a in (x, weight, bias)] for _ in range(2)]
            moved[0][number][i] += 1e-4
            moved[1][number][i] -= 1e-4
            numeric[i] = (loss(*moved[0]) - loss(*moved[1])) / 2e-4
        np.testing.assert_allclose(gradient, numeric, atol=1e-6, err_msg=("dx", "dweight", "dbias")[number])


@deriving
def test_5_4_in_training_dx_neither_shifts_nor_stretches():
    dy, x, mean, invstd, weight = case(4)
    dx = written(dy, x, mean, invstd, weight, True)[0]
    np.testing.assert_allclose(dx.sum(axis=(0, 2)), 0, atol=1e-10, err_msg="adding a number to a map changes no output")
    np.testing.assert_allclose((dx * (x - mean[:, None])).sum(axis=(0, 2)), 0, atol=1e-3)


@deriving
def test_5_4_leaves_out_what_is_none():
    dy, x, mean, invstd, weight = case(5)
    whole = written(dy, x, mean, invstd, weight, True)
    for missing in range(3):
        outs = [np.full(g.shape, np.nan) for g in whole]
        outs[missing] = None
        exercises.batch_norm_backward(dy, x, mean, invstd, weight, *outs, True)
        for number in {0, 1, 2} - {missing}:
            np.testing.assert_allclose(outs[number], whole[number], rtol=1e-12)
    for gradient, wanted in zip(
        written(dy, x, mean, invstd, None, True), written(dy, x, mean, invstd, np.ones(4), True), strict=True
    ):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-12, err_msg="weight None is the same as ones")


@deriving
def test_5_4_trains_a_network_of_the_library():
    """Your kernel in the engine: the gradients of a residual network are those of the library's own."""
    gradients = []
    for backend in (exercises, "cpu"):
        tinyconv.manual_seed(0)
        model = models.resnet_cifar(8, 4, width=0.25, image_size=8, dtype=np.float64)
        x = tinyconv.tensor(np.random.default_rng(6).standard_normal((4, 3, 8, 8)))
        loss = F.cross_entropy(model(x), tinyconv.tensor(np.array([0, 1, 2, 3])))
        with tinyconv.backend(backend):
            loss.backward()
        gradients.append([p.grad.numpy() for p in model.parameters()])
    for found, wanted in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-9 * max(1, np.abs(wanted).max()))


# ------------------------------------------------------------------------------------------------ 5.5: exact statistics

averaging = pytest.mark.task(
    id="5.5", points=4, minutes=30, difficulty=3, hint="(b - a)^2 k m / (k + m) is what the distance of the means adds"
)


def one_memory(arrays):
    """Yield the arrays, each written over the one before."""
    memory = np.empty(max(a.size for a in arrays))
    for array in arrays:
        memory[:] = np.nan
        view = memory[: array.size].reshape(array.shape)
        view[...] = array
        yield view


@averaging
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_5_5_is_that_of_all_values_together(offset):
    rng = np.random.default_rng(7)
    batches = [rng.normal(offset + i, 1 + i, (n, 3, 4, 2)) for i, n in enumerate((5, 2, 7, 1))]
    mean, var = exercises.exact_statistics(one_memory(batches))
    together = np.concatenate(batches).transpose(1, 0, 2, 3).reshape(3, -1)
    assert np.shape(mean) == np.shape(var) == (3,)
    np.testing.assert_allclose(mean, together.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(var, together.var(axis=1, ddof=1), rtol=1e-6, err_msg=f"values around {offset:g}")


@averaging
def test_5_5_two_batches_by_hand():
    """0, 2 and 10: mean 4; squared distances 16, 4, 36 over 2."""
    batches = [np.array([0.0, 2]).reshape(2, 1, 1, 1), np.array([10.0]).reshape(1, 1, 1, 1)]
    mean, var = exercises.exact_statistics(batches)
    np.testing.assert_allclose((mean[0], var[0]), (4, 28))


@averaging
def test_5_5_has_no_room_for_all_batches():
    batches = np.random.default_rng(9).standard_normal((200, 2, 2, 16, 16))
    exercises.exact_statistics(batches[:2])  # what NumPy imports late is not counted
    tracemalloc.start()
    try:
        exercises.exact_statistics(one_memory(batches))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50 * batches[0].nbytes, f"{peak / batches[0].nbytes:.0f} times the memory of a batch"


@averaging
def test_5_5_of_one_batch_it_is_what_bn_measures():
    x = np.random.default_rng(8).normal(2, 3, (6, 2, 3, 3)).astype(np.float32)
    layer = nn.BatchNorm2d(2, momentum=1.0)
    layer(tinyconv.tensor(x))
    mean, var = exercises.exact_statistics([x])
    np.testing.assert_allclose(mean, layer.running_mean.numpy(), rtol=1e-5)
    np.testing.assert_allclose(var, layer.running_var.numpy(), rtol=1e-5)
