"""Localisation by regression: a classifier's last layer gives a box instead (Simonyan & Zisserman 2014, appendix A).

A box is predicted as centre x, centre y, width, height, here divided by the side of the image. SCR, single-class
regression, has one box for all classes (4 outputs); PCR, per-class regression, one for each (4 * classes outputs).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyconv import device, errors, nn
from tinyconv.models.dense import FullyConvolutional, fully_convolutional
from tinyconv.nn import init
from tinyconv.tensor import Tensor
from tinyconv.views import check_images, outputs
from tinyconv.vision.boxes import box_iou, check_boxes, paired_iou, to_centre, to_corners

KINDS = ("scr", "pcr")


def box_network(model: nn.Module, kind: str = "pcr", *, layer: str = "fc8", std: float = 0.01) -> nn.Module:
    """Return a copy of a classifier whose last layer predicts boxes.

    Parameters
    ----------
    model : Sequential
        A trained classifier: all layers but the last keep its weights (the copies are trained with the rest).
    kind : {"scr", "pcr"}
        One box for all classes, or one per class; outputs 4 k to 4 k + 3 are the box of class k.
    layer : str
        Name of the last layer, a Linear.
    std : float
        The new layer's weights are N(0, std^2). Its biases describe the box in the middle of half the image's side.

    Returns
    -------
    Module
        Output (N, 4) or (N, 4 * classes): centre x, centre y, width, height over the side of the image.

    Raises
    ------
    ValueError
        An unknown kind, or the layer is not the model's last one or no Linear.
    """
    errors.check_choice("box_network", "kind", kind, KINDS)
    last = dict(model.named_children()).get(layer)
    if not isinstance(last, nn.Linear) or list(model.children())[-1] is not last:
        raise ValueError(f"box_network: layer must name the model's last layer, a Linear, got {layer!r}, {last!r}")
    boxes = 1 if kind == "scr" else last.out_features
    where: dict[str, Any] = {"device": last.weight.device, "dtype": last.weight.dtype}
    head = nn.Linear(last.in_features, 4 * boxes, **where)
    init.normal_(head.weight, std=std)
    init.constant_(head.bias, 0.5)
    twin = copy.deepcopy(model)
    setattr(twin, layer, head)
    twin.config = None  # its builder would make the classifier
    return twin


def encode(boxes: np.ndarray, side: int) -> np.ndarray:
    """Return corner boxes (..., 4) in pixels as centre and size over ``side``, what the network predicts."""
    return to_centre(boxes) / side


def decode(values: np.ndarray, side: int) -> np.ndarray:
    """Return predictions (..., 4) as corner boxes in pixels; the inverse of :func:`encode`."""
    return to_corners(check_boxes("decode", values) * side)


@dataclass(frozen=True)
class EuclideanLoss:
    """Half the squared distance of predicted and true box, the mean over the batch.

    L = 1 / (2 N) * sum_n ||p_n - t_n||^2, where p_n are the 4 outputs of SCR, or those 4 of PCR that belong to the
    image's class: no other class's box gets a gradient.

    Parameters
    ----------
    side : int
        Height and width of the images, in pixels.

    Raises
    ------
    ValueError
        When called: targets are not (N, 5) of (label, x1, y1, x2, y2), as ``Scenes.localisation`` gives them, or the
        outputs do not fit them.
    """

    side: int

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (N, 4) or (N, 4 K) for targets (N, 5)."""
        if targets.ndim != 2 or targets.shape[1] != 5 or outputs.ndim != 2 or len(outputs) != len(targets):
            raise ValueError(
                "EuclideanLoss: wanted outputs (N, 4 K) and targets (N, 5) of label, x1, y1, x2, y2, "
                f"got {outputs.shape} and {targets.shape}"
            )
        if not len(targets):
            raise ValueError("EuclideanLoss: wanted at least one image, got an empty batch")
        truth = device.host(targets.data)
        wanted = Tensor(device.move(encode(truth[:, 1:], self.side).astype(outputs.dtype), outputs.device))
        difference = _own_box("EuclideanLoss", outputs, truth[:, 0]) - wanted
        return (difference * difference).sum() / (2 * len(truth))


def _own_box(who: str, outputs: Any, labels: np.ndarray) -> Any:
    """Return the four outputs (N, 4) of each image's class; SCR has only four."""
    classes, rest = divmod(outputs.shape[1], 4)
    if rest or classes < 1:
        raise ValueError(f"{who}: wanted outputs of 4 numbers per box, got {outputs.shape}")
    if labels.shape != (len(outputs),):
        raise ValueError(f"{who}: labels must be ({len(outputs)},), one per image, got shape {labels.shape}")
    if classes == 1:
        return outputs
    labels = labels.astype(np.int64)
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"{who}: labels must lie in 0..{classes - 1}, got {labels.min()}..{labels.max()}")
    return outputs.reshape(len(labels), classes, 4)[np.arange(len(labels)), labels]


