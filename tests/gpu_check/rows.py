"""Every row of the table tests/cases on the GPU beside the CPU: outputs and gradients, in float32 and float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cases import CASES, Case
from tinyconv import Tensor

from .report import Report

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}  # of an array's largest value


def run(function: Callable[..., Any], arrays: list[Any], device: str) -> list[np.ndarray]:
    """Return all outputs, then the gradient of every floating input for a fixed upstream gradient, on the host."""
    tensors = [None if a is None else Tensor(a).to(device) for a in arrays]
    for t in tensors:
        if t is not None and t.dtype.kind == "f":
            t.requires_grad_()
    result = function(*tensors)
    outputs = list(result) if isinstance(result, tuple) else [result]
    for i, out in enumerate(outputs):
        assert out.device == device, f"the result is on {out.device}"
        if out.requires_grad:
            seed = np.random.default_rng(i).integers(-8, 9, out.shape) / 8  # exact in TF32, too
            out.backward(Tensor(np.asarray(seed, out.dtype)).to(device), retain_graph=True)
    grads = [t.grad for t in tensors if t is not None and t.grad is not None]
    return [t.detach().to("cpu").numpy() for t in (*outputs, *grads)]


def differences(found: list[np.ndarray], wanted: list[np.ndarray], tolerance: float) -> Iterator[str]:
    """Yield a line for each pair of arrays that are not equal within the tolerance."""
    if len(found) != len(wanted):
        yield f"{len(found)} arrays, the CPU gives {len(wanted)}"
    for i, (a, b) in enumerate(zip(found, wanted, strict=False)):
        if a.shape != b.shape or a.dtype != b.dtype:
            yield f"array {i} is {a.dtype} {a.shape}, the CPU's {b.dtype} {b.shape}"
            continue
        finite = np.abs(b[np.isfinite(b)])
        scale = float(finite.max()) if finite.size else 1.0
        close = np.isclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
        if not close.all():
            at = np.unravel_index(int(np.argmin(close)), close.shape)
            yield f"array {i} differs at {tuple(map(int, at))}: {a[at]!r}, the CPU gives {b[at]!r}"


def compare(report: Report, what: str, function: Callable[..., Any], arrays: list[Any], tolerance: float) -> None:
    """Run a function on both devices, and report what differs."""
    with report.guarded(what):
        for line in differences(run(function, arrays, "cuda"), run(function, arrays, "cpu"), tolerance):
            report.fail(what, line)


def chosen(word: str | None, quick: bool) -> list[Case]:
    """Return the rows with this word in their name; quick: of every operation the first and the last."""
    found = [case for case in CASES if case.cuda and (word is None or word in case.id)]
    if not quick:
        return found
    ends = [{case.op: case for case in order} for order in (found, reversed(found))]
    return [case for case in found if any(case is end[case.op] for end in ends)]


def check(report: Report, word: str | None = None, quick: bool = False) -> None:
    """Run the rows and say how many there were."""
    before, cases = len(report.failures), chosen(word, quick)
    dtypes = ["float32"] if quick else list(TOLERANCE)
    for case in cases:
        for dtype in dtypes:
            arrays = case.arrays(np.dtype(dtype).type)
            compare(report, f"{case.id} ({dtype})", case, arrays, TOLERANCE[dtype])
    found = len(report.failures) - before
    report.say(f"rows: {len(cases)} operations and geometries in {' and '.join(dtypes)}, {found} differences")
