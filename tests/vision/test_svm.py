"""The linear SVM: by hand, by its optimality conditions, beside another method; hard negatives by their rules."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tinyconv.vision.svm import HardNegatives, LinearSVM, Plane, feature_scale, mine_hard_negatives


def clouds(seed: int = 0, n: int = 40, features: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return two overlapping clouds, a third of it positive, of mean norm 20."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3 == 0
    x = rng.standard_normal((n, features)) + 0.8 * labels[:, None]
    return x * feature_scale(x), labels


def primal(svm: LinearSVM, w: np.ndarray, b: float, x: np.ndarray, labels: np.ndarray) -> float:
    """Return the objective as the paper's code has it, term by term."""
    z = x @ w + b
    positive, negative = np.maximum(0, 1 - z[labels]).sum(), np.maximum(0, 1 + z[~labels]).sum()
    penalty = 0.5 * w @ w + 0.5 * (b / svm.bias_feature) ** 2
    return float(penalty + svm.C * (svm.positive_weight * positive + negative))


def by_projected_gradient(svm: LinearSVM, x: np.ndarray, labels: np.ndarray, steps: int = 30000) -> float:
    """Return the minimum, found by another method: gradient steps on all dual variables at once, clipped."""
    signed = np.where(labels, 1, -1)[:, None] * np.column_stack([x, np.full(len(x), svm.bias_feature)])
    gram, costs = signed @ signed.T, np.where(labels, svm.positive_weight, 1) * svm.C
    dual, rate = np.zeros(len(x)), 1 / np.linalg.eigvalsh(gram)[-1]
    for _ in range(steps):
        dual = np.clip(dual + rate * (1 - gram @ dual), 0, costs)
    return float(dual.sum() - dual @ gram @ dual / 2)


def test_by_hand() -> None:
    x, labels = np.array([[1.0], [-1.0]]), np.array([True, False])
    # C so small that both examples stay inside the margin, each dual variable at its cost: w = (2 + 1) C,
    # b = 100 (2 - 1) C.
    soft = LinearSVM().fit(x, labels)
    np.testing.assert_allclose(soft.weights, [0.003], rtol=1e-12)
    assert soft.bias == pytest.approx(0.1, rel=1e-12)
    np.testing.assert_allclose(soft.dual, [0.002, 0.001])
    # C so large that none is: the widest margin between -1 and 1.
    hard = LinearSVM(C=1e4, tolerance=1e-9, sweeps=10000).fit(x, labels)
    np.testing.assert_allclose([hard.weights[0], hard.bias, *hard.dual], [1, 0, 0.5, 0.5], atol=1e-5)
    # One positive alone: w = a x, b = 100 a, with a margin of 1 = a (3^2 + 10^2).
    one = LinearSVM(C=1, tolerance=1e-12).fit(np.array([[3.0]]), np.array([True]))
    np.testing.assert_allclose([one.weights[0], one.bias], [3 / 109, 100 / 109])
    np.testing.assert_allclose(one.scores(np.array([[3.0], [0.0]])), [1, 100 / 109])


@pytest.mark.parametrize("cost", [1e-4, 1e-3, 1e-1])
def test_optimal(cost: float) -> None:
    x, labels = clouds()
    svm = LinearSVM(C=cost, tolerance=1e-8, sweeps=20000)
    found = svm.fit(x, labels)
    assert found.objective == pytest.approx(primal(svm, found.weights, found.bias, x, labels), rel=1e-12)
    # The duality gap, from its definition; the dual point is feasible, so nothing can be lower by more than the gap.
    costs = np.where(labels, 2 * cost, cost)
    assert (found.dual >= 0).all() and (found.dual <= costs).all()
    plane = (found.dual * np.where(labels, 1, -1)) @ np.column_stack([x, np.full(len(x), 10.0)])
    np.testing.assert_allclose(np.append(found.weights, found.bias / 10), plane, atol=1e-12)
    gap = found.objective - (found.dual.sum() - plane @ plane / 2)
    assert -1e-12 < gap <= 1e-8 * found.objective and gap == pytest.approx(found.gap, abs=1e-12)
    assert found.objective == pytest.approx(by_projected_gradient(svm, x, labels), rel=1e-6)
    # Karush, Kuhn and Tucker: free examples lie on the margin, costless ones beyond it, the others inside.
    margin = np.where(labels, 1, -1) * found.scores(x)
    assert (margin[found.dual == 0] >= 1 - 1e-3).all()
    assert (margin[found.dual == costs] <= 1 + 1e-3).all()
    free = (found.dual > 1e-3 * costs) & (found.dual < 0.999 * costs)
    np.testing.assert_allclose(margin[free], 1, atol=1e-3)


