"""Whole networks by each engine: a training step (forward, loss, backward, SGD with momentum and weight decay).

And what a user of a trained network waits for: the forward pass alone, without a graph, in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .engines import BenchmarkError, check_equal, load_torch, threads
from .timing import Rule, compare
from .twin import twin

Batch = tuple[np.ndarray, np.ndarray]  # images, labels
Step = Callable[[], float]  # returns the loss


class Network(NamedTuple):
    """One line of the table: a builder of :mod:`tinyconv.models` with its arguments, and a batch size."""

    name: str
    title: str
    batch: int
    builder: str
    arguments: dict[str, Any]


_LESSON = {"num_classes": 10, "in_channels": 1, "scale": "lesson"}
ALL = (
    Network("lenet5", "LeNet-5", 128, "lenet5", {"output": "scores"}),
    Network("alexnet-lesson", "AlexNet, lesson scale (28x28)", 64, "alexnet", _LESSON),
    Network("alexnet", "AlexNet (groups, LRN)", 16, "alexnet", {}),
    Network("alexnet-torchvision", "AlexNet, torchvision's variant", 16, "alexnet", {"variant": "torchvision"}),
    Network("zfnet", "ZF Net", 16, "zfnet", {}),
    Network("vgg16", "VGG-16", 2, "vgg", {"config": "D"}),
    Network("googlenet", "GoogLeNet", 8, "googlenet", {}),
    Network("resnet18", "ResNet-18", 8, "resnet", {"depth": 18}),
    Network("resnet50", "ResNet-50", 8, "resnet", {"depth": 50}),
    Network("resnet20-cifar", "ResNet-20 for CIFAR-10", 128, "resnet_cifar", {"depth": 20}),
)
OPTIONS: dict[str, Any] = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4}


def networks() -> list[Network]:
    """Return those whose builder exists already."""
    import tinyconv

    return [network for network in ALL if network.builder in tinyconv.models.names()]


def choose(wanted: list[str] | None) -> list[Network]:
    """Return the networks of these names; None: all.

    Raises
    ------
    BenchmarkError
        There is no such network.
    """
    known = networks()
    for name in wanted or ():
        if name not in [network.name for network in known]:
            raise BenchmarkError(f"--networks: wanted {', '.join(n.name for n in known)}, got {name!r}")
    return [network for network in known if wanted is None or network.name in wanted]


def build(network: Network) -> Any:
    """Return tinyconv's model, with the same initial weights every time."""
    import tinyconv

    tinyconv.manual_seed(0)
    return tinyconv.models.build(network.builder, **network.arguments)


def batch(model: Any, size: int) -> Batch:
    """Return random images and labels for tinyconv's model."""
    rng = np.random.default_rng(0)
    classes = model.config["arguments"]["num_classes"]
    return rng.standard_normal((size, *model.input_shape), np.float32), rng.integers(0, classes, size)


def loss(lib: Any, outputs: Any, labels: Any) -> Any:
    """Cross-entropy; a network with auxiliary classifiers returns several outputs, the others count 0.3 (GoogLeNet)."""
    if not isinstance(outputs, (tuple, list)):
        return lib.cross_entropy(outputs, labels)
    first, *others = (lib.cross_entropy(y, labels) for y in outputs if y is not None)
    return first + 0.3 * sum(others[1:], others[0]) if others else first


def our_step(model: Any, data: Batch) -> Step:
    """Return a function that trains tinyconv's model on one batch."""
    import tinyconv

    images, labels = (tinyconv.tensor(a) for a in data)
    optimizer = tinyconv.optim.SGD(model.parameters(), **OPTIONS)
    return _step(tinyconv.functional, model, images, labels, optimizer)


def their_step(module: Any, data: Batch) -> Step:
    """Return a function that trains PyTorch's module on one batch."""
    torch = load_torch()
    images, labels = (torch.from_numpy(a) for a in data)
    return _step(torch.nn.functional, module, images, labels, torch.optim.SGD(module.parameters(), **OPTIONS))


def _step(lib: Any, model: Any, images: Any, labels: Any, optimizer: Any) -> Step:
    def step() -> float:
        optimizer.zero_grad()
        value = loss(lib, model(images), labels)
        value.backward()
        optimizer.step()
        return value.item()

    return step


def our_forward(model: Any, data: Batch) -> Step:
    """Return a function that gives the sum of what tinyconv's model says about one batch, when testing."""
    import tinyconv

    images = tinyconv.tensor(data[0])
    return _forward(tinyconv, model, images)


def their_forward(module: Any, data: Batch) -> Step:
    """Return a function that gives the sum of what PyTorch's module says about one batch, when testing."""
    torch = load_torch()
    return _forward(torch, module, torch.from_numpy(data[0]))


def _forward(lib: Any, model: Any, images: Any) -> Step:
    model.eval()

    def forward() -> float:
        with lib.no_grad():
            outputs = model(images)
        return (outputs[0] if isinstance(outputs, (tuple, list)) else outputs).sum().item()

    return forward


def check_twin(model: Any, module: Any, size: int = 2) -> None:
    """Raise if the two networks give different outputs for the same images, when testing."""
    import tinyconv

    torch = load_torch()
    images, _ = batch(model, size)
    modes = model.training, module.training
    model.eval(), module.eval()
    with tinyconv.no_grad(), torch.no_grad():
        ours, theirs = model(tinyconv.tensor(images)), module(torch.from_numpy(images))
    model.train(modes[0]), module.train(modes[1])
    pairs = [y if isinstance(y, (tuple, list)) else (y,) for y in (ours, theirs)]
    check_equal(type(model).__name__, [y.data for y in pairs[0]], pairs[1], 1e-4)


def measure(chosen: list[Network], counts: list[int], rule: Rule, training: bool = True) -> Iterator[dict[str, Any]]:
    """Yield one row per network and number of threads: a training step, or the forward pass."""
    from tinyconv.threads import limited_threads

    for network in chosen:
        model = build(network)
        module = twin(model)
        check_twin(model, module)
        data = batch(model, network.batch)
        make = (our_step, their_step) if training else (our_forward, their_forward)
        steps = make[0](model, data), make[1](module, data)
        for count in counts:
            with threads(count), limited_threads(model):  # as tinyconv.fit
                times = compare(*steps, rule)
            yield {"network": network.name, "threads": count, "batch": network.batch, **times}
