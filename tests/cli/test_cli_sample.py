"""``tinyconv sample``: a picture of what a generator makes, one-line errors; other commands name this one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyconv
from tinyconv import models
from tinyconv.cli.main import main

NETWORKS = {
    "gan": {"image_size": 8, "scale": "lesson", "width": 0.1},
    "dcgan": {"image_size": 8, "scale": "lesson", "width": 0.1, "in_channels": 3},
    "lapgan": {"image_size": 8, "scale": "lesson", "width": 0.1},
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder, with a checkpoint of each kind of generator."""
    monkeypatch.chdir(tmp_path)
    tinyconv.manual_seed(0)
    for name, arguments in NETWORKS.items():
        tinyconv.save(f"{name}.npz", models.build(name, **arguments))
    return tmp_path


def tiles(path, count, channels):
    """Return the images (N, H, W) or (N, H, W, 3) of 8 x 8 pixels in a picture."""
    columns = int(np.ceil(np.sqrt(count)))
    times = max(1, 480 // (9 * columns - 1))
    with Image.open(path) as picture:
        assert picture.mode == ("L" if channels == 1 else "RGB") and picture.format == "PNG"
        pixels = np.asarray(picture)[::times, ::times]
    assert pixels.shape[:2] == (9 * -(-count // columns) - 1, 9 * columns - 1)
    corners = [(9 * (k // columns), 9 * (k % columns)) for k in range(count)]
    return np.array([pixels[top : top + 8, left : left + 8] for top, left in corners])


@pytest.mark.parametrize("name, channels, kind", [("gan", 1, "grey"), ("dcgan", 3, "colour"), ("lapgan", 1, "grey")])
def test_the_picture_holds_the_models_samples(name, channels, kind, here, capsys):
    assert main(["sample", "--weights", f"{name}.npz"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"64 images of 8 x 8 pixels, {kind}, by {name}, seed 0",
        f"figure: {Path(f'tinyconv-output/sample/samples-{name}-seed0.png')}",
        f"next: tinyconv sample --weights {name}.npz --interpolate",
    ]
    wanted = np.rint(255 * tinyconv.load(f"{name}.npz").sample(64, 0)).astype(int).transpose(0, 2, 3, 1)
    found = tiles(f"tinyconv-output/sample/samples-{name}-seed0.png", 64, channels)
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)


def test_count_seed_and_a_file_of_ones_own(here, capsys):
    assert main(["sample", "--weights", "gan.npz", "--count", "5", "--seed", "7", "--out", "new/a"]) == 0
    out = capsys.readouterr().out
    assert "5 images of 8 x 8 pixels, grey, by gan, seed 7\n" in out and f"figure: {Path('new/a.png')}\n" in out
    found = tiles("new/a.png", 5, 1)
    np.testing.assert_array_equal(found, np.rint(255 * tinyconv.load("gan.npz").sample(5, 7))[:, 0])
    assert main(["sample", "--weights", "gan.npz", "--count", "1"]) == 0
    assert "1 image of 8 x 8" in capsys.readouterr().out
    assert not np.array_equal(tiles("tinyconv-output/sample/samples-gan-seed0.png", 1, 1)[0], found[0])  # another seed


def test_ten_thousand_images(here, capsys):
    assert main(["sample", "--weights", "gan.npz", "--count", "10000", "--out", "many.png"]) == 0
    found = tiles("many.png", 10000, 1)
    wanted = tinyconv.load("gan.npz").sample(10000, 0)[9999, 0]
    np.testing.assert_array_equal(found[9999], np.rint(255 * wanted))


def test_interpolations(here, capsys):
    assert main(["sample", "--weights", "gan.npz", "--interpolate", "--count", "3", "--seed", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 rows of images of 8 x 8 pixels, grey, by gan, seed 2",
        f"figure: {Path('tinyconv-output/sample/interpolations-gan-seed2.png')}",
        "next: tinyconv sample --weights gan.npz --interpolate --seed 3",
    ]
    first = Path("tinyconv-output/sample/interpolations-gan-seed2.png").read_bytes()
    with Image.open("tinyconv-output/sample/interpolations-gan-seed2.png") as picture:
        assert picture.width > 2 * picture.height > 400  # ten images across, three down
    assert main(["sample", "--weights", "gan.npz", "--interpolate", "--count", "3", "--seed", "3"]) == 0
    assert Path("tinyconv-output/sample/interpolations-gan-seed3.png").read_bytes() != first
    assert main(["sample", "--weights", "gan.npz", "--interpolate"]) == 0
    assert "8 rows of images" in capsys.readouterr().out


@pytest.mark.parametrize(
    "checkpoint, name",
    [
        ("tinyconv-output/train/gan-mnist/checkpoint.npz", "gan-mnist"),
        ("tinyconv-output/07/model.npz", "07"),
        ("tinyconv-output/07/dcgan.npz", "dcgan"),
        ("run/a b.npz", "a b"),
    ],
)
def test_the_picture_is_named_after_the_checkpoint_and_the_seed(checkpoint, name, here, capsys):
    Path(checkpoint).parent.mkdir(parents=True)
    Path("gan.npz").rename(checkpoint)
    assert main(["sample", "--weights", checkpoint, "--count", "1", "--seed", "4"]) == 0
    out = capsys.readouterr().out
    assert f"figure: {Path('tinyconv-output/sample') / f'samples-{name}-seed4.png'}\n" in out
    assert out.endswith("--interpolate --seed 4\n")
    assert [file.name for file in Path("tinyconv-output/sample").iterdir()] == [f"samples-{name}-seed4.png"]


def test_the_name_of_a_checkpoint_in_the_current_folder(here, monkeypatch):
    (here / "mine").mkdir()
    (here / "gan.npz").rename(here / "mine" / "checkpoint.npz")
    monkeypatch.chdir(here / "mine")
    assert main(["sample", "--weights", "checkpoint.npz", "--count", "1"]) == 0
    assert Path("tinyconv-output/sample/samples-mine-seed0.png").is_file()


def test_without_weights_it_is_the_lessons_generator(here, capsys):
    assert main(["sample"]) == 2
    error = capsys.readouterr().err
    assert f"there is no {Path('tinyconv-output/07/model.npz')} yet: tinyconv lesson 07_gan" in error
    assert "tinyconv train gan --data mnist makes a checkpoint, too" in error and len(error.splitlines()) == 1
    Path("tinyconv-output/07").mkdir(parents=True)
    Path("gan.npz").rename("tinyconv-output/07/model.npz")
    assert main(["sample"]) == 0
    assert f"next: tinyconv sample --weights {Path('tinyconv-output/07/model.npz')}" in capsys.readouterr().out


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("command", [["predict", "a.png"], ["explain", "filters"], ["detect", "a.png"]], ids=" ".join)
def test_commands_for_other_networks_name_this_one(command, name, here, capsys):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("a.png")
    assert main([*command, "--weights", f"{name}.npz"]) == 2
    error = capsys.readouterr().err
    wanted = f"{name}.npz holds a generator of images; tinyconv sample --weights {name}.npz draws some"
    assert error == f"tinyconv: {wanted}\n"


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["--weights", "lenet.npz"], 2, "lenet.npz holds lenet5, a classifier; tinyconv predict IMAGE --weights lenet"),
        (["--weights", "faster.npz"], 2, "faster.npz holds a detector; tinyconv detect IMAGE --weights faster.npz"),
        (["--weights", "a.txt"], 2, "a.txt is no checkpoint of tinyconv; tinyconv train gan --data mnist makes one"),
        (["--weights", "none.npz"], 1, "none.npz"),
        (["--count", "0"], 2, "--count must be from 1 to 10000, got 0"),
        (["--count", "10001"], 2, "--count must be from 1 to 10000, got 10001"),
        (["--count", "-3"], 2, "--count must be from 1 to 10000, got -3"),
        (["--count", "101", "--interpolate"], 2, "--count must be from 1 to 100 rows of --interpolate, got 101"),
        (["--count", "x"], 2, "argument --count: invalid int value: 'x'"),
        (["--seed", "-1"], 2, "--seed must be at least 0, got -1"),
        (["--out", "."], 2, "--out must name a file, got the folder .; such as samples.png"),
        (["--out", "dir/"], 2, "--out must name a file, got the folder dir/; such as"),
        (["--out", "x.jpg"], 2, "--out must end in .png, as the figure is a PNG; got x.jpg"),
        (["--out", "a.txt/x.png"], 1, "sample: cannot write to the folder a.txt"),
    ],
)
def test_errors_are_one_line(arguments, code, message, here, capsys):
    tinyconv.save("lenet.npz", models.lenet5())
    tinyconv.save("faster.npz", models.faster_rcnn(2, scale="lesson", width=0.25))
    Path("a.txt").write_text("no weights")
    given = [] if "--weights" in arguments else ["--weights", "gan.npz"]
    assert main(["sample", *arguments, *given]) == code
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1 and error.startswith("tinyconv: ")
    assert not Path("tinyconv-output").exists()
