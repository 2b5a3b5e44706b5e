"""What the table of operations cannot say of losses: worked values, extremes, ignored targets, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, gradcheck
from tinyconv.nn import functional as F


def scores(n: int = 4, k: int = 5) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, k))


LABELS = Tensor(np.array([4, 0, 2, 2]))


def test_cross_entropy_by_hand() -> None:
    x = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    target = Tensor(np.array([0, 1]))
    assert F.cross_entropy(Tensor(x), target).item() == pytest.approx(-math.log(0.5 * 0.1) / 2, rel=1e-14)
    weight = Tensor(np.array([3.0, 1.0, 7.0]))
    wanted = -(3 * math.log(0.5) + math.log(0.1)) / 4
    assert F.cross_entropy(Tensor(x), target, weight).item() == pytest.approx(wanted, rel=1e-14)
    smooth = F.cross_entropy(Tensor(x), target, label_smoothing=0.3, reduction="none").tolist()
    assert smooth[0] == pytest.approx(-(0.8 * math.log(0.5) + 0.2 * math.log(0.25)), rel=1e-12)


def test_uniform_scores_give_log_of_the_number_of_classes() -> None:
    assert F.cross_entropy(tinyconv.zeros(3, 1000), tinyconv.arange(3)).item() == pytest.approx(math.log(1000))


@pytest.mark.parametrize("op", ["cross_entropy", "nll_loss"])
def test_gradient_with_class_weights(op: str) -> None:
    weight = Tensor(np.array([0.5, 2.0, 0.0, 1.0, 3.0]))
    for reduction in ("mean", "sum", "none"):
        gradcheck(lambda x, r=reduction: getattr(F, op)(x, LABELS, weight, 0, r), [scores()])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_scores_do_not_overflow(dtype: type) -> None:
    x = Tensor(np.array([[1e4, -1e4], [-1e4, 1e4]], dtype), requires_grad=True)
    loss = F.cross_entropy(x, Tensor(np.array([0, 0])))
    assert loss.item() == pytest.approx(1e4)
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0, 0], [-0.5, 0.5]], atol=1e-12)
    far = Tensor(np.array([1000.0, -1000.0], dtype))
    ones = Tensor(np.array([0.0, 1.0], dtype))
    assert F.binary_cross_entropy_with_logits(far, ones).item() == 1000
    assert F.binary_cross_entropy(Tensor(np.array([0.0, 1.0], dtype)), ones).item() == 0
    assert F.binary_cross_entropy(Tensor(np.array([1.0, 0.0], dtype)), ones).item() == 100


def test_impossible_class_of_weight_zero_counts_for_nothing() -> None:
    x = Tensor(np.array([[0.0, -np.inf], [0.0, 0.0]]))
    weight = Tensor(np.array([1.0, 0.0]))
    assert F.cross_entropy(x, Tensor(np.array([1, 0])), weight).item() == pytest.approx(math.log(2))


def test_ignored_targets() -> None:
    x = Tensor(scores(), requires_grad=True)
    target = Tensor(np.array([4, -100, 2, -100]))
    kept = F.cross_entropy(Tensor(scores()[[0, 2]]), Tensor(np.array([4, 2]))).item()
    loss = F.cross_entropy(x, target)
    assert loss.item() == pytest.approx(kept, rel=1e-14)
    loss.backward()
    assert not x.grad.numpy()[[1, 3]].any()
    everything = Tensor(np.full(4, -100))
    for op in (F.cross_entropy, F.nll_loss):
        assert op(x, everything, reduction="sum").item() == 0
        assert math.isnan(op(x, everything).item())  # the mean of nothing, as in PyTorch
    assert math.isnan(F.cross_entropy(tinyconv.zeros(0, 3), tinyconv.zeros(0).long()).item())


def test_probabilities_as_targets_equal_classes() -> None:
    onehot = Tensor(np.eye(5)[LABELS.numpy()])
    x = Tensor(scores())
    assert F.cross_entropy(x, onehot).item() == pytest.approx(F.cross_entropy(x, LABELS).item(), rel=1e-13)


def test_kl_div_is_zero_for_equal_distributions_and_at_zero_probability() -> None:
    p = Tensor(np.array([[0.5, 0.5, 0.0]]))
    q = Tensor(np.log(np.array([[0.5, 0.25, 0.25]])))
    assert F.kl_div(q, p, reduction="batchmean").item() == pytest.approx(0.5 * math.log(2))
    assert F.kl_div(p.softmax(1).log(), p.softmax(1), reduction="sum").item() == pytest.approx(0, abs=1e-15)


def test_smooth_l1_by_hand() -> None:
    """x^2 / 2 below 1, |x| - 1/2 above (Girshick 2015, eq. 3); sigma = 3 of Faster R-CNN's code is beta = 1/9."""
    x = Tensor(np.array([0.5, 1, 2, -0.3]), requires_grad=True)
    found = F.smooth_l1_loss(x, tinyconv.zeros(4, dtype=tinyconv.float64), reduction="none")
    np.testing.assert_allclose(found.detach().numpy(), [0.125, 0.5, 1.5, 0.045])
    found.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.5, 1, 1, -0.3])
    # 9 x^2 / 2 below 1/9, |x| - 1/18 above: the two meet.
    near = 1 / 9 + np.array([-1e-9, 0, 1e-9])
    sharp = F.smooth_l1_loss(Tensor(np.array([*near, 1])), tinyconv.zeros(4, dtype=tinyconv.float64), "none", 1 / 9)
    np.testing.assert_allclose(sharp.numpy(), [0.0555556] * 3 + [0.9444444], atol=5e-8)


