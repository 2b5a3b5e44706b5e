"""Linear support vector machines, trained on the few negatives that are hard. See :class:`LinearSVM`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyconv.random import generator
from tinyconv_kernels.linear_svm import dual_sweep


class Plane(NamedTuple):
    """A trained machine: the score of a feature vector x is weights . x + bias.

    Attributes
    ----------
    weights : array, (F,), float64
    bias : float
    dual : array, (N,), float64
        One number for each example, in [0, its cost]: 0 if it lies beyond the margin, the cost if it lies inside.
    objective : float
        What :class:`LinearSVM` minimises.
    gap : float
        At most so much is the objective above its minimum.
    """

    weights: np.ndarray
    bias: float
    dual: np.ndarray
    objective: float
    gap: float

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the scores (N,) of features (N, F)."""
        return features @ self.weights.astype(features.dtype) + features.dtype.type(self.bias)


@dataclass(frozen=True)
class LinearSVM:
    """Hinge loss with a quadratic penalty, in which positives may cost more than negatives.

    minimise |w|^2 / 2 + (b / bias_feature)^2 / 2 + C (positive_weight sum_pos max(0, 1 - z) + sum_neg max(0, 1 + z)),
    z = w . x + b. The defaults are R-CNN's (Girshick et al. 2014, released code), for features of mean norm 20.

    Parameters
    ----------
    C : float
        Cost of a negative inside the margin, per unit.
    positive_weight : float
        A positive costs this many times C.
    bias_feature : float
        b is the weight of one more feature of this value, and penalised like the others.
    tolerance : float
        Training ends when the duality gap is below this share of the objective.
    sweeps : int
        At most so many passes over the examples; if the gap is not small then, a warning says so.

    Examples
    --------
    >>> plane = LinearSVM(C=10, bias_feature=1).fit(np.array([[2.0], [-2.0]]), np.array([True, False]))
    >>> round(float(plane.weights[0]), 3), abs(round(plane.bias, 3))
    (0.5, 0.0)
    """

    C: float = 1e-3
    positive_weight: float = 2.0
    bias_feature: float = 10.0
    tolerance: float = 1e-4
    sweeps: int = 1000

    def __post_init__(self) -> None:
        if not isinstance(self.sweeps, (int, np.integer)) or self.sweeps < 1:
            raise ValueError(f"LinearSVM: sweeps must be an int of at least 1, got {self.sweeps!r}")
        for name in ("C", "positive_weight", "tolerance"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"LinearSVM: {name} must be positive and finite, got {getattr(self, name)}")
        if not 0 <= self.bias_feature < np.inf:
            raise ValueError(f"LinearSVM: bias_feature must be at least 0, got {self.bias_feature}")

    def fit(self, features: np.ndarray, labels: np.ndarray, seed: int = 0) -> Plane:
        """Find the plane by dual coordinate descent (Hsieh et al. 2008): each example's dual variable in turn.

        The dual problem is to maximise sum a - |sum a y (x, bias_feature)|^2 / 2 with 0 <= a <= cost. The objective
        minus it is the gap, which is 0 at the solution only.

        Parameters
        ----------
        features : array, (N, F), float32 or float64
        labels : array, (N,), bool
            True for the positives. There may be none of one kind.
        seed : int
            Of the order in which examples are visited.

        Raises
        ------
        ValueError
            The shapes do not fit, a feature is not finite, or there is no example.
        """
        features, labels = _checked("LinearSVM.fit", features), np.asarray(labels)
        if labels.dtype != bool or labels.shape != features.shape[:1] or not len(features):
            raise ValueError(
                f"LinearSVM.fit: labels must be bools, one for each of at least one example, "
                f"got {labels.dtype} of shape {labels.shape} for {len(features)} examples"
            )
        signs, costs = np.where(labels, 1.0, -1.0), self._costs(labels)
        squares = np.einsum("nf,nf->n", features, features, dtype=np.float64) + self.bias_feature**2
        dual, plane = np.zeros(len(features)), np.zeros(features.shape[1] + 1)
        for sweep in range(self.sweeps):
            order = generator(seed, "svm", sweep).permutation(len(features))
            dual_sweep(features, signs, costs, squares, order, float(self.bias_feature), dual, plane)
            weights, bias = plane[:-1], float(self.bias_feature * plane[-1])
            objective = self.objective(weights, bias, features, labels)
            gap = objective - (float(dual.sum()) - float(plane @ plane) / 2)
            if gap <= self.tolerance * objective:
                break
        else:
            warnings.warn(
                f"LinearSVM.fit: after {self.sweeps} sweeps the objective {objective:.4g} may be {gap:.2g} above its "
                "minimum; scale the features to a mean norm of 20 (feature_scale), or allow more sweeps",
                stacklevel=2,
            )
        return Plane(weights.copy(), bias, dual, objective, gap)

    def objective(self, weights: np.ndarray, bias: float, features: np.ndarray, labels: np.ndarray) -> float:
        """Return what ``fit`` minimises, for any plane (with ``bias_feature`` 0 the bias must be 0, too)."""
        scores = features @ weights.astype(features.dtype) + features.dtype.type(bias)
        hinge = np.maximum(0, 1 - np.where(labels, scores, -scores)) @ self._costs(labels)
        penalty = (bias / self.bias_feature) ** 2 if self.bias_feature else 0.0
        return float((weights @ weights + penalty) / 2 + hinge)

    def _costs(self, labels: np.ndarray) -> np.ndarray:
        return np.where(labels, self.C * self.positive_weight, self.C)


