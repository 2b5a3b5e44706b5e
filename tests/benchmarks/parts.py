"""The parts of the benchmark: what each measures, how its rows are told apart, and how many there will be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import accuracy, conv, limit, memory, networks, ops, startup
from .engines import threads
from .layers import DIRECTIONS, Layer
from .timing import Rule

Row = dict[str, Any]


class Request(NamedTuple):
    """What the command line asks for."""

    layers: list[Layer]
    networks: list[networks.Network]
    threads: list[int]
    rule: Rule


class Part(NamedTuple):
    """One part: rows with the same values under ``identity`` replace each other."""

    help: str
    identity: tuple[str, ...]
    count: Callable[[Request], int]
    measure: Callable[[Request], Iterator[Row]]


def _limits(request: Request) -> Iterator[Row]:
    for count in request.threads:
        with threads(count):
            yield limit.measure(count)


PARTS = {
    "limit": Part("what the machine can do at most", ("threads",), lambda r: len(r.threads), _limits),
    "conv": Part(
        "convolution layers",
        ("layer", "direction", "threads"),
        lambda r: len(r.layers) * len(DIRECTIONS) * len(r.threads),
        lambda r: conv.measure(r.layers, r.threads, r.rule),
    ),
    "ops": Part(
        "pooling, normalisation, losses, linear, optimisers",
        ("op", "threads"),
        lambda r: (len(ops.OPS) + len(ops.OPTIMIZERS)) * len(r.threads),
        lambda r: ops.measure(r.threads, r.rule),
    ),
    "networks": Part(
        "one training step of whole networks",
        ("network", "threads"),
        lambda r: len(r.networks) * len(r.threads),
        lambda r: networks.measure(r.networks, r.threads, r.rule),
    ),
    "forward": Part(
        "the forward pass of whole networks, when testing",
        ("network", "threads"),
        lambda r: len(r.networks) * len(r.threads),
        lambda r: networks.measure(r.networks, r.threads, r.rule, training=False),
    ),
    "memory": Part(
        "peak memory of a training step",
        ("network",),
        lambda r: len(r.networks),
        lambda r: memory.measure(r.networks),
    ),
    "accuracy": Part(
        "rounding of float32 against float64",
        ("layer", "direction"),
        lambda r: len(r.layers) * len(DIRECTIONS),
        lambda r: accuracy.measure(r.layers),
    ),
    "startup": Part("import and first step", ("what", "network"), lambda r: startup.WAITS, lambda r: startup.measure()),
}
NARROW = ("limit", "conv", "ops", "networks", "accuracy")  # what --isa measures: the rest does not depend on vectors
