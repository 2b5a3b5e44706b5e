"""COCO's format: boxes, ids with gaps, crowds; every fault of the file is one line that names it."""

import copy
import json

import numpy as np
import pytest
from PIL import Image

from tinyconv.data.coco import CocoDetection
from tinyconv.data.detection import DetectionDataset
from tinyconv.vision.targets import unpack_targets

GOOD = {
    "images": [
        {"id": 9, "file_name": "nine.png", "width": 50, "height": 40},
        {"id": 2, "file_name": "sub/two.png", "width": 50, "height": 40},
        {"id": 5, "file_name": "nine.png"},
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 13, "name": "stop sign"}],
    "annotations": [
        {"id": 1, "image_id": 2, "category_id": 13, "bbox": [3, 4, 10, 20], "iscrowd": 0, "area": 200},
        {"id": 2, "image_id": 2, "category_id": 90, "bbox": [0.5, 0.25, 49.5, 39.75], "iscrowd": 1},
        {"id": 3, "image_id": 2, "category_id": 1, "bbox": [7, 8, 9, 0]},
        {"id": 4, "image_id": 9, "category_id": 1, "bbox": [40.5, 30, 10, 10.75]},
    ],
}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the set, changed by a function of its JSON, and opens it."""
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for name in ("nine.png", "sub/two.png"):
        Image.new("RGB", (50, 40), (255, 0, 0)).save(tmp_path / "images" / name)

    def opened(change=lambda whole: None):
        whole = copy.deepcopy(GOOD)
        change(whole)
        (tmp_path / "instances.json").write_text(json.dumps(whole))
        return CocoDetection(tmp_path / "images", tmp_path / "instances.json")

    return opened


def test_boxes_categories_and_crowds(write):
    data = write()
    assert data.classes == ["person", "stop sign", "toothbrush"] and data.ids == [9, 2, 5] and len(data) == 3
    image, found = data.read(1)
    assert image.shape == (3, 40, 50) and image[0].min() == 1 and image[1].max() == 0
    # Annotation 3 has no height, as two of COCO's own have none.
    assert found.boxes.tolist() == [[3, 4, 13, 24], [0.5, 0.25, 50, 40]]
    assert found.labels.tolist() == [1, 2] and found.difficult.tolist() == [False, True]
    assert data.truth(0).boxes.tolist() == [[40.5, 30, 50, 40]]  # cut at the border
    assert data.truth(2).boxes.shape == (0, 4)
    data.check()
    assert repr(data) == "CocoDetection(3 images, 3 classes)"


def test_the_dataset_leaves_crowds_out(write):
    found = unpack_targets(DetectionDataset(write())[1][1][None])[0]
    assert found.boxes.tolist() == [[3, 4, 13, 24]] and found.labels.tolist() == [1]


def test_images_are_read_when_they_are_asked_for(write, tmp_path):
    data = write()
    (tmp_path / "images" / "nine.png").unlink()
    assert len(data.read(1)[1].boxes) == 2
    for read in (data.read, data.truth):
        with pytest.raises(FileNotFoundError, match=r"there is no image .*nine\.png, which .*instances\.json lists"):
            read(0)
    with pytest.raises(ValueError, match="CocoDetection: 2 of 3 images cannot be used"):
        data.check()


def removed(part, key):
    return lambda whole: whole[part][0].pop(key)


def replaced(part, key, value):
    return lambda whole: whole[part][0].__setitem__(key, value)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda whole: whole.pop("categories"), "lacks categories; give a file of instances"),
        (lambda whole: [whole.pop(key) for key in list(whole)], "lacks images, annotations, categories"),
        (lambda whole: whole.update(images={}), "lacks images"),
        (replaced("annotations", "image_id", 4), "annotation 1 is of the image 4, which the file does not list"),
        (replaced("annotations", "image_id", [2]), r"annotation 1 is of the image \[2\], which"),
        (replaced("annotations", "category_id", 2), "annotation 1 is of the category 2, which the file does not list"),
        (removed("annotations", "bbox"), r"annotation 1 must have 'bbox', got \['id', 'image_id'"),
        (removed("annotations", "image_id"), "annotation 1 must have 'image_id'"),
        (lambda whole: whole["annotations"].insert(1, 7), "annotation at place 1 must have 'image_id', got 7"),
        (
            replaced("annotations", "bbox", [1, 2, 3]),
            r"annotation 1: bbox must be x y width height, .* got \[1, 2, 3\]",
        ),
        (
            replaced("annotations", "bbox", [1, 2, -3, 4]),
            "annotation 1: bbox must be x y width height, the last two at",
        ),
        (replaced("annotations", "bbox", [1, 2, float("nan"), 4]), "bbox must be"),
        (replaced("annotations", "bbox", ["1", 2, 3, 4]), "bbox must be"),
        (removed("images", "id"), "image at place 0 must have 'id'"),
        (removed("images", "file_name"), "image 9 must have 'file_name'"),
        (replaced("images", "file_name", "../secret.png"), r"file_name must be a path below .* got '\.\./secret\.png'"),
        (replaced("images", "file_name", "/secret.png"), "file_name must be a path below"),
        (replaced("images", "file_name", 7), "file_name must be a path below"),
        (replaced("images", "height", "40"), "image 9: height and width must be numbers, got '40' and 50"),
        (replaced("images", "id", 2), "the id of each image must be a number of its own, got 2 at place 1"),
        (replaced("images", "id", None), "the id of each image must be a number of its own, got None at place 0"),
        (replaced("images", "id", "nine"), "wanted at least one image, with ids of one kind"),
        (lambda whole: whole["categories"].clear(), "wanted at least one category, with ids of one kind, got 0"),
        (removed("categories", "name"), "category 90 must have 'name'"),
    ],
)
def test_faults_of_the_file(change, message, write):
    with pytest.raises(ValueError, match=message) as caught:
        write(change)
    text = str(caught.value)
    assert text.startswith("CocoDetection: ") and "instances.json" in text and len(text.splitlines()) == 1


@pytest.mark.parametrize(
    "change, message",
    [
        (
            replaced("annotations", "bbox", [42, 4, 10, 20]),
            r"the box of annotation 1 \(x y width height 42 4 10 20\) is not inside the image, 50 x 40 pixels",
        ),
        (replaced("annotations", "bbox", [-1.5, 4, 10, 20]), "is not inside the image"),
        (replaced("annotations", "bbox", [50, 4, 0.5, 20]), "is not inside the image"),
        (
            lambda whole: whole["images"][1].update(width=40, height=50),
            "sub/two.png: the annotation is of an image of 40 x 50 pixels, the file has 50 x 40",
        ),
    ],
)
def test_faults_of_one_image(change, message, write):
    data = write(change)
    for read in (data.read, data.truth):
        with pytest.raises(ValueError, match=message) as caught:
            read(1)
        assert "instances.json" in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert len(data.read(0)[1].boxes) == 1
    with pytest.raises(ValueError, match="1 of 3 images cannot be used"):
        data.check()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json(content, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.json is no JSON .*; fetch it again"):
        CocoDetection(tmp_path, path)


@pytest.mark.parametrize("content", ["[]", "3", '"images annotations categories"'])
def test_json_that_is_no_object(content, tmp_path):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match="must be an object with the lists images, annotations, categories"):
        CocoDetection(tmp_path, tmp_path / "a.json")


def test_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        CocoDetection(tmp_path / "nowhere", tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.json"):
        CocoDetection(tmp_path, tmp_path / "a.json")


def test_boxes_are_float32(write):
    assert write().truth(1).boxes.dtype == np.float32
