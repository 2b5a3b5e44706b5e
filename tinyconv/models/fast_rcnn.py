"""Fast R-CNN (Girshick 2015): one pass of the convolutions over the image, then RoI pooling for every proposal.

convolutions -> RoI pooling of each proposal -> fc6, fc7 -> cls_score (K + 1 classes, 0 is the background) and bbox_pred
(4 numbers for each of the K classes). See :func:`fast_rcnn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import device, errors, nn, random
from tinyconv.function import no_grad
from tinyconv.functional.roi import roi_align, roi_pool
from tinyconv.models.backbones import SEARCH, backbone, head, plan_of
from tinyconv.models.registry import describe
from tinyconv.models.stack import check_scale
from tinyconv.nn import functional as F
from tinyconv.nn import init
from tinyconv.nn.modes import kept_modes
from tinyconv.tensor import Tensor
from tinyconv.vision.boxes import check_boxes, clip_boxes, decode_boxes, encode_boxes
from tinyconv.vision.detections import Detections
from tinyconv.vision.nms import class_nms
from tinyconv.vision.sampling import label_proposals, sample_proposals
from tinyconv.vision.targets import ImageTargets, unpack_targets


class Sampling(NamedTuple):
    """Proposals of a training step (sec. 2.3): how many of an image, the share of objects, background's overlaps."""

    rois: int
    share: float
    background: tuple[float, float]


# fmt: off
SCALES: dict[str, tuple[Any, ...]] = {
    #         image   dropout  proposals of an image
    "paper":  ((600, 800), 0.5, Sampling(64, 0.25, (0.1, 0.5))),
    "lesson": ((64, 64), 0.0, Sampling(32, 0.25, (0.1, 0.5))),
}
# fmt: on
# The regressor's outputs times this are the deltas: targets then have about unit variance (the authors' later
# programs; the paper takes mean and deviation of its training set).
DELTA_STD = (0.1, 0.1, 0.2, 0.2)


class Learnt(NamedTuple):
    """What the detector's head said of sampled proposals, and what it should have said."""

    scores: Tensor  # (R, K + 1)
    deltas: Tensor  # (R, 4 K)
    classes: np.ndarray  # (R,), 0 for background
    wanted: np.ndarray  # (R, 4), rows of background are 0


