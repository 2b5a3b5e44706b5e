"""Times on the GPU: the limits, matrix products, training steps; PyTorch's beside them, if it is installed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinyconv
from benchmarks import networks
from benchmarks.twin import twin

BATCH = 128
Row = dict[str, Any]


def seconds(function: Callable[[], Any], wait: Callable[[], Any], rounds: int = 5) -> float:
    """Return the median time of a call; several calls a round, so that launching overlaps with computing."""
    function()
    wait()
    began = time.perf_counter()
    function()
    wait()
    calls = max(1, int(0.2 / max(time.perf_counter() - began, 1e-6)))
    times = []
    for _ in range(rounds):
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


def measure() -> list[Row]:
    """Measure everything, print tables, return the rows."""
    torch = _torch()
    print("\nspeed" + ("" if torch else " (PyTorch with CUDA is not installed: nothing to compare with)"))
    rows = [_copy(torch), *_products(torch), *_steps(torch)]
    for row in rows:
        beside = f"   PyTorch {row['torch']:.4g}   time ratio {row['ratio']:.2f}" if row.get("torch") else ""
        print(f"  {row['what']:<44} {row['ours']:.4g} {row['unit']}{beside}", flush=True)
    return rows


def _row(what: str, unit: str, work: float, ours: float, theirs: float | None) -> Row:
    """Return rates (``work`` a second) and the ratio of the times: less than 1 is faster than PyTorch."""
    row: Row = {"what": what, "unit": unit, "ours": work / ours}
    return row | ({} if theirs is None else {"torch": work / theirs, "ratio": ours / theirs})


def _copy(torch: Any) -> Row:
    n = 1 << 28
    x = tinyconv.zeros(n, device="cuda")
    y = tinyconv.empty(n, device="cuda")
    kernel = tinyconv.device.kernels_for(x.data).elementwise.copy
    ours = seconds(lambda: kernel(x.data, y.data), tinyconv.cuda.synchronize)
    theirs = None
    if torch:
        a, b = torch.zeros(n, device="cuda"), torch.empty(n, device="cuda")
        theirs = seconds(lambda: b.copy_(a), torch.cuda.synchronize)
    return _row("copying 1 GiB (read + write)", "GB/s", 8 * n / 1e9, ours, theirs)


def _products(torch: Any) -> list[Row]:
    rows = []
    rng = np.random.default_rng(0)
    for n in (1024, 4096):
        a, b = (rng.standard_normal((n, n), np.float32) for _ in range(2))
        ours = [tinyconv.tensor(v, device="cuda") for v in (a, b)]
        for tf32 in (False, True):
            theirs = None
            if torch:
                torch.backends.cuda.matmul.allow_tf32 = tf32
                pair = [torch.from_numpy(v).cuda() for v in (a, b)]
                theirs = seconds(lambda pair=pair: pair[0] @ pair[1], torch.cuda.synchronize)
            with tinyconv.allow_tf32(tf32), tinyconv.no_grad():
                time_ = seconds(lambda ours=ours: ours[0] @ ours[1], tinyconv.cuda.synchronize)
            rows.append(_row(f"matmul {n}, {'TF32' if tf32 else 'float32'}", "GFLOP/s", 2 * n**3 / 1e9, time_, theirs))
    return rows


def _steps(torch: Any) -> list[Row]:
    rows = []
    for network in networks.networks():
        model = networks.build(network)
        module = twin(model).cuda() if torch else None
        images, labels = networks.batch(model, BATCH)
        model.to("cuda")
        step = networks._step(
            tinyconv.functional, model, tinyconv.tensor(images, device="cuda"), tinyconv.tensor(labels, device="cuda"),
            tinyconv.optim.SGD(model.parameters(), **networks.OPTIONS),
        )  # fmt: skip
        for tf32 in (False, True):
            with tinyconv.allow_tf32(tf32):
                ours, theirs = seconds(step, tinyconv.cuda.synchronize), None
            if module is not None:
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
                other = networks._step(
                    torch.nn.functional, module, torch.from_numpy(images).cuda(), torch.from_numpy(labels).cuda(),
                    torch.optim.SGD(module.parameters(), **networks.OPTIONS),
                )  # fmt: skip
                theirs = seconds(other, torch.cuda.synchronize)
            kind = "TF32" if tf32 else "float32"
            rows.append(_row(f"step of {network.title}, {BATCH} images, {kind}", "images/s", BATCH, ours, theirs))
        del model, module, step
        tinyconv.cuda.empty_cache()
    return rows
