"""``tinyconv train`` for detectors: scenes, a folder of PASCAL VOC or of COCO, resuming, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyconv
from tinyconv.cli.main import main
from tinyconv.cli.names import UsageError
from tinyconv.cli.train_detection import open_sources

BOX = (20, 10, 60, 50)  # the red object of every picture, +0 convention


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(path: Path, shade: int) -> None:
    pixels = np.full((80, 100, 3), shade, np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = (250, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def voc(folder: Path, count: int = 6, splits: dict[str, list[int]] | None = None) -> Path:
    """Write pictures with one object each, as PASCAL VOC has them."""
    (folder / "Annotations").mkdir(parents=True)
    corners = zip(("xmin", "ymin", "xmax", "ymax"), (BOX[0] + 1, BOX[1] + 1, *BOX[2:]), strict=True)
    box = "".join(f"<{side}>{value}</{side}>" for side, value in corners)
    for i in range(count):
        picture(folder / "JPEGImages" / f"{i:06}.png", 10 * i)
        text = f"<annotation><object><name>stone</name><bndbox>{box}</bndbox></object></annotation>"
        (folder / "Annotations" / f"{i:06}.xml").write_text(text)
    for name, numbers in (splits or {}).items():
        (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{i:06}\n" for i in numbers))
    return folder


def coco(folder: Path) -> Path:
    for part, count in (("train2017", 4), ("val2017", 2)):
        images = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 80} for i in range(count)]
        boxes = [{"id": i, "image_id": i, "category_id": 7, "bbox": [20, 10, 40, 40]} for i in range(count)]
        for i in range(count):
            picture(folder / part / f"{i}.png", 10 * i)
        (folder / "annotations").mkdir(exist_ok=True)
        table = {"images": images, "annotations": boxes, "categories": [{"id": 7, "name": "stone"}]}
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(table))
    return folder


def test_scenes_and_resuming(here: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["train", "faster_rcnn", "--data", "scenes", "--smoke", "--out", "run"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "  mAP 0.0" in out
    assert "scenes, 16 training and 16 test images, 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in out
    assert "class  objects  detections" in out and "mean" in out
    assert "next: tinyconv detect IMAGE --weights run/checkpoint.npz" in out
    assert {path.name for path in Path("run").iterdir()} == {"checkpoint.npz", "curves.png", "train.jsonl"}
    assert main([*command, "--epochs", "2", "--resume"]) == 0
    assert "resuming run/checkpoint.npz: 1 of 2 epochs" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["fast_rcnn", "faster_rcnn"])
def test_a_folder_of_ones_own(name: str, here: Path, capsys: pytest.CaptureFixture) -> None:
    voc(here / "stones")
    assert main(["train", name, "--data", "voc", "--root", "stones", "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert "voc, 5 training and 1 test images, 1 classes: stone" in out and "stone" in out
    file = f"tinyconv-output/train/{name}-voc/checkpoint.npz"
    model = tinyconv.load(file)
    assert model.meta["classes"] == ["stone"]
    assert [part["kind"] for part in model.meta["transform"]["transforms"]] == ["ResizeWithin", "Normalize"]
    assert main(["detect", "stones/JPEGImages/000004.png", "--weights", file, "--least", "0"]) == 0
    assert "stone" in capsys.readouterr().out


def test_parts_of_voc(here: Path) -> None:
    both = open_sources("voc", str(voc(here / "a", splits={"trainval": [0, 1, 2], "test": [4], "train": [5]})), None)
    assert [len(part) for part in both] == [3, 1]
    both = open_sources("voc", str(voc(here / "b", splits={"train": [0, 1], "val": [2, 3, 4]})), 2)
    assert [len(part) for part in both] == [2, 2]  # few of each, for a trial
    assert both[1].truth(0).boxes.tolist() == [list(BOX)]
    with pytest.raises(UsageError, match=r"has neither trainval.txt and test.txt nor train.txt and val.txt"):
        open_sources("voc", str(voc(here / "c", splits={"trainval": [0]})), None)
    with pytest.raises(UsageError, match="holds 4 images; at least 5 are needed"):
        open_sources("voc", str(voc(here / "d", 4)), None)


def test_coco(here: Path, capsys: pytest.CaptureFixture) -> None:
    train, test = open_sources("coco", str(coco(here / "stones")), None)
    assert (len(train), len(test), train.classes) == (4, 2, ["stone"])
    assert test.read(1)[1].boxes.tolist() == [list(BOX)]
    assert main(["train", "faster_rcnn", "--data", "coco", "--root", "stones", "--smoke"]) == 0
    assert "coco, 4 training and 2 test images" in capsys.readouterr().out


def test_faults_of_a_folder_are_found_before_training(here: Path, capsys: pytest.CaptureFixture) -> None:
    folder = voc(here / "stones")
    command = ["train", "faster_rcnn", "--data", "voc", "--root", "stones"]
    (folder / "Annotations" / "000001.xml").write_text("<annotation>")
    (folder / "JPEGImages" / "000004.png").unlink()
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "VOCDetection: 2 of 6 images cannot be used" in error and "000001.xml" in error and "000004" in error
    for file in (folder / "Annotations").iterdir():
        file.write_text("<annotation></annotation>")
    (folder.parent / "empty").mkdir()
    assert main(command) == 1
    assert "name no object; say classes=" in capsys.readouterr().err
    for file in (folder / "Annotations").iterdir():  # those of PASCAL VOC, but none in a training image
        box = "<xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax>"
        thing = f"<object><name>cat</name><bndbox>{box}</bndbox></object>" if file.stem == "000004" else ""
        file.write_text(f"<annotation>{thing}</annotation>")
    picture(folder / "JPEGImages" / "000004.png", 40)
    assert main(command) == 1
    assert "no training image in stones has an object: there is nothing to learn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rcnn", "--data", "scenes"], "rcnn is trained in stages: tinyconv lesson 06_rcnn"),
        (["faster_rcnn", "--data", "mnist"], "faster_rcnn is a detector and learns from scenes, voc, coco; mnist"),
        (["faster_rcnn", "--data", "scens"], "there is no data set 'scens'; did you mean 'scenes'?"),
        (["alexnet", "--data", "scenes"], "scenes is for detectors (faster_rcnn, fast_rcnn); other networks"),
        (["faster_rcnn", "--data", "voc"], "--data voc wants --root DIR"),
        (["faster_rcnn", "--data", "scenes", "--root", "."], "--root goes with --data voc and coco"),
        (["faster_rcnn", "--data", "coco", "--root", "."], "has no annotations/instances_train*.json"),
        (["faster_rcnn", "--data", "scenes", "--lr", "0"], "--lr must be a positive number"),
        (["faster_rcnn", "--data", "scenes", "--batch-size", "0"], "--batch-size must be at least 1"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
