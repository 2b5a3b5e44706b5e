"""One training step of every model on the GPU and on the CPU: the same loss, gradients and new weights.

The CPU convolves directly: Winograd's method rounds so much more that the sign of some ReLU's input changes, and one
such unit changes a gradient by per cents. What rounding alone does is measured, by the same step in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyconv
from benchmarks import networks

from . import captions, detectors, generators, transformers
from .report import Report

IMAGES = 2
LOSS, GRADIENT = 1e-4, 1e-3  # of the loss, and of a gradient's largest value
ROUNDING = 5.0  # times what separates the CPU's float32 from its float64, where that is more
SIMULATED = 450_000  # multiply-adds per image that the simulator does in a minute
# What a builder must be told.
NEEDED: dict[str, dict[str, Any]] = {
    "lenet5": {"output": "scores"}, "resnet": {"depth": 18}, "resnet_cifar": {"depth": 20}, "rir": {"depth": 18},
    "st_svhn": {"num_classes": 11},
    "alignment": {"words": 24}, "caption": {"words": 24}, "captioner": {"words": ["<end>", "a", "three", "seven"]},
}  # fmt: skip
LARGE: dict[str, dict[str, Any]] = {"alexnet": {}, "resnet": {"depth": 50}}  # at the paper's scale, on a GPU

Arguments = dict[str, Any]


def names() -> list[str]:
    """Return the builders' names; the others, such as resnet50, are settings of theirs."""
    return [name for name in tinyconv.models.names() if tinyconv.models.resolve(name) == (name, {})]


def arguments(name: str, width: float = 1.0) -> Arguments:
    """Return what builds this model at the scale of the lessons, with what of it the builder knows."""
    known = tinyconv.models.parameters(name)
    wanted = {"num_classes": 10, "in_channels": 1, "scale": "lesson", **NEEDED.get(name, {})}
    wanted |= {} if width == 1.0 else {"width": width}
    return {key: value for key, value in wanted.items() if key in known}


def chosen(name: str, simulated: bool) -> Arguments | None:
    """Return the arguments for this machine, as narrow as the simulator needs; None: too large for it."""
    for width in (1.0, 0.5, 0.25, 0.125, 0.0625):
        found = arguments(name, width)
        if not simulated or tinyconv.summary(_build(name, found, device="meta")).total_macs <= SIMULATED:
            return found
        if "width" not in found and width < 1.0:
            break
    return None


def _build(name: str, found: Arguments, **options: Any) -> Any:
    tinyconv.manual_seed(0)
    return tinyconv.models.build(name, **found, **options)


def one_step(name: str, found: Arguments, device: str, dtype: str = "float32") -> tuple[float, dict[str, np.ndarray]]:
    """Return the loss and all gradients, on the host, of a step with dropout: its masks are the same everywhere."""
    model = _build(name, found)
    speaks, detects, generates = name in captions.MODELS, hasattr(model, "learn"), hasattr(model, "pairs")
    looks = name in transformers.MODELS
    source: Any = captions if speaks else detectors if detects else generators if generates else networks
    if looks:
        source = transformers
        transformers.look_elsewhere(model)
    images, labels = source.batch(model, IMAGES)
    if dtype != "float32":
        weights = model.state_dict()
        model = _build(name, found, dtype=dtype)
        model.load_state_dict(weights)
    model.to(device)
    optimizer = tinyconv.optim.SGD(model.parameters(), **networks.OPTIONS)
    tinyconv.manual_seed(1)
    inputs, truth = tinyconv.tensor(images.astype(dtype), device=device), tinyconv.tensor(labels, device=device)
    if speaks:
        loss = captions.loss(model, inputs, truth)
    elif generates:
        loss = generators.loss(model, inputs)
    elif detects:
        loss = detectors.loss(model, model(inputs), truth)
    elif looks:
        loss = transformers.loss(model, model(inputs), truth)
    else:
        loss = networks.loss(tinyconv.functional, model(inputs), truth)
    loss.backward()
    gradients = {name: p.grad.to("cpu").numpy() for name, p in model.named_parameters() if p.grad is not None}
    optimizer.step()
    assert all(np.isfinite(p.detach().to("cpu").numpy()).all() for p in model.parameters()), "weights are not finite"
    return loss.item(), gradients


def check(report: Report, simulated: bool, quick: bool = False) -> None:
    """Run the steps, a line for each model; quick: in the simulator only that of the first."""
    all_names = names()
    left_out = all_names[1:] if simulated and quick else []
    for name in all_names[: len(all_names) - len(left_out)]:
        with report.guarded(f"step of {name}"):
            found = chosen(name, simulated)
            if found is None:
                left_out.append(name)
            else:
                compare(report, name, found)
    for name, found in {} if simulated or quick else LARGE.items():
        if name in all_names:
            with report.guarded(f"step of {name}, the paper's scale"):
                compare(report, name, found)
    if left_out:
        report.say(f"step: left out, the simulator takes too long: {', '.join(left_out)}")


def compare(report: Report, name: str, found: Arguments) -> None:
    """Run one step on both devices, and in float64."""
    title = f"{name}({', '.join(f'{key}={value!r}' for key, value in found.items())})"
    ours, gradients = one_step(name, found, "cuda")
    with tinyconv.use_winograd(False):
        theirs, wanted = one_step(name, found, "cpu")
    worst, where = max(_worst(gradients, wanted))
    allowed = GRADIENT
    if worst > allowed:  # it may be rounding: what does the CPU's own do?
        _, exact = one_step(name, found, "cpu", "float64")
        allowed = max(GRADIENT, ROUNDING * max(_worst(wanted, exact))[0])
    line = f"loss {ours:.6f}, CPU {theirs:.6f}; gradients differ by {worst:.1e} at most ({where})"
    line += f", rounding explains {allowed:.1e}" if allowed > GRADIENT else ""
    report.say(f"step: {title}: {line}")
    if not abs(ours - theirs) <= LOSS * abs(theirs) or not worst <= allowed or gradients.keys() != wanted.keys():
        report.fail(f"step of {title}", line)


def _worst(found: dict[str, Any], wanted: dict[str, Any]) -> list[tuple[float, str]]:
    """Return each gradient's largest difference, as a part of its largest value, with its name."""
    return [(float(np.abs(found[n] - w).max() / (np.abs(w).max() or 1)), n) for n, w in wanted.items() if n in found]
