"""Tests of tasks 7.1 to 7.5: ``pytest lessons/07_gan``, or one task with ``-k 7_3_``."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv.nn import functional as F

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_07_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


def quietly(function, *given, **how):
    """Call a function with warnings as errors, and check that it leaves its arrays as they were."""
    kept = [np.array(v, copy=True) for v in given]
    with warnings.catch_warnings(), np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"):
        warnings.simplefilter("error")
        found = function(*given, **how)
    for before, after in zip(kept, given, strict=True):
        np.testing.assert_array_equal(after, before, err_msg="an argument was changed")
    return found


def numeric(function, at, step=1e-6):
    """Return the gradient of a function of an array by central differences, at an array."""
    found = np.zeros(at.shape)
    for i in np.ndindex(at.shape):
        there = [at.copy(), at.copy()]
        there[0][i] -= step
        there[1][i] += step
        found[i] = (function(there[1]) - function(there[0])) / (2 * step)
    return found


# ------------------------------------------------------------------------------------------------------------ 7.1: FGSM

attacking = pytest.mark.task(
    id="7.1", points=3, minutes=25, difficulty=2, hint="the gradient to the scores is p - onehot; x' = x + eps sign"
)


def classifier(seed, N=6, D=5, K=4):
    """Return images in [0, 1], labels, weight and bias."""
    rng = np.random.default_rng(seed)
    return rng.random((N, D)), rng.integers(0, K, N), rng.standard_normal((K, D)), rng.standard_normal(K)


@attacking
def test_7_1_by_hand():
    """Two classes, scores x1 and x2: raising the loss of label 0 is x1 down and x2 up."""
    x, weight, bias = np.array([[0.5, 0.25], [0.5, 0.25]]), np.eye(2), np.zeros(2)
    found = quietly(exercises.softmax_fgsm, x, np.array([0, 1]), weight, bias, 0.125)
    np.testing.assert_allclose(found, [[0.375, 0.375], [0.625, 0.125]])


@attacking
def test_7_1_steps_along_the_sign_of_the_engines_gradient():
    x, labels, weight, bias = classifier(1)
    leaf = tinyconv.tensor(x, requires_grad=True)
    loss = F.cross_entropy(leaf @ tinyconv.tensor(weight.T) + tinyconv.tensor(bias), tinyconv.tensor(labels))
    (gradient,) = tinyconv.grad(loss, [leaf])
    found = quietly(exercises.softmax_fgsm, x, labels, weight, bias, 0.1, clip=None)
    np.testing.assert_allclose(found - x, 0.1 * np.sign(gradient.numpy()), atol=1e-12)


@attacking
def test_7_1_the_logit_of_a_linear_model_falls_by_eps_times_the_sum_of_its_weights():
    """With one class at zero the other's logit is w x: it changes by eps |w|_1, exactly, before clipping."""
    rng = np.random.default_rng(2)
    w, x = rng.standard_normal(30), rng.random((2, 30))
    weight = np.stack([np.zeros(30), w])
    found = quietly(exercises.softmax_fgsm, x, np.array([1, 0]), weight, np.zeros(2), 0.07, clip=None)
    np.testing.assert_allclose((found - x) @ w, 0.07 * np.abs(w).sum() * np.array([-1, 1]), rtol=1e-12)
    assert np.abs(found - x).max() <= 0.07 + 1e-12


@attacking
def test_7_1_clips_what_comes_out_and_nothing_else():
    x, labels, weight, bias = classifier(3)
    free = exercises.softmax_fgsm(x, labels, weight, bias, 0.4, clip=None)
    assert free.min() < 0 and free.max() > 1
    found = quietly(exercises.softmax_fgsm, x, labels, weight, bias, 0.4)
    np.testing.assert_allclose(found, np.clip(free, 0, 1))
    wide = exercises.softmax_fgsm(x, labels, weight, bias, 0.4, clip=(-0.2, 1.1))
    np.testing.assert_allclose(wide, np.clip(free, -0.2, 1.1))


@attacking
def test_7_1_a_pixel_without_gradient_stays():
    x, labels, weight, bias = classifier(4)
    weight[:, 2] = 0.0
    found = exercises.softmax_fgsm(x, labels, weight, bias, 0.1, clip=None)
    np.testing.assert_array_equal(found[:, 2], x[:, 2])
    np.testing.assert_allclose(np.abs(found - x)[:, [0, 1, 3, 4]], 0.1)


@attacking
def test_7_1_an_image_does_not_depend_on_its_neighbours():
    x, labels, weight, bias = classifier(5)
    together = exercises.softmax_fgsm(x, labels, weight, bias, 0.1, clip=None)
    alone = [exercises.softmax_fgsm(x[i : i + 1], labels[i : i + 1], weight, bias, 0.1, clip=None) for i in range(6)]
    np.testing.assert_allclose(together, np.concatenate(alone))


