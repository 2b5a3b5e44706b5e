"""PASCAL VOC's format: corners, splits, classes; every fault of a file is one line that names it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinyconv.data.detection import DetectionDataset
from tinyconv.data.voc import VOC_CLASSES, VOCDetection, read_xml
from tinyconv.vision.targets import unpack_targets

WIDTH, HEIGHT = 50, 40


def xml(objects, size=(WIDTH, HEIGHT), before=""):
    """Return an annotation; objects are (name, xmin, ymin, xmax, ymax, what else)."""
    parts = [
        f"<object><name>{name}</name>{more}<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        "</bndbox></object>"
        for name, x1, y1, x2, y2, more in objects
    ]
    told = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"{before}<annotation><filename>other.jpg</filename>{told}{''.join(parts)}</annotation>"


def make(folder, annotations, ending="png", splits=None, size=(WIDTH, HEIGHT)):
    """Write a set: {name: annotation or None}, every image of one size, lists of splits."""
    for name in ("Annotations", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    for number, (name, text) in enumerate(annotations.items()):
        if text is not None:
            data = text if isinstance(text, bytes) else text.encode()
            (folder / "Annotations" / f"{name}.xml").write_bytes(data)
        Image.new("RGB", size, (10 * number, 0, 255)).save(folder / "JPEGImages" / f"{name}.{ending}")
    if splits:
        (folder / "ImageSets" / "Main").mkdir(parents=True)
        for split, text in splits.items():
            (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(text)
    return folder


CAT, DOG = ("cat", 1, 1, 50, 40, "<difficult>0</difficult>"), ("dog", 11, 6, 20, 30, "<difficult>1</difficult>")


@pytest.fixture
def devkit(tmp_path):
    """Return a folder VOCdevkit with two years."""
    two = {"000007": xml([CAT, DOG]), "000012": xml([]), "000001": xml([("person", 2, 3, 2, 3, "")])}
    splits = {"train": "000007\n000012\n", "test": "000001\n", "cat_train": "000007  1\n000012 -1\n"}
    make(tmp_path / "VOCdevkit" / "VOC2007", two, "jpg", splits)
    make(tmp_path / "VOCdevkit" / "VOC2012", {"2008_000002": xml([CAT])}, "jpg", {"trainval": "2008_000002\n"})
    return tmp_path / "VOCdevkit"


def test_pixels_counted_from_one_become_corners(devkit):
    data = VOCDetection(devkit, "train", year=2007)
    assert data.ids == ["000007", "000012"] and data.classes == list(VOC_CLASSES) and len(VOC_CLASSES) == 20
    image, found = data.read(0)
    assert image.shape == (3, HEIGHT, WIDTH) and image.dtype == np.float32 and image[2].min() > 0.9
    # The whole image, 1 1 50 40 in the file; and 10 x 25 pixels, the 11th to the 20th, the 6th to the 30th.
    assert found.boxes.tolist() == [[0, 0, 50, 40], [10, 5, 20, 30]]
    assert [VOC_CLASSES[k] for k in found.labels] == ["cat", "dog"] and found.difficult.tolist() == [False, True]
    assert data.read(1)[1].boxes.shape == (0, 4)
    (single,) = VOCDetection(devkit / "VOC2007", "test").truth(0).boxes.tolist()
    assert single == [1, 2, 2, 3]  # one pixel
    assert VOC_CLASSES == tuple(sorted(VOC_CLASSES))
    for part, read in zip(data.truth(0), found, strict=True):
        np.testing.assert_array_equal(part, read)
    data.check()


def test_the_dataset_leaves_difficult_objects_out(devkit):
    data = DetectionDataset(VOCDetection(devkit, "train", year=2007))
    found = unpack_targets(data[0][1][None])[0]
    assert found.size == (HEIGHT, WIDTH) and found.boxes.tolist() == [[0, 0, 50, 40]]
    assert [len(t.boxes) for t in data.truths()] == [2, 0]


def test_folders_years_and_splits(devkit):
    assert VOCDetection(devkit, year=2012).ids == VOCDetection(devkit.parent, year=2012).ids == ["2008_000002"]
    assert VOCDetection(devkit / "VOC2007", "cat_train").ids == ["000007", "000012"]  # the second column is not a name
    with pytest.raises(ValueError, match="holds VOC2007, VOC2012, none was named; say year="):
        VOCDetection(devkit)
    with pytest.raises(ValueError, match="holds VOC2007, VOC2012, got year=2010"):
        VOCDetection(devkit, year=2010)
    with pytest.raises(ValueError, match="VOC2012 is of the year 2012, got year=2007"):
        VOCDetection(devkit / "VOC2012", year=2007)
    with pytest.raises(ValueError, match=r"split must be one of test, train \(.*Main\), got 'val'"):
        VOCDetection(devkit / "VOC2007", "val")
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        VOCDetection(devkit / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"must hold the folder Annotations \(or VOC2007 with it\), got none"):
        VOCDetection(devkit / "VOC2007" / "JPEGImages")


def test_a_folder_without_images(tmp_path):
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no folder .*JPEGImages of the images"):
        VOCDetection(tmp_path)


def test_a_list_names_images_without_folders(tmp_path):
    make(tmp_path, {"a": xml([CAT])}, splits={"train": "../a\n", "val": "\n"})
    with pytest.raises(ValueError, match=r"train\.txt must name images without folder, got '\.\./a'"):
        VOCDetection(tmp_path, "train")
    with pytest.raises(ValueError, match=r"val\.txt names no image"):
        VOCDetection(tmp_path, "val")


def test_a_foreign_folder(tmp_path):
    """No lists, other classes, other formats of images: all annotations, the classes that they name, sorted."""
    zebra = ("zebra", 3, 3, 9, 9, "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>")
    texts = {"b": xml([zebra, CAT], size=None), "a": xml([("ant", 1.5, 2, 7.25, 9, "")], size=(0, 0)), "c": "<broken"}
    make(tmp_path, texts)
    (tmp_path / "JPEGImages" / "b.png").rename(tmp_path / "JPEGImages" / "b.PNG")
    data = VOCDetection(tmp_path)
    assert data.ids == ["a", "b", "c"] and data.classes == ["ant", "cat", "zebra"]
    assert data.truth(0).boxes.tolist() == [[0.5, 1, 7.25, 9]]
    assert data.read(1)[1].labels.tolist() == [2, 1]
    assert VOCDetection(tmp_path, classes=["cat", "zebra", "ant"]).truth(1).labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="has no ImageSets/Main, so only the split 'trainval', got 'test'"):
        VOCDetection(tmp_path, "test")
    with pytest.raises(ValueError, match="classes must be one or more names, each once"):
        VOCDetection(tmp_path, classes=["cat", "cat"])
    assert repr(data) == "VOCDetection(3 images, 3 classes)"


def test_classes_of_voc_if_they_fit(tmp_path):
    assert VOCDetection(make(tmp_path / "a", {"x": xml([CAT])})).classes == list(VOC_CLASSES)
    with pytest.raises(ValueError, match="name no object; say classes="):
        VOCDetection(make(tmp_path / "b", {"x": xml([])}))
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / "c" / name).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"holds no annotation \(\*\.xml\)"):
        VOCDetection(tmp_path / "c")


def test_a_box_over_the_border_by_a_pixel_is_cut(tmp_path):
    make(tmp_path, {"x": xml([("cat", 0, 0, 51, 41, ""), ("cat", 0.25, 5, 9, 41, "")])})
    assert VOCDetection(tmp_path).truth(0).boxes.tolist() == [[0, 0, 50, 40], [0, 4, 9, 40]]


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
BOMB = f'<!DOCTYPE annotation [<!ENTITY l0 "ha">{LAUGHS}]><annotation>&l11;</annotation>'


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "there is no annotation .*bad.xml"),
        ("", "bad.xml is no XML .*no element found"),
        ("<annotation><object>", "bad.xml is no XML .*no element found"),
        (b"\x89PNG\r\n", "bad.xml is no XML .*not well-formed"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "bad.xml is no XML"),
        ("<html/>", "bad.xml must hold an <annotation>, got <html>"),
        (BOMB, "bad.xml has a document type"),
        (BOMB.encode("utf-16"), "bad.xml has a document type"),
        (BOMB.encode("utf-16-be"), "bad.xml has a document type"),
        (xml([CAT], before='<!DOCTYPE a SYSTEM "http://localhost/a.dtd">'), "bad.xml has a document type"),
        ("<annotation>&lol;</annotation>", "bad.xml is no XML .*undefined entity"),
        (xml([("unicorn", 1, 1, 2, 2, "")]), r"object 1 \(unicorn\): its class must be one of aeroplane, .* classes="),
        (xml([CAT, ("", 1, 1, 2, 2, "")]), r"object 2 \(\): its class must be one of"),
        (
            xml([("cat", 1, 1, 52, 9, "")]),
            "the box of object 1 .cat., 1 1 52 9, is not inside the image, 50 x 40 pixels",
        ),
        (xml([("cat", -1, 1, 9, 9, "")]), "is not inside the image"),
        (xml([("cat", 51, 1, 51, 9, "")]), "is not inside the image"),  # within a pixel, but nothing of it is left
        (xml([("cat", 400, 1, 500, 9, "")]), "is not inside the image"),
        (xml([CAT, ("dog", 9, 1, 8, 9, "")]), r"the box of object 2 \(dog\), 9 1 8 9, has no area"),
        (xml([("dog", 9, 20, 12, 9, "")]), "has no area"),
        (xml([("dog", "nan", 1, 8, 9, "")]), r"object 1 \(dog\): <xmin> of <bndbox> must be a number, got 'nan'"),
        (xml([("dog", 1, 1, "wide", 9, "")]), "<xmax> of <bndbox> must be a number, got 'wide'"),
        (xml([("dog", 1, 1, "", 9, "")]), "<xmax> of <bndbox> must be a number, got ''"),
        (xml([("dog", 1, 1, 9, 9, "<difficult>no</difficult>")]), "<difficult> of <object> must be a number, got 'no'"),
        ("<annotation><object><name>cat</name></object></annotation>", r"object 1 \(cat\) has no <bndbox>"),
        (xml([CAT], size=(40, 50)), "annotation is of an image of 40 x 50 pixels, the file has 50 x 40"),
        (xml([CAT], size=("", 40)), "<width> of <size> must be a number, got ''"),
    ],
)
def test_faults_of_an_annotation(text, message, tmp_path):
    make(tmp_path, {"good": xml([CAT]), "bad": text}, splits={"all": "bad\ngood\n"})
    data = VOCDetection(tmp_path, "all", classes=VOC_CLASSES)
    for read in (data.read, data.truth):
        with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
            read(0)
        assert len(str(caught.value).splitlines()) == 1 and "bad.xml" in str(caught.value)
    assert data.read(1)[1].boxes.tolist() == [[0, 0, 50, 40]]  # the others can be read
    with pytest.raises(ValueError, match="VOCDetection: 1 of 2 images cannot be used:\n  VOCDetection: "):
        data.check()


@given(st.one_of(st.binary(), st.integers(0, 400), st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=3))))
def test_whatever_a_file_holds_the_error_is_a_value_error(tmp_path_factory, change):
    """Any bytes; a good file that was cut; one with some bytes replaced: it is read, or refused in one line."""
    good = xml([CAT, DOG]).encode()
    if isinstance(change, int):
        change = good[:change]
    elif isinstance(change, tuple):
        at, other = change
        change = good[:at] + other + good[at + len(other) :]
    path = tmp_path_factory.getbasetemp() / "any.xml"
    path.write_bytes(change)
    try:
        assert read_xml(path).tag == "annotation"
    except ValueError as problem:
        assert str(problem).startswith(f"VOCDetection: {path} ") and len(str(problem).splitlines()) == 1


def test_a_file_of_very_many_nested_parts_is_read(tmp_path):
    count = 200_000
    (tmp_path / "deep.xml").write_text("<annotation>" + "<part>" * count + "</part>" * count + "</annotation>")
    assert not read_xml(tmp_path / "deep.xml").findall("object")


def test_faults_of_an_image(tmp_path):
    make(tmp_path, {"a": xml([CAT]), "b": xml([CAT])})
    (tmp_path / "JPEGImages" / "a.png").unlink()
    (tmp_path / "JPEGImages" / "b.png").write_bytes(b"no picture")
    data = VOCDetection(tmp_path)
    for read in (data.read, data.truth):
        with pytest.raises(FileNotFoundError, match=r"there is no image .*a\.jpg \(nor \.png"):
            read(0)
        with pytest.raises(ValueError, match=r"cannot read the image .*b\.png"):
            read(1)
    with pytest.raises(IndexError, match=r"VOCDetection: index must lie in 0\.\.1, got 2"):
        data.read(2)


def test_check_reports_ten_faults_and_their_number(tmp_path):
    texts = {f"{i:02}": xml([CAT]) if i % 2 else xml([("cat", 1, 1, 500, 9, "")]) for i in range(24)}
    with pytest.raises(ValueError, match="12 of 24 images cannot be used") as caught:
        VOCDetection(make(tmp_path, texts)).check()
    lines = str(caught.value).splitlines()
    assert len(lines) == 12 and lines[-1].strip() == "and 2 more"
    assert all(f"{2 * i:02}.xml" in line for i, line in enumerate(lines[1:11]))


def test_a_photograph_that_its_camera_turned(tmp_path):
    """The size of the annotation is that of the upright picture, or there is an error."""
    folder = make(tmp_path, {"a": xml([CAT], size=(40, 50)), "b": xml([CAT])}, "jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in "ab":
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "JPEGImages" / f"{name}.jpg", exif=exif)
    data = VOCDetection(folder)
    for read in (data.read, data.truth):
        with pytest.raises(ValueError, match=r"box of object 1 .* is not inside the image, 40 x 50 pixels"):
            read(0)
        with pytest.raises(ValueError, match="annotation is of an image of 50 x 40 pixels, the file has 40 x 50"):
            read(1)
