"""``tinyconv caption``: a sentence for each picture, its beam, its regions, a figure; one-line errors."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyconv
from tinyconv import data, models, nn
from tinyconv.captioning.describing import describe_in
from tinyconv.cli.main import main
from tinyconv.data.geometric import ResizeWithin
from tinyconv.models import registry
from tinyconv.models.captioner import Description
from tinyconv.text.beam import beam_search

CLASSES = ["red thing"]
WORDS = ["<end>", "a", "red", "thing", "nothing"]
# START: a .5, nothing .25; a: red .8, thing .2; red: thing; thing and nothing: END
CHAIN = [[0, 0.5, 0, 0, 0.25], [0, 0, 0.8, 0.2, 0], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]


class Speaker:
    def decode(self, words):
        return " ".join(WORDS[k] for k in words)


class Redness(nn.Module):
    """Says "a red thing" of a picture with red pixels and "nothing" of others; the red rectangle is its region.

    As a convolution would, it refuses a picture of fewer than four rows.
    """

    def __init__(self, snippets=True):
        super().__init__()
        self.scale = nn.Linear(1, 1)
        self.sentence = Speaker()
        self.snippet = Speaker() if snippets else None

    def describe(self, image, beam=7, limit=20, *, least=0.5, top=19):
        assert image.dtype == np.float32 and not self.training
        if image.shape[1] < 4:
            raise ValueError(f"redness: images must be at least 4 pixels high, got {image.shape}")
        red = (image[0] > 0.5) & (image[2] < 0.5) if len(image) == 3 else image[0] > 2
        rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
        boxes, scores = np.zeros((0, 4)), np.zeros(0)
        if len(rows) and least <= 0.875:
            boxes = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], float)
            scores = np.array([0.875])
        chain = np.array(CHAIN)
        chain[0] = chain[0] if len(boxes) else [0, 0, 0, 0, 1]
        with np.errstate(divide="ignore"):
            said = beam_search(lambda t, s: (np.log(chain[t]), s), (), beam=beam, limit=limit)
        snippets = ["a red thing"] * len(boxes) if self.snippet else []
        text = self.sentence.decode(said.best.words)
        labels = np.zeros(len(boxes), np.int64)
        return Description(text, said, boxes, labels, scores, snippets, np.full(len(snippets), -0.25))


def redness(snippets=True, *, in_channels=3):
    shape = (in_channels, 64, 64)
    return registry.describe(Redness(snippets), "redness", shape, snippets=snippets, in_channels=in_channels)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder: checkpoints, a picture with a red rectangle at x 20..60, y 10..50, a black one."""
    monkeypatch.chdir(tmp_path)
    build = models.build
    monkeypatch.setattr(models, "build", lambda name, **a: redness(**a) if name == "redness" else build(name, **a))
    tinyconv.manual_seed(0)
    tinyconv.save("net.npz", redness(), classes=CLASSES)
    tinyconv.save("whole.npz", redness(False), classes=CLASSES)
    pixels = np.zeros((80, 100, 3), np.uint8)
    pixels[10:50, 20:60, 0] = 255
    Image.fromarray(pixels).save("street.png")
    Image.fromarray(0 * pixels).save("night.png")
    return tmp_path