@attacking
def test_7_1_scores_in_the_thousands():
    x, labels, weight, bias = classifier(6, K=2)
    found = quietly(exercises.softmax_fgsm, x, np.zeros(6, int), 3000 * weight, bias - [9000, 0], 0.1, clip=None)
    np.testing.assert_allclose(found - x, np.tile(0.1 * np.sign(weight[1] - weight[0]), (6, 1)), atol=1e-12)


# ------------------------------------------------------------------------------------------------- 7.2: smallest change

shortening = pytest.mark.task(
    id="7.2", points=3, minutes=25, difficulty=2, hint="the distance to class l is (z_k - z_l) / |w_k - w_l|"
)


@shortening
def test_7_2_by_hand():
    """Two classes, the line x1 = x2 between them: (3, 1) is sqrt(2) away from (2, 2)."""
    change, other = quietly(exercises.smallest_change, np.array([[3.0, 1.0]]), np.eye(2), np.zeros(2))
    np.testing.assert_allclose(change, [[-1, 1]])
    assert list(other) == [1]


@shortening
def test_7_2_a_line_that_does_not_go_through_zero():
    """|w x + b| / |w|, here |3 - 4 + 11| / 5 = 2."""
    weight, bias = np.array([[3.0, -4.0], [0, 0]]), np.array([11.0, 0])
    change, _ = quietly(exercises.smallest_change, np.array([[1.0, 1.0]]), weight, bias)
    assert np.linalg.norm(change) == pytest.approx(2)
    np.testing.assert_allclose(change, [[-1.2, 1.6]])


@shortening
def test_7_2_the_second_best_class_may_be_further_away():
    """Class 1 is 1 behind, but nearly parallel: 10 away. Class 2 is 4 behind, with a distance of 2."""
    weight, bias = np.array([[0.0, 0.0], [0.1, 0], [0, 2]]), np.array([0.0, -1, -4])
    change, other = quietly(exercises.smallest_change, np.zeros((1, 2)), weight, bias)
    assert list(other) == [2]
    np.testing.assert_allclose(change, [[0, 2]])


@shortening
def test_7_2_the_distance_is_not_the_factor():
    """Class 1 has a gap of 1 and weights of length 1, class 2 of 6 and 4: distances 1 and 1.5, factors 1 and 0.375."""
    weight, bias = np.array([[0.0, 0.0], [1, 0], [0, 4]]), np.array([0.0, -1, -6])
    change, other = quietly(exercises.smallest_change, np.zeros((1, 2)), weight, bias)
    assert list(other) == [1]
    np.testing.assert_allclose(change, [[1, 0]])


