"""Optimisers: the papers' worked numbers, PyTorch's steps, groups, states, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, optim

KINDS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3}),
    ("RMSprop", {"lr": 0.05}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.7}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.5, "centered": True}),
    ("AlexNetSGD", {"lr": 0.05}),
    ("AlexNetSGD", {"lr": 0.05, "decay_biases": False}),
]
every_kind = pytest.mark.parametrize(("name", "options"), KINDS, ids=lambda v: v if isinstance(v, str) else "-".join(v))
SHAPES = [(4, 3), (5,), ()]


def parameters(dtype: Any = np.float64) -> list[Tensor]:
    rng = np.random.default_rng(0)
    return [Tensor(np.array(rng.standard_normal(shape), dtype), requires_grad=True) for shape in SHAPES]


def gradients(step: int, dtype: Any = np.float64) -> list[Tensor]:
    rng = np.random.default_rng([1, step])
    return [Tensor(np.array(rng.standard_normal(shape), dtype)) for shape in SHAPES]


def run(optimizer: optim.Optimizer, params: list[Tensor], steps: range) -> None:
    for step in steps:
        for p, g in zip(params, gradients(step, params[0].dtype), strict=True):
            p.grad = g
        if step == 10:
            optimizer.param_groups[0]["lr"] *= 0.5
        optimizer.step()


def values(params: list[Tensor]) -> list[np.ndarray]:
    return [p.detach().numpy() for p in params]


# ------------------------------------------------------------------------------------------------------- known numbers


@pytest.mark.parametrize(
    ("kind", "rates", "wanted"),
    [
        ("AlexNetSGD", [0.01] * 4, 0.9845578777953716),
        ("SGD", [0.01] * 4, 0.9845578777953716),
        ("AlexNetSGD", [0.01, 0.01, 0.001, 0.001], 0.9940208516732705),
        ("SGD", [0.01, 0.01, 0.001, 0.001], 0.995112748762454),
    ],
)
def test_worked_numbers_of_alexnets_update(kind: str, rates: list[float], wanted: float) -> None:
    w = tinyconv.ones(1, dtype=tinyconv.float64, requires_grad=True)
    optimizer = getattr(optim, kind)([w], lr=0.01, momentum=0.9, weight_decay=5e-4)
    for gradient, lr in zip([0.3, -0.2, 0.5, 0.1], rates, strict=True):
        w.grad = Tensor(np.array([gradient]))
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    assert w.item() == pytest.approx(wanted, rel=1e-15)


def test_alexnet_decays_biases_only_if_asked() -> None:
    for decay_biases, wanted in ((True, 1 - 0.5 * 0.01), (False, 1.0)):
        weight, bias = (tinyconv.ones(*s, dtype=tinyconv.float64, requires_grad=True) for s in ((1, 1), (1,)))
        weight.grad, bias.grad = tinyconv.zeros_like(weight), tinyconv.zeros_like(bias)
        optim.AlexNetSGD([weight, bias], lr=0.01, weight_decay=0.5, decay_biases=decay_biases).step()
        assert weight.item() == pytest.approx(1 - 0.5 * 0.01, rel=1e-15)
        assert bias.item() == pytest.approx(wanted, rel=1e-15)


def test_first_adam_step_has_the_size_of_the_rate() -> None:
    w = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    w.grad = Tensor(np.array([1e-3, -50.0]))
    optim.Adam([w], lr=0.01).step()
    np.testing.assert_allclose(w.detach().numpy(), [0.99, 2.01], rtol=1e-6)


# ------------------------------------------------------------------------------------------------- against PyTorch


@pytest.mark.parametrize(("name", "options"), [k for k in KINDS if k[0] != "AlexNetSGD"])
def test_twenty_steps_equal_torch(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
    params = parameters()
    twins = [torch.tensor(v.copy(), requires_grad=True) for v in values(params)]
    run(getattr(optim, name)(params, **options), params, range(20))
    oracle = getattr(torch.optim, name)(twins, **options)
    for step in range(20):
        for p, g in zip(twins, gradients(step), strict=True):
            p.grad = torch.tensor(g.numpy())
        if step == 10:
            oracle.param_groups[0]["lr"] *= 0.5
        oracle.step()
    for ours, theirs in zip(values(params), twins, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-13)


# ---------------------------------------------------------------------------------------------------------- behaviour


@every_kind
def test_float32_follows_float64_and_reference_follows_cpu(name: str, options: dict) -> None:
    wide, narrow, plain = parameters(), parameters(np.float32), parameters()
    run(getattr(optim, name)(wide, **options), wide, range(12))
    run(getattr(optim, name)(narrow, **options), narrow, range(12))
    with tinyconv.backend("reference"):
        run(getattr(optim, name)(plain, **options), plain, range(12))
    for a, b, c in zip(values(wide), values(narrow), values(plain), strict=True):
        assert b.dtype == np.float32
        np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(c, a, rtol=1e-12)


@every_kind
def test_saved_state_continues_the_same_run(name: str, options: dict) -> None:
    params = parameters()
    optimizer = getattr(optim, name)(params, **options)
    run(optimizer, params, range(11))
    twins = [Tensor(v.copy(), requires_grad=True) for v in values(params)]
    other = getattr(optim, name)(twins, **{**options, "lr": 9.0})
    saved = optimizer.state_dict()
    other.load_state_dict(saved)
    run(optimizer, params, range(11, 16))
    run(other, twins, range(11, 16))
    for a, b in zip(values(params), values(twins), strict=True):
        np.testing.assert_array_equal(a, b)
    assert saved["param_groups"][0]["params"] == [0, 1, 2]


def test_state_that_does_not_fit_changes_nothing() -> None:
    params = parameters()
    optimizer = optim.SGD(params, 0.1, momentum=0.9)
    run(optimizer, params, range(2))
    state = optimizer.state_dict()
    fresh = optim.SGD(parameters()[:2], 0.2, momentum=0.9)
    with pytest.raises(ValueError, match=r"wanted groups of \[2\] parameters, got groups of \[3\]"):
        fresh.load_state_dict(state)
    fresh = optim.SGD(parameters()[::-1], 0.2, momentum=0.9)
    with pytest.raises(ValueError, match=r"velocity of 0: wanted shape \(\), got \(4, 3\)"):
        fresh.load_state_dict(state)
    with pytest.raises(ValueError, match="wanted the options lr, betas"):
        optim.Adam(parameters()).load_state_dict(state)
    with pytest.raises(ValueError, match="SGD.load_state_dict: state for parameter 7, which is in no group"):
        fresh.load_state_dict(state | {"state": {7: {}}})
    assert fresh.param_groups[0]["lr"] == 0.2
    assert fresh.state == {}


def test_groups() -> None:
    a, b, c = parameters()
    optimizer = optim.SGD([{"params": [a, b], "lr": 0.5}, {"params": c}], lr=0.1, momentum=0.9)
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.1]
    before = values([a, c])
    for p in (a, c):
        p.grad = tinyconv.ones_like(p)
    before = [v.copy() for v in before]
    optimizer.step()  # b has no gradient
    np.testing.assert_allclose(a.detach().numpy(), before[0] - 0.5)
    np.testing.assert_allclose(c.detach().numpy(), before[1] - 0.1)
    assert b not in optimizer.state
    assert optimizer.state_dict()["param_groups"][1]["params"] == [2]
    assert "lr=0.5, momentum=0.9" in repr(optimizer)
    optimizer.zero_grad()
    assert a.grad is None


def test_closure_and_loss_goes_down() -> None:
    w = Tensor(np.array([3.0, -2.0]), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(5)]
    np.testing.assert_allclose(losses, [13 * 0.64**i for i in range(5)])


def test_a_step_guards_tensors_saved_for_backward() -> None:
    w = Tensor(np.array([3.0]), requires_grad=True)
    y = (w * w).sum()
    w.grad = tinyconv.ones_like(w)
    optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_strided_parameter_and_gradient() -> None:
    base = np.arange(6.0).reshape(2, 3)
    w = Tensor(base.T, requires_grad=True)
    w.grad = Tensor(np.ones((2, 3)).T)
    optim.AlexNetSGD([w], lr=1.0, weight_decay=0.0).step()
    np.testing.assert_array_equal(base, np.arange(6.0).reshape(2, 3) - 1)


def test_meta_parameters_take_a_step() -> None:
    w = tinyconv.empty(10**6, 10**6, device="meta", requires_grad=True)
    w.grad = tinyconv.empty(10**6, 10**6, device="meta")
    optim.Adam([w]).step()


def test_errors() -> None:
    a = parameters()[0]
    for empty in ([], iter([])):
        with pytest.raises(ValueError, match="SGD: wanted at least one parameter"):
            optim.SGD(empty, 0.1)
    with pytest.raises(ValueError, match="a group must have at least one parameter"):
        optim.SGD([{"params": []}], 0.1)
    with pytest.raises(TypeError, match="put it in a list"):
        optim.SGD(a, 0.1)
    with pytest.raises(TypeError, match="parameter 0 must be a Tensor, got ndarray"):
        optim.SGD([np.ones(3)], 0.1)
    with pytest.raises(ValueError, match="must be a floating leaf tensor, got a result of float64"):
        optim.SGD([a * 2], 0.1)
    with pytest.raises(ValueError, match="must be a floating leaf tensor, got a leaf of int64"):
        optim.SGD([tinyconv.arange(3)], 0.1)
    with pytest.raises(ValueError, match="given twice"):
        optim.SGD([a, a], 0.1)
    with pytest.raises(ValueError, match="a group must be a dict with 'params' and any of lr, momentum"):
        optim.SGD([{"params": [a], "learning_rate": 1}], 0.1)
    for lr in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="lr must be finite and at least 0, got"):
            optim.Adam([a], lr=lr)
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\), got 1"):
        optim.SGD([a], 0.1, momentum=1.0)
    with pytest.raises(ValueError, match="nesterov needs momentum"):
        optim.SGD([a], 0.1, nesterov=True)
    with pytest.raises(ValueError, match="betas must be two numbers"):
        optim.Adam([a], betas=(0.9, 1.0))
    optimizer = optim.SGD([a], 0.1)
    optimizer.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match="lr must be finite"):
        optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.1
    a.grad = tinyconv.zeros(4, 3)
    with pytest.raises(ValueError, match="gradient must be like it"):
        optimizer.step()
    a.grad = tinyconv.zeros(*a.shape, dtype=a.dtype, device="meta")
    with pytest.raises(ValueError, match="on cpu, got float64 .* on meta"):
        optimizer.step()
    a.grad = np.zeros(a.shape)
    with pytest.raises(TypeError, match="SGD: a parameter's gradient must be a Tensor, got ndarray"):
        optimizer.step()