def test_target_errors() -> None:
    x = Tensor(scores())
    for op in ("cross_entropy", "nll_loss"):
        function = getattr(F, op)
        with pytest.raises(IndexError, match=rf"{op}: target must be in \[0, 5\), got 5"):
            function(x, Tensor(np.array([0, 5, 1, 1])))
        with pytest.raises(IndexError, match=r"got -1"):
            function(x, Tensor(np.array([0, -1, 1, 1])))
        with pytest.raises(ValueError, match=rf"{op}: target must have shape \(4,\) for x of shape \(4, 5\)"):
            function(x, Tensor(np.array([0, 1])))
        with pytest.raises(ValueError, match=r"weight must have shape \(5,\) \(one number per class\), got \(4,\)"):
            function(x, LABELS, Tensor(np.ones(4)))
        with pytest.raises(TypeError, match="weight must have one dtype"):
            function(x, LABELS, tinyconv.ones(5))
        with pytest.raises(ValueError, match="reduction must be one of 'mean', 'sum', 'none', got 'max'"):
            function(x, LABELS, reduction="max")
        with pytest.raises(ValueError, match="at least one class"):
            function(tinyconv.zeros(4, 0), LABELS)
    with pytest.raises(TypeError, match="target must hold integers, got float64"):
        F.nll_loss(x, Tensor(np.ones(4)))
    with pytest.raises(ValueError, match="label_smoothing must be a probability"):
        F.cross_entropy(x, LABELS, label_smoothing=2)
    with pytest.raises(ValueError, match=r"target must have shape \(4, 5\) like x"):
        F.cross_entropy(x, Tensor(np.ones(4)))
    with pytest.raises(ValueError, match=r"got shape \(\)"):
        F.cross_entropy(Tensor(np.array(1.0)), Tensor(np.array(0)))
    with pytest.raises(IndexError, match=r"multi_margin_loss: target must be in \[0, 5\)"):
        F.multi_margin_loss(x, Tensor(np.array([0, 9, 1, 1])))
    with pytest.raises(ValueError, match=r"x must be \(N, K\) or \(K,\)"):
        F.multi_margin_loss(tinyconv.ones(2, 3, 4), tinyconv.zeros(2, 4).long())


@pytest.mark.parametrize(
    "op", ["mse_loss", "l1_loss", "smooth_l1_loss", "hinge_loss", "kl_div", "binary_cross_entropy_with_logits"]
)
def test_nothing_is_broadcast(op: str) -> None:
    with pytest.raises(ValueError, match=rf"{op}: target must have shape \(3, 2\) like x, got \(3, 1\)"):
        getattr(F, op)(tinyconv.ones(3, 2), tinyconv.ones(3, 1))
    with pytest.raises(TypeError, match="x and target must have one dtype"):
        getattr(F, op)(tinyconv.ones(3), tinyconv.ones(3, dtype=tinyconv.float64))


def test_binary_and_other_errors() -> None:
    half = tinyconv.full((2, 3), 0.5)
    for bad in (1.5, -0.1, float("nan")):
        with pytest.raises(
            ValueError, match=r"x must be probabilities in \[0, 1\]; use binary_cross_entropy_with_logits"
        ):
            F.binary_cross_entropy(half * 0 + bad, half)
    for op in (F.binary_cross_entropy, F.binary_cross_entropy_with_logits):
        with pytest.raises(ValueError, match=r"weight must broadcast to x's shape \(2, 3\), got \(2,\)"):
            op(half, half, tinyconv.ones(2))
    with pytest.raises(ValueError, match="beta must be at least 0"):
        F.smooth_l1_loss(half, half, beta=float("nan"))
    with pytest.raises(ValueError, match="reduction must be one of .*'batchmean'"):
        F.kl_div(half, half, reduction="x")


# ----------------------------------------------------------------------------------------------------------- resizing


def test_interpolate_errors() -> None:
    x = tinyconv.ones(1, 1, 4, 4)
    with pytest.raises(ValueError, match="give either size or scale_factor"):
        F.interpolate(x)
    with pytest.raises(ValueError, match="give either size or scale_factor"):
        F.interpolate(x, size=2, scale_factor=2)
    with pytest.raises(ValueError, match='align_corners is for mode="bilinear"'):
        F.interpolate(x, size=2, align_corners=True)
    with pytest.raises(ValueError, match="mode must be one of 'nearest', 'bilinear', got 'cubic'"):
        F.interpolate(x, size=2, mode="cubic")
    with pytest.raises(ValueError, match="size must be at least 1"):
        F.interpolate(x, size=0)
    with pytest.raises(ValueError, match=r"scale_factor 0.1 leaves no pixel of \(4, 4\)"):
        F.interpolate(x, scale_factor=0.1)
    for factor in (-1, float("nan"), (1, 2, 3)):
        with pytest.raises(ValueError, match="scale_factor must be a positive number or two"):
            F.interpolate(x, scale_factor=factor)
    with pytest.raises(ValueError, match=r"x must be \(N, C, H, W\)"):
        F.interpolate(x[0], size=2)
    with pytest.raises(ValueError, match="at least one pixel"):
        F.interpolate(tinyconv.ones(1, 1, 0, 4), size=2)
