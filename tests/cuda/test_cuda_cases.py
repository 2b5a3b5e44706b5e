"""Every row of the table on the device "cuda": outputs and gradients equal the CPU's. In the simulator, or on a GPU.

NUMBA_ENABLE_CUDASIM=1 pytest tests -m cuda
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cases import CASES, Case
from tinyconv import Tensor

pytestmark = pytest.mark.cuda


def run(case: Case, arrays: list[Any], device: str) -> tuple[list[Any], list[Any]]:
    """Return all outputs, and the gradient of every floating input for a fixed upstream gradient, on the host."""
    tensors = [None if a is None else Tensor(a).to(device) for a in arrays]
    for t in tensors:
        if t is not None and t.dtype.kind == "f":
            t.requires_grad_()
    result = case(*tensors)
    outputs = list(result) if isinstance(result, tuple) else [result]
    for i, out in enumerate(outputs):
        assert out.device == device
        if out.requires_grad:
            seed = np.random.default_rng(i).standard_normal(out.shape).astype(out.dtype)
            out.backward(Tensor(np.asarray(seed)).to(device), retain_graph=True)
    grads = [t.grad.to("cpu").numpy() for t in tensors if t is not None and t.grad is not None]
    return [o.detach().to("cpu").numpy() for o in outputs], grads


@pytest.mark.parametrize("case", [c for c in CASES if c.cuda], ids=lambda case: case.id)
def test_cuda_equals_cpu(case: Case) -> None:
    arrays = case.arrays()
    for found, wanted in zip(run(case, arrays, "cuda"), run(case, arrays, "cpu"), strict=True):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            finite = np.abs(b[np.isfinite(b)])
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * (finite.max() if finite.size else 1.0))
