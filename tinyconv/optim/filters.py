"""The rule of Zeiler and Fergus for filters that grow too large. See :func:`renormalise_filters`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinyconv import errors
from tinyconv.function import no_grad
from tinyconv.functional import maximum
from tinyconv.nn import Conv2d, Module
from tinyconv.tensor import Tensor


def filter_rms(weight: Tensor) -> Tensor:
    """Return sqrt(mean(w^2)) of each filter: (K,) from a weight (K, C // groups, KH, KW)."""
    errors.check_ndim("filter_rms", "weight", weight, 4, "(K, C // groups, KH, KW)")
    return (weight * weight).mean((1, 2, 3)).sqrt()


def renormalise_filters(model: Module, limit: float = 0.1) -> Callable[..., None]:
    """Return a hook for ``optimizer.register_step_post_hook`` that holds the filters of all convolutions small.

    After each step, every filter (one output map: all its weights) with RMS = sqrt(mean(w^2)) above the limit is scaled
    so that its RMS is the limit (Zeiler & Fergus 2013, sec. 3). Without it a few filters of the first layer dominate,
    since the inputs lie in about [-128, 128].

    Parameters
    ----------
    model : Module
        Its :class:`Conv2d` layers are held; those added later are not.
    limit : float
        Largest RMS of a filter.

    Raises
    ------
    TypeError
        ``model`` is no Module.
    ValueError
        The limit is not positive, or the model has no convolution.

    Examples
    --------
    >>> import tinyconv
    >>> model = tinyconv.models.zfnet(10, scale="lesson", in_channels=1)
    >>> optimizer = tinyconv.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    >>> handle = optimizer.register_step_post_hook(renormalise_filters(model, limit=0.1))
    """
    if not isinstance(model, Module):
        raise TypeError(f"renormalise_filters: model must be a Module, got {type(model).__name__}")
    if not limit > 0:
        raise ValueError(f"renormalise_filters: limit must be positive, got {limit}")
    layers = [module for module in model.modules() if isinstance(module, Conv2d)]
    if not layers:
        raise ValueError(f"renormalise_filters: model must have a Conv2d, got {type(model).__name__} without one")

    @no_grad()
    def hook(optimizer: Any, args: tuple, kwargs: dict) -> None:
        for layer in layers:
            factor = limit / maximum(filter_rms(layer.weight), limit)  # exactly 1 for those below it
            layer.weight.mul_(factor.reshape(-1, 1, 1, 1))

    return hook
