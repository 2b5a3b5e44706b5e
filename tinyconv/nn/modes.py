"""Training and evaluation mode, module by module. See :func:`kept_modes`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
