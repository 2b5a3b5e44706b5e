"""``tinyconv train`` and ``predict``: bundled data, folders, the run's files, resuming, what a checkpoint says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyconv
from tinyconv import data
from tinyconv.checkpoint import Checkpoint
from tinyconv.cli import recipes
from tinyconv.cli.main import main
from tinyconv.cli.models import prepared
from tinyconv.cli.names import UsageError
from tinyconv.cli.train import _most_confused, _resume_command, _verdict


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder, an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def photos(folder, classes, count=6):
    """Write small colour images of different sizes, one sub-folder per class, each class of one brightness."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(100 * k, 100 * k + 50, (40 + i, 36, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def test_train_resume_and_predict(here, capsys):
    assert main(["train", "lenet5", "--data", "digits", "--smoke", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "digits, 64 training and 64 test images of 10 classes" in out
    assert "lenet5, lesson scale, input (1, 32, 32), 60,000 parameters" in out
    assert "most confused:" in out or "than guessing" in out
    assert "next: tinyconv predict IMAGE --weights run/checkpoint.npz" in out
    assert sorted(p.name for p in Path("run").iterdir()) == ["checkpoint.npz", "curves.png", "train.jsonl"]

    assert main(["train", "lenet5", "--data", "digits", "--smoke", "--out", "run", "--epochs", "2", "--resume"]) == 0
    assert "resuming run/checkpoint.npz: 1 of 2 epochs" in capsys.readouterr().out
    resumed = tinyconv.load("run/checkpoint.npz")
    assert main(["train", "lenet5", "--data", "digits", "--smoke", "--out", "whole", "--epochs", "2"]) == 0
    whole = tinyconv.load("whole/checkpoint.npz")
    for key, value in whole.state_dict().items():
        assert value.numpy().tobytes() == resumed.state_dict()[key].numpy().tobytes(), key

    digit = data.digits("test").images[0, 0]
    Image.fromarray((digit * (255 / digit.max())).astype(np.uint8)).save("digit.png")
    capsys.readouterr()
    assert main(["predict", "digit.png", "digit.png", "--weights", "run/checkpoint.npz", "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[3] == "digit.png" and lines[1:3] == lines[4:6]
    shares = [float(line.split("%")[0]) for line in lines[1:3]]
    assert 100 >= shares[0] >= shares[1] >= 0 and lines[1].split()[-1] in data.digits().classes


def test_a_folder_with_another_seed_and_grey_images(here, capsys):
    photos(here / "photos" / "train", ["dark", "light"])
    photos(here / "photos" / "test", ["dark", "light"], 2)
    options = ["--epochs", "1", "--batch-size", "5", "--seed", "3", "--workers", "2", "--lr", "0.001"]
    assert main(["train", "lenet5", "--data", "photos", *options]) == 0
    assert "photos, 12 training and 4 test images of 2 classes" in capsys.readouterr().out
    meta = Checkpoint.read("tinyconv-output/train/lenet5-photos/checkpoint.npz").meta
    assert meta["classes"] == ["dark", "light"] and meta["seed"] == 3
    kinds = [part["kind"] for part in meta["transform"]["transforms"]]
    assert kinds == ["Resize", "CenterCrop", "Normalize"]
    weights = "tinyconv-output/train/lenet5-photos/checkpoint.npz"
    assert main(["predict", "photos/test/light/0.png", "--weights", weights]) == 0
    assert "light" in capsys.readouterr().out


def test_an_error_in_an_image_is_one_line(here, capsys):
    Path("image.png").write_text("no image")
    model = tinyconv.models.lenet5()
    tinyconv.save("a.npz", model)
    assert main(["predict", "image.png", "--weights", "a.npz"]) == 1
    error = capsys.readouterr().err
    assert "image.png" in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("name, side", [("fashion", 28), ("mnist", 32)])
def test_an_image_of_any_size_is_prepared_as_one_of_the_data_sets_size(name, side):
    """Fashion's images are the network's size, MNIST's get a border."""
    source = recipes.open_data(name)
    image = source.test[3][0]
    _, transform = recipes.views(source, (1, side, side))
    wide = np.pad(np.kron(image, np.ones((1, 4, 4), np.float32)), ((0, 0), (0, 0), (28, 28)))
    found = prepared(wide, transform, (1, side, side))
    assert found.shape == (1, side, side)
    right = transform(image, None)
    assert np.corrcoef(found.ravel(), right.ravel())[0, 1] > 0.97  # a pixel off gives 0.94 at most


def test_predict_takes_a_photograph_of_any_size(here, capsys):
    assert main(["train", "alexnet", "--data", "fashion", "--smoke", "--out", "run"]) == 0
    photos(here / "photos", ["a"], 1)
    capsys.readouterr()
    assert main(["predict", "photos/a/0.png", "--weights", "run/checkpoint.npz"]) == 0
    assert capsys.readouterr().out.count(" %  ") == 5


def test_a_single_folder_is_split_the_same_way_every_time(here):
    photos(here / "animals", ["cat", "dog"], 10)
    first, second = (recipes.open_data("animals") for _ in range(2))
    assert (len(first.train), len(first.test), first.classes) == (16, 4, ["cat", "dog"])
    assert first.train.indices.tolist() == second.train.indices.tolist()
    assert not set(first.train.indices) & set(first.test.indices)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda d: photos(d / "train", ["a", "b"]), "has no folder test/ beside train/"),
        (lambda d: photos(d / "test", ["a", "b"]), "has no folder train/ beside test/"),
        (lambda d: photos(d, ["a", "b"], 2), "holds 4 images; at least 5 are needed"),
        (lambda d: d.mkdir(), "must have one sub-folder per class, got none"),
    ],
)
def test_folders_that_cannot_be_used(make, error, here, capsys):
    make(here / "set")
    assert main(["train", "lenet5", "--data", "set"]) in (1, 2)
    text = capsys.readouterr().err
    assert error in text and len(text.splitlines()) == 1


@pytest.mark.parametrize("name, channels, mirror", [("fashion", 1, True), ("mnist", 1, False), ("shapes", 3, True)])
def test_views_give_the_networks_size_and_normalised_channels(name, channels, mirror):
    source = recipes.open_data(name)
    train, test = recipes.views(source, (channels, 32, 32))
    assert any(isinstance(part, data.RandomMirror) for part in train.transforms) == mirror
    images = np.stack([test(source.train[i][0]) for i in range(300)])
    assert images.shape[1:] == (channels, 32, 32) and images.dtype == np.float32
    assert np.abs(images.mean((0, 2, 3))).max() < 0.1 and np.abs(images.std((0, 2, 3)) - 1).max() < 0.1
    assert data.from_description(json.loads(json.dumps(test.describe()))).describe() == test.describe()


def test_sizes():
    assert recipes._to_size((28, 28), (28, 28)) == []
    assert repr(recipes._to_size((28, 28), (32, 32))) == "[Pad(padding=(2, 2), value=0.0)]"
    assert [type(part) for part in recipes._to_size((8, 8), (28, 28))] == [data.Resize]
    assert [type(part) for part in recipes._to_size((33, 32), (32, 32))] == [data.Resize]


def test_channels_are_made_as_the_network_wants_them():
    grey = recipes.open_data("shapes", 1)
    colour = recipes.open_data("shapes")
    assert grey.train.images.shape[1] == 1 and grey.classes == colour.classes
    image = colour.train[0][0]
    np.testing.assert_allclose(grey.train[0][0][0], 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2], atol=1e-6)
    three = recipes.open_data("digits", 3)
    plain = recipes.open_data("digits")
    np.testing.assert_allclose(three.test[5][0], np.repeat(plain.test[5][0], 3, 0))


