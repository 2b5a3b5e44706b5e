"""``tinyconv detect``: boxes in the picture's own pixels, a figure for each picture, one-line errors."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

import tinyconv
from tinyconv import data, models, nn
from tinyconv.cli.main import main
from tinyconv.data.geometric import ResizeWithin
from tinyconv.detection.evaluation import detect_in
from tinyconv.models import registry
from tinyconv.vision.detections import Detections
from tinyconv.vision.selective_search import selective_search

CLASSES = ["red thing", "blue"]


class Redness(nn.Module):
    """Finds one box around the red pixels of what it is given, and one of half the size with a lower score."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(1, 1)

    def detect(self, image, proposals=None, *, least, top):
        assert proposals is None and image.dtype == np.float32
        if image.shape[1] < 4:
            raise ValueError(f"redness: images must be at least 4 pixels high, got {image.shape}")
        red = (image[0] > 0.5) & (image[2] < 0.5)
        rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
        if not len(rows):
            return Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
        x1, y1, x2, y2 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        boxes = np.array([[x1, y1, (x1 + x2) / 2, (y1 + y2) / 2], [x1, y1, x2, y2]], float)
        scores = np.array([0.625, 0.875])
        kept = scores >= least
        return Detections(boxes[kept][:top], np.array([1, 0])[kept][:top], scores[kept][:top])


def redness(num_classes=2, *, in_channels=3):
    return registry.describe(Redness(), "redness", (in_channels, 64, 64), num_classes=num_classes)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder: a detector's checkpoint, a picture with a red rectangle at x 20..60, y 10..50."""
    monkeypatch.chdir(tmp_path)
    build = models.build
    monkeypatch.setattr(models, "build", lambda name, **a: redness(**a) if name == "redness" else build(name, **a))
    tinyconv.manual_seed(0)
    tinyconv.save("net.npz", redness(), classes=CLASSES)
    pixels = np.zeros((80, 100, 3), np.uint8)
    pixels[10:50, 20:60, 0] = 255
    Image.fromarray(pixels).save("street.png")
    Image.fromarray(pixels[:, :, 1:2].repeat(3, 2)).save("night.png")
    return tmp_path


def test_a_picture_that_the_network_cannot_take_is_skipped(here, capsys):
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save("tiny.png")
    files = ["tiny.png", "street.png", "tiny.png", "night.png"]
    assert main(["detect", *files, "--weights", "net.npz", "--out", "o"]) == 1
    out, error = capsys.readouterr()
    assert error == "tinyconv: tiny.png: redness: images must be at least 4 pixels high, got (3, 1, 1)\n" * 2
    assert "tiny.png" not in out and "street.png: 2 objects" in out and "night.png: 0 objects" in out
    assert sorted(path.name for path in Path("o").iterdir()) == ["night-detections.png", "street-detections.png"]


