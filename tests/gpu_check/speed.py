"""Times on the GPU: the limits, what training is made of, training steps; PyTorch's beside them, if it is installed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import tinyconv
from benchmarks import networks
from benchmarks.twin import twin

from . import work
from .report import Report, Row

BATCH = 128
NETWORKS = ("alexnet", "resnet50")  # of benchmarks/networks.py, at the paper's scale
KINDS = {False: "float32", True: "TF32"}


class Clock:
    """Times of calls that run on while Python goes on; ``quick`` ones are shorter."""

    def __init__(self, quick: bool) -> None:
        self.rounds, self.round_seconds = (2, 0.05) if quick else (5, 0.2)

    def __call__(self, function: Callable[[], Any], wait: Callable[[], Any] = tinyconv.cuda.synchronize) -> float:
        """Return the median time of a call; several calls a round, so that launching overlaps with computing."""
        function()
        wait()
        began = time.perf_counter()
        function()
        wait()
        calls = max(1, int(self.round_seconds / max(time.perf_counter() - began, 1e-6)))
        times = []
        for _ in range(self.rounds):
            wait()
            began = time.perf_counter()
            for _ in range(calls):
                function()
            wait()
            times.append((time.perf_counter() - began) / calls)
        return statistics.median(times)


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def measure(report: Report, quick: bool = False) -> None:
    """Measure everything; a figure is printed when it is known."""
    torch, clock = _torch(), Clock(quick)
    print("\nspeed" + ("" if torch else " (PyTorch with CUDA is not installed: nothing to compare with)"), flush=True)
    limits: dict[str, float] = {}
    with report.guarded("speed of copying"):
        _copy(report, clock, torch, limits)
    for tf32 in KINDS:
        with report.guarded(f"speed of matmul, {KINDS[tf32]}"), _arithmetic(torch, tf32):
            _products(report, clock, torch, tf32, limits)
    for name, make in work.OPERATIONS.items():
        with report.guarded(f"speed of {name}"):
            _operation(report, clock, torch, name, make, limits)
    for network in networks.networks():
        if network.name in NETWORKS:
            with report.guarded(f"speed of a step of {network.title}"):
                _steps(report, clock, torch, network, limits)
            tinyconv.cuda.empty_cache()


@contextmanager
def _arithmetic(torch: Any, tf32: bool) -> Iterator[None]:
    """Inside, both libraries may use tensor cores, or may not."""
    if torch:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    with tinyconv.allow_tf32(tf32):
        yield


def row(what: str, unit: str, amount: float, ours: float, theirs: float | None, limit: tuple[float, str] | None) -> Row:
    """Return rates (``amount`` of work a second), the share of a limit, and the times' ratio: below 1 is faster."""
    found: Row = {"what": what, "unit": unit, "ours": amount / ours}
    if limit is not None:
        found |= {"share": limit[0], "of": limit[1]}
    return found | ({} if theirs is None else {"torch": amount / theirs, "ratio": ours / theirs})


def _share(amount: float, seconds: float, limits: dict[str, float], name: str) -> tuple[float, str] | None:
    """Return (share of a limit, its name); None where the limit could not be measured."""
    return (amount / seconds / limits[name], name) if name in limits else None


def _copy(report: Report, clock: Clock, torch: Any, limits: dict[str, float]) -> None:
    n = 1 << 28
    x, y = tinyconv.zeros(n, device="cuda"), tinyconv.empty(n, device="cuda")
    kernel = tinyconv.device.kernels_for(x.data).elementwise.copy
    ours, theirs = clock(lambda: kernel(x.data, y.data)), None
    if torch:
        a, b = torch.zeros(n, device="cuda"), torch.empty(n, device="cuda")
        theirs = clock(lambda: b.copy_(a), torch.cuda.synchronize)
    limits["copying"] = 8 * n / min(filter(None, (ours, theirs)))
    report.add(row("copying 1 GiB (read + write)", "GB/s", 8 * n / 1e9, ours, theirs, None))


def _products(report: Report, clock: Clock, torch: Any, tf32: bool, limits: dict[str, float]) -> None:
    rng = np.random.default_rng(0)
    for n in (4096, 1024):  # the limit first
        a, b = (rng.standard_normal((n, n), np.float32) for _ in range(2))
        x, y = (tinyconv.tensor(v, device="cuda") for v in (a, b))
        theirs = None
        if torch:
            p, q = (torch.from_numpy(v).cuda() for v in (a, b))
            theirs = clock(lambda p=p, q=q: p @ q, torch.cuda.synchronize)
        with tinyconv.no_grad():
            ours = clock(lambda x=x, y=y: x @ y)
        name = f"GEMM in {KINDS[tf32]}"
        limits.setdefault(name, 2 * n**3 / min(filter(None, (ours, theirs))))
        share = _share(2 * n**3, ours, limits, name)
        report.add(row(f"matmul {n}, {KINDS[tf32]}", "GFLOP/s", 2 * n**3 / 1e9, ours, theirs, share))


def _operation(report: Report, clock: Clock, torch: Any, name: str, make: Any, limits: dict[str, float]) -> None:
    """Time an operation where it computes, in both arithmetics; or where it moves bytes, in float32."""
    found = make(BATCH)
    for tf32 in KINDS if found.flops else (False,):
        with _arithmetic(torch, tf32):
            ours, theirs = clock(found.run), None
            if torch and found.torch:
                theirs = clock(found.torch(torch), torch.cuda.synchronize)
        limit = f"GEMM in {KINDS[tf32]}" if found.flops else "copying"
        share = _share(found.flops or found.bytes, ours, limits, limit)
        unit, amount = ("GFLOP/s", found.flops) if found.flops else ("GB/s", found.bytes)
        report.add(row(f"{name}, {KINDS[tf32]}", unit, amount / 1e9, ours, theirs, share))


def _steps(report: Report, clock: Clock, torch: Any, network: networks.Network, limits: dict[str, float]) -> None:
    model = networks.build(network)
    module = twin(model).cuda() if torch else None
    images, labels = networks.batch(model, BATCH)
    flops = work.step_flops(model) * BATCH
    model.to("cuda")
    step = networks._step(
        tinyconv.functional, model, tinyconv.tensor(images, device="cuda"), tinyconv.tensor(labels, device="cuda"),
        tinyconv.optim.SGD(model.parameters(), **networks.OPTIONS),
    )  # fmt: skip
    for tf32, kind in KINDS.items():
        with _arithmetic(torch, tf32):
            ours, theirs = clock(step), None
            if module is not None:
                other = networks._step(
                    torch.nn.functional, module, torch.from_numpy(images).cuda(), torch.from_numpy(labels).cuda(),
                    torch.optim.SGD(module.parameters(), **networks.OPTIONS),
                )  # fmt: skip
                theirs = clock(other, torch.cuda.synchronize)
        share = _share(flops, ours, limits, f"GEMM in {kind}")
        report.add(row(f"step of {network.title}, {BATCH} images, {kind}", "images/s", BATCH, ours, theirs, share))
