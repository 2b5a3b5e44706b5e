"""``tinyconv train`` for gan, dcgan and lapgan: the run, its samples, resuming, a folder of one's own, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyconv
from tinyconv import data
from tinyconv.cli import recipes, train_generative
from tinyconv.cli.main import main
from tinyconv.generative import watch
from tinyconv.generative.measures import spread
from tinyconv.generative.parzen import parzen
from tinyconv.generative.watch import Watch
from tinyconv.history import History


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["gan", "dcgan", "lapgan"])
def test_a_run_and_its_resuming(name: str, here: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["train", name, "--data", "digits", "--smoke", "--out", "run"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "data:  digits, 200 training images, 8x8 pixels, channels: 1" in out
    rates = ("0.002", "0.001") if name == "lapgan" else ("0.0005", "0.001")
    assert "parameters: generator " in out
    assert f"Adam, rate of the discriminator {rates[0]}, of the generator {rates[1]}, seed 0" in out
    assert "  lr " not in out
    assert "epoch 1/1  losses D " in out and "  D right " in out and "  spread " in out
    assert "next: tinyconv sample --weights run/checkpoint.npz" in out
    assert {path.name for path in Path("run").iterdir()} == {"checkpoint.npz", "curves.png", "train.jsonl", "samples"}
    names = {path.name for path in Path("run/samples").iterdir()}
    assert names == {"epoch-0000.png", "epoch-0001.png", "samples.png", "strip.png", "samples.gif"}
    before = Path("run/samples/epoch-0000.png").read_bytes()
    assert main([*command, "--epochs", "2", "--resume"]) == 0
    assert "resuming run/checkpoint.npz: 1 of 2 epochs" in capsys.readouterr().out
    assert Path("run/samples/epoch-0000.png").read_bytes() == before
    assert Path("run/samples/epoch-0002.png").exists()
    assert tinyconv.load("run/checkpoint.npz").sample(2).shape == (2, 1, 8, 8)
    assert len(History.read("run/train.jsonl")) == 2


def test_a_whole_run_is_judged_by_parzen_windows(here: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "gan", "--data", "digits", "--epochs", "1", "--lr", "0.002"]) == 0
    out = capsys.readouterr().out
    assert "rate of the discriminator 0.001, of the generator 0.002" in out  # their ratio stays
    assert "note: the recipe has 180 epochs; after 1 the images are only beginning to be good" in out
    assert "data:  digits, 1294 training images" in out  # a tenth chooses the windows' width
    for text in ("training images themselves: ", "noise with their mean and covariance: ", "the mean image: "):
        assert f"to compare, {text}" in out
    # The width is never chosen on the test images: what is printed is what the held-out training images choose.
    model = tinyconv.load("tinyconv-output/train/gan-digits/checkpoint.npz")
    train, test = (np.stack([image for image, _ in data.digits(part)]) for part in ("train", "test"))
    assert f"samples: {parzen(model.sample(10_000), train[1294:], test)}" in out


def test_samples_are_compared_with_the_images_that_are_learnt(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Noted(Watch):
        def __init__(self, *arguments, **how) -> None:
            seen.append(how)
            super().__init__(*arguments, **how)

    monkeypatch.setattr(watch, "Watch", Noted)
    assert main(["train", "gan", "--data", "digits", "--smoke"]) == 0
    images = np.stack([image for image, _ in data.digits("train")][:200])
    assert seen[0]["data_spread"] == pytest.approx(spread(images), rel=1e-6)


def test_a_folder_is_learnt_in_mixed_order(here: Path) -> None:
    for name, shade in (("black", 0), ("white", 255)):
        (here / "two" / name).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(here / "two" / name / f"{i}.png")
    source = recipes.open_data("two")
    images, held_out = train_generative._parts(source, None)
    first = [images[i][0].mean() for i in range(10)]
    assert 0 < np.mean(first) < 1 and len(images) == len(source.train) and len(held_out) == 0


def test_a_folder_of_ones_own(here: Path, capsys: pytest.CaptureFixture) -> None:
    for i in range(20):
        pixels = np.full((40, 60, 3), 10 * i, np.uint8)
        (here / "stones" / "grey").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(here / "stones" / "grey" / f"{i}.png")
    assert main(["train", "dcgan", "--data", "stones", "--epochs", "1", "--workers", "0"]) == 0
    out = capsys.readouterr().out
    assert "data:  stones, 16 training images, 32x32 pixels, channels: 3" in out and "to compare" not in out
    assert tinyconv.load("tinyconv-output/train/dcgan-stones/checkpoint.npz").sample(1).shape == (1, 3, 32, 32)


def test_the_papers_networks_want_larger_images(here: Path, capsys: pytest.CaptureFixture) -> None:
    source = recipes.open_data("digits")
    model = train_generative._build("lapgan", source, "paper")
    assert model.image_shape == (1, 32, 32)
    view = train_generative._view(source, model.image_shape)
    assert view(source.train[0][0], None).shape == (1, 32, 32)
    assert train_generative._view(source, (1, 8, 8)) is None


def test_a_folder_without_classes_is_told_what_is_enough(here: Path, capsys: pytest.CaptureFixture) -> None:
    (here / "flat").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(here / "flat" / "1.png")
    assert main(["train", "gan", "--data", "flat"]) == 1
    assert "a generator needs no classes: one sub-folder with all pictures will do" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "dcgan", "--data", "scenes"], "scenes is for detectors"),
        (["train", "gan", "--data", "nothing"], "nothing"),
        (["train", "gan", "--data", "digits", "--lr", "-1"], "--lr must be a positive number, got -1.0"),
        (["train", "gan", "--data", "digits", "--epochs", "0"], "--epochs must be at least 1, got 0"),
        (["train", "gan", "--data", "digits", "--smoke", "--batch-size", "500"], "smaller batch_size"),
    ],
)
def test_bad_input(arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(arguments) != 0
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error
