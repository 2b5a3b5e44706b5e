"""Adam and AdamW: a step of its own size for every parameter, from running means of the gradient and its square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinyconv import device
from tinyconv.optim.optimizer import Optimizer


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, Algorithm 1), PyTorch's form.

    m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  w <- w - lr mhat / (sqrt(vhat) + eps), where
    mhat = m / (1 - beta1^t) and vhat = v / (1 - beta2^t) undo the start from 0 at step t = 1, 2, ...

    Parameters
    ----------
    params : list of tensors, or of dicts ``{"params": [...], "lr": ...}``
    lr : float
        Largest change of a weight per step, roughly.
    betas : (float, float)
        beta1 and beta2, in [0, 1).
    weight_decay : float
        Added to the gradient as ``weight_decay`` w.
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay})

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        self._in_range(group, "eps")
        self._in_range(group, "weight_decay")
        if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"{type(self).__name__}: betas must be two numbers in [0, 1), got {group['betas']}")

    def _update(self, kernels: Any, param: Any, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state.update(step=0, m=device.zeros(param, param.shape), v=device.zeros(param, param.shape))
        state["step"] += 1
        options = group["lr"], *group["betas"], group["eps"], group["weight_decay"]
        kernels.adam_step(param, grad, state["m"], state["v"], *options, self.decoupled, state["step"])


class AdamW(Adam):
    """Adam with the weight decay apart: w <- (1 - lr weight_decay) w, then Adam (Loshchilov & Hutter 2019, Alg. 2)."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
