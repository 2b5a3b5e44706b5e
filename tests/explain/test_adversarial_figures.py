"""Figures of attacks: pixels, titles, factors and curves."""

import io

import numpy as np
import pytest

from tinyconv.explain import adversarial_figures as figures


def drawn(figure):
    """Return the pictures that a figure shows; drawing it must not fail."""
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    return [np.asarray(image.get_array()) for axis in figure.axes for image in axis.images]


@pytest.fixture
def attack(rng):
    """Return two colour images, what they became, and probabilities before and after."""
    x = rng.uniform(0.2, 0.8, (2, 3, 5, 4))
    y = x + 0.1 * rng.choice([-1, 1], x.shape)
    y[1] = x[1] + 0.5 * (y[1] - x[1])
    return x, y, np.array([[0.7, 0.3], [0.2, 0.8]]), np.array([[0.1, 0.9], [0.45, 0.55]])


def test_a_row_has_image_change_and_sum_on_one_scale(attack):
    x, y, before, after = attack
    figure = figures.attack_rows(x, y, before, after, labels=[0, 1], classes=["cat", "dog"], note="eps 0.1")
    shown = drawn(figure)
    assert len(shown) == 6 and figure.get_suptitle() == "eps 0.1"
    for i in range(2):
        np.testing.assert_allclose(shown[3 * i], x[i].transpose(1, 2, 0))  # not stretched: 0 is black, 1 white
        np.testing.assert_allclose(shown[3 * i + 1], (0.5 + 5 * (y[i] - x[i])).clip(0, 1).transpose(1, 2, 0))
        np.testing.assert_allclose(shown[3 * i + 2], y[i].transpose(1, 2, 0))
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:3] == ["cat 70.0%", "change x 5", "dog 90.0%\n(true: cat)"]
    assert titles[3:] == ["dog 80.0%", "change x 5", "dog 55.0%"]


def test_without_names_and_with_a_factor_of_ones_own(attack):
    x, y, before, after = attack
    figure = figures.attack_rows(x[:, :1], y[:, :1], before, after, factor=2)
    assert [axis.get_title() for axis in figure.axes[:3]] == ["class 0 70.0%", "change x 2", "class 1 90.0%"]
    np.testing.assert_allclose(drawn(figure)[1][:, :, 0], 0.5 + 2 * (y[0, 0] - x[0, 0]))
    same = figures.attack_rows(x, x, before, after)
    assert same.axes[1].get_title() == "change x 1" and (drawn(same)[1] == 0.5).all()
    assert figures.contrast_factor(np.array([-0.007, 0.001])) == 71


def test_curves_and_their_control(rng):
    sizes, errors = [0.0, 0.1, 0.2], {"softmax": [0.1, 0.6, 0.9], "maxout": [0.0, 0.3, 0.5]}
    figure = figures.error_curves(sizes, errors, {"maxout": [0.0, 0.01, 0.03]})
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    lines = figure.axes[0].lines
    assert [line.get_label() for line in lines] == ["softmax", "maxout", "maxout, random signs"]
    np.testing.assert_array_equal([line.get_ydata() for line in lines], [*errors.values(), [0.0, 0.01, 0.03]])
    assert lines[2].get_linestyle() == "--" and lines[2].get_color() == lines[1].get_color() != lines[0].get_color()
    assert figure.axes[0].get_xlabel() == "eps"
    with pytest.raises(ValueError, match="softmax must have an error for each of the 2 sizes, got 3"):
        figures.error_curves(sizes[:2], errors)
    with pytest.raises(ValueError, match="random must be of softmax, maxout, got 'mlp'"):
        figures.error_curves(sizes, errors, {"mlp": [0, 0, 0]})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": np.zeros((2, 4))}, r"images and changed must both be \(N, C, H, W\), got shapes \(2, 4\) and"),
        ({"images": np.zeros((0, 3, 5, 4)), "changed": np.zeros((0, 3, 5, 4))}, "images and changed must both be"),
        ({"after": np.zeros((3, 2))}, r"after must be probabilities \(N, K\) of the 2 images, got shape \(3, 2\)"),
        ({"factor": 0.0}, "factor must be positive, got 0.0"),
    ],
)
def test_bad_input(change, message, attack):
    named = dict(zip(("images", "changed", "before", "after"), attack, strict=True)) | change
    with pytest.raises(ValueError, match=f"attack_rows: {message}"):
        figures.attack_rows(**named)
