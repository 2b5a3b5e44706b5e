"""Every row of the table tests/cases on the GPU beside the CPU: outputs and gradients, in float32 and float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cases import CASES, Case
from tinyconv import Tensor

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}  # of an array's largest value


def run(case: Case, arrays: list[Any], device: str) -> list[np.ndarray]:
    """Return all outputs, then the gradient of every floating input for a fixed upstream gradient, on the host."""
    tensors = [None if a is None else Tensor(a).to(device) for a in arrays]
    for t in tensors:
        if t is not None and t.dtype.kind == "f":
            t.requires_grad_()
    result = case(*tensors)
    outputs = list(result) if isinstance(result, tuple) else [result]
    for i, out in enumerate(outputs):
        assert out.device == device, f"the result is on {out.device}"
        if out.requires_grad:
            seed = np.random.default_rng(i).standard_normal(out.shape).astype(out.dtype)
            out.backward(Tensor(np.asarray(seed)).to(device), retain_graph=True)
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


def check(word: str | None = None) -> list[str]:
    """Run the rows, print one line, return the failures."""
    chosen = [case for case in CASES if case.cuda and (word is None or word in case.id)]
    failures = []
    for case in chosen:
        for dtype, tolerance in TOLERANCE.items():
            arrays = case.arrays(np.dtype(dtype).type)
            try:
                found = list(differences(run(case, arrays, "cuda"), run(case, arrays, "cpu"), tolerance))
            except Exception as problem:  # one bad row must not hide the others
                found = [f"{type(problem).__name__}: {problem}"]
            failures += [f"{case.id} ({dtype}): {line}" for line in found]
    print(f"rows: {len(chosen)} operations and geometries, two dtypes, {len(failures)} differences", flush=True)
    return failures
