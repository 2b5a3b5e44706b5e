"""One training step of every model on the GPU and on the CPU: the same loss, gradients and new weights."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyconv
from benchmarks import networks

LARGE = 2_000_000  # parameters from which a model is left out in the simulator
IMAGES = 2
GRADIENT = 1e-3  # of a gradient's largest value, in float32


def one_step(network: networks.Network, size: int, device: str) -> tuple[float, dict[str, np.ndarray]]:
    """Return the loss and all gradients, on the host, of a step with dropout: its masks are the same everywhere."""
    model = networks.build(network).to(device)
    images, labels = (tinyconv.tensor(a, device=device) for a in networks.batch(model, size))
    optimizer = tinyconv.optim.SGD(model.parameters(), **networks.OPTIONS)
    tinyconv.manual_seed(1)
    loss = networks.loss(tinyconv.functional, model(images), labels)
    loss.backward()
    gradients = {name: p.grad.to("cpu").numpy() for name, p in model.named_parameters() if p.grad is not None}
    optimizer.step()
    assert all(np.isfinite(p.detach().to("cpu").numpy()).all() for p in model.parameters())
    return loss.item(), gradients


def check(small: bool) -> list[str]:
    """Run the steps, print a line for each model, return the failures."""
    failures: list[str] = []
    for network in networks.networks():
        described = tinyconv.models.build(network.builder, **network.arguments, device="meta")
        if small and sum(p.numel() for p in described.parameters()) > LARGE:
            print(f"step: {network.title} left out: too large for the simulator")
            continue
        (ours, found), (theirs, wanted) = (one_step(network, IMAGES, device) for device in ("cuda", "cpu"))
        worst, where = max(_worst(found, wanted))
        line = f"{network.title}: loss {ours:.6f}, CPU {theirs:.6f}; gradients differ by {worst:.1e} at most ({where})"
        print(f"step: {line}", flush=True)
        if not abs(ours - theirs) <= 1e-4 * abs(theirs) or not worst <= GRADIENT or found.keys() != wanted.keys():
            failures.append(line)
    return failures


def _worst(found: dict[str, Any], wanted: dict[str, Any]) -> list[tuple[float, str]]:
    """Return each gradient's largest difference, as a part of its largest value, with its name."""
    return [(float(np.abs(found[n] - w).max() / (np.abs(w).max() or 1)), n) for n, w in wanted.items() if n in found]