def test_a_positive_that_costs_double_counts_as_two() -> None:
    x, labels = clouds(1)
    doubled, twice = np.concatenate([x, x[labels]]), np.concatenate([labels, labels[labels]])
    one = LinearSVM(tolerance=1e-9).fit(x, labels)
    two = LinearSVM(positive_weight=1, tolerance=1e-9).fit(doubled, twice)
    np.testing.assert_allclose(one.weights, two.weights, rtol=1e-3)
    assert one.bias == pytest.approx(two.bias, rel=1e-3)
    plain = LinearSVM(positive_weight=1, tolerance=1e-9).fit(x, labels)
    assert abs(plain.bias - one.bias) > 0.1 * abs(one.bias)  # the weight is not lost on the way


def test_the_bias_is_one_more_feature() -> None:
    x, labels = clouds(2)
    own = LinearSVM(tolerance=1e-9).fit(x, labels)
    more = LinearSVM(bias_feature=0, tolerance=1e-9).fit(np.column_stack([x, np.full(len(x), 10.0)]), labels)
    np.testing.assert_allclose(own.weights, more.weights[:-1], rtol=1e-3, atol=1e-6)
    assert own.bias == pytest.approx(10 * more.weights[-1], rel=1e-3) and more.bias == 0


def test_neither_the_seed_nor_float32_changes_the_plane_much() -> None:
    x, labels = clouds(3)
    one, other = (LinearSVM(tolerance=1e-6).fit(x, labels, seed) for seed in (0, 1))
    np.testing.assert_allclose(one.scores(x), other.scores(x), atol=1e-2)
    again = LinearSVM(tolerance=1e-6).fit(x, labels)
    np.testing.assert_array_equal(one.weights, again.weights)
    short = LinearSVM().fit(x.astype(np.float32), labels)
    assert short.scores(x.astype(np.float32)).dtype == np.float32
    assert primal(LinearSVM(), short.weights, short.bias, x, labels) < 1.001 * one.objective


def test_examples_of_one_kind_and_of_zeros() -> None:
    x, _ = clouds(4)
    negatives = LinearSVM(C=1).fit(x, np.zeros(len(x), bool))
    assert (negatives.scores(x) < -0.99).all()
    nothing = LinearSVM(bias_feature=0).fit(np.zeros((3, 2)), np.array([True, False, False]))
    assert not nothing.weights.any() and nothing.objective == pytest.approx(4e-3)


def test_a_training_that_does_not_end_says_so() -> None:
    x, labels = clouds(5)
    with pytest.warns(UserWarning, match="after 2 sweeps the objective .* scale the features to a mean norm of 20"):
        LinearSVM(C=100, sweeps=2).fit(x * 100, labels)


def test_feature_scale() -> None:
    x = np.array([[3.0, 4], [0, 15]])  # norms 5 and 15
    assert feature_scale(x) == 2
    assert np.linalg.norm(x * feature_scale(x, 7), axis=1).mean() == pytest.approx(7)
    for bad in (np.zeros((3, 2)), np.zeros((0, 2))):
        with pytest.raises(ValueError, match="feature_scale: wanted features that are not all 0"):
            feature_scale(bad)


# --------------------------------------------------------------------------------------------------- hard negatives


class Recorded(LinearSVM):
    """Remembers what it was trained on, and returns a plane that scores by the first feature."""

    def fit(self, features: np.ndarray, labels: np.ndarray, seed: int = 0) -> Plane:
        seen.append((features[labels][:, 0].tolist(), features[~labels][:, 0].tolist()))
        return Plane(np.array([1.0, 0.0]), 0.0, np.zeros(len(features)), 0.0, 0.0)


seen: list[tuple[list[float], list[float]]] = []


def rows(*scores: float) -> np.ndarray:
    return np.array([[score, 1.0] for score in scores]).reshape(-1, 2)


