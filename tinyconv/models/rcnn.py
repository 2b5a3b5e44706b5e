"""R-CNN (Girshick et al. 2014): a classifier looks at every proposal, warped to its input, one after the other.

proposal -> crop with context -> the classifier's last hidden layer -> one linear SVM per class -> non-maximum
suppression per class -> box regression from the last pool. See :func:`rcnn`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from tinyconv import device, errors, nn
from tinyconv.creation import ones, zeros
from tinyconv.function import no_grad
from tinyconv.models.alexnet import alexnet
from tinyconv.models.backbones import SEARCH
from tinyconv.models.rcnn_heads import Machines, Regressors
from tinyconv.models.registry import describe
from tinyconv.models.stack import Stack, check_scale, he_, wide
from tinyconv.models.vgg import vgg
from tinyconv.models.zfnet import zfnet
from tinyconv.nn import functional as F
from tinyconv.nn.modes import kept_modes
from tinyconv.tensor import Tensor
from tinyconv.threads import limited_threads
from tinyconv.vision.boxes import check_boxes, clip_boxes, decode_boxes
from tinyconv.vision.detections import Detections
from tinyconv.vision.nms import best_first, kept_of_classes
from tinyconv.vision.warp import context_scale, warp_many

# fmt: off
SCALES: dict[str, tuple[int, dict[str, Any]]] = {
    #         padding  search for proposals (selective_search's arguments)
    "paper":  (16,     SEARCH["paper"]),
    "lesson": (4,      SEARCH["lesson"]),
}
# fmt: on
_AT_ONCE = 128  # crops that go through the network together: memory and time, not the result


class Features(NamedTuple):
    """What the network computes of P crops.

    Attributes
    ----------
    top : array, (P, F)
        The last hidden layer after its ReLU: fc7. The SVMs' input.
    pool : array, (P, D)
        The last pool: pool5. The box regressors' input.
    scores : array, (P, K + 1)
        Of the classifier, before the softmax; 0 is the background.
    """

    top: np.ndarray
    pool: np.ndarray
    scores: np.ndarray


class RCNN(nn.Module):
    """See :func:`rcnn`.

    SVMs, box regressors and the images' mean are buffers, so a checkpoint holds the whole detector.

    Attributes
    ----------
    network : Sequential
        A classifier of K + 1 classes; 0 is the background.
    svms : Machines
    regressors : Regressors
    mean, std : Tensor, (C,)
        Of the pixels: images are taken minus the mean, over the deviation. 0 and 1 unless training sets them.
    num_classes : int
        K.
    crop, padding : int
        Side of the network's input, and the context around a proposal on every side, in pixels of the crop.
    search : dict
        What ``detect`` gives to ``selective_search``, where it has to look for proposals itself.
    """

    def __init__(
        self, network: nn.Module, num_classes: int, channels: int, crop: int, padding: int, search: dict[str, Any]
    ) -> None:
        super().__init__()
        context_scale(crop, padding)  # checks them
        self.network, self.num_classes = network, num_classes
        self.crop, self.padding, self.search = crop, padding, dict(search)
        layers = dict(network.named_children())
        self._top = [name for name, layer in layers.items() if isinstance(layer, nn.ReLU)][-1]
        fully = [layer for layer in layers.values() if isinstance(layer, nn.Linear)]
        self._widths = (fully[0].in_features, fully[-1].in_features)
        first = next(network.parameters())
        where: dict[str, Any] = {"device": first.device, "dtype": first.dtype}
        self.svms = Machines(num_classes, self._widths[1], where)
        self.regressors = Regressors(num_classes, self._widths[0], where)
        self.register_buffer("mean", zeros(channels, **where))
        self.register_buffer("std", ones(channels, **where))

    def forward(self, crops: Tensor) -> Tensor:
        """Return the classifier's scores (P, K + 1) of crops (P, C, crop, crop), which :meth:`prepare` has seen."""
        return self.network(crops)

    # ----------------------------------------------------------------------------------------------------- the pixels
    def set_pixels(self, mean: np.ndarray, std: np.ndarray) -> None:
        """Set the mean and the deviation of each channel's pixels."""
        for name, value in (("mean", mean), ("std", std)):
            old, value = getattr(self, name), np.asarray(value)
            if value.shape != tuple(old.shape) or not np.isfinite(value).all() or (name == "std" and value.min() <= 0):
                raise ValueError(
                    f"RCNN.set_pixels: {name} must be {len(old)} finite numbers, one per channel"
                    f"{' and above 0' if name == 'std' else ''}, got {value.tolist()}"
                )
            setattr(self, name, Tensor(device.move(value.astype(old.dtype), old.device)))

    def prepare(self, images: np.ndarray) -> np.ndarray:
        """Return images (..., C, H, W) minus the mean, over the deviation."""
        images = np.asarray(images)
        mean, std = (device.host(value.data) for value in (self.mean, self.std))
        if images.ndim < 3 or images.shape[-3] != len(mean) or images.dtype.kind != "f":
            raise ValueError(
                f"RCNN: images must be floating (C, H, W) with C = {len(mean)}, got {images.dtype} of shape "
                f"{images.shape}"
            )
        return (images - mean[:, None, None]) / std[:, None, None]

    # ------------------------------------------------------------------------------------------------------- features
    def features(self, crops: np.ndarray) -> Features:
        """Return the :class:`Features` of prepared crops (P, C, crop, crop), computed in evaluation mode."""
        crops, wanted = np.asarray(crops), (len(self.mean), self.crop, self.crop)
        if crops.ndim != 4 or crops.shape[1:] != wanted:
            raise ValueError(f"RCNN.features: crops must be (P, {', '.join(map(str, wanted))}), got {crops.shape}")
        return self._measure(crops[i : i + _AT_ONCE] for i in range(0, len(crops), _AT_ONCE))

    def look(self, image: np.ndarray, boxes: np.ndarray) -> Features:
        """Return the :class:`Features` of boxes (P, 4) of an image (C, H, W): each is warped to a crop with context."""
        image, boxes = self.prepare(image), _checked_boxes("RCNN", boxes)
        parts = (boxes[i : i + _AT_ONCE] for i in range(0, len(boxes), _AT_ONCE))
        return self._measure(warp_many(image, part, self.crop, self.padding) for part in parts)

    def _measure(self, parts: Iterable[np.ndarray]) -> Features:
        kept: dict[str, list[np.ndarray]] = {"flatten": [], self._top: [], "scores": []}
        where = next(self.parameters())
        with kept_modes(self), no_grad(), limited_threads(self):
            self.eval()
            for crops in parts:
                x = Tensor(device.move(crops.astype(where.dtype, copy=False), where.device))
                for name, layer in self.network.named_children():
                    x = layer(x)
                    if name in kept:
                        kept[name].append(device.host(x.data))
                kept["scores"].append(device.host(x.data))
        empty = (np.zeros((0, width), where.dtype) for width in (*self._widths, self.num_classes + 1))
        pool, top, scores = (np.concatenate([none, *rows]) for none, rows in zip(empty, kept.values(), strict=True))
        return Features(top, pool, scores)

    # ------------------------------------------------------------------------------------------------------ detection
    def propose(self, image: np.ndarray) -> np.ndarray:
        """Return the proposals (P, 4) of selective search for an image with values in [0, 1]."""
        from tinyconv.vision.selective_search import selective_search  # compiles for some seconds

        return selective_search(image, **self.search)

    def detect(
        self,
        image: np.ndarray,
        proposals: np.ndarray | None = None,
        *,
        least: float | None = None,
        iou: float = 0.3,
        top: int = 100,
        scores: str = "svm",
        regress: bool | None = None,
    ) -> Detections:
        """Find the objects in an image.

        As in the released code, a box is regressed once and last: suppression has looked at the proposals, and what
        it left is not compared again.

        Parameters
        ----------
        image : array, (C, H, W)
            Of any size, with values as the training images had; :meth:`prepare` is called here.
        proposals : array, (P, 4), optional
            Boxes to look at, in pixels of ``image``; by default those of :meth:`propose`, for which the image must
            have values in [0, 1].
        least : float, optional
            Score below which nothing is reported; by default everything is, which is what average precision wants. An
            SVM's margin ends at -1 and 1.
        iou : float
            Of two proposals of a class that overlap more, the one with the lower score is dropped.
        top : int
            Detections per class at most.
        scores : {"svm", "softmax"}
            What boxes are rated by: the SVMs, or the classifier's probabilities.
        regress : bool, optional
            Whether to correct the boxes; by default if there are regressors.

        Raises
        ------
        ValueError
            The image or the boxes have a wrong shape, or a score is NaN.
        RuntimeError
            There are no trained SVMs, or no regressors.
        """
        regress = self.regressors.trained if regress is None else regress
        self._check_trained(scores, regress)
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[0] != len(self.mean) or image.dtype.kind != "f":
            raise ValueError(
                f"RCNN.detect: image must be one floating ({len(self.mean)}, H, W), got {image.dtype} of shape "
                f"{image.shape}"
            )
        boxes = self.propose(image) if proposals is None else _checked_boxes("RCNN.detect", proposals)
        seen = self.look(image, boxes)
        rated = self.rate(seen, scores)
        every = np.broadcast_to(boxes[:, None], (*rated.shape, 4))  # each class sees the same boxes
        least = -np.inf if least is None else least
        kept, labels = kept_of_classes("RCNN.detect", every, rated, iou, least=least, top=top)
        chosen = boxes[kept]
        if regress:
            deltas = self.regressors.deltas(seen.pool[kept], labels)
            chosen = clip_boxes(decode_boxes(chosen, deltas), (image.shape[1], image.shape[2]))
        ratings = rated[kept, labels]
        order = best_first(ratings)
        return Detections(chosen[order], labels[order], ratings[order])

    def rate(self, features: Features, scores: str = "svm") -> np.ndarray:
        """Return the scores (P, K) of the classes, without the background."""
        if scores == "softmax":
            return F.softmax(Tensor(features.scores), 1).numpy()[:, 1:]
        return self.svms.rate(features.top)

    def _check_trained(self, scores: str, regress: bool) -> None:
        errors.check_choice("RCNN.detect", "scores", scores, ("svm", "softmax"))
        for what, wanted, fitted, other in (
            ("svms", scores == "svm", self.svms, 'scores="softmax"'),
            ("regressors", regress, self.regressors, "regress=False"),
        ):
            if wanted and not fitted.trained:
                raise RuntimeError(
                    f"RCNN.detect: the {what} are not trained; call "
                    f"tinyconv.detection.rcnn_training.fit_{what}(model, ...), or say {other}"
                )


