"""What the tests of plain networks share: the same network in PyTorch's functions, images to learn, a measured step."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, nn
from tinyconv.nn import functional as F

STEP = """
import resource, sys, tinyconv
from tinyconv.nn import functional as F
model = {model}
optimizer = tinyconv.optim.AlexNetSGD(model.parameters())
x, labels = tinyconv.randn({n}, *model.input_shape), tinyconv.randint(0, 1000, ({n},))
loss = F.cross_entropy(model(x), labels)
loss.backward()
assert all(p.grad is not None for p in model.parameters())
optimizer.step()
print(loss.item(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measured_step(model: str, n: int) -> tuple[float, float]:
    """Take a training step with n images in a process of its own; return the loss and the peak memory in GiB."""
    program = STEP.format(model=f"tinyconv.models.{model}", n=n)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loss, kib = map(float, run.stdout.split())
    return loss, kib / 2**20


def torchvision_models() -> Any:
    """Return the module ``torchvision.models``, or skip the test.

    PyPI's torchvision is compiled for PyTorch with CUDA. Beside the build for CPUs its own operators do not load, and
    the file that describes them fails; networks need none of them, so that file is left out.
    """
    for package in ("torch", "torchvision"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'tinyconv[parity]'")
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("_meta_registrations"))
    import torchvision

    return torchvision.models


def in_torch(model: nn.Module, x: Any, parameters: dict[str, Any]) -> Any:
    """Run a plain network, in evaluation mode, by PyTorch's functions with these parameters and buffers."""
    import torch.nn.functional as T

    for name, layer in model.named_children():
        own = {key: parameters[f"{name}.{key}"] for key, _ in layer.named_parameters()}
        if isinstance(layer, nn.Conv2d):
            x = T.conv2d(x, own["weight"], own["bias"], layer.stride, layer.padding, groups=layer.groups)
        elif isinstance(layer, nn.Linear):
            x = T.linear(x, own["weight"], own["bias"])
        elif isinstance(layer, nn.BatchNorm2d):
            x = T.batch_norm(x, parameters[f"{name}.running_mean"], parameters[f"{name}.running_var"], **own)
        elif isinstance(layer, nn.LocalResponseNorm):
            x = T.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)
        elif isinstance(layer, nn.Dropout):
            x = x if layer.inverted else x * 0.5
        elif isinstance(layer, nn.MaxPool2d):
            x = T.max_pool2d(x, layer.kernel_size, layer.stride, ceil_mode=layer.ceil_mode)
        elif isinstance(layer, nn.AdaptiveAvgPool2d):
            x = T.adaptive_avg_pool2d(x, 6)
        else:
            x = {nn.ReLU: T.relu, nn.Flatten: lambda x: x.flatten(1)}[type(layer)](x)
    return x


def assert_equals_torch(model: nn.Module, rtol: float = 1e-9) -> None:
    """Compare outputs and every gradient of a float64 network in evaluation mode with PyTorch's."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
    model.apply(lambda m: nn.init.kaiming_normal_(m.weight) if hasattr(m, "weight") and m.weight.ndim > 1 else None)
    x, labels = np.random.default_rng(0).standard_normal((3, *model.input_shape)), np.array([6, 0, 3])
    trained = dict(model.named_parameters())
    theirs = {k: torch.tensor(v.numpy().copy(), requires_grad=k in trained) for k, v in model.state_dict().items()}
    wanted = in_torch(model, torch.tensor(x), theirs)
    found = model(Tensor(x))
    np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), rtol=rtol, atol=1e-11)
    F.cross_entropy(found, Tensor(labels)).backward()
    torch.nn.functional.cross_entropy(wanted, torch.tensor(labels)).backward()
    for name, p in model.named_parameters():
        other = theirs[name].grad.numpy()
        assert np.abs(other).max() > 0, name
        scale = np.abs(other).max()
        np.testing.assert_allclose(p.grad.numpy(), other, rtol=10 * rtol, atol=1e-10 * scale, err_msg=name)


def quadrants(size: int = 28) -> tuple[Tensor, Tensor]:
    """Return noise with one bright quarter, whose number is the class."""
    labels, half = np.arange(16) % 4, size // 2
    images = np.random.default_rng(0).standard_normal((16, 1, size, size)).astype(np.float32)
    for i, label in enumerate(labels):
        images[i, 0, label // 2 * half :, label % 2 * half :][:half, :half] += 2
    return Tensor(images), Tensor(labels)


def assert_learns_by_heart(model: nn.Module, steps: int = 30) -> None:
    """Train on 16 images of :func:`quadrants`: the loss must fall to a fifth."""
    model.eval()
    x, labels = quadrants(model.input_shape[-1])
    optimizer = tinyconv.optim.Adam(model.parameters(), 2e-3)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
