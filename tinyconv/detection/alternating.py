"""Faster R-CNN in four steps (Ren et al. 2015, sec. 3.2). See :func:`train_in_four_steps`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyconv import device, nn
from tinyconv.data.detection import DetectionDataset
from tinyconv.detection.evaluation import scale_between
from tinyconv.detection.training import LR, train_detector
from tinyconv.function import no_grad
from tinyconv.models.fast_rcnn import FastRCNN, fast_rcnn
from tinyconv.models.faster_rcnn import FasterRCNN, initialise_regions
from tinyconv.nn.modes import frozen, kept_modes
from tinyconv.random import generator
from tinyconv.tensor import Tensor
from tinyconv.threads import limited_threads
from tinyconv.vision.targets import unpack_targets

_OF_REGIONS = ("rpn_conv", "rpn_score", "rpn_delta")
_OF_DETECTOR = ("head", "cls_score", "bbox_pred")


def train_in_four_steps(
    model: FasterRCNN, dataset: DetectionDataset, *, epochs: tuple[int, int, int, int],
    classifier: nn.Module | None = None, lr: float = LR, seed: int = 0, progress: bool = True,
) -> FasterRCNN:  # fmt: skip
    """Train a Faster R-CNN so that both its networks come to share convolutions.

    1. The region proposal network alone, with the model's convolutions. 2. A Fast R-CNN with convolutions of its own,
    on the proposals of 1. 3. The region proposal network again, on the convolutions of 2, which stay as they are. 4.
    The detector's own layers, on the proposals of 3.

    Parameters
    ----------
    model : FasterRCNN
        Changed in place, and returned. Its initial weights are those of step 1.
    epochs : tuple of 4 ints
        Passes over the images in each step; the released schedule has 80k, 40k, 80k, 40k steps.
    classifier : Module, optional
        Whose layers step 2 begins with, as the paper's with ImageNet's; without one its weights are drawn.
    """
    who = "train_in_four_steps"
    if len(epochs) != 4:
        raise ValueError(f"{who}: epochs must be four numbers, one for each step, got {epochs!r}")
    how: dict[str, Any] = {"lr": lr, "seed": seed, "progress": progress}

    def regions_loss(outputs: Any, targets: Tensor) -> Tensor:
        return model.regions_loss(outputs, unpack_targets(device.host(targets.data)))

    own = [*_parameters(model, ("backbone",)), *_parameters(model, _OF_REGIONS)]
    train_detector(model, dataset, epochs=epochs[0], loss=regions_loss, parameters=own, **how)

    detector = _detector_like(model)
    if classifier is not None:
        detector.init_from(classifier)
    first = with_proposals(dataset, proposals_of(model, dataset))
    train_detector(detector, first, epochs=epochs[1], **how)

    _copy(detector, model, ("backbone", *_OF_DETECTOR))
    initialise_regions(model)
    with frozen(model.get_submodule("backbone")):
        own = _parameters(model, _OF_REGIONS)
        train_detector(model, dataset, epochs=epochs[2], loss=regions_loss, parameters=own, **how)
        second = with_proposals(dataset, proposals_of(model, dataset))
        _copy(model, detector, ("backbone",))
        with frozen(detector.get_submodule("backbone")):
            train_detector(detector, second, epochs=epochs[3], **how)
    _copy(detector, model, _OF_DETECTOR)
    return model


@no_grad()
def proposals_of(model: FasterRCNN, dataset: DetectionDataset, count: int | None = None) -> list[np.ndarray]:
    """Return the model's proposals (P, 4) for each image of a data set, best first, in pixels of its source.

    Parameters
    ----------
    count : int, optional
        How many at most; by default as many as training takes (``regions.training.after``).
    """
    rule, found = model.regions.training, []
    rule = rule if count is None else model.regions.testing.with_count(count)
    with kept_modes(model), limited_threads(model):
        model.eval()
        for i in range(len(dataset)):
            picture = dataset.source.read(i)[0]  # as it is: an item of the data set may be mirrored
            image = picture if dataset.transform is None else dataset.transform(picture, generator(0, "see", 0, i))
            where = next(model.parameters()).device
            outputs = model(Tensor(device.move(image[None], where)))
            boxes, _ = model.proposals(outputs, [image.shape[1:]], rule)[0]
            found.append(boxes / scale_between(picture.shape[1:], image.shape[1:]))
    return found


def with_proposals(dataset: DetectionDataset, proposals: list[np.ndarray]) -> DetectionDataset:
    """Return the same images with other proposals."""
    return DetectionDataset(dataset.source, dataset.transform, proposals=proposals, mirror=dataset.mirror)


def _detector_like(model: FasterRCNN) -> FastRCNN:
    """Return a Fast R-CNN of the same layers, with weights of its own."""
    config: Any = model.config
    arguments = {k: v for k, v in config["arguments"].items() if k not in ("sizes", "ratios")}
    detector = fast_rcnn(**arguments, device=next(model.parameters()).device)
    detector.sampling = model.sampling
    return detector


@no_grad()
def _copy(source: nn.Module, target: nn.Module, parts: Iterable[str]) -> None:
    for part in parts:
        target.get_submodule(part).load_state_dict(source.get_submodule(part).state_dict())


def _parameters(model: nn.Module, parts: Iterable[str]) -> list[Tensor]:
    return [p for part in parts for p in model.get_submodule(part).parameters()]
