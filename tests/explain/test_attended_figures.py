"""Figures and frames of what transformers look at: what is drawn where, in which colour."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from tinyconv import Tensor
from tinyconv.explain import attended_figures as module
from tinyconv.explain.attended import outline, to_pixels
from tinyconv.explain.attended_figures import COLOURS, attended_figure, labelled, picture
from tinyconv.functional.grids import target_grid

GAP = 4


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have frames of about 640 pixels: how wide they are wanted is a matter of taste."""
    monkeypatch.setattr(module, "_WIDTH", 640)


def looking(
    images: np.ndarray, scale: float = 1.0, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a transformer's grid, the middle of every image, and an output of .25 everywhere."""
    n, c, h, w = images.shape
    oh, ow = (h, w) if size is None else size
    return np.tile(scale * target_grid((oh, ow), True), (n, 1, 1, 1)), np.full((n, c, oh, ow), 0.25)


def drawn(figure: Any) -> bytes:
    """Return a figure's PNG; drawing it must not fail."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    return file.getvalue()


def shown(axes: Any) -> np.ndarray:
    """Return the one picture that axes show."""
    (image,) = axes.images
    return np.asarray(image.get_array())


# --------------------------------------------------------------------------------------------------------- the figure
def test_inputs_in_a_row_with_outlines_and_below_what_comes_out(rng: np.random.Generator) -> None:
    images = rng.random((3, 1, 6, 8))
    looks = [looking(images, 0.5), looking(images, 0.25, (3, 2))]
    figure = attended_figure(images, looks, titles=["a", "b", "c"], title="what is looked at")
    drawn(figure)
    axes = np.array(figure.axes).reshape(3, 3)  # inputs, and a row for each transformer
    for n in range(3):
        np.testing.assert_allclose(shown(axes[0, n]), np.repeat(images[n, 0, ..., None], 3, 2))
        assert axes[0, n].get_xlim() == (-0.5, 7.5) and axes[0, n].get_ylim() == (5.5, -0.5)
        lines = axes[0, n].lines
        assert len(lines) == 4  # a frame and its corner, of each
        for k, (grid, _) in enumerate(looks):
            frame, corner = lines[2 * k], lines[2 * k + 1]
            np.testing.assert_allclose(frame.get_xydata(), to_pixels(outline(grid)[n], (6, 8)))
            np.testing.assert_array_equal(corner.get_xydata(), frame.get_xydata()[:1])
            assert corner.get_marker() == "o"
            np.testing.assert_allclose(frame.get_color(), np.array(COLOURS[k]) / 255)
            below = axes[1 + k, n]
            assert shown(below).shape == (*grid.shape[1:3], 3) and (shown(below) == 0.25).all()
            np.testing.assert_allclose(below.spines["top"].get_edgecolor()[:3], np.array(COLOURS[k]) / 255)
    assert [a.get_title() for a in axes[0]] == ["a", "b", "c"] and figure.get_suptitle() == "what is looked at"


def test_without_transformers_and_titles_there_are_the_images_only(rng: np.random.Generator) -> None:
    figure = attended_figure(rng.random((2, 1, 4, 4)), [])
    drawn(figure)
    assert len(figure.axes) == 2 and not any(a.lines or a.get_title() for a in figure.axes)
    assert not figure.get_suptitle()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_channels_are_grey_as_the_brightest_or_colours(channels: int, rng: np.random.Generator) -> None:
    images = rng.random((1, channels, 4, 5))
    figure = attended_figure(images, [])
    want = images[0] if channels == 3 else np.repeat(images[0].max(0)[None], 3, 0)
    np.testing.assert_allclose(shown(figure.axes[0]), want.transpose(1, 2, 0))


def test_more_transformers_than_colours_and_many_images(rng: np.random.Generator) -> None:
    images = rng.random((24, 1, 3, 3))
    figure = attended_figure(images, [looking(images)] * 5)
    drawn(figure)
    assert len(figure.axes) == 24 * 6 and figure.get_figwidth() < 15
    np.testing.assert_allclose(figure.axes[0].lines[8].get_color(), np.array(COLOURS[0]) / 255)


def test_dollars_are_no_formulas(rng: np.random.Generator) -> None:
    images = rng.random((2, 1, 4, 4))
    figure = attended_figure(
        images, [looking(images)], titles=["$5", r"$\nothing$"], title=r"a $\wrong{ formula$ of 3$"
    )
    drawn(figure)  # as a formula it would raise
    assert figure.axes[1].get_title() == r"$\nothing$"


# ---------------------------------------------------------------------------------------------------------- the frame
def test_a_frame_has_whole_pixels_at_their_places(rng: np.random.Generator) -> None:
    """Three images of 20 pixels fit into 640 at 8 times their size."""
    images = rng.uniform(0.1, 0.9, (3, 1, 10, 20))
    looks = [looking(images, 0.5, (5, 6)), looking(images, 0.2, (3, 20))]
    frame = picture(images, looks)
    times = 640 // (3 * 24)
    assert times == 8 and frame.dtype == np.uint8
    assert frame.shape == (times * (10 + 5 + 3) + 2 * GAP, 3 * times * 20 + 2 * GAP, 3)
    for n in range(3):
        left = n * (times * 20 + GAP)
        for row, column in ((0, 0), (9, 19), (0, 10), (9, 3)):  # outside of both frames
            cell = frame[times * row : times * (row + 1), left + times * column : left + times * (column + 1)]
            assert (cell == np.rint(255 * images[n, 0, row, column])).all()
        top, middle = times * 10 + GAP, left + times * 7  # 6 pixels in the middle of 20
        first = frame[top : top + 5 * times, middle : middle + 6 * times]
        assert (first[1:-1, 1:-1] == 64).all() and (first[0] == COLOURS[0]).all() and (first[:, -1] == COLOURS[0]).all()
        assert (frame[top : top + 5 * times, left : left + 7 * times] == 255).all()
        second = frame[-3 * times :, left : left + 20 * times]
        assert (second[1:-1, 1:-1] == 64).all() and (second[-1] == COLOURS[1]).all()
    assert (frame[:, times * 20 : times * 20 + GAP] == 255).all() and (
        frame[times * 10 : times * 10 + GAP] == 255
    ).all()


def test_the_line_and_its_corner_are_where_the_transformer_looks() -> None:
    images = np.zeros((1, 1, 16, 16))
    frame = picture(images, [looking(images, 0.5)])
    times = 640 // 20
    coloured = (frame[: 16 * times] == COLOURS[0]).all(-1)
    first, last = (round(times * (p + 0.5)) for p in (3.75, 11.25))  # +-.5 in pixels
    rows, columns = np.nonzero(coloured)
    assert abs(rows.max() - last) <= 2 and abs(columns.max() - last) <= 2
    assert abs(rows.min() - first) <= 5 and abs(columns.min() - first) <= 5  # with the dot
    assert coloured[first - 4 : first + 5, first - 4 : first + 5].sum() > 45  # the dot, about pi 4^2
    for other in ((first, last), (last, last), (last, first)):
        assert coloured[other[0] - 4 : other[0] + 5, other[1] - 4 : other[1] + 5].sum() < 35
    middle = (first + last) // 2
    assert coloured[middle].sum() == 4 and coloured[:, middle].sum() == 4  # two lines, two pixels wide
    assert not coloured[middle, first + 3 : last - 3].any()


def test_outputs_larger_than_the_image_do_not_run_into_each_other() -> None:
    images = np.full((2, 1, 4, 4), 0.5)
    frame = picture(images, [looking(images, 0.3, (9, 11))])
    times = 640 // 16
    assert times * 2 * 4 < frame.shape[1] == 2 * times * 11 + GAP
    assert frame.shape[0] == times * (4 + 9) + GAP
    below = frame[times * 4 + GAP :]
    assert (below[1:-1, 1 : times * 11 - 1] == 64).all() and (below[1:-1, times * 11 + GAP + 1 : -1] == 64).all()
    assert (below[:, times * 11 : times * 11 + GAP] == 255).all()
    image = frame[: 4 * times, (7 * times) // 2 : (15 * times) // 2]
    assert (image[:, [0, -1]] == 128).all() and (frame[: 4 * times, : (7 * times) // 2] == 255).all()


@pytest.mark.parametrize("count,side,wide", [(8, 28, 0), (8, 224, 0), (3, 700, 0), (40, 60, 0), (2, 300, 1200)])
def test_a_frame_is_not_wider_than_1600(count: int, side: int, wide: int) -> None:
    images = np.full((count, 1, side, side), 0.5)
    frame = picture(images, [looking(images, 0.7, (8, wide) if wide else None)])
    assert 400 <= frame.shape[1] <= 1600
    assert (frame == COLOURS[0]).all(-1).any() or side > 200  # a line that was made smaller is mixed with the image


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_frames_of_channels(channels: int, rng: np.random.Generator) -> None:
    images = rng.random((1, channels, 4, 5))
    frame = picture(images, [])
    want = images[0] if channels == 3 else np.repeat(images[0].max(0)[None], 3, 0)
    times = 640 // 9
    assert frame.shape == (4 * times, 5 * times, 3)
    np.testing.assert_array_equal(frame[::times, ::times], np.rint(255 * want.transpose(1, 2, 0)))


def test_two_transformers_have_two_colours() -> None:
    images = np.zeros((1, 1, 16, 16))
    frame = picture(images, [looking(images, 0.9), looking(images, 0.4)])[: 16 * 32]
    counts = [(frame == colour).all(-1).sum() for colour in COLOURS]
    assert counts[0] > counts[1] > 500 and counts[2] == counts[3] == 0
    assert len(set(COLOURS)) == len(COLOURS)


# ------------------------------------------------------------------------------------------------------ what may happen
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e6])
def test_a_transformer_that_has_diverged(bad: float) -> None:
    """NaN and infinity have no line in the frame; what comes out as NaN is red."""
    images = np.full((2, 1, 8, 8), 0.5)
    grid, output = looking(images, 0.5)
    grid[0], output[0] = bad, np.nan
    drawn(attended_figure(images, [(grid, output)]))
    frame = picture(images, [(grid, output)])
    times = 640 // 24
    half, top = 8 * times, 8 * times + GAP
    coloured = (frame[: 8 * times] == COLOURS[0]).all(-1)
    assert not coloured[:, :half].any() and coloured[:, half + GAP :].any()
    assert (frame[top + 1 : -1, 1 : half - 1] == (255, 0, 0)).all() and (
        frame[top + 1 : -1, half + GAP + 1 : -1] == 64
    ).all()


def test_one_nan_in_an_image_is_one_red_pixel_and_others_are_clipped() -> None:
    images = np.array([[[[0.0, np.nan], [1.7, -3]]]])
    frame = picture(images, [])
    times = 640 // 6
    assert frame[::times, ::times].tolist() == [[[0, 0, 0], [255, 0, 0]], [[255, 255, 255], [0, 0, 0]]]
    colour = np.full((1, 3, 1, 1), 0.5)
    colour[0, 1] = np.nan
    assert shown(attended_figure(colour, []).axes[0]).tolist() == [[[1, 0, 0]]]


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1)])
def test_outputs_and_images_of_one_row_column_or_pixel(size: tuple[int, int]) -> None:
    for images in (np.full((2, 1, 7, 7), 0.5), np.full((2, 1, *size), 0.5)):
        looks = [looking(images, 0.5, size)]
        drawn(attended_figure(images, looks))
        frame = picture(images, looks)
        times = 640 // (2 * (images.shape[3] + GAP))
        assert frame.shape[0] == times * (images.shape[2] + size[0]) + GAP


def test_tensors_and_float32(rng: np.random.Generator) -> None:
    images = rng.random((2, 1, 5, 5)).astype(np.float32)
    grid, output = (a.astype(np.float32) for a in looking(images, 0.5))
    want = picture(images, [(grid, output)])
    np.testing.assert_array_equal(picture(Tensor(images), [(Tensor(grid), Tensor(output))]), want)
    assert drawn(attended_figure(Tensor(images), [(Tensor(grid), Tensor(output))])) == drawn(
        attended_figure(images, [(grid, output)])
    )


def test_a_line_of_text_above() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (20, 90, 3), np.uint8)
    found = labelled(frame, "epoch 12")
    np.testing.assert_array_equal(found[16:], frame)
    assert found.shape == (36, 90, 3) and 20 < (found[:16] < 128).all(-1).sum() < 400
    assert (labelled(frame, "epoch 13")[:16] != found[:16]).any() and (labelled(frame, "")[:16] == 255).all()


IMAGES = np.zeros((2, 1, 4, 4))
GRID, OUTPUT = looking(IMAGES)


@pytest.mark.parametrize("function", [attended_figure, picture])
@pytest.mark.parametrize(
    "images,look,message",
    [
        (IMAGES[0], (GRID, OUTPUT), r"images must be \(N, C, H, W\), at least one, got shape \(1, 4, 4\)"),
        (IMAGES[:0], (GRID[:0], OUTPUT[:0]), r"images must be .* got shape \(0, 1, 4, 4\)"),
        (IMAGES[:, :0], (GRID, OUTPUT), r"images must be .* got shape \(2, 0, 4, 4\)"),
        (IMAGES, (GRID[:1], OUTPUT), r"of the 2 images, got shapes \(1, 4, 4, 2\) and \(2, 1, 4, 4\)"),
        (IMAGES, (GRID, OUTPUT[:1]), "of the 2 images, got shapes"),
        (IMAGES, (GRID, OUTPUT[:, 0]), r"outputs \(N, C, OH, OW\) must be of the 2 images"),
        (IMAGES, (GRID[:, :3], OUTPUT), r"got shapes \(2, 3, 4, 2\) and \(2, 1, 4, 4\)"),
        (IMAGES, (GRID[..., :1], OUTPUT), r"grids \(N, OH, OW, 2\)"),
        (IMAGES, (GRID, OUTPUT[:, :0]), r"got shapes \(2, 4, 4, 2\) and \(2, 0, 4, 4\)"),
    ],
)
def test_what_does_not_fit(function: Any, images: Any, look: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"attended: .*{message}"):
        function(images, [look])


def test_titles_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="attended_figure: titles must be as many as the 2 images, got 3"):
        attended_figure(IMAGES, [(GRID, OUTPUT)], titles="abc")
