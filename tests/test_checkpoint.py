"""Checkpoints: what comes back, what is refused with a clear error; nothing is ever half loaded or half written."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv
from tinyconv import data, models, nn, optim
from tinyconv.checkpoint import Checkpoint, CheckpointError
from tinyconv.checkpoint_file import FORMAT, pack, read_file, unpack


def build(hidden=5, seed=0):
    """Return a small model with parameters and buffers."""
    tinyconv.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, hidden))


def trained(steps=2, make=lambda p: optim.SGD(p, 0.1, momentum=0.9)):
    """Return a model and an optimizer with a state."""
    model = build()
    optimizer = make(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        (model(tinyconv.randn(3, 1, 4, 4)) ** 2).mean().backward()
        optimizer.step()
    return model, optimizer


def arrays(model):
    """Return copies of the model's arrays."""
    return {key: value.numpy().copy() for key, value in model.state_dict().items()}


def assert_same(a, b):
    """Every array is equal, bit by bit."""
    assert a.keys() == b.keys()
    assert all(a[key].tobytes() == b[key].tobytes() for key in a)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Return the bytes of a good checkpoint."""
    path = tmp_path_factory.mktemp("good") / "good.npz"
    model, optimizer = trained()
    tinyconv.save(path, model, optimizer, epoch=3)
    return path.read_bytes()


def refused(path, match, model=None, optimizer=None):
    """Loading raises a ValueError that matches and names the file, and leaves model and optimizer as they were."""
    model = build(seed=9) if model is None else model
    before = arrays(model)
    with pytest.raises(ValueError, match=match) as caught:
        tinyconv.load_into(model, path, optimizer)
    assert path.name in str(caught.value)
    assert_same(arrays(model), before)


# --------------------------------------------------------------------------------------------------------- round trip
@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, 0.1),
        lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        lambda p: optim.AlexNetSGD(p),
        lambda p: optim.Adam(p, 0.01),
        lambda p: optim.RMSprop(p, 0.01, momentum=0.5, centered=True),
        lambda p: optim.SGD([{"params": [q], "lr": 0.1 + i} for i, q in enumerate(p)], 0.1, momentum=0.5),
    ],
    ids=["sgd", "nesterov", "alexnet", "adam", "rmsprop", "groups"],
)
def test_model_and_optimizer_go_on_as_if_never_saved(make, tmp_path):
    path = tmp_path / "a.npz"
    model, optimizer = trained(2, make)
    tinyconv.save(path, model, optimizer)
    found = build(seed=1)
    found_optimizer = make(found.parameters())
    tinyconv.load_into(found, path, found_optimizer)
    assert_same(arrays(found), arrays(model))
    x = tinyconv.randn(3, 1, 4, 4)
    for net, opt in ((model, optimizer), (found, found_optimizer)):
        opt.zero_grad()
        (net(x) ** 2).mean().backward()
        opt.step()
    assert_same(arrays(found), arrays(model))


def test_the_same_content_gives_the_same_bytes(tmp_path):
    model, optimizer = trained()
    first = tinyconv.save(tmp_path / "a.npz", model, optimizer).read_bytes()
    assert tinyconv.save(tmp_path / "b.npz", model, optimizer).read_bytes() == first


def test_numpy_reads_it_without_pickle(good, tmp_path):
    with np.load(io.BytesIO(good), allow_pickle=False) as archive:
        assert str(archive["format"]) == FORMAT
        assert archive["model/0.weight"].shape == (2, 1, 3, 3)
        assert json.loads(str(archive["meta"]))["epoch"] == 3
        assert {name.split("/")[0] for name in archive.files} == {"format", "model", "optim", "meta"}


def test_load_rebuilds_the_model_with_its_record(tmp_path):
    model = models.build("alexnet", num_classes=3, scale="lesson", in_channels=1, width=0.1)
    transform = data.Compose([data.Resize((28, 28)), data.Normalize(np.float32([0.1]), 0.3)])
    tinyconv.save(tmp_path / "a.npz", model, classes=["a", "b", "c"], transform=transform, note={"lr": np.float32(0.5)})
    found = tinyconv.load(tmp_path / "a.npz")
    assert_same(arrays(found), arrays(model))
    assert not found.training and found.config == model.config
    assert found.meta["classes"] == ["a", "b", "c"] and found.meta["note"] == {"lr": 0.5}
    assert set(found.meta["versions"]) == {"tinyconv", "python", "numpy", "numba"}
    image = np.random.default_rng(0).random((1, 30, 20), np.float32)
    again = data.from_description(found.meta["transform"])
    assert np.array_equal(again(image), transform(image))
    x = tinyconv.randn(2, 1, 28, 28)
    assert np.array_equal(found(x).detach().numpy(), model.eval()(x).detach().numpy())


def test_floats_of_another_size_are_converted(tmp_path):
    tinyconv.save(tmp_path / "a.npz", build())
    model = build(seed=1).double()
    tinyconv.load_into(model, tmp_path / "a.npz")
    assert model[0].weight.dtype == np.float64
    assert np.array_equal(model[0].weight.detach().numpy(), build()[0].weight.detach().numpy())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just(np.arange(3.0)),
        lambda inner: st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_pack_and_unpack(tree):
    found: dict = {}
    record = json.loads(json.dumps(pack(tree, "optim", found)))

    def same(a, b):
        assert type(a) is type(b)
        if isinstance(a, np.ndarray):
            assert np.array_equal(a, b)
        elif isinstance(a, dict):
            assert list(a) == list(b)
            [same(a[key], b[key]) for key in a]
        elif isinstance(a, (list, tuple)):
            assert len(a) == len(b)
            [same(x, y) for x, y in zip(a, b, strict=True)]
        else:
            assert a == b

    same(unpack(record, found), tree)


# -------------------------------------------------------------------------------------------------- damaged and foreign
def test_every_truncation_is_refused(good, tmp_path):
    """Every prefix: within the end record, the directory, each member's header and data, and the empty file."""
    path = tmp_path / "cut.npz"
    step = max(1, len(good) // 150)
    lengths = sorted({*range(0, 80), *range(0, len(good), step), *range(len(good) - 80, len(good))})
    model = build(seed=9)
    before = arrays(model)
    for length in lengths:
        path.write_bytes(good[:length])
        with pytest.raises(ValueError, match=r"cut\.npz \(\d+ bytes\), which is truncated, damaged"):
            tinyconv.load_into(model, path)
    assert_same(arrays(model), before)


@given(st.data())
def test_a_changed_byte_is_refused_or_harmless(good, tmp_path_factory, draw):
    """Data and names have checksums; other bytes (dates, padding) may change nothing that is read."""
    raw = bytearray(good)
    raw[draw.draw(st.integers(0, len(raw) - 1))] ^= draw.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    path.write_bytes(raw)
    try:
        found, meta = read_file(path)
    except CheckpointError as problem:
        assert "changed.npz" in str(problem)
    else:
        path.write_bytes(good)
        wanted, wanted_meta = read_file(path)
        assert_same(found, wanted)
        assert meta == wanted_meta


def members(good):
    """Return the members of a checkpoint as arrays."""
    with np.load(io.BytesIO(good), allow_pickle=False) as archive:
        return dict(archive)


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (PNG, r"got .*file\.npz \(264 bytes\), which is truncated, damaged or another kind of file"),
        (b"hello", "another kind of file"),
        ({"a": np.ones(3)}, r'an npz with a member "format"\), got .*file.npz with the members a; for foreign'),
        ({}, "with the members none"),
        ({"format": np.array("PyTorch")}, "got 'PyTorch' in .*another program"),
        ({"format": np.array("tinyconv-checkpoint-99")}, "another version of tinyconv: update tinyconv"),
        ({"format": np.array(FORMAT)}, "KeyError: 'meta'"),
        ({"format": np.array(FORMAT), "meta": np.array("{broken")}, "damaged"),
        ({"format": np.array(FORMAT), "meta": np.array("[1]")}, "must be a JSON object, got list"),
        ({"format": np.array({"an": "object"}, object), "meta": np.array("{}")}, "allow_pickle=False"),
        ({"format": np.array(FORMAT), "model/x": np.array([{}], object)}, "allow_pickle=False"),
    ],
    ids=["png", "text", "npz", "empty", "program", "version", "no meta", "bad meta", "list", "pickle", "pickle2"],
)
def test_foreign_files_are_refused(content, match, tmp_path):
    path = tmp_path / "file.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    refused(path, match)
    with pytest.raises(ValueError, match=match):
        tinyconv.load(path)