def _checked_boxes(who: str, boxes: np.ndarray) -> np.ndarray:
    """Return the boxes as (P, 4), those of an empty list too; ValueError if they are none."""
    boxes = check_boxes(who, np.zeros((0, 4)) if np.shape(boxes) == (0,) else boxes)
    if boxes.ndim != 2:
        raise ValueError(f"{who}: boxes must be (P, 4), got shape {boxes.shape}")
    return boxes


def _small(classes: int, in_channels: int, size: int | None, scale: str, width: float, where: dict) -> nn.Module:
    """Return three 3x3 convolutions with a 2x2 pool after each, fc6 and fc8."""
    size = 32 if size is None else size
    stack = Stack("rcnn", in_channels, size, scale, where)
    for number, filters in enumerate((16, 32, 32), 1):
        stack.conv(number, wide(filters, width), 3, 1, 1)
        stack.pool(number, 2, 2)
    if stack.side < 1:
        raise ValueError(f"rcnn: image_size={size} is too small, no pixel is left after pool3")
    hidden = wide(64, width)
    layers = stack.layers | {
        "flatten": nn.Flatten(),
        "fc6": nn.Linear(stack.channels * stack.side**2, hidden, **where),
        "relu6": nn.ReLU(),
        "fc8": nn.Linear(hidden, classes, **where),
    }
    model = nn.Sequential(layers)
    model.input_shape = (in_channels, size, size)
    he_(model)
    return model


