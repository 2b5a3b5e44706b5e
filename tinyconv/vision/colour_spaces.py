"""Colour spaces in which selective search looks at an image. See :func:`colour_space`."""

from __future__ import annotations

import numpy as np

COLOUR_SPACES = ("rgb", "hsv", "lab", "rgi", "hue", "intensity")

# sRGB with the white of D65 (IEC 61966-2-1), each row divided by what white gives: white is (1, 1, 1).
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_TO_XYZ /= _TO_XYZ.sum(1, keepdims=True)


def image_planes(who: str, image: np.ndarray) -> np.ndarray:
    """Return the image as (C, H, W) float64, C = 1 or 3; ValueError unless it is one, with values in [0, 1]."""
    image = np.asarray(image)
    planes = image[None] if image.ndim == 2 else image
    if planes.ndim != 3 or planes.shape[0] not in (1, 3) or not planes.size:
        raise ValueError(f"{who}: image must be (3, H, W), (1, H, W) or (H, W), got shape {image.shape}")
    if planes.dtype.kind != "f" or not (planes.min() >= 0 and planes.max() <= 1):
        raise ValueError(
            f"{who}: image must be floats in [0, 1], got {planes.dtype} from {planes.min()} to {planes.max()}; "
            "divide bytes by 255"
        )
    return planes.astype(np.float64)


def colour_space(image: np.ndarray, name: str) -> np.ndarray:
    """Return an image in another colour space, every channel scaled to 0..255.

    "rgb"; "hsv": hue (once around is 0..255), saturation, value; "lab": CIE L*a*b* of sRGB, L from 0..100, a and b
    shifted by 128; "rgi": r / (r + g + b), g / (r + g + b) and intensity; "hue"; "intensity": the mean of r, g and b.
    Hue of a grey pixel is 0, its parts of r + g + b are 1/3 (of black, too).

    Parameters
    ----------
    image : array, (3, H, W), (1, H, W) or (H, W), in [0, 1]
        An image of one channel is its intensity in every space.
    name : {"rgb", "hsv", "lab", "rgi", "hue", "intensity"}

    Returns
    -------
    array, (C, H, W), float64
    """
    if name not in COLOUR_SPACES:
        raise ValueError(f"colour_space: name must be one of {', '.join(COLOUR_SPACES)}, got {name!r}")
    rgb = image_planes("colour_space", image)
    if len(rgb) == 1 or name == "rgb":
        return rgb * 255
    if name == "lab":
        return _lab(rgb)
    if name == "intensity":
        return rgb.mean(0, keepdims=True) * 255
    if name == "rgi":
        total = rgb.sum(0)
        shares = np.divide(rgb[:2], total, out=np.full((2, *total.shape), 1 / 3), where=total > 0)
        return np.concatenate([shares, total[None] / 3]) * 255
    value, least = rgb.max(0), rgb.min(0)
    hue = _hue(rgb, value, value - least)
    if name == "hue":
        return hue[None] * 255
    saturation = np.divide(value - least, value, out=np.zeros_like(value), where=value > 0)
    return np.stack([hue, saturation, value]) * 255


def _hue(rgb: np.ndarray, value: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Return the angle in turns: 0 red, 1/3 green, 2/3 blue."""
    r, g, b = np.divide(rgb, chroma, out=np.zeros_like(rgb), where=chroma > 0)
    sixths = np.where(value == rgb[0], (g - b) % 6, np.where(value == rgb[1], b - r + 2, r - g + 4))
    return np.where(chroma > 0, sixths / 6, 0)


def _lab(rgb: np.ndarray) -> np.ndarray:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.einsum("ij,jhw->ihw", _TO_XYZ, linear)
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([(116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128])
