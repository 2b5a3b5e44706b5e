"""safetensors, npz, our own checkpoints, and what is none of them; what is refused, and with what words."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv
import weights_tools as tools
from tinyconv import models, weights
from tinyconv.weights import WeightsError
from weights_tools import GRID, SIX, refused


def entry(begin, end, shape=(2, 3), dtype="F32"):
    """Return one entry of the header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize("file", [None, 3, b"net.pth"])
def test_what_is_no_path_is_one_clear_line(file):
    text = r"^weights\.read: wanted the path of a file, got an? \w+; give a str or a Path$"
    with pytest.raises(TypeError, match=text):
        weights.read(file)


# ----------------------------------------------------------------------------------------------------- safetensors
def test_safetensors_made_by_hand(tmp_path):
    header = {
        "__metadata__": {"format": "pt"},
        "grid": entry(0, 24),
        "half": entry(24, 28, (2,), "F16"),
        "bf": entry(28, 32, (2,), "BF16"),
        "count": entry(32, 40, (), "I64"),
        "yes": entry(40, 42, (2,), "BOOL"),
        "none": entry(42, 42, (0, 5)),
    }
    raw = SIX + b"\x00\x3c\x00\xc1" + b"\x80\x3f\x49\xc0" + struct.pack("<q", 7) + b"\x01\x00"
    found = weights.read(tools.write_safetensors(tmp_path / "a.safetensors", header, raw))
    assert list(found) == ["grid", "half", "bf", "count", "yes", "none"]
    assert np.array_equal(found["grid"], GRID) and found["half"].tolist() == [1, -2.5]
    assert found["bf"].tolist() == [1, -3.140625] and found["half"].dtype == found["bf"].dtype == np.float32
    assert found["count"].shape == () and found["count"] == 7 and found["count"].dtype == np.int64
    assert found["yes"].tolist() == [True, False] and found["none"].shape == (0, 5)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ({"a": entry(0, 20)}, "'a' of shape (2, 3) needs 24 bytes: the header gives it 0 to 20 of 24"),
        ({"a": entry(4, 28)}, "gives it 4 to 28 of 24"),
        ({"a": entry(0, 24, (2, 3), "F64")}, "needs 48 bytes"),
        ({"a": entry(0, 24), "b": entry(0, 24)}, "'b' begins at byte 0 and not at 24"),
        ({"a": entry(4, 24, (5,))}, "'a' begins at byte 4 and not at 0"),
        ({"a": entry(0, 20, (5,))}, "whose tensors need 20 bytes, 24 are there"),
        ({"a": entry(0, 24, (2, 3), "F8_E4M3")}, "of a type that is not read: 'F8_E4M3'"),
        ({"a": entry(0, 24, (-2, -3))}, "damaged at the tensor 'a'"),
        ({"a": entry(0, 24, (2.0, 3))}, "damaged at the tensor 'a'"),
        ({"a": entry(0, 24, (2**60, 2**60))}, "damaged at the tensor 'a'"),
        ({"a": {"dtype": "F32"}}, "damaged at the tensor 'a'"),
        ({"a": 3}, "damaged at the tensor 'a'"),
        (b"{]", "header is not JSON"),
        (b"{" + b'"a":[' * 20_000, "header is not JSON"),
    ],
    ids=range(14),
)
def test_safetensors_that_lie(tmp_path, header, part):
    refused(tools.write_safetensors(tmp_path / "a.safetensors", header, SIX), part)


def test_a_header_longer_than_the_file(tmp_path):
    path = tools.write_safetensors(tmp_path / "a.safetensors", {"a": entry(0, 24)}, SIX)
    path.write_bytes(struct.pack("<Q", 10_000) + path.read_bytes()[8:])
    refused(path, "whose header should have 10000 bytes, of")


def test_save_safetensors_is_laid_out_as_the_format_says(tmp_path):
    state = {"w": GRID.T, "n": np.array(3), "b": np.array([True, False]), "big": np.array([1.5], ">f8")}
    path = weights.save_safetensors(tmp_path / "a.safetensors", state)
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    assert length % 8 == 0
    assert header["w"] == {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}
    assert data[:24] == struct.pack("<6f", 1, 4, 2, 5, 3, 6)
    assert header["n"] == {"dtype": "I64", "shape": [], "data_offsets": [24, 32]} and data[24:32] == struct.pack(
        "<q", 3
    )
    assert header["b"]["dtype"] == "BOOL" and data[-8:] == struct.pack("<d", 1.5)
    found = weights.read(path)
    assert all(np.array_equal(found[key], state[key]) for key in state)
    with pytest.raises(WeightsError, match="'c' must be of type .*, got complex64; convert it"):
        weights.save_safetensors(path, {"c": np.zeros(2, np.complex64)})


def test_a_model_goes_through_safetensors(tmp_path):
    model = models.alexnet(10, in_channels=1, scale="lesson", width=0.1)
    found = weights.read(weights.save_safetensors(tmp_path / "a.safetensors", model.state_dict()))
    other = models.alexnet(10, in_channels=1, scale="lesson", width=0.1)
    other.load_state_dict(found)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())


# --------------------------------------------------------------------------------------------- npz and checkpoints
def test_npz(tmp_path):
    arrays = {
        "a": GRID, "f": np.asfortranarray(GRID), "h": GRID.astype(np.float16), "big": GRID.astype(">f4"),
        "n": np.array(3), "layer/w": np.zeros((0, 2)),
    }  # fmt: skip
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = weights.read(tmp_path / "a.npz")
        assert list(found) == list(arrays)
        for key, array in found.items():
            assert array.shape == arrays[key].shape and np.array_equal(array, arrays[key])
            assert array.dtype.isnative and array.flags.c_contiguous
        assert found["h"].dtype == np.float32 and found["n"].dtype.kind == "i"


