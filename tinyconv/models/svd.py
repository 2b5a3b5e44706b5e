"""Fully connected layers by truncated singular value decomposition (Girshick 2015, sec. 3.1). See :func:`compress`.

W (out x in) is nearly U S V^T with the t largest singular values: one layer of out * in weights becomes two of
t (out + in), the first S V^T without a bias, the second U with the old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv import device, nn
from tinyconv.function import no_grad
from tinyconv.tensor import Tensor

if TYPE_CHECKING:
    from tinyconv.models.fast_rcnn import FastRCNN


def factored(inputs: int, outputs: int, rank: int, where: dict[str, Any]) -> nn.Sequential:
    """Return two layers, "first" and "second", in the place of Linear(inputs, outputs); ``rank`` units lie between."""
    if not 1 <= rank <= min(inputs, outputs):
        raise ValueError(f"svd: a rank must lie in 1..{min(inputs, outputs)} for {inputs} x {outputs}, got {rank}")
    first, second = nn.Linear(inputs, rank, bias=False, **where), nn.Linear(rank, outputs, **where)
    return nn.Sequential({"first": first, "second": second})


@no_grad()
def truncate_(pair: Any, layer: Any) -> Any:
    """Fill the pair of :func:`factored` with the best approximation of a Linear that its rank allows."""
    u, s, v = np.linalg.svd(device.host(layer.weight.data), full_matrices=False)
    first, second = pair.get_submodule("first"), pair.get_submodule("second")
    t = first.out_features
    first.weight.copy_(Tensor(device.move(np.ascontiguousarray(s[:t, None] * v[:t]), layer.weight.device)))
    second.weight.copy_(Tensor(device.move(np.ascontiguousarray(u[:, :t]), layer.weight.device)))
    second.bias.copy_(layer.bias)
    return pair


def compress(model: FastRCNN, ranks: tuple[int, ...]) -> FastRCNN:
    """Return a copy of a trained detector whose fc6 (and fc7) keep so many singular values each.

    Parameters
    ----------
    model : FastRCNN or FasterRCNN
    ranks : tuple of ints
        The paper's for VGG-16: (1024, 256).

    Raises
    ------
    ValueError
        The model is another one, or compressed already; or a rank is larger than its layer.
    """
    from tinyconv import models

    config: Any = getattr(model, "config", None) or {"builder": type(model).__name__, "arguments": {}}
    builder, arguments = config["builder"], config["arguments"]
    if "svd" not in arguments:
        raise ValueError(f"compress: wanted a fast_rcnn or faster_rcnn, got {builder}")
    if arguments["svd"] is not None:
        raise ValueError(f"compress: wanted a detector with whole layers, got one of svd={arguments['svd']}")
    twin: Any = models.build(builder, **arguments | {"svd": ranks})
    twin.to(next(model.parameters()).device)
    state = dict(model.state_dict())
    for name, layer in twin.get_submodule("head").named_children():
        if name.startswith("fc"):
            truncate_(layer, model.get_submodule(f"head.{name}"))
            for key in (f"head.{name}.weight", f"head.{name}.bias"):
                del state[key]
            state |= {f"head.{name}.{key}": value for key, value in layer.state_dict().items()}
    twin.load_state_dict(state)
    learnt = {name: p.requires_grad for name, p in model.named_parameters()}
    for name, p in twin.named_parameters():
        p.requires_grad_(learnt.get(name, True))
    for name in ("sampling", "search", "regions"):  # settings that may have been changed since it was built
        if hasattr(model, name):
            setattr(twin, name, getattr(model, name))
    twin.train(model.training)
    return twin
