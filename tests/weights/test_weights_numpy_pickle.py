"""Pickles of NumPy arrays that unfold to more than they are: shared lists, dicts, names and bytes; nesting."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from tinyconv.weights.numpy_pickle import read_arrays, read_values
from tinyconv.weights.problem import UnreadableError
from weights_tools import call, name, number, plain, text, together

NDARRAY = name("numpy", "ndarray")


def doubled(levels, pair):
    """Return a value of so many levels, each with the one below it ``len(pair(x))`` times."""
    value = pair(np.float32([1]))
    for _ in range(levels - 1):
        value = pair(value)
    return pickle.dumps(value)


def lists(x):
    return [x] * 10


def dicts(x):
    return {f"k{i}": x for i in range(10)}


@pytest.mark.parametrize(("read", "pair"), [(read_values, lists), (read_values, dicts), (read_arrays, dicts)])
def test_shared_parts_do_not_unfold_without_end(read, pair):
    raw = doubled(7, pair)  # ten million values
    assert len(raw) < 1000
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableError, match=r"claims more than \d+ values, too much for its size"):
            read(io.BytesIO(raw))
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    few = read(io.BytesIO(doubled(3, pair)))
    assert len(few) == (1000 if read is read_arrays else 10)


def test_a_long_name_is_not_repeated_without_end():
    inner = {str(i): np.float32([i]) for i in range(100)}
    assert len(read_arrays(io.BytesIO(pickle.dumps({"short": inner})))) == 100
    raw = pickle.dumps({"long" * 50_000: inner})
    with pytest.raises(UnreadableError, match="values, too much for its size"):
        read_arrays(io.BytesIO(raw))


@pytest.mark.parametrize("read", [read_values, read_arrays])
def test_eight_levels_are_read_and_nine_refused(read):
    value = np.float32([1, 2])
    for _ in range(8):
        value = {"a": value}
    found = read(io.BytesIO(pickle.dumps(value)))
    if read is read_arrays:
        assert found["a/a/a/a/a/a/a/a"].tolist() == [1, 2] and len(found) == 1
    else:
        assert found["a"]["a"]["a"]["a"]["a"]["a"]["a"]["a"].tolist() == [1, 2]
    with pytest.raises(UnreadableError, match="nested more than 8 deep"):
        read(io.BytesIO(pickle.dumps({"a": value})))
    endless: dict = {}
    endless["a"] = endless
    with pytest.raises(UnreadableError, match="nested more than 8 deep"):
        read(io.BytesIO(pickle.dumps(endless)))


def array(raw, count, order):
    """Push an array of float32 on the bytes that ``raw`` pushes."""
    kind = name("numpy", "dtype") + together(text("f4"), number(0), number(1)) + b"R"
    kind += together(number(3), text(order), b"N", b"N", b"N", number(-1), number(-1), number(0)) + b"b"
    empty = call(name("numpy.core.multiarray", "_reconstruct"), NDARRAY, together(number(0)), text("b"))
    return empty + together(number(1), together(number(count)), kind, b"\x89", raw) + b"b"


@pytest.mark.parametrize("read", [read_values, read_arrays])
@pytest.mark.parametrize("order", ["<", ">"])
def test_many_arrays_on_the_same_bytes_are_not_each_a_copy(read, order):
    numbers = struct.pack(f"{order}1000f", *range(1000))
    push = b"B" + struct.pack("<I", len(numbers)) + numbers + b"q\x00"
    entries = [text("0") + array(push, 1000, order)]
    entries += [text(str(i)) + array(b"h\x00", 1000, order) for i in range(1, 100)]
    one, many = (plain(b"}(" + b"".join(entries[:n]) + b"u") for n in (1, 100))
    assert read(io.BytesIO(one))["0"].tolist() == list(range(1000))
    with pytest.raises(UnreadableError, match=f"claims more than {len(many)} bytes of arrays"):
        read(io.BytesIO(many))


@pytest.mark.parametrize("read", [read_values, read_arrays])
def test_bytes_of_a_length_that_no_file_has(read, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04\x8e" + struct.pack("<Q", 2**34) + b"few.")
    text = "which is a damaged pickle .*17179869184 bytes"
    with open(path, "rb") as file, pytest.raises(UnreadableError, match=text):
        read(file)
