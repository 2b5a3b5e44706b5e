"""Every row of the table: reference = cpu, numerical gradient, float32 = float64, strided = contiguous, meta = cpu."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from cases import CASES, Case
from tinyconv import GradientError, Tensor, gradcheck
from tinyconv.function import Node

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
smooth_case = pytest.mark.parametrize("case", [c for c in CASES if c.smooth], ids=lambda case: case.id)


def run(case: Case, arrays: list[Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return all outputs and the gradient of every floating input for a fixed upstream gradient."""
    tensors = [None if a is None else Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    result = case(*tensors)
    outputs = list(result) if isinstance(result, tuple) else [result]
    for i, out in enumerate(outputs):
        if out.requires_grad:
            seed = np.random.default_rng(i).standard_normal(out.shape).astype(out.dtype)
            out.backward(Tensor(np.asarray(seed)), retain_graph=True)
    grads = [t.grad.numpy() for t in tensors if t is not None and t.grad is not None]
    return [o.detach().numpy() for o in outputs], grads


def assert_close(found: Any, wanted: Any, rtol: float) -> None:
    """Compare lists of arrays; the tolerance is relative to each array's largest finite value."""
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        finite = np.abs(b[np.isfinite(b)])
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * (finite.max() if finite.size else 1.0))


@every_case
def test_cpu_equals_reference(case: Case) -> None:
    arrays = case.arrays()
    outputs, grads = run(case, arrays)
    with tinyconv.backend("reference"):
        wanted_outputs, wanted_grads = run(case, arrays)
    assert_close(outputs, wanted_outputs, 1e-12)
    assert_close(grads, wanted_grads, 1e-12)


@smooth_case
def test_gradient(case: Case) -> None:
    gradcheck(case, case.arrays(), rtol=1e-6, name=case.op)


@pytest.mark.slow
@smooth_case
def test_the_check_itself_sees_an_error_of_a_hundred_thousandth(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Node.backward

    def off(node: Node, grads: list[Any]) -> tuple[Any, ...]:
        return tuple(None if g is None else np.asarray(g * (1 + 1e-5)) for g in right(node, grads))

    _, grads = run(case, case.arrays())
    monkeypatch.setattr(Node, "backward", off)
    _, spoilt = run(case, case.arrays())
    if any((a != b).any() for a, b in zip(grads, spoilt, strict=True)):  # no gradient, or one of 0, cannot be spoilt so
        with pytest.raises(GradientError):
            gradcheck(case, case.arrays())


@every_case
def test_float32_agrees_with_float64(case: Case) -> None:
    outputs, grads = run(case, case.arrays(np.float32))
    wanted_outputs, wanted_grads = run(
        case, [a if a is None or a.dtype.kind != "f" else a.astype(np.float64) for a in case.arrays(np.float32)]
    )
    assert all(o.dtype != np.float64 for o in outputs)
    assert all(g.dtype == np.float32 for g in grads)
    assert_close(outputs, wanted_outputs, 2e-5)
    assert_close(grads, wanted_grads, 2e-5)


@every_case
def test_strided_inputs_agree_with_contiguous(case: Case) -> None:
    arrays = case.arrays()
    outputs, grads = run(case, arrays)
    found_outputs, found_grads = run(case, [_strided(a) for a in arrays])
    assert_close(found_outputs, outputs, 1e-12)
    assert_close(found_grads, grads, 1e-12)


def _strided(array: Any) -> Any:
    """Return the same values with gaps between them, axes stored in reverse order."""
    if array is None or array.ndim == 0:
        return array
    wide = np.zeros([2 * n for n in array.shape[::-1]], array.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)].transpose()
    view[...] = array
    return view


@pytest.mark.parametrize("case", [c for c in CASES if c.meta], ids=lambda case: case.id)
def test_meta_knows_shapes_and_dtypes(case: Case) -> None:
    arrays = case.arrays(np.float32)
    result = case(*[None if a is None else Tensor(a) for a in arrays])
    described = case(*[None if a is None else Tensor(a).to("meta") for a in arrays])
    for real, meta in zip(_tuple(result), _tuple(described), strict=True):
        assert (meta.device, meta.shape, meta.dtype) == ("meta", real.shape, real.dtype)


def _tuple(result: Any) -> tuple:
    return result if isinstance(result, tuple) else (result,)
