"""The crops that R-CNN's network learns from. See :class:`WarpedBatches`, :func:`object_crops`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinyconv.models.rcnn import RCNN
from tinyconv.random import generator
from tinyconv.vision.detections import Truth
from tinyconv.vision.sampling import label_proposals
from tinyconv.vision.warp import warp_many, warp_rois

#: Images of one size as an array (N, C, H, W), or one array (C, H, W) for each.
Images = Sequence[np.ndarray] | np.ndarray


def candidates(truth: Truth, proposals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes (P + G, 4) that training looks at, and what :func:`label_proposals` says of them.

    The objects themselves are among the proposals, as in the released code; difficult ones are no objects here.
    """
    boxes, labels = truth.boxes[~truth.difficult], truth.labels[~truth.difficult]
    every = np.concatenate([np.asarray(proposals, np.float64).reshape(-1, 4), boxes])
    return every, *label_proposals(every, boxes, labels)


def check_images(who: str, images: Images, truths: Sequence[Truth], *proposals: Sequence[np.ndarray]) -> None:
    """Raise unless there is as much of each."""
    counts = [len(images), len(truths), *map(len, proposals)]
    if len(set(counts)) > 1 or not counts[0]:
        wanted = "images, truths and proposals" if proposals else "images and truths"
        raise ValueError(f"{who}: wanted as many {wanted}, at least one, got {', '.join(map(str, counts))}")


def object_crops(model: RCNN, images: Images, truths: Sequence[Truth]) -> tuple[np.ndarray, np.ndarray]:
    """Return all objects as crops (M, C, crop, crop), ready for ``pretrain``, and their labels (M,)."""
    check_images("object_crops", images, truths)
    known = [~truth.difficult for truth in truths]
    crops = [
        warp_many(model.prepare(image), truth.boxes[easy], model.crop, model.padding)
        for image, truth, easy in zip(images, truths, known, strict=True)
    ]
    return np.concatenate(crops), np.concatenate([t.labels[easy] for t, easy in zip(truths, known, strict=True)])


class WarpedBatches:
    """Batches (crops, classes) of warped proposals for :func:`tinyconv.fit`: objects and background, 32 and 96.

    A proposal shows the object it overlaps most, if the IoU is at least 0.5, else background, which is class 0; the
    rest are class + 1 (Girshick et al. 2014, sec. 2.3). Both kinds are drawn from all images alike, so that the few
    objects are seen more often than there are. Batch i of an epoch is a function of (seed, epoch, i).

    Parameters
    ----------
    model : RCNN
        Says how images are prepared, and the size of crops.
    images : array, (N, C, H, W), or sequence of arrays (C, H, W)
    truths : sequence of N Truth
    proposals : sequence of N arrays (P, 4)
    steps : int
        Batches of an epoch.
    positives, background : int
        Crops of each kind in a batch.
    mirror : bool
        Mirror every other crop, drawn at random; not for digits.
    seed : int

    Raises
    ------
    ValueError
        The numbers differ, or there is no proposal of one kind.
    """

    def __init__(
        self,
        model: RCNN,
        images: Images,
        truths: Sequence[Truth],
        proposals: Sequence[np.ndarray],
        steps: int,
        *,
        positives: int = 32,
        background: int = 96,
        mirror: bool = False,
        seed: int = 0,
    ) -> None:
        check_images("WarpedBatches", images, truths, proposals)
        self.images = model.prepare(images) if isinstance(images, np.ndarray) else [model.prepare(i) for i in images]
        self.crop, self.padding, self.steps, self.mirror, self.seed = model.crop, model.padding, steps, mirror, seed
        rois, classes = [], []
        for i, (truth, proposed) in enumerate(zip(truths, proposals, strict=True)):
            boxes, found, _, _ = candidates(truth, proposed)
            rois.append(np.column_stack([np.full(len(boxes), i), boxes]))
            classes.append(found)
        self.rois, self.classes = np.concatenate(rois), np.concatenate(classes)
        self.kinds = [(np.flatnonzero(self.classes > 0), positives), (np.flatnonzero(self.classes == 0), background)]
        for (places, count), kind in zip(self.kinds, ("objects", "background"), strict=True):
            if count and not len(places):
                raise ValueError(f"WarpedBatches: among {len(self.rois)} proposals there is none that shows {kind}")
        self._next = (0, 0)

    def __len__(self) -> int:
        return self.steps

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Make the next pass that of ``epoch``, from batch number ``batch`` on."""
        self._next = (epoch, batch)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        epoch, first = self._next
        self._next = (epoch + 1, 0)
        return (self.batch(epoch * self.steps + i) for i in range(first, self.steps))

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the crops (B, C, crop, crop) and classes (B,) of a step."""
        rng = generator(self.seed, "rcnn", step)
        chosen = np.concatenate([rng.choice(p, count, replace=len(p) < count) for p, count in self.kinds if count])
        crops = self._warp(self.rois[chosen])
        if self.mirror:
            turned = rng.random(len(crops)) < 0.5
            crops[turned] = crops[turned][..., ::-1]
        return crops, self.classes[chosen]

    def _warp(self, rois: np.ndarray) -> np.ndarray:
        if isinstance(self.images, np.ndarray):
            return warp_rois(self.images, rois, self.crop, self.padding)
        parts: list[Any] = [
            warp_many(self.images[int(roi[0])], roi[None, 1:], self.crop, self.padding) for roi in rois
        ]  # fmt: skip
        return np.concatenate(parts)
