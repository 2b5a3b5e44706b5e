"""``tinyconv train``, ``predict`` and ``summary`` for spatial transformers, and where they look while learning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyconv
from tinyconv import models
from tinyconv.checkpoint import Checkpoint
from tinyconv.checkpoint_file import unpack
from tinyconv.cli import recipes
from tinyconv.cli.main import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder, an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def frames(path):
    """Return how many frames a film has."""
    with Image.open(path) as film:
        return film.n_frames


def weights(path):
    return {name: value.numpy() for name, value in tinyconv.load(path).state_dict().items()}


def test_train_resume_and_predict(here, capsys):
    assert main(["train", "st_cnn", "--data", "rts", "--smoke", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "rts, 64 training and 64 test images of 10 classes" in out
    assert "st_cnn, lesson scale, input (1, 42, 42), 59,932 parameters" in out
    assert "wrote run/attended/strip.png" in out and "wrote run/attended/attended.gif" in out
    assert "next: tinyconv predict IMAGE --weights run/checkpoint.npz" in out
    pictures = ["epoch-0000.png", "epoch-0001.png"]
    assert sorted(p.name for p in Path("run/attended").iterdir()) == ["attended.gif", *pictures, "strip.png"]
    assert frames("run/attended/attended.gif") == 2  # before training, and after its epoch

    assert main(["train", "st_cnn", "--data", "rts", "--smoke", "--out", "run", "--epochs", "2", "--resume"]) == 0
    assert "resuming run/checkpoint.npz: 1 of 2 epochs" in capsys.readouterr().out
    assert main(["train", "st_cnn", "--data", "rts", "--smoke", "--out", "whole", "--epochs", "2"]) == 0
    resumed, whole = weights("run/checkpoint.npz"), weights("whole/checkpoint.npz")
    assert all(whole[name].tobytes() == value.tobytes() for name, value in resumed.items())
    for name in [*pictures, "epoch-0002.png", "strip.png", "attended.gif"]:
        assert Path("run/attended", name).read_bytes() == Path("whole/attended", name).read_bytes(), name

    meta = Checkpoint.read("run/checkpoint.npz").meta
    assert meta["classes"] == [str(digit) for digit in range(10)]
    assert meta["transform"]["transforms"] == []  # images stay in [0, 1]: outside is black, as the ground
    digit = recipes.open_data("rts").test[5][0][0]
    Image.fromarray(np.round(255 * digit).astype(np.uint8)).save("digit.png")
    Image.fromarray(np.kron(np.round(255 * digit), np.ones((4, 4))).astype(np.uint8)).save("large.png")
    capsys.readouterr()
    command = ["predict", "digit.png", "large.png", "--weights", "run/checkpoint.npz", "--top", "10"]
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "digit.png" and said[11] == "large.png"
    model = tinyconv.load("run/checkpoint.npz").eval()
    scores = model(tinyconv.tensor(np.round(255 * digit)[None, None].astype(np.float32) / 255)).detach().numpy()[0]
    assert [line.split()[-1] for line in said[1:11]] == [str(k) for k in np.argsort(-scores)]


@pytest.mark.parametrize("kind", ["digit", "photo"])
def test_house_numbers_are_for_no_command(here, capsys, kind):
    tinyconv.save("numbers.npz", models.st_svhn(scale="lesson", image_size=32, in_channels=1))
    Image.fromarray(np.zeros((32, 32) if kind == "digit" else (40, 60, 3), np.uint8)).save("picture.png")
    wanted = (
        "tinyconv: numbers.npz holds a reader of house numbers, five characters an image, for which there is no "
        "command; in Python: tinyconv.load('numbers.npz')\n"
    )
    for command in (["predict", "picture.png"], ["explain", "saliency", "--image", "picture.png"]):
        assert main([*command, "--weights", "numbers.npz"]) == 2
        assert capsys.readouterr().err == wanted
    assert tinyconv.load("numbers.npz")(tinyconv.rand(1, 1, 32, 32)).shape == (1, 5, 11)  # what the line says


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("st_svhn", "it reads house numbers, five characters an image, and there is no command for that"),
        ("alignment", "it is given features of images, not pictures; see lesson 08"),
        ("rcnn", "tinyconv lesson 06_rcnn trains a detector, which tinyconv detect uses"),
    ],
)
def test_what_train_refuses_is_not_promised(here, capsys, name, message):
    assert main(["explain", "filters", "--model", name]) == 2
    error = capsys.readouterr().err
    assert f"there are no weights of {name} to take: {message}" in error and error.count("\n") == 1
    assert main(["train", name, "--data", "mnist"]) == 2  # and so it would have been a false promise


@pytest.mark.parametrize("layer", [[], ["--layer", "classifier.conv2"]])
def test_deconvnet_of_a_network_with_transformers(here, capsys, layer):
    tinyconv.save("net.npz", models.st_cnn(scale="lesson"))
    Image.fromarray(np.full((28, 28), 99, np.uint8)).save("digit.png")
    given = ["--image", "digit.png", "--weights", "net.npz"]
    assert main(["explain", "deconvnet", *given, *layer]) == 2
    assert capsys.readouterr().err == (
        "tinyconv: deconvnet needs layers one after another, and st_cnn has other ways through it; saliency or "
        "occlusion can explain it\n"
    )
    for other in ("saliency", "occlusion"):
        assert main(["explain", other, *given]) == 0


def test_birds_localisation_network_learns_slower(here, capsys, monkeypatch):
    """At a tenth of the rate; a run taken up again is the whole run."""
    assert recipes.of("st_cub").factor == 0.1 and recipes.of("st_cnn").factor == recipes.of("st_cnn", "tc").factor == 1
    small = replace(recipes.RECIPES["st_cub"], arguments={"transformers": 1, "width": 0.25})
    monkeypatch.setitem(recipes.RECIPES, "st_cub", small)
    command = ["train", "st_cub", "--data", "digits", "--smoke"]
    assert main([*command, "--out", "run"]) == 0
    read = Checkpoint.read("run/checkpoint.npz")
    saved = unpack(read.meta["optim"], read.arrays)["param_groups"]
    model = tinyconv.load("run/checkpoint.npz")
    count = len(list(model.localisation.parameters()))
    assert [len(group["params"]) for group in saved] == [len(list(model.parameters())) - count, count]
    rest, slow = (group["lr"] for group in saved)
    assert slow == pytest.approx(rest / 10) and rest > 0
    assert main([*command, "--out", "run", "--epochs", "2", "--resume"]) == 0
    assert main([*command, "--out", "whole", "--epochs", "2"]) == 0
    resumed, whole = weights("run/checkpoint.npz"), weights("whole/checkpoint.npz")
    assert all(whole[name].tobytes() == value.tobytes() for name, value in resumed.items())
    assert "Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0; lr=0.0001," in capsys.readouterr().out


def test_resuming_where_nothing_is_begins_the_film(here, capsys):
    assert main(["train", "st_fcn", "--data", "r", "--smoke", "--out", "run", "--resume"]) == 0
    assert frames("run/attended/attended.gif") == 2
    assert Path("run/attended/epoch-0000.png").is_file()


def test_another_transform_has_a_folder_of_its_own(here, capsys):
    assert main(["train", "st_fcn", "--data", "r", "--smoke", "--transform", "tps"]) == 0
    folder = here / "tinyconv-output" / "train" / "st_fcn-r-tps-smoke"
    model = tinyconv.load(folder / "checkpoint.npz")
    assert model.transformers[0].transform == "tps" and model.input_shape == (1, 28, 28)
    assert (folder / "attended" / "strip.png").is_file()
    assert main(["train", "st_fcn", "--data", "r", "--smoke", "--transform", "projective"]) == 0
    assert tinyconv.load(folder / "checkpoint.npz").transformers[0].transform == "tps"


def test_without_a_transformer_nothing_looks(here, capsys):
    assert main(["train", "st_cnn", "--data", "tc", "--smoke", "--transform", "none", "--out", "run"]) == 0
    assert "attended" not in capsys.readouterr().out and not Path("run/attended").exists()
    model = tinyconv.load("run/checkpoint.npz")
    assert len(model.transformers) == 0 and model.input_shape == (1, 60, 60)


def test_cluttered_digits_begin_in_the_middle(here):
    """As in lesson 09: attention, 28 pixels; --transform says otherwise."""
    recipe = recipes.of("st_cnn", "tc")
    assert recipe.arguments == {"transform": "attention", "out_size": 28, "start": 0.6}
    assert recipes.of("st_cnn", "rts").arguments == {}
    for more, transform in (([], "attention"), (["--transform", "affine"], "affine")):
        assert main(["train", "st_cnn", "--data", "tc", "--smoke", *more, "--out", transform]) == 0
        model = tinyconv.load(f"{transform}/checkpoint.npz")
        (st,) = model.transformers
        assert (st.transform, st.out_size) == (transform, (28, 28))
        scale = st.theta(tinyconv.zeros(1, 1, 60, 60)).detach().numpy()[0, 0]
        assert abs(scale - 0.6) < 0.05  # it has hardly learned yet


def test_colours_and_other_sizes(here):
    assert main(["train", "st_fcn", "--data", "shapes", "--smoke", "--out", "run"]) == 0
    model = tinyconv.load("run/checkpoint.npz")
    assert model.input_shape == (3, 32, 32)
    assert model.attended(tinyconv.rand(2, 3, 32, 32))[0][1].shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["st_cnn", "--data", "rts", "--transform", "rigid"], "invalid choice: 'rigid'"),
        (["lenet5", "--data", "rts", "--transform", "tps"], "--transform goes with st_cnn and st_fcn, not with lenet5"),
        (["st_cub", "--data", "shapes", "--transform", "tps"], "not with st_cub"),
        (["gan", "--data", "mnist", "--transform", "none"], "not with gan"),
        (["st_svhn", "--data", "mnist"], "st_svhn reads five characters, and no --data has such labels"),
        (["st_cnn", "--data", "rst"], "rst"),
    ],
)
def test_what_does_not_go_together(here, capsys, arguments, message):
    try:
        assert main(["train", *arguments]) == 2
    except SystemExit as left:  # argparse's own
        assert left.code == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not list(here.iterdir())


def test_birds_of_a_folder_of_photographs(here, capsys):
    rng = np.random.default_rng(0)
    for k, name in enumerate(("finch", "wren")):
        (here / "birds" / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(100 * k, 100 * k + 50, (40 + i, 36, 3), np.uint8)
            Image.fromarray(pixels).save(here / "birds" / name / f"{i}.png")
    assert main(["train", "st_cub", "--data", "birds", "--smoke", "--workers", "0", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "birds, 10 training and 2 test images of 2 classes" in out
    assert "wrote run/attended/strip.png" in out
    model = tinyconv.load("run/checkpoint.npz")
    assert model.input_shape == (3, 32, 32) and len(model.transformers) == 4
    assert main(["predict", "birds/wren/0.png", "--weights", "run/checkpoint.npz"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[-1] for line in lines} == {"finch", "wren"}


# As many units as fit into 400,000 (tests/models has the sums): 49 n^2 + 123 n + 10 of n = 87 filters, 11,086 of the
# localisation network; u^2 + 796 u + 10 of u = 331 units, 26,374. Of SVHN's, the form with four transformers.
@pytest.mark.parametrize(("name", "params"), [("st_cnn", "392,678"), ("st_fcn", "399,421"), ("st_svhn", "28,497,647")])
def test_summary(capsys, name, params):
    assert main(["summary", name]) == 0
    out = capsys.readouterr().out
    assert params in out.splitlines()[-1] and "SpatialTransformer" in out


def test_a_few_epochs_learn(here):
    assert main(["train", "st_fcn", "--data", "digits", "--epochs", "2", "--out", "run"]) == 0
    rows = [json.loads(line) for line in Path("run/train.jsonl").read_text().splitlines()]
    assert rows[-1]["train_loss"] < 0.7 * rows[0]["train_loss"]
    assert rows[-1]["test_accuracy"] > 0.5
