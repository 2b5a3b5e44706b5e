"""CIFAR's archives in both formats: made here as their authors made them, in Python 2; damaged ones; malicious ones."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyconv.data import cifar10_folder, cifar100_folder

TEN = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]


def python2(value: Any) -> bytes:
    """Return the pickle that Python 2's cPickle writes with protocol 2: texts are BINSTRINGs."""
    return b"\x80\x02" + _item(value) + b"."


def _item(value: Any) -> bytes:
    if isinstance(value, str):
        raw = value.encode("latin-1")
        return (b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + struct.pack("<i", len(raw))) + raw
    if isinstance(value, np.ndarray):
        empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01bt" + b"R"
        dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        shape = b"(" + b"".join(_item(n) for n in value.shape) + b"t"
        return empty + b"(K\x01" + shape + dtype + b"\x89" + _item(value.tobytes().decode("latin-1")) + b"tb"
    if isinstance(value, int):
        return b"K" + bytes([value]) if value < 256 else b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(_item, value)) + b"e"
    return b"}(" + b"".join(_item(key) + _item(part) for key, part in value.items()) + b"u"


def images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), np.uint8)


@pytest.fixture(params=["binary", "python 2", "python 3"])
def ten(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """CIFAR-10 with three images a file; label of image i in file f: (3 f + i) mod 10."""
    folder = tmp_path / ("cifar-10-batches-bin" if request.param == "binary" else "cifar-10-batches-py")
    folder.mkdir()
    for f, name in enumerate(TEN):
        data, labels = images(3, f), [(3 * f + i) % 10 for i in range(3)]
        if request.param == "binary":
            rows = np.column_stack([np.array(labels, np.uint8), data])
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            batch = {"data": data, "labels": labels, "batch_label": name, "filenames": ["a.png", "b.png", "c.png"]}
            raw = python2(batch) if request.param == "python 2" else pickle.dumps(batch)
            (folder / name).write_bytes(raw)
    return tmp_path


def test_cifar10(ten: Path) -> None:
    train, test = cifar10_folder(ten), cifar10_folder(ten, "test")
    assert (len(train), len(test)) == (15, 3)
    assert train.labels.tolist() == [i % 10 for i in range(15)]
    assert test.labels.tolist() == [5, 6, 7]
    assert train.classes is not None
    assert train.classes[:3] == ["airplane", "automobile", "bird"]
    image, label = train[4]  # the second image of data_batch_2: its red plane first, row by row
    wanted = images(3, 1)[1].reshape(3, 32, 32)
    np.testing.assert_array_equal(image, (wanted / np.float32(255)).astype(np.float32))
    assert label == 4
    inner = next(ten.iterdir())
    np.testing.assert_array_equal(cifar10_folder(inner).images, train.images)


@pytest.mark.parametrize("form", ["binary", "python 2"])
def test_cifar100_has_two_labels(form: str, tmp_path: Path) -> None:
    for split, n in (("train", 4), ("test", 2)):
        data, coarse, fine = images(n, n), list(range(n)), [99 - i for i in range(n)]
        if form == "binary":
            rows = np.column_stack([np.array(coarse, np.uint8), np.array(fine, np.uint8), data])
            (tmp_path / f"{split}.bin").write_bytes(rows.tobytes())
            (tmp_path / "coarse_label_names.txt").write_text("\n".join(f"c{i}" for i in range(20)) + "\n")
        else:
            batch = {"data": data, "coarse_labels": coarse, "fine_labels": fine}
            (tmp_path / split).write_bytes(python2(batch))
            (tmp_path / "meta").write_bytes(python2({"coarse_label_names": [f"c{i}" for i in range(20)]}))
    assert cifar100_folder(tmp_path).labels.tolist() == [99, 98, 97, 96]
    assert cifar100_folder(tmp_path, "test", coarse=True).labels.tolist() == [0, 1]
    assert cifar100_folder(tmp_path, coarse=True).classes == [f"c{i}" for i in range(20)]
    assert cifar100_folder(tmp_path).classes is None
    np.testing.assert_array_equal(cifar100_folder(tmp_path, "test").images.reshape(2, -1), images(2, 2))


class Evil:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="cifar10_folder: there is no folder"):
        cifar10_folder(tmp_path / "no")
    with pytest.raises(FileNotFoundError, match="holds neither data_batch_1.bin nor data_batch_1; it must hold"):
        cifar10_folder(tmp_path)
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', got 'val'"):
        cifar10_folder(tmp_path, "val")
    batch = tmp_path / "test_batch"
    good = {"data": images(2, 0), "labels": [0, 1]}
    for changed, text in (
        ({"data": images(2, 0)[:, :5]}, r"must hold 'data', uint8 \(n, 3072\), got uint8 \(2, 5\)"),
        ({"data": [1, 2]}, "must hold 'data', .* got 2 values"),
        ({"labels": [0]}, "must hold 2 'labels', got 1 values"),
        ({"labels": ["a", "b"]}, "must hold 2 'labels', got 2 values"),
        ({"labels": [0, 10]}, "wanted labels below 10, got 10"),
    ):
        batch.write_bytes(pickle.dumps(good | changed))
        with pytest.raises(ValueError, match=text):
            cifar10_folder(tmp_path, "test")
    whole = python2(good)
    for end in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        batch.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="cifar10_folder: wanted arrays and lists in .*test_batch"):
            cifar10_folder(tmp_path, "test")
    batch.write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match="must hold a dict, got list"):
        cifar10_folder(tmp_path, "test")
    (tmp_path / "test_batch.bin").write_bytes(b"\0" * 3074)
    with pytest.raises(ValueError, match="must be records of 3073 bytes, got 3,074 bytes; it is truncated"):
        cifar10_folder(tmp_path, "test")


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "made"
    (tmp_path / "test_batch").write_bytes(pickle.dumps({"data": images(2, 0), "labels": [0, 1], "more": Evil(victim)}))
    with pytest.raises(ValueError, match="a pickle that asks for .*, which could run code; nothing was run"):
        cifar10_folder(tmp_path, "test")
    assert not victim.exists()


@pytest.mark.parametrize("length", [2**34, 2**50])
def test_bytes_that_are_longer_than_the_file_are_one_line(length: int, tmp_path: Path) -> None:
    """A file's read(2**34) makes room for them first."""
    (tmp_path / "test_batch").write_bytes(b"\x80\x04\x8e" + struct.pack("<Q", length) + b"few.")
    with pytest.raises(ValueError, match="cifar10_folder: wanted arrays and lists in .*test_batch, which is a damaged"):
        cifar10_folder(tmp_path, "test")


def test_lists_that_share_their_parts_are_refused(tmp_path: Path) -> None:
    labels: list[Any] = [0]
    for _ in range(6):  # a million lists, of 6 levels
        labels = [labels] * 10
    (tmp_path / "test_batch").write_bytes(pickle.dumps({"data": images(2, 0), "labels": labels}))
    with pytest.raises(ValueError, match=r"test_batch, which claims more than \d+ values"):
        cifar10_folder(tmp_path, "test")
