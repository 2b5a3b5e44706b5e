"""Gradient descent with momentum: PyTorch's form, and that of the AlexNet paper."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinyconv import device
from tinyconv.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent, PyTorch's form: v <- momentum v + (1 - dampening) g;  w <- w - lr v.

    g is the gradient plus ``weight_decay`` w, and v is g itself on the first step. Nesterov's momentum (Sutskever et
    al. 2013, sec. 3) steps along g + momentum v instead of v.

    Parameters
    ----------
    params : list of tensors, or of dicts ``{"params": [...], "lr": ...}``
    lr : float
        Learning rate, per step.
    momentum : float
        In [0, 1).
    weight_decay : float
        Factor of the penalty w^2 / 2.

    Raises
    ------
    ValueError
        No parameters, an option out of range, or nesterov without momentum.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, options | {"nesterov": nesterov})

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        self._in_range(group, "momentum", 1.0)
        self._in_range(group, "weight_decay")
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov needs momentum above 0 and dampening 0")

    def _update(self, kernels: Any, param: Any, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        first = "velocity" not in state
        if first and group["momentum"]:
            state["velocity"] = device.empty(param, param.shape)
        options = (group[name] for name in ("lr", "momentum", "dampening", "weight_decay", "nesterov"))
        kernels.sgd_step(param, grad, state.get("velocity"), *options, first)


class AlexNetSGD(Optimizer):
    """The update of Krizhevsky et al. 2012, sec. 5: v <- momentum v - weight_decay lr w - lr g;  w <- w + v.

    v starts at 0 and has the learning rate inside, so after a drop of the rate the old velocity keeps the old one; in
    :class:`SGD` the new rate multiplies all of it. With a constant rate both take the same steps.

    Parameters
    ----------
    decay_biases : bool
        True: the decay acts on every parameter, the formula as printed. False: not on vectors (biases, and scale and
        shift of normalisations), as in Krizhevsky's released code and in Caffe.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        decay_biases: bool = True,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "decay_biases": decay_biases}
        super().__init__(params, options)

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        self._in_range(group, "momentum", 1.0)
        self._in_range(group, "weight_decay")

    def _update(self, kernels: Any, param: Any, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if "velocity" not in state:
            state["velocity"] = device.zeros(param, param.shape)
        decay = group["weight_decay"] if group["decay_biases"] or param.ndim > 1 else 0.0
        kernels.alexnet_sgd_step(param, grad, state["velocity"], group["lr"], group["momentum"], decay)