def test_a_sentence_its_beam_and_a_figure(here, capsys):
    assert main(["caption", "street.png", "--weights", "net.npz"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "street.png: a red thing",
        "    -0.92  a red thing",  # ln(.5 * .8)
        "    -1.39  nothing",  # ln .25
        "    -2.30  a thing",  # ln(.5 * .2)
        "  (it found one object with a score of 0.5 or more: what the sentence says of others is a guess)",
        f"figure: {Path('tinyconv-output/caption/street-caption.png')}",
        "next: tinyconv caption street.png --weights net.npz --regions",
    ]
    with Image.open("tinyconv-output/caption/street-caption.png") as picture:
        assert min(picture.size) > 400


def test_beam_limit_and_what_is_not_finished(here, capsys):
    assert main(["caption", "street.png", "--weights", "net.npz", "--beam", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["street.png: a red thing", "    -0.92  a red thing"]
    assert main(["caption", "street.png", "--weights", "net.npz", "--limit", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == ["    -0.92  a red ...", "    -1.39  nothing", "    -2.30  a thing ..."]
    assert lines[0] == "street.png: a red"


def test_the_beam_is_the_one_that_was_asked_for_and_three_of_its_sentences_are_printed(here, capsys, monkeypatch):
    """START: a .6, nothing .4; a: red .4, thing .35, END .25: the likeliest first word begins no likeliest sentence."""
    chain = [[0, 0.6, 0, 0, 0.4], [0.25, 0, 0.4, 0.35, 0], *CHAIN[2:]]
    monkeypatch.setitem(globals(), "CHAIN", chain)
    found = {}
    for beam in ([], ["--beam", "2"], ["--beam", "1"]):
        assert main(["caption", "street.png", "--weights", "net.npz", *beam]) == 0
        lines = capsys.readouterr().out.splitlines()
        found[" ".join(beam)] = lines[0], [line.split(maxsplit=1) for line in lines if line.startswith("   ")]
    best = [["-0.92", "nothing"], ["-1.43", "a red thing"], ["-1.56", "a thing"]]  # ln .4, ln .24, ln .21; "a" has .15
    assert found[""] == ("street.png: nothing", best)
    assert found["--beam 2"] == ("street.png: nothing", best[:2])
    assert found["--beam 1"] == ("street.png: a red thing", best[1:2])


def test_regions(here, capsys):
    assert main(["caption", "street.png", "--weights", "net.npz", "--regions", "--out", "found/here"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[4:] == [
        "  regions:",
        "  class      score    left    top  right bottom    log p  snippet",
        "  red thing   0.88      20     10     60     50    -0.25  a red thing",
        "  (it found one object with a score of 0.5 or more: what the sentence says of others is a guess)",
        f"figure: {Path('found/here/street-caption.png')}",
        "next: tinyconv caption street.png --weights net.npz --beam 1",
    ]
    with Image.open("found/here/street-caption.png") as picture:
        assert picture.width > 1.5 * picture.height  # there are words beside the picture


@pytest.mark.parametrize(
    "transform", [ResizeWithin(40, 1000), data.Compose([data.Resize((160, 50), "nearest"), data.Normalize(0.0, 1.0)])]
)
def test_regions_are_scaled_back_to_the_picture(transform, here, capsys):
    tinyconv.save("resized.npz", redness(), transform=transform)
    assert main(["caption", "street.png", "--weights", "resized.npz", "--regions"]) == 0
    assert "  class 0   0.88      20     10     60     50    -0.25  a red thing" in capsys.readouterr().out


def test_nothing_is_found(here, capsys):
    assert main(["caption", "night.png", "--weights", "net.npz", "--regions"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "night.png: nothing",
        "     0.00  nothing",
        "  regions: none",
        "  (it found nothing with a score of 0.5 or more: the sentence is a guess)",
        f"figure: {Path('tinyconv-output/caption/night-caption.png')}",
        "next: tinyconv caption night.png --weights net.npz --beam 1",
    ]
    assert main(["caption", "street.png", "--weights", "net.npz", "--least", "0.9"]) == 0
    assert "it found nothing with a score of 0.9 or more" in capsys.readouterr().out


def test_the_columns_names_stand_above_short_classes(here, capsys):
    tinyconv.save("short.npz", redness(), classes=["3"])
    assert main(["caption", "street.png", "--weights", "short.npz", "--regions"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("  regions:") + 1
    assert lines[start : start + 2] == [
        "  class  score    left    top  right bottom    log p  snippet",
        "  3       0.88      20     10     60     50    -0.25  a red thing",
    ]


def test_what_to_try_next_keeps_what_was_given(here, capsys):
    for given, wanted in (
        ("--least 0.9", "--least 0.9 --regions"),
        ("--least 0.9 --limit 5 --beam 2", "--limit 5 --least 0.9 --beam 2 --regions"),
        ("--least 0.9 --regions", "--least 0.9 --beam 1"),
        ("--beam 1 --regions", "--beam 7"),
    ):
        assert main(["caption", "street.png", "--weights", "net.npz", *given.split()]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last == f"next: tinyconv caption street.png --weights net.npz {wanted}"


def test_a_sentence_without_words_is_said_to_be_one(here, capsys, monkeypatch):
    monkeypatch.setattr(Speaker, "decode", lambda self, words: "")
    assert main(["caption", "street.png", "--weights", "net.npz", "--beam", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["street.png: (no word)", "    -0.92  (no word)"]


def test_several_pictures_and_a_damaged_one(here, capsys):
    Path("other").mkdir()
    Path("other/street.png").write_bytes(Path("street.png").read_bytes())
    files = ["net.npz", "street.png", "night.png", "other/street.png"]
    assert main(["caption", *files, "--weights", "net.npz", "--out", "found"]) == 1
    out, error = capsys.readouterr()
    assert "cannot read the image net.npz" in error and len(error.splitlines()) == 1
    assert out.splitlines()[-1] == "next: tinyconv caption street.png --weights net.npz --regions"
    names = ["night-caption.png", "street-2-caption.png", "street-caption.png"]
    assert sorted(path.name for path in Path("found").iterdir()) == names
    assert main(["caption", "net.npz", "--weights", "net.npz"]) == 1
    assert capsys.readouterr().out == ""


def test_a_picture_that_the_network_cannot_take_is_skipped(here, capsys):
    tinyconv.save("real.npz", models.captioner(WORDS, 2, scale="lesson", width=0.5))
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save("tiny.png")
    for weights in ("net.npz", "real.npz"):
        files = ["tiny.png", "street.png", "tiny.png", "night.png"]
        assert main(["caption", *files, "--weights", weights, "--limit", "3", "--out", weights[:-4]]) == 1
        out, error = capsys.readouterr()
        assert [line.split(": ")[:2] for line in error.splitlines()] == [["tinyconv", "tiny.png"]] * 2
        assert "tiny.png" not in out and out.splitlines()[-1].startswith("next: tinyconv caption street.png")
        names = ["night-caption.png", "street-caption.png"]
        assert sorted(path.name for path in Path(weights[:-4]).iterdir()) == names
    assert main(["caption", "tiny.png", "--weights", "net.npz"]) == 1
    assert capsys.readouterr().out == ""


def test_grey_and_large_pictures(here, capsys):
    tinyconv.save("grey.npz", redness(in_channels=1), classes=CLASSES)
    Image.fromarray(np.zeros((300, 200), np.uint8)).save("large.png")
    for weights in ("grey.npz", "net.npz"):
        assert main(["caption", "large.png", "street.png", "--weights", weights]) == 0
        out = capsys.readouterr().out
        hint = "(it learned from pictures of 64 x 64, this one has 200 x 300: objects should be as large"
        assert out.count("it learned from pictures") == 1 and hint in out
        said = "nothing" if weights == "grey.npz" else "a red thing"  # red is a dark grey
        assert f"street.png: {said}\n" in out


def test_a_real_captioner(here, capsys):
    model = models.captioner(WORDS, 2, scale="lesson", width=0.5)
    transform = data.Normalize(0.5, 0.25)
    tinyconv.save("real.npz", model, classes=["one", "two"], transform=transform)
    command = ["caption", "street.png", "--weights", "real.npz", "--regions", "--least", "0.01", "--limit", "4"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    image, loaded = data.read_image("street.png"), tinyconv.load("real.npz")
    said = describe_in(image, loaded, transform, beam=7, limit=4, least=0.01)
    assert lines[0] == f"street.png: {said.sentence or '(no word)'}"
    assert lines[1].split()[0] == f"{said.beam.best.log_probability:.2f}"
    assert 1 <= len(said.boxes) == len(said.snippets) <= 19
    regions = lines[lines.index("  regions:") + 2 :]
    for line, box, value, text in zip(regions, said.boxes, said.log_probabilities, said.snippets, strict=False):
        assert line.split()[0] in ("one", "two")
        assert line.split()[2:7] == [*(f"{edge:.0f}" for edge in box), f"{value:.2f}"]
        assert line.endswith(text or "(no word)")
    assert regions[len(said.boxes)].startswith(("figure: ", "  (it found one object"))


def test_without_weights_it_is_the_lessons_captioner(here, capsys):
    assert main(["caption", "street.png"]) == 2
    error = capsys.readouterr().err
    assert f"there is no {Path('tinyconv-output/08/model.npz')} yet: tinyconv lesson 08_captioning" in error
    Path("tinyconv-output/08").mkdir(parents=True)
    Path("net.npz").rename("tinyconv-output/08/model.npz")
    assert main(["caption", "street.png"]) == 0
    assert "street.png: a red thing" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [["predict", "street.png"], ["explain", "filters"], ["detect", "street.png"], ["sample"]], ids=" ".join
)
def test_other_commands_name_this_one(command, here, capsys):
    assert main([*command, "--weights", "net.npz"]) == 2
    wanted = "net.npz holds a captioner; tinyconv caption IMAGE --weights net.npz says what is in a picture"
    assert capsys.readouterr().err == f"tinyconv: {wanted}\n"


@pytest.mark.parametrize("name", ["caption", "alignment"])
@pytest.mark.parametrize(
    "command",
    [
        ["caption", "street.png"],
        ["predict", "street.png"],
        ["explain", "filters"],
        ["detect", "street.png"],
        ["sample"],
    ],
    ids=" ".join,
)
def test_a_model_of_features_is_no_use_to_any_command(name, command, here, capsys):
    tinyconv.save("part.npz", models.build(name, words=WORDS, features=8, scale="lesson"))
    assert main([*command, "--weights", "part.npz"]) == 2
    wanted = f"part.npz holds {name}, which is given features of images, not pictures; see lesson 08"
    assert capsys.readouterr().err == f"tinyconv: {wanted}\n"


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["none.png"], 1, "caption: there is no file none.png"),
        (["my pics"], 2, "my pics is a folder; give its pictures: tinyconv caption 'my pics'/*.png"),
        (["net.npz"], 1, "cannot read the image net.npz"),
        (["street.png", "--weights", "none.npz"], 1, "none.npz"),
        (["street.png", "--weights", "street.png"], 2, "street.png is no checkpoint of tinyconv; tinyconv train capti"),
        (["street.png", "--weights", "lenet.npz"], 2, "lenet.npz holds lenet5, which says no sentences; tinyconv pred"),
        (["street.png", "--weights", "faster.npz"], 2, "faster.npz holds a detector; tinyconv detect IMAGE --weights"),
        (["street.png", "--weights", "gan.npz"], 2, "gan.npz holds a generator of images; tinyconv sample --weights"),
        (["street.png", "--weights", "whole.npz", "--regions"], 2, "--regions: whole.npz has no model for regions"),
        (["street.png", "--weights", "crop.npz"], 1, "caption: the transform must leave every pixel in the image"),
        (["street.png", "--beam", "0"], 2, "--beam must be from 1 to 1000, got 0"),
        (["street.png", "--beam", "1001"], 2, "--beam must be from 1 to 1000, got 1001"),
        (["street.png", "--beam", "two"], 2, "argument --beam: invalid int value: 'two'"),
        (["street.png", "--limit", "-1"], 2, "--limit must be from 1 to 1000, got -1"),
        (["street.png", "--least", "2"], 2, "--least is a probability in [0, 1], got 2"),
        (["street.png", "--least", "nan"], 2, "--least is a probability in [0, 1], got nan"),
        (["street.png", "--out", "net.npz"], 2, "--out must name a folder, got the file net.npz"),
        (["street.png", "--out", "net.npz/deeper"], 1, "cannot write to the folder net.npz/deeper"),
        ([], 2, "the following arguments are required: IMAGE"),
    ],
)
def test_errors_are_one_line(arguments, code, message, here, capsys):
    Path("my pics").mkdir()
    tinyconv.save("lenet.npz", models.lenet5())
    tinyconv.save("faster.npz", models.faster_rcnn(2, scale="lesson", width=0.25))
    tinyconv.save("gan.npz", models.gan(image_size=8, scale="lesson", width=0.1))
    tinyconv.save("crop.npz", redness(), transform=data.CenterCrop(20))
    given = [] if "--weights" in arguments else ["--weights", "net.npz"]
    assert main(["caption", *arguments, *given]) == code
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1 and error.startswith("tinyconv: ")