def test_the_rules() -> None:
    seen.clear()
    cache = HardNegatives(Recorded(), rows(2), limit=2)
    cache.look(rows())  # no negatives: not the first image yet
    assert cache.plane is None and not seen
    cache.look(rows(-5, -1.2, -1.21, 0.5))
    assert seen == [([2], [-5, -1.2, -1.21, 0.5])]  # of the first image all, and trained at once
    assert cache.negatives[:, 0].tolist() == [-1.2, 0.5]  # then those below -1.2 are gone; -1.2 itself stays
    cache.look(rows(-1.1, -1.0001, -1.00005))  # only the last one scores above -1.0001
    cache.look(rows(0.25))
    assert cache.negatives[:, 0].tolist() == [-1.2, 0.5, -1.00005, 0.25]
    assert cache.trainings == 1  # two were added: not more than 2
    cache.look(rows(3))
    assert cache.trainings == 2 and seen[-1] == ([2], [-1.2, 0.5, -1.00005, 0.25, 3])
    cache.look(rows(4))  # the count begins anew
    assert cache.trainings == 2
    cache.finish()
    assert cache.trainings == 3 and seen[-1] == ([2], [-1.2, 0.5, -1.00005, 0.25, 3, 4])


def test_defaults_are_the_papers() -> None:
    cache = HardNegatives(LinearSVM(), rows(1))
    assert (cache.add, cache.evict, cache.limit) == (-1.0001, -1.2, 2000)
    assert (cache.svm.C, cache.svm.positive_weight, cache.svm.bias_feature) == (1e-3, 2, 10)


def test_one_pass_finds_nearly_what_all_negatives_give() -> None:
    rng = np.random.default_rng(6)
    positives = rng.standard_normal((50, 8)) + 1
    images = [rng.standard_normal((60, 8)) - 0.3 for _ in range(40)]
    scale = feature_scale(np.concatenate([positives, *images]))
    positives, images = positives * scale, [part * scale for part in images]
    every = np.concatenate([positives, *images])
    labels = np.arange(len(every)) < len(positives)
    svm = LinearSVM(tolerance=1e-6)
    whole = svm.fit(every, labels)

    def one_by_one() -> Iterator[np.ndarray]:
        yield from images

    mined = mine_hard_negatives(svm, positives, one_by_one(), limit=100)
    assert mined.plane is not None and mined.trainings > 2
    assert len(mined.negatives) < len(every) / 2
    assert primal(svm, mined.plane.weights, mined.plane.bias, every, labels) < 1.01 * whole.objective
    # Not so without the mining: the first image alone does worse.
    first = svm.fit(np.concatenate([positives, images[0]]), np.arange(110) < 50)
    assert primal(svm, first.weights, first.bias, every, labels) > 1.05 * whole.objective


def test_no_negatives_at_all() -> None:
    found = mine_hard_negatives(LinearSVM(C=1), rows(1, 2), [])
    assert found.plane is not None and (found.plane.scores(rows(1, 2)) > 0.99).all()


def test_errors() -> None:
    x, labels = clouds()
    for given, message in (
        (labels[:-1], "labels must be bools, one for each of at least one example, got bool of shape"),
        (labels.astype(int), "labels must be bools, .* got int64"),
    ):
        with pytest.raises(ValueError, match=message):
            LinearSVM().fit(x, given)
    with pytest.raises(ValueError, match="of at least one example"):
        LinearSVM().fit(x[:0], labels[:0])
    for given, got in (
        (x[:, 0], r"float64 of shape \(40,\)"),
        (x.astype(np.float16), r"float16 of shape \(40, 5\)"),
        (x.astype(int), "int64 of"),
    ):
        with pytest.raises(ValueError, match=rf"features must be float32 or float64 \(N, F\), got {got}"):
            LinearSVM().fit(given, labels)
    x[3, 2] = np.nan
    with pytest.raises(ValueError, match="LinearSVM.fit: features must be finite, got NaN"):
        LinearSVM().fit(x, labels)
    with pytest.raises(ValueError, match="HardNegatives.look: features must be finite"):
        HardNegatives(LinearSVM(), rows(1)).look(np.full((2, 2), np.inf))
    cache = HardNegatives(LinearSVM(), rows())
    cache.look(rows())
    with pytest.raises(ValueError, match="HardNegatives: wanted positives or negatives to learn from, got neither"):
        cache.finish()
    for sweeps in (1.5, 0, np.inf, "9"):
        with pytest.raises(ValueError, match="LinearSVM: sweeps must be an int of at least 1, got "):
            LinearSVM(sweeps=sweeps)
    with pytest.raises(ValueError, match="LinearSVM: C must be positive and finite, got 0"):
        LinearSVM(C=0)
    with pytest.raises(ValueError, match="LinearSVM: bias_feature must be at least 0, got -1"):
        LinearSVM(bias_feature=-1)
