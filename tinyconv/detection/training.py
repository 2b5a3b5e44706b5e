"""The recipe by which detectors of the lesson's scale are trained. See :func:`train_detector`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tinyconv import optim
from tinyconv.data.detection import DetectionDataset, collate
from tinyconv.data.loader import DataLoader
from tinyconv.history import History
from tinyconv.models.fast_rcnn import FastRCNN
from tinyconv.models.faster_rcnn import FasterRCNN
from tinyconv.nn.utils import clip_grad_norm_
from tinyconv.tensor import Tensor
from tinyconv.train import fit

BATCH_SIZE = 2  # images per step (Girshick 2015, sec. 2.3)
LR = 0.02  # the papers' 0.001 is for fine-tuning a classifier; here every layer begins with random weights
WARM_UP = 100  # steps at up to the full rate
FALL = 0.7  # the part of all steps after which the rate is a tenth
LONGEST = 10.0  # norm of the gradient


def recipe(
    parameters: Iterable[Tensor], steps: int, lr: float = LR, weight_decay: float = 0.0
) -> tuple[optim.SGD, Any]:
    """Return SGD with momentum 0.9 and gradients of limited norm, and its schedule, which counts steps.

    The rate rises from a tenth over the first 100 steps (a tenth of all, if those are fewer than 1000), and is divided
    by 10 for the last 30 %. Unlike the papers': they have a weight decay of 5e-4, which a few thousand steps do not
    need, twice the rate for biases (Fast R-CNN), and no limit on the gradient's norm.
    """
    parameters = list(parameters)
    optimizer = optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=weight_decay)
    optimizer.register_step_pre_hook(lambda *_: clip_grad_norm_(parameters, LONGEST))
    warm = max(1, min(WARM_UP, steps // 10))
    fall = optim.MultiStepLR(optimizer, [max(1, round(FALL * steps) - warm)])
    return optimizer, optim.LinearWarmup(optimizer, warm, 0.1, fall)


def train_detector(
    model: Any,
    dataset: DetectionDataset,
    *,
    epochs: int,
    lr: float = LR,
    weight_decay: float = 0.0,
    batch_size: int = BATCH_SIZE,
    loss: Callable[[Any, Tensor], Tensor] | None = None,
    parameters: Iterable[Tensor] | None = None,
    test: DetectionDataset | None = None,
    seed: int = 0,
    workers: int = 0,
    **how: Any,
) -> History:
    """Train a Fast or Faster R-CNN by :func:`tinyconv.fit`, which saves, resumes and draws curves.

    Parameters
    ----------
    model : FastRCNN or FasterRCNN
        R-CNN is trained in stages: :mod:`tinyconv.detection.rcnn_training`.
    dataset : DetectionDataset
        With proposals for Fast R-CNN.
    epochs : int
        Passes over all images: 6 of the lesson's 1,000 scenes are 3,000 steps of 2 images.
    loss : callable, optional
        (outputs, targets) -> loss, by default ``model.loss``.
    parameters : iterable of Tensor, optional
        What is learnt, by default everything that is not frozen.
    test : DetectionDataset, optional
        Its loss is reported after every epoch.
    seed : int
        Of order, mirroring and sampling.
    **how
        For ``fit``: callbacks, out, resume, progress ...

    Returns
    -------
    History
        As of ``fit``.

    Raises
    ------
    TypeError
        The model is no such detector, or the dataset no DetectionDataset.
    ValueError
        The model has other classes than the dataset, or Fast R-CNN no proposals.

    Examples
    --------
    >>> from tinyconv import data, models
    >>> scenes = data.DetectionDataset(data.Scenes(4, items=("mnist",)).detection())
    >>> model = models.faster_rcnn(num_classes=10, scale="lesson")
    >>> history = train_detector(model, scenes, epochs=1, progress=False)
    >>> found = model.detect(scenes[0][0])  # found.boxes, found.labels, found.scores
    """
    _check(model, dataset)
    loader = DataLoader(dataset, batch_size, shuffle=True, seed=seed, workers=workers, collate_fn=collate)
    chosen = [p for p in (model.parameters() if parameters is None else parameters) if p.requires_grad]
    optimizer, schedule = recipe(chosen, epochs * len(loader), lr, weight_decay)
    test_loader = None if test is None else DataLoader(test, batch_size, workers=workers, collate_fn=collate)
    return fit(
        model, loader, loss=loss or model.loss, optimizer=optimizer, epochs=epochs, test_loader=test_loader,
        schedule=schedule, schedule_per="step", seed=seed, **how,
    )  # fmt: skip


def _check(model: Any, dataset: Any) -> None:
    """Raise unless the detector can learn from the dataset."""
    who = "train_detector"
    if not isinstance(model, FastRCNN):
        raise TypeError(
            f"{who}: model must be a fast_rcnn or faster_rcnn, got {type(model).__name__}; "
            "R-CNN is trained in stages, tinyconv.detection.rcnn_training"
        )
    if not isinstance(dataset, DetectionDataset):
        raise TypeError(
            f"{who}: dataset must be a DetectionDataset, got {type(dataset).__name__}; "
            "of scenes it is DetectionDataset(scenes.detection())"
        )
    classes = model.get_submodule("cls_score").out_features - 1
    if dataset.classes is not None and len(dataset.classes) != classes:
        raise ValueError(
            f"{who}: the dataset has {len(dataset.classes)} classes, the model {classes}; "
            f"build it with num_classes={len(dataset.classes)}"
        )
    if not isinstance(model, FasterRCNN) and dataset.proposals is None:
        raise ValueError(
            f"{who}: Fast R-CNN learns from proposals, and the dataset has none; "
            "give DetectionDataset(proposals=...), such as tinyconv.detection.search finds"
        )
