"""The scenes of this lesson, with sentences, a detector, and what it sees. See :func:`scenes`, :func:`regions`.

Scenes of 64x64 pixels with two or three handwritten digits on textured backgrounds, each with three to five sentences.
No digit of a test scene is in a training scene.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import tinyconv
from tinyconv.captioning.regions import Regions, detected_regions, distractors, given_regions
from tinyconv.data import Normalize
from tinyconv.data.captioned_scenes import CaptionedScenes
from tinyconv.data.detection import DetectionDataset
from tinyconv.detection.training import train_detector
from tinyconv.models.faster_rcnn import FasterRCNN, faster_rcnn
from tinyconv.random import generator
from tinyconv.text import Vocabulary

TRAIN, TEST = 1500, 200  # scenes
NORMAL = Normalize(0.5, 0.25)  # what networks see
EPOCHS = 6  # of the detector
DISTRACTORS, TOP = 3, 5  # boxes of a scene that show nothing; detections that become regions


@cache
def scenes(split: str, n: int | None = None, seed: int = 0) -> CaptionedScenes:
    """Return the first n scenes of a split, "train" or "test", by default 1,500 or 200."""
    return CaptionedScenes(n or (TRAIN if split == "train" else TEST), seed=seed, split=split)


@cache
def vocabulary(seed: int = 0, n: int = TRAIN) -> Vocabulary:
    """Return the words that come five times or more in the sentences of the first n training scenes."""
    return Vocabulary.build(sentence for of in scenes("train", n, seed).sentences for sentence in of)


def learn_detector(model: FasterRCNN, n: int = TRAIN, seed: int = 0, epochs: int = EPOCHS, **how: Any) -> Any:
    """Train a detector in place on the boxes of the first n training scenes, as lesson 06 does; return the history."""
    found = DetectionDataset(scenes("train", n, seed).scenes, NORMAL)
    return train_detector(model, found, epochs=epochs, seed=seed, **how)


def detector(lesson: Any, seed: int = 0) -> FasterRCNN:
    """Return a Faster R-CNN that has learnt the training scenes' boxes, never a sentence; trained once, then loaded.

    It stays in the lesson's output folder, of each seed its own. A smoke run's has seen eight scenes.
    """

    def build() -> FasterRCNN:
        tinyconv.manual_seed(seed)
        return faster_rcnn(10, scale="lesson")

    n, epochs = (8, 1) if lesson.smoke else (TRAIN, EPOCHS)
    return lesson.load_or_train(
        build,
        lambda model: learn_detector(model, n, seed, epochs),
        name="detector" if seed == 0 else f"detector-{seed}",
        short=f"the detector learns {n:,} scenes, {'a second' if lesson.smoke else 'about 90 s'}",
        step="",
    )


def given_boxes(found: CaptionedScenes, seed: int = 0) -> list[np.ndarray]:
    """Return of each scene the true boxes (r, 4), two or three, and behind them three distractors."""
    boxes = []
    for i in range(len(found)):
        objects, size = found.scenes.truth(i).boxes, found.scenes.images.shape[2:]
        rng = generator(seed, f"distractors/{found.split}", 0, i)
        boxes.append(np.concatenate([objects, distractors(objects, size, DISTRACTORS, rng)]))
    return boxes


def regions(model: FasterRCNN, found: CaptionedScenes, seed: int = 0, kind: str = "given") -> Regions:
    """Return what the detector's last shared layer says of each scene's regions; region 0 is the whole scene.

    "given" takes the true boxes and three distractors, "detected" the detector's five best boxes. Scenes have 5 to 7
    regions, or 1 to 6.
    """
    if kind == "given":
        return given_regions(model, found.scenes.images, given_boxes(found, seed), transform=NORMAL)
    if kind == "detected":
        return detected_regions(model, found.scenes.images, TOP, transform=NORMAL)
    raise ValueError(f"regions: kind must be 'given' or 'detected', got {kind!r}")
