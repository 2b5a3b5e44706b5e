"""The proposal layer: decode, clip, drop the small, suppress, in this order."""

from __future__ import annotations

import numpy as np
import pytest

from tinyconv.vision.boxes import encode_boxes
from tinyconv.vision.proposals import ProposalRule, propose

ANCHOR = np.array([[10.0, 10, 30, 30]])
RULE = ProposalRule(before=100, after=100, iou=0.7, least_side=4)


def run(boxes: list[list[float]], scores: list[float], rule: ProposalRule = RULE) -> tuple[list, list]:
    """Propose with anchors whose deltas give these boxes."""
    wanted = np.array(boxes, float)
    anchors = np.repeat(ANCHOR, len(wanted), 0)
    found, rated = propose(np.array(scores), encode_boxes(anchors, wanted), anchors, (50, 60), rule)
    return np.round(found, 6).tolist(), rated.tolist()


def test_boxes_are_clipped_before_the_small_are_dropped() -> None:
    """20 pixels wide, but only 3 of them inside the image (60 wide, 50 high)."""
    found, scores = run([[57, 10, 77, 30], [50, 40, 70, 70], [0, 0, 4, 4], [0, 0, 3.9, 9]], [4, 3, 2, 1])
    assert found == [[50, 40, 60, 50], [0, 0, 4, 4]] and scores == [3, 2]


def test_the_small_are_dropped_before_they_suppress() -> None:
    """The best box lies inside the second with IoU 0.75, but is lower than 4 pixels."""
    rule = ProposalRule(100, 100, 0.7, least_side=4)
    found, _ = run([[0, 0, 20, 3], [0, 0, 20, 4]], [2, 1], rule)
    assert found == [[0, 0, 20, 4]]


def test_best_first_and_suppressed_by_better_ones_only() -> None:
    near = [[0, 0, 20, 20], [0, 0, 20, 18], [30, 30, 50, 50]]
    found, scores = run(near, [0.1, 0.5, 0.3])
    assert scores == [0.5, 0.3] and found == [[0, 0, 20, 18], [30, 30, 50, 50]]
    assert run(near, [0.1, 0.5, 0.3], ProposalRule(100, 1, 0.7, 4))[1] == [0.5]
    # Only the two best enter suppression, and one of them is dropped: the third does not fill up.
    assert run(near, [0.45, 0.5, 0.1], ProposalRule(2, 100, 0.7, 4))[1] == [0.5]
    assert run(near, [0.45, 0.5, 0.1], ProposalRule(3, 100, 0.7, 4))[1] == [0.5, 0.1]
    assert ProposalRule(2, 100).with_count(7) == ProposalRule(2, 7)


def test_none_is_left_or_the_network_has_diverged() -> None:
    boxes, scores = propose(np.zeros(0), np.zeros((0, 4)), np.zeros((0, 4)), (50, 60), RULE)
    assert boxes.shape == (0, 4) and scores.shape == (0,)
    assert run([[0, 0, 3, 3]], [1.0]) == ([], [])
    few = ProposalRule(1, 100, 0.7, 4)
    with pytest.raises(ValueError, match="propose: scores and deltas must be numbers, got NaN"):
        run([[0, 0, 20, 20], [0, 0, 9, 9]], [1.0, float("nan")], few)  # also where it would be cut off
    with pytest.raises(ValueError, match="propose: scores and deltas must be numbers, got NaN"):
        propose(np.ones(1), np.full((1, 4), np.nan), ANCHOR, (50, 60), RULE)