def test_a_pickle_in_a_member_is_never_run(good, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    bomb = np.array([Bomb()], object)
    np.savez(tmp_path / "bomb.npz", **{"format": np.array(FORMAT), "meta": np.array("{}"), "model/w": bomb})
    refused(tmp_path / "bomb.npz", "allow_pickle=False")
    assert not (tmp_path / "ran").exists()


def test_a_header_that_promises_too_much_is_refused(good, tmp_path):
    """An array of 2^60 elements in a file of 300 bytes: an error, not the machine's memory."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (1 << 60,)})
    with zipfile.ZipFile(tmp_path / "big.npz", "w") as archive:
        for name, array in {"format": np.array(FORMAT), "meta": np.array("{}")}.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array)
        archive.writestr("model/w.npy", head.getvalue())
    refused(tmp_path / "big.npz", "truncated, damaged")


def test_a_member_that_would_begin_before_the_file_is_refused(good, tmp_path):
    raw = bytearray(good)
    end = raw.rindex(b"PK\x05\x06")
    offset = int.from_bytes(raw[end + 16 : end + 20], "little")
    raw[end + 16 : end + 20] = (offset + 1000).to_bytes(4, "little")  # zipfile takes the difference for a prefix
    (tmp_path / "moved.npz").write_bytes(raw)
    refused(tmp_path / "moved.npz", "truncated, damaged")


@pytest.mark.parametrize("header", [b"{'descr': '<f4', 'shape': (2, ", b"  {\n {", b"{'descr': '|O'}", b"(" * 40])
def test_a_header_that_cannot_be_read_is_refused(header, good, tmp_path):
    raw = b"\x93NUMPY\x01\x00" + len(header + b"\n").to_bytes(2, "little") + header + b"\n"
    with zipfile.ZipFile(tmp_path / "head.npz", "w") as archive:
        for name, array in {"format": np.array(FORMAT), "meta": np.array("{}")}.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array)
        archive.writestr("model/w.npy", raw)
    refused(tmp_path / "head.npz", "truncated, damaged")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.pop("model/0.weight"), "does not fit the model: 0.weight is missing.*Nothing was loaded"),
        (lambda m: m.update({"model/extra": np.ones(2)}), "extra is not in the model"),
        (
            lambda m: m.update({"model/3.weight": np.ones((7, 8), np.float32)}),
            r"3.weight must be float32 \(5, 8\), got float32 \(7, 8\)",
        ),
        (lambda m: m.update({"model/3.bias": np.ones(5, np.int32)}), r"3.bias must be float32 \(5,\), got int32"),
    ],
    ids=["missing", "unexpected", "shape", "dtype"],
)
def test_weights_of_another_model_are_refused(change, match, good, tmp_path):
    found = members(good)
    change(found)
    np.savez(tmp_path / "other.npz", **found)
    refused(tmp_path / "other.npz", match)


def test_many_differences_are_cut_short(tmp_path):
    tinyconv.save(tmp_path / "a.npz", models.build("alexnet", num_classes=3, scale="lesson", width=0.1))
    refused(tmp_path / "a.npz", r"and \d+ more.*build the model as the file's was \(alexnet\(num_classes=3, variant=")


def test_the_state_of_another_optimizer_is_refused(good, tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(good)
    for optimizer, match in (
        (optim.Adam(build().parameters(), 0.1), "is of another optimizer"),
        (optim.SGD(list(build().parameters())[:2], 0.1), r"wanted groups of \[2\] parameters .* got \[6\]"),
        (optim.SGD(build(hidden=7).parameters(), 0.1, momentum=0.9), r"wanted shape \(7, 8\), got \(5, 8\)"),
    ):
        refused(path, match, optimizer=optimizer)
        assert not optimizer.state
    tinyconv.save(path, build())
    refused(path, "holds no optimizer's state", optimizer=optim.SGD(build().parameters(), 0.1))
    meta = {"optim": {"dict": [["state", {"array": "optim/nowhere"}], ["param_groups", {"list": []}]]}}
    found = members(good) | {"meta": np.array(json.dumps(meta))}
    np.savez(path, **found)
    refused(path, "state in .* is damaged", optimizer=optim.SGD(build().parameters(), 0.1))


def test_models_that_cannot_be_rebuilt(good, tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(good)
    with pytest.raises(ValueError, match=r"names the model's builder, got none in .*a\.npz; .*load_into"):
        tinyconv.load(path)
    for config in ({"builder": "alexnut", "arguments": {}}, {"builder": "alexnet", "arguments": {"colour": 1}}):
        model = build()
        model.config = config
        tinyconv.save(path, model)
        with pytest.raises(ValueError, match=r"this version of tinyconv cannot build \(.*load it with tinyconv 0"):
            tinyconv.load(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape("there is no checkpoint") + ".*no.npz; give another path"):
        tinyconv.load(tmp_path / "no.npz")
    with pytest.raises(ValueError, match="got the folder .*; name the .npz file in it"):
        tinyconv.load(tmp_path)
    with pytest.raises(IsADirectoryError, match="add a file name"):
        tinyconv.save(tmp_path, build())


# -------------------------------------------------------------------------------------------------------------- writing
def test_a_crash_while_writing_leaves_the_old_file(good, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    path.write_bytes(good)
    written = []

    def full(descriptor):
        written.append([p.stat().st_size for p in tmp_path.glob(".a.npz.*.tmp")])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        tinyconv.save(path, build())
    assert written[0][0] > 1000  # it was all but done
    assert path.read_bytes() == good and [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_what_a_killed_process_left_is_cleared_after_an_hour(tmp_path):
    old, new = tmp_path / ".a.npz.1.tmp", tmp_path / ".a.npz.2.tmp"
    for left, age in ((old, 4000), (new, 10)):
        left.write_bytes(b"half")
        os.utime(left, (left.stat().st_atime - age, left.stat().st_mtime - age))
    tinyconv.save(tmp_path / "a.npz", build())
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.npz.2.tmp", "a.npz"]


def test_the_name_is_taken_as_it_is_and_folders_are_made(tmp_path):
    assert tinyconv.save(tmp_path / "new" / "folder" / "model", build()) == tmp_path / "new" / "folder" / "model"
    assert Checkpoint.read(tmp_path / "new" / "folder" / "model").meta["optim"] is None


@pytest.mark.parametrize(
    ("meta", "error", "match"),
    [
        ({"classes": {1, 2}}, TypeError, "classes must be made of numbers, texts, lists and dicts, got set"),
        ({"transform": lambda image: image}, TypeError, "transform must be made of .*, got function"),
        ({"versions": 1}, ValueError, "must not be named builder, versions, optim, got 'versions'"),
    ],
)
def test_a_record_that_cannot_be_written_is_refused(meta, error, match, tmp_path):
    with pytest.raises(error, match=match):
        tinyconv.save(tmp_path / "a.npz", build(), **meta)
    assert not list(tmp_path.iterdir())


def test_a_model_without_elements_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="no elements"):
        tinyconv.save(tmp_path / "a.npz", build().to("meta"))
