"""Datasets of detectors: boxes follow their pixels when images are resized and mirrored; batches."""

import numpy as np
import pytest

from tinyconv.data import Compose, DataLoader, Normalize, Resize, Scenes
from tinyconv.data.detection import DetectionDataset, SceneDetection, collate, mirrored
from tinyconv.data.geometric import CenterCrop, Pad, RandomMirror, ResizeWithin
from tinyconv.random import generator
from tinyconv.vision.detections import truth
from tinyconv.vision.targets import NOTHING, pack_targets, unpack_targets

SIZES = [(20, 32), (30, 24), (16, 16)]


class Rectangles:
    """Black images, one white rectangle each, its class the image's number; every second one marked as difficult."""

    classes = ["first", "second", "third"]  # noqa: RUF012
    boxes = np.array([[3.0, 5, 11, 9], [0, 20, 24, 30], [4, 4, 12, 8]])

    def __len__(self):
        return 3

    def read(self, i):
        image = np.zeros((3, *SIZES[i]), np.float32)
        x1, y1, x2, y2 = self.boxes[i].astype(int)
        image[:, y1:y2, x1:x2] = 1
        return image, truth(self.boxes[[i, i]] + [[0, 0, 0, 0], [0, 0, -1, 0]], [i, 0], [False, True])


