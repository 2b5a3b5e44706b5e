"""Detection data in the format of PASCAL VOC: one XML file for each image. See :class:`VOCDetection`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from tinyconv.data.annotated import AnnotatedImages, check_size, fitted
from tinyconv.data.image_folder import EXTENSIONS
from tinyconv.vision.detections import Truth, truth

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
_YEAR = re.compile(r"VOC(\d{4})")
_ALL = "trainval"  # the split that a folder without lists of splits has


class VOCDetection(AnnotatedImages):
    """Images with objects as PASCAL VOC stores them (Everingham et al. 2010), or another set in its format.

    The corners in the files are pixels, counted from 1 and belonging to the box; here x1 = xmin - 1, y1 = ymin - 1,
    x2 = xmax, y2 = ymax, so that x2 - x1 is the width. A box may reach over the border by a pixel, and is cut there.

    Parameters
    ----------
    root : str or Path
        ``VOCdevkit``, the folder around it, ``VOCdevkit/VOC2007``, or any folder with ``Annotations/*.xml``,
        ``JPEGImages/`` (other formats than JPEG may lie there too) and ``ImageSets/Main/<split>.txt``.
    split : str
        A list of images in ``ImageSets/Main``: "train", "val", "trainval", "test", ... A folder without such lists has
        one split, "trainval", which are all its annotations.
    year : int, optional
        Which of the folders ``VOC<year>`` in ``root``, if there are several.
    classes : sequence of str, optional
        Names in the order of their labels. By default those of PASCAL VOC, unless the annotations name others: then
        those they name, sorted. To find that out, all annotations of a folder not named ``VOC<year>`` are read.

    Attributes
    ----------
    classes : list of str
    ids : list of str
        Name of image i, without ending.
    folder : Path

    Raises
    ------
    FileNotFoundError
        A folder is missing.
    ValueError
        There is no such year or split, or nothing is annotated. Errors in a file are raised when it is read;
        ``check()`` looks for them in all.

    Examples
    --------
    >>> data = VOCDetection("VOCdevkit", "trainval", year=2007)  # doctest: +SKIP
    >>> image, found = data.read(0)  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | Path,
        split: str = _ALL,
        *,
        year: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.folder = find_folder(Path(root), year)
        if not (self.folder / "JPEGImages").is_dir():
            raise FileNotFoundError(f"VOCDetection: there is no folder {self.folder / 'JPEGImages'} of the images")
        self.split = split
        self.ids = _ids(self.folder, split)
        self.classes = list(classes) if classes is not None else _classes(self.folder)
        self._labels = {name: k for k, name in enumerate(self.classes)}
        if not self.classes or len(self._labels) < len(self.classes):
            raise ValueError(f"VOCDetection: classes must be one or more names, each once, got {classes!r}")

    def __len__(self) -> int:
        return len(self.ids)

    def path(self, i: int) -> Path:
        """Return the file of image i."""
        name, folder = self.ids[i], self.folder / "JPEGImages"
        endings = (*EXTENSIONS, *(end.upper() for end in EXTENSIONS))
        found = next((path for end in endings if (path := folder / f"{name}{end}").is_file()), None)
        if found is None:
            raise FileNotFoundError(f"VOCDetection: there is no image {folder / name}.jpg (nor .png, ...)")
        return found

    def objects(self, i: int, size: tuple[int, int]) -> Truth:
        """Return what is annotated in image i, which has ``size`` (height, width) pixels."""
        path = self.folder / "Annotations" / f"{self.ids[i]}.xml"
        root, where = read_xml(path), f"VOCDetection: {path}"
        stated = root.find("size")
        if stated is not None:
            check_size(where, (_number(where, stated, "height"), _number(where, stated, "width")), size)
        corners, labels, difficult, shown = [], [], [], []
        for number, item in enumerate(root.findall("object"), 1):
            name = (item.findtext("name") or "").strip()
            at = f"{where}: object {number} ({name})"
            if name not in self._labels:
                raise ValueError(
                    f"{at}: its class must be one of {', '.join(self.classes)}; say classes=..., or name a folder with "
                    "classes of its own otherwise than VOC and a year"
                )
            box = item.find("bndbox")
            if box is None:
                raise ValueError(f"{at} has no <bndbox>")
            corners.append([_number(at, box, side) for side in ("xmin", "ymin", "xmax", "ymax")])
            labels.append(self._labels[name])
            difficult.append(item.find("difficult") is not None and _number(at, item, "difficult") != 0)
            shown.append(f"object {number} ({name}), {' '.join(f'{c:g}' for c in corners[-1])},")
        boxes = np.array(corners, np.float32).reshape(-1, 4) - np.array([1, 1, 0, 0], np.float32)
        return truth(fitted(where, boxes, size, shown), np.array(labels, np.int64), np.array(difficult, bool))


def read_xml(path: Path) -> Element:
    """Return the root of an annotation.

    A document type is refused where it begins, before anything that it declares could be expanded or fetched.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no XML, has a document type, or is no annotation.
    """
    if not path.is_file():
        raise FileNotFoundError(f"VOCDetection: there is no annotation {path}")
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
        root = builder.close()
    except _DocumentTypeError:
        raise ValueError(f"VOCDetection: {path} has a document type (<!DOCTYPE), which no annotation needs") from None
    except (expat.ExpatError, LookupError, ValueError) as problem:  # the last two: an encoding that is not known
        raise ValueError(f"VOCDetection: {path} is no XML ({problem}); mend or replace the file") from None
    if root.tag != "annotation":
        raise ValueError(f"VOCDetection: {path} must hold an <annotation>, got <{root.tag}>")
    return root


class _DocumentTypeError(Exception):
    pass


def _refuse(*declaration: object) -> NoReturn:
    raise _DocumentTypeError


def _number(where: str, parent: Element, name: str) -> float:
    """Return the number in a child; ValueError if it is missing, no number or not finite."""
    text = parent.findtext(name)
    try:
        value = float(text or "")
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"{where}: <{name}> of <{parent.tag}> must be a number, got {(text or '').strip()!r}")
    return value


def find_folder(root: Path, year: int | None = None) -> Path:
    """Return the folder that has Annotations, in or below ``root``."""
    if not root.is_dir():
        raise FileNotFoundError(f"VOCDetection: there is no folder {root}")
    if (root / "Annotations").is_dir():
        own = _YEAR.fullmatch(root.resolve().name)
        if year is not None and own is not None and own[1] != str(year):
            raise ValueError(f"VOCDetection: {root} is of the year {own[1]}, got year={year}")
        return root
    inner = [folder for base in (root, root / "VOCdevkit") if base.is_dir() for folder in base.iterdir()]
    found = {
        folder.name: folder for folder in inner if _YEAR.fullmatch(folder.name) and (folder / "Annotations").is_dir()
    }
    if not found:
        raise FileNotFoundError(f"VOCDetection: {root} must hold the folder Annotations (or VOC2007 with it), got none")
    if year is None and len(found) == 1:
        return next(iter(found.values()))
    if f"VOC{year}" not in found:
        got = "none was named" if year is None else f"got year={year}"
        raise ValueError(f"VOCDetection: {root} holds {', '.join(sorted(found))}, {got}; say year=")
    return found[f"VOC{year}"]


def _ids(folder: Path, split: str) -> list[str]:
    """Return the names of the images of a split, in the order of its list; all annotations, sorted, without lists."""
    lists, annotations = folder / "ImageSets" / "Main", folder / "Annotations"
    if not lists.is_dir():
        if split != _ALL:
            raise ValueError(f"VOCDetection: {folder} has no ImageSets/Main, so only the split {_ALL!r}, got {split!r}")
        names = sorted(path.stem for path in annotations.glob("*.xml"))
        if not names:
            raise ValueError(f"VOCDetection: {annotations} holds no annotation (*.xml)")
        return names
    splits = sorted(path.stem for path in lists.glob("*.txt"))
    if split not in splits:
        # VOC also has a list for each class, such as cat_train.
        plain = [name for name in splits if "_" not in name] or splits
        raise ValueError(f"VOCDetection: split must be one of {', '.join(plain) or 'none'} ({lists}), got {split!r}")
    lines = (lists / f"{split}.txt").read_text("utf-8", errors="replace").splitlines()
    names = [line.split()[0] for line in lines if line.strip()]  # lists of a class have a second column
    for name in names:
        if Path(name).name != name:
            raise ValueError(f"VOCDetection: {lists / split}.txt must name images without folder, got {name!r}")
    if not names:
        raise ValueError(f"VOCDetection: {lists / split}.txt names no image")
    return names


def _classes(folder: Path) -> list[str]:
    """Return PASCAL VOC's classes, or those that the annotations name if there are others among them."""
    if _YEAR.fullmatch(folder.resolve().name):
        return list(VOC_CLASSES)
    found = set()
    for path in (folder / "Annotations").glob("*.xml"):
        try:
            found |= {(item.findtext("name") or "").strip() for item in read_xml(path).findall("object")}
        except ValueError:
            continue  # whoever reads this item is told
    found.discard("")
    if not found:
        raise ValueError(f"VOCDetection: the annotations in {folder / 'Annotations'} name no object; say classes=...")
    return list(VOC_CLASSES) if found <= set(VOC_CLASSES) else sorted(found)
