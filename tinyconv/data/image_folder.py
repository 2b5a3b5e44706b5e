"""A folder of images with one sub-folder per class. See :class:`ImageFolder`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyconv.data.dataset import ImageDataset, ImageTransform
from tinyconv.data.image import read_image

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


class ImageFolder(ImageDataset):
    """Images in a folder whose sub-folders are the classes: ``folder/cat/1.jpg``, ``folder/dog/a/2.png``.

    Classes are numbered by the sorted names of the sub-folders, images sorted by path, so that the order is the same on
    every machine. Files are read when they are asked for. Hidden files and other file types are passed over.

    Parameters
    ----------
    folder : str or Path
    transform : callable, optional
        (image, rng) -> image; batches need images of one size, so usually at least ``Resize`` and ``CenterCrop``.
    classes : sequence of str, optional
        Fixes names and numbers, such as those of a trained model; then a class may lack a sub-folder, but every
        sub-folder must be a class.
    mode : {"RGB", "L"}
        Three colour channels or one grey channel.

    Attributes
    ----------
    paths : list of Path
        File of image i.
    labels : array, (N,), int64

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    ValueError
        It holds no classes, no images, a class without images, or a class that ``classes`` does not name; when an item
        is read: the file is not a readable image.
    """

    def __init__(
        self,
        folder: str | Path,
        transform: ImageTransform | None = None,
        classes: Sequence[str] | None = None,
        mode: str = "RGB",
    ) -> None:
        self.folder, self.mode = Path(folder), mode
        found = _class_folders(self.folder)
        if classes is not None:
            unknown = [name for name in found if name not in set(classes)]
            if unknown:
                raise ValueError(
                    f"ImageFolder: {self.folder} has the sub-folders {_some(unknown)}, "
                    f"which are not among the {len(classes)} classes {_some(classes)}; move them away or rename them"
                )
        names = found if classes is None else [str(name) for name in classes]
        super().__init__(transform, names)
        self.paths: list[Path] = []
        labels: list[int] = []
        for name in found:
            images = _images(self.folder / name)
            if not images:
                raise ValueError(
                    f"ImageFolder: the class folder {self.folder / name} holds no images ({', '.join(EXTENSIONS)}); "
                    "add some or remove the folder"
                )
            self.paths += images
            labels += [names.index(name)] * len(images)
        self.labels = np.array(labels, np.int64)
        order = np.argsort(self.labels, kind="stable")  # `classes` may be in another order than the names
        self.labels, self.paths = self.labels[order], [self.paths[i] for i in order]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, i: int) -> tuple[np.ndarray, int]:
        """Return image i (C, H, W) before the transform, and its label."""
        return read_image(self.paths[i], self.mode), int(self.labels[i])


def _class_folders(folder: Path) -> list[str]:
    """Return the sorted names of the sub-folders; ValueError if there are none, or if they are splits."""
    if not folder.is_dir():
        raise FileNotFoundError(f"ImageFolder: there is no folder {folder}")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        loose = "; it holds images directly: move them into one sub-folder per class" if _images(folder) else ""
        raise ValueError(f"ImageFolder: {folder} must have one sub-folder per class, got none{loose}")
    if len(names) > 1 and {name.lower() for name in names} <= _SPLITS:
        raise ValueError(
            f"ImageFolder: {folder} has the sub-folders {_some(names)}, which are splits and not classes; "
            f"give one of them, such as {folder / names[0]}"
        )
    return names


def _images(folder: Path) -> list[Path]:
    """Return the image files below the folder, at any depth, sorted by path, without hidden ones."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _some(names: Sequence[str]) -> str:
    """Return up to six names for a message."""
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
