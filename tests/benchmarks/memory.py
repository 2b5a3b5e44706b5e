"""Peak memory of three training steps, one fresh process per engine and network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import child
from .networks import Network


def measure(chosen: list[Network]) -> Iterator[dict[str, Any]]:
    """Yield one row per network: the most during the steps, less what is resident after the imports, in bytes."""
    for network in chosen:
        child.ask("tinyconv", network.name)  # what is not in the cache of kernels is compiled here: that takes memory
        ours, theirs = (child.ask(engine, network.name)["peak"] for engine in ("tinyconv", "torch"))
        yield {"network": network.name, "batch": network.batch, "ours": int(ours), "torch": int(theirs)}