@shortening
def test_7_2_reaches_the_boundary_and_nothing_shorter_does():
    x, _, weight, bias = classifier(7, N=40, D=3)
    change, other = quietly(exercises.smallest_change, x, weight, bias)
    rows, own = np.arange(40), (x @ weight.T + bias).argmax(axis=1)
    there = (x + change) @ weight.T + bias
    assert (own != other).all()
    np.testing.assert_allclose(there[rows, own], there[rows, other], atol=1e-9)
    np.testing.assert_allclose(there[rows, own], there.max(axis=1), atol=1e-9)
    directions = np.random.default_rng(8).standard_normal((500, 1, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    shorter = x + 0.999 * np.linalg.norm(change, axis=1)[:, None] * directions
    assert ((shorter @ weight.T + bias).argmax(axis=2) == own).all()


@shortening
def test_7_2_a_class_with_the_same_row_is_not_nearer():
    weight, bias = np.array([[1.0, 0], [1, 0], [0, 1]]), np.array([0.5, 0, 0])
    change, other = quietly(exercises.smallest_change, np.array([[1.0, 0.5]]), weight, bias)
    assert list(other) == [2]
    np.testing.assert_allclose(change, [[-0.5, 0.5]])


@shortening
def test_7_2_of_two_that_are_equally_near_the_first():
    """From 0 it is 1 to class 1, at (1, 0), and 1 to class 2, at (-1, 0)."""
    weight, bias = np.array([[0.0, 0], [1, 0], [-1, 0]]), np.array([0.0, -1, -1])
    change, other = quietly(exercises.smallest_change, np.zeros((1, 2)), weight, bias)
    assert list(other) == [1]
    np.testing.assert_allclose(change, [[1, 0]])


@shortening
def test_7_2_a_class_with_the_same_row_and_bias_does_not_count():
    weight, bias = np.array([[1.0, 0], [1, 0], [0, 1]]), np.zeros(3)
    change, other = quietly(exercises.smallest_change, np.array([[1.0, 0.5]]), weight, bias)
    assert list(other) == [2]
    np.testing.assert_allclose(change, [[-0.25, 0.25]])


@shortening
def test_7_2_at_the_boundary_nothing_has_to_change():
    change, other = quietly(exercises.smallest_change, np.array([[2.0, 2.0]]), np.eye(2), np.zeros(2))
    np.testing.assert_array_equal(np.abs(change), [[0, 0]])
    assert list(other) == [1]


# ------------------------------------------------------------------------------------------ 7.3: adversarial regression

training = pytest.mark.task(
    id="7.3", points=3, minutes=25, difficulty=2, hint="m = eps |w|_1 - y (w x + b); d softplus = sigmoid"
)


@training
def test_7_3_by_hand():
    """|w|_1 = 3, w x + b = 0.5: margins 0.3 - 0.5 for the label 1 and 0.3 + 0.5 for -1."""
    x, y = np.array([[1.0, 0.5], [1.0, 0.5]]), np.array([1, -1])
    loss, _, dbias = quietly(exercises.adversarial_logistic, np.array([1.0, -2.0]), 0.5, x, y, 0.1)
    assert loss == pytest.approx((np.log1p(np.exp(-0.2)) + np.log1p(np.exp(0.8))) / 2)
    assert dbias == pytest.approx((-1 / (1 + np.exp(0.2)) + 1 / (1 + np.exp(-0.8))) / 2)


@training
@pytest.mark.parametrize("label", [1, -1])
def test_7_3_is_the_loss_at_the_attacked_images(label):
    rng = np.random.default_rng(9)
    weight, x, y = rng.standard_normal(6), rng.random((4, 6)), np.full(4, label)
    attacked = x - 0.2 * label * np.sign(weight)
    wanted = np.log1p(np.exp(-label * (attacked @ weight + 0.3))).mean()
    clean = np.log1p(np.exp(-label * (x @ weight + 0.3))).mean()
    loss, _, _ = quietly(exercises.adversarial_logistic, weight, 0.3, x, y, 0.2)
    assert loss == pytest.approx(wanted, rel=1e-12)
    assert loss > clean, "an attack never helps"


@training
@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_7_3_gradients_are_the_numeric_ones(eps):
    rng = np.random.default_rng(10)
    weight, bias, x, y = rng.standard_normal(5), 0.4, rng.random((7, 5)), np.array([1, -1, 1, 1, -1, 1, -1])
    _, dweight, dbias = quietly(exercises.adversarial_logistic, weight, bias, x, y, eps)
    of = lambda w, b: exercises.adversarial_logistic(w, b, x, y, eps)[0]  # noqa: E731
    np.testing.assert_allclose(dweight, numeric(lambda w: of(w, bias), weight), atol=1e-8)
    assert dbias == pytest.approx((of(weight, bias + 1e-6) - of(weight, bias - 1e-6)) / 2e-6, abs=1e-8)


@training
def test_7_3_a_weight_of_zero_is_pulled_nowhere_by_the_attack():
    x, y = np.array([[0.5, 0.0]]), np.array([1])
    _, dweight, _ = quietly(exercises.adversarial_logistic, np.array([1.0, 0.0]), 0.0, x, y, 0.25)
    assert dweight[1] == 0


@training
def test_7_3_margins_in_the_thousands():
    weight, x, y = np.array([2000.0]), np.array([[1.0], [1.0]]), np.array([1, -1])
    loss, dweight, dbias = quietly(exercises.adversarial_logistic, weight, 0.0, x, y, 0.25)
    assert (loss, dbias) == (pytest.approx(2500 / 2), pytest.approx(0.5))
    np.testing.assert_allclose(dweight, [0.625])


# --------------------------------------------------------------------------------------------- 7.4: best discriminator

playing = pytest.mark.task(
    id="7.4", points=2, minutes=20, difficulty=1, hint="1 - D = q / (p + q); logarithms only where there is something"
)


@playing
def test_7_4_the_specifications_example():
    D, value = quietly(exercises.best_discriminator, np.array([0.5, 0.5]), np.array([0.9, 0.1]))
    np.testing.assert_allclose(D, [0.357143, 0.833333], atol=1e-6)
    assert value == pytest.approx(-1.182796, abs=1e-6)
    assert (value + np.log(4)) / 2 == pytest.approx(0.101749, abs=1e-6), "JSD in nats"


@playing
def test_7_4_the_value_is_twice_the_jensen_shannon_divergence_minus_log_4():
    rng = np.random.default_rng(11)
    p, q = rng.dirichlet(np.ones(9)), rng.dirichlet(np.ones(9))
    m = (p + q) / 2
    jsd = (p * np.log(p / m) + q * np.log(q / m)).sum() / 2
    assert exercises.best_discriminator(p, q)[1] == pytest.approx(-np.log(4) + 2 * jsd, abs=1e-12)


@playing
def test_7_4_equal_densities():
    p = np.array([[0.1, 0.2], [0.3, 0.4]])
    D, value = quietly(exercises.best_discriminator, p, p)
    np.testing.assert_array_equal(D, np.full((2, 2), 0.5))
    assert value == pytest.approx(-np.log(4))


@playing
def test_7_4_densities_that_never_meet():
    """D is certain everywhere, and the value 0; where there is nothing D is one half, without a warning."""
    D, value = quietly(exercises.best_discriminator, np.array([1.0, 0, 0]), np.array([0, 0, 1.0]))
    np.testing.assert_array_equal(D, [1, 0.5, 0])
    assert value == 0


@playing
def test_7_4_two_gaussians_on_a_grid():
    """The logit of D is 0.5 - x for N(0, 1) against N(1, 1); the width makes probabilities of densities."""
    x = np.linspace(-8, 9, 3401)
    p, q = (np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (0, 1))
    D, value = quietly(exercises.best_discriminator, p, q, width=x[1] - x[0])
    np.testing.assert_allclose(D, 1 / (1 + np.exp(x - 0.5)), rtol=1e-9)
    assert value == pytest.approx(exercises.best_discriminator(p, q)[1] * 0.005)
    assert -np.log(4) < value < -1


@playing
def test_7_4_small_densities_count():
    """D is 1 - 1e-20, which is 1 in floating point; but q log(1 - D) is 1e-20 log 1e-20."""
    D, value = quietly(exercises.best_discriminator, np.array([1.0]), np.array([1e-20]))
    assert D[0] == 1
    assert value == pytest.approx(1e-20 * np.log(1e-20), rel=0.05, abs=0)
    D, _ = quietly(exercises.best_discriminator, np.array([3e-200]), np.array([1e-200]))
    assert D[0] == pytest.approx(0.75), "nothing is added to keep the quotient from 0 / 0"


# -------------------------------------------------------------------------------------------------- 7.5: generator loss

generating = pytest.mark.task(
    id="7.5", points=2, minutes=15, difficulty=1, hint="-log sigmoid(s) = softplus(-s) = np.logaddexp(0, -s)"
)


@generating
def test_7_5_the_specifications_example():
    """A sample that the discriminator is sure about, s = -10: the one gradient is gone, the other whole."""
    s = np.array([-10.0])
    assert quietly(exercises.generator_loss, s, saturating=True)[1][0] == pytest.approx(-4.54e-5, rel=1e-3)
    assert quietly(exercises.generator_loss, s)[1][0] == pytest.approx(-0.99995, abs=1e-5)


@generating
def test_7_5_losses_are_means_of_logarithms():
    s = np.array([-2.0, 0.5, 1.0])
    D = 1 / (1 + np.exp(-s))
    assert exercises.generator_loss(s)[0] == pytest.approx(-np.log(D).mean())
    assert exercises.generator_loss(s, saturating=True)[0] == pytest.approx(np.log(1 - D).mean())


@generating
@pytest.mark.parametrize("saturating", [False, True])
def test_7_5_gradients_are_the_numeric_ones(saturating):
    s = np.array([-3.0, -0.5, 0.0, 2.0])
    _, found = quietly(exercises.generator_loss, s, saturating=saturating)
    of = lambda t: exercises.generator_loss(t, saturating=saturating)[0]  # noqa: E731
    np.testing.assert_allclose(found, numeric(of, s), atol=1e-9)


@generating
def test_7_5_both_push_the_logits_up_and_their_gradients_add_up_to_one():
    s = np.linspace(-8, 8, 9)
    slopes = [exercises.generator_loss(s, saturating)[1] * len(s) for saturating in (False, True)]
    assert all((slope < 0).all() for slope in slopes)
    np.testing.assert_allclose(slopes[0] + slopes[1], np.full(9, -1.0))


@generating
@pytest.mark.parametrize("saturating", [False, True])
def test_7_5_logits_of_a_thousand(saturating):
    s = np.array([-1000.0, 1000.0])
    loss, gradient = quietly(exercises.generator_loss, s, saturating=saturating)
    assert loss == pytest.approx(-500 if saturating else 500)
    np.testing.assert_allclose(gradient, [0, -0.5] if saturating else [-0.5, 0], atol=1e-12)
