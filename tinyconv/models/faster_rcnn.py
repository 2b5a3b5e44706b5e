"""Faster R-CNN (Ren, He, Girshick, Sun 2015): the network proposes regions itself, from the map it classifies them on.

convolutions -> rpn_conv 3x3 -> rpn_score (object or not) and rpn_delta (where to) for k anchors at every place
-> proposals -> RoI pooling and the head of Fast R-CNN. See :func:`faster_rcnn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import device, errors, nn
from tinyconv.models.fast_rcnn import DELTA_STD, FastRCNN, Sampling, detector_parts, multitask_loss
from tinyconv.models.fast_rcnn import SCALES as FAST_SCALES
from tinyconv.models.registry import describe
from tinyconv.models.stack import check_scale, wide
from tinyconv.nn import functional as F
from tinyconv.nn import init
from tinyconv.tensor import Tensor
from tinyconv.vision.anchors import anchor_boxes, faithful_anchors, grid_anchors, label_anchors, sample_labels
from tinyconv.vision.boxes import encode_boxes
from tinyconv.vision.proposals import ProposalRule, propose
from tinyconv.vision.targets import ImageTargets, unpack_targets


class Regions(NamedTuple):
    """The region proposal network at one scale.

    Attributes
    ----------
    sizes, ratios : tuple
        Of the anchors: square roots of areas in pixels, heights over widths.
    units : int
        Channels of rpn_conv.
    anchors, objects : int
        Anchors of an image that a training step takes, and how many objects at most are among them.
    balance : float
        Weight of the boxes' loss, lambda in eq. 1.
    std : tuple of 4
        The outputs of rpn_delta times this are the deltas.
    training, testing : ProposalRule
    """

    sizes: tuple[float, ...]
    ratios: tuple[float, ...]
    units: dict[str, int]
    anchors: int
    objects: int
    balance: float
    std: tuple[float, ...]
    training: ProposalRule
    testing: ProposalRule


# Sec. 3.1 and 3.3 of the paper. "lesson": few anchors see an object, so that 64 are learnt from; the mean over places
# makes the boxes' term of the size of the scores' with a weight of 4 (256 places for 64 anchors).
SCALES = {
    "paper": Regions(
        (128, 256, 512), (0.5, 1, 2), {"vgg16": 512, "zf": 256}, 256, 128, 10, (1, 1, 1, 1),
        ProposalRule(12000, 2000), ProposalRule(6000, 300),
    ),
    "lesson": Regions(
        (12, 18, 26), (0.5, 1, 2), {"small": 32}, 64, 32, 4, DELTA_STD,
        ProposalRule(600, 100, least_side=2), ProposalRule(300, 20, least_side=2),
    ),
}  # fmt: skip
# What the detector learns from, of one image: all that is no object is background (the paper's program).
SAMPLING = {"paper": Sampling(128, 0.25, (0.0, 0.5)), "lesson": Sampling(32, 0.25, (0.0, 0.5))}


class Outputs(NamedTuple):
    """What ``forward`` returns: the last map (N, C, H, W), and for its every place k scores and deltas.

    Attributes
    ----------
    scores : Tensor, (N, 2 k, H, W)
        First those of "no object" for all k anchors, then those of "object".
    deltas : Tensor, (N, 4 k, H, W)
        x, y, width, height of anchor 0, then of anchor 1, ...
    """

    maps: Tensor
    scores: Tensor
    deltas: Tensor


class FasterRCNN(FastRCNN):
    """See :func:`faster_rcnn`.

    Attributes
    ----------
    regions : Regions
        Settings of the region proposal network; ``regions.testing.after`` is how many proposals are looked at.
    anchors : array, (k, 4)
        Around the middle of a place, which is at 0, 0.
    """

    regions: Regions
    anchors: np.ndarray

    def forward(self, images: Tensor) -> Outputs:
        """Map images (N, C, H, W) to :class:`Outputs`."""
        maps = super().forward(images)
        return Outputs(maps, *self.propose_from(maps))

    def propose_from(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores (N, 2 k, H, W) and deltas (N, 4 k, H, W) of the region proposal network."""
        shared = F.relu(self.get_submodule("rpn_conv")(maps))
        return self.get_submodule("rpn_score")(shared), self.get_submodule("rpn_delta")(shared)

    @staticmethod
    def maps(outputs: Outputs) -> Tensor:
        """Return the last map."""
        return outputs.maps

    # --------------------------------------------------------------------------------------------------------- losses
    def loss(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """Return the sum of the four losses: approximate joint training (sec. 3.2).

        Proposals are constants here: no gradient goes through the corners of boxes.
        """
        images = unpack_targets(device.host(targets.data))
        proposals = [boxes for boxes, _ in self.proposals(outputs, [image.size for image in images])]
        detector = multitask_loss(self.learn(outputs.maps, images, proposals))
        return self.regions_loss(outputs, images) + detector

    def regions_loss(self, outputs: Outputs, images: Sequence[ImageTargets]) -> Tensor:
        """Return the region proposal network's loss (eq. 1), for all images together.

        L = (1 / Ncls) sum_i -ln p_i(right) + balance (1 / Nreg) sum_i [i is an object] smoothL1(t_i - t_i*)

        Ncls counts the anchors sampled in all images, Nreg the places of all maps.
        """
        rows, columns = outputs.scores.shape[2:]
        anchors = grid_anchors(self.anchors, (rows, columns), self.stride)
        where: list[tuple[np.ndarray, ...]] = []
        for n, (image, rng) in enumerate(zip(images, self._generators("anchors", len(images)), strict=True)):
            labels, matched = label_anchors(anchors, image.boxes, image.size)
            labels = sample_labels(labels, self.regions.anchors, self.regions.objects, rng)
            places = np.flatnonzero(labels >= 0)
            objects = places[labels[places] == 1]
            wanted = np.zeros((0, 4))
            if len(objects):
                wanted = encode_boxes(anchors[objects], image.boxes[matched[objects]]) / np.array(self.regions.std)
            where.append((np.full(len(places), n), places, labels[places], np.full(len(objects), n), objects, wanted))
        of, places, labels, object_of, objects, wanted = map(np.concatenate, zip(*where, strict=True))
        if not len(places):
            raise ValueError(
                f"FasterRCNN: wanted anchors inside the image, got none in {images[0].size} pixels; "
                "use larger images, or smaller anchors"
            )
        scores, deltas = (self._rows(part, numbers) for part, numbers in ((outputs.scores, 2), (outputs.deltas, 4)))
        truth = Tensor(device.move(labels.astype(np.int64), scores.device))
        loss = F.cross_entropy(scores[of, places], truth)
        if len(objects):
            target = Tensor(device.move(wanted.astype(deltas.dtype), deltas.device))
            boxes = F.smooth_l1_loss(deltas[object_of, objects], target, reduction="sum")
            loss = loss + boxes * (self.regions.balance / (rows * columns * len(images)))
        return loss

    def _rows(self, x: Tensor, numbers: int) -> Tensor:
        """Return (N, numbers k, H, W) as (N, H W k, numbers), in the order of ``grid_anchors``."""
        n, _, height, width = x.shape
        k = len(self.anchors)
        if numbers == 2:  # scores: all anchors' first numbers, then their second
            return x.reshape(n, 2, k, height, width).permute(0, 3, 4, 2, 1).reshape(n, -1, 2)
        return x.reshape(n, k, numbers, height, width).permute(0, 3, 4, 1, 2).reshape(n, -1, numbers)

    # -------------------------------------------------------------------------------------------------------- in use
    def proposals(
        self, outputs: Outputs, sizes: Sequence[tuple[float, float]], rule: ProposalRule | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the proposals (P, 4) of each image, best first, and their scores (P,).

        Parameters
        ----------
        sizes : sequence of (height, width)
            Of the images, in pixels, without padding.
        rule : ProposalRule, optional
            By default that of training or of testing, after the model's mode.
        """
        rows, columns = outputs.scores.shape[2:]
        rule = rule or (self.regions.training if self.training else self.regions.testing)
        scores, deltas = (
            self._rows(part.detach(), numbers) for part, numbers in ((outputs.scores, 2), (outputs.deltas, 4))
        )
        anchors = grid_anchors(self.anchors, (rows, columns), self.stride).astype(deltas.dtype)
        rated = device.host((scores[:, :, 1] - scores[:, :, 0]).data)  # in the order of the softmax of the pair
        moved = device.host(deltas.data) * np.array(self.regions.std, deltas.dtype)
        return [propose(rated[n], moved[n], anchors, size, rule) for n, size in enumerate(sizes)]

    def propose(self, outputs: Outputs, image: np.ndarray) -> np.ndarray:
        """Return the proposals (P, 4) of an image (C, H, W): its own."""
        return self.proposals(outputs, [(image.shape[1], image.shape[2])])[0][0]


def faster_rcnn(
    num_classes: int = 20,
    *,
    backbone: str | None = None,
    pooling: str = "pool",
    svd: tuple[int, ...] | None = None,
    sizes: tuple[float, ...] | None = None,
    ratios: tuple[float, ...] | None = None,
    in_channels: int = 3,
    image_size: tuple[int, int] | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> FasterRCNN:
    """Build Faster R-CNN with initial weights: N(0, 0.01^2) in the region proposal network, else as Fast R-CNN.

    Train it with :func:`tinyconv.detection.train_detector` (approximate joint training), or in four steps:
    :func:`tinyconv.detection.train_in_four_steps`. Otherwise than in torchvision, ``model(images)`` takes one Tensor
    and returns maps, scores and deltas; ``model.loss(outputs, targets)`` is the loss, ``model.detect(image)`` finds
    objects.

    Parameters
    ----------
    num_classes : int
        K, without the background.
    backbone, pooling, svd
        As for :func:`tinyconv.models.fast_rcnn.fast_rcnn`.
    sizes, ratios : tuple of floats, optional
        Anchors: square roots of areas in pixels, and heights over widths. By default (128, 256, 512) and
        (0.5, 1, 2) ("lesson": 12, 18, 26): nine anchors. The paper's nine have the authors' rounded corners.
    image_size : (int, int)
        Height and width for ``summary``: 600 x 800 ("lesson": 64 x 64); images of every size fit.
    scale : str
        "paper", or "lesson".

    Examples
    --------
    >>> model = faster_rcnn(10, scale="lesson")
    >>> found = model.detect(np.zeros((3, 64, 64), np.float32))
    >>> found.boxes.shape[1], len(found.labels) == len(found.scores)
    (4, True)
    """
    name = "faster_rcnn"
    check_scale(name, scale, width)
    errors.check_choice(name, "pooling", pooling, ("pool", "align"))
    chosen, parts, plan = detector_parts(name, num_classes, backbone, svd, in_channels, scale, width, device, dtype)
    regions = SCALES[scale]
    for key, value in (("sizes", sizes), ("ratios", ratios)):
        if value is not None and (not isinstance(value, (tuple, list)) or not value):
            raise ValueError(f"{name}: {key} must be a tuple of one or more numbers, got {value!r}")
    regions = regions._replace(sizes=tuple(sizes or regions.sizes), ratios=tuple(ratios or regions.ratios))
    anchors = _anchors(regions, plan.stride, scale)
    place: dict[str, Any] = {"device": device, "dtype": dtype}
    channels = [layer.out_channels for layer in parts["backbone"].children() if isinstance(layer, nn.Conv2d)][-1]
    units, k = wide(regions.units[chosen], width), len(anchors)
    new = {
        "rpn_conv": nn.Conv2d(channels, units, 3, padding=1, **place),
        "rpn_score": nn.Conv2d(units, 2 * k, 1, **place),
        "rpn_delta": nn.Conv2d(units, 4 * k, 1, **place),
    }
    model = FasterRCNN(parts | new, roi=plan.roi, stride=plan.stride, pooling=pooling, sampling=SAMPLING[scale])
    model.regions, model.anchors = regions, anchors
    initialise_regions(model)
    size = FAST_SCALES[scale][0] if image_size is None else image_size
    return describe(
        model, name, (in_channels, *size), num_classes=num_classes, backbone=chosen, pooling=pooling, svd=svd,
        sizes=regions.sizes, ratios=regions.ratios, in_channels=in_channels, image_size=size, scale=scale, width=width,
        dtype=np.dtype(dtype).name,
    )  # fmt: skip


def initialise_regions(model: FasterRCNN) -> None:
    """Draw the region proposal network's weights from N(0, 0.01^2), biases 0 (sec. 3.1.3)."""
    for name in ("rpn_conv", "rpn_score", "rpn_delta"):
        init.normal_(model.get_submodule(name).weight, std=0.01)
        init.zeros_(model.get_submodule(name).bias)


def _anchors(regions: Regions, stride: int, scale: str) -> np.ndarray:
    """Return the anchors around the middle of a place: the authors' rounded ones for the paper's sizes and ratios."""
    usual = SCALES["paper"]
    if scale == "paper" and (regions.sizes, regions.ratios) == (usual.sizes, usual.ratios):
        return faithful_anchors() + np.array([0, 0, 1, 1]) - stride / 2  # corners as pixels -> edges
    return anchor_boxes(regions.sizes, regions.ratios)
