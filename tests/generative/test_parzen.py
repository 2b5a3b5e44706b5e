"""Parzen windows: the spec's numbers, a plain loop, an integral of 1, far and shifted points, who chooses the width."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from tinyconv.generative.parzen import SIGMAS, Parzen, _gaussian, choose_sigma, log_likelihood, parzen, references


def by_loops(points: np.ndarray, centres: np.ndarray, sigma: float) -> list[float]:
    """Return the log-densities from the definition: one difference, one exponential, one exact sum after the other."""
    found = []
    for x in points:
        exponents = [-math.fsum((a - b) ** 2 for a, b in zip(x, mu, strict=True)) / (2 * sigma**2) for mu in centres]
        top = max(exponents)
        mean = math.fsum(math.exp(e - top) for e in exponents) / len(exponents)
        found.append(top + math.log(mean) - len(x) * math.log(sigma * math.sqrt(2 * math.pi)))
    return found


@pytest.mark.parametrize(("sigma", "wanted"), [(0.2, 541.3515), (0.1, 1084.7790)])
def test_a_sample_that_is_the_point_in_784_dimensions(sigma: float, wanted: float, rng: np.random.Generator) -> None:
    x = rng.random((1, 1, 28, 28))
    assert log_likelihood(x, x, sigma)[0] == pytest.approx(wanted, abs=1e-4)
    assert log_likelihood(x, x, sigma)[0] == pytest.approx(-784 * math.log(sigma * math.sqrt(2 * math.pi)), rel=1e-14)
    far = np.concatenate([x, x + 1e4, x - 1e4])  # a third of the density, whatever lies elsewhere
    assert log_likelihood(x, far, sigma)[0] == pytest.approx(wanted - math.log(3), abs=1e-4)


@pytest.mark.parametrize("batch", [1, 4, 5, 500])
@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0])
def test_equals_plain_loops_in_blocks_of_any_size(batch: int, sigma: float, rng: np.random.Generator) -> None:
    points, centres = rng.random((9, 6)), rng.random((14, 6))
    found = log_likelihood(points, centres, sigma, batch)
    assert found.dtype == np.float64 and found.shape == (9,)
    np.testing.assert_allclose(found, by_loops(points, centres, sigma), rtol=1e-12)
    single = log_likelihood(points.astype(np.float32), centres.astype(np.float32), sigma, batch)
    np.testing.assert_allclose(single, found, rtol=1e-4)


def test_the_density_integrates_to_1() -> None:
    x = np.linspace(-30, 30, 60001)
    density = np.exp(log_likelihood(x[:, None], np.array([[-2.0], [0.0], [3.5]]), 0.7))
    assert density.sum() * (x[1] - x[0]) == pytest.approx(1, abs=1e-9)


def test_points_at_distances_of_ten_thousand() -> None:
    """exp(-1e8 / (2 * 0.01)) is 0 in any float, its logarithm is not."""
    centres = np.array([[1e4, 0.0], [0.0, -1e4], [0.0, 2e4]])
    found = log_likelihood(np.zeros((1, 2)), centres, 0.1)[0]
    assert found == pytest.approx(-1e8 / 0.02 + math.log(2 / 3) - 2 * math.log(0.1 * math.sqrt(2 * math.pi)), rel=1e-14)
    # In whichever order near and far ones come, one block each.
    many = np.array([[1e4], [0.25], [-1e4], [0.0], [3e3]])
    for order in (many, many[::-1], np.roll(many, 2, axis=0)):
        found = log_likelihood(np.zeros((1, 1)), order, 0.1, batch=1)
        np.testing.assert_allclose(found, by_loops(np.zeros((1, 1)), many, 0.1), rtol=1e-13)


def test_what_all_have_in_common_costs_no_digits(rng: np.random.Generator) -> None:
    """|x|^2 is 8e10 here, of which 2 x mu leaves a distance of some 4: without subtracting the mean, noise of 1e-5."""
    points, centres = 1e4 + rng.random((5, 784)) / 10, 1e4 + rng.random((7, 784)) / 10
    np.testing.assert_allclose(log_likelihood(points, centres, 0.1), by_loops(points, centres, 0.1), rtol=0, atol=1e-6)


def test_memory_is_that_of_blocks(rng: np.random.Generator) -> None:
    points, centres = rng.random((2000, 4)), rng.random((5000, 4))
    tracemalloc.start()
    log_likelihood(points, centres, 0.2, batch=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6  # all distances together take 80 MB


def test_shapes_of_images_do_not_matter(rng: np.random.Generator) -> None:
    points, centres = rng.random((3, 2, 4, 5)), rng.random((6, 2, 4, 5))
    flat = log_likelihood(points.reshape(3, 40), centres.reshape(6, 40), 0.2)
    np.testing.assert_array_equal(log_likelihood(points, centres, 0.2), flat)
    assert log_likelihood(points[:0], centres, 0.2).shape == (0,)


def test_the_width_is_the_validation_images_choice(rng: np.random.Generator) -> None:
    """Around one centre the best width is the root mean square distance per axis: .3 for one set, .9 for the other."""
    centre = np.zeros((1, 50))
    directions = rng.standard_normal((40, 50))
    directions *= math.sqrt(50) / np.linalg.norm(directions, axis=1, keepdims=True)
    sigmas = [0.9, 0.1, 0.3, 0.5]
    for width, other in ((0.3, 0.9), (0.9, 0.3)):
        sigma, means = choose_sigma(width * directions, centre, sigmas)
        assert sigma == width and means.argmax() == sigmas.index(width)
        wanted = [log_likelihood(width * directions, centre, s).mean() for s in sigmas]
        np.testing.assert_allclose(means, wanted, rtol=1e-12)
        assert parzen(centre, width * directions, other * directions, sigmas=sigmas).sigma == width
    assert choose_sigma(centre, centre, [0.2, 0.1, 0.1])[0] == 0.1


def test_mean_and_standard_error_are_of_the_test_images(rng: np.random.Generator) -> None:
    samples, validation, test = rng.random((30, 9)), rng.random((20, 9)), rng.random((25, 9))
    found = parzen(samples, validation, test)
    each = by_loops(test, samples, found.sigma)
    assert found.mean == pytest.approx(sum(each) / 25)
    deviation = math.sqrt(sum((e - found.mean) ** 2 for e in each) / 25)
    assert found.standard_error == pytest.approx(deviation / 5)
    np.testing.assert_allclose(found.sigmas, [10 ** (-1 + k / 9) for k in range(10)])
    np.testing.assert_array_equal(found.sigmas, SIGMAS)
    assert found.validation_means.shape == (10,) and found.sigma == SIGMAS[found.validation_means.argmax()]
    assert parzen(samples[::-1], validation, test).mean == pytest.approx(found.mean, rel=1e-12)


def test_it_prints_as_a_sentence_that_warns() -> None:
    text = str(Parzen(225.04, 2.03, 0.2154, SIGMAS, np.zeros(10)))
    assert text.startswith("log-likelihood 225.0 +- 2.0 nat by Parzen windows of sigma 0.215, chosen on validation")
    assert "high variance" in text and "compare it with the same for other images" in text and "\n" not in text


# ----------------------------------------------------------------------------------------------------- references


def images(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return images of 3 x 2 pixels of which one never varies, one copies another, and two vary together."""
    a = rng.random((n, 6))
    a[:, 1], a[:, 2], a[:, 4] = 0.5, a[:, 0], 0.8 * a[:, 3] + 0.2 * a[:, 5]
    return a.reshape(n, 1, 3, 2)


