"""Images as arrays: (C, H, W) float32 in [0, 1]; reading a file, changing the size. See :func:`read_image`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

MODES = {"RGB": 3, "L": 1}
METHODS = ("nearest", "bilinear", "bicubic")
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and the turns by a quarter


def to_float(image: np.ndarray, maximum: float = 255.0) -> np.ndarray:
    """Return a float32 copy: float images keep their values, integer images are divided by ``maximum``.

    Parameters
    ----------
    image : array, any shape
    maximum : float
        The integer that stands for 1.0; 255 for the usual 8-bit pixels.
    """
    if image.dtype.kind in "ui":
        return np.divide(image, np.float32(maximum), dtype=np.float32)
    return np.array(image, np.float32)


def read_image(path: str | Path, mode: str = "RGB") -> np.ndarray:
    """Read one image file.

    Parameters
    ----------
    path : str or Path
        Any format that Pillow reads. A photograph that its camera marks as turned is turned upright.
    mode : {"RGB", "L"}
        Three colour channels, or one grey channel. Transparency is dropped.

    Returns
    -------
    array, (C, H, W), float32 in [0, 1]

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is not an image, or is damaged.
    """
    from PIL import Image, ImageOps

    path = Path(path)
    if mode not in MODES:
        raise ValueError(f"read_image: mode must be one of {', '.join(MODES)}, got {mode!r}")
    if not path.is_file():
        raise FileNotFoundError(f"read_image: there is no file {path}")
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            if upright.mode == "F" or upright.mode.startswith("I"):
                return _deep_image(np.asarray(upright), MODES[mode])
            if "transparency" in upright.info:  # Pillow wants a palette's transparency expanded before it is dropped
                upright = upright.convert("RGBA")
            pixels = np.asarray(upright.convert(mode))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"read_image: cannot read the image {path} ({error}); replace the file or remove it"
        ) from error
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return to_float(np.ascontiguousarray(planes))


def image_size(path: str | Path) -> tuple[int, int]:
    """Return the (height, width) of the image that :func:`read_image` gives, from the head of the file; same errors."""
    from PIL import Image

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image_size: there is no file {path}")
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            sideways = picture.getexif().get(_ORIENTATION, 1) in _SIDEWAYS
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"image_size: cannot read the image {path} ({error}); replace the file or remove it"
        ) from error
    return (width, height) if sideways else (height, width)


def _deep_image(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Return a grey image of 16 bits as (channels, H, W); Pillow's own way to 8 bits would cut it off at 255."""
    if pixels.dtype.kind not in "ui" or not 0 <= pixels.min() <= pixels.max() <= 65535:
        raise ValueError("its pixels are neither of 8 nor of 16 bits")
    return np.repeat(to_float(pixels, 65535)[None], channels, axis=0)


def resize_image(image: np.ndarray, size: tuple[int, int], method: str = "bilinear") -> np.ndarray:
    """Return the image at another size, channel by channel, with Pillow's filters on float32 values.

    Shrinking averages over the area that an output pixel covers ("antialias" in PyTorch's ``interpolate``), so no
    detail turns into a false pattern.

    Parameters
    ----------
    image : array, (C, H, W), float32
    size : (int, int)
        New (height, width) in pixels.
    method : {"nearest", "bilinear", "bicubic"}
    """
    from PIL import Image

    if image.shape[1:] == tuple(size):
        return image
    height, width = size
    resampling = Image.Resampling[method.upper()]
    result = np.empty((image.shape[0], height, width), np.float32)
    for channel, plane in enumerate(image):
        picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
        result[channel] = np.asarray(picture.resize((width, height), resampling))
    return result