def _finished(builder: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Return a backbone that is one of the finished classifiers."""

    def build(classes: int, in_channels: int, size: int | None, scale: str, width: float, where: dict) -> nn.Module:
        return builder(classes, in_channels=in_channels, image_size=size, scale=scale, width=width, **where)

    return build


#: The classifiers, and the side of their crops at both scales (None: their own); the first of a scale is its default.
_CLASSIFIERS = {"alexnet": _finished(alexnet), "vgg16": _finished(vgg), "zf": _finished(zfnet), "small": _small}
BACKBONES = {"paper": ("alexnet", "vgg16", "zf"), "lesson": ("small", "alexnet", "vgg16", "zf")}


def rcnn(
    num_classes: int = 20,
    *,
    backbone: str | None = None,
    in_channels: int = 3,
    image_size: int | None = None,
    padding: int | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> RCNN:
    """Build R-CNN with initial weights, and neither SVMs nor box regressors; see :mod:`tinyconv.detection` to train it.

    Parameters
    ----------
    num_classes : int
        K, without the background; the classifier has K + 1 outputs.
    backbone : str, optional
        "paper": "alexnet" (the default; 227-pixel crops, fc7 of 4096, pool5 of 9216), "vgg16" (sec. 3.3; 224) or "zf".
        "lesson": "small" (the default: 3x3 convolutions of 16, 32, 32 filters, each with ReLU and a 2x2 pool, then fc6
        of 64), or one of the others at its lesson scale.
    image_size : int, optional
        Side of the crops in pixels, by default the classifier's: 227 or 224; "lesson": 32. The images may have any
        size.
    padding : int, optional
        Context on every side of a proposal, in pixels of the crop: 16; "lesson": 4.
    scale : str
        "paper" or "lesson".
    width : float
        Factor of all filters and hidden units.

    Raises
    ------
    ValueError
        An unknown backbone or scale, crops so small that nothing is left of them, or so much padding that no box is.
    """
    name = "rcnn"
    check_scale(name, scale, width)
    backbone = BACKBONES[scale][0] if backbone is None else backbone
    errors.check_choice(name, f"backbone at scale={scale!r}", backbone, BACKBONES[scale])
    if isinstance(num_classes, bool) or not isinstance(num_classes, (int, np.integer)) or num_classes < 1:
        raise ValueError(f"{name}: num_classes must be an int of at least 1, got {num_classes!r}")
    size = 32 if image_size is None and scale == "lesson" else image_size
    where = {"device": device, "dtype": dtype}
    network = _CLASSIFIERS[backbone](num_classes + 1, in_channels, size, scale, width, where)
    assert network.input_shape is not None
    size = network.input_shape[1]
    context, search = SCALES[scale]
    context = context if padding is None else padding
    model = RCNN(network, num_classes, in_channels, size, context, search)
    return describe(
        model, name, (in_channels, size, size), num_classes=num_classes, backbone=backbone, in_channels=in_channels,
        image_size=size, padding=context, scale=scale, width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip
