"""What is put back after use: modes, gradients' switches. See :func:`kept_modes`, :func:`frozen`, :func:`held`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tinyconv.function import no_grad
from tinyconv.nn.module import Module


@contextmanager
def kept_modes(model: Module) -> Iterator[None]:
    """Give every module its own ``training`` flag back at the end, whatever was done to it inside."""
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def frozen(model: Module) -> Iterator[None]:
    """Inside, no parameter asks for a gradient: the weights' would cost as much as the input's."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    for p in wanted:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in wanted:
            p.requires_grad_(True)


@contextmanager
def held(model: Module) -> Iterator[None]:
    """Inside, a network computes in the mode it is in, and nothing of it changes: it only looks on.

    It is :func:`frozen` (gradients go through it to its input), and running statistics are afterwards what they were,
    though batch normalisation uses the batch's own in training mode.
    """
    learning = [module for module in model.modules() if module.training]  # the others' statistics stand still anyway
    before = [(buffer, buffer.clone()) for module in learning for buffer in module.buffers(recurse=False)]
    try:
        with frozen(model):
            yield
    finally:
        with no_grad():
            for buffer, value in before:
                buffer.copy_(value)
