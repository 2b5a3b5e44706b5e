"""Pictures of generated images: every pixel is the images', in order, and files hold what they shall."""

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageSequence

import tinyconv
from tinyconv.generative import figures
from tinyconv.history import History


class Squares:
    """A generator of images (1, 3, 4), whose pixels are all the square of the latent number."""

    image_shape = (1, 3, 4)

    def latent(self, n, seed=0):
        return np.random.default_rng(seed).uniform(0, 1, (n, 1)).astype(np.float32)

    def sample(self, points, seed=0):
        assert points.dtype == np.float32
        return np.broadcast_to(np.square(points)[:, :, None, None], (len(points), *self.image_shape))


def shown(figure):
    """Return the one image that a figure shows, (height, width, 3); drawing it must not fail."""
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    (axes,) = figure.axes
    (image,) = axes.images
    return np.asarray(image.get_array())


def tile(picture, size, row, column, gap=1):
    """Return one image of a grid."""
    height, width = size
    top, left = row * (height + gap), column * (width + 1)
    return picture[top : top + height, left : left + width]


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_shows_the_images_row_by_row(channels, rng):
    images = rng.uniform(0, 1, (5, channels, 3, 4)).astype(np.float32)
    figure = figures.grid(images, columns=3)
    picture = shown(figure)
    assert picture.shape == (2 * 4 - 1, 3 * 5 - 1, 3)
    for k, image in enumerate(images):
        wanted = np.broadcast_to(image.transpose(1, 2, 0), (3, 4, 3))
        np.testing.assert_array_equal(tile(picture, (3, 4), k // 3, k % 3), wanted.astype(np.float64))
    assert (tile(picture, (3, 4), 1, 2) == 1).all()  # no sixth image
    assert (picture[3] == 1).all() and (picture[:, 4] == 1).all()  # what lies between them
    (axes,) = figure.axes
    assert not axes.get_xticks().size and not axes.get_yticks().size and not axes.get_frame_on()
    np.testing.assert_array_equal(shown(figures.grid(tinyconv.tensor(images), columns=3)), picture)


def test_grid_of_grey_values_is_not_stretched():
    picture = shown(figures.grid(np.full((2, 1, 2, 2), 0.25)))
    assert picture[0, 0].tolist() == [0.25, 0.25, 0.25]


def test_titles_stand_above_their_images(rng):
    figure = figures.grid(rng.uniform(0, 1, (3, 1, 8, 8)), columns=2, titles=["a", "b", "c"], title="all")
    picture = shown(figure)
    (axes,) = figure.axes
    gap = picture.shape[0] - 16
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert places == {"a": (3.5, -1), "b": (12.5, -1), "c": (3.5, 8 + gap - 1)}
    assert (picture[8 : 8 + gap] == 1).all() and axes.get_ylim() == (picture.shape[0] - 0.5, -0.5 - gap)
    assert figure.get_suptitle() == "all"
    boxes = [text.get_window_extent() for text in axes.texts]
    assert boxes[0].x1 <= boxes[1].x0  # they do not touch
    assert axes.transData.transform((0, 7.5))[1] >= boxes[2].y1  # and do not cover the row above


@pytest.mark.parametrize("count, size", [(1, 28), (64, 28), (400, 28), (400, 64), (9, 224), (1, 1), (2, 500)])
def test_sizes_are_sensible(count, size):
    figure = figures.grid(np.zeros((count, 1, size, size)))
    width, height = figure.get_size_inches()
    assert 0.5 <= height <= 30 and 1.5 <= width <= 30
    columns = math.ceil(math.sqrt(count))
    assert width * 120 >= min(columns * size, 3000)  # saved with 120 dots an inch, no pixel is lost


def test_interpolations_are_straight_lines_with_framed_ends():
    model = Squares()
    figure = figures.interpolations(model, pairs=3, steps=5, seed=4)
    picture = shown(figure)
    ends = model.latent(6, 4)[:, 0].astype(float)
    for row in range(3):
        for column, t in enumerate((0, 0.25, 0.5, 0.75, 1)):
            wanted = ((1 - t) * ends[row] + t * ends[3 + row]) ** 2
            np.testing.assert_allclose(tile(picture, (3, 4), row, column), wanted, atol=1e-6)
    corners = sorted(patch.get_xy() for patch in figure.axes[0].patches)
    assert corners == [(x, y) for x in (-0.5, 4 * 5 - 0.5) for y in (-0.5, 3.5, 7.5)]


def test_strip_has_a_row_for_each_frame(rng):
    frames = rng.uniform(0, 1, (3, 6, 1, 3, 4))
    figure = figures.strip(list(frames), ["epoch 0", "epoch 4", "epoch 9"], columns=5)
    picture = shown(figure)
    assert picture.shape[:2] == (3 * 4 - 1, 5 * 5 - 1)
    for row in range(3):
        for column in range(5):
            np.testing.assert_array_equal(tile(picture, (3, 4), row, column)[:, :, 0], frames[row, column, 0])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["epoch 0", "epoch 4", "epoch 9"]
    assert axes.get_yticks().tolist() == [1, 5, 9]  # the middle of three pixels


def test_nearest_puts_the_training_image_below(rng):
    training = rng.uniform(0, 1, (20, 1, 6, 5))
    order = [7, 0, 19]
    samples = (training[order] + [[[[0.0]]], [[[0.01]]], [[[-0.02]]]]).clip(0, 1)
    figure = figures.nearest(samples, tinyconv.tensor(training), columns=2)
    picture = shown(figure)
    (axes,) = figure.axes
    gap = picture.shape[0] - 2 * 13
    for k, number in enumerate(order):
        pair = tile(picture, (13, 5), k // 2, k % 2, gap)[:, :, 0]
        np.testing.assert_array_equal(pair[:6], samples[k, 0])
        np.testing.assert_array_equal(pair[7:], training[number, 0])
    far = np.sqrt(np.square(samples - training[order]).sum(axis=(1, 2, 3)))
    assert [text.get_text() for text in axes.texts] == [f"{d:.2f}" for d in far]
    assert "20 training images" in figure.get_suptitle()


def test_training_curves_show_each_column_and_what_it_is_compared_with():
    rows = [
        {"epoch": 1, "train_loss": 0.6, "generator_loss": 0.9, "discriminator_accuracy": 0.75, "sample_spread": 0.01},
        {"epoch": 2, "train_loss": 0.5, "generator_loss": 1.5, "discriminator_accuracy": 0.8, "sample_spread": None},
        {"epoch": 3, "train_loss": 0.4, "generator_loss": 2.5, "discriminator_accuracy": 1.0, "sample_spread": 0.1},
    ]
    figure = figures.training_curves(History(rows), data_spread=0.2)
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    lines = [{line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
             for axes in figure.axes]  # fmt: skip
    assert lines[0]["discriminator"] == ([1, 2, 3], [0.6, 0.5, 0.4])
    assert lines[0]["generator"] == ([1, 2, 3], [0.9, 1.5, 2.5])
    assert lines[0]["log 2: D cannot tell"][1] == [math.log(2)] * 2
    assert lines[1]["discriminator"] == ([1, 2, 3], [75, 80, 100]) and lines[1]["it cannot tell"][1] == [50, 50]
    assert lines[2]["samples"] == ([1, 3], [0.01, 0.1]) and lines[2]["data"][1] == [0.2, 0.2]
    assert all(axes.get_ylim()[0] == 0 for axes in figure.axes)


def test_training_curves_leave_out_what_is_not_there():
    figure = figures.training_curves([{"epoch": 1, "train_loss": 0.7, "generator_loss": -0.7}])
    (axes,) = figure.axes
    assert axes.get_ylim()[0] < -0.7  # the saturating loss
    with pytest.raises(ValueError, match="training_curves: wanted rows with train_loss or the others, got 1 rows"):
        figures.training_curves([{"epoch": 1, "test_loss": 1.0}])
    with pytest.raises(ValueError, match="got 0 rows"):
        figures.training_curves(History())


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_every_pixel(channels, rng, tmp_path):
    images = rng.uniform(0, 1, (7, channels, 5, 6))
    path = figures.save_png(images, tmp_path / "new" / "a.png", columns=4)
    with Image.open(path) as opened:
        assert opened.mode == ("L" if channels == 1 else "RGB")
        picture = np.asarray(opened)
    times = 480 // (4 * 7 - 1)
    assert picture.shape[:2] == (11 * times, 27 * times)
    small = picture[::times, ::times]
    np.testing.assert_array_equal(picture, small.repeat(times, 0).repeat(times, 1))
    for k, image in enumerate(images):
        wanted = np.rint(255 * image.transpose(1, 2, 0)).astype(int)
        np.testing.assert_array_equal(tile(small, (5, 6), k // 4, k % 4).reshape(5, 6, channels), wanted)
    assert (tile(small, (5, 6), 1, 3) == 255).all()


def test_a_large_picture_is_not_magnified(tmp_path):
    with Image.open(figures.save_png(np.zeros((400, 1, 28, 28)), tmp_path / "a.png")) as picture:
        assert picture.size == (20 * 29 - 1, 20 * 29 - 1)


def test_a_film_holds_every_frame_in_order_and_its_last_one_longer(rng, tmp_path):
    frames = rng.integers(0, 256, (4, 4, 1, 10, 12)) / 255
    path = figures.save_gif(list(frames), tmp_path / "a.gif", seconds=0.1)
    with Image.open(path) as film:
        assert film.info["loop"] == 0 and film.n_frames == 4
        found = [(frame.info["duration"], np.asarray(frame.convert("L"))) for frame in ImageSequence.Iterator(film)]
    assert [duration for duration, _ in found] == [100, 100, 100, 500]
    times = 480 // 25
    for frame, (_, picture) in zip(frames, found, strict=True):
        assert picture.shape == (21 * times, 25 * times)
        for k in range(4):
            wanted = np.rint(255 * frame[k, 0])
            np.testing.assert_array_equal(tile(picture[::times, ::times], (10, 12), k // 2, k % 2), wanted)


def test_labels_stand_above_the_frames_of_a_film(rng, tmp_path):
    frames = rng.uniform(0, 1, (2, 4, 3, 16, 16))
    plain = figures.save_gif(list(frames), tmp_path / "plain.gif")
    path = figures.save_gif(list(frames), tmp_path / "labels.gif", labels=["epoch 0", "epoch 50"])
    with Image.open(plain) as one, Image.open(path) as other:
        assert other.size == (one.size[0], one.size[1] + 16)
        bands = []
        for frame in ImageSequence.Iterator(other):
            picture = np.asarray(frame.convert("RGB"), float)
            bands.append(picture[:16].mean(axis=2) < 128)
            assert picture[16:].std() > 20  # below there are the images
    assert all(10 < band.sum() < 1000 for band in bands) and (bands[0] != bands[1]).any()


ONE = np.zeros((1, 1, 2, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: figures.grid(np.zeros((0, 1, 2, 2))), "grid: images must hold at least 1 image, got 0"),
        (lambda p: figures.grid(np.zeros((2, 2))), r"grid: images must be \(N, C, H, W\) .* got shape \(2, 2\)"),
        (lambda p: figures.grid(np.zeros((2, 1, 2, 0))), "at least one pixel"),
        (lambda p: figures.grid(np.zeros((1, 2, 2, 2))), "grid: images must have one or three channels"),
        (lambda p: figures.grid(ONE - 0.5), r"grid: images must lie in \[0, 1\], got -0.5 to -0.5"),
        (lambda p: figures.grid(np.full((1, 1, 2, 2), np.nan)), "grid: images must be finite"),
        (lambda p: figures.grid(np.full((1, 1, 2, 2), 200, np.uint8)), r"must lie in \[0, 1\], got 200"),
        (lambda p: figures.grid(ONE, columns=0), "grid: columns must be an int of at least 1, got 0"),
        (lambda p: figures.grid(ONE, columns=True), "grid: columns must be an int of at least 1, got True"),
        (lambda p: figures.grid(ONE, titles=["a", "b"]), "grid: titles must be as many as the 1 images, got 2"),
        (lambda p: figures.interpolations(Squares(), pairs=0), "interpolations: pairs must be an int of at least 1"),
        (lambda p: figures.interpolations(Squares(), steps=1), "interpolations: steps must be an int of at least 2"),
        (lambda p: figures.strip([], []), "strip: frames must be at least one, got none"),
        (lambda p: figures.strip([ONE], []), "strip: labels must be as many as the 1 frames, got 0"),
        (lambda p: figures.strip([ONE, np.zeros((2, 1, 2, 2))], ["a", "b"]), "strip: frames must have one shape"),
        (lambda p: figures.strip([ONE], ["a"], columns=0), "strip: columns must be an int of at least 1, got 0"),
        (lambda p: figures.nearest(ONE, np.zeros((1, 1, 3, 3))), "training must have images of shape"),
        (lambda p: figures.nearest(ONE, ONE + 2), r"nearest: training must lie in \[0, 1\]"),
        (lambda p: figures.nearest(ONE, ONE[:0]), "nearest: training must hold at least 1 image"),
        (lambda p: figures.save_png(ONE + 2, p / "a.png"), r"save_png: images must lie in \[0, 1\]"),
        (lambda p: figures.save_gif([], p / "a.gif"), "save_gif: frames must be at least one"),
        (lambda p: figures.save_gif([ONE], p / "a.gif", seconds=0), "save_gif: seconds must be a positive number"),
        (lambda p: figures.save_gif([ONE], p / "a.gif", seconds=math.nan), "seconds must be a positive number"),
        (lambda p: figures.save_gif([ONE], p / "a.gif", labels=["a", "b"]), "labels must be as many as the 1 frames"),
    ],
)
def test_bad_input(call, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


def test_rounding_beyond_the_range_is_no_error():
    assert shown(figures.grid(np.full((1, 1, 1, 1), 1 + 1e-7))).max() == 1
