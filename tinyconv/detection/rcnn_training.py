"""R-CNN's training, stage by stage: the classifier, the SVMs, the box regressors. See :func:`train_rcnn`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinyconv import nn, optim
from tinyconv.data.dataset import ArrayDataset
from tinyconv.data.loader import DataLoader
from tinyconv.detection.rcnn_batches import Images, WarpedBatches, candidates, check_images, object_crops
from tinyconv.history import History
from tinyconv.models.rcnn import RCNN
from tinyconv.nn import init
from tinyconv.progress import Progress
from tinyconv.threads import limited_threads
from tinyconv.train import fit
from tinyconv.vision.box_regression import BoxRegressor, Regression
from tinyconv.vision.boxes import box_iou, encode_boxes
from tinyconv.vision.detections import Truth
from tinyconv.vision.svm import HardNegatives, LinearSVM, feature_scale

FALL = 0.7  # the part of fine-tuning's steps after which the rate is a tenth
_SAMPLE = 200  # images from which the features' mean norm is measured
_EPOCH = 250  # steps of fine-tuning between two lines of the report


def pretrain(
    model: RCNN,
    crops: np.ndarray,
    labels: np.ndarray,
    *,
    steps: int = 400,
    batch_size: int = 64,
    lr: float = 0.01,
    seed: int = 0,
    **how: Any,
) -> History:
    """Train all layers but the last to classify single objects, the part that ImageNet has in the paper.

    The last layer is one for these classes, used here only.

    Parameters
    ----------
    model : RCNN
    crops : array, (M, C, crop, crop), float32
        Prepared, as :func:`object_crops` gives them.
    labels : array, (M,)
        0, 1, ...: any classes.
    steps : int
        At least; whole epochs are trained.
    **how
        For :func:`tinyconv.fit`.
    """
    names = list(dict(model.network.named_children()))
    layers = dict(model.network.named_children())
    last = layers.pop(names[-1])
    classes = int(np.max(labels, initial=0)) + 1
    head = nn.Linear(last.in_features, classes, device=last.weight.device, dtype=last.weight.dtype)
    init.kaiming_normal_(head.weight, nonlinearity="linear")
    init.zeros_(head.bias)
    network = nn.Sequential(layers | {names[-1]: head})
    loader = DataLoader(ArrayDataset(crops, labels), batch_size, shuffle=True, drop_last=True, seed=seed)
    if not len(loader):
        raise ValueError(f"pretrain: wanted at least one batch of {batch_size} crops, got {len(crops)}")
    optimizer = optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    return fit(network, loader, optimizer=optimizer, epochs=math.ceil(steps / len(loader)), seed=seed, **how)


def fine_tune(
    model: RCNN,
    images: Images,
    truths: Sequence[Truth],
    proposals: Sequence[np.ndarray],
    *,
    steps: int = 1000,
    lr: float = 0.01,
    weight_decay: float = 5e-4,
    positives: int = 32,
    background: int = 96,
    mirror: bool = False,
    seed: int = 0,
    **how: Any,
) -> History:
    """Train the classifier of K + 1 classes on warped proposals (sec. 2.3).

    SGD with momentum 0.9, its rate divided by 10 for the last 30 % of the steps. The paper's rate is 0.001, a tenth of
    that of pre-training; images, truths, proposals and the batches are those of :class:`WarpedBatches`.

    Parameters
    ----------
    steps : int
        At least; rounded up to whole epochs of at most 250 steps, each a line of the report.
    **how
        For :func:`tinyconv.fit`.
    """
    epochs = math.ceil(steps / _EPOCH)
    batches = WarpedBatches(
        model, images, truths, proposals, math.ceil(steps / epochs),
        positives=positives, background=background, mirror=mirror, seed=seed,
    )  # fmt: skip
    optimizer = optim.SGD(model.network.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)
    schedule = optim.MultiStepLR(optimizer, [max(1, round(FALL * epochs * len(batches)))])
    return fit(
        model, batches, optimizer=optimizer, epochs=epochs, schedule=schedule, schedule_per="step", seed=seed, **how
    )  # fmt: skip


def fit_svms(
    model: RCNN,
    images: Images,
    truths: Sequence[Truth],
    proposals: Sequence[np.ndarray],
    *,
    negative: float = 0.3,
    svm: LinearSVM | None = None,
    seed: int = 0,
    progress: bool = True,
    **mining: float,
) -> list[HardNegatives]:
    """Train one linear SVM per class, in one pass over the images, and put them into the model (sec. 2.3).

    Positives are the objects of the class, and nothing else; negatives are proposals, and other objects, whose IoU with
    every object of the class is below ``negative``. What lies between is not used. Features are scaled to a mean norm
    of 20, measured on the proposals of up to 200 images.

    Parameters
    ----------
    negative : float
        0.3, found by search in the paper: 0.5 cost 5 points of mAP, 0 cost 4.
    svm : LinearSVM, optional
    **mining
        ``add``, ``evict``, ``limit``: see :class:`tinyconv.vision.svm.HardNegatives`.

    Returns
    -------
    list of HardNegatives
        Of each class, with the negatives in the cache at the end and the number of trainings.
    """
    check_images("fit_svms", images, truths, proposals)
    svm = LinearSVM() if svm is None else svm
    sample = range(0, len(images), -(-len(images) // _SAMPLE))
    with limited_threads(model):
        scale = feature_scale(np.concatenate([model.look(images[i], proposals[i]).top for i in sample]))
        objects = _of_objects(model, images, truths, scale)
        caches = [HardNegatives(svm, own, seed=seed, **mining) for own in objects]  # type: ignore[arg-type]
        for i in _counted(len(images), "SVMs", progress):
            boxes = candidates(truths[i], proposals[i])[0]
            features = model.look(images[i], boxes).top * features_of(scale, model)
            for label, cache in enumerate(caches):
                own = truths[i].boxes[truths[i].labels == label]  # difficult ones too: they are no negatives
                far = box_iou(boxes, own).max(1, initial=0) < negative
                cache.look(features[far])
        planes = [cache.finish() for cache in caches]
    model.svms.load(planes, scale)
    return caches


def _of_objects(model: RCNN, images: Images, truths: Sequence[Truth], scale: float) -> list[np.ndarray]:
    """Return for each class the features (G, F) of its objects."""
    tops, labels = [], []
    for image, truth in zip(images, truths, strict=True):
        easy = ~truth.difficult
        tops.append(model.look(image, truth.boxes[easy]).top * features_of(scale, model))
        labels.append(truth.labels[easy])
    top, label = np.concatenate(tops), np.concatenate(labels)
    return [top[label == k] for k in range(model.num_classes)]


def fit_regressors(
    model: RCNN,
    images: Images,
    truths: Sequence[Truth],
    proposals: Sequence[np.ndarray],
    *,
    least: float = 0.6,
    strength: float = 1000.0,
    progress: bool = True,
) -> list[Regression | None]:
    """Train one box regressor per class and put them into the model (appendix C).

    A proposal, or object, is paired with the object that it overlaps most, if the IoU is above ``least``. Features of
    the last pool are scaled to a mean norm of 20.

    Parameters
    ----------
    strength : float
        The paper's lambda for its 9216 features; for D of them it is multiplied with D / 9216.

    Returns
    -------
    list of Regression or None
        None for a class without a pair: its boxes stay as they are.
    """
    check_images("fit_regressors", images, truths, proposals)
    pools, targets, labels = [], [], []
    with limited_threads(model):
        for i in _counted(len(images), "regressors", progress):
            boxes, _, overlaps, matched = candidates(truths[i], proposals[i])
            near = overlaps > least
            easy = ~truths[i].difficult
            if near.any():
                pools.append(model.look(images[i], boxes[near]).pool)
                targets.append(encode_boxes(boxes[near], truths[i].boxes[easy][matched[near]].astype(np.float64)))
                labels.append(truths[i].labels[easy][matched[near]])
        if not pools:
            raise ValueError(
                f"fit_regressors: no proposal overlaps an object by more than {least} in {len(images)} images"
            )
        pool, target, label = (np.concatenate(parts) for parts in (pools, targets, labels))
        scale = feature_scale(pool)
        pool = pool * features_of(scale, model)
        regressor = BoxRegressor(strength * pool.shape[1] / 9216)
        found = [
            regressor.fit(pool[label == k], target[label == k]) if (label == k).any() else None
            for k in range(model.num_classes)
        ]
    model.regressors.load(found, scale)
    return found


def features_of(scale: float, model: RCNN) -> Any:
    """Return the scale as a number of the features' dtype, so that they keep it."""
    return next(model.parameters()).dtype.type(scale)


