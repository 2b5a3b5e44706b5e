"""Every row of the table against PyTorch in float64: outputs and every gradient to 1e-10."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cases import CASES, Case, adapters
from test_cases import assert_close, run

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")


def oracle(case: Case) -> Any:
    """Return PyTorch's function."""
    if case.torch is not None:
        return case.torch
    return getattr(adapters, case.op, None) or getattr(torch.nn.functional, case.op, None) or getattr(torch, case.op)


@pytest.mark.parametrize("case", [c for c in CASES if c.parity], ids=lambda case: case.id)
def test_equals_torch(case: Case) -> None:
    arrays = case.arrays()
    outputs, grads = run(case, arrays)
    tensors = [None if a is None else torch.from_numpy(np.array(a)).requires_grad_(a.dtype.kind == "f") for a in arrays]
    result = oracle(case)(*tensors, **case.kwargs)
    wanted = list(result) if isinstance(result, tuple) else [result]
    for i, out in enumerate(wanted):
        if out.requires_grad:
            out.backward(
                torch.from_numpy(np.asarray(np.random.default_rng(i).standard_normal(tuple(out.shape)))),
                retain_graph=True,
            )
    assert_close(outputs, [w.detach().numpy() for w in wanted], 1e-10)
    assert_close(grads, [t.grad.numpy() for t in tensors if t is not None and t.grad is not None], 1e-10)
