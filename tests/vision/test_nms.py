"""Non-maximum suppression: the order of what stays, classes apart, kinds of input; overlaps are in tests/kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv
from tinyconv.vision import box_iou
from tinyconv.vision.nms import class_nms, kept_of_classes, nms

ROW = np.array([[0.0, 0, 9, 9], [3, 0, 12, 9], [6, 0, 15, 9]])  # A, B, C
COORDINATE = st.integers(0, 8)
SCORED = st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE, st.integers(0, 3)), max_size=12)


@pytest.mark.parametrize("threshold,wanted", [(0.5, [0, 2]), (0.6, [0, 1, 2]), (0.2, [0])])
def test_three_in_a_row(threshold: float, wanted: list[int]) -> None:
    """The papers' + 1: IoU AB = BC = 70 / 130 and AC = 40 / 160."""
    assert nms(ROW, np.array([0.9, 0.8, 0.7]), threshold, offset=1.0).tolist() == wanted
    shuffled = [2, 0, 1]
    found = nms(ROW[shuffled], np.array([0.7, 0.9, 0.8]), threshold, offset=1.0)
    assert [shuffled[i] for i in found] == wanted  # in the order of the scores, not of the boxes
    assert found.dtype == np.int64


def test_the_best_stays_wherever_it_is() -> None:
    assert nms(ROW, np.array([0.7, 0.9, 0.8]), 0.5, offset=1.0).tolist() == [1]
    assert nms(ROW, np.array([-0.7, -0.9, -np.inf]), 0.5, offset=1.0).tolist() == [0, 2]