def white(image):
    """Return the box around what is brighter than one half."""
    rows, columns = (np.flatnonzero((image.max(0) > 0.5).any(axis)) for axis in (1, 0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def unpacked(target):
    return unpack_targets(target[None])[0]


class Halves(np.random.Generator):
    """A generator whose uniform draw is the given one."""

    def __init__(self, value):
        super().__init__(np.random.PCG64(0))
        self.value = value

    def random(self, *args, **kwargs):
        return self.value


# ---------------------------------------------------------------------------------------------------------- the dataset


def test_targets_are_the_objects_that_are_not_difficult():
    data = DetectionDataset(Rectangles())
    assert len(data) == 3 and data.classes == ["first", "second", "third"]
    for i in range(3):
        image, target = data[i]
        found = unpacked(target)
        assert found.size == SIZES[i] == image.shape[1:] and found.labels.tolist() == [i]
        assert found.boxes.tolist() == [white(image)] and found.proposals.shape == (0, 4)
        np.testing.assert_array_equal(data.read(i)[1], target)
    assert [t.difficult.tolist() for t in data.truths()] == [[False, True]] * 3
    assert data.truths()[1].boxes[0].tolist() == [0, 20, 24, 30]


@pytest.mark.parametrize("i", range(3))
def test_mirrored_boxes_are_exactly_around_the_mirrored_pixels(i):
    proposals = [np.array([[1.0, 2, 5, 7]])] * 3
    data = DetectionDataset(Rectangles(), mirror=True, proposals=proposals)
    image, target = data.sample(i, Halves(0.49))
    np.testing.assert_array_equal(image, data.read(i)[0][..., ::-1])
    found = unpacked(target)
    assert found.boxes.tolist() == [white(image)]
    width = SIZES[i][1]
    assert found.proposals.tolist() == [[width - 5, 2, width - 1, 7]]
    same, target = data.sample(i, Halves(0.5))
    np.testing.assert_array_equal(same, data.read(i)[0])
    assert unpacked(target).proposals.tolist() == [[1, 2, 5, 7]]


@pytest.mark.parametrize("mirror", [False, True])
def test_boxes_follow_a_change_of_size(mirror):
    """Twice as high and three times as wide, nearest pixels: the white rectangle still has its box."""
    proposals = [np.array([[1.0, 2, 5, 7]])] * 3
    transform = Compose([Resize((40, 96), "nearest")])
    data = DetectionDataset(Rectangles(), transform, mirror=mirror, proposals=proposals)
    image, target = data.sample(0, Halves(0.1))
    found = unpacked(target)
    assert image.shape == (3, 40, 96) and found.size == (40, 96)
    assert found.boxes.tolist() == [white(image)] == ([[63, 10, 87, 18]] if mirror else [[9, 10, 33, 18]])
    assert found.proposals.tolist() == ([[81, 4, 93, 14]] if mirror else [[3, 4, 15, 14]])
    assert data.truths()[0].boxes[0].tolist() == [3, 5, 11, 9]  # the source's pixels
    assert data.read(0)[1].tolist()[0] == [-3, 0, 0, 32, 20]


def test_a_box_as_large_as_the_image_stays_so_at_every_size():
    class Whole(Rectangles):
        def read(self, i):
            height, width = SIZES[i]
            return np.zeros((1, height, width), np.float32), truth([[0, 0, width, height]], [i])

    for size in range(7, 60):
        found = unpacked(DetectionDataset(Whole(), Resize((size, 61 - size // 2)))[size % 3][1])
        assert found.boxes.tolist() == [[0, 0, found.size[1], found.size[0]]]


def test_half_of_the_images_are_mirrored_and_a_draw_depends_on_epoch_and_index_only():
    data = DetectionDataset(Rectangles(), mirror=True)
    mirrors = [data.sample(0, generator(1, "augment", epoch, 0))[1][1, 1] != 3 for epoch in range(400)]
    assert 160 < sum(mirrors) < 240  # 200, standard deviation 10
    batches = {
        (size, workers): [
            images.numpy()[k].sum(axis=(0, 1)).tolist()
            for images, _ in DataLoader(data, size, seed=3, collate_fn=collate, workers=workers)
            for k in range(len(images))
        ]
        for size, workers in ((1, 0), (2, 2))
    }
    assert [row[:16] for row in batches[1, 0]] == [row[:16] for row in batches[2, 2]]


def test_scenes_as_a_source():
    scenes = Scenes(4, objects=(0, 3), seed=2)
    source = scenes.detection()
    assert isinstance(source, SceneDetection) and source.classes == scenes.classes and len(source) == 4
    for i in range(4):
        image, found = source.read(i)
        np.testing.assert_array_equal(image, scenes[i].image)
        np.testing.assert_array_equal(found.boxes, scenes[i].boxes)
        np.testing.assert_array_equal(found.labels, scenes[i].labels)
        assert not found.difficult.any()
    with pytest.raises(IndexError, match=r"SceneDetection: index must lie in 0\.\.3, got 4"):
        source.read(4)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"transform": CenterCrop(8)}, ValueError, "the transform must leave every pixel .* got CenterCrop"),
        ({"transform": Compose([Resize(9), Compose([RandomMirror()])])}, ValueError, "got RandomMirror.*mirror=True"),
        ({"transform": Pad(2)}, ValueError, "got Pad"),
        ({"transform": 3}, TypeError, "transform must be callable"),
        ({"proposals": [np.zeros((0, 4))]}, ValueError, r"proposals must be 3 arrays \(P, 4\), one per image, got 1"),
        (
            {"proposals": [np.zeros((4, 5))] * 3},
            ValueError,
            r"proposals of an image must be \(P, 4\), got shape \(4, 5\)",
        ),
    ],
)
def test_arguments_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=f"DetectionDataset: .*{message}"):
        DetectionDataset(Rectangles(), **arguments)


def test_images_without_objects_or_proposals():
    class Empty(Rectangles):
        def read(self, i):
            return np.zeros((1, 5, 6), np.float32), truth([], [])

    data = DetectionDataset(Empty(), Resize((10, 12)), mirror=True, proposals=[[]] * 3)
    assert data[0][1].tolist() == [[-3, 0, 0, 12, 10]] == data.sample(0, Halves(0.0))[1].tolist()


# -------------------------------------------------------------------------------------------------------------- batches


def test_a_batch_is_filled_up_below_and_on_the_right():
    data = DetectionDataset(Rectangles(), proposals=[[], [[0, 0, 2, 2], [1, 1, 3, 4]], [[2, 2, 4, 4]]])
    items = [data[i] for i in range(3)]
    images, targets = collate(items)
    assert images.shape == (3, 3, 30, 32) and images.dtype == np.float32
    assert targets.shape == (3, 4, 5) and targets.dtype == np.float32
    for image, target, (source, rows) in zip(images, targets, items, strict=True):
        _, height, width = source.shape
        np.testing.assert_array_equal(image[:, :height, :width], source)
        assert not image[:, height:].any() and not image[:, :, width:].any()
        np.testing.assert_array_equal(target[: len(rows)], rows)
        assert (target[len(rows) :, 0] == NOTHING).all()
    assert [found.size for found in unpack_targets(targets)] == SIZES


def test_a_loader_of_batches():
    data = DetectionDataset(Rectangles(), ResizeWithin(16, 20))
    (images, targets), (last, _) = DataLoader(data, 2, collate_fn=collate)
    assert images.shape == (2, 3, 20, 20) and last.shape == (1, 3, 16, 16)  # 20 x 32 -> 12 x 20; 30 x 24 -> 20 x 16
    assert [found.size for found in unpack_targets(targets.numpy())] == [(12, 20), (20, 16)]


@pytest.mark.parametrize(
    "items, message",
    [
        ([], "wanted at least one item, got none"),
        ([(np.zeros((3, 4, 4)), np.zeros(5))], r"an item must be an image .* got shapes \(3, 4, 4\) and \(5,\)"),
        ([(np.zeros((3, 4, 4)), np.zeros((0, 5)))], "an item must be an image"),
        ([(np.zeros((3, 4, 4)), np.zeros((2, 5)))], r"must begin with the image's extent, \(-3, 0, 0, 4, 4\)"),
        ([(np.zeros((3, 4, 5)), pack_targets((4, 4), [], []))], "give the transform to the DetectionDataset"),
        ([(np.zeros((c, 4, 4)), pack_targets((4, 4), [], [])) for c in (1, 3)], r"as many channels, got \[1, 3\]"),
    ],
)
def test_items_that_make_no_batch(items, message):
    with pytest.raises(ValueError, match=f"collate: .*{message}"):
        collate(items)


def test_a_transform_given_to_the_loader_is_noticed():
    loader = DataLoader(DetectionDataset(Rectangles()), transform=Resize(8), collate_fn=collate)
    with pytest.raises(ValueError, match="give the transform to the DetectionDataset, not to the loader"):
        next(iter(loader))
    normal = DataLoader(DetectionDataset(Rectangles()), transform=Normalize(0.5, 0.5), collate_fn=collate)
    assert next(iter(normal))[0].numpy().min() == -1  # a transform of colours may be there


def test_mirrored_twice_is_nothing(rng):
    boxes = np.sort(rng.integers(0, 40, (5, 2, 2)), axis=1).reshape(5, 4)
    np.testing.assert_array_equal(mirrored(mirrored(boxes, 64), 64), boxes)
    assert mirrored(np.zeros((0, 4)), 8).shape == (0, 4)
