"""RMSprop: the gradient divided by a running mean of its size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinyconv import device
from tinyconv.optim.optimizer import Optimizer


class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton 2012; centred: Graves 2013), PyTorch's form.

    s <- alpha s + (1 - alpha) g^2;  v <- momentum v + g / (sqrt(s) + eps);  w <- w - lr v. Centred, s is replaced by
    s - a^2 with a the running mean of g: an estimate of the variance.

    Parameters
    ----------
    params : list of tensors, or of dicts ``{"params": [...], "lr": ...}``
    alpha : float
        Weight of the past in the running means, in [0, 1).
    weight_decay : float
        Added to the gradient as ``weight_decay`` w.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, options | {"momentum": momentum, "centered": centered})

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        for name in ("alpha", "momentum"):
            self._in_range(group, name, 1.0)
        for name in ("eps", "weight_decay"):
            self._in_range(group, name)

    def _update(self, kernels: Any, param: Any, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        wanted = {"square_avg": True, "velocity": group["momentum"] > 0, "grad_avg": group["centered"]}
        for name, needed in wanted.items():
            if needed and name not in state:
                state[name] = device.zeros(param, param.shape)
        options = (group[name] for name in ("lr", "alpha", "eps", "weight_decay", "momentum", "centered"))
        kernels.rmsprop_step(param, grad, *(state.get(name) for name in wanted), *options)