@given(SCORED, st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_by_its_definition(scored: list[tuple[int, ...]], threshold: float) -> None:
    """Equal scores keep their order, and corners may be the wrong way round."""
    numbers = np.array(scored, float).reshape(-1, 5)
    boxes, scores = numbers[:, :4], numbers[:, 4]
    wanted: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if not wanted or box_iou(boxes[wanted], boxes[[i]]).max() <= threshold:
            wanted.append(i)
    assert nms(boxes, scores, threshold).tolist() == wanted
    with tinyconv.backend("reference"):
        assert nms(boxes, scores, threshold).tolist() == wanted


def test_kinds_of_input() -> None:
    for kind in (np.float16, np.float32, np.int64, np.uint8):
        assert nms(ROW.astype(kind), np.array([3, 2, 1], kind), 0.5, offset=1).tolist() == [0, 2]
    assert nms(ROW.tolist(), [0.9, 0.8, 0.7], 0.5, offset=1).tolist() == [0, 2]
    assert nms(ROW[::-1], np.array([0.9, 0.8, 0.7])[::-1], 0.5, offset=1).tolist() == [2, 0]
    for empty in ([], np.zeros((0, 4), np.float32)):
        found = nms(empty, np.zeros(0), 0.5)
        assert found.shape == (0,) and found.dtype == np.int64
    corners = np.repeat(np.arange(3000.0), 2).reshape(-1, 2)
    assert len(nms(np.concatenate([corners, corners + 1], 1), np.zeros(3000), 0.5)) == 3000


def test_classes_do_not_suppress_each_other() -> None:
    boxes = np.repeat(ROW[:, None], 2, axis=1).astype(np.float32)  # (P, K, 4): both classes have all three boxes
    scores = np.array([[0.9, 0.1], [0.8, 0.95], [0.7, 0.2]], np.float32)
    found = class_nms(boxes, scores, 0.5, offset=1.0)
    assert found.labels.tolist() == [1, 0, 0] and found.labels.dtype == np.int64
    np.testing.assert_array_equal(found.scores, scores[[1, 0, 2], [1, 0, 0]])
    np.testing.assert_array_equal(found.boxes, ROW[[1, 0, 2]])
    assert found.boxes.dtype == found.scores.dtype == np.float32
    for k in (0, 1):
        alone = nms(boxes[:, k], scores[:, k], 0.5, offset=1.0)
        np.testing.assert_array_equal(found.boxes[found.labels == k], boxes[alone, k])


def test_a_box_below_the_least_score_drops_nothing_and_only_the_top_of_each_class_stay() -> None:
    boxes, scores = ROW[:, None].repeat(2, 1), np.array([[0.9, 0.4], [0.8, 0.3], [0.7, 0.2]])
    found = class_nms(boxes, scores, 0.5, least=0.7, offset=1.0)
    assert found.scores.tolist() == [0.9, 0.7] and found.labels.tolist() == [0, 0]
    assert class_nms(boxes, scores, 1.0, top=2).scores.tolist() == [0.9, 0.8, 0.4, 0.3]
    assert class_nms(boxes[1:], scores[1:], 0.5, least=0.75, offset=1.0).boxes.tolist() == [ROW[1].tolist()]
    for none in (class_nms(boxes, scores, 0.5, least=1.5), class_nms(boxes[:0], scores[:0], 0.5)):
        assert none.boxes.shape == (0, 4) and none.labels.shape == none.scores.shape == (0,)
    assert class_nms(boxes[:, :0], scores[:, :0], 0.5).labels.shape == (0,)


def test_which_proposals_stay_and_as_what() -> None:
    every = np.broadcast_to(ROW[:, None], (3, 2, 4))  # the same boxes for both classes
    scores = np.array([[0.9, 0.1], [0.8, 0.95], [0.7, 0.2]])
    proposals, labels = kept_of_classes("test", every, scores, 0.5, offset=1.0)
    assert list(zip(labels.tolist(), proposals.tolist(), strict=True)) == [(0, 0), (0, 2), (1, 1)]
    assert proposals.dtype == labels.dtype == np.int64
    with pytest.raises(ValueError, match="^test: wanted finite boxes and no NaN"):
        kept_of_classes("test", every, scores * np.nan, 0.5, least=0.5)


@pytest.mark.parametrize("value", ["a", None, True, [0.5]])
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(TypeError, match="^nms: threshold must be a number, got "):
        nms(ROW, np.zeros(3), value)
    with pytest.raises(TypeError, match="^class_nms: offset must be a number, got "):
        class_nms(ROW[:, None], np.zeros((3, 1)), 0.5, offset=value)


@pytest.mark.parametrize(
    "boxes,scores,options,message",
    [
        (np.zeros((3, 5)), np.zeros(3), {}, r"boxes must be \(\.\.\., 4\), got shape \(3, 5\)"),
        (np.zeros((0, 5)), np.zeros(0), {}, r"boxes must be \(\.\.\., 4\), got shape \(0, 5\)"),
        (np.zeros(4), np.zeros(1), {}, r"wanted boxes \(R, 4\) and R scores, got shapes \(4,\) and \(1,\)"),
        (ROW, np.zeros(2), {}, r"wanted boxes \(R, 4\) and R scores, got shapes \(3, 4\) and \(2,\)"),
        (ROW, np.array([1, np.nan, 2]), {}, r"no NaN, got \[3\.0, 0\.0, 12\.0, 9\.0\] with score nan"),
        (ROW + np.inf, np.zeros(3), {}, "wanted finite boxes"),
        (np.where(ROW == 15, np.nan, ROW), np.zeros(3), {}, r"got \[6\.0, 0\.0, nan, 9\.0\]"),
        (ROW, np.zeros(3), {"threshold": 1.5}, r"threshold must be in \[0, 1\], got 1\.5"),
        (ROW, np.zeros(3), {"threshold": np.nan}, r"threshold must be in \[0, 1\], got nan"),
        (ROW, np.zeros(3), {"offset": -1}, "offset must be 0 or more, got -1"),
    ],
)
def test_errors(boxes: np.ndarray, scores: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^nms: .*{message}"):
        nms(boxes, scores, **{"threshold": 0.5, **options})
    if np.shape(boxes) == (3, 4) and len(scores) == 3:
        with pytest.raises(ValueError, match=f"^class_nms: .*{message}"):
            class_nms(boxes[:, None], scores[:, None], **{"threshold": 0.5, **options})


def test_errors_of_classes() -> None:
    with pytest.raises(ValueError, match=r"class_nms: wanted boxes \(P, K, 4\) and scores \(P, K\), got shapes"):
        class_nms(ROW, np.zeros(3), 0.5)
    with pytest.raises(ValueError, match=r"got shapes \(3, 1, 4\) and \(3, 2\)"):
        class_nms(ROW[:, None], np.zeros((3, 2)), 0.5)
