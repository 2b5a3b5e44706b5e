"""Each transform does what it says, draws only from its generator, and survives JSON."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from tinyconv.data import (
    ArrayDataset,
    CenterCrop,
    Compose,
    Normalize,
    Pad,
    PCAColor,
    RandomCrop,
    RandomMirror,
    RandomResize,
    RandomResizedCrop,
    Resize,
    SubtractMean,
    TenCrop,
    ToFloat,
    Transform,
    from_description,
)
from tinyconv.data.geometric import ResizeWithin
from tinyconv.data.transforms import KINDS
from tinyconv.random import generator


@pytest.fixture
def image(rng):
    return rng.random((3, 10, 14)).astype(np.float32)


EVERY = [
    Resize(8),
    Resize((7, 9), "nearest"),
    ResizeWithin(6, 8),
    RandomResize(6, 9),
    CenterCrop((5, 4)),
    RandomCrop(6, padding=2),
    RandomResizedCrop(6, scale=(0.3, 0.8)),
    TenCrop(5),
    RandomMirror(0.4),
    Pad((1, 2), value=0.5),
    ToFloat(16),
    Normalize((0.1, 0.2, 0.3), 0.5),
    SubtractMean(np.linspace(0, 1, 420, dtype=np.float32).reshape(3, 10, 14)),
    PCAColor([0.2, 0.02, 0.005], np.linalg.qr(np.arange(9.0).reshape(3, 3) + np.eye(3))[0], std=0.2),
    Compose([RandomCrop(6), RandomMirror(), Normalize(0.5, 0.25)]),
]


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
def test_through_json(transform, image):
    again = from_description(json.loads(json.dumps(transform.describe())))
    assert type(again) is type(transform) and again.describe() == transform.describe()
    np.testing.assert_array_equal(again(image, generator(1, "a")), transform(image, generator(1, "a")))


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
def test_input_is_not_written_to_and_output_is_float32(transform, image):
    before = image.copy()
    image.flags.writeable = False
    result = transform(image, generator(0, "a"))
    np.testing.assert_array_equal(image, before)
    assert result.dtype == np.float32 and result.ndim == (4 if isinstance(transform, TenCrop) else 3)


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
def test_random_ones_need_a_generator_and_others_do_not(transform, image):
    if isinstance(transform, (RandomResize, RandomCrop, RandomResizedCrop, RandomMirror, PCAColor, Compose)):
        with pytest.raises(TypeError, match=r"needs a generator: call it as transform\(image, rng\)"):
            transform(image)
    else:
        np.testing.assert_array_equal(transform(image), transform(image, generator(5, "b")))


def test_every_kind_is_tested_here():
    assert {type(transform).__name__ for transform in EVERY} == set(KINDS)


def test_resize_keeps_proportion():
    for shape, side, want in (
        ((3, 256, 512), 128, (128, 256)),
        ((1, 500, 375), 256, (341, 256)),
        ((1, 8, 8), 5, (5, 5)),
    ):
        assert Resize(side)(np.zeros(shape, np.float32)).shape[1:] == want


@pytest.mark.parametrize(
    "size, wanted",
    [
        ((375, 500), (600, 800)),  # of PASCAL VOC
        ((500, 375), (800, 600)),
        ((600, 600), (600, 600)),
        ((300, 500), (600, 1000)),  # both limits are met
        ((300, 600), (500, 1000)),  # 600 x 1200 would be too long
        ((1200, 900), (800, 600)),
        ((3, 3000), (1, 1000)),
        ((1, 3000), (1, 1000)),  # never less than a pixel
    ],
)
def test_resize_within_the_limits_of_detectors(size, wanted):
    assert ResizeWithin()(np.zeros((1, *size), np.float32)).shape[1:] == wanted


def test_resize_within_other_limits(image):
    assert ResizeWithin(20, 40)(image).shape == (3, 20, 28)
    assert ResizeWithin(20, 21)(image).shape == (3, 15, 21)


def test_random_resize_reaches_both_ends():
    sides = {RandomResize(4, 6)(np.zeros((1, 8, 9), np.float32), generator(0, "s", 0, i)).shape[1] for i in range(60)}
    assert sides == {4, 5, 6}


def test_center_crop(image):
    np.testing.assert_array_equal(CenterCrop(4)(image), image[:, 3:7, 5:9])
    np.testing.assert_array_equal(CenterCrop((3, 14))(image), image[:, 3:6])


def test_random_crop_takes_every_place_equally_often():
    image = np.arange(20, dtype=np.float32).reshape(1, 4, 5)
    crops = [RandomCrop((3, 3))(image, generator(0, "c", 0, i)) for i in range(3000)]
    corner = np.array([crop[0, 0, 0] for crop in crops])
    values, counts = np.unique(corner, return_counts=True)
    assert values.tolist() == [0, 1, 2, 5, 6, 7]  # 2 x 3 places
    assert counts.min() > 420 and counts.max() < 580  # 500 each, standard deviation 20
    for crop in crops[:10]:
        top, left = divmod(int(crop[0, 0, 0]), 5)
        np.testing.assert_array_equal(crop, image[:, top : top + 3, left : left + 3])


def test_random_crop_with_padding_sees_zeros():
    ones = np.ones((1, 4, 4), np.float32)
    counts = {int(RandomCrop(4, padding=1)(ones, generator(0, "c", 0, i)).sum()) for i in range(200)}
    assert counts == {16, 12, 9}  # not moved, moved along one axis, along both


def test_ten_crop(image):
    crops = TenCrop((4, 6))(image)
    assert crops.shape == (10, 3, 4, 6)
    np.testing.assert_array_equal(crops[0], image[:, :4, :6])
    np.testing.assert_array_equal(crops[1], image[:, :4, -6:])
    np.testing.assert_array_equal(crops[2], image[:, -4:, :6])
    np.testing.assert_array_equal(crops[3], image[:, -4:, -6:])
    np.testing.assert_array_equal(crops[4], CenterCrop((4, 6))(image))
    np.testing.assert_array_equal(crops[5:], crops[:5, :, :, ::-1])
    after = Compose([TenCrop((4, 6)), Normalize((0.1, 0.2, 0.3), (1, 2, 3))])(image)
    np.testing.assert_array_equal(after[7], Normalize((0.1, 0.2, 0.3), (1, 2, 3))(crops[7]))


def test_random_mirror(image):
    results = [RandomMirror()(image, generator(0, "m", 0, i)) for i in range(1000)]
    mirrored = [not np.array_equal(result, image) for result in results]
    assert 430 < sum(mirrored) < 570
    np.testing.assert_array_equal(results[mirrored.index(True)], image[:, :, ::-1])
    assert RandomMirror(0.0)(image, generator(0, "m")) is image
    np.testing.assert_array_equal(RandomMirror(1.0)(image, generator(0, "m")), image[:, :, ::-1])


def test_random_resized_crop_areas_and_fallback():
    gradient = np.broadcast_to(np.arange(100, dtype=np.float32), (1, 100, 100))
    widths = []
    for i in range(300):
        crop = RandomResizedCrop(50, scale=(0.25, 0.25), ratio=(1, 1))(gradient, generator(0, "r", 0, i))
        assert crop.shape == (1, 50, 50)
        widths.append(crop[0, 0, -1] - crop[0, 0, 0])
    np.testing.assert_allclose(widths, 49)  # a quarter of the area is 50 x 50: only moved
    narrow = np.zeros((1, 4, 400), np.float32)  # no wanted proportion fits: the middle
    narrow[:, :, 190:210] = 1
    crop = RandomResizedCrop(4, scale=(1, 1), ratio=(1, 2))(narrow, generator(0, "r"))
    assert crop.shape == (1, 4, 4) and (crop > 0.99).all()


def test_pad(image):
    padded = Pad((1, 2), value=7)(image)
    assert padded.shape == (3, 12, 18)
    np.testing.assert_array_equal(padded[:, 1:-1, 2:-2], image)
    assert (padded[:, 0] == 7).all() and (padded[:, :, :2] == 7).all()


def test_to_float():
    np.testing.assert_allclose(ToFloat()(np.array([[[0, 51, 255]]], np.uint8)), [[[0, 0.2, 1]]], rtol=1e-6)
    np.testing.assert_array_equal(ToFloat()(np.array([[[2.5]]])), np.float32([[[2.5]]]))


def test_normalize_fit(rng):
    images = (rng.random((50, 3, 6, 6)) * np.array([1, 2, 3])[:, None, None] + 4).astype(np.float32)
    transform = Normalize.fit(ArrayDataset(images, np.zeros(50, int)))
    result = np.stack([transform(image) for image in images])
    np.testing.assert_allclose(result.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(result.std((0, 2, 3)), 1, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.7])
def test_normalize_fit_refuses_a_channel_of_one_value(value, rng):
    images = rng.random((50, 2, 7, 7)).astype(np.float32)
    images[:, 1] = value
    with pytest.raises(ValueError, match="std must be positive, got .*0.0.*one value cannot be scaled"):
        Normalize.fit(ArrayDataset(images, np.zeros(50, int)))
    with pytest.raises(ValueError, match="std must be positive, got .*nan"):
        Normalize(0.5, (1.0, np.nan))


def test_subtract_mean_fit(rng):
    images = rng.integers(0, 256, (600, 3, 4, 5), dtype=np.uint8)  # more than one chunk
    labels = np.zeros(600, int)
    transform = SubtractMean.fit(ArrayDataset(images, labels))
    np.testing.assert_allclose(transform.mean, images.mean(0) / 255, atol=1e-6)
    one_by_one = SubtractMean.fit(ArrayDataset(images, labels, transform=lambda image, rng: image))
    np.testing.assert_allclose(one_by_one.mean, transform.mean, atol=1e-7)
    np.testing.assert_array_equal(transform(images[0] / np.float32(255)), images[0] / np.float32(255) - transform.mean)


def colours(rng, count=40):
    """Images whose colours have a known covariance in the limit: correlated channels in about [0, 1]."""
    base = rng.random((count, 1, 8, 8)) * 0.6
    return (base + rng.random((count, 3, 8, 8)) * np.array([0.4, 0.2, 0.1])[:, None, None]).astype(np.float32)


def test_pca_color_fits_the_covariance_of_the_pixels(rng):
    images = colours(rng)
    transform = PCAColor.fit(ArrayDataset(images, np.zeros(len(images), int)))
    want = np.cov(images.transpose(1, 0, 2, 3).reshape(3, -1), bias=True)
    values, vectors = transform.eigenvalues, transform.eigenvectors
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, want, atol=1e-7)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-12)
    assert values[0] >= values[1] >= values[2] >= 0
    assert (vectors[np.abs(vectors).argmax(0), range(3)] > 0).all()  # the sign, which eigh leaves open
    assert transform.std == 0.1


def test_pca_color_shift_has_the_papers_covariance(rng):
    transform = PCAColor.fit(ArrayDataset(colours(rng), np.zeros(40, int)))
    zero = np.zeros((3, 2, 2), np.float32)
    shifts = []
    for i in range(20000):
        shifted = transform(zero, generator(0, "augment", 0, i))
        if i < 50:
            assert (shifted == shifted[:, :1, :1]).all()  # one shift for the whole image
        shifts.append(shifted[:, 0, 0])
    shifts = np.array(shifts, np.float64)
    vectors, scale = transform.eigenvectors, 0.1 * transform.eigenvalues
    want = vectors @ np.diag(scale**2) @ vectors.T  # Krizhevsky et al. 2012, sec. 4.1
    along = shifts @ vectors / scale  # standard normal on each axis
    np.testing.assert_allclose(np.cov(along.T), np.eye(3), atol=0.04)  # 4 standard errors of 20000 draws
    np.testing.assert_allclose(along.mean(0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(shifts.T), want, atol=0.04 * scale[0] ** 2)


def test_pca_color_on_ten_crops_shifts_all_alike(image):
    transform = PCAColor([0.2, 0.02, 0.005], np.eye(3))
    crops = TenCrop(5)(image)
    shift = transform(crops, generator(2, "a")) - crops
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:1, :, :1, :1], shift.shape), atol=1e-6)


def test_fits_name_what_is_wrong(rng):
    with pytest.raises(
        ValueError, match=r"PCAColor.fit: pixels must lie in \[0, 1\], got 0 to 255; divide them by 255"
    ):
        PCAColor.fit(ArrayDataset(np.array([0, 255.0] * 6).reshape(1, 3, 2, 2), [0]))
    with pytest.raises(ValueError, match="SubtractMean.fit: the dataset must hold images, got an empty one"):
        SubtractMean.fit(ArrayDataset(np.zeros((0, 1, 2, 2)), []))
    mixed = [(np.zeros((3, 4, 4), np.float32), 0), (np.zeros((3, 5, 4), np.float32), 1)]
    with pytest.raises(ValueError, match=r"all images must have one size, got \(3, 5, 4\) after \(3, 4, 4\)"):
        SubtractMean.fit(mixed)
    mixed[1] = (np.zeros((1, 4, 4), np.float32), 1)
    with pytest.raises(ValueError, match="all images must have 3 channels, got one with 1"):
        Normalize.fit(mixed)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda im: CenterCrop(11)(im),
            ValueError,
            "CenterCrop: the window 11x11 must fit into the image, got 10x14; put",
        ),
        (lambda im: RandomCrop(20, 2)(im, generator(0, "a")), ValueError, "window 20x20 must fit .* got 14x18"),
        (lambda im: Resize(0), ValueError, "Resize: size must be at least 1, got 0"),
        (lambda im: Resize((3, 4, 5)), TypeError, r"Resize: size must be an int or a pair .* got \(3, 4, 5\)"),
        (
            lambda im: Resize(3, "lanczos"),
            ValueError,
            "method must be one of nearest, bilinear, bicubic, got 'lanczos'",
        ),
        (lambda im: RandomCrop(3, -1), ValueError, "RandomCrop: padding must be at least 0, got -1"),
        (lambda im: CenterCrop(2.5), TypeError, "CenterCrop: size must be an int or a pair"),
        (lambda im: RandomMirror(1.5), ValueError, r"p must lie in \[0, 1\], got 1.5"),
        (lambda im: ResizeWithin(9, 3), ValueError, "ResizeWithin: wanted 1 <= short <= longest, got 9 and 3"),
        (lambda im: ResizeWithin(0, 3), ValueError, "wanted 1 <= short <= longest, got 0 and 3"),
        (lambda im: ResizeWithin(6.5, 8), TypeError, "ResizeWithin: short must be an int, got 6.5"),
        (lambda im: RandomResize(9, 3), ValueError, "wanted 1 <= low <= high, got 9 and 3"),
        (lambda im: RandomResizedCrop(3, scale=(0.5, 2)), ValueError, "scale must be 0 < low <= high <= 1.0"),
        (lambda im: Normalize(0, 0), ValueError, "Normalize: std must be positive"),
        (lambda im: Normalize((0, 0), (1, 1))(im), ValueError, "the image has 3 channels, got 2 means and 2 stds"),
        (
            lambda im: SubtractMean(im[:, :5])(im),
            ValueError,
            r"image must be \(3, 5, 14\) as the mean, got \(3, 10, 14\)",
        ),
        (lambda im: SubtractMean(im[0]), ValueError, r"mean must be an image \(C, H, W\), got shape \(10, 14\)"),
        (lambda im: PCAColor([1, 2], np.eye(3)), ValueError, r"got shapes \(2,\) and \(3, 3\)"),
        (lambda im: PCAColor([1, 2], np.eye(2))(im, generator(0, "a")), ValueError, "was fitted to 2 channels"),
        (
            lambda im: Resize(4)(im[0]),
            ValueError,
            r"Resize: the image must be an array \(C, H, W\), got shape \(10, 14\)",
        ),
        (lambda im: Resize(4)("cat.jpg"), ValueError, "must be an array .* got str"),
        (lambda im: Pad(1)((im * 255).astype(np.uint8)), TypeError, "Pad: .* float32, got uint8; put ToFloat"),
        (lambda im: Compose([3]), TypeError, "Compose: every transform must be callable"),
        (lambda im: Compose([abs]).describe(), TypeError, "cannot be described; make it a frozen dataclass"),
        (lambda im: from_description({"kind": "Blur"}), ValueError, "kind must be one of CenterCrop, .* got 'Blur'"),
        (lambda im: from_description("Blur"), ValueError, "got 'Blur'"),
        (lambda im: from_description({"kind": "Pad", "width": 3}), ValueError, r"Pad cannot be made from \['width'\]"),
    ],
)
def test_errors(make, error, message, image):
    with pytest.raises(error, match=message):
        make(image)


@dataclass(frozen=True, eq=False)
class Darken(Transform):
    """A student's own transform."""

    by: float = 0.5

    def __call__(self, image, rng=None):
        return image * np.float32(self.by)


def test_a_transform_of_ones_own_can_be_stored(image):
    stored = json.loads(json.dumps(Compose([Darken(0.25), RandomCrop(3)]).describe()))
    again = from_description(stored, kinds={"Darken": Darken})
    assert again.transforms[0].by == 0.25 and again(image, generator(0, "a")).shape == (3, 3, 3)


def test_alexnets_views(rng):
    """The whole recipe of Krizhevsky et al. 2012: training view and test views of an odd-sized image."""
    data = ArrayDataset(rng.random((3, 3, 30, 41)), range(3), transform=Compose([Resize(26), CenterCrop(26)]))
    mean, colour = SubtractMean.fit(data), PCAColor.fit(data)
    train = Compose([mean, RandomCrop(22), RandomMirror(), colour])
    test = Compose([mean, TenCrop(22)])
    image = data[0][0]
    assert train(image, generator(0, "augment")).shape == (3, 22, 22) and test(image).shape == (10, 3, 22, 22)
