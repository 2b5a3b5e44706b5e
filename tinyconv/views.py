"""Testing a classifier on several views of an image and averaging: dense, many crops, several scales.

Every function returns probabilities (N, K): softmax outputs averaged over the views (Simonyan & Zisserman 2014,
sec. 3.2). See :func:`dense`, :func:`multi_crop`, :func:`multi_scale`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import device, nn
from tinyconv.data.image import resize_image
from tinyconv.data.transforms import TenCrop
from tinyconv.evaluation import as_tensor, home
from tinyconv.function import no_grad
from tinyconv.functional.activation import softmax
from tinyconv.models.dense import FullyConvolutional, fully_convolutional
from tinyconv.nn.modes import kept_modes
from tinyconv.tensor import Tensor
from tinyconv.threads import limited_threads

Predict = Callable[[np.ndarray], np.ndarray]


def outputs(model: nn.Module, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Return the model's outputs for images (N, C, H, W), in evaluation mode, without recording gradients.

    The images are converted to the parameters' dtype.

    Parameters
    ----------
    batch_size : int
        Images that are computed at once; it changes memory and time, not the result.
    """
    images = check_images("views.outputs", images)
    if batch_size < 1:
        raise ValueError(f"views.outputs: batch_size must be at least 1, got {batch_size}")
    where, found = home(model), []
    dtype = next((p.dtype for p in model.parameters()), images.dtype)
    if where == "meta":
        raise ValueError("views.outputs: a model on the device meta computes nothing; build it on cpu or cuda")
    with kept_modes(model), no_grad(), limited_threads(model):
        model.eval()
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size].astype(dtype, copy=False)
            found.append(device.host(model(as_tensor(part, where)).data))
    return np.concatenate(found)


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Return the softmax over the classes of scores (N, K)."""
    return softmax(Tensor(scores), 1).numpy()


def predict(model: nn.Module, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Return the class probabilities (N, K) of images of the model's own size: one view."""
    return probabilities(outputs(model, images, batch_size))


# ------------------------------------------------------------------------------------------------- the whole image


def dense(model: nn.Module, images: np.ndarray, *, mirror: bool = True, batch_size: int = 64) -> np.ndarray:
    """Return probabilities from the network applied to whole images of any size: dense evaluation.

    The network's fully connected layers become convolutions; the map of class scores is averaged over space, then
    comes the softmax, then the average with the mirrored image's.

    Parameters
    ----------
    model : Module
        A classifier that :func:`tinyconv.models.fully_convolutional` takes, or what that returned.
    images : array, (N, C, H, W), float32
        At least as large as the images the network was trained on, and prepared (centred) like them.
    mirror : bool
        Also look at the mirror image.

    Returns
    -------
    array, (N, K)
    """
    network = model if isinstance(model, FullyConvolutional) else fully_convolutional(model)
    images = check_images("views.dense", images)
    views = [images, images[..., ::-1]] if mirror else [images]
    return _mean(probabilities(outputs(network, view, batch_size).mean((2, 3))) for view in views)


# ---------------------------------------------------------------------------------------------------------- crops


def grid_crops(images: np.ndarray, size: int, grid: int = 5, mirror: bool = True) -> np.ndarray:
    """Cut windows at the places of a regular grid out of every image.

    Parameters
    ----------
    images : array, (N, C, H, W)
    size : int
        Side of the square windows, in pixels.
    grid : int
        Windows per row and per column; the first and last touch the borders, one alone is in the middle.
    mirror : bool
        Add the mirror image of every window, after all that are not mirrored.

    Returns
    -------
    array, (N, views, C, size, size)
        5 x 5 places and 2 flips are the paper's 50 views.

    Examples
    --------
    >>> grid_crops(np.zeros((2, 3, 256, 300), np.float32), 224).shape
    (2, 50, 3, 224, 224)
    """
    images = check_images("views.grid_crops", images)
    height, width = images.shape[2:]
    if not 1 <= size <= min(height, width) or grid < 1:
        raise ValueError(
            f"views.grid_crops: wanted 1 <= size <= {min(height, width)}, the images' shorter side, and grid >= 1, "
            f"got size={size}, grid={grid}"
        )
    rows, columns = (_places(length - size, grid) for length in (height, width))
    windows = [images[:, :, top : top + size, left : left + size] for top in rows for left in columns]
    windows += [window[..., ::-1] for window in windows] if mirror else []
    return np.stack(windows, axis=1)


