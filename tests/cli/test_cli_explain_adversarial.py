"""``tinyconv explain adversarial``: what it says is what the library finds; pictures, controls, one-line errors."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyconv
from tinyconv import data, models, nn
from tinyconv.cli.explain_adversarial import EPS
from tinyconv.cli.main import main
from tinyconv.cli.models import Opened
from tinyconv.explain.adversarial import distortion, fgsm, pixel_model, scores
from tinyconv.explain.layers import probabilities
from tinyconv.explain.minimal import minimal_attack

CLASSES = [f"thing {k}" for k in range(10)]
TRANSFORM = data.Compose([data.Resize(28), data.CenterCrop(28), data.Normalize((0.25,), (0.5,))])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder: a network's checkpoint and a large colour picture."""
    monkeypatch.chdir(tmp_path)
    tinyconv.manual_seed(0)
    model = models.zfnet(10, scale="lesson", in_channels=1, width=0.25)
    tinyconv.save("net.npz", model, classes=CLASSES, transform=TRANSFORM)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(30, 220, (60, 84, 3), np.uint8)).save("photo.png")
    return tmp_path


def prepared():
    """Return the network on pixels, the picture's pixels as it takes them, and its probabilities."""
    geometry, model = pixel_model(tinyconv.load("net.npz"), TRANSFORM)
    image = geometry(data.read_image("photo.png", "L"))[None]
    return model, image, probabilities(scores(model, image))[0]


def explain(*more, weights="net.npz"):
    return main(["explain", "adversarial", "--image", "photo.png", "--weights", weights, *more])


def test_the_least_eps_of_the_list_that_changes_the_answer(here, capsys):
    assert explain() == 0
    lines = capsys.readouterr().out.splitlines()
    model, image, before = prepared()
    says = int(before.argmax())
    changed = {eps: fgsm(model, image, says, eps) for eps in EPS}
    least = next(eps for eps in EPS if scores(model, changed[eps]).argmax() != says)
    after = probabilities(scores(model, changed[least]))[0]
    assert lines[0] == f"photo.png: thing {says} {before[says]:.1%}"
    assert lines[1] == f"with eps {least:g}: thing {after.argmax()} {after.max():.1%}, thing {says} {after[says]:.1%}"
    found = re.fullmatch(
        r"root mean square change ([\d.]+); random signs of size ([\d.]+) .* in (\d+) of 10 draws", lines[2]
    )
    assert float(found[1]) == pytest.approx(distortion(image, changed[least])[0], rel=5e-3)
    assert float(found[2]) == pytest.approx(least, rel=1e-3)
    assert lines[3] == f"figure: {Path('tinyconv-output/explain/adversarial-photo.png')}"
    with Image.open(here / "tinyconv-output/explain/adversarial-photo.png") as figure:
        assert figure.width > 2 * figure.height


def test_an_eps_of_ones_own_that_is_too_small_says_so(here, capsys):
    assert explain("--eps", "1e-6", "--out", "a/b") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("with eps 1e-06: thing ") and lines[2] == "that does not make it another class"
    assert lines[3].endswith("in 0 of 10 draws") and lines[4] == f"figure: {Path('a/b.png')}"


def test_a_target(here, capsys):
    says = int(prepared()[2].argmax())
    target = (says + 3) % 10
    assert explain("--eps", "0.25", "--class", f"thing {target}") == 0
    out = capsys.readouterr().out
    model, image, before = prepared()
    after = probabilities(scores(model, fgsm(model, image, None, 0.25, target=target)))[0]
    assert f"thing {target} {after[target]:.1%}" in out and after[target] > before[target]
    shown = dict.fromkeys([int(after.argmax()), target, says])  # the old answer, too
    assert f"with eps 0.25: {', '.join(f'thing {k} {after[k]:.1%}' for k in shown)}\n" in out
    assert (after.argmax() == target) != (f"that does not make it thing {target}" in out)
    assert explain("--class", str(says)) == 2
    assert f"the network says thing {says} already; choose another --class" in capsys.readouterr().err


