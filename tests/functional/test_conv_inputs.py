"""Convolution refuses what does not fit, and says who, what was wanted, what came."""

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor
from tinyconv.nn import functional as F


def image(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


X, WEIGHT = image(2, 4, 7, 6), image(6, 4, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((image(7, 6), WEIGHT), {}, r"conv2d: x must be \(N, C, H, W\) or \(C, H, W\), got shape \(7, 6\)"),
        ((X, image(6, 4, 3)), {}, r"conv2d: weight must be \(K, C // groups, KH, KW\), got shape \(6, 4, 3\)"),
        ((X, image(6, 3, 3, 3)), {}, r"conv2d: weight must be .* = 4 // 1 = 4, got shape \(6, 3, 3, 3\)"),
        ((X, WEIGHT), {"groups": 2}, r"conv2d: weight must be .* = 4 // 2 = 2, got shape \(6, 4, 3, 3\)"),
        ((X, WEIGHT), {"groups": 3}, "conv2d: groups must divide the 4 channels of x, got 3"),
        ((X, WEIGHT), {"groups": 0}, "conv2d: groups must divide the 4 channels of x, got 0"),
        ((X, image(5, 2, 3, 3)), {"groups": 2}, "conv2d: groups must divide the 5 filters, got 2"),
        ((X, image(0, 4, 3, 3)), {}, "conv2d: weight must have at least one filter"),
        ((X, WEIGHT, image(5)), {}, r"conv2d: bias must have shape \(6,\) \(one number per filter\), got \(5,\)"),
        ((X, image(6, 4, 8, 3)), {}, r"conv2d: the window's height 8 is larger than the padded image's height 7"),
        ((X, WEIGHT), {"dilation": 3}, "conv2d: the window's width 7 is larger"),
        ((X, WEIGHT), {"stride": 0}, "conv2d: stride must be at least 1, got 0"),
        ((X, WEIGHT), {"padding": -1}, "conv2d: padding must be at least 0, got -1"),
        ((X, WEIGHT), {"padding": "full"}, "conv2d: padding must be one of 'same', 'valid', got 'full'"),
        ((X, WEIGHT), {"padding": "same", "stride": 2}, 'conv2d: padding="same" needs stride 1'),
    ],
)
def test_conv2d_refuses(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        F.conv2d(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((image(7, 6), WEIGHT), {}, r"conv_transpose2d: x must be \(N, C, H, W\) or \(C, H, W\), got shape \(7, 6\)"),
        ((X, WEIGHT), {}, r"conv_transpose2d: weight must be .* with C = 4 as x has, got shape \(6, 4, 3, 3\)"),
        ((X, image(4, 3, 3, 3), image(3)), {"groups": 2}, r"conv_transpose2d: bias must have shape \(6,\)"),
        ((X, image(4, 3, 3, 3)), {"output_padding": 1}, "conv_transpose2d: output_padding must be less than stride"),
        ((X, image(4, 3, 1, 1)), {"padding": 4}, "conv_transpose2d: wanted an output of at least one pixel"),
    ],
)
def test_conv_transpose2d_refuses(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        F.conv_transpose2d(*arguments, **options)


@pytest.mark.parametrize("op", [F.conv2d, F.conv_transpose2d])
def test_kinds_do_not_mix(op):
    weight = image(4, 4, 3, 3)
    with pytest.raises(TypeError, match="x and weight must have one dtype, got float64 and float32"):
        op(X, weight.float())
    with pytest.raises(TypeError, match="x must be float32 or float64, got int64"):
        op(X.long(), weight.long())
    with pytest.raises(TypeError, match="stride must be an int or a pair"):
        op(X, weight, stride=1.5)
    with pytest.raises(TypeError, match="groups must be an int, got True"):
        op(X, weight, groups=True)
    with pytest.raises(RuntimeError, match='one device, got "cpu" and "meta"'):
        op(X, weight.to("meta"))


def test_fold_refuses():
    with pytest.raises(
        ValueError, match=r"fold: x must be \(N, C \* 4, 9\) .* at 3 x 3 positions, got shape \(2, 8, 8\)"
    ):
        F.fold(image(2, 8, 8), 4, 2)
    with pytest.raises(ValueError, match=r"fold: x must be \(N, C \* 4, 9\)"):
        F.fold(image(2, 6, 9), 4, 2)
    with pytest.raises(ValueError, match="fold: x must be"):
        F.fold(image(9), 4, 2)
    with pytest.raises(ValueError, match="unfold: the window's height 9"):
        F.unfold(X, 9)


def test_convolution_is_unfold_then_matmul():
    """What "im2col" means: the same numbers from a matrix product with the columns."""
    rng = np.random.default_rng(0)
    x, weight = Tensor(rng.standard_normal((2, 3, 6, 5))), Tensor(rng.standard_normal((4, 3, 3, 2)))
    y = F.conv2d(x, weight, stride=(2, 1), padding=1)
    product = weight.numpy().reshape(4, -1) @ F.unfold(x, (3, 2), stride=(2, 1), padding=1).numpy()
    np.testing.assert_allclose(product.reshape(y.shape), y.numpy(), rtol=1e-12, atol=1e-12)


def test_fold_of_unfold_counts_how_often_a_pixel_is_covered():
    counts = F.fold(F.unfold(Tensor(np.ones((1, 1, 4, 4))), 3), 4, 3).numpy()[0, 0]
    rows = np.array([1, 2, 2, 1])
    np.testing.assert_array_equal(counts, np.outer(rows, rows))


def test_only_the_gradients_asked_for():
    x, weight = Tensor(X.data, requires_grad=True), Tensor(WEIGHT.data)
    F.conv2d(x, weight).sum().backward()
    assert x.grad is not None and weight.grad is None


def test_a_weight_changed_after_forward_is_noticed():
    x, weight = Tensor(X.data.copy(), requires_grad=True), Tensor(WEIGHT.data.copy(), requires_grad=True)
    y = F.conv2d(x, weight).sum()
    with tinyconv.no_grad():
        weight += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
