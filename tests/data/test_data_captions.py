"""Published captions: the three formats by hand, and every fault is one line that names the file and the place."""

import copy
import json

import pytest

from tinyconv.data.captions import CaptionedImages, read_coco_captions, read_flickr8k_tokens, read_karpathy

# ----------------------------------------------------------------------------------------------- Flickr8k's token files
TOKENS = (
    "b.jpg#0\tA black dog is running .\n"
    "b.jpg#1\t A dog runs through snow's edge .\r\n"
    "\n"
    "a.jpg#1\tZwei M\u00e4nner\treden .\n"
    "a.jpg#0\tTwo men talk ; one laughs\n"
    "c#d.jpg#0\t. ! ?\n"
    "c#d.jpg#1\t\n"
    "a.jpg#2\tThey talk"  # no newline at the end
)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file, text or bytes or JSON, and returns its path."""

    def written(content, name="captions.txt"):
        path = tmp_path / name
        if not isinstance(content, (str, bytes)):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def test_token_file(write):
    data = read_flickr8k_tokens(write(TOKENS))
    assert data.names == ["b.jpg", "a.jpg", "c#d.jpg"] and data.ids == [0, 1, 2] and len(data) == 3
    assert data.sentences == [
        ["A black dog is running .", "A dog runs through snow's edge ."],
        ["Zwei M\u00e4nner\treden .", "Two men talk ; one laughs", "They talk"],
        [],  # of its two sentences none has a word
    ]
    assert data.left_out == 2 and data.splits == ["rest"] * 3
    assert repr(data) == "CaptionedImages(3 rest images, 5 sentences)"
    assert read_flickr8k_tokens(write("\ufeff" + TOKENS)).names == data.names  # a byte order mark


def test_split_lists(write):
    train, test = write("a.jpg\r\n\n", "train.txt"), write("c#d.jpg\nb.jpg", "test.txt")
    data = read_flickr8k_tokens(write(TOKENS), train=train, test=test)
    assert data.splits == ["test", "train", "test"]
    part = data.split("test")
    assert (part.names, part.ids, part.splits) == (["b.jpg", "c#d.jpg"], [0, 2], ["test", "test"])
    assert part.sentences == [data.sentences[0], []] and part.left_out == 2
    with pytest.raises(ValueError, match="wanted one of its splits, test, train, got 'val'"):
        data.split("val")
    assert read_flickr8k_tokens(write(TOKENS), val=train).splits == ["rest", "val", "rest"]


@pytest.mark.parametrize(
    "content, message",
    [
        ("a.jpg#0\tA dog\na.jpg#1 A cat\n", r"line 2: wanted \"name.jpg#0<tab>sentence\", got 'a.jpg#1 A cat'"),
        ("a.jpg\tA dog\n", "line 1: wanted"),
        ("#0\tA dog\n", "line 1: wanted"),
        ("a.jpg#x\tA dog\n", "line 1: wanted"),
        ("a.jpg#\tA dog\n", "line 1: wanted"),
        ("a.jpg#0\tA dog\n\nb.jpg#0\tA\na.jpg#0\tA cat\n", "line 4: 'a.jpg#0' was already in line 1"),
        ("", "has no line with a sentence"),
        (" \n\n", "has no line with a sentence"),
        (b"a.jpg#0\tA dog\nb.jpg#0\tA d\xffg\n", "line 2: wanted text in UTF-8, got invalid start byte"),
        (b"\x89PNG\x00", "line 1: wanted text in UTF-8"),
    ],
)
def test_faults_of_a_token_file(content, message, write):
    with pytest.raises(ValueError, match=message) as caught:
        read_flickr8k_tokens(write(content))
    text = str(caught.value)
    assert text.startswith("read_flickr8k_tokens: ") and "captions.txt" in text and len(text.splitlines()) == 1


def test_faults_of_lists(write, tmp_path):
    tokens, first = write(TOKENS), write("a.jpg\n", "first.txt")
    for content, message in (
        ("b.jpg\nx.jpg\n", r"second\.txt, line 2: .*captions\.txt has no sentence of the image 'x\.jpg'"),
        ("b.jpg\na.jpg\n", r"second\.txt, line 2: the image 'a\.jpg' is already in train"),
        ("b.jpg\nb.jpg\n", r"second\.txt, line 2: the image 'b\.jpg' is already in val"),
    ):
        with pytest.raises(ValueError, match=message):
            read_flickr8k_tokens(tokens, train=first, val=write(content, "second.txt"))
    for call in (lambda p: read_flickr8k_tokens(p), lambda p: read_flickr8k_tokens(tokens, test=p)):
        with pytest.raises(FileNotFoundError, match=r"read_flickr8k_tokens: there is no file .*nowhere\.txt"):
            call(tmp_path / "nowhere.txt")


# ------------------------------------------------------------------------------------------------------ Karpathy's JSON
KARPATHY = {
    "dataset": "flickr8k",
    "images": [
        {
            "imgid": 4, "sentids": [0, 1], "split": "train", "filename": "x.jpg",
            "sentences": [
                {"tokens": ["a", "dog"], "raw": "A dog .", "imgid": 4, "sentid": 0},
                {"raw": "Two dogs !", "imgid": 4, "sentid": 1},
            ],
        },
        {"imgid": 0, "split": "test", "filename": "y.jpg", "sentences": [{"tokens": [], "raw": "?", "sentid": 7}]},
        {
            "imgid": 2, "split": "restval", "filepath": "val2014", "filename": "z.jpg", "cocoid": 391895,
            "sentences": [{"tokens": ["a", "man"], "sentid": 8}],
        },
    ],
}  # fmt: skip


def test_karpathys_format(write):
    data = read_karpathy(write(KARPATHY))
    assert data.names == ["x.jpg", "y.jpg", "val2014/z.jpg"] and data.ids == [4, 0, 2]
    assert data.sentences == [["a dog", "Two dogs !"], [], ["a man"]] and data.left_out == 1
    assert data.splits == ["train", "test", "train"] and data.split("train").ids == [4, 2]
    assert read_karpathy(write(KARPATHY), restval=False).splits == ["train", "test", "restval"]


def changed(whole, *path, to=None):
    """Return a copy in which the entry at a path is another one, or missing."""
    whole = copy.deepcopy(whole)
    here = whole
    for key in path[:-1]:
        here = here[key]
    if to is None:
        del here[path[-1]]
    else:
        here[path[-1]] = to
    return whole


@pytest.mark.parametrize(
    "whole, message",
    [
        (changed(KARPATHY, "images"), r"must be an object with the list images, it lacks images; give a dataset_\*"),
        (changed(KARPATHY, "images", to={"a": 1}), "it lacks images"),
        ([], "it lacks images"),
        (changed(KARPATHY, "images", to=[]), "wanted at least one image"),
        (changed(KARPATHY, "images", 0, to=7), "image at place 0 must have 'imgid', got 7"),
        (changed(KARPATHY, "images", 1, "imgid"), "image at place 1 must have 'imgid'"),
        (changed(KARPATHY, "images", 1, "imgid", to=4), "the imgid of each image .* got 4 at place 1"),
        (changed(KARPATHY, "images", 0, "filename"), "image 4 must have 'filename'"),
        (changed(KARPATHY, "images", 0, "filename", to=3), "image 4: filename must be a string, got 3"),
        (changed(KARPATHY, "images", 2, "filepath", to=3), "image 2: filepath must be a string, got 3"),
        (changed(KARPATHY, "images", 0, "split"), "image 4 must have 'split'"),
        (changed(KARPATHY, "images", 0, "sentences"), "image 4 must have 'sentences'"),
        (changed(KARPATHY, "images", 0, "sentences", to="a"), "image 4: sentences must be a list, got 'a'"),
        (changed(KARPATHY, "images", 0, "sentences", 1, "raw"), "image 4, sentence 1 must have 'raw', got"),
        (
            changed(KARPATHY, "images", 0, "sentences", 0, to="A dog"),
            "image 4, sentence 0 must have 'tokens', got 'A d",
        ),
        (
            changed(KARPATHY, "images", 0, "sentences", 0, "tokens", to="a dog"),
            "image 4, sentence 0: tokens must be a list of strings, got 'a dog'",
        ),
        (changed(KARPATHY, "images", 0, "sentences", 0, "tokens", to=["a", 1]), "tokens must be a list of strings"),
        (
            changed(KARPATHY, "images", 2, "sentences", 0, "sentid", to=7),
            "image 2, sentence 0: sentid must be .* got 7",
        ),
        (changed(KARPATHY, "images", 2, "sentences", 0, "sentid", to=[7]), r"sentid must be a number .* got \[7\]"),
        (b"{", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
    ],
)
def test_faults_of_karpathys_file(whole, message, write):
    with pytest.raises(ValueError, match=message) as caught:
        read_karpathy(write(whole, "dataset.json"))
    text = str(caught.value)
    assert text.startswith("read_karpathy: ") and "dataset.json" in text and len(text.splitlines()) == 1


# ---------------------------------------------------------------------------------------------------------- COCO's JSON
COCO = {
    "info": {},
    "images": [
        {"id": 391895, "file_name": "COCO_val2014_000000391895.jpg", "height": 360, "width": 640},
        {"id": 5, "file_name": "five.jpg"},
        {"id": 6, "file_name": "six.jpg"},
    ],
    "annotations": [
        {"image_id": 6, "id": 37, "caption": "A bicycle \n"},
        {"image_id": 391895, "id": 38, "caption": "A man on a bike."},
        {"image_id": 6, "id": 39, "caption": "..."},
        {"image_id": 6, "caption": "Two wheels"},
    ],
}


def test_coco_captions(write):
    data = read_coco_captions(write(COCO), split="val")
    assert data.names == ["COCO_val2014_000000391895.jpg", "five.jpg", "six.jpg"] and data.ids == [391895, 5, 6]
    assert data.sentences == [["A man on a bike."], [], ["A bicycle", "Two wheels"]] and data.left_out == 1
    assert data.splits == ["val"] * 3 and read_coco_captions(write(COCO)).splits == ["train"] * 3


@pytest.mark.parametrize(
    "whole, message",
    [
        (changed(COCO, "annotations"), "the lists images, annotations, it lacks annotations; give a file of captions"),
        (changed(COCO, "images", to=[]), "wanted at least one image"),
        (changed(COCO, "images", 1, "id", to=6), "the id of each image must be a number of its own, got 6 at place 2"),
        (changed(COCO, "images", 1, "file_name"), "image 5 must have 'file_name'"),
        (
            changed(COCO, "annotations", 0, "image_id", to=9),
            "annotation at place 0 is of the image 9, which the file d",
        ),
        (changed(COCO, "annotations", 0, "image_id"), "annotation at place 0 must have 'image_id'"),
        (changed(COCO, "annotations", 1, "caption"), "annotation at place 1 must have 'caption'"),
        (changed(COCO, "annotations", 1, "caption", to=["A"]), r"place 1: caption must be a string, got \['A'\]"),
        (changed(COCO, "annotations", 1, "id", to=37), "annotation at place 1: id must be a number of its own, got 37"),
        (changed(COCO, "annotations", 1, to=3), "annotation at place 1 must have 'image_id', got 3"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_faults_of_coco_captions(whole, message, write):
    with pytest.raises(ValueError, match=message) as caught:
        read_coco_captions(write(whole, "captions.json"))
    text = str(caught.value)
    assert text.startswith("read_coco_captions: ") and "captions.json" in text and len(text.splitlines()) == 1


def test_missing_files(tmp_path):
    for read in (read_karpathy, read_coco_captions):
        with pytest.raises(FileNotFoundError, match=rf"{read.__name__}: there is no file .*nowhere\.json"):
            read(tmp_path / "nowhere.json")


def test_lists_of_different_lengths():
    with pytest.raises(
        ValueError, match=r"wanted as many names, lists of sentences, splits and ids, got \[1, 1, 1, 2\]"
    ):
        CaptionedImages(["a"], [[]], ["train"], [0, 1])
    assert repr(CaptionedImages([], [], [], [])) == "CaptionedImages(no images, 0 sentences)"
    with pytest.raises(ValueError, match="wanted one of its splits, none, got 'train'"):
        CaptionedImages([], [], [], []).split("train")
