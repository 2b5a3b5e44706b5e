"""Normalising layers: see the function of the same name in :mod:`tinyconv.functional`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import creation, functional
from tinyconv.function import no_grad
from tinyconv.nn.module import Module, Parameter
from tinyconv.tensor import Tensor


class LocalResponseNorm(Module):
    """See :func:`tinyconv.functional.local_response_norm`; AlexNet: (5, 1e-4, 0.75, 2, alpha_over_size=False)."""

    def __init__(
        self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, alpha_over_size: bool = True
    ) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k, self.alpha_over_size = size, alpha, beta, k, alpha_over_size

    def forward(self, x: Tensor) -> Tensor:
        return functional.local_response_norm(x, self.size, self.alpha, self.beta, self.k, self.alpha_over_size)

    def extra_repr(self) -> str:
        literal = "" if self.alpha_over_size else ", alpha_over_size=False"
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}{literal}"


class _BatchNorm(Module):
    """See :func:`tinyconv.functional.batch_norm`.

    Parameters
    ----------
    num_features : int
        Channels C.
    momentum : float or None
        Weight of the newest batch in the running statistics; None: all batches count alike.
    affine, track_running_stats : bool
        Whether it has weight and bias; whether it has running statistics (without, evaluation uses the batch's).
    """

    layouts: tuple[str, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str = "cpu",
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        if isinstance(num_features, bool) or not isinstance(num_features, (int, np.integer)) or num_features < 1:
            raise ValueError(f"{type(self).__name__}: num_features must be an int of at least 1, got {num_features!r}")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats

        def vector(value: float) -> Tensor:
            return creation.full((num_features,), value, dtype=dtype, device=device)

        self.register_parameter("weight", Parameter(vector(1.0)) if affine else None)
        self.register_parameter("bias", Parameter(vector(0.0)) if affine else None)
        self.register_buffer("running_mean", vector(0.0) if track_running_stats else None)
        self.register_buffer("running_var", vector(1.0) if track_running_stats else None)
        count = creation.full((), 0, dtype=np.int64, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in [layout.count(",") + 1 for layout in self.layouts]:
            raise ValueError(f"{type(self).__name__}: x must be {' or '.join(self.layouts)}, got shape {x.shape}")
        momentum = self.momentum
        if self.training and self.track_running_stats:
            with no_grad():
                self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 if x.device == "meta" else 1.0 / self.num_batches_tracked.item()
        batch_statistics = self.training or not self.track_running_stats
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, batch_statistics, momentum or 0.0, self.eps
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"


class BatchNorm2d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__
    layouts = ("(N, C, H, W)",)


class BatchNorm1d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__
    layouts = ("(N, C)", "(N, C, L)")
