"""The bundled files are the ones meant, complete, small, and credited."""

import hashlib

import numpy as np
import pytest

from tinyconv.data import digits, fashion_mnist, mnist, photographs
from tinyconv.data.bundled import BUNDLED

LICENCES = {
    "digits.npz": ("LICENSE-digits.txt", ["Alpaydin", "Kaynak", "CC BY 4.0"]),
    "mnist.npz": ("LICENSE-mnist.txt", ["LeCun", "Cortes", "Burges", "CC BY-SA 3.0"]),
    "fashion_mnist.npz": ("LICENSE-fashion_mnist.txt", ["Copyright © 2017 Zalando SE", "The MIT License", "AS IS"]),
    "china.jpg": ("LICENSE-photographs.txt", ["CC BY 2.0", "danielbuechele", "6061409035"]),
    "flower.jpg": ("LICENSE-photographs.txt", ["CC BY 2.0", "vultilion", "6056698931"]),
}


def checksums():
    lines = (BUNDLED / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def test_files_are_those_of_the_checksum_list():
    assert sorted(checksums()) == sorted(LICENCES)
    for name, digest in checksums().items():
        assert hashlib.sha256((BUNDLED / name).read_bytes()).hexdigest() == digest, name


def test_everything_is_under_8_mb():
    assert sum(file.stat().st_size for file in BUNDLED.iterdir()) < 8_000_000


@pytest.mark.parametrize("name", LICENCES)
def test_each_file_has_its_licence_beside_it(name):
    file, wanted = LICENCES[name]
    text = (BUNDLED / file).read_text(encoding="utf-8")
    assert name in text
    for phrase in wanted:
        assert phrase in text


def test_no_file_without_a_licence():
    known = set(LICENCES) | {licence for licence, _ in LICENCES.values()} | {"SHA256SUMS"}
    assert {file.name for file in BUNDLED.iterdir()} == known


def test_digits():
    data = digits()
    assert len(data) == 1797 and data.images.shape == (1797, 1, 8, 8) and data.images.dtype == np.uint8
    assert data.images.max() == 16
    # class counts of UCI's test file, as its page gives them
    assert np.bincount(data.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    everything = np.stack([image for image, _ in data])
    assert everything.dtype == np.float32 and everything.min() == 0 and everything.max() == 1
    assert set(np.unique(everything * 16)) == set(range(17))
    assert data.classes == list("0123456789")


def test_digits_split_is_a_partition():
    parts = [digits("train"), digits("test")]
    assert [len(part) for part in parts] == [1437, 360]
    np.testing.assert_array_equal(np.concatenate([part.images for part in parts]), digits().images)
    assert min(np.bincount(parts[1].labels)) >= 30  # every class is tested


@pytest.mark.parametrize(
    ("load", "split", "count", "mean", "std"),
    [  # the mean and standard deviation published for the full training sets
        (mnist, "train", 5000, 0.1307, 0.3081),
        (mnist, "test", 1000, 0.1307, 0.3081),
        (fashion_mnist, "train", 10000, 0.2860, 0.3530),
        (fashion_mnist, "test", 2000, 0.2860, 0.3530),
    ],
)
def test_idx_sets(load, split, count, mean, std):
    data = load(split)
    assert len(data) == count and len(data.classes) == 10
    assert data.images.shape[1:] == (1, 28, 28) and data.images.dtype == np.uint8
    assert np.bincount(data.labels).tolist() == [count // 10] * 10
    assert abs(data.images.mean() / 255 - mean) < 0.01 and abs(data.images.std() / 255 - std) < 0.01
    assert len(np.unique(data.labels[:100])) == 10  # shuffled: not sorted by class
    assert len(np.unique(data.images.reshape(count, -1), axis=0)) > 0.99 * count  # hardly any image twice
    image, label = data[7]
    assert image.dtype == np.float32 and 0 <= image.min() and image.max() <= 1 and isinstance(label, int)


@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_training_and_test_images_are_disjoint(load):
    train, test = ({image.tobytes() for image in load(split).images} for split in ("train", "test"))
    assert not train & test


def test_a_simple_classifier_tells_the_classes_apart():
    # labels belong to their images: the nearest class mean is right far more often than by chance (10 %)
    for load, least in ((mnist, 0.75), (fashion_mnist, 0.6)):
        train, test = load("train"), load("test")
        means = np.stack([train.images[train.labels == label].mean(0).ravel() for label in range(10)])
        pixels = test.images.reshape(len(test), -1).astype(np.float64)
        nearest = np.argmin((means**2).sum(1) - 2 * pixels @ means.T, axis=1)
        assert (nearest == test.labels).mean() > least


def test_photographs():
    data = photographs()
    assert data.classes == ["china", "flower"] and [label for _, label in data] == [0, 1]
    for image, _ in data:
        assert image.shape == (3, 427, 640) and image.dtype == np.float32
        assert image.min() >= 0 and image.max() <= 1
    flower = data[1][0][:, 150:250, 280:360].mean((1, 2))  # the orange dahlia: red over green over blue
    assert flower[0] > flower[1] > flower[2]


def test_unknown_split():
    with pytest.raises(ValueError, match=r"mnist: split must be one of 'train', 'test', got 'valid'"):
        mnist("valid")
    with pytest.raises(ValueError, match=r"digits: split must be one of 'all', 'train', 'test', got 'valid'"):
        digits("valid")


def test_missing_file(monkeypatch, tmp_path):
    monkeypatch.setattr("tinyconv.data.bundled.BUNDLED", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"mnist\.npz is missing; install tinyconv again"):
        mnist()