def train_rcnn(
    model: RCNN,
    images: Images,
    truths: Sequence[Truth],
    proposals: Sequence[np.ndarray],
    *,
    items: tuple[Images, Sequence[Truth]] | None = None,
    pretrain_steps: int = 400,
    steps: int = 1000,
    lr: float = 0.01,
    mirror: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> RCNN:
    """Train R-CNN: the pixels' mean, the classifier on single objects, on proposals, then SVMs, then regressors.

    Parameters
    ----------
    model : RCNN
    images : array, (N, C, H, W), or sequence of arrays (C, H, W)
        Values in [0, 1] if selective search shall run on such images later.
    truths : sequence of N Truth
    proposals : sequence of N arrays (P, 4)
    items : (images, truths), optional
        For pre-training: other images with objects, such as scenes of one. None leaves the network as it is: loaded
        with weights, or initial.
    pretrain_steps, steps : int
        Of 64 objects; of 32 + 96 proposals.
    lr : float
        Of both; per step.
    seed : int
        Of all draws. Initial weights come from ``tinyconv.manual_seed``.
    progress : bool
        Print what is done.

    Returns
    -------
    RCNN
        The model, in evaluation mode.
    """
    check_images("train_rcnn", images, truths, proposals)
    shown = Progress(progress, 1)
    pixels = np.concatenate([np.asarray(image).reshape(len(image), -1) for image in images], axis=1)
    model.set_pixels(pixels.mean(1), np.maximum(pixels.std(1), 1e-6))
    if items is not None:
        crops, labels = object_crops(model, *items)
        shown.say(f"pre-training on {len(crops)} single objects")
        pretrain(model, crops, labels, steps=pretrain_steps, lr=lr, seed=seed, progress=progress)
    count = sum(map(len, proposals))
    shown.say(f"fine-tuning on {count} proposals of {len(images)} images")
    fine_tune(model, images, truths, proposals, steps=steps, lr=lr, mirror=mirror, seed=seed, progress=progress)
    began = time.perf_counter()
    caches = fit_svms(model, images, truths, proposals, seed=seed, progress=progress)
    kept, trainings = (
        sum(v) / len(caches) for v in ([len(c.negatives) for c in caches], [c.trainings for c in caches])
    )
    shown.say(
        f"{len(caches)} SVMs: {kept:.0f} hard negatives and {trainings:.1f} trainings each, "
        f"{time.perf_counter() - began:.1f} s"
    )
    began = time.perf_counter()
    fit_regressors(model, images, truths, proposals, progress=progress)
    shown.say(f"box regressors: {time.perf_counter() - began:.1f} s")
    model.eval()
    return model


def _counted(count: int, title: str, shown: bool) -> Iterator[int]:
    """Yield 0 to count - 1, with a bar on a terminal."""
    if not Progress(shown, 1).bars:
        yield from range(count)
        return
    from tqdm import tqdm

    yield from tqdm(range(count), desc=title, unit="image", leave=False, dynamic_ncols=True)
