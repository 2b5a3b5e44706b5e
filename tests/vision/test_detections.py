"""What is true of an image: what truth() takes, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest

from tinyconv.vision import truth


def test_what_is_taken() -> None:
    found = truth([[0, 0, 1, 2]], [3.0])
    assert found.boxes.tolist() == [[0, 0, 1, 2]] and found.boxes.dtype == np.float64
    assert found.labels.tolist() == [3] and found.labels.dtype == np.int64
    assert found.difficult.tolist() == [False]
    boxes = np.array([[0, 0, 1, 2]], np.float32)
    assert truth(boxes, np.array([7], np.uint8), [1]).difficult.dtype == bool
    assert truth(boxes, [0]).boxes is boxes  # as they are
    nothing = truth([], [])
    assert nothing.boxes.shape == (0, 4) and nothing.labels.dtype == np.int64 and nothing.difficult.shape == (0,)


@pytest.mark.parametrize("label", [1.7, -3, -0.5, np.nan, np.inf, "cat", None])
def test_labels_are_whole_and_at_least_0(label: object) -> None:
    with pytest.raises(ValueError, match=f"truth: labels must be whole and at least 0, got {label!r}; the background"):
        truth([[0, 0, 1, 1], [0, 0, 2, 2]], [label, label])


@pytest.mark.parametrize("box", [[4, 0, 4, 9], [0, 9, 4, 9], [5, 0, 4, 9], [0, 0, np.nan, 9], [0, 0, 4, np.inf]])
def test_boxes_have_an_area(box: list[float]) -> None:
    with pytest.raises(ValueError, match="truth: boxes must be finite with x1 < x2 and y1 < y2, got ") as problem:
        truth([[0, 0, 1, 1], box], [0, 0])
    assert str(problem.value).endswith(str([float(c) for c in box]))


def test_shapes() -> None:
    box = [[0, 0, 1, 1]]
    for given in ((box, [0, 1]), (box, []), (box[0], [0]), (box, [0], [True, False])):
        with pytest.raises(ValueError, match=r"truth: wanted boxes \(R, 4\), R labels and R flags, got"):
            truth(*given)
    with pytest.raises(ValueError, match=r"truth: boxes must be \(\.\.\., 4\), got shape \(1, 3\)"):
        truth([[0, 0, 1]], [0])
