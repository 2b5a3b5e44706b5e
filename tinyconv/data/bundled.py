"""The data sets that come with the package, so that every lesson runs without a network. See :func:`mnist`.

Sources and licences lie beside the files, in ``tinyconv/data/bundled``; ``tools/make_bundled.py`` made them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyconv.data.dataset import ArrayDataset, ImageTransform
from tinyconv.data.idx import check_split
from tinyconv.data.image import read_image

BUNDLED = Path(__file__).parent / "bundled"
DIGIT_CLASSES = [str(digit) for digit in range(10)]
FASHION_CLASSES = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
#: The last writers' images, about a fifth; the file keeps UCI's order, in which neighbours are by the same writers.
_DIGITS_TEST = 360


def digits(split: str = "all", transform: ImageTransform | None = None) -> ArrayDataset:
    """Return the UCI handwritten digits: 1,797 images (1, 8, 8), float32 in [0, 1] in steps of 1/16.

    Parameters
    ----------
    split : {"all", "train", "test"}
        "train" is the first 1,437, "test" the last 360: UCI has no such split; since the images come writer by writer,
        cutting there (and not at random) keeps most test writers out of the training part.
    transform : callable, optional
        (image, rng) -> image.

    References
    ----------
    Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI. CC BY 4.0.
    """
    check_split("digits", split, ("all", "train", "test"))
    images, labels = _arrays("digits.npz", "images", "labels")
    part = {"all": slice(None), "train": slice(0, -_DIGITS_TEST), "test": slice(-_DIGITS_TEST, None)}[split]
    return ArrayDataset(images[part], labels[part], transform, DIGIT_CLASSES, maximum=16)


def mnist(split: str = "train", transform: ImageTransform | None = None) -> ArrayDataset:
    """Return a part of MNIST: 5,000 training or 1,000 test images (1, 28, 28), float32 in [0, 1], balanced, shuffled.

    Both parts are drawn from the official split of their name. :func:`mnist_folder` reads the full set.

    Parameters
    ----------
    split : {"train", "test"}
    transform : callable, optional
        (image, rng) -> image.

    References
    ----------
    LeCun, Bottou, Bengio & Haffner 1998. CC BY-SA 3.0.
    """
    check_split("mnist", split)
    images, labels = _arrays("mnist.npz", f"{split}_images", f"{split}_labels")
    return ArrayDataset(images, labels, transform, DIGIT_CLASSES)


def fashion_mnist(split: str = "train", transform: ImageTransform | None = None) -> ArrayDataset:
    """Return a part of Fashion-MNIST: 10,000 training or 2,000 test images (1, 28, 28), float32 in [0, 1], as MNIST.

    Parameters
    ----------
    split : {"train", "test"}
    transform : callable, optional
        (image, rng) -> image.

    References
    ----------
    Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747. MIT.
    """
    check_split("fashion_mnist", split)
    images, labels = _arrays("fashion_mnist.npz", f"{split}_images", f"{split}_labels")
    return ArrayDataset(images, labels, transform, FASHION_CLASSES)


def photographs(transform: ImageTransform | None = None) -> ArrayDataset:
    """Return two colour photographs (3, 427, 640), float32 in [0, 1]: a Chinese palace and a flower.

    Parameters
    ----------
    transform : callable, optional
        (image, rng) -> image.

    References
    ----------
    Flickr users danielbuechele and vultilion, by way of scikit-learn. CC BY 2.0.
    """
    images = np.stack([read_image(_file(f"{name}.jpg")) for name in ("china", "flower")])
    return ArrayDataset(images, [0, 1], transform, ["china", "flower"])


def _arrays(file: str, *members: str) -> list[np.ndarray]:
    """Read the named arrays of a bundled npz; the others stay compressed."""
    with np.load(_file(file), allow_pickle=False) as archive:
        return [archive[member] for member in members]


def _file(name: str) -> Path:
    path = BUNDLED / name
    if not path.is_file():
        raise FileNotFoundError(f"tinyconv.data: the bundled file {path} is missing; install tinyconv again")
    return path
