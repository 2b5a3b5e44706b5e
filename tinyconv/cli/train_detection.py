"""``tinyconv train`` for detectors: scenes, or a folder of PASCAL VOC or COCO. See :func:`run`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from tinyconv.cli.names import UsageError, choose

MODELS = ("fast_rcnn", "faster_rcnn")
DATA = ("scenes", "voc", "coco")
_EPOCHS = {"scenes": 6, "voc": 20, "coco": 10}
_SCENES: dict[str, Any] = {"items": ("mnist",), "background": "textured"}
# Photographs at the lesson's scale: small enough for a laptop, objects larger than those of the scenes.
_PHOTOGRAPHS = {"lesson": ((160, 256), (24, 48, 96)), "paper": ((600, 1000), None)}


def run(name: str, options: argparse.Namespace, resume_command: str) -> int:
    """Train a detector, and print its average precision on held-out images."""
    import tinyconv
    from tinyconv import data, models
    from tinyconv.cli import recipes
    from tinyconv.data.detection import DetectionDataset
    from tinyconv.detection.evaluation import Precision
    from tinyconv.detection.training import BATCH_SIZE, LR, train_detector

    if name not in MODELS:
        raise UsageError(f"{name} is trained in stages: tinyconv lesson 06_rcnn does it; here are {', '.join(MODELS)}")
    if options.data not in DATA and (options.data in recipes.DATA or Path(options.data).is_dir()):
        raise UsageError(
            f"{name} is a detector and learns from {', '.join(DATA)}; "
            f"{options.data} has no boxes, it is for classifiers"
        )
    kind = choose("data set", options.data, DATA)
    train, test = open_sources(kind, options.root, 16 if options.smoke else None)
    tinyconv.manual_seed(options.seed)
    extra: dict[str, Any] = {}
    sizes, anchors = _PHOTOGRAPHS[options.scale]
    if kind != "scenes" and name == "faster_rcnn" and anchors is not None:
        extra["sizes"] = anchors
    if kind != "scenes" and name == "fast_rcnn":
        extra["search"] = "paper"
    model: Any = models.build(name, num_classes=len(train.classes), scale=options.scale, **extra)
    model.to(options.device)
    normalise = data.Normalize(0.5, 0.25)
    transform = normalise if kind == "scenes" else data.Compose([data.ResizeWithin(*sizes), normalise])
    proposals: list[Any] = [None, None]
    if name == "fast_rcnn":
        proposals = [_search(model, source, part) for source, part in ((train, "training"), (test, "test"))]
    mirror = kind != "scenes"  # a digit's mirror image is none
    dataset = DetectionDataset(train, transform, proposals=proposals[0], mirror=mirror)
    held_out = DetectionDataset(test, transform, proposals=proposals[1])
    epochs = options.epochs or (1 if options.smoke else _EPOCHS[kind])
    paper = options.scale == "paper"
    # Sec. 3.1.3 of Faster R-CNN: the anchors of one image; sec. 2.3 of Fast R-CNN: the proposals of two.
    batch_size = options.batch_size or (1 if paper and name == "faster_rcnn" else BATCH_SIZE)
    lr, decay = options.lr or (0.001 if paper else LR), 5e-4 if paper else 0.0

    default = Path("tinyconv-output", "train", f"{name}-{kind}{'-smoke' if options.smoke else ''}")
    folder = Path(options.out or default)
    names = f": {', '.join(train.classes)}" if len(train.classes) <= 20 else ""
    print(f"data:  {kind}, {len(train)} training and {len(test)} test images, {len(train.classes)} classes{names}")
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"model: {name}, {options.scale} scale, {count:,} parameters")
    passes = f"{epochs} epoch{'s' * (epochs != 1)}"
    print(f"run:   {passes}, {batch_size} images per step, SGD, rate {lr:g}, seed {options.seed}", flush=True)
    precision = Precision(held_out, proposals=proposals[1])
    train_detector(
        model, dataset, epochs=epochs, lr=lr, weight_decay=decay, batch_size=batch_size, test=held_out,
        seed=options.seed, workers=options.workers or 0, callbacks=[precision], out=folder, resume=options.resume,
        resume_command=resume_command,
    )  # fmt: skip
    for file in ("checkpoint.npz", "curves.png", "train.jsonl"):
        print(f"wrote {folder / file}")
    if precision.evaluation is not None:
        print(precision.evaluation)
    print(f"next: tinyconv detect IMAGE --weights {shlex.quote(str(folder / 'checkpoint.npz'))}")
    return 0


def open_sources(kind: str, root: str | None, few: int | None) -> tuple[Any, Any]:
    """Return the sources of training and test images; ``few`` of each for a trial."""
    from tinyconv.data import Scenes
    from tinyconv.data.detection import SceneDetection

    if kind == "scenes":
        if root is not None:
            raise UsageError("--root goes with --data voc and coco; scenes are drawn, and have none")
        sizes = (few or 1000, few or 200)
        pairs = zip(sizes, ("train", "test"), strict=True)
        scenes = [SceneDetection(Scenes(n, split=split, **_SCENES)) for n, split in pairs]
        return scenes[0], scenes[1]
    if root is None:
        raise UsageError(f"--data {kind} wants --root DIR, the folder of the set, as it is unpacked")
    parts = _voc_parts(root) if kind == "voc" else _coco_parts(root)
    train, test = (Part(part, _spread(len(part), few)) for part in parts)
    if few is None:  # a fault shall not be met after hours
        for source in dict.fromkeys(part.source if isinstance(part, Part) else part for part in parts):
            source.check(pixels=False)
    if not any(len(train.truth(i).labels) for i in range(len(train))):
        raise ValueError(f"no training image in {root} has an object: there is nothing to learn")
    return train, test


def _coco_parts(root: str) -> list[Any]:
    """Return COCO's parts to learn from and to test on."""
    from tinyconv.data.coco import CocoDetection

    folder = Path(root)
    found = [sorted(folder.glob(f"annotations/instances_{part}*.json")) for part in ("train", "val")]
    if not all(found):
        raise UsageError(f"{folder} has no annotations/instances_train*.json and instances_val*.json, as COCO has")
    return [CocoDetection(folder / f[-1].stem.removeprefix("instances_"), f[-1]) for f in found]


