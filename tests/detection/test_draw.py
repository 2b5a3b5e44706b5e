"""Pictures of detections: which boxes are drawn where, in which colour, under which words."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tinyconv.detection.draw import draw_detections
from tinyconv.vision.detections import Detections, truth

CLASSES = ["cat", "dog", "bird"]
FOUND = Detections(
    np.array([[2.0, 30, 12, 50], [0, 0, 60, 40], [50, 10, 60, 20], [20, 20, 30, 30]]),
    np.array([1, 0, 1, 2]),
    np.array([0.987, 0.5, 0.71, 0.499]),
)


@pytest.fixture
def image(rng):
    return rng.random((3, 50, 60)).astype(np.float32)


def frames(axes):
    """Return (corners x1 y1 x2 y2 in the +0 convention, colour, style of the line) of every box drawn, in order."""
    found = []
    for patch in axes.patches:
        assert isinstance(patch, Rectangle)
        (x, y), width, height = patch.get_xy(), patch.get_width(), patch.get_height()
        corners = [x + 0.5, y + 0.5, x + 0.5 + width, y + 0.5 + height]
        found.append((corners, to_rgb(patch.get_edgecolor()), patch.get_linestyle()))
    return found


def test_boxes_scores_and_colours(image):
    figure = draw_detections(image, FOUND, CLASSES)
    (axes,) = figure.axes
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), image.transpose(1, 2, 0), atol=1e-6)
    # The best one is drawn last; the one of 0.499 is left out.
    drawn = frames(axes)
    assert [corners for corners, _, _ in drawn] == FOUND.boxes[[1, 2, 0]].tolist()
    assert [text.get_text() for text in axes.texts] == ["cat 0.50", "dog 0.71", "dog 0.99"]
    cat, dog, other = (colour for _, colour, _ in drawn)
    assert dog == other != cat and {line for _, _, line in drawn} == {"-"}
    assert [text.get_bbox_patch().get_facecolor()[:3] for text in axes.texts] == [cat, dog, dog]
    assert axes.get_title() == ""
    # Pixel (x, y) of a picture lies around (x, y): the box of the whole picture is its border.
    assert axes.get_xlim() == (-0.5, 59.5) and axes.get_ylim() == (49.5, -0.5)


def test_labels_stay_inside_the_picture(image):
    figure = draw_detections(image, FOUND, CLASSES, least=0)
    figure.savefig(io.BytesIO(), format="png", dpi=120)
    (axes,) = figure.axes
    border = axes.get_window_extent()
    for text in axes.texts:
        words = text.get_window_extent()
        assert border.x0 - 1 <= words.x0 and words.x1 <= border.x1 + 1, text.get_text()
        assert border.y0 - 1 <= words.y0 and words.y1 <= border.y1 + 1, text.get_text()


def test_truth_is_dashed_and_difficult_objects_are_dotted(image):
    real = truth([[1, 2, 3, 4], [5, 6, 9, 9]], [2, 0], [False, True])
    (axes,) = draw_detections(image, FOUND, CLASSES, truth=real, least=0.9).axes
    drawn = frames(axes)
    assert [(corners, line) for corners, _, line in drawn] == [
        ([1, 2, 3, 4], "--"), ([5, 6, 9, 9], ":"), ([2, 30, 12, 50], "-"),
    ]  # fmt: skip
    assert len({colour for _, colour, _ in drawn}) == 3 and len(axes.texts) == 1


def test_axes_of_ones_own_and_no_names(image):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert draw_detections(image[:1], FOUND, None, ax=right) is figure
    assert not left.images and right.texts[-1].get_text() == "class 1 0.99"
    nothing = Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    draw_detections(5 * image - 2, nothing, None, ax=left, least=0.25)
    assert left.get_title() == "nothing with a score of 0.25 or more" and not left.patches
    pixels = np.asarray(left.images[0].get_array())
    assert pixels.min() == 0 and pixels.max() == 1  # what is no picture in [0, 1] is stretched to it


def test_twenty_classes_have_twenty_colours_and_every_word_is_readable(image):
    boxes = np.tile([5.0, 5, 9, 9], (20, 1))
    many = Detections(boxes, np.arange(20), np.full(20, 0.9))
    (axes,) = draw_detections(image, many, [f"{k}" for k in range(20)]).axes
    assert len({colour for _, colour, _ in frames(axes)}) == 20
    weights = np.array([0.299, 0.587, 0.114])
    for text in axes.texts:
        ground, letters = (
            np.dot(weights, to_rgb(c)) for c in (text.get_bbox_patch().get_facecolor(), text.get_color())
        )
        assert abs(ground - letters) > 0.4, text.get_text()


def test_errors(image):
    with pytest.raises(ValueError, match=r"image must be \(1, H, W\) or \(3, H, W\), got shape \(50, 60\)"):
        draw_detections(image[0], FOUND, CLASSES)
    with pytest.raises(ValueError, match="classes must name every label up to 2, got 2 names"):
        draw_detections(image, FOUND, CLASSES[:2])
