"""Targets of detectors: packed and unpacked again, batches filled up, bad ones refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.vision.targets import EXTENT, NOTHING, PROPOSAL, pack_targets, unpack_targets

BOX = st.tuples(*[st.integers(0, 99)] * 2, *[st.integers(1, 50)] * 2).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)
BOXES = st.lists(BOX, max_size=4).map(lambda boxes: np.array(boxes, float).reshape(-1, 4))


def test_by_hand() -> None:
    packed = pack_targets((30, 40), [[1, 2, 11, 22], [0, 0, 40, 30]], [7, 0], np.array([[3, 4, 5, 6.5]]))
    assert packed.dtype == np.float32
    assert packed.tolist() == [
        [-3, 0, 0, 40, 30], [7, 1, 2, 11, 22], [0, 0, 0, 40, 30], [-1, 3, 4, 5, 6.5],
    ]  # fmt: skip
    assert (EXTENT, NOTHING, PROPOSAL) == (-3, -2, -1)
    assert pack_targets((1, 1), [], []).tolist() == [[-3, 0, 0, 1, 1]]


@given(st.lists(st.tuples(BOXES, BOXES, st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=3), st.data())
def test_there_and_back(images: list, data: st.DataObject) -> None:
    """Whatever is packed comes back, also from a batch that is filled up with rows of NOTHING."""
    labels = [data.draw(st.lists(st.integers(0, 99), min_size=len(b), max_size=len(b))) for b, _, _, _ in images]
    packed = [
        pack_targets((h, w), boxes, np.array(ls, int), proposals)
        for (boxes, proposals, h, w), ls in zip(images, labels, strict=True)
    ]
    batch = np.full((len(images), 12, 5), NOTHING, np.float32)
    for row, rows in zip(batch, packed, strict=True):
        row[: len(rows)] = rows
    for found, (boxes, proposals, h, w), ls in zip(unpack_targets(batch), images, labels, strict=True):
        assert found.size == (h, w) and found.labels.dtype == np.int64 and found.boxes.dtype == np.float32
        np.testing.assert_array_equal(found.boxes, boxes)
        np.testing.assert_array_equal(found.proposals, proposals)
        assert found.labels.tolist() == ls


def test_an_empty_batch() -> None:
    assert unpack_targets(np.zeros((0, 3, 5))) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        (((0, 4), [], []), r"size must be \(height, width\) of at least 1 pixel, got \(0, 4\)"),
        (((4, 4), [[0, 0, 2, 2]], []), r"labels must be 1 integers, one per box, got float64 of shape \(0,\)"),
        (((4, 4), [[0, 0, 2, 2]], [0.5]), "labels must be 1 integers"),
        (((4, 4), [[0, 0, 2, 2]], [-1]), "labels must be at least 0, got -1; the background is no object"),
        (((4, 4), [[0, 0, 2, 2], [1, 3, 1, 4]], [0, 1]), r"boxes must have .* got \[1.0, 3.0, 1.0, 4.0\] in row 1"),
        (((4, 4), [[0, 0, np.nan, 2]], [0]), "boxes must have x1 < x2"),
        (((4, 4), [[0, 0, np.inf, 2]], [0]), "boxes must have x1 < x2"),
        (((4, 4), [0, 0, 2, 2], [0]), r"boxes must be \(R, 4\), got shape \(4,\)"),
        (((4, 4), [[0, 0, 2]], [0]), r"boxes must be \(..., 4\), got shape \(1, 3\)"),
        (((4, 4), [], [], [[3, 0, 2, 2]]), "proposals must have x1 < x2"),
    ],
)
def test_what_cannot_be_packed(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match="pack_targets: " + message):
        pack_targets(*arguments)


@pytest.mark.parametrize(
    "targets, message",
    [
        (np.zeros((2, 5)), r"must be \(N, M, 5\) with M >= 1, got shape \(2, 5\)"),
        (np.zeros((2, 3, 4)), r"must be \(N, M, 5\)"),
        (np.zeros((2, 0, 5)), r"must be \(N, M, 5\)"),
        (np.zeros((1, 2, 5)), "the first row of each image, and no other, must be its extent"),
        (np.full((1, 2, 5), -3.0), "the first row of each image, and no other"),
        (np.array([[[-3.0, 0, 0, 4, 4], [0.5, 0, 0, 1, 1]]]), "a kind must be a whole number of at least -3, got 0.5"),
        (np.array([[[-3.0, 0, 0, 4, 4], [-4, 0, 0, 1, 1]]]), "got -4.0"),
        (np.array([[[-3.0, 0, 0, 4, 4], [np.nan, 0, 0, 1, 1]]]), "got nan"),
    ],
)
def test_what_cannot_be_unpacked(targets: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match="unpack_targets: .*" + message):
        unpack_targets(targets)