def test_a_table_and_a_figure(here, capsys):
    assert main(["detect", "street.png", "--weights", "net.npz"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "street.png: 2 objects",
        "  red thing   0.88      20     10     60     50",
        "  blue        0.62      20     10     40     30",
        f"figure: {Path('tinyconv-output/detect/street-detections.png')}",
    ]
    with Image.open("tinyconv-output/detect/street-detections.png") as picture:
        assert picture.size[0] > picture.size[1] > 400


@pytest.mark.parametrize(
    "transform", [ResizeWithin(40, 1000), data.Compose([data.Resize((160, 50), "nearest"), data.Normalize(0.0, 1.0)])]
)
def test_boxes_are_scaled_back_to_the_picture(transform, here, capsys):
    tinyconv.save("resized.npz", redness(), transform=transform)
    assert main(["detect", "street.png", "--weights", "resized.npz"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == [
        "  class 0   0.88      20     10     60     50",
        "  class 1   0.62      20     10     40     30",
    ]


def test_least_top_and_several_pictures(here, capsys):
    Path("other").mkdir()
    Path("other/street.png").write_bytes(Path("street.png").read_bytes())
    arguments = ["street.png", "night.png", "other/street.png", "--weights", "net.npz", "--out", "found/here"]
    assert main(["detect", *arguments, "--least", "0.7"]) == 0
    out = capsys.readouterr().out
    assert out.count("red thing") == 2 and "blue" not in out
    assert "street.png: 1 object\n" in out and "night.png: 0 objects\n" in out
    names = ["night-detections.png", "street-2-detections.png", "street-detections.png"]
    assert sorted(path.name for path in Path("found/here").iterdir()) == names
    assert main(["detect", *arguments[:1], *arguments[3:], "--top", "1", "--least", "0"]) == 0
    assert "street.png: 1 object\n" in capsys.readouterr().out


def test_proposals_are_those_of_the_picture(here):
    """A detector that searches is given the boxes of selective search, in the pixels of what it looks at."""

    class Searching(Redness):
        search: ClassVar = {"k": 60, "min_size": 20, "min_side": 4}

        def detect(self, image, proposals=None, *, least, top):
            assert image.shape == (3, 160, 50)
            return Detections(proposals, np.zeros(len(proposals), np.int64), np.linspace(1, 0, len(proposals)))

    picture = data.read_image("street.png")
    wanted = selective_search(picture, **Searching.search)
    assert [20, 10, 60, 50] in wanted.tolist()
    found = detect_in(picture, Searching(), data.Resize((160, 50)), least=0, top=100)
    np.testing.assert_allclose(found.boxes, wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["fast_rcnn", "faster_rcnn"])
def test_the_networks_of_the_papers(name, here, capsys):
    model = models.build(name, num_classes=2, scale="lesson", width=0.5)
    tinyconv.save("rcnn.npz", model, classes=CLASSES, transform=data.Normalize(0.5, 0.25))
    assert main(["detect", "street.png", "--weights", "rcnn.npz", "--least", "0.01", "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    image, network = data.read_image("street.png"), tinyconv.load("rcnn.npz")
    found = detect_in(image, network, data.Normalize(0.5, 0.25), least=0.01, top=3)
    assert 1 <= len(found.boxes) <= 6 and lines[0] == f"street.png: {len(found.boxes)} objects"
    for line, score, box in zip(lines[1:], found.scores, found.boxes, strict=False):
        assert line.split()[-5:] == [f"{score:.2f}", *(f"{edge:.0f}" for edge in box)]


def test_without_weights_it_is_the_lessons_detector(here, capsys):
    assert main(["detect", "street.png"]) == 2
    assert "tinyconv lesson 06_rcnn --step 8 makes it" in capsys.readouterr().err
    Path("tinyconv-output/06").mkdir(parents=True)
    Path("net.npz").rename("tinyconv-output/06/model.npz")
    assert main(["detect", "street.png"]) == 0
    assert "street.png: 2 objects" in capsys.readouterr().out


def test_a_file_that_is_no_picture_does_not_stop_the_others(here, capsys):
    assert main(["detect", "net.npz", "street.png", "--weights", "net.npz"]) == 1
    out, error = capsys.readouterr()
    assert "cannot read the image net.npz" in error and len(error.splitlines()) == 1 and "street.png: 2 objects" in out


def test_a_picture_of_another_size_gets_a_hint(here, capsys):
    Image.fromarray(np.zeros((300, 200, 3), np.uint8)).save("large.png")
    assert main(["detect", "large.png", "street.png", "--weights", "net.npz"]) == 0
    out = capsys.readouterr().out
    hint = "(it learned from pictures of 64 x 64, this one has 200 x 300: objects should be as large"
    assert out.count("it learned from pictures") == 1 and hint in out  # street.png has 100 x 80
    tinyconv.save("fit.npz", redness(), transform=ResizeWithin(32, 64))
    assert main(["detect", "large.png", "--weights", "fit.npz"]) == 0
    assert "it learned" not in capsys.readouterr().out


@pytest.mark.parametrize("command", [["predict", "street.png"], ["explain", "filters"]])
def test_commands_for_classifiers_name_this_one(command, here, capsys):
    assert main([*command, "--weights", "net.npz"]) == 2
    wanted = "net.npz holds a detector; tinyconv detect IMAGE --weights net.npz draws what it finds"
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["none.png"], 1, "detect: there is no file none.png"),
        (["net.npz"], 1, "cannot read the image net.npz"),
        (["street.png", "--weights", "faster.npz", "--least", "2"], 2, "--least is a probability in [0, 1] for faster"),
        (["street.png", "--weights", "none.npz"], 1, "none.npz"),
        (["street.png", "--weights", "street.png"], 2, "street.png is no checkpoint of tinyconv; tinyconv train"),
        (
            ["street.png", "--weights", "lenet.npz"],
            2,
            "lenet.npz holds lenet5, which finds no objects; tinyconv predict",
        ),
        (["street.png", "--weights", "crop.npz"], 1, "detect: the transform must leave every pixel in the image"),
        (["street.png", "--top", "0"], 2, "--top must be at least 1, got 0"),
        (["street.png", "--least", "nan"], 2, "--least must be a number, got nan"),
        (["street.png", "--out", "net.npz"], 2, "--out must name a folder, got the file net.npz"),
        (["street.png", "--out", "net.npz/deeper"], 1, "cannot write to the folder net.npz/deeper"),
        ([], 2, "the following arguments are required: IMAGE"),
    ],
)
def test_errors_are_one_line(arguments, code, message, here, capsys):
    tinyconv.save("lenet.npz", models.lenet5())
    tinyconv.save("faster.npz", models.faster_rcnn(2, scale="lesson", width=0.25))
    tinyconv.save("crop.npz", redness(), transform=data.CenterCrop(20))
    given = [] if "--weights" in arguments else ["--weights", "net.npz"]
    assert main(["detect", *arguments, *given]) == code
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1 and error.startswith("tinyconv: ")