def predict_boxes(
    network: nn.Module, images: np.ndarray, labels: np.ndarray | None = None, *, batch_size: int = 64
) -> np.ndarray:
    """Return one corner box (N, 4) in pixels for each square image (N, C, S, S) of the network's own size.

    Parameters
    ----------
    labels : array, (N,), optional
        The class whose box is wanted: needed for PCR (the paper's first comparison takes the true class).
    """
    images = check_images("predict_boxes", images)
    if images.shape[2] != images.shape[3]:
        raise ValueError(f"predict_boxes: images must be square, got {images.shape[2]}x{images.shape[3]}")
    values = outputs(network, images, batch_size)
    if values.shape[1] > 4 and labels is None:
        raise ValueError(f"predict_boxes: {values.shape[1]} outputs are one box per class; give the labels")
    known = np.zeros(len(values), int) if labels is None else np.asarray(labels)
    return decode(_own_box("predict_boxes", values, known), images.shape[2])


# ------------------------------------------------------------------------------------------------ dense application


def dense_boxes(
    network: nn.Module, classifier: nn.Module, images: np.ndarray, *, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Apply a box network and its classifier to whole images: a box and class scores for every place of the map.

    Parameters
    ----------
    network, classifier : Module
        Of one architecture up to the last layer, trained on square images.
    images : array, (N, C, H, W)
        At least as large as those.

    Returns
    -------
    boxes : array, (N, places, K, 4)
        Corner boxes in pixels of the images; K = 1 for SCR.
    scores : array, (N, places, classes)
        The classifier's scores, before any softmax.
    """
    nets = [m if isinstance(m, FullyConvolutional) else fully_convolutional(m) for m in (network, classifier)]
    window, stride = nets[0].window, nets[0].stride
    if (window, stride) != (nets[1].window, nets[1].stride) or window[0] != window[1]:
        raise ValueError(
            "dense_boxes: both networks must have one square window and one stride, got windows "
            f"{window}, {nets[1].window} and strides {stride}, {nets[1].stride}"
        )
    values, scores = (outputs(net, images, batch_size) for net in nets)
    count, channels, rows, columns = values.shape
    places = values.reshape(count, channels // 4, 4, rows * columns).transpose(0, 3, 1, 2)
    r, c = np.divmod(np.arange(rows * columns), columns)
    origin = np.stack([c * stride[1], r * stride[0]] * 2, axis=1)[None, :, None].astype(values.dtype)
    return decode(places, window[0]) + origin, scores.reshape(count, scores.shape[1], -1).transpose(0, 2, 1)


def merge_boxes(boxes: np.ndarray, scores: np.ndarray, iou: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Merge boxes that lie close together, greedily, and rate them by class score (Sermanet et al. 2014, sec. 4.2).

    While the two closest boxes overlap with at least ``iou``, both are replaced by one: the mean of the corners of all
    predictions in it, its score the sum of theirs. Sermanet et al. measure closeness by centre distance and
    intersection; here it is the IoU.

    Parameters
    ----------
    boxes : array, (R, 4)
    scores : array, (R,)
        Class probabilities, or any ratings that may be added.
    iou : float
        In (0, 1].

    Returns
    -------
    boxes : array, (M, 4)
        Best first.
    scores : array, (M,)

    Examples
    --------
    >>> merged, rating = merge_boxes(np.array([[0, 0, 10, 10], [2, 0, 12, 10], [30, 0, 40, 10]]), np.array([0.5, 1, 1]))
    >>> merged.tolist(), rating.tolist()
    ([[1.0, 0.0, 11.0, 10.0], [30.0, 0.0, 40.0, 10.0]], [1.5, 1.0])
    """
    boxes, scores = check_boxes("merge_boxes", boxes).copy(), np.asarray(scores, np.float64).copy()
    if boxes.ndim != 2 or scores.shape != boxes.shape[:1] or not 0 < iou <= 1:
        raise ValueError(
            f"merge_boxes: wanted boxes (R, 4), R scores and iou in (0, 1], got {boxes.shape}, {scores.shape}, {iou}"
        )
    members = np.ones(len(boxes))
    while len(boxes) > 1:
        near = np.triu(box_iou(boxes, boxes), 1)
        i, j = np.unravel_index(near.argmax(), near.shape)
        if near[i, j] < iou:
            break
        total = members[i] + members[j]
        boxes[i] = (members[i] * boxes[i] + members[j] * boxes[j]) / total
        scores[i], members[i] = scores[i] + scores[j], total
        boxes, scores, members = (np.delete(part, j, axis=0) for part in (boxes, scores, members))
    order = np.argsort(-scores, kind="stable")
    return boxes[order], scores[order]


def localisation_error(predicted: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> float:
    """Return the share of images whose box is wrong; right is an IoU above the threshold (not equal to it).

    Parameters
    ----------
    predicted, truth : array, (N, 4)

    Examples
    --------
    >>> localisation_error(np.array([[0, 0, 10, 10], [0, 0, 10, 10]]), np.array([[0, 0, 10, 8], [0, 0, 10, 5]]))
    0.5
    """
    predicted, truth = (check_boxes("localisation_error", boxes) for boxes in (predicted, truth))
    if predicted.shape != truth.shape or predicted.ndim != 2 or not len(truth):
        raise ValueError(
            f"localisation_error: wanted two sets (N, 4) of as many boxes, got {predicted.shape} and {truth.shape}"
        )
    return float(np.mean(paired_iou(predicted, truth) <= threshold))
