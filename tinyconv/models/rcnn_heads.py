"""What R-CNN trains apart from its network, kept as buffers: SVMs that rate, regressors that correct boxes.

See :class:`Machines`, :class:`Regressors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import device, nn
from tinyconv.tensor import Tensor
from tinyconv.vision.box_regression import Regression
from tinyconv.vision.svm import Plane


class _Fitted(nn.Module):
    """Arrays of one row per class, all 0 until :meth:`load`, and the factor of the features they were trained with."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], where: dict[str, Any]) -> None:
        super().__init__()
        for name, shape in (shapes | {"scale": (1,)}).items():
            self.register_buffer(name, Tensor(np.zeros(shape, where["dtype"])).to(where["device"]))

    @property
    def trained(self) -> bool:
        """Whether there is anything here."""
        return bool(self.array("scale")[0] > 0)

    def array(self, name: str) -> np.ndarray:
        """Return a buffer on the host."""
        return device.host(getattr(self, name).data)

    def _keep(self, scale: float, **arrays: np.ndarray) -> None:
        if not 0 < scale < np.inf:
            raise ValueError(f"{type(self).__name__}.load: scale must be positive and finite, got {scale}")
        for name, value in (arrays | {"scale": np.array([scale])}).items():
            old = getattr(self, name)
            if value.shape != tuple(old.shape):
                raise ValueError(
                    f"{type(self).__name__}.load: {name} must have shape {tuple(old.shape)}, got {value.shape}"
                )
            setattr(self, name, Tensor(device.move(value.astype(old.dtype), old.device)))


class Machines(_Fitted):
    """One linear SVM per class: weight (K, F), bias (K,)."""

    def __init__(self, classes: int, features: int, where: dict[str, Any]) -> None:
        super().__init__({"weight": (classes, features), "bias": (classes,)}, where)

    def load(self, planes: Sequence[Plane], scale: float) -> None:
        """Take over a trained machine per class, for features that are multiplied by ``scale`` first."""
        weights = np.stack([plane.weights for plane in planes])
        self._keep(scale, weight=weights, bias=np.array([plane.bias for plane in planes]))

    def rate(self, features: np.ndarray) -> np.ndarray:
        """Return the scores (P, K) of features (P, F) as the network gives them: one product of two matrices."""
        return features @ (self.array("scale") * self.array("weight")).T + self.array("bias")


class Regressors(_Fitted):
    """One box regressor per class: weight (K, D + 1, 4), mean (K, 4), inverse (K, 4, 4)."""

    def __init__(self, classes: int, features: int, where: dict[str, Any]) -> None:
        super().__init__(
            {"weight": (classes, features + 1, 4), "mean": (classes, 4), "inverse": (classes, 4, 4)}, where
        )

    def load(self, regressions: Sequence[Regression | None], scale: float) -> None:
        """Take over a trained regressor per class; None leaves that class's boxes where they are."""
        names = ("weight", "mean", "inverse")
        arrays = {name: np.zeros(self.array(name).shape) for name in names}
        if len(regressions) != len(arrays["mean"]):
            raise ValueError(f"Regressors.load: wanted {len(arrays['mean'])} regressors, got {len(regressions)}")
        for i, found in enumerate(regressions):
            if found is not None:
                values = found.weights, found.whitening.mean, found.whitening.inverse
                for name, value in zip(names, values, strict=True):
                    arrays[name][i] = value
        self._keep(scale, **arrays)

    def deltas(self, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return how the regressor of each box's class moves it (R, 4), from the features (R, D) of the proposals."""
        weight, mean, inverse = (self.array(name) for name in ("weight", "mean", "inverse"))
        found = np.zeros((len(labels), 4), features.dtype)
        for label in np.unique(labels):
            mine = labels == label
            whitened = (self.array("scale") * features[mine]) @ weight[label, :-1] + weight[label, -1]
            found[mine] = whitened @ inverse[label] + mean[label]
        return found
