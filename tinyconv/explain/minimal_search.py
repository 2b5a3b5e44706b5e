"""The search behind :func:`tinyconv.explain.minimal.minimal_attack`: losses of a network, and the line search on c."""

from __future__ import annotations

import numpy as np

from tinyconv import device, nn
from tinyconv.autograd import grad
from tinyconv.evaluation import home
from tinyconv.explain import spectral
from tinyconv.explain.input_gradient import scores_tensor
from tinyconv.explain.layers import probabilities
from tinyconv.function import enable_grad, no_grad
from tinyconv.tensor import Tensor

_RIVALS = 10  # classes of the largest scores, among which the nearest is looked for
_FACTOR = 10.0  # between two values of c, until one has succeeded and one has failed
_PATIENCE = 3  # values of c with which a margin may fail to reach the class
_HALVINGS = 12  # of the way from the image to its changed copy, at the end
_NEARLY = 0.02  # of the first margin: so little is missing where a point lies on the border between two classes
_BEYOND = 1.05  # so much further a point on the border is moved, to see whether it is over there


class Network:
    """Scores, losses and their derivatives by the pixels; within evaluating and frozen."""

    def __init__(self, op: str, model: nn.Module, loss: str) -> None:
        self.op, self.model, self.loss = op, model, loss

    def _forward(self, x: np.ndarray, recorded: bool) -> tuple[Tensor, Tensor, np.ndarray]:
        images = Tensor(device.move(np.ascontiguousarray(x), home(self.model)), requires_grad=recorded)
        output = scores_tensor(self.op, self.model, self.model(images))
        z = device.host(output.data)
        if z.shape[1] < 2:
            raise ValueError(f"{self.op}: the model must have at least two classes, got scores of shape {z.shape}")
        if not np.isfinite(z).all():
            raise FloatingPointError(f"{self.op}: scores must be finite, got NaN or infinity; check the weights")
        return images, output, z

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Return (N, K)."""
        with no_grad():
            return self._forward(x, False)[2]

    def losses(self, x: np.ndarray, target: np.ndarray, hinge: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each image's loss (N,) in float64, the margin where ``hinge``, its derivative by x, and the scores."""
        with enable_grad():
            images, output, z = self._forward(x, True)
            smooth, wide = cross_entropy(z, target), margin(z, target)
            values = np.where(hinge, wide[0], smooth[0])
            seed = Tensor(device.move(np.where(hinge[:, None], wide[1], smooth[1]).astype(z.dtype), home(self.model)))
            found = grad(output, images, seed) if output.requires_grad else None
        return values, np.zeros_like(x) if found is None else device.host(found.data), z

    def nearest(self, x: np.ndarray, z: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Return, for each image, the class whose border is nearest where scores are linear in the pixels."""
        rows, others = np.arange(len(x)), z.astype(np.float64)
        others[rows, label] = -np.inf
        rivals = np.argsort(-others, axis=1, kind="stable")[:, : min(_RIVALS, z.shape[1] - 1)]
        distances = np.empty(rivals.shape)
        for column, rival in zip(distances.T, rivals.T, strict=True):
            with enable_grad():
                images, output, now = self._forward(x, True)
                difference = output[rows, label] - output[rows, rival]
                slope = device.host(grad(difference.sum(), images).data)
            rise = np.sqrt(spectral.dot(slope, slope))
            gap = now[rows, label].astype(np.float64) - now[rows, rival]
            column[:] = np.divide(np.maximum(gap, 0), rise, out=np.full(len(x), np.inf), where=rise > 0)
        return rivals[rows, distances.argmin(axis=1)]


class Search:
    """The line search on c for a batch of images, and the nearest points with a wanted answer so far."""

    def __init__(
        self, network: Network, x: np.ndarray, box: spectral.Box, first: np.ndarray, classes: np.ndarray, avoid: bool
    ) -> None:
        self.network, self.x, self.box, self.classes, self.avoid = network, x, box, classes, avoid
        self.all, self.rounds = np.arange(len(x)), 0
        self.open = self.all[~self._wins(first, self.all)]  # images that need a change
        self.best, self.nearest = x.copy(), np.full(len(x), np.inf)  # |r|^2
        self.last = spectral.inside(x, box, self.all)
        self.target = classes.copy()
        self.reached = np.zeros(len(x))  # the largest c with success
        self.missed = np.full(len(x), np.inf)  # the smallest one without
        self.gap, self.c = np.ones(len(x)), np.ones(len(x))
        if self.open.size:
            i = self.open
            if avoid:
                self.target[i] = network.nearest(x[i], first[i], classes[i])
            gap, slope, _ = network.losses(x[i], self.target[i], np.ones(len(i), bool))
            # Were scores linear, 2 c |r| = |slope| / 2 at the border, |r| = gap / |slope|.
            self.gap[i] = np.maximum(np.maximum(gap, 4 * rounding(first[i])), 1e-12)  # 0 where two scores are equal
            self.c[i] = np.maximum(spectral.dot(slope, slope), 1e-24) / (4 * self.gap[i])
            self.open = i[spectral.dot(slope, slope) > 0]  # the others cannot be moved

    def _wins(self, z: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Whether the answer is a wanted one, by more than rounding."""
        gap = gap_to(z, self.classes[which]) * (-1 if self.avoid else 1)
        return gap > rounding(z)

    def _note(self, points: np.ndarray, z: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Keep the points that win and are nearer than those before; return all squared distances."""
        away = points - self.x[which]
        squares = spectral.dot(away, away)
        kept = self._wins(z, which) & (squares < self.nearest[which])
        self.best[which[kept]], self.nearest[which[kept]] = points[kept], squares[kept]
        return squares

    def round(self, steps: int) -> None:
        """Minimise for the present c of each image, and choose the next."""
        if not self.open.size:
            return
        i = self.open
        found = np.isfinite(self.nearest[i])
        # A margin's edges can hold a search up: the smooth loss leads where the class has not been reached in time.
        hinge = (found | (self.rounds < _PATIENCE)) & (self.network.loss == "margin")
        self.rounds += 1
        start = np.where(spectral.column(found, self.x) > 0, self.best[i], self.last[i])
        box = spectral.of(self.box, i)

        def objective(points: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            here = i[which]
            values, slopes, z = self.network.losses(points, self.target[here], hinge[which])
            squares, away = self._note(points, z, here), points - self.x[here]
            return values + self.c[here] * squares, slopes + spectral.column(2 * self.c[here], away) * away

        end = spectral.minimise(objective, start, box, 0.5 / self.c[i], steps=steps, origin=self.x[i])
        self.last[i] = end
        near = gap_to(self.network.scores(end), self.target[i]) > -_NEARLY * self.gap[i]
        beyond = spectral.inside(self.x[i] + self.x.dtype.type(_BEYOND) * (end - self.x[i]), box, np.arange(len(i)))
        self._note(beyond, self.network.scores(beyond), i)
        reached, missed = i[near], i[~near]
        self.reached[reached] = np.maximum(self.reached[reached], self.c[reached])
        self.missed[missed] = np.minimum(self.missed[missed], self.c[missed])
        low, high = self.reached[i], self.missed[i]
        between = np.sqrt(low * np.where(np.isinf(high), 1.0, high))
        self.c[i] = np.where(np.isinf(high), low * _FACTOR, np.where(low == 0, high / _FACTOR, between))

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the images, changed where it helps and as little as it takes, and which have a wanted answer."""
        i = self.all[np.isfinite(self.nearest)]
        if i.size:
            box = spectral.of(self.box, i)
            least, most = np.zeros(len(i)), np.ones(len(i))
            way = self.best[i] - self.x[i]
            for _ in range(_HALVINGS):
                middle = (least + most) / 2
                point = spectral.inside(self.x[i] + spectral.column(middle, way) * way, box, np.arange(len(i)))
                z = self.network.scores(point)
                self._note(point, z, i)
                wins = self._wins(z, i)
                least, most = np.where(wins, least, middle), np.where(wins, middle, most)
        success = np.isfinite(self.nearest)
        success |= self._wins(self.network.scores(self.x), self.all)
        return self.best, success


def rounding(z: np.ndarray) -> np.ndarray:
    """Return by how much two scores must differ (N,) to differ by more than rounding."""
    return 64 * np.finfo(z.dtype).eps * np.abs(z).max(axis=1)


def gap_to(z: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return z_k minus the largest other score, in float64."""
    return -margin(z, k, signed=True)[0]


def margin(z: np.ndarray, k: np.ndarray, signed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return max(max_{j != k} z_j - z_k, 0), or with its sign, and the derivative by z, at 0 the one from above."""
    rows, others = np.arange(len(z)), z.astype(np.float64)
    others[rows, k] = -np.inf
    j = others.argmax(axis=1)
    values, slopes = others[rows, j] - z[rows, k], np.zeros(z.shape)
    on = np.ones(len(z)) if signed else (values >= 0).astype(np.float64)
    slopes[rows, j], slopes[rows, k] = on, -on
    return values if signed else np.maximum(values, 0.0), slopes


def cross_entropy(z: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return -log softmax(z)_k and the derivative by z."""
    rows, top = np.arange(len(z)), z.max(axis=1).astype(np.float64)
    slopes = probabilities(z)
    values = top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - z[rows, k]
    slopes[rows, k] -= 1.0
    return values, slopes
