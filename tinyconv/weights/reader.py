"""Opening a file of weights of any known format. See :func:`read`."""

from __future__ import annotations

import errno
import io
import os
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tinyconv.weights.npz import read_npz
from tinyconv.weights.problem import UnreadableError, WeightsError, shown
from tinyconv.weights.safetensors import read_safetensors
from tinyconv.weights.torch_file import read_legacy, read_zip

_WANTED = "a PyTorch (.pth), safetensors or npz file"
# How files begin that one gets by mistake.
_FOREIGN = {
    b"<": ("a web page or XML", "the download failed: fetch the file itself"),
    b"\x89HDF": ("HDF5, as Keras saves it", "convert it to npz or safetensors first"),
    b"\x93NUMPY": ("one NumPy array without a name", "save with np.savez(FILE, **arrays)"),
    b"\x1f\x8b": ("compressed with gzip", "unpack it first"),
    b"7z\xbc\xaf": ("compressed with 7-Zip", "unpack it first"),
}
_DAMAGED = (
    ValueError, EOFError, KeyError, IndexError, TypeError, MemoryError, NotImplementedError, OverflowError,
    RuntimeError, SyntaxError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read(file: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return all tensors of a file by name, as NumPy arrays; PyTorch is not needed, and nothing in the file is run.

    Formats are told apart by content: PyTorch's ``torch.save`` (zip and legacy), safetensors, npz, and checkpoints of
    tinyconv (the model's part). Of a PyTorch checkpoint that holds more than the network's state, the entry
    "state_dict", "model_state_dict" or "model" is taken.

    Returns
    -------
    dict of str to array
        float16 and bfloat16 become float32; tensors that share a storage share memory.

    Raises
    ------
    TypeError
        ``file`` is no path.
    FileNotFoundError
        There is no such file.
    WeightsError
        The file is empty, truncated, damaged or of another kind; its tensors claim more bytes than it has; or it is a
        pickle that asks for anything but tensors, which could run code.
    """
    if not isinstance(file, (str, os.PathLike)):
        raise TypeError(f"weights.read: wanted the path of a file, got {shown(file)}; give a str or a Path")
    path = Path(file)
    if path.is_dir():
        raise WeightsError(f"weights.read: wanted {_WANTED}, got the folder {path}; name a file in it")
    if not path.exists():
        raise FileNotFoundError(f"weights.read: there is no file {path}; give another path")
    try:
        with open(path, "rb") as opened:
            return _read(opened, path)
    except UnreadableError as problem:
        got, advice = problem.got, problem.advice
    except (*_DAMAGED, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno != errno.EINVAL:  # that is zipfile's, for a damaged offset
            raise
        text = " ".join(str(problem).split())[:100]
        got, advice = f"which is truncated or damaged ({type(problem).__name__}: {text})", "copy or download it again"
    raise WeightsError(f"weights.read: wanted {_WANTED}, got {path}, {got}; {advice}")


def _read(file: BinaryIO, path: Path) -> dict[str, np.ndarray]:
    size = path.stat().st_size
    start = file.read(512)
    file.seek(0)
    if not start:
        raise UnreadableError("which is empty")
    if start.startswith(b"PK"):
        with zipfile.ZipFile(file) as archive:
            return _read_archive(archive, path)
    # First safetensors: its length may begin with any byte; that of a pickle or a text would be a far larger number.
    if start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] < 1 << 32:
        return read_safetensors(file, size)
    if start.startswith(b"\x80"):
        return read_legacy(file, size)
    for begin, (kind, advice) in _FOREIGN.items():
        if start.startswith(begin):
            raise UnreadableError(f"which is {kind}", advice)
    if start[257:262] == b"ustar":
        raise UnreadableError("which is a tar archive", "unpack it first (tinyconv data add reads those it knows)")
    raise UnreadableError(f"which begins with {shown(start[:16].decode('latin-1'))}")


def _read_archive(archive: zipfile.ZipFile, path: Path) -> dict[str, np.ndarray]:
    names = archive.namelist()
    pickles = [name for name in names if name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)]
    if len(pickles) == 1:
        return read_zip(archive, pickles[0], path.stat().st_size)
    if names and all(name.endswith(".npy") for name in names):
        return read_npz(archive, path)
    some = ", ".join(shown(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
    raise UnreadableError(f"a zip archive with the members {some or 'none'}, but neither data.pkl nor arrays")


def is_checkpoint(file: str | os.PathLike[str]) -> bool:
    """Return whether this is a checkpoint of tinyconv's, which says itself which model it is of."""
    with open(file, "rb") as opened:
        start = io.BytesIO(opened.read(4)).getvalue()
    if start != b"PK\x03\x04" or not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return {"format.npy", "meta.npy"} <= set(archive.namelist())
