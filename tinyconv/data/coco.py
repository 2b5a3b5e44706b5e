"""Detection data in the format of COCO: one JSON file for all images. See :class:`CocoDetection`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.data.annotated import AnnotatedImages, check_size, fitted
from tinyconv.data.records import get, place_of, read_lists, records_by_id
from tinyconv.vision.detections import Truth, truth

_PARTS = ("images", "annotations", "categories")


class CocoDetection(AnnotatedImages):
    """Images with objects as COCO stores them (Lin et al. 2014), or another set in its format.

    Boxes x y width height become x1 = x, y1 = y, x2 = x + width, y2 = y + height. A box may reach over the border by a
    pixel, and is cut there. One of no width or height is left out: COCO's own files have two. A crowd (``iscrowd``),
    one box around many objects, is marked as difficult.

    Parameters
    ----------
    images : str or Path
        The folder of the images.
    annotations : str or Path
        The JSON file: an object with ``images`` (id, file_name), ``annotations`` (image_id, category_id, bbox) and
        ``categories`` (id, name).

    Attributes
    ----------
    classes : list of str
        Names of the categories, in the order of their ids, which may have gaps.
    ids : list
        Of image i, in the order of the file.

    Raises
    ------
    FileNotFoundError
        The folder or the file is missing.
    ValueError
        The file is no JSON, lacks a part, or names an image or a category that it does not list. Errors of one image
        are raised when it is read; ``check()`` looks for them in all.

    Examples
    --------
    >>> data = CocoDetection("val2017", "annotations/instances_val2017.json")  # doctest: +SKIP
    >>> image, found = data.read(0)  # doctest: +SKIP
    """

    def __init__(self, images: str | Path, annotations: str | Path) -> None:
        self.folder, self.file = Path(images), Path(annotations)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"CocoDetection: there is no folder {self.folder}")
        who = f"CocoDetection: {self.file}"
        parts = read_lists("CocoDetection", self.file, _PARTS, "give a file of instances")
        categories = records_by_id(who, "category", parts["categories"])
        order = sorted(categories)
        self.classes = [str(get(f"{who}: category {k}", categories[k], "name")) for k in order]
        labels = {k: label for label, k in enumerate(order)}
        listed = records_by_id(who, "image", parts["images"])
        self.ids = list(listed)
        self._images = [_image(f"{who}: image {k}", listed[k]) for k in self.ids]
        place = {k: i for i, k in enumerate(self.ids)}
        self._objects: list[list[tuple[int, bool, list[float], Any]]] = [[] for _ in self.ids]
        for number, item in enumerate(parts["annotations"]):
            name = item.get("id", f"at place {number}") if isinstance(item, dict) else f"at place {number}"
            at = f"{who}: annotation {name}"
            i = place_of(at, "image", get(at, item, "image_id"), place)
            label = place_of(at, "category", get(at, item, "category_id"), labels)
            box = _box(at, get(at, item, "bbox"))
            self._objects[i].append((label, bool(item.get("iscrowd", 0)), box, name))

    def __len__(self) -> int:
        return len(self.ids)

    def path(self, i: int) -> Path:
        """Return the file of image i."""
        path = self.folder / self._images[i][0]
        if not path.is_file():
            raise FileNotFoundError(f"CocoDetection: there is no image {path}, which {self.file} lists")
        return path

    def objects(self, i: int, size: tuple[int, int]) -> Truth:
        """Return what is annotated in image i, which has ``size`` (height, width) pixels."""
        name, stated = self._images[i]
        where = f"CocoDetection: {self.file}: image {name}"
        check_size(where, stated, size)
        found = self._objects[i]
        boxes = np.array([box for _, _, box, _ in found], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes = boxes.astype(np.float32)
        kept = np.all(boxes[:, :2] < boxes[:, 2:], axis=1)
        labels, crowds = np.array([k for k, *_ in found], np.int64), np.array([c for _, c, *_ in found], bool)
        shown = [f"annotation {k} (x y width height {' '.join(f'{c:g}' for c in box)})" for _, _, box, k in found]
        inside = fitted(where, boxes[kept], size, [shown[k] for k in np.flatnonzero(kept)])
        return truth(inside, labels[kept], crowds[kept])


def _image(where: str, record: dict[str, Any]) -> tuple[str, tuple[float, float]]:
    """Return the name of the file, below the folder of images, and the (height, width) stated, 0 if none is."""
    name = get(where, record, "file_name")
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"{where}: file_name must be a path below the folder of images, got {name!r}")
    height, width = (record.get(side) or 0 for side in ("height", "width"))
    if not all(isinstance(side, (int, float)) for side in (height, width)):
        raise ValueError(f"{where}: height and width must be numbers, got {height!r} and {width!r}")
    return name, (height, width)


def _box(where: str, box: Any) -> list[float]:
    """Return x, y, width, height; ValueError unless they are finite numbers, the last two at least 0."""
    numbers = isinstance(box, list) and len(box) == 4 and all(type(c) in (int, float) for c in box)
    if not numbers or not np.isfinite(box).all() or min(box[2:]) < 0:
        raise ValueError(f"{where}: bbox must be x y width height, the last two at least 0, got {box!r}")
    return box