def test_the_minimal_method(here, capsys):
    says = int(prepared()[2].argmax())
    target = (says + 3) % 10
    assert explain("--method", "minimal", "--class", f"thing {target}") == 0
    lines = capsys.readouterr().out.splitlines()
    model, image, _ = prepared()
    found = minimal_attack(model, image, target)
    assert found.success.all()
    after = probabilities(scores(model, found.images))[0]
    assert after[says] == pytest.approx(after[target], rel=0.02)  # about equally likely
    size, border = f"{found.distortion[0]:.3g}", "just over the border, both about equally likely"
    both = f"thing {target} {after[target]:.1%}, thing {says} {after[says]:.1%}"
    assert lines[1] == f"with a distortion of {size}, {border}: {both}"
    assert lines[2].startswith(f"root mean square change {size}; random signs of size {size} change")
    assert explain("--method", "minimal") == 0
    free = minimal_attack(model, image)
    assert f"with a distortion of {free.distortion[0]:.3g}, {border}: thing " in capsys.readouterr().out


@pytest.mark.parametrize("method", ["fgsm", "minimal"])
def test_the_changed_picture_is_saved_and_read_again(method, here, capsys):
    """A change that ends on the border between two classes may be lost in 8 bits; then that is said."""
    assert explain("--method", method, "--save", "new/changed.png") == 0
    out = capsys.readouterr().out
    model, image, before = prepared()
    says = int(before.argmax())
    steps = (fgsm(model, image, says, eps) for eps in EPS)
    wrong = (changed for changed in steps if scores(model, changed).argmax() != says)
    changed = next(wrong) if method == "fgsm" else minimal_attack(model, image).images
    pixels = data.read_image("new/changed.png", "L")
    assert pixels.shape == (1, 28, 28)
    np.testing.assert_allclose(pixels, changed[0], atol=0.5 / 255 + 1e-6)
    again = probabilities(scores(model, pixels[None]))[0]
    lost = "; rounding has undone the change" if again.argmax() == says else ""
    assert f"read back from its 8 bits: thing {again.argmax()} {again.max():.1%}{lost}\n" in out


def test_the_picture_that_is_read_again_is_not_prepared_again(here, capsys):
    """After Resize(32) and CenterCrop(28) it is (28, 28); resized once more it would be another picture."""
    transform = data.Compose([data.Resize(32), data.CenterCrop(28), data.Normalize((0.25,), (0.5,))])
    tinyconv.save("crop.npz", tinyconv.load("net.npz"), classes=CLASSES, transform=transform)
    assert explain("--eps", "0.25", "--save", "changed.png", weights="crop.npz") == 0
    out = capsys.readouterr().out
    _, model = pixel_model(tinyconv.load("crop.npz"), transform)
    pixels = data.read_image("changed.png", "L")
    assert pixels.shape == (1, 28, 28)
    again, twice = (
        probabilities(scores(model, image[None].clip(0, 1)))[0]
        for image in (pixels, data.CenterCrop(28)(data.Resize(32)(pixels)))
    )
    assert f"read back from its 8 bits: thing {again.argmax()} {again.max():.1%}" in out
    assert f"{again.max():.1%}" != f"{twice.max():.1%}"  # the difference shows


@pytest.mark.parametrize(
    "save, out, message",
    [
        ("x.png", "x.png", "--save must name a file of its own, got x.png, which is the figure"),
        ("a/../x.png", "x", "got a/../x.png, which is the figure"),
        ("tinyconv-output/explain/adversarial-photo.png", None, "which is the figure"),
        ("photo.png", None, "--save must name a file of its own, got photo.png, which is your picture"),
        ("link.png", None, "got link.png, which is your picture"),
        ("hard.png", None, "got hard.png, which is your picture"),
    ],
)
def test_nothing_is_written_over(save, out, message, here, capsys):
    (here / "a").mkdir()
    (here / "link.png").symlink_to("photo.png")
    (here / "hard.png").hardlink_to(here / "photo.png")
    before = (here / "photo.png").read_bytes()
    assert explain("--save", save, *([] if out is None else ["--out", out])) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert (here / "photo.png").read_bytes() == before and not (here / "x.png").exists()


