"""What must be measured in a process of its own: first step and peak of memory. See :func:`ask`, :func:`main`."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .engines import BenchmarkError, load_torch

STEPS = 3


def ask(engine: str, network: str, environment: dict[str, str] | None = None) -> dict[str, float]:
    """Train ``network`` by "tinyconv" or "torch" for three steps in a fresh process; return what :func:`main` prints.

    Raises
    ------
    BenchmarkError
        The process failed; the message is its last line.
    """
    command = [sys.executable, str(Path(__file__).parent), "--child", engine, network]
    done = subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise BenchmarkError(f"benchmarks: {engine} on {network} failed: {''.join(last)}")
    return json.loads(done.stdout.splitlines()[-1])


def main(engine: str, name: str) -> None:
    """Print {"first": seconds of the first step, "later": of the fastest other, "peak": bytes above the imports}.

    The peak is that of the steps, with all that is resident by then: weights and data; on Linux not of the building.
    """
    from . import networks

    load_torch()
    network = networks.choose([name])[0]
    before = _memory("VmRSS")
    model = networks.build(network)
    data = networks.batch(model, network.batch)
    if engine == "torch":
        from .twin import twin

        step = networks.their_step(twin(model), data)
        del model  # the weights are copied
    else:
        step = networks.our_step(model, data)
    # The peak is that of the steps, for both: PyTorch's model is made from ours, so building it takes twice as much.
    gc.collect()
    _forget_peak()
    times = [_timed(step) for _ in range(STEPS)]
    print(json.dumps({"first": times[0], "later": min(times[1:]), "peak": _memory("VmHWM") - before}))


def _timed(step: Any) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _memory(name: str) -> int:
    """Return resident bytes: VmRSS now, VmHWM the most so far. Elsewhere than on Linux both are the most so far.

    (The most so far by getrusage would begin with that of the process that started this one.)
    """
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(re.findall(rf"{name}:\s+(\d+) kB", text)[0])
    except (OSError, IndexError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most


def _forget_peak() -> None:
    """Let VmHWM begin again from what is resident now (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
