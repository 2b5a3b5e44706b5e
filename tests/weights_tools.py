"""Files of weights made byte by byte, as the formats are described: neither our code nor PyTorch writes them."""

from __future__ import annotations

import json
import struct
import zipfile

import numpy as np
import pytest

from tinyconv import weights
from tinyconv.weights import WeightsError

SIX = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
GRID = np.array([[1, 2, 3], [4, 5, 6]], np.float32)  # what SIX is as a tensor (2, 3)
MAGIC = 0x1950A86A20F9469CFC6C
REBUILD = ("torch._utils", "_rebuild_tensor_v2")


def refused(path, *parts):
    """Reading raises one line that names the file and contains the parts; return it."""
    with pytest.raises(WeightsError) as caught:
        weights.read(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and message.startswith("weights.read: wanted ")
    for part in (str(path), *parts):
        assert part in message
    return message


# ------------------------------------------------------------------------- instructions of a pickle, protocol 2
def text(value):
    """Push a text."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value):
    """Push an int."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def name(module, attribute):
    """Push what a name stands for."""
    return b"c" + f"{module}\n{attribute}\n".encode()


def together(*parts):
    """Push a tuple of what the parts push."""
    return b"(" + b"".join(parts) + b"t"


def call(function, *arguments):
    """Call what was pushed."""
    return function + together(*arguments) + b"R"


def storage(key, kind="FloatStorage", count=6, module="torch"):
    """Push a storage, by its persistent id."""
    return together(text("storage"), name(module, kind), text(key), text("cpu"), number(count)) + b"Q"


def tensor(where, size=(2, 3), stride=(3, 1), offset=0):
    """Push a tensor on a storage that ``where`` pushes."""
    sizes = [together(*map(number, values)) for values in (size, stride)]
    hooks = call(name("collections", "OrderedDict"))
    return call(name(*REBUILD), where, number(offset), *sizes, b"\x89", hooks)


def mapping(entries, start=b"}"):
    """Push a dict of name to what the values push."""
    return start + b"(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def state_dict(entries):
    """Return a pickle of an OrderedDict with PyTorch's ``_metadata``, as state_dict() gives it."""
    ordered = mapping(entries, call(name("collections", "OrderedDict")))
    return b"\x80\x02" + ordered + mapping({"_metadata": call(name("collections", "OrderedDict"))}) + b"b."


def plain(pushed):
    """Return a pickle of one value."""
    return b"\x80\x02" + pushed + b"."


# ----------------------------------------------------------------------------------------------------------- files
def write_zip(path, pickle, storages, folder="net", **members):
    """Write PyTorch's zip format; ``storages`` are {key: bytes}."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{folder}/data.pkl", pickle)
        for key, raw in storages.items():
            archive.writestr(f"{folder}/data/{key}", raw)
        for member, content in {"version": "3\n", **members}.items():
            archive.writestr(f"{folder}/{member}", content)
    return path


def write_legacy(path, pickle, storages, magic=MAGIC, little=True):
    """Write PyTorch's legacy format; ``storages`` are {key: (count, bytes)}."""
    machine = mapping({"protocol_version": number(1001), "little_endian": b"\x88" if little else b"\x89"})
    keys = b"](" + b"".join(text(key) for key in storages) + b"e"
    head = [plain(number(magic)), plain(number(1001)), plain(machine), pickle, plain(keys)]
    rest = [struct.pack("<q" if little else ">q", count) + raw for count, raw in storages.values()]
    path.write_bytes(b"".join(head + rest))
    return path


def write_both(folder, pickle, storages, itemsize=4):
    """Write the same in both formats; return the two paths."""
    first = write_zip(folder / "new.pth", pickle, storages)
    second = write_legacy(
        folder / "old.pth", pickle, {key: (len(raw) // itemsize, raw) for key, raw in storages.items()}
    )
    return first, second


def write_safetensors(path, header, raw):
    """Write a safetensors file; ``header`` is a dict or bytes."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + raw)
    return path
