"""Clipping gradients: by their common norm, and element by element."""

from __future__ import annotations

import numpy as np
import pytest

from tinyconv import Tensor, nn, optim


def parameters(*gradients: list[float]) -> list[Tensor]:
    made = [Tensor(np.zeros(len(g), np.float32), requires_grad=True) for g in gradients]
    for p, g in zip(made, gradients, strict=True):
        p.grad = Tensor(np.array(g, np.float32))
    return made


def test_the_norm_is_that_of_all_gradients_together() -> None:
    one, two = parameters([3.0, 0.0], [4.0])
    silent = Tensor(np.zeros(2, np.float32), requires_grad=True)
    assert nn.utils.clip_grad_norm_([one, silent, two], 10).item() == pytest.approx(5)
    assert one.grad.numpy().tolist() == [3, 0]  # short enough: not touched
    assert nn.utils.clip_grad_norm_([one, silent, two], 1).item() == pytest.approx(5)
    np.testing.assert_allclose(one.grad.numpy(), [0.6, 0], rtol=1e-6)
    np.testing.assert_allclose(two.grad.numpy(), [0.8], rtol=1e-6)
    assert silent.grad is None
    assert nn.utils.clip_grad_norm_(one, 0.3).item() == pytest.approx(0.6)  # a single tensor
    assert nn.utils.clip_grad_norm_([], 1).item() == 0


def test_a_broken_gradient_is_reported_and_left() -> None:
    one, two = parameters([np.nan, 1.0], [7.0])
    assert np.isnan(nn.utils.clip_grad_norm_([one, two], 1).item())
    assert two.grad.numpy().tolist() == [7]
    with pytest.raises(RuntimeError, match="wanted gradients of a finite norm, got nan"):
        nn.utils.clip_grad_norm_([one, two], 1, error_if_nonfinite=True)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, float("inf")])
def test_other_norms_and_pytorchs(p: float) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
    ours = parameters([3.0, -1.0], [4.0, 0.5])
    theirs = [torch.zeros(2, requires_grad=True) for _ in ours]
    for mine, other in zip(ours, theirs, strict=True):
        other.grad = torch.tensor(mine.grad.numpy().copy())
    found = nn.utils.clip_grad_norm_(ours, 1.5, norm_type=p)
    wanted = torch.nn.utils.clip_grad_norm_(theirs, 1.5, norm_type=p)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-5)


def test_elements_are_limited() -> None:
    (one,) = parameters([-9.0, 2.0, 0.5, np.nan])
    nn.utils.clip_grad_value_([one], 1)
    np.testing.assert_array_equal(one.grad.numpy(), [-1, 1, 0.5, np.nan])


def test_limits_must_be_positive() -> None:
    for clip in (nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_):
        for wrong in (0, -1, float("nan")):
            with pytest.raises(ValueError, match="must be positive"):
                clip([], wrong)


def test_an_optimizer_clips_before_it_steps() -> None:
    (p,) = parameters([30.0])
    optimizer = optim.SGD([p], lr=1.0)
    handle = optimizer.register_step_pre_hook(lambda *_: nn.utils.clip_grad_norm_([p], 2))
    optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), [-2], rtol=1e-5)
    handle.remove()
    p.grad = Tensor(np.array([30.0], np.float32))
    optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), [-32], rtol=1e-5)
