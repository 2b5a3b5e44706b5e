"""``tinyconv explain``: a figure for each action, the lesson's checkpoint, one-line errors."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyconv
from tinyconv import data, models
from tinyconv.cli import explain as command
from tinyconv.cli.main import main
from tinyconv.cli.models import LESSONS
from tinyconv.explain import occlusion, top_activations

CLASSES = [f"thing {k}" for k in range(10)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder: a network's checkpoint and a large colour picture, for a network of 28 grey pixels."""
    monkeypatch.chdir(tmp_path)
    tinyconv.manual_seed(0)
    model = models.zfnet(10, scale="lesson", in_channels=1, width=0.25)
    tinyconv.save("net.npz", model, classes=CLASSES, transform=data.Normalize((0.25,), (0.5,)))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (60, 84, 3), np.uint8)).save("photo.png")
    return tmp_path


def prepared():
    """Return the model and the picture as it takes it, by the data package's own parts."""
    model = tinyconv.load("net.npz")
    fit = data.Compose([data.Resize(28), data.CenterCrop(28), data.Normalize((0.25,), (0.5,))])
    return model, fit(data.read_image("photo.png", "L"), None)[None]


def figure(out, name):
    """Return the size of the figure that the last line of the output names."""
    assert out.splitlines()[-1] == f"figure: {Path(name)}"
    with Image.open(name) as picture:
        return picture.size


def test_deconvnet_shows_the_strongest_maps_of_the_picture(here, capsys):
    assert main(["explain", "deconvnet", "--image", "photo.png", "--weights", "net.npz"]) == 0
    out = capsys.readouterr().out
    assert figure(out, "tinyconv-output/explain/deconvnet-photo.png") > (400, 300)
    model, image = prepared()
    values = top_activations(model, image, "pool5", 1).values[:, 0]
    shown = [int(part.split()[0]) for part in out.split("strongest maps: ")[1].splitlines()[0].split("), ")]
    assert shown == np.argsort(-values, kind="stable")[:9].tolist()
    assert "pool5: " in out


def test_deconvnet_of_one_map_and_a_file_of_ones_own(here, capsys):
    arguments = ["--image", "photo.png", "--weights", "net.npz", "--layer", "pool2", "--map", "3", "--out", "a/b"]
    assert main(["explain", "deconvnet", *arguments, "--unpool", "add"]) == 0
    out = capsys.readouterr().out
    assert "strongest maps: 3 (" in out and out.count("(") == 1
    assert figure(out, "a/b.png")


def test_occlusion_says_what_the_worst_square_does(here, capsys):
    arguments = ["--image", "photo.png", "--weights", "net.npz", "--size", "10", "--stride", "6", "--class", "thing 3"]
    arguments += ["--value", "-0.5"]
    assert main(["explain", "occlusion", *arguments]) == 0
    out = capsys.readouterr().out
    found = occlusion(*prepared(), 3, size=10, stride=6, value=-0.5)
    assert f"thing 3: {found.whole_probability:.1%}; at worst {found.probability.min():.1%}" in out
    assert "16 squares of 10 x 10 pixels" in out
    assert figure(out, "tinyconv-output/explain/occlusion-photo.png")


def test_a_class_may_be_written_in_capitals_or_small_letters(here, capsys):
    arguments = ["explain", "saliency", "--image", "photo.png", "--weights", "cased.npz", "--class"]
    tinyconv.save("cased.npz", tinyconv.load("net.npz"), classes=["Bag", "tie", "Tie", *CLASSES[3:]])
    for given, wanted in (("bag", "Bag"), ("BAG", "Bag"), ("Bag", "Bag"), ("Tie", "Tie"), ("tie", "tie")):
        assert main([*arguments, given]) == 0
        assert f"explained: {wanted}\n" in capsys.readouterr().out
    assert main([*arguments, "TIE"]) == 2  # which of the two?
    assert "there is no class 'TIE'" in capsys.readouterr().err


def test_the_examples_of_the_help_name_real_classes():
    """Without --model the network is of Fashion-MNIST; ImageNet's networks number their classes."""
    lines = [shlex.split(line) for line in command.HELP.splitlines() if "--class" in line]
    given = {line[line.index("--class") + 1]: "--model" in line for line in lines}
    assert given
    for name, numbered in given.items():
        assert 0 <= int(name) < 1000 if numbered else name in data.fashion_mnist("test").classes


def test_filters_need_no_picture(here, capsys):
    assert main(["explain", "filters", "--weights", "net.npz"]) == 0
    assert figure(capsys.readouterr().out, "tinyconv-output/explain/filters.png")