def test_the_printed_command_resumes(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/tinyconv"])
    assert _resume_command(["train", "a", "--out", "my run"]) == "tinyconv train a --out 'my run' --resume"
    assert _resume_command(["train", "a", "--resume"]) == "tinyconv train a --resume"
    monkeypatch.setattr("sys.argv", ["/x/tinyconv/__main__.py"])
    monkeypatch.setattr("sys.executable", "/v/python")
    assert _resume_command(["train", "a"]) == "/v/python -m tinyconv train a --resume"


def test_most_confused():
    table = np.array([[8, 2, 0], [0, 9, 1], [4, 0, 16]])
    assert _most_confused(table, ["a", "b", "c"]) == "most confused: 20 % of 'c' are taken for 'a'"
    assert _verdict(0.51, table, ["a", "b", "c"]) == _most_confused(table, ["a", "b", "c"])
    assert _verdict(0.4, table, ["a", "b", "c"]).startswith("hardly better than guessing (33 %): train longer")
    assert _most_confused(np.diag([1, 2]), ["a", "b"]) == "every test image is right"


# ------------------------------------------------------------------------------------------------- sets in full, CIFAR
def cifar(folder, n=40):
    """Write a CIFAR-10 of n images a file, each of its class's grey."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        labels = rng.integers(0, 10, n, np.uint8)
        pixels = np.clip(25 * labels[:, None] + rng.integers(0, 20, (n, 3072)), 0, 255).astype(np.uint8)
        (folder / f"{name}.bin").write_bytes(np.column_stack([labels, pixels]).tobytes())
    return folder


def test_cifar_from_its_own_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cifar(tmp_path / "c")
    command = ["train", "resnet_cifar", "--data", "cifar10", "--root", "c", "--smoke", "--out", "run"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "cifar10, 64 training and 64 test images of 10 classes" not in out  # the test part has 40
    assert "cifar10, 64 training and 40 test images of 10 classes" in out
    assert "resnet_cifar, lesson scale, input (3, 32, 32), 269,722 parameters" in out
    assert "lr=0.1, momentum=0.9" in out and "weight_decay=0.0001" in out
    assert tinyconv.load("run/checkpoint.npz").meta["classes"][0] == "airplane"


def test_the_papers_recipe_for_cifar():
    recipe = recipes.of("resnet20", "cifar10")
    # 64,000 steps of 128 of 50,000 images are 163.8 epochs; a tenth after 32,000 and 48,000 of them.
    assert (recipe.batch_size, recipe.epochs, recipe.lr, recipe.drops, recipe.warmup) == (128, 164, 0.1, (0.5, 0.75), 0)
    assert recipe.epochs * 50_000 / 128 == pytest.approx(64_000, rel=0.01)
    assert recipes.of("resnet110", "cifar10").warmup == 1
    assert recipes.of("resnet20", "fashion").epochs < 20
    assert recipes.of("resnet50", "cifar10") is recipes.RECIPES["resnet"]
    rir = recipes.of("rir", "cifar10")
    assert (rir.batch_size, [math.ceil(part * rir.epochs) for part in rir.drops]) == (500, [42, 62])


def test_cifar_images_get_a_border_and_a_random_window(tmp_path):
    source = recipes.open_data("cifar10", root=str(cifar(tmp_path / "c")))
    train, test = recipes.views(source, (3, 32, 32))
    image = source.train[0][0]
    assert "RandomCrop(size=(32, 32), padding=(4, 4))" in repr(train) and "RandomMirror" in repr(train)
    assert "RandomCrop" not in repr(test) and "RandomMirror" not in repr(test)
    rng = np.random.default_rng(0)
    assert len({train(image, rng).tobytes() for _ in range(8)}) > 4
    assert train(image, rng).shape == test(image, rng).shape == (3, 32, 32)
    moved = np.stack([train(image, rng) for _ in range(40)])
    rim = np.abs(moved).max(axis=1).reshape(40, -1).min(axis=1)  # a border pixel is the mean: 0 in every channel
    assert np.abs(test(image, None)).max(axis=0).min() > 0
    assert (rim == 0).sum() > 30  # but for the one window in 81 that is the image itself


def test_a_root_that_does_not_go_with_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCONV_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="--root goes with cifar10, .* --data digits has none"):
        recipes.open_data("digits", root="x")
    with pytest.raises(UsageError, match="--data cifar100 wants --root DIR"):
        recipes.open_data("cifar100")
    with pytest.raises(FileNotFoundError, match="cifar10 is not here .*; tinyconv data get cifar10 fetches it"):
        recipes.open_data("cifar10")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        recipes.open_data("mnist", root=str(tmp_path / "no"))
