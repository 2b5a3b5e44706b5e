"""Ridge regression of boxes: the objective's gradient is 0 at the solution, and whitening is undone."""

from __future__ import annotations

import numpy as np
import pytest

from tinyconv.vision import decode_boxes, encode_boxes
from tinyconv.vision.box_regression import BoxRegressor, solve_positive, whitening


def pairs(n: int = 80, features: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Return features of norm about 20 and targets that depend on some of them, with noise."""
    rng = np.random.default_rng(0)
    x = np.abs(rng.standard_normal((n, features))) * 20 / np.sqrt(features)
    return x, 0.02 * x[:, :4] @ rng.standard_normal((4, 4)) + 0.05 * rng.standard_normal((n, 4)) + [0.1, 0, -0.2, 0.3]


@pytest.mark.parametrize("strength", [1e-2, 1.0, 1000.0])
def test_the_gradient_is_zero_at_the_solution(strength: float) -> None:
    x, targets = pairs()
    found = BoxRegressor(strength).fit(x, targets)
    design = np.column_stack([x, np.ones(len(x))])
    whitened = (targets - found.whitening.mean) @ found.whitening.forward
    gradient = 2 * design.T @ (design @ found.weights - whitened) + 2 * strength * found.weights
    assert np.abs(gradient).max() < 1e-8

    # And the solution is the one: a bit away the objective is larger.
    def objective(weights: np.ndarray) -> float:
        return float(((design @ weights - whitened) ** 2).sum() + strength * (weights**2).sum())

    for i in range(len(found.weights)):
        other = found.weights.copy()
        other[i] += 1e-3
        assert objective(other) > objective(found.weights)


def test_whitening() -> None:
    _, targets = pairs()
    white = whitening(targets)
    whitened = (targets - white.mean) @ white.forward
    np.testing.assert_allclose(whitened @ white.inverse + white.mean, targets, atol=1e-12)
    # The covariance keeps its axes, and its variances D become D / (D + 0.001).
    before, after = (np.cov(values.T, bias=True) for values in (targets, whitened))
    values, vectors = np.linalg.eigh(before)
    np.testing.assert_allclose(after, vectors @ np.diag(values / (values + 0.001)) @ vectors.T, atol=1e-12)
    np.testing.assert_allclose(white.forward, white.forward.T, atol=1e-12)
    assert (
        np.abs(np.cov(((targets - white.mean) @ whitening(targets, 1e-12).forward).T, bias=True) - np.eye(4)).max()
        < 1e-6
    )


def test_targets_that_do_not_vary_are_learnt_too() -> None:
    x, _ = pairs()
    constant = np.tile([0.5, -0.25, 0, 1], (len(x), 1))
    np.testing.assert_allclose(BoxRegressor().fit(x, constant).predict(x), constant, atol=1e-12)


def test_prediction() -> None:
    x, targets = pairs()
    # Hardly any penalty: least squares. A huge one: the mean of the targets.
    design = np.column_stack([x, np.ones(len(x))])
    least = design @ np.linalg.lstsq(design, targets, rcond=None)[0]
    np.testing.assert_allclose(BoxRegressor(1e-9).fit(x, targets).predict(x), least, atol=1e-7)
    np.testing.assert_allclose(BoxRegressor(1e12).fit(x, targets).predict(x), targets.mean(0)[None] + 0 * x[:, :4],
                               atol=1e-6)  # fmt: skip
    assert BoxRegressor().fit(x, targets).predict(x[:0]).shape == (0, 4)


def test_boxes_come_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 40, (200, 2))
    truth = np.concatenate([low, low + rng.uniform(10, 20, (200, 2))], axis=1)
    proposals = truth + rng.uniform(-2, 2, truth.shape)
    x = np.concatenate([encode_boxes(proposals, truth) + 0.01 * rng.standard_normal((200, 4)), low], axis=1)
    found = BoxRegressor(1e-2).fit(x[:150], encode_boxes(proposals, truth)[:150])
    better = decode_boxes(proposals[150:], found.predict(x[150:]))
    assert np.abs(better - truth[150:]).max() < 1
    assert np.abs(better - truth[150:]).mean() < 0.2 * np.abs(proposals[150:] - truth[150:]).mean()


def test_solve_positive() -> None:
    rng = np.random.default_rng(2)
    root = rng.standard_normal((30, 30))
    matrix, right = root @ root.T + np.eye(30), rng.standard_normal((30, 4))
    np.testing.assert_allclose(matrix @ solve_positive(matrix, right), right, atol=1e-10)
    with pytest.raises(np.linalg.LinAlgError):
        solve_positive(-matrix, right)


def test_defaults_are_the_papers() -> None:
    assert BoxRegressor() == BoxRegressor(strength=1000, eps=0.001)


def test_errors() -> None:
    x, targets = pairs()
    with pytest.raises(ValueError, match=r"wanted features \(N, F\) and targets \(N, 4\) with N >= 1, got \(80, 12\)"):
        BoxRegressor().fit(x, targets[:-1])
    with pytest.raises(ValueError, match=r"with N >= 1, got \(0, 12\) and \(0, 4\)"):
        BoxRegressor().fit(x[:0], targets[:0])
    targets[3, 1] = np.inf
    with pytest.raises(ValueError, match="features and targets must be finite, got NaN or infinity"):
        BoxRegressor().fit(x, targets)
    with pytest.raises(ValueError, match="wanted strength > 0 and eps > 0, got -1 and 0.001"):
        BoxRegressor(-1)
