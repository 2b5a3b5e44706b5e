"""State dicts of torchvision's own networks, saved by PyTorch: read without it, and the same logits come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools import torchvision_models
from tinyconv import Tensor, models, no_grad, weights

NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "alexnet": ({}, {"variant": "torchvision"}),
    "resnet18": ({}, {"variant": "v1.5"}),
    "resnet50": ({}, {"variant": "v1.5"}),
    "googlenet": ({"weights": None, "init_weights": False}, {"variant": "torchvision"}),
    "vgg11": ({}, {}),
}


def saved(name: str, folder: Path) -> tuple[Any, Path]:
    """Return torchvision's network with random weights and statistics, and the file of its state dict."""
    options, _ = NETWORKS[name]
    model = getattr(torchvision_models(), name)(num_classes=11, **options)
    import torch

    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    file = folder / f"{name}.pth"
    torch.save(model.state_dict(), file)
    return model.eval(), file


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "vgg11" else n for n in NETWORKS])
def test_the_same_logits(name: str, tmp_path: Path) -> None:
    theirs, file = saved(name, tmp_path)
    import torch

    ours = weights.load_torchvision(models.build(name, num_classes=11, **NETWORKS[name][1]), file)
    side = 224 if name in ("alexnet", "vgg11") else 96
    x = np.random.default_rng(0).standard_normal((2, 3, side, side)).astype(np.float32)
    with torch.no_grad():
        wanted = theirs(torch.tensor(x)).numpy()
    with no_grad():
        found = ours.eval()(Tensor(x)).numpy()
    assert np.ptp(wanted) > 0.01
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("name", "build", "advice"),
    [
        ("resnet50", ("resnet18", {"variant": "v1.5"}), r"build resnet\(depth=50, variant='v1.5', num_classes=11\)"),
        ("resnet18", ("resnet18", {}), "torchvision has no network like resnet"),
        (
            "googlenet",
            ("googlenet", {"variant": "torchvision", "aux": False}),
            r"build googlenet\(variant='torchvision', ",
        ),
        ("resnet18", ("alexnet", {"variant": "torchvision"}), "the file is a ResNet-18: build resnet"),
    ],
)
def test_a_file_of_another_network_says_which_to_build(name: str, build: Any, advice: str, tmp_path: Path) -> None:
    _, file = saved(name, tmp_path)
    model = models.build(build[0], num_classes=11, **build[1])
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    with pytest.raises(weights.WeightsError, match=advice):
        weights.load_torchvision(model, file)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])
