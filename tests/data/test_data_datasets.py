"""Datasets from arrays, IDX files and folders; what they say when something is wrong."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from tinyconv.data import (
    ArrayDataset,
    ImageFolder,
    RandomCrop,
    Subset,
    mnist_folder,
    random_split,
    read_idx,
    read_image,
    resize_image,
)


def write_idx(path, array, code=0x08, dtype=">u1"):
    header = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    data = header + array.astype(dtype).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


# ------------------------------------------------------------------------------------------------- arrays
def test_array_dataset_hands_out_float32(rng):
    images = rng.integers(0, 256, (6, 3, 4, 5), dtype=np.uint8)
    data = ArrayDataset(images, np.arange(6) % 2, classes=["a", "b"])
    image, label = data[3]
    assert image.dtype == np.float32 and image.shape == (3, 4, 5) and label == 1 and type(label) is int
    np.testing.assert_array_equal(image, images[3].astype(np.float32) / np.float32(255))
    assert data[-1][1] == data[5][1] and len(list(data)) == 6
    assert "6 images, 2 classes" in repr(data)


def test_array_dataset_never_hands_out_its_own_memory():
    images = np.ones((2, 1, 3, 3), np.float32)
    ArrayDataset(images, [0, 1])[0][0][:] = 5
    assert (images == 1).all()


def test_array_dataset_takes_grey_images_without_a_channel_axis():
    assert ArrayDataset(np.zeros((4, 8, 9)), range(4))[0][0].shape == (1, 8, 9)


def test_batch_equals_single_items(rng):
    data = ArrayDataset(rng.integers(0, 17, (9, 1, 4, 4), dtype=np.uint8), range(9), maximum=16)
    images, labels = data.batch(np.array([8, 0, 3]))
    np.testing.assert_array_equal(images, np.stack([data[i][0] for i in (8, 0, 3)]))
    assert labels.tolist() == [8, 0, 3] and images.dtype == np.float32


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        (
            np.zeros((3, 4)),
            [0, 1, 2],
            None,
            r"images must be numbers of shape \(N, C, H, W\) or \(N, H, W\), got float64",
        ),
        (np.zeros((3, 1, 2, 2)), [0, 1], None, r"labels must be 3 integers, one per image, got int64 of shape \(2,\)"),
        (np.zeros((2, 1, 2, 2)), [0.0, 1.0], None, r"labels must be 2 integers.* got float64"),
        (np.zeros((2, 1, 2, 2)), [0, 2], ["a", "b"], r"labels must lie in 0\.\.1, one per class name, got 0\.\.2"),
        (np.array(["x"] * 2), [0, 1], None, "images must be numbers"),
    ],
)
def test_array_dataset_errors(images, labels, classes, message):
    with pytest.raises(ValueError, match=f"ArrayDataset: {message}"):
        ArrayDataset(images, labels, classes=classes)


def test_index_and_transform_errors():
    data = ArrayDataset(np.zeros((2, 1, 2, 2)), [0, 1])
    with pytest.raises(IndexError, match=r"ArrayDataset: index must lie in 0\.\.1, got 2"):
        data[2]
    with pytest.raises(TypeError, match="transform must be callable"):
        ArrayDataset(np.zeros((2, 1, 2, 2)), [0, 1], transform="flip")


def test_indexing_a_random_transform_is_repeatable():
    data = ArrayDataset(np.arange(2 * 64, dtype=np.float32).reshape(2, 1, 8, 8), [0, 1], RandomCrop(3))
    np.testing.assert_array_equal(data[1][0], data[1][0])
    assert data.batch(np.array([0])) is None


# ------------------------------------------------------------------------------------------------- parts
def test_subset(rng):
    data = ArrayDataset(rng.random((6, 1, 2, 2)), range(6), classes=list("abcdef"))
    part = Subset(data, [5, 1, 1])
    assert len(part) == 3 and part.classes == data.classes
    assert [label for _, label in part] == [5, 1, 1]
    np.testing.assert_array_equal(part[0][0], data[5][0])
    np.testing.assert_array_equal(part.batch(np.array([0, 2]))[1], [5, 1])
    doubled = Subset(data, [2], transform=lambda image, rng: 2 * image)
    np.testing.assert_array_equal(doubled[0][0], 2 * data[2][0])
    assert doubled.batch(np.array([0])) is None


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 6], r"indices must lie in 0\.\.5, got 0\.\.6"),
        ([True] * 6, "got bool.*np.flatnonzero"),
        ([[0]], r"got int64 of shape \(1, 1\)"),
    ],
)
def test_subset_errors(indices, message):
    with pytest.raises(ValueError, match=f"Subset: .*{message}"):
        Subset(ArrayDataset(np.zeros((6, 1, 2, 2)), range(6)), indices)


@pytest.mark.parametrize(("lengths", "sizes"), [([70, 30], [70, 30]), ([0.7, 0.2, 0.1], [70, 20, 10]), ([1.0], [100])])
def test_random_split_is_a_partition(lengths, sizes):
    data = ArrayDataset(np.zeros((100, 1, 1, 1)), range(100))
    parts = random_split(data, lengths, seed=3)
    assert [len(part) for part in parts] == sizes
    assert sorted(np.concatenate([part.indices for part in parts])) == list(range(100))
    again, other = random_split(data, lengths, seed=3), random_split(data, lengths, seed=4)
    assert (again[0].indices == parts[0].indices).all() and (other[0].indices != parts[0].indices).any()
    assert parts[0].indices.tolist() != sorted(parts[0].indices)  # drawn, not cut


def test_random_split_of_fractions_leaves_nothing_over():
    parts = random_split(ArrayDataset(np.zeros((10, 1, 1, 1)), range(10)), [1 / 3, 1 / 3, 1 / 3])
    assert [len(part) for part in parts] == [4, 3, 3]


def test_random_split_error():
    with pytest.raises(
        ValueError, match=r"lengths must be sizes that sum to 6 or fractions that sum to 1, got \[3, 2\]"
    ):
        random_split(ArrayDataset(np.zeros((6, 1, 2, 2)), range(6)), [3, 2])


# ------------------------------------------------------------------------------------------------- IDX
@pytest.mark.parametrize(
    ("code", "dtype"), [(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
@pytest.mark.parametrize("name", ["x-idx3-ubyte", "x-idx3-ubyte.gz"])
def test_read_idx(tmp_path, rng, name, code, dtype):
    array = rng.integers(0, 100, (3, 4, 5)).astype(dtype)
    got = read_idx(write_idx(tmp_path / name, array, code, dtype))
    np.testing.assert_array_equal(got, array)
    assert got.dtype == np.dtype(dtype).newbyteorder("=") and got.flags.writeable


def test_read_idx_says_what_is_wrong(tmp_path):
    good = write_idx(tmp_path / "good", np.zeros((3, 4, 5), np.uint8)).read_bytes()
    cases = [
        (good[:-1], r"is truncated: its header wants 76 bytes, got 75; fetch it again"),
        (good[:9], r"is truncated: its header wants \d+ bytes, got 9"),
        (good + b"x", r"is too long: its header wants 76 bytes, got 77"),
        (b"\x89PNG" + good, r"must begin with an IDX magic number .*got 89 50 4e 47; is it an MNIST file\?"),
        (b"\0\0\x07\x01\0\0\0\0", r"got 00 00 07 01"),
        (b"", "got an empty file"),
        (gzip.compress(good)[:-9], "is a damaged gzip file"),
        (gzip.compress(good)[:30] + b"garbage!", "is a damaged gzip file"),
    ]
    for content, message in cases:
        bad = tmp_path / "bad"
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=f"read_idx: .*bad {message}|read_idx: .*bad .*{message}"):
            read_idx(bad)
    with pytest.raises(FileNotFoundError, match="read_idx: there is no file .*nowhere"):
        read_idx(tmp_path / "nowhere")


@pytest.mark.parametrize("end", ["-ubyte", "-ubyte.gz"])
@pytest.mark.parametrize("dash", ["-", "."])
def test_mnist_folder(tmp_path, rng, dash, end):
    for prefix, n in (("train", 7), ("t10k", 4)):
        write_idx(tmp_path / f"{prefix}-images{dash}idx3{end}", rng.integers(0, 256, (n, 28, 28)))
        write_idx(tmp_path / f"{prefix}-labels{dash}idx1{end}", np.arange(n) % 3)
    train, test = mnist_folder(tmp_path), mnist_folder(str(tmp_path), "test", classes=["x", "y", "z"])
    assert len(train) == 7 and len(test) == 4
    assert train.classes == ["0", "1", "2"] and test.classes == ["x", "y", "z"]
    assert train[4][0].shape == (1, 28, 28) and train[4][1] == 1


def test_mnist_folder_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="mnist_folder: there is no folder .*none"):
        mnist_folder(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"holds no train-images-idx3-ubyte \(nor \.gz\)"):
        mnist_folder(tmp_path)
    with pytest.raises(ValueError, match="mnist_folder: split must be one of"):
        mnist_folder(tmp_path, "t10k")
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((3, 28, 28)))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(2))
    with pytest.raises(ValueError, match=r"wanted images .* and N labels, got shapes \(3, 28, 28\) and \(2,\)"):
        mnist_folder(tmp_path)


# ------------------------------------------------------------------------------------------------- folders
@pytest.fixture
def folder(tmp_path):
    colours = {"dog/b.png": (255, 0, 0), "dog/deep/a.jpg": (0, 255, 0), "cat/z.PNG": (0, 0, 255)}
    for name, colour in colours.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), colour).save(path, quality=95)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / ".hidden.png").write_text("not an image")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_image_folder(folder):
    data = ImageFolder(folder)
    assert data.classes == ["cat", "dog"] and len(data) == 3
    assert [path.name for path in data.paths] == ["z.PNG", "b.png", "a.jpg"]
    assert data.labels.tolist() == [0, 1, 1]
    image, label = data[1]
    assert image.shape == (3, 4, 6) and image.dtype == np.float32 and label == 1
    np.testing.assert_array_equal(image, np.broadcast_to(np.array([1, 0, 0], np.float32)[:, None, None], (3, 4, 6)))
    assert ImageFolder(folder, mode="L")[0][0].shape == (1, 4, 6)
    assert ImageFolder(folder, transform=RandomCrop(2))[0][0].shape == (3, 2, 2)


def test_image_folder_with_given_classes(folder):
    data = ImageFolder(folder, classes=["dog", "bird", "cat"])
    assert data.labels.tolist() == [0, 0, 2] and data.paths[2].name == "z.PNG"
    with pytest.raises(
        ValueError, match="has the sub-folders cat, which are not among the 1 classes dog; move them away"
    ):
        ImageFolder(folder, classes=["dog"])


def test_image_folder_errors(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(FileNotFoundError, match="ImageFolder: there is no folder .*nowhere"):
        ImageFolder(empty / "nowhere")
    with pytest.raises(ValueError, match="must have one sub-folder per class, got none$"):
        ImageFolder(empty)
    with pytest.raises(ValueError, match="must have one sub-folder per class, got none; it holds images directly"):
        ImageFolder(folder / "dog" / "deep")
    (folder / "fish").mkdir()
    with pytest.raises(ValueError, match=r"the class folder .*fish holds no images \(\.jpg, .*add some or remove"):
        ImageFolder(folder)
    for split in ("train", "val"):
        (empty / split).mkdir()
    with pytest.raises(ValueError, match="sub-folders train, val, which are splits and not classes; give one of them"):
        ImageFolder(empty)


def test_an_unreadable_image_is_named(folder):
    whole = (folder / "dog" / "b.png").read_bytes()
    for damaged in (b"not an image", whole[: len(whole) // 2]):
        (folder / "dog" / "b.png").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"read_image: cannot read the image .*b\.png \(.*replace the file"):
            ImageFolder(folder)[1]


# ------------------------------------------------------------------------------------------------- images
def test_read_image_of_other_kinds(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", "L")[0], grey / np.float32(255))
    np.testing.assert_array_equal(*read_image(tmp_path / "grey.png")[:2])
    Image.new("RGBA", (4, 3), (255, 0, 0, 0)).save(tmp_path / "alpha.png")
    assert read_image(tmp_path / "alpha.png").shape == (3, 3, 4)
    palette = Image.new("P", (4, 3), 1)
    palette.putpalette([0, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "palette.png", transparency=b"\x00\xff")
    assert read_image(tmp_path / "palette.png")[:, 0, 0].tolist() == [0, 1, 0]
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (4, 2)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (3, 4, 2)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_read_image_of_16_bits(ending, tmp_path):
    grey = np.linspace(0, 65535, 12).astype(np.uint16).reshape(3, 4)
    with Image.fromarray(grey) as picture:
        picture.save(tmp_path / f"deep.{ending}")
    found = read_image(tmp_path / f"deep.{ending}", "L")
    assert found.shape == (1, 3, 4) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], grey / 65535, rtol=1e-6)
    np.testing.assert_array_equal(read_image(tmp_path / f"deep.{ending}"), found.repeat(3, axis=0))


def test_read_image_errors(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "floats.tif")
    with pytest.raises(ValueError, match="cannot read the image .*floats.tif .its pixels are neither of 8 nor of 16"):
        read_image(tmp_path / "floats.tif")
    with pytest.raises(FileNotFoundError, match="read_image: there is no file .*x.png"):
        read_image(tmp_path / "x.png")
    with pytest.raises(ValueError, match="mode must be one of RGB, L, got 'CMYK'"):
        read_image(tmp_path / "x.png", "CMYK")


def test_resize_image(rng):
    image = rng.random((3, 6, 9)).astype(np.float32)
    assert resize_image(image, (6, 9)) is image
    assert resize_image(image, (3, 3)).shape == (3, 3, 3)
    flat = np.full((1, 5, 7), 0.3, np.float32)
    np.testing.assert_allclose(resize_image(flat, (11, 4)), 0.3, rtol=1e-6)
    # nearest to twice the size repeats every pixel
    np.testing.assert_array_equal(resize_image(image, (12, 18), "nearest"), image.repeat(2, 1).repeat(2, 2))


def test_resize_image_agrees_with_pytorch(rng):
    torch = pytest.importorskip("torch")
    image = rng.random((3, 17, 23)).astype(np.float32)
    for size in ((8, 9), (30, 40), (17, 5)):
        want = torch.nn.functional.interpolate(
            torch.from_numpy(image)[None], size=size, mode="bilinear", align_corners=False, antialias=True
        )[0].numpy()
        np.testing.assert_allclose(resize_image(image, size), want, atol=1e-5)
