"""``tinyconv detect``: which objects a trained detector finds in a picture, and where."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.cli import models
from tinyconv.cli.names import UsageError

HELP = """find objects in pictures, with a trained detector

examples:
  tinyconv detect scene.png                                 with what lesson 06's step 8 trained
  tinyconv detect street.jpg --weights tinyconv-output/train/faster_rcnn-voc/checkpoint.npz
  tinyconv detect a.png b.png --weights checkpoint.npz --least 0.8 --out found

Of each object it prints the class, the score, and the box: left, top, right and bottom edge in pixels of the picture.
The picture with the boxes is written to --out. It is prepared as the training images were: a checkpoint of tinyconv
holds the transform and the names of the classes. It keeps its size, unless those were resized: objects should be about
as large as those that the detector learned from. tinyconv train faster_rcnn --data scenes makes one."""
_LEAST, _LEAST_SVM = 0.5, 0.0  # a probability; the distance from an SVM's border


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("files", metavar="IMAGE", nargs="+", help="a picture (PNG, JPEG, ...)")
    parser.add_argument(
        "--weights", metavar="FILE", help="a checkpoint of rcnn, fast_rcnn or faster_rcnn (lesson 06's, if it is there)"
    )
    parser.add_argument(
        "--least", type=float, metavar="SCORE",
        help=f"lowest score that is shown ({_LEAST}, a probability; of rcnn {_LEAST_SVM:g}, an SVM's score)",
    )  # fmt: skip
    parser.add_argument("--top", type=int, default=100, metavar="N", help="how many objects of a class at most (100)")
    parser.add_argument("--out", metavar="DIR", help="where the pictures go (./tinyconv-output/detect)")


def run(options: argparse.Namespace) -> int:
    """Print what is found in every picture, and draw it."""
    from tinyconv import data
    from tinyconv.detection.draw import draw_detections
    from tinyconv.detection.evaluation import detect_in
    from tinyconv.files import atomic_write, writable_folder
    from tinyconv.lesson import OUTPUT

    if options.top < 1:
        raise UsageError(f"--top must be at least 1, got {options.top}")
    if options.least is not None and not np.isfinite(options.least):
        raise UsageError(f"--least must be a number, got {options.least}")
    for file in options.files:
        if not Path(file).is_file():
            raise FileNotFoundError(f"detect: there is no file {file}")
    folder = Path(options.out or Path(OUTPUT) / "detect")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out must name a folder, got the file {folder}")
    weights = Path(options.weights) if options.weights else models.lesson_checkpoint("faster_rcnn")
    model, transform, classes = open_detector(weights)
    svms = model.config["builder"] == "rcnn"
    usual = _LEAST_SVM if svms else _LEAST
    if not svms and options.least is not None and not 0 <= options.least <= 1:
        raise UsageError(f"--least is a probability in [0, 1] for {model.config['builder']}, got {options.least:g}")
    least = usual if options.least is None else options.least
    mode = "L" if model.input_shape[0] == 1 else "RGB"
    writable_folder(folder, "detect", "choose another folder: --out DIR")
    written: set[Path] = set()
    unread = 0
    for file in options.files:
        try:
            image = data.read_image(file, mode)
        except ValueError as problem:
            print(f"tinyconv: {problem}", file=sys.stderr)
            unread += 1
            continue
        try:
            found = detect_in(image, model, transform, least=least, top=options.top)
        except ValueError as problem:  # too small for the network, say
            print(f"tinyconv: {file}: {problem}", file=sys.stderr)
            unread += 1
            continue
        print(f"{file}: {len(found.boxes)} object{'s' * (len(found.boxes) != 1)}")
        for line in table(found, classes):
            print(line)
        hint = "" if svms else size_hint(model, transform, image.shape[1:])  # R-CNN's input is a crop, not a picture
        if hint:
            print(f"  ({hint})")
        path = free_file(folder, Path(file).stem, "detections", written)
        figure = draw_detections(image, found, classes, least=least)
        atomic_write(path, lambda out, figure=figure: figure.savefig(out, format="png", dpi=120))  # type: ignore[misc]
        print(f"figure: {path}")
    return int(unread > 0)


def open_detector(path: Path) -> tuple[Any, Any, list[str] | None]:
    """Return the detector in a checkpoint, the transform of its images, and the names of its classes.

    Raises
    ------
    UsageError
        The checkpoint is of another kind of network.
    ValueError, OSError
        The file cannot be read.
    """
    model = models.open_checkpoint(path, "detect", "tinyconv train faster_rcnn --data scenes")
    if not hasattr(model, "detect"):
        builder = model.config["builder"]
        raise UsageError(f"{path} holds {builder}, which finds no objects; tinyconv predict says what is in a picture")
    return model, models.transform_of(model, "detect"), model.meta.get("classes")


def size_hint(model: Any, transform: Any, size: tuple[int, ...]) -> str:
    """Return a warning for a picture of quite another size than those that it learned from, if nothing resizes it."""
    known = model.input_shape[1:]
    resized = transform is not None and transform(np.zeros((model.input_shape[0], *size), np.float32), None).shape[1:]
    if (resized and resized != size) or max(max(size) / max(known), max(known) / max(size)) < 2:
        return ""
    here, there = (f"{width} x {height}" for height, width in (size, known))
    return f"it learned from pictures of {there}, this one has {here}: objects should be as large as they were there"


def table(found: Any, classes: list[str] | None, width: int = 0) -> list[str]:
    """Return a line for each object: class in a column at least so wide, score, box in whole pixels."""
    names = [classes[k] if classes else f"class {k}" for k in found.labels]
    wide = max([width, *map(len, names)])
    return [
        f"  {name:<{wide}}  {score:5.2f}  {' '.join(f'{edge:6.0f}' for edge in box)}"
        for name, score, box in zip(names, found.scores, found.boxes, strict=True)
    ]


def free_file(folder: Path, stem: str, what: str, written: set[Path]) -> Path:
    """Return the file of a picture, such as scene-detections.png; two of one name in this call get two files."""
    path, number = folder / f"{stem}-{what}.png", 2
    while path in written:
        path, number = folder / f"{stem}-{number}-{what}.png", number + 1
    written.add(path)
    return path