def _places(room: int, grid: int) -> list[int]:
    return [room // 2] if grid == 1 else [(2 * i * room + grid - 1) // (2 * (grid - 1)) for i in range(grid)]


def multi_crop(
    model: nn.Module, images: np.ndarray, size: int, *, grid: int = 5, mirror: bool = True, batch_size: int = 64
) -> np.ndarray:
    """Return probabilities averaged over the windows of :func:`grid_crops`, each looked at for itself.

    A crop's convolutions see zeros beyond its border, where dense evaluation sees the neighbouring pixels: so the two
    complement each other, and their mean is better than either (sec. 4.3).

    Parameters
    ----------
    batch_size : int
        Windows (not images) that are computed at once.

    Returns
    -------
    array, (N, K)
    """
    views = 2 * grid * grid if mirror else grid * grid
    step = max(1, batch_size // max(views, 1))  # images cut at once: all windows of a large set do not fit in memory
    found = []
    for start in range(0, len(check_images("views.multi_crop", images)), step):
        crops = grid_crops(images[start : start + step], size, grid, mirror)
        flat = predict(model, crops.reshape(-1, *crops.shape[2:]), batch_size)
        found.append(flat.reshape(*crops.shape[:2], -1).mean(1))
    return np.concatenate(found)


def ten_crop(model: nn.Module, images: np.ndarray, size: int, *, batch_size: int = 64) -> np.ndarray:
    """Return probabilities averaged over AlexNet's ten views: corners, middle, and mirrored (Krizhevsky 2012)."""
    cut, found = TenCrop(size), []
    for image in check_images("views.ten_crop", images):
        found.append(predict(model, np.ascontiguousarray(cut(image)), batch_size).mean(0))
    return np.stack(found)


class Crop(NamedTuple):
    """One of GoogLeNet's 144 views: which of the scales, squares and crops it is, and whether it is mirrored."""

    side: int
    square: int  # 0, 1, 2: left, middle, right (or top, middle, bottom)
    crop: int  # 0 to 3: corners; 4: the middle; 5: the whole square, resized
    mirror: bool


def googlenet_crops(
    image: np.ndarray, size: int = 224, sides: Sequence[int] = (256, 288, 320, 352)
) -> Iterator[tuple[Crop, np.ndarray]]:
    """Yield GoogLeNet's views of an image (Szegedy et al. 2014, sec. 7): 4 scales x 3 squares x 6 crops x 2.

    The image is resized so that its shorter side is each of ``sides``; of that come the three squares along the longer
    side; of each square four corners and the middle, and the square itself made smaller; and all of them mirrored. The
    squares of an image that is nearly square are the same.

    Parameters
    ----------
    image : array, (C, H, W)
    size : int
        Side of the views, in pixels.

    Yields
    ------
    (Crop, array (C, size, size))
    """
    if np.ndim(image) != 3:
        raise ValueError(f"views.googlenet_crops: image must be (C, H, W), got shape {np.shape(image)}")
    if not 1 <= size <= min(sides, default=0):
        raise ValueError(f"views.googlenet_crops: size must be at most the smallest side {min(sides)}, got {size}")
    for side in sides:
        (whole,) = rescale(np.asarray(image)[None], side)
        room_y, room_x = whole.shape[1] - side, whole.shape[2] - side
        for i in range(3):
            top, left = room_y * i // 2, room_x * i // 2
            square = whole[:, top : top + side, left : left + side]
            last, half = side - size, (side - size) // 2
            places = [(0, 0), (0, last), (last, 0), (last, last), (half, half)]
            crops = [square[:, y : y + size, x : x + size] for y, x in places] + [resize_image(square, (size, size))]
            for number, crop in enumerate(crops):
                for mirror in (False, True):
                    yield Crop(side, i, number, mirror), crop[..., ::-1] if mirror else crop


def googlenet_views(model: nn.Module, images: Sequence[np.ndarray], size: int = 224, **options: Any) -> np.ndarray:
    """Return probabilities (N, K) averaged over :func:`googlenet_crops` of each image, which may differ in size."""
    found = []
    for image in images:
        crops = np.stack([crop for _, crop in googlenet_crops(image, size, **options)])
        found.append(predict(model, crops).mean(axis=0))
    return np.stack(found)


# --------------------------------------------------------------------------------------------------- several scales


def rescale(images: np.ndarray, side: int) -> np.ndarray:
    """Return images (N, C, H, W) whose shorter side has ``side`` pixels; the other keeps its proportion."""
    images = check_images("views.rescale", images)
    height, width = images.shape[2:]
    size = (side, side * width // height) if height <= width else (side * height // width, side)
    return np.stack([resize_image(image, size) for image in images])


def scales_of(trained: int | tuple[int, int], step: int = 32) -> tuple[int, int, int]:
    """Return the sides Q that a network is tested at (sec. 4.2).

    Parameters
    ----------
    trained : int or (int, int)
        The side S of its training: fixed, or the ends of the range it was drawn from.
    step : int
        Pixels between the scales for a fixed S.

    Examples
    --------
    >>> scales_of(256), scales_of((256, 512))
    ((224, 256, 288), (256, 384, 512))
    """
    if isinstance(trained, (int, np.integer)):
        return (int(trained) - step, int(trained), int(trained) + step)
    low, high = trained
    return (low, (low + high) // 2, high)


def multi_scale(images: np.ndarray, sides: Sequence[int], predict: Predict) -> np.ndarray:
    """Return the mean of ``predict(images rescaled to a side)`` over the sides.

    Parameters
    ----------
    images : array, (N, C, H, W), float32
    sides : sequence of int
        Lengths of the shorter side, in pixels.
    predict : callable
        images -> probabilities (N, K), such as ``lambda images: dense(model, images)``. With :func:`multi_crop` and
        three sides these are the paper's 150 views.

    Returns
    -------
    array, (N, K)
    """
    if not len(sides):
        raise ValueError("views.multi_scale: wanted at least one side, got none")
    return _mean(predict(rescale(images, side)) for side in sides)


def top_k_error(probabilities: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """Return the share of images whose label is not among the k largest; of equal ones the first classes count.

    Examples
    --------
    >>> top_k_error(np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]), np.array([1, 2]), k=1)
    0.5
    """
    values, labels = np.asarray(probabilities), np.asarray(labels)
    if values.ndim != 2 or labels.shape != values.shape[:1] or not 1 <= k <= values.shape[1]:
        raise ValueError(
            f"views.top_k_error: wanted probabilities (N, K), N labels and 1 <= k <= K, got {values.shape}, "
            f"{labels.shape} and k={k}"
        )
    best = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return float(1 - (best == labels[:, None]).any(1).mean())


def check_images(who: str, images: np.ndarray) -> np.ndarray:
    """Return the images as an array (N, C, H, W) of at least one; ValueError otherwise."""
    images = images.numpy() if isinstance(images, Tensor) else np.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"{who}: images must be an array (N, C, H, W) with N >= 1, got shape {images.shape}")
    return images


def _mean(parts: Iterable[np.ndarray]) -> np.ndarray:
    found = list(parts)
    return np.mean(found, axis=0, dtype=found[0].dtype)