def test_a_network_that_cannot_be_moved(here, capsys):
    """All weights 0: no eps and no method changes anything, and that is said."""
    model = models.zfnet(10, scale="lesson", in_channels=1, width=0.25)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    tinyconv.save("zero.npz", model, classes=CLASSES, transform=TRANSFORM)
    for method in ("fgsm", "minimal"):
        assert (
            main(["explain", "adversarial", "--image", "photo.png", "--weights", "zero.npz", "--method", method]) == 0
        )
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].startswith("with eps 0.5: " if method == "fgsm" else "no change found: ")
        assert lines[2] == "that does not make it another class" and lines[3].startswith("figure: ")


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["--eps", "0"], 2, "--eps must be in (0, 1], where pixels are, got 0"),
        (["--eps", "1.5"], 2, "--eps must be in (0, 1], where pixels are, got 1.5"),
        (["--eps", "nan"], 2, "--eps must be in (0, 1], where pixels are, got nan"),
        (["--method", "lbfgs"], 2, "there is no method 'lbfgs'"),
        (["--method", "minimal", "--eps", "0.1"], 2, "--eps is the size of fgsm's step"),
        (["--layer", "conv1"], 2, "--layer does not belong to adversarial; it is for deconvnet"),
        (["--map", "0"], 2, "--map does not belong to adversarial; it is for deconvnet, saliency"),
        (["--unpool", "write"], 2, "--unpool does not belong to adversarial"),
        (["--size", "7"], 2, "--size does not belong to adversarial; it is for occlusion"),
        (["--stride", "3"], 2, "--stride does not belong to adversarial"),
        (["--value", "0"], 2, "--value does not belong to adversarial"),
        (["--class", "thing"], 2, "there is no class 'thing'; did you mean"),
        (["--class", "10"], 2, "must be in [0, 10), got 10"),
        (["--save", "x.jpg"], 2, "--save must end in .png, got x.jpg"),
        (["--out", "x.jpg"], 2, "--out must end in .png"),
    ],
)
def test_bad_input_is_one_line(arguments, code, message, here, capsys):
    assert explain(*arguments) == code
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_networks_that_are_no_classifiers(here, capsys):
    tinyconv.manual_seed(0)
    tinyconv.save("gan.npz", models.gan(width=0.1))
    assert explain(weights="gan.npz") == 2
    assert "gan.npz holds a generator of images; tinyconv sample" in capsys.readouterr().err
    faster = models.faster_rcnn(3, scale="lesson")
    tinyconv.save("faster.npz", faster)
    assert explain(weights="faster.npz") == 2
    assert "faster.npz holds a detector; tinyconv detect IMAGE" in capsys.readouterr().err
    assert main(["explain", "adversarial", "--weights", "net.npz"]) == 2
    assert "--image is missing: which picture shall adversarial explain?" in capsys.readouterr().err
    padded = data.Compose([data.Normalize((0.25,), (0.5,)), data.Pad(0)])
    tinyconv.save("padded.npz", tinyconv.load("net.npz"), classes=CLASSES, transform=padded)
    assert explain(weights="padded.npz") == 1
    error = capsys.readouterr().err
    assert "got Normalize with Pad after it" in error and len(error.splitlines()) == 1


def test_trained_convolutions_without_classes(here, capsys, monkeypatch):
    opened = Opened(tinyconv.load("net.npz"), TRANSFORM, None, trunk=True)
    monkeypatch.setattr("tinyconv.cli.models.open_model", lambda _options: opened)
    assert explain() == 2
    assert "net.npz has convolutions only, no classes" in capsys.readouterr().err
