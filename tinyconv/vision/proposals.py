"""Faster R-CNN's proposal layer: from scores and deltas of all anchors to the best few boxes. See :func:`propose`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinyconv.vision.boxes import clip_boxes, decode_boxes
from tinyconv.vision.nms import nms


@dataclass(frozen=True)
class ProposalRule:
    """What is kept of the anchors' boxes (Ren et al. 2015, sec. 3.3 and the authors' program).

    Attributes
    ----------
    before, after : int
        Best boxes that enter non-maximum suppression, and that leave it at most.
    iou : float
        Of two boxes that overlap more, the worse is dropped.
    least_side : float
        Boxes narrower or lower than this are dropped, in pixels of the image as the network sees it (the authors'
        program multiplies 16 by the factor that the picture was resized with).
    """

    before: int
    after: int
    iou: float = 0.7
    least_side: float = 16

    def with_count(self, after: int) -> ProposalRule:
        """Return the same rule for another number of proposals."""
        return replace(self, after=after)


def propose(
    scores: np.ndarray, deltas: np.ndarray, anchors: np.ndarray, size: tuple[float, float], rule: ProposalRule
) -> tuple[np.ndarray, np.ndarray]:
    """Return the proposals of one image: decode, clip, drop the small, take the best, suppress, take the best.

    Parameters
    ----------
    scores : array, (A,)
        How much each anchor looks like an object.
    deltas, anchors : array, (A, 4)
    size : (height, width)
        Of the image, in pixels.

    Returns
    -------
    boxes : array, (at most rule.after, 4)
        Best first, inside the image.
    scores : array, (the same,)

    Raises
    ------
    ValueError
        A score or a delta is no number: the network has diverged.
    """
    if np.isnan(scores).any() or not np.isfinite(deltas).all():
        raise ValueError("propose: scores and deltas must be numbers, got NaN: the network has diverged")
    boxes = clip_boxes(decode_boxes(anchors, deltas), size)
    large = (boxes[:, 2:] - boxes[:, :2] >= rule.least_side).all(1)
    boxes, scores = boxes[large], scores[large]
    best = np.argsort(-scores, kind="stable")[: rule.before]
    boxes, scores = boxes[best], scores[best]
    kept = nms(boxes, scores, rule.iou)[: rule.after]
    return boxes[kept], scores[kept]
