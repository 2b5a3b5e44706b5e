"""The scenes of this lesson, and the boxes that selective search finds in them. See :func:`dataset`, :func:`proposals`.

Scenes of 64x64 pixels with one to three handwritten digits on textured backgrounds. No digit of a test scene is in a
training scene. All detectors of the lesson see the same scenes and, if they need proposals, the same boxes.
"""

from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from tinyconv.data import Normalize, Scenes
from tinyconv.data.detection import DetectionDataset, SceneDetection
from tinyconv.detection.search import search
from tinyconv.files import atomic_write
from tinyconv.models.backbones import SEARCH

TRAIN, TEST = 1000, 200  # scenes
BOXES = 100  # of a scene, the best ones
NORMAL = Normalize(0.5, 0.25)  # what networks see; selective search wants values in [0, 1]


@cache
def scenes(split: str, n: int, seed: int = 0) -> SceneDetection:
    """Return the first n scenes of a split, "train" or "test"."""
    return SceneDetection(Scenes(n, seed=seed, split=split, items=("mnist",), background="textured"))


def dataset(split: str, n: int, boxes: list[np.ndarray] | None = None, seed: int = 0) -> DetectionDataset:
    """Return them as a network sees them, with proposals if boxes are given."""
    return DetectionDataset(scenes(split, n, seed), NORMAL, proposals=boxes)


def picture(out: Path, seed: int = 0) -> Path:
    """Save the test scene that steps 1 and 2 draw as a picture, ``out/scene.png``."""
    image, file = scenes("test", 4, seed).images[3], out / "scene.png"
    atomic_write(file, lambda opened: plt.imsave(opened, image.transpose(1, 2, 0), format="png"))
    return file


def proposals(out: Path, split: str, n: int, seed: int = 0, top: int = BOXES) -> list[np.ndarray]:
    """Return selective search's best boxes (at most ``top``, 4) of each scene, best first.

    They are kept in the folder ``out``, so that the next step need not search again.
    """
    file, settings = out / f"boxes-{split}-{seed}.npz", SEARCH["lesson"]
    if file.exists():
        with np.load(file) as kept:
            if str(kept["settings"]) == str(settings) and len(kept["counts"]) >= n:
                return [part[:top] for part in np.split(kept["boxes"], np.cumsum(kept["counts"])[:-1])[:n]]
    with tqdm(total=n, desc=f"selective search, {split}", leave=False, disable=None) as bar:
        found = search(scenes(split, n, seed), bar.update, **settings)
    counts, boxes = [len(part) for part in found], np.concatenate(found).astype(np.float32)
    atomic_write(file, lambda opened: np.savez(opened, boxes=boxes, counts=counts, settings=str(settings)))
    return [part[:top].astype(np.float32) for part in found]