@pytest.mark.parametrize("more, said", [([], "explained: thing "), (["--layer", "relu2"], "relu2, strongest map")])
def test_saliency_of_a_class_and_of_a_map(more, said, here, capsys):
    assert main(["explain", "saliency", "--image", "photo.png", "--weights", "net.npz", *more]) == 0
    out = capsys.readouterr().out
    assert said in out
    assert figure(out, f"tinyconv-output/explain/saliency-photo{'-relu2' if more else ''}.png")


def test_without_weights_it_is_the_lessons_network(here, capsys):
    assert main(["explain", "filters"]) == 2
    error = capsys.readouterr().err
    assert "tinyconv-output" in error and "tinyconv lesson 02_zfnet" in error and len(error.splitlines()) == 1
    assert main(["explain", "filters", "--model", "alexnet"]) == 2
    assert "tinyconv lesson 01_alexnet --step 9 makes it" in capsys.readouterr().err
    assert main(["explain", "filters", "--model", "lenet5"]) == 2
    assert "no lesson trains lenet5; give --weights FILE" in capsys.readouterr().err
    Path("tinyconv-output/02").mkdir(parents=True)
    Path("net.npz").rename("tinyconv-output/02/model.npz")
    assert main(["explain", "filters", "--model", "zfnet"]) == 0


def test_every_network_that_a_lesson_trains_is_found_without_weights():
    """The table names, for every lesson with a training step, the builder that this step calls."""
    folder = Path(__file__).parents[2] / "lessons"
    steps = {step.parent.name: step.read_text("utf-8") for step in folder.glob("*/step*_train.py")}
    assert sorted(LESSONS.values()) == sorted(steps)
    for builder, lesson in LESSONS.items():
        # Lesson 09's build takes the paper's name: "ST-CNN".
        calls = (f"models.{builder}(", f'"{builder}": {builder}', f'build("{builder.upper().replace("_", "-")}"')
        assert any(call in steps[lesson] for call in calls), builder


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["dream", "--image", "photo.png"], 2, "there is no explanation 'dream'"),
        (["deconvnet"], 2, "--image is missing: which picture shall deconvnet explain?"),
        (["deconvnet", "--image", "none.png"], 1, "there is no file none.png"),
        (["deconvnet", "--image", "net.npz"], 1, "cannot read the image net.npz"),
        (["deconvnet", "--image", "photo.png", "--layer", "conv9"], 1, "layer must be one of conv1, relu1"),
        (["deconvnet", "--image", "photo.png", "--map", "999"], 2, "must be in [0, 16), got 999"),
        (["occlusion", "--image", "photo.png", "--size", "29"], 1, "size must be at most the image's, 28 x 28"),
        (["occlusion", "--image", "photo.png", "--class", "thing"], 2, "there is no class 'thing'"),
        (["occlusion", "--image", "photo.png", "--class", "10"], 2, "target must be in [0, 10), got 10"),
        (["saliency", "--image", "photo.png", "--class", "10"], 2, "target must be in [0, 10), got 10"),
        (["saliency", "--image", "photo.png", "--class", "\u00b2"], 2, "there is no class '\u00b2'"),
        (["saliency", "--image", "photo.png", "--class", "9" * 5000], 2, "there is no class '999"),
        (["filters", "--out", "."], 2, "--out must name a file, got the folder .; such as figure.png"),
        (["filters", "--out", "dir/"], 2, "--out must name a file, got the folder dir/; such as"),
        (["filters", "--out", "x.jpg"], 2, "--out must end in .png, as the figure is a PNG; got x.jpg"),
        (["filters", "--layer", "pool1"], 1, "layer must be one of conv1, conv2"),
        (["filters", "--model", "alexnet"], 2, "--model says alexnet"),
        (["filters", "--class", "1"], 2, "--class does not belong to filters; it is for occlusion, saliency, "),
        (["saliency", "--image", "photo.png", "--value", "0"], 2, "--value does not belong to saliency; it is for"),
        (["deconvnet", "--image", "photo.png", "--eps", "0.1"], 2, "--eps does not belong to deconvnet; it is for adv"),
        (["occlusion", "--image", "photo.png", "--method", "fgsm"], 2, "--method does not belong to occlusion"),
        (["deconvnet", "--image", "photo.png", "--save", "x.png"], 2, "--save does not belong to deconvnet"),
    ],
)
def test_bad_input_is_one_line(arguments, code, message, here, capsys):
    assert main(["explain", *arguments, "--weights", "net.npz"]) == code
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
