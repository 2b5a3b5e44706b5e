"""Training steps of the deep networks in float32, beside PyTorch's in float32 and in float64.

A ReLU whose input is within a rounding of zero may be open in one engine and shut in the other. One such unit in the
last stage moves a network's gradient by up to some percent (float64: tests/models, equal to 1e-9). So the strict
comparison is of starts without such units; for the deepest networks, which always have some, PyTorch's own distance
from float64 is the measure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from benchmarks.networks import loss
from benchmarks.twin import twin
from tinyconv import Tensor, models, nn
from tinyconv.nn import functional as F

pytestmark = pytest.mark.slow
V15 = {"variant": "v1.5"}


def gradients(lib: Any, model: Any, images: Any, labels: Any) -> tuple[float, list[np.ndarray]]:
    """Return the loss of a batch in training mode and the gradient of every parameter."""
    found = loss(lib, model.train()(images), labels)
    found.backward()
    return found.item(), [p.grad.numpy() for p in model.parameters()]


def distances(name: str, seed: int, side: int, **arguments: Any) -> tuple[float, float, float]:
    """Return how far our loss is from float64's, and how far our gradient and PyTorch's are, all relative."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
    tinyconv.manual_seed(seed)
    model = models.build(name, num_classes=7, **arguments)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    images = np.random.default_rng(seed).standard_normal((4, 3, side, side)).astype(np.float32)
    labels = np.array([0, 3, 6, 1])
    theirs, exact, T = twin(model), twin(model).double(), torch.nn.functional
    with_torch = torch.tensor(images), torch.tensor(labels)
    value, ours = gradients(F, model, Tensor(images), Tensor(labels))
    _, single = gradients(T, theirs, *with_torch)
    wanted, double = gradients(T, exact, with_torch[0].double(), with_torch[1])
    size = np.sqrt(sum((g**2).sum() for g in double))
    off = [np.sqrt(sum(((g - d) ** 2).sum() for g, d in zip(found, double, strict=True))) for found in (ours, single)]
    return abs(value / wanted - 1), off[0] / size, off[1] / size


def test_resnet18() -> None:
    found = [distances("resnet18", seed, 64, **V15) for seed in range(3)]
    assert max(loss for loss, _, _ in found) < 1e-3
    assert min(ours for _, ours, _ in found) < 1e-4  # a start where no unit changes sides
    assert max(ours for _, ours, _ in found) < 0.05


@pytest.mark.parametrize(
    ("name", "side", "arguments"),
    [("resnet50", 64, V15), ("googlenet", 96, {"variant": "torchvision", "image_size": 96})],
)
def test_the_deepest_are_as_near_to_float64_as_pytorch(name: str, side: int, arguments: dict[str, Any]) -> None:
    found = np.array([distances(name, seed, side, **arguments) for seed in range(2)])
    assert found[:, 0].max() < 1e-3
    ours, theirs = found[:, 1:].mean(axis=0)
    assert ours < 3 * theirs, (ours, theirs)
