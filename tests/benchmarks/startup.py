"""What a user waits for: the import, and the first training step with an empty and with a filled cache of kernels."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import child

IMPORTS = 5  # fresh processes; the first of all, which may write bytecode, does not count
NETWORKS = ("alexnet-lesson", "alexnet")
WAITS = 1 + 2 * len(NETWORKS)  # rows that measure() yields
GOALS = {"import": 0.6, "cold": 25.0, "warm": 2.0}  # seconds


def measure() -> Iterator[dict[str, Any]]:
    """Yield rows {"what", "network", "ours", "torch"} in seconds; PyTorch compiles nothing, so it has no cold start."""
    yield {"what": "import", "network": "", "ours": import_time("tinyconv"), "torch": import_time("torch")}
    for name in NETWORKS:
        with tempfile.TemporaryDirectory() as empty:
            cache = {"NUMBA_CACHE_DIR": empty}
            cold, warm = (child.ask("tinyconv", name, cache)["first"] for _ in range(2))
        theirs = child.ask("torch", name)["first"]
        yield {"what": "cold", "network": name, "ours": cold, "torch": None}
        yield {"what": "warm", "network": name, "ours": warm, "torch": theirs}


def import_time(module: str, times: int = IMPORTS) -> float:
    """Return the median of several fresh processes' seconds for ``import module``."""
    root = Path(__file__).resolve().parents[2]
    found = [str(root), str(root / "kernels"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found))}
    code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", code]
    seconds = [
        float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        for _ in range(times + 1)
    ]
    return statistics.median(seconds[1:])
