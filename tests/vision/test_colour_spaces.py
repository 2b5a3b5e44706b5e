"""Colour spaces: against the standard library, known colours, grey images."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from tinyconv.vision.colour_spaces import COLOUR_SPACES, colour_space

COLOURS = {"white": (1, 1, 1), "black": (0, 0, 0), "red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


def pixel(*rgb: float) -> np.ndarray:
    """Return an image of one pixel."""
    return np.array(rgb, float).reshape(3, 1, 1)


def test_hue_saturation_value(rng: np.random.Generator) -> None:
    image = np.concatenate([rng.random((3, 6, 7)), rng.integers(0, 3, (3, 6, 7)) / 2], axis=1)
    found = colour_space(image, "hsv")
    wanted = [[colorsys.rgb_to_hsv(*image[:, h, w]) for w in range(7)] for h in range(12)]
    np.testing.assert_allclose(found, np.moveaxis(wanted, -1, 0) * 255, atol=1e-9)
    np.testing.assert_array_equal(colour_space(image, "hue")[0], found[0])


@pytest.mark.parametrize(
    ("name", "wanted"),
    # The CIE's values of sRGB's primaries, as printed in every table, to the hundredth.
    [("white", (100, 0, 0)), ("black", (0, 0, 0)), ("red", (53.24, 80.09, 67.20)),
     ("green", (87.73, -86.18, 83.18)), ("blue", (32.30, 79.19, -107.86))],
)  # fmt: skip
def test_lab_of_known_colours(name: str, wanted: tuple[float, ...]) -> None:
    lightness, a, b = colour_space(pixel(*COLOURS[name]), "lab").reshape(3)
    np.testing.assert_allclose((lightness / 2.55, a - 128, b - 128), wanted, atol=0.02)


@pytest.mark.parametrize("colour", [(0.02, 0.02, 0.02), (0.035, 0.004, 0.03), (0.039, 0.045, 0.01), (0.2, 0.5, 0.04)])
def test_lab_of_dark_colours(colour: tuple[float, float, float]) -> None:
    """From where the standard puts the primaries and white in the plane of x and y; no table of sRGB to XYZ."""
    corners = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06], [0.3127, 0.3290]])
    directions = np.column_stack([corners, 1 - corners.sum(1)])
    white = directions[3] / directions[3, 1]
    shares = np.linalg.solve(directions[:3].T, white)
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    xyz = (linear * shares) @ directions[:3] / white
    x, y, z = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in xyz)
    wanted = 116 * y - 16, 500 * (x - y), 200 * (y - z)
    lightness, a, b = colour_space(pixel(*colour), "lab").reshape(3)
    np.testing.assert_allclose((lightness / 2.55, a - 128, b - 128), wanted, atol=0.005)
    if colour == (0.02, 0.02, 0.02):
        assert wanted[0] == pytest.approx(24389 / 27 * 0.02 / 12.92)


def test_shares_and_intensity() -> None:
    np.testing.assert_allclose(colour_space(pixel(0.2, 0.3, 0.5), "rgi").reshape(3), [51, 76.5, 85])
    np.testing.assert_allclose(colour_space(pixel(0, 0, 0), "rgi").reshape(3), [85, 85, 0])
    np.testing.assert_allclose(colour_space(pixel(0.2, 0.3, 0.4), "intensity"), [[[76.5]]])
    np.testing.assert_allclose(colour_space(pixel(0.2, 0.3, 0.4), "rgb").reshape(3), [51, 76.5, 102])


@pytest.mark.parametrize("name", COLOUR_SPACES)
def test_range_and_grey(name: str, rng: np.random.Generator) -> None:
    image = rng.random((3, 16, 16))
    image[:, :8] = np.rint(image[:, :8])
    found = colour_space(image, name)
    assert found.min() >= 0 and found.max() <= 255 + 1e-9 and found.dtype == np.float64
    grey = rng.random((5, 4)).astype(np.float32)
    for one in (grey, grey[None]):
        np.testing.assert_allclose(colour_space(one, name), grey[None].astype(float) * 255)
    if name in ("hue", "hsv"):
        assert not colour_space(np.stack([grey] * 3), name)[0].any()


def test_errors() -> None:
    with pytest.raises(ValueError, match="name must be one of rgb, hsv, lab, rgi, hue, intensity, got 'hsl'"):
        colour_space(np.zeros((3, 2, 2)), "hsl")
    with pytest.raises(ValueError, match=r"colour_space: image must be .* got shape \(4, 2, 2\)"):
        colour_space(np.zeros((4, 2, 2)), "hsv")