class Part:
    """Some images of a source, by their numbers."""

    def __init__(self, source: Any, indices: list[int]) -> None:
        self.source, self.indices, self.classes = source, indices, source.classes

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, i: int) -> tuple[Any, Any]:
        """Return image i and its objects."""
        return self.source.read(self.indices[i])

    def truth(self, i: int) -> Any:
        """Return the objects of image i."""
        return self.source.truth(self.indices[i])


def _spread(length: int, few: int | None) -> list[int]:
    """Return all numbers below ``length``, or a few spread over them."""
    return list(range(length)) if few is None or few >= length else [i * length // few for i in range(few)]


def _voc_parts(root: str) -> list[Any]:
    """Return VOC's parts to learn from and to test on: trainval and test, train and val, or a fifth set aside."""
    from tinyconv.data.voc import VOCDetection, find_folder

    lists = find_folder(Path(root)) / "ImageSets" / "Main"
    if lists.is_dir():
        pairs = (("trainval", "test"), ("train", "val"))
        pair = next((pair for pair in pairs if all((lists / f"{name}.txt").is_file() for name in pair)), None)
        if pair is None:
            raise UsageError(f"{lists} has neither trainval.txt and test.txt nor train.txt and val.txt")
        return [VOCDetection(root, name) for name in pair]
    everything = VOCDetection(root)
    if len(everything) < 5:
        raise UsageError(f"{root} holds {len(everything)} images; at least 5 are needed to set some aside for testing")
    held_out = set(range(4, len(everything), 5))
    return [Part(everything, [i for i in range(len(everything)) if (i in held_out) == test]) for test in (False, True)]


def _search(model: Any, source: Any, part: str) -> list[Any]:
    """Return the proposals of selective search for every image of a source."""
    from tqdm import tqdm

    from tinyconv.detection.search import search

    with tqdm(total=len(source), desc=f"selective search, {part} images", leave=False, disable=None) as bar:
        return search(source, bar.update, **model.search)
