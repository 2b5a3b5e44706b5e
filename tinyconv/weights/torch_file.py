"""PyTorch's two file formats, read without PyTorch. See :func:`read_zip`, :func:`read_legacy`.

zip (since 1.6)    NAME/data.pkl, a pickle of the state; NAME/data/KEY, the bytes of each storage; NAME/byteorder
legacy             four pickles (magic number, version, machine, the state), a pickle of the storages' keys, and for
                   each storage its count (int64) and its bytes

In both the state's tensors are (storage, offset, size, stride); several may share a storage.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from tinyconv.weights import storage
from tinyconv.weights.problem import UnreadableError, shown
from tinyconv.weights.storage import Storage, View
from tinyconv.weights.unpickle import Table, ordered, unpickle

MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_PICKLE = 1 << 26  # bytes that the pickles, which hold only names and sizes, may have
_CHUNK = 1 << 20
_RESAVE = "save it again with torch.save"
# What a checkpoint of a training calls the network's state.
_STATES = ("state_dict", "model_state_dict", "model")
TABLE: Table = {
    **storage.KINDS,
    ("collections", "OrderedDict"): ordered,
    ("torch._utils", "_rebuild_tensor"): storage.rebuild_tensor,  # files of PyTorch 0.3 and before
    ("torch._utils", "_rebuild_tensor_v2"): storage.rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): storage.rebuild_parameter,
}


def room(size: int) -> int:
    """Return how many bytes a file of this size may become: a bomb of zeros becomes much more than weights do."""
    return (64 << 20) + 100 * size


class _Storages:
    """The storages that persistent ids name, each once."""

    def __init__(self) -> None:
        self.found: dict[str, Storage] = {}

    def get(self, parts: Any) -> Storage:
        kind, key, count = storage.storage_id(parts)
        known = self.found.setdefault(key, Storage(key, kind, count))
        if (known.kind, known.count) != (kind, count):
            raise UnreadableError(f"with two storages of the name {shown(key)}")
        return known

    def check_size(self, limit: int) -> None:
        """Raise if the storages are larger than the file."""
        total = sum(known.nbytes for known in self.found.values())
        if total > limit:
            raise UnreadableError(f"which ends too early: its tensors need {total} bytes, the file has {limit}")


def read_zip(archive: zipfile.ZipFile, member: str, size: int) -> dict[str, np.ndarray]:
    """Return the tensors of a file in the zip format; ``member`` is its data.pkl, ``size`` the file's in bytes."""
    folder = member.removesuffix("data.pkl")
    names = set(archive.namelist())
    order = _take(archive, f"{folder}byteorder", 16) if f"{folder}byteorder" in names else b"little"
    if order not in (b"little", b"big"):
        raise UnreadableError("with an unknown order of bytes")
    storages = _Storages()
    if archive.getinfo(member).compress_type != zipfile.ZIP_STORED:  # 29 kB can unfold to a pickle of many megabytes
        raise UnreadableError(f"whose {shown(member)} is compressed, which PyTorch never does", _RESAVE)
    state = unpickle(io.BytesIO(_take(archive, member, _PICKLE)), TABLE, storages.get, size)
    views = _views(state, size)
    storages.check_size(size)
    for key, known in storages.found.items():
        info = archive.getinfo(f"{folder}data/{key}") if f"{folder}data/{key}" in names else None
        if info is None or info.file_size != known.nbytes or info.compress_type != zipfile.ZIP_STORED:
            got = "no such member" if info is None else f"{info.file_size} bytes, {info.compress_size} in the file"
            raise UnreadableError(f"whose storage {shown(key)} should have {known.nbytes} bytes: {got}")
        with archive.open(info) as file:
            known.fill(_read(file, known.nbytes), order == b"big")
            file.read(1)  # at its end the checksum is verified
    return {name: view.array() for name, view in views.items()}


def read_legacy(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    """Return the tensors of a file in the legacy format."""
    head = io.BytesIO(file.read(_PICKLE))
    first = unpickle(head, {}, size=size)
    if first != MAGIC:
        advice = "save a state_dict() with torch.save; other pickles are not read, since they can run code"
        raise UnreadableError("which is a pickle, but not one of PyTorch's (its magic number is missing)", advice)
    version, machine = unpickle(head, {}), unpickle(head, {})
    if version != _VERSION or not isinstance(machine, dict):
        raise UnreadableError(f"of an unknown version ({shown(str(version))})")
    storages = _Storages()
    views = _views(unpickle(head, TABLE, storages.get, size), size)
    storages.check_size(size)
    keys = unpickle(head, {}, size=size)
    if type(keys) is not list or not all(isinstance(key, str) for key in keys) or set(keys) != set(storages.found):
        raise UnreadableError("whose list of storages is damaged")
    file.seek(head.tell())
    big = machine.get("little_endian") is False
    for key in dict.fromkeys(keys):
        known = storages.found[key]
        count = int(_read(file, 8).view(">i8" if big else "<i8")[0])
        if count != known.count:
            raise UnreadableError(f"whose storage {shown(key)} should have {known.count} numbers, and has {count}")
        known.fill(_read(file, known.nbytes), big)
    return {name: view.array() for name, view in views.items()}


def _views(state: Any, size: int) -> dict[str, View]:
    """Return the tensors of a state by name; what else a checkpoint holds (epoch, optimizer) is left out."""
    parts = [state.get(name) for name in _STATES] if isinstance(state, dict) else []
    # Before the tensors beside it: a checkpoint may keep its best accuracy as one.
    state = next((part for part in parts if any(isinstance(value, View) for _, value in _items(part))), state)
    views = {name: value for name, value in _items(state) if isinstance(name, str) and isinstance(value, View)}
    if not views:
        advice = "save model.state_dict() with torch.save"
        raise UnreadableError(f"which holds {shown(state)} without tensors by name", advice)
    total = sum(view.numel for view in views.values())
    if 8 * total > room(size):
        raise UnreadableError(f"which is {size} bytes and claims tensors of {total} numbers")
    return views


def _items(state: Any) -> Iterable[tuple[Any, Any]]:
    return dict.items(state) if isinstance(state, dict) else ()


def _take(archive: zipfile.ZipFile, member: str, limit: int) -> bytes:
    """Return a small member; one that claims to be larger than ``limit`` is refused."""
    if archive.getinfo(member).file_size > limit:
        raise UnreadableError(f"whose member {shown(member)} has more than {limit} bytes")
    return archive.read(member)


def _read(file: Any, count: int) -> np.ndarray:
    """Return the next bytes as an array of our own, piece by piece: memory for the whole is needed only once."""
    whole = np.empty(count, np.uint8)
    into = whole.data
    for start in range(0, math.ceil(count / _CHUNK)):
        wanted = min(_CHUNK, count - start * _CHUNK)
        piece = file.read(wanted)
        if len(piece) != wanted:
            raise UnreadableError(f"which ends too early: {wanted - len(piece)} bytes of a tensor are missing")
        into[start * _CHUNK : start * _CHUNK + wanted] = piece
    return whole