def test_a_checkpoint_gives_the_models_part(tmp_path):
    model = models.alexnet(10, in_channels=1, scale="lesson", width=0.1)
    path = tinyconv.save(tmp_path / "a.npz", model, tinyconv.optim.SGD(model.parameters(), 0.1, momentum=0.9))
    found = weights.read(path)
    assert list(found) == list(model.state_dict())
    assert np.array_equal(found["conv1.weight"], model.conv1.weight.detach().numpy())
    assert weights.is_checkpoint(path)
    np.savez(tmp_path / "b.npz", a=GRID)
    assert not weights.is_checkpoint(tmp_path / "b.npz")


def test_npz_with_pickled_objects_or_texts_is_refused(tmp_path):
    for array in (np.array([{}], object), np.array(["a"]), np.array([1j])):
        np.savez(tmp_path / "a.npz", a=array)
        refused(tmp_path / "a.npz", "whose array 'a.npy' has the type", "without pickled objects")


def test_npz_that_lie(tmp_path, monkeypatch):
    def member(shape, raw, version=(1, 0)):
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        content = bytearray(file.getvalue() + raw)
        content[6:8] = bytes(version)
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", bytes(content))
        return tmp_path / "a.npz"

    assert np.array_equal(weights.read(member((2, 3), SIX))["a"], GRID)
    refused(member((2, 4), SIX), "of shape (2, 4) is not 24 bytes long")
    refused(member((-2, -3), SIX), "is not 24 bytes long")
    refused(member((2, 3), SIX, (9, 0)), "unknown version")
    monkeypatch.setattr("tinyconv.weights.npz.room", lambda size: 2 * size)  # at its size, zeros take seconds to pack
    refused(member((2**14,), bytes(2**16)), f"claims arrays of {2**16 + 128} bytes")


def test_a_member_that_would_begin_before_the_file(tmp_path):
    np.savez(tmp_path / "a.npz", a=GRID)
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    end = raw.rindex(b"PK\x05\x06")
    (offset,) = struct.unpack("<I", raw[end + 16 : end + 20])
    raw[end + 16 : end + 20] = struct.pack("<I", offset + 1000)  # zipfile takes the difference for a prefix
    (tmp_path / "a.npz").write_bytes(raw)
    refused(tmp_path / "a.npz", "truncated or damaged")


# ------------------------------------------------------------------------------------------------------ other files
def zipped(*names):
    """Return a zip archive with these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "which is empty; copy or download it again"),
        (b"conv1 0.1 0.2\n", "which begins with 'conv1 0.1 0.2"),
        (b"<!DOCTYPE html>", "which is a web page or XML; the download failed"),
        (b"\x89HDF\r\n\x1a\n", "which is HDF5, as Keras saves it; convert it"),
        (b"\x93NUMPY\x01\x00", "one NumPy array without a name; save with np.savez"),
        (gzip.compress(b"x"), "compressed with gzip; unpack it first"),
        (bytes(257) + b"ustar" + bytes(250), "which is a tar archive; unpack it first"),
        (zipped(), "a zip archive with the members none, but neither data.pkl nor arrays"),
        (zipped("net/code.py", "b.txt"), "with the members 'net/code.py', 'b.txt', but neither data.pkl nor arrays"),
        (zipped("a/data.pkl", "b/data.pkl"), "but neither data.pkl nor arrays"),
        (b"PK\x03\x04 and nothing more", "which is truncated or damaged (BadZipFile"),
        (b"\x80\x02K\x07.", "its magic number is missing"),
        (b"\x80\x02", "ends in the middle of a pickle"),
    ],
    ids=range(13),
)
def test_a_file_that_is_no_weights_says_what_it_is(tmp_path, content, part):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    refused(path, part)


def test_no_file_and_a_folder(tmp_path):
    refused(tmp_path, "got the folder", "name a file in it")
    with pytest.raises(FileNotFoundError, match="weights.read: there is no file .*no.pth; give another path"):
        weights.read(tmp_path / "no.pth")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Return a small file of each format."""
    folder = tmp_path_factory.mktemp("samples")
    np.savez(folder / "a.npz", a=GRID, b=np.zeros(3))
    header = {"a": entry(0, 24), "b": entry(24, 32, (1,), "I64")}
    safe = tools.write_safetensors(folder / "b.safetensors", header, SIX + bytes(8))
    model = tinyconv.nn.Sequential(tinyconv.nn.Linear(2, 1))
    return folder / "a.npz", safe, tinyconv.save(folder / "c.npz", model)


def test_a_file_truncated_anywhere_is_one_clear_line(tmp_path, samples):
    for sample in samples:
        raw, path = sample.read_bytes(), tmp_path / sample.name
        assert len(weights.read(sample)) == 2
        for length in range(0, len(raw), 1 if sample.suffix == ".safetensors" else 13):
            path.write_bytes(raw[:length])
            refused(path)


@settings(max_examples=120)
@given(data=st.data())
def test_changed_bytes_are_refused_or_read_but_nothing_else_happens(data, samples):
    sample = samples[data.draw(st.integers(0, 2))]
    raw, path = bytearray(sample.read_bytes()), sample.with_name("changed")
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        found = weights.read(path)
    except WeightsError as problem:
        assert str(path) in str(problem) and len(str(problem).splitlines()) == 1
    else:
        assert all(isinstance(array, np.ndarray) for array in found.values())
