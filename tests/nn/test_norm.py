"""What the table of operations cannot say of normalisation: running statistics, extreme values, errors."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, gradcheck
from tinyconv.nn import functional as F


def image(shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape) * std + mean


# --------------------------------------------------------------------------------------------- batch normalisation


def test_running_statistics_by_hand() -> None:
    x = image((4, 3, 2, 2), mean=2.0)
    mean, var = Tensor(np.zeros(3)), Tensor(np.ones(3))
    F.batch_norm(Tensor(x), mean, var, training=True, momentum=0.25)
    np.testing.assert_allclose(mean.numpy(), 0.25 * x.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * x.var((0, 2, 3), ddof=1), rtol=1e-12)
    before = mean.numpy().copy(), var.numpy().copy()
    y = F.batch_norm(Tensor(x), mean, var, eps=0.0)
    np.testing.assert_array_equal(mean.numpy(), before[0])
    wanted = (x - before[0].reshape(3, 1, 1)) / np.sqrt(before[1].reshape(3, 1, 1))
    np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-12)
    F.batch_norm(Tensor(x[:0]), mean, var, training=True)  # an empty batch changes nothing
    np.testing.assert_array_equal(var.numpy(), before[1])


def test_float32_is_accurate_far_from_zero() -> None:
    x = image((8, 2, 16, 16), mean=1e4).astype(np.float32)
    y = F.batch_norm(Tensor(x), None, None, training=True).numpy()
    exact = x.astype(np.float64)
    wanted = (exact - exact.mean((0, 2, 3), keepdims=True)) / np.sqrt(exact.var((0, 2, 3), keepdims=True) + 1e-5)
    # x itself is rounded to 1e-3 there; the result must not lose more.
    assert np.abs(y - wanted).max() < 1e-3
    assert abs(y.mean()) < 1e-3


def test_constant_and_tiny_variance() -> None:
    flat = F.batch_norm(tinyconv.full((3, 2, 2, 2), 7.0), None, None, training=True)
    assert (flat.numpy() == 0).all()
    tiny = image((6, 2, 3, 3), mean=1.0, std=1e-6)
    y = F.batch_norm(Tensor(tiny), None, None, training=True, eps=1e-14).numpy()
    np.testing.assert_allclose(y.std((0, 2, 3)), 1, atol=0.01)
    gradcheck(lambda x: F.batch_norm(x, None, None, training=True, eps=1e-3), [image((4, 2, 2, 2), std=1e-2)])


def test_gradient_in_evaluation() -> None:
    mean, var = Tensor(np.array([0.5, -1.0])), Tensor(np.array([2.0, 0.3]))
    weight, bias = np.array([1.5, -0.5]), np.array([0.1, 0.2])
    gradcheck(lambda x, w, b: F.batch_norm(x, mean, var, w, b), [image((3, 2, 2, 2)), weight, bias])


def test_training_after_evaluation_does_not_spoil_its_backward() -> None:
    mean, var = Tensor(np.zeros(2)), Tensor(np.ones(2))
    x = Tensor(image((3, 2, 2, 2)), requires_grad=True)
    y = F.batch_norm(x, mean, var, eps=0.0).sum()
    F.batch_norm(Tensor(image((3, 2, 2, 2), 5.0)), mean, var, training=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 1.0)


def test_batch_norm_errors() -> None:
    x, ones = tinyconv.ones(2, 3, 2, 2), tinyconv.ones(3)
    with pytest.raises(
        ValueError, match=r"needs more than one value per channel, got shape \(1, 3\); use a larger batch"
    ):
        F.batch_norm(tinyconv.ones(1, 3), None, None, training=True)
    with pytest.raises(ValueError, match="running_mean and running_var are needed unless training=True"):
        F.batch_norm(x, ones, None)
    with pytest.raises(ValueError, match=r"weight must have shape \(3,\) \(one number per channel of x\), got \(2,\)"):
        F.batch_norm(x, ones, ones, weight=tinyconv.ones(2))
    with pytest.raises(TypeError, match="x and running_mean must have one dtype"):
        F.batch_norm(x, tinyconv.ones(3, dtype=tinyconv.float64), ones)
    with pytest.raises(ValueError, match=r"x must be \(N, C, H, W\) or \(N, C, ...\), got shape \(3,\)"):
        F.batch_norm(ones, None, None, training=True)
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        F.batch_norm(tinyconv.arange(4).reshape(2, 2), None, None, training=True)


# ------------------------------------------------------------------------------------- local response normalisation


@pytest.mark.parametrize(
    ("value", "channels", "options", "wanted"),
    [
        (10.0, 7, {"k": 2.0, "alpha_over_size": False},
         [5.8800087, 5.8583778, 5.8369316, 5.8369316, 5.8369316, 5.8583778, 5.8800087]),
        (10.0, 7, {}, [9.9552350, 9.9404169, 9.9256503, 9.9256503, 9.9256503, 9.9404169, 9.9552350]),
        (1.0, 5, {"k": 2.0, "alpha_over_size": False}, [0.5945367, 0.5945144, 0.5944921, 0.5945144, 0.5945367]),
    ],
    ids=["paper", "Caffe", "paper, ones"],
)  # fmt: skip
def test_published_vectors(value: float, channels: int, options: dict, wanted: list[float]) -> None:
    x = tinyconv.full((1, channels, 1, 1), value, dtype=tinyconv.float64)
    np.testing.assert_allclose(F.local_response_norm(x, 5, **options).numpy().ravel(), wanted, atol=5e-8)


def test_the_two_readings_of_alpha() -> None:
    x = Tensor(image((2, 8, 3, 3)))
    ours = F.local_response_norm(x, 5, alpha=0.1, alpha_over_size=False).numpy()
    np.testing.assert_allclose(F.local_response_norm(x, 5, alpha=0.5).numpy(), ours, rtol=1e-14)


def test_even_window_reaches_one_channel_further_down() -> None:
    x = np.zeros((1, 6, 1, 1))
    x[0, 2] = 1.0
    probe = Tensor(x + 1e-9)
    reached = F.local_response_norm(probe, 4, alpha=4.0).numpy().ravel() / (x.ravel() + 1e-9) < 0.9
    assert reached.nonzero()[0].tolist() == [1, 2, 3, 4]  # channel i reads i - 2 .. i + 1


def test_lrn_errors() -> None:
    for size in (0, 2.5, True):
        with pytest.raises(ValueError, match="size must be an int of at least 1"):
            F.local_response_norm(tinyconv.ones(1, 2, 3, 3), size)
    with pytest.raises(ValueError, match=r"x must be \(N, C, H, W\)"):
        F.local_response_norm(tinyconv.ones(2, 3), 5)
    with pytest.raises(TypeError, match="float32 or float64"):
        F.local_response_norm(tinyconv.arange(8).reshape(1, 2, 2, 2), 3)


def test_running_statistics_may_move_between_forward_and_backward() -> None:
    x = Tensor(np.random.default_rng(0).standard_normal((4, 2, 3)))
    mean, var = tinyconv.zeros(2, dtype=np.float64), tinyconv.ones(2, dtype=np.float64)
    weight = tinyconv.ones(2, dtype=np.float64, requires_grad=True)
    y = F.batch_norm(x, mean, var, weight)
    F.batch_norm(x + 7.0, mean, var, training=True)
    (y * y).sum().backward()
    wanted = 2 * (x.numpy() ** 2).sum(axis=(0, 2)) / (1 + 1e-5)  # d (w x / sqrt(1 + eps))^2 / dw at w = 1
    np.testing.assert_allclose(weight.grad.numpy(), wanted)


# ------------------------------------------------------------------------------------------------------- unit length


def test_normalize() -> None:
    x = Tensor(np.array([[3.0, 4.0], [0.0, 0.0]]), requires_grad=True)
    y = F.normalize(x)
    assert y.tolist() == [[0.6, 0.8], [0, 0]]
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    with pytest.raises(ValueError, match="p must be one of 1, 2, got 3"):
        F.normalize(x, p=3)
