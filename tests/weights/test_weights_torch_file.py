"""PyTorch's two formats, from files made byte by byte: types, strides, shared storages; what is refused and how."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weights_tools as tools
from tinyconv import weights
from tinyconv.weights import WeightsError
from weights_tools import GRID, SIX, refused


@pytest.fixture
def both(tmp_path):
    """Return a function that reads a state in both formats and asserts that they agree."""

    def read(entries, storages, itemsize=4):
        found = [
            weights.read(path) for path in tools.write_both(tmp_path, tools.state_dict(entries), storages, itemsize)
        ]
        assert list(found[0]) == list(found[1]) == list(entries)
        for key, array in found[0].items():
            assert array.dtype == found[1][key].dtype and array.tobytes() == found[1][key].tobytes()
        return found[0]

    return read


@pytest.mark.parametrize(
    ("kind", "raw", "wanted"),
    [
        ("FloatStorage", struct.pack("<2f", 0.5, -3), np.float32([0.5, -3])),
        ("DoubleStorage", struct.pack("<2d", 0.1, 1e300), np.float64([0.1, 1e300])),
        ("HalfStorage", bytes([0x00, 0x3C, 0x00, 0xC1]), np.float32([1, -2.5])),
        ("BFloat16Storage", bytes([0x80, 0x3F, 0x49, 0xC0]), np.float32([1, -3.140625])),
        ("LongStorage", struct.pack("<2q", 2**40, -7), np.int64([2**40, -7])),
        ("IntStorage", struct.pack("<2i", 70000, -7), np.int32([70000, -7])),
        ("ShortStorage", struct.pack("<2h", 300, -7), np.int16([300, -7])),
        ("CharStorage", b"\x05\xff", np.int8([5, -1])),
        ("ByteStorage", b"\x05\xff", np.uint8([5, 255])),
        ("BoolStorage", b"\x00\x01", np.array([False, True])),
    ],
)
def test_every_type(both, kind, raw, wanted):
    entry = tools.tensor(tools.storage("0", kind, 2), (2,), (1,))
    found = both({"a": entry}, {"0": raw}, len(raw) // 2)["a"]
    assert found.dtype == wanted.dtype and np.array_equal(found, wanted)


def test_bytes_in_the_other_order(tmp_path):
    pickle = tools.state_dict({"a": tools.tensor(tools.storage("0"))})
    raw = struct.pack(">6f", *range(1, 7))
    first = tools.write_zip(tmp_path / "a.pth", pickle, {"0": raw}, byteorder="big")
    second = tools.write_legacy(tmp_path / "b.pth", pickle, {"0": (6, raw)}, little=False)
    assert np.array_equal(weights.read(first)["a"], GRID) and np.array_equal(weights.read(second)["a"], GRID)


def test_strides_offsets_and_tensors_that_share_a_storage(both):
    entries = {
        "whole": ((2, 3), (3, 1), 0),
        "turned": ((3, 2), (1, 3), 0),
        "column": ((2,), (3,), 2),
        "scalar": ((), (), 4),
        "empty": ((0, 3), (3, 1), 6),
        "spread": ((4, 2), (0, 1), 0),
    }
    found = both({key: tools.tensor(tools.storage("0"), *view) for key, view in entries.items()}, {"0": SIX})
    assert np.array_equal(found["whole"], GRID) and np.array_equal(found["turned"], GRID.T)
    assert found["column"].tolist() == [3, 6] and found["scalar"].shape == () and found["scalar"] == 5
    assert found["empty"].shape == (0, 3) and found["spread"].tolist() == [[1, 2]] * 4
    assert np.shares_memory(found["whole"], found["scalar"])
    assert all(array.flags.c_contiguous for array in found.values())
    found["whole"][:] = 0  # it is the caller's own


def test_parameters_and_storages_named_by_a_gpu(both):
    entry = tools.tensor(tools.storage("0", module="torch.cuda"))
    rebuilt = tools.call(tools.name("torch._utils", "_rebuild_parameter"), entry, b"\x88", b"}")
    assert np.array_equal(both({"a": rebuilt}, {"0": SIX})["a"], GRID)


def test_bytes_without_a_type(tmp_path):
    entry = tools.tensor(tools.storage("0", "UntypedStorage", 3, "torch.storage"), (3,), (1,))
    for path in tools.write_both(tmp_path, tools.state_dict({"a": entry}), {"0": b"\x01\x02\xff"}, 1):
        assert weights.read(path)["a"].tolist() == [1, 2, 255]


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model"])
def test_a_checkpoint_of_a_training_gives_the_networks_part(tmp_path, name):
    inner = tools.mapping({"a": tools.tensor(tools.storage("0"))})
    pickle = tools.plain(tools.mapping({"epoch": tools.number(3), name: inner, "best": b"G" + struct.pack(">d", 0.5)}))
    for path in tools.write_both(tmp_path, pickle, {"0": SIX}):
        assert list(weights.read(path)) == ["a"]


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model"])
def test_a_tensor_beside_the_networks_part_does_not_hide_it(tmp_path, name):
    inner = tools.mapping({"a": tools.tensor(tools.storage("0"))})
    best = tools.tensor(tools.storage("1", count=1), (), ())
    pickle = tools.plain(tools.mapping({"best": best, name: inner, "epoch": tools.number(3)}))
    for path in tools.write_both(tmp_path, pickle, {"0": SIX, "1": SIX[:4]}):
        found = weights.read(path)
        assert list(found) == ["a"] and np.array_equal(found["a"], GRID)


def test_a_part_without_tensors_is_passed_over(tmp_path):
    inner = tools.mapping({"a": tools.tensor(tools.storage("0"))})
    options = tools.mapping({"depth": tools.number(3)})
    for entries in ({"state_dict": options, "model": inner}, {"model": options, "a": tools.tensor(tools.storage("0"))}):
        for path in tools.write_both(tmp_path, tools.plain(tools.mapping(entries)), {"0": SIX}):
            assert list(weights.read(path)) == ["a"]


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((2, 3), (3, 1), 1),
        ((2, 3), (4, 1), 0),
        ((7,), (1,), 0),
        ((1,), (1,), 6),
        ((2,), (2**40,), 0),
        ((0,), (1,), 7),
        ((2,), (-1,), 1),
        ((-1,), (1,), 0),
        ((2, 3), (1,), 0),
        ((2,), (1,), -1),
        ((1,) * 33, (1,) * 33, 0),
    ],
)
def test_a_tensor_that_leaves_its_storage_is_refused(tmp_path, size, stride, offset):
    pickle = tools.state_dict({"a": tools.tensor(tools.storage("0"), size, stride, offset)})
    for path in tools.write_both(tmp_path, pickle, {"0": SIX}):
        refused(path, "with a tensor")


# ------------------------------------------------------------------------------------------------- claims and lies
def test_a_small_file_that_claims_endless_tensors_is_refused(tmp_path):
    spread = tools.state_dict({"a": tools.tensor(tools.storage("0"), (2**20, 2**20), (0, 0))})
    large = tools.state_dict({"a": tools.tensor(tools.storage("0", count=2**40), (2,), (1,))})
    for path in tools.write_both(tmp_path, spread, {"0": SIX}):
        refused(path, f"claims tensors of {2**40} numbers")
    for path in tools.write_both(tmp_path, large, {"0": SIX}):
        refused(path, f"its tensors need {4 * 2**40} bytes")


def test_a_zip_whose_storages_are_not_as_large_as_declared_is_refused(tmp_path):
    pickle = tools.state_dict({"a": tools.tensor(tools.storage("0"))})
    refused(tools.write_zip(tmp_path / "a.pth", pickle, {"0": SIX + b"0"}), "storage '0' should have 24 bytes: 25")
    refused(tools.write_zip(tmp_path / "b.pth", pickle, {"1": SIX}), "storage '0' should have 24 bytes: no such member")
    large = tools.state_dict({"a": tools.tensor(tools.storage("0", count=2**20), (1,), (1,))})
    with zipfile.ZipFile(tmp_path / "c.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", large, zipfile.ZIP_STORED)
        archive.writestr("net/data/0", bytes(2**22))
    assert (tmp_path / "c.pth").stat().st_size < 2**14
    refused(tmp_path / "c.pth", f"its tensors need {2**22} bytes")


def test_a_compressed_pickle_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", b"\x80\x02(" + b"]" * 2**20 + b"t.")
    assert path.stat().st_size < 2**12
    refused(path, "'net/data.pkl' is compressed, which PyTorch never does")


def test_more_instructions_than_a_file_of_its_size_has_use_for_are_refused(tmp_path):
    """Each ] is one byte, and an empty list of 56 and more in memory."""
    bomb = tools.write_zip(tmp_path / "new.pth", b"\x80\x02(" + b"]" * 360_000 + b"t.", {})
    refused(bomb, "a pickle of more than 352", " instructions, too many for a file of its size")
    # Where tensors have the file's bytes as many are read, here of a list beside them.
    tensor = tools.tensor(tools.storage("0", "ByteStorage", 2**20), (2**20,), (1,))
    entries = {"a": tensor, "more": b"](" + b"N" * 360_000 + b"e"}
    path = tmp_path / "old.pth"
    tools.write_legacy(path, tools.plain(tools.mapping(entries)), {"0": (2**20, bytes(2**20))})
    assert weights.read(path)["a"].shape == (2**20,)


def test_a_changed_byte_of_a_tensor_is_found_by_the_zips_checksum(tmp_path):
    path = tools.write_zip(tmp_path / "a.pth", tools.state_dict({"a": tools.tensor(tools.storage("0"))}), {"0": SIX})
    raw = path.read_bytes()
    path.write_bytes(raw.replace(SIX, SIX[:-1] + b"\x00"))
    refused(path, "Bad CRC-32")


def test_one_name_for_two_storages_is_refused(tmp_path):
    entries = {"a": tools.tensor(tools.storage("0")), "b": tools.tensor(tools.storage("0", "IntStorage"))}
    for path in tools.write_both(tmp_path, tools.state_dict(entries), {"0": SIX}):
        refused(path, "two storages of the name '0'")


def test_a_legacy_file_whose_counts_or_keys_are_wrong(tmp_path):
    pickle = tools.state_dict({"a": tools.tensor(tools.storage("0"))})
    path = tmp_path / "a.pth"
    refused(tools.write_legacy(path, pickle, {"0": (5, SIX)}), "should have 6 numbers, and has 5")
    refused(tools.write_legacy(path, pickle, {"1": (6, SIX)}), "list of storages is damaged")
    refused(tools.write_legacy(path, pickle, {"0": (6, SIX)}, magic=7), "its magic number is missing", "torch.save")
    refused(tools.write_legacy(path, pickle, {"0": (6, SIX[:-3])}), "ends too early: 3 bytes")


def test_files_without_tensors_say_what_they_hold(tmp_path):
    for pickle, kind in ((tools.plain(b"]"), "a list"), (tools.plain(tools.mapping({"a": tools.number(1)})), "a dict")):
        for path in tools.write_both(tmp_path, pickle, {}):
            refused(path, f"which holds {kind} without tensors", "state_dict()")


# --------------------------------------------------------------------------------------------------- damaged files
def sample(folder):
    """Return files of both formats with two storages."""
    entries = {"a": tools.tensor(tools.storage("0")), "b": tools.tensor(tools.storage("1", "LongStorage", 1), (), ())}
    storages = {"0": SIX, "1": struct.pack("<q", 3)}
    first = tools.write_zip(folder / "new.pth", tools.state_dict(entries), storages)
    counts = {"0": (6, SIX), "1": (1, storages["1"])}
    return first, tools.write_legacy(folder / "old.pth", tools.state_dict(entries), counts)


def test_a_file_truncated_anywhere_is_one_clear_line(tmp_path):
    for path in sample(tmp_path):
        raw = path.read_bytes()
        assert sorted(weights.read(path)) == ["a", "b"]
        for length in range(0, len(raw), 3 if path.name == "old.pth" else 9):
            path.write_bytes(raw[:length])
            refused(path)


@settings(max_examples=120)
@given(data=st.data())
def test_changed_bytes_are_refused_or_read_but_nothing_else_happens(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("changed")
    path = sample(folder)[data.draw(st.integers(0, 1))]
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        found = weights.read(path)
    except WeightsError as problem:
        assert str(path) in str(problem) and len(str(problem).splitlines()) == 1
    else:
        assert all(isinstance(array, np.ndarray) for array in found.values())
