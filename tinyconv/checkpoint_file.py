"""The checkpoint file itself: arrays and one JSON record in an npz without pickle. See :func:`read_file`."""

from __future__ import annotations

import errno
import io
import json
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinyconv import device
from tinyconv.files import atomic_write
from tinyconv.tensor import Tensor

FORMAT = "tinyconv-checkpoint-1"
_FAMILY = "tinyconv-checkpoint-"
_UNREADABLE = (
    ValueError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError,
    SyntaxError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class CheckpointError(ValueError):
    """A file is no checkpoint, is damaged, or does not fit the model."""


def write_file(path: str | Path, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> Path:
    """Write the members atomically; the same content gives the same bytes."""

    def write(file: BinaryIO) -> None:
        members = {"format": np.array(FORMAT), **arrays, "meta": np.array(json.dumps(meta))}
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in members.items():
                # ZipInfo's default date (1980), and zip64 for arrays over 2 GiB, as np.savez does it.
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)

    return atomic_write(path, write)


def read_file(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return all arrays of a checkpoint file by member name, and its meta record.

    Every member is read to its end, so that its checksum is verified, before anything is returned.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CheckpointError
        It is truncated, damaged, not a checkpoint, or one of another format; the message names the file.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"load: wanted a checkpoint file, got the folder {path}; name the .npz file in it")
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise FileNotFoundError(f"load: there is no checkpoint {path}; give another path, or train first") from None
    with file:
        try:
            return _read(path, file)
        except CheckpointError:
            raise
        except (*_UNREADABLE, OSError) as problem:
            if isinstance(problem, OSError) and problem.errno != errno.EINVAL:  # it is zipfile's, of a damaged offset
                raise
            raise CheckpointError(
                f"load: wanted a tinyconv checkpoint, got {path} ({path.stat().st_size} bytes), which is truncated, "
                f"damaged or another kind of file ({type(problem).__name__}: {problem}); copy or train it again"
            ) from None


def _read(path: Path, file: BinaryIO) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if "format" not in names:
            some = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            raise CheckpointError(
                f'load: wanted a tinyconv checkpoint (an npz with a member "format"), got {path} with the members '
                f"{some or 'none'}; for foreign weights build the model and call model.load_state_dict"
            )
        found = str(_member(archive, "format"))
        if found != FORMAT:
            ours = found.startswith(_FAMILY)
            raise CheckpointError(
                f"load: wanted format {FORMAT!r}, got {found[:60]!r} in {path}; it was written by "
                + ("another version of tinyconv: update tinyconv" if ours else "another program: read it with that one")
            )
        arrays = {name: _member(archive, name) for name in names}
    meta = json.loads(str(arrays.pop("meta")))
    if not isinstance(meta, dict):
        raise CheckpointError(f"load: the meta record of {path} must be a JSON object, got {type(meta).__name__}")
    del arrays["format"]
    return arrays, meta


def _member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Return one array; its bytes are read first, because zipfile checks their checksum only at the end."""
    raw = io.BytesIO(archive.read(f"{name}.npy"))
    array = np.lib.format.read_array(raw, allow_pickle=False)
    if raw.read(1):
        raise ValueError(f"{name} is longer than its header says")
    return array


# --------------------------------------------------------------------------------------------- nested dicts with arrays


def as_array(value: Any) -> np.ndarray:
    """Return an array, or a Tensor's array, in host memory."""
    data = value if isinstance(value, device.ARRAYS) else getattr(value, "data", None)
    return device.host(data if isinstance(data, device.ARRAYS) else np.asarray(value))


def pack(tree: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Put the arrays of nested dicts and lists into ``arrays`` under ``name/...``, and return the rest as JSON values.

    Unlike plain JSON it keeps dict keys that are ints and tells tuples from lists, as an optimizer's state needs.

    Examples
    --------
    >>> arrays = {}
    >>> record = pack({"state": {0: np.zeros(2)}, "lr": 0.1}, "optim", arrays)
    >>> list(arrays), unpack(record, arrays)
    (['optim/state/0'], {'state': {0: array([0., 0.])}, 'lr': 0.1})
    """
    if isinstance(tree, dict):
        return {"dict": [[plain(key), pack(value, f"{name}/{key}", arrays)] for key, value in tree.items()]}
    if isinstance(tree, (list, tuple)):
        kind = "tuple" if isinstance(tree, tuple) else "list"
        return {kind: [pack(value, f"{name}/{i}", arrays) for i, value in enumerate(tree)]}
    if isinstance(tree, device.ARRAYS) or isinstance(getattr(tree, "data", None), device.ARRAYS):
        arrays[name] = as_array(tree)
        return {"array" if isinstance(tree, device.ARRAYS) else "tensor": name}
    return plain(tree)


def unpack(record: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Undo :func:`pack`."""
    if not isinstance(record, dict):
        return record
    ((kind, value),) = record.items()
    if kind in ("array", "tensor"):
        return arrays[value] if kind == "array" else Tensor(arrays[value])
    if kind == "dict":
        return {key: unpack(part, arrays) for key, part in value}
    parts = [unpack(part, arrays) for part in value]
    return tuple(parts) if kind == "tuple" else parts


def plain(value: Any) -> Any:
    """Return a value as JSON knows it (tuples become lists); TypeError naming the type that cannot be written."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    raise TypeError(type(value).__name__)