def test_the_gaussian_has_the_training_images_mean_and_covariance(rng: np.random.Generator) -> None:
    train = images(rng, 12).reshape(12, 6)
    samples = _gaussian(train, 40000, 0, 500)
    np.testing.assert_allclose(samples.mean(axis=0), train.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(np.cov(samples.T, ddof=0), np.cov(train.T, ddof=0), atol=0.003)
    assert np.ptp(samples[:, 1]) == 0 and np.abs(samples[:, 2] - samples[:, 0]).max() < 1e-12
    np.testing.assert_allclose(_gaussian(train, 10, 0, 3), samples[:10], rtol=1e-12)
    assert np.abs(_gaussian(train, 10, 1, 3) - samples[:10]).max() > 0.1


def test_references(rng: np.random.Generator) -> None:
    train, validation, test = images(rng, 300), images(rng, 40), images(rng, 50)
    found = references(train, validation, test, n=200)
    assert list(found) == ["training images", "Gaussian", "mean image"]
    assert found["mean image"].mean == parzen(train.mean(axis=0)[None], validation, test).mean
    assert found["training images"].mean > found["mean image"].mean
    assert found["Gaussian"].mean > found["mean image"].mean
    again = references(train, validation, test, n=200, batch=17)
    for name, one in found.items():
        assert again[name].mean == pytest.approx(one.mean, rel=1e-10)
    assert references(train, validation, test, n=200, seed=1)["Gaussian"].mean != found["Gaussian"].mean
    one = references(train, validation, test, n=1)["training images"].mean
    assert sum(one == pytest.approx(parzen(image[None], validation, test).mean) for image in train) == 1
    everything = references(train, validation, test, n=1000)["training images"]
    assert everything.mean == pytest.approx(parzen(train, validation, test).mean, rel=1e-12)


GOOD = np.zeros((3, 4))


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: log_likelihood(GOOD, GOOD[:0], 0.1), "log_likelihood: centres must have at least one row, got none"),
        (lambda: log_likelihood(GOOD, np.zeros((3, 5)), 0.1), "equally many numbers, got 4 and 5"),
        (lambda: log_likelihood(GOOD, GOOD * np.nan, 0.1), "centres must be finite, got NaN or infinity"),
        (lambda: log_likelihood(GOOD + np.inf, GOOD, 0.1), "points must be finite"),
        (lambda: log_likelihood(GOOD[0], GOOD, 0.1), r"points must be floating \(n, \.\.\.\) .* of shape \(4,\)"),
        (lambda: log_likelihood(np.zeros((3, 0)), np.zeros((3, 0)), 0.1), "at least one number in each row"),
        (lambda: log_likelihood(GOOD.astype(np.uint8), GOOD, 0.1), "points must be floating .* got uint8"),
        (lambda: log_likelihood(GOOD, GOOD, 0.0), "log_likelihood: sigma must be positive and finite, got 0.0"),
        (lambda: log_likelihood(GOOD, GOOD, -1), "sigma must be positive and finite, got -1"),
        (lambda: log_likelihood(GOOD, GOOD, np.nan), "sigma must be positive and finite, got nan"),
        (lambda: log_likelihood(GOOD, GOOD, 0.1, batch=0), "batch must be an int of at least 1, got 0"),
        (lambda: choose_sigma(GOOD, GOOD, []), "choose_sigma: sigmas must be a sequence of at least one number"),
        (lambda: choose_sigma(GOOD, GOOD, [0.1, -0.1]), "sigma must be positive and finite, got -0.1"),
        (lambda: choose_sigma(GOOD[:0], GOOD), "validation must have at least one image, got none"),
        (lambda: parzen(GOOD, GOOD, GOOD[:0]), "parzen: test must have at least one image, got none"),
        (lambda: parzen(GOOD, GOOD, np.zeros((3, 5))), "equally many numbers, got 5 and 4"),
        (lambda: references(GOOD[:0], GOOD, GOOD), "references: train must have at least one image, got none"),
        (lambda: references(GOOD, GOOD, GOOD, n=0), "references: n must be an int of at least 1, got 0"),
        (lambda: references(GOOD, GOOD * np.nan, GOOD), "references: validation must be finite"),
    ],
)
def test_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
    assert np.isfinite(log_likelihood(GOOD, GOOD, 0.1)).all()