def feature_scale(features: np.ndarray, norm: float = 20.0) -> float:
    """Return the factor that gives features (N, F) this mean norm; C and the ridge's strength are chosen for 20."""
    features = _checked("feature_scale", features)
    mean = float(np.linalg.norm(features, axis=1).mean()) if len(features) else 0.0
    if mean == 0:
        raise ValueError(f"feature_scale: wanted features that are not all 0, got {len(features)} rows of norm 0")
    return norm / mean


# --------------------------------------------------------------------------------------------------- hard negatives


class HardNegatives:
    """One class's machine while the images go by: it keeps the negatives that are hard, and learns again from them.

    Give the negatives of each image to :meth:`look`, once; then call :meth:`finish`.

    Parameters
    ----------
    svm : LinearSVM
    positives : array, (P, F)
        Kept throughout.
    add : float
        Negatives that score higher are added: a little below the margin at -1.
    evict : float
        After each training, negatives that score lower are dropped.
    limit : int
        Trains again once more than so many were added since the last time.

    Attributes
    ----------
    plane : Plane or None
        Of the last training.
    negatives : array, (M, F)
        Those in the cache.
    trainings : int
    """

    def __init__(
        self,
        svm: LinearSVM,
        positives: np.ndarray,
        *,
        add: float = -1.0001,
        evict: float = -1.2,
        limit: int = 2000,
        seed: int = 0,
    ) -> None:
        self.svm, self.positives = svm, _checked("HardNegatives", positives)
        self.add, self.evict, self.limit, self.seed = add, evict, limit, seed
        self.negatives = self.positives[:0]
        self.plane: Plane | None = None
        self.added = self.trainings = 0

    def look(self, features: np.ndarray) -> None:
        """Take the hard ones of an image's negatives (M, F); of the first image that has any, take all and train."""
        features = _checked("HardNegatives.look", features)
        if not len(features):
            return
        first = self.plane is None
        if self.plane is not None:
            features = features[self.plane.scores(features) > self.add]
        self.negatives = np.concatenate([self.negatives, features])
        self.added += len(features)
        if first or self.added > self.limit:
            self.train()

    def train(self) -> None:
        """Train on what is in the cache, then drop the easy negatives."""
        features = np.concatenate([self.positives, self.negatives])
        if not len(features):
            raise ValueError("HardNegatives: wanted positives or negatives to learn from, got neither")
        labels = np.arange(len(features)) < len(self.positives)
        self.plane = self.svm.fit(features, labels, self.seed)
        self.negatives = self.negatives[self.plane.scores(self.negatives) >= self.evict]
        self.added, self.trainings = 0, self.trainings + 1

    def finish(self) -> Plane:
        """Train for the last time, after all images; return the plane."""
        self.train()
        assert self.plane is not None
        return self.plane


def mine_hard_negatives(
    svm: LinearSVM, positives: np.ndarray, images: Iterable[np.ndarray], **settings: float
) -> HardNegatives:
    """Train one class's machine in one pass over the images (Girshick et al. 2014, released code).

    Parameters
    ----------
    svm : LinearSVM
    positives : array, (P, F)
        Features of the ground-truth boxes of the class; no others are positive.
    images : iterable of array, (M_i, F)
        Of each image, the features of all boxes whose IoU with every object of the class is below 0.3. They may be
        computed as they are asked for: no more than the cache is kept.
    **settings
        ``add``, ``evict``, ``limit``, ``seed``: see :class:`HardNegatives`.

    Returns
    -------
    HardNegatives
        Its ``plane`` is the machine.
    """
    cache = HardNegatives(svm, positives, **settings)  # type: ignore[arg-type]
    for features in images:
        cache.look(features)
    cache.finish()
    return cache


def _checked(who: str, features: np.ndarray) -> np.ndarray:
    """Return the features as a contiguous array (N, F) of float32 or float64, or raise."""
    features = np.asarray(features)
    if features.ndim != 2 or features.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"{who}: features must be float32 or float64 (N, F), got {features.dtype} of shape {features.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError(f"{who}: features must be finite, got NaN or infinity")
    return np.ascontiguousarray(features)