class FastRCNN(nn.Module):
    """See :func:`fast_rcnn`.

    Attributes
    ----------
    backbone : Sequential
        Convolutions; ``stride`` pixels of the image lie between two units of their last map.
    head : Sequential
        From pooled maps (R, C, roi, roi) to the units that both outputs share.
    cls_score, bbox_pred : Linear
    sampling : Sampling
        Which proposals a training step takes.
    """

    def __init__(self, parts: dict[str, nn.Module], *, roi: int, stride: int, pooling: str, sampling: Sampling) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.roi, self.stride, self.pooling, self.sampling = roi, stride, pooling, sampling
        self.search: dict[str, Any] = {}

    def forward(self, images: Tensor) -> Any:
        """Map images (N, C, H, W) to the last map (N, channels, H / stride, W / stride)."""
        return self.get_submodule("backbone")(images)

    def summary_note(self, rows: Any) -> str:
        """Return what the table of ``summary`` cannot know: the head runs once for each region."""
        weights = sum(p.numel() for name, p in self.named_parameters() if p.ndim == 2 and not name.startswith("rpn"))
        return f"(not run): the head, once for each region: {weights:,} MACs"

    # ------------------------------------------------------------------------------------------------------- the head
    def features(self, maps: Tensor, boxes: Sequence[np.ndarray]) -> Tensor:
        """Return the units (R, F) that both outputs share, of the boxes of each image, one image after the other."""
        rois = _rois(boxes, self.pooling, maps)
        pool = roi_pool if self.pooling == "pool" else roi_align
        return self.get_submodule("head")(pool(maps, rois, (self.roi, self.roi), 1 / self.stride))

    def classify(self, maps: Tensor, boxes: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Return scores (R, K + 1) and box outputs (R, 4 K) of the boxes of each image, one image after the other."""
        shared = self.features(maps, boxes)
        return self.get_submodule("cls_score")(shared), self.get_submodule("bbox_pred")(shared)

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """Return the multi-task loss of a batch of images with proposals (eq. 1, sec. 2.3).

        L = mean over the R sampled proposals of -ln p_u + [u >= 1] sum over x, y, w, h of smoothL1(t^u - v)

        Parameters
        ----------
        outputs : Tensor
            What ``forward`` returned.
        targets : Tensor, (N, M, 5)
            Rows as :mod:`tinyconv.vision.targets` has them: size, objects, proposals.
        """
        images = unpack_targets(device.host(targets.data))
        return multitask_loss(self.learn(outputs, images, [image.proposals for image in images]))

    def learn(self, maps: Tensor, images: Sequence[ImageTargets], proposals: Sequence[np.ndarray]) -> Learnt:
        """Sample proposals, the true boxes among them, and run the head on them.

        Raises
        ------
        ValueError
            There is nothing to learn from: no image has a proposal or an object.
        """
        sampled, classes, wanted = [], [], []
        generators = self._generators("rois", len(images))
        for image, proposed, rng in zip(images, proposals, generators, strict=True):
            candidates = np.concatenate([image.boxes, proposed.reshape(-1, 4)]).astype(np.float32)
            found, overlaps, matched = label_proposals(candidates, image.boxes, image.labels)
            rule = self.sampling
            some = sample_proposals(found, overlaps, rule.rois, rng, share=rule.share, background=rule.background)
            sampled.append(candidates[some])
            classes.append(found[some])
            wanted.append(_deltas(candidates[some], image.boxes, matched[some], found[some]))
        if not sum(map(len, sampled)):
            raise ValueError(
                f"{type(self).__name__}: a batch must have proposals or objects to learn from, got none in "
                f"{len(images)} images; leave such images out, or search for more proposals"
            )
        return Learnt(*self.classify(maps, sampled), np.concatenate(classes), np.concatenate(wanted))

    def _generators(self, stream: str, count: int) -> list[np.random.Generator]:
        """Return a generator for each image: of the step in training, always the same ones in evaluation."""
        if self.training:
            return random.sample_generators(stream, count)
        return [random.generator(0, stream, 0, i) for i in range(count)]

    # ---------------------------------------------------------------------------------------------------------- in use
    def propose(self, outputs: Any, image: np.ndarray) -> np.ndarray:
        """Return the proposals (P, 4) of an image (C, H, W): those of selective search."""
        from tinyconv.vision.selective_search import selective_search  # it compiles for some seconds

        return selective_search(image, **self.search)

    @no_grad()
    def detect(
        self, image: np.ndarray, proposals: np.ndarray | None = None, *, least: float = 0.05, iou: float = 0.3,
        top: int = 100,
    ) -> Detections:  # fmt: skip
        """Find the objects in an image, in evaluation mode.

        Parameters
        ----------
        image : array, (C, H, W)
            Of any size, prepared as the training images were.
        proposals : array, (P, 4), optional
            Boxes to look at, in pixels of ``image``; by default those of :meth:`propose`, for which Fast R-CNN needs an
            image with values in [0, 1]. :func:`tinyconv.detection.evaluation.detect_in` searches the picture itself.
        least : float
            Probability below which nothing is reported.
        iou : float
            Of two boxes of a class that overlap more, the less probable is dropped.
        top : int
            Detections per class at most.

        Returns
        -------
        Detections
            Best first: boxes (R, 4) in pixels of ``image``, labels (R,) from 0 (the background is none), scores (R,).
        """
        who, image = f"{type(self).__name__}.detect", np.asarray(image)
        if image.ndim != 3:
            raise ValueError(f"{who}: wanted one image (C, H, W), got shape {image.shape}")
        if top < 1:
            raise ValueError(f"{who}: top must be at least 1, got {top}")
        given = None if proposals is None else _checked(who, proposals)
        with kept_modes(self):
            self.eval()
            where = next(self.parameters())
            outputs = self(Tensor(device.move(image[None].astype(where.dtype, copy=False), where.device)))
            found = self.propose(outputs, image) if given is None else given
            boxes, scores = self._rate(outputs, found.astype(np.float32), image.shape[1:])
        return class_nms(boxes, scores, iou, least=least, top=top)

    def _rate(self, outputs: Any, proposals: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return boxes (P, K, 4) and probabilities (P, K) of the classes for each proposal."""
        if not len(proposals):
            classes = self.get_submodule("cls_score").out_features - 1
            return np.zeros((0, classes, 4), np.float32), np.zeros((0, classes), np.float32)
        scores, deltas = self.classify(self.maps(outputs), [proposals])
        probabilities = device.host(F.softmax(scores, 1).data)[:, 1:]
        moved = device.host(deltas.data).reshape(len(proposals), -1, 4) * np.array(DELTA_STD, np.float32)
        boxes = decode_boxes(proposals[:, None], moved)
        return clip_boxes(boxes, (size[0], size[1])), probabilities

    @staticmethod
    def maps(outputs: Any) -> Tensor:
        """Return the last map among the outputs of ``forward``."""
        return outputs

    # ----------------------------------------------------------------------------------------------------- its weights
    def init_from(self, classifier: nn.Module) -> list[str]:
        """Copy the layers that a trained classifier has too (conv1_1, ..., fc6, fc7), and return their names.

        Raises
        ------
        ValueError
            A layer of this name has another shape, or there is none; nothing is copied then.
        """
        given = dict(classifier.named_modules())
        pairs = [
            (name, layer, given[name])
            for part in ("backbone", "head")
            for name, layer in self.get_submodule(part).named_children()
            if isinstance(layer, (nn.Conv2d, nn.Linear)) and name in given
        ]
        wrong = [name for name, own, other in pairs if own.weight.shape != other.weight.shape]
        if wrong or not pairs:
            raise ValueError(
                f"{type(self).__name__}.init_from: wanted a classifier with the same layers, got one "
                + (f"whose {', '.join(wrong)} have other shapes" if wrong else "that has none of them")
            )
        with no_grad():
            for _, own, other in pairs:
                for parameter, source in zip(own.parameters(), other.parameters(), strict=True):
                    parameter.copy_(source)
        return [name for name, *_ in pairs]

    def freeze(self, last: str) -> list[str]:
        """Exclude the convolutions up to ``last`` from training (sec. 4.5: VGG-16 learns from conv3_1 on)."""
        names = [name for name, layer in self.get_submodule("backbone").named_children() if hasattr(layer, "weight")]
        errors.check_choice(f"{type(self).__name__}.freeze", "last", last, tuple(names))
        frozen = names[: names.index(last) + 1]
        for name in frozen:
            for parameter in self.get_submodule(f"backbone.{name}").parameters():
                parameter.requires_grad_(False)
        return frozen


def _checked(who: str, proposals: Any) -> np.ndarray:
    """Return proposals as (P, 4); ValueError unless they are finite and their corners the right way round."""
    boxes = np.asarray(proposals)
    boxes = check_boxes(who, boxes.reshape(0, 4) if not boxes.size else boxes)
    if boxes.ndim != 2 or not np.isfinite(boxes).all() or (boxes[:, :2] > boxes[:, 2:]).any():
        raise ValueError(f"{who}: proposals must be finite (P, 4) with x1 <= x2 and y1 <= y2, got shape {boxes.shape}")
    return boxes


def _rois(boxes: Sequence[np.ndarray], pooling: str, maps: Tensor) -> Tensor:
    """Return the boxes as rows (image, x1, y1, x2, y2) beside the maps.

    RoI pooling counts the far corner as a pixel of the box (+1 convention): it lies one before the far edge.
    """
    counts = [len(part) for part in boxes]
    rows = np.concatenate([np.repeat(np.arange(len(boxes)), counts)[:, None], np.concatenate(list(boxes))], axis=1)
    if pooling == "pool":
        rows[:, 3:] -= 1
    return Tensor(device.move(np.ascontiguousarray(rows, maps.dtype), maps.device))


def _deltas(proposals: np.ndarray, truth: np.ndarray, matched: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the regression targets over DELTA_STD (R, 4); 0 for background."""
    found = np.zeros((len(proposals), 4), np.float32)
    objects = classes > 0
    if objects.any():
        found[objects] = encode_boxes(proposals[objects], truth[matched[objects]]) / np.array(DELTA_STD)
    return found


def multitask_loss(learnt: Learnt) -> Tensor:
    """Return the sum of both tasks' losses, each a mean over all R proposals."""
    scores, deltas, classes, wanted = learnt
    loss = F.cross_entropy(scores, Tensor(device.move(classes, scores.device)))
    rows = np.flatnonzero(classes)
    if not len(rows):
        return loss
    own = deltas.reshape(len(classes), -1, 4)[rows, classes[rows] - 1]
    target = Tensor(device.move(wanted[rows].astype(deltas.dtype), deltas.device))
    return loss + F.smooth_l1_loss(own, target, reduction="sum") / len(classes)


def fast_rcnn(
    num_classes: int = 20,
    *,
    backbone: str | None = None,
    pooling: str = "pool",
    svd: tuple[int, ...] | None = None,
    search: str | None = None,
    in_channels: int = 3,
    image_size: tuple[int, int] | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> FastRCNN:
    """Build Fast R-CNN with initial weights: new layers as in sec. 2.3, the others after He et al. 2015.

    Train it with :func:`tinyconv.detection.train_detector` on images with proposals, see
    :class:`tinyconv.data.DetectionDataset`; begin with a classifier's weights: :meth:`FastRCNN.init_from`.

    Parameters
    ----------
    num_classes : int
        K, without the background.
    backbone : str, optional
        "vgg16" (stride 16, RoI pooling to 7x7) or "zf" (6x6); at scale "lesson" "small" (stride 4, 5x5).
    pooling : {"pool", "align"}
        RoI max pooling (sec. 2.1), or RoI align of He et al. 2017, which does not round.
    svd : tuple of ints, optional
        How many singular values of fc6, fc7 are kept (sec. 3.1): each becomes two smaller layers.
        :func:`tinyconv.models.svd.compress` makes such a network of a trained one.
    search : {"paper", "lesson"}, optional
        Settings of selective search in use, by default those of the scale: :data:`tinyconv.models.backbones.SEARCH`.
    image_size : (int, int)
        Height and width for ``summary``; images of every size fit.
    scale : str
        "paper", or "lesson": for images of 64 pixels and objects of 14 to 28.

    Raises
    ------
    ValueError
        An unknown backbone, pooling or scale.
    """
    name = "fast_rcnn"
    check_scale(name, scale, width)
    errors.check_choice(name, "pooling", pooling, ("pool", "align"))
    search = scale if search is None else search
    errors.check_choice(name, "search", search, tuple(SEARCH))
    chosen, parts, plan = detector_parts(name, num_classes, backbone, svd, in_channels, scale, width, device, dtype)
    size, _, sampling = SCALES[scale]
    model = FastRCNN(parts, roi=plan.roi, stride=plan.stride, pooling=pooling, sampling=sampling)
    model.search = dict(SEARCH[search])
    size = size if image_size is None else image_size
    return describe(
        model, name, (in_channels, *size), num_classes=num_classes, backbone=chosen, pooling=pooling, svd=svd,
        search=search, in_channels=in_channels, image_size=size, scale=scale, width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip


def detector_parts(
    who: str, num_classes: int, name: str | None, svd: Any, in_channels: int, scale: str, width: float, where: str,
    dtype: Any,
) -> tuple[str, dict[str, nn.Module], Any]:  # fmt: skip
    """Return the backbone's name, the modules of a Fast R-CNN with initial weights, and the backbone's plan."""
    if isinstance(num_classes, bool) or not isinstance(num_classes, (int, np.integer)) or num_classes < 1:
        raise ValueError(f"{who}: num_classes must be an int of at least 1, got {num_classes!r}")
    chosen, plan = plan_of(who, name, scale)
    place = {"device": where, "dtype": dtype}
    trunk, channels = backbone(plan, in_channels, width, place)
    layers, units = head(who, plan, channels, width, SCALES[scale][1], svd, place)
    for layer in (*trunk.modules(), *layers.modules()):
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                init.zeros_(layer.bias)
    parts: dict[str, nn.Module] = {"backbone": trunk, "head": layers}
    for new, outputs, std in (("cls_score", num_classes + 1, 0.01), ("bbox_pred", 4 * num_classes, 0.001)):
        parts[new] = nn.Linear(units, outputs, **place)
        init.normal_(parts[new].weight, std=std)
        init.zeros_(parts[new].bias)
    return chosen, parts, plan
