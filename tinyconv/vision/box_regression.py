"""Box regression: from a proposal's features to a better box, by ridge regression. See :class:`BoxRegressor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Whitening(NamedTuple):
    """Makes targets uncorrelated and of variance nearly 1: whitened = (targets - mean) @ forward.

    Attributes
    ----------
    mean : array, (4,)
    forward, inverse : array, (4, 4)
        Symmetric, one the inverse of the other.
    """

    mean: np.ndarray
    forward: np.ndarray
    inverse: np.ndarray


class Regression(NamedTuple):
    """A trained regressor.

    Attributes
    ----------
    weights : array, (F + 1, 4)
        Of the features, and last of a feature that is always 1; they predict whitened targets.
    whitening : Whitening
    """

    weights: np.ndarray
    whitening: Whitening

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the targets (N, 4) that features (N, F) suggest."""
        whitened = features @ self.weights[:-1] + self.weights[-1]
        return whitened @ self.whitening.inverse + self.whitening.mean


@dataclass(frozen=True)
class BoxRegressor:
    """Ridge regression of whitened targets (Girshick et al. 2014, appendix C, and released code).

    minimise |A W - Y|^2 + strength |W|^2 over W (F + 1, 4). A are the features with a 1 at the end of each row, Y the
    whitened targets.

    Parameters
    ----------
    strength : float
        The paper's lambda, 1000: for 9216 features of mean norm 20. For F features take 1000 F / 9216.
    eps : float
        Added to each variance, so that targets which hardly vary are not blown up.

    Examples
    --------
    >>> features = np.random.default_rng(0).standard_normal((50, 3))
    >>> targets = features @ np.ones((3, 4)) * [1, 2, 3, 4] + 5
    >>> found = BoxRegressor(strength=1e-6).fit(features, targets)
    >>> bool(np.abs(found.predict(features) - targets).max() < 1e-5)
    True
    """

    strength: float = 1000.0
    eps: float = 1e-3

    def __post_init__(self) -> None:
        if not (0 < self.strength < np.inf and 0 < self.eps < np.inf):
            raise ValueError(f"BoxRegressor: wanted strength > 0 and eps > 0, got {self.strength} and {self.eps}")

    def fit(self, features: np.ndarray, targets: np.ndarray) -> Regression:
        """Solve (A^T A + strength I) W = A^T Y by Cholesky's factorisation, in float64.

        Parameters
        ----------
        features : array, (N, F)
            Of the proposals: those that overlap an object by more than 0.6 (IoU).
        targets : array, (N, 4)
            From each proposal to its object, as :func:`tinyconv.vision.boxes.encode_boxes` gives them.

        Raises
        ------
        ValueError
            The shapes do not fit, a number is not finite, or there is no pair.
        """
        features, targets = np.asarray(features, np.float64), np.asarray(targets, np.float64)
        if features.ndim != 2 or targets.shape != (len(features), 4) or not len(features):
            raise ValueError(
                f"BoxRegressor.fit: wanted features (N, F) and targets (N, 4) with N >= 1, "
                f"got {features.shape} and {targets.shape}"
            )
        if not (np.isfinite(features).all() and np.isfinite(targets).all()):
            raise ValueError("BoxRegressor.fit: features and targets must be finite, got NaN or infinity")
        white = whitening(targets, self.eps)
        design = np.concatenate([features, np.ones((len(features), 1))], axis=1)
        normal = design.T @ design
        normal.flat[:: len(normal) + 1] += self.strength
        wanted = design.T @ ((targets - white.mean) @ white.forward)
        return Regression(solve_positive(normal, wanted), white)


def whitening(targets: np.ndarray, eps: float = 1e-3) -> Whitening:
    """Return the whitening of targets (N, D): T = V diag((D + eps)^-1/2) V^T, with covariance V diag(D) V^T.

    The covariance is divided by N.
    """
    mean = targets.mean(0)
    values, vectors = np.linalg.eigh((targets - mean).T @ (targets - mean) / len(targets))
    lengths = np.sqrt(np.maximum(values, 0) + eps)
    return Whitening(mean, (vectors / lengths) @ vectors.T, (vectors * lengths) @ vectors.T)


def solve_positive(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve matrix @ x = right for a symmetric, positive definite matrix (F, F), right (F, D).

    matrix = L L^T (Cholesky); L y = right is solved from the first row down, L^T x = y from the last row up.
    """
    lower = np.linalg.cholesky(matrix)
    x = right.copy()
    for i in range(len(x)):
        x[i] = (x[i] - lower[i, :i] @ x[:i]) / lower[i, i]
    for i in reversed(range(len(x))):
        x[i] = (x[i] - lower[i + 1 :, i] @ x[i + 1 :]) / lower[i, i]
    return x
