"""Which pixels a score depends on: gradients, by three rules for the way down through ReLUs. See :func:`saliency`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from tinyconv import device, errors, functional, nn
from tinyconv.autograd import grad
from tinyconv.explain.layers import as_images, check_layer, check_model, evaluating, numbers
from tinyconv.function import enable_grad
from tinyconv.nn.modes import frozen
from tinyconv.tensor import Tensor

RULES = ("gradient", "guided", "deconvnet")


def saliency(
    model: Any, images: Any, target: Any = None, *, rule: str = "gradient", layer: str | None = None
) -> np.ndarray:
    """Differentiate a score with respect to each image, by one of three rules for ReLUs.

    Going down through a ReLU with input z (from the forward pass), a signal g from above becomes

        "gradient"   g where z > 0, else 0           the true derivative (Simonyan 2013, sec. 3)
        "deconvnet"  g where g > 0, else 0           looks at the signal, not at z (Zeiler & Fergus 2014, sec. 2.1)
        "guided"     g where z > 0 and g > 0, else 0 both: paths that were open and that speak for the score
                                                     (Springenberg 2015, "guided backpropagation", sec. 3.4)

    All other layers hand down their gradient: max pools by their switches, convolutions by transposed filters,
    normalisation by its derivative. So rule "deconvnet" is :func:`tinyconv.explain.deconvnet` with unpool="add",
    starting from 1 instead of the activation, except that the latter passes normalisation unchanged.

    Parameters
    ----------
    model : Module
        Any, for "gradient"; the other rules act in the model's ``nn.ReLU`` modules (not in calls of ``relu``).
    images : array or Tensor, (N, C, H, W)
    target : int or N ints, optional
        The class, or, with ``layer``, the map; by default that with the largest score (activation) in each image.
    rule : {"gradient", "guided", "deconvnet"}
    layer : str, optional
        Differentiate the largest activation of a map of this layer instead of a class score.

    Returns
    -------
    array, (N, C, H, W)
        With signs. A picture of it usually shows the largest magnitude over channels.

    Raises
    ------
    ValueError
        There is no such rule, layer, class or map; the layer does not run in evaluation mode; the model has no
        ``nn.ReLU`` for the rule to act in.
    """
    op = "saliency"
    errors.check_choice(op, "rule", rule, RULES)
    check_model(op, model)
    modules = dict(model.named_modules())
    if layer is not None:
        check_layer(op, [name for name in modules if name], layer)
    x = as_images(op, model, images)
    x.requires_grad = True
    with evaluating(model), frozen(model), _rule(op, model, rule), enable_grad(), ExitStack() as hooks:
        found: list[Any] = []
        if layer is not None:
            hooks.enter_context(modules[layer].register_forward_hook(lambda _module, _inputs, y: found.append(y)))
        result = model(x)
        if layer is None:
            found.append(result[0] if isinstance(result, (tuple, list)) else result)
        elif not found:
            raise ValueError(f"{op}: layer {layer!r} does not run in evaluation mode; choose another")
        scores = _largest(op, found[0], target, layer)
        return device.host(grad(scores.sum(), x).data)


def _largest(op: str, output: Any, target: Any, layer: str | None) -> Tensor:
    """Return (N,): each image's largest value of the target map, or its score of the target class."""
    if not isinstance(output, Tensor) or output.ndim < 2:
        what = "the model" if layer is None else f"layer {layer!r}"
        raise ValueError(f"{op}: {what} must give (N, K) or (N, K, OH, OW), got {getattr(output, 'shape', output)}")
    values = device.host(output.data).reshape(*output.shape[:2], -1)
    n, k, _ = values.shape
    maps = values.max(axis=2).argmax(axis=1) if target is None else numbers(op, "target", target, n, k)
    at = values[np.arange(n), maps].argmax(axis=1)
    return output.reshape(values.shape)[np.arange(n), maps, at]


@contextmanager
def _rule(op: str, model: nn.Module, rule: str) -> Iterator[None]:
    """Inside, the way down through every nn.ReLU of the model follows the rule."""
    if rule == "gradient":
        yield
        return
    rectifiers = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    if not rectifiers:
        raise ValueError(f"{op}: rule {rule!r} acts in nn.ReLU modules, and the model has none; use rule 'gradient'")

    def rectify(_module: Any, grad_input: tuple, grad_output: tuple | None) -> tuple | None:
        if grad_output is None:
            return None  # the examined layer itself: the way down begins inside of it
        # grad_input is masked by the forward pass already, grad_output is what came from above.
        return (functional.relu((grad_input if rule == "guided" else grad_output)[0]),)

    with ExitStack() as hooks:
        for module in rectifiers:
            hooks.enter_context(module.register_full_backward_hook(rectify))
        yield
