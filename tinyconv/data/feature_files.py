"""Features of images that another program computed, as files. See :func:`read_features`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_MAT73 = b"MATLAB 7.3"  # such a file is HDF5


def read_features(file: str | Path, key: str = "feats") -> np.ndarray:
    """Read the features of images: one row each.

    Parameters
    ----------
    file : str or Path
        A NumPy file ``.npy``, (N, F); or a MATLAB file ``.mat`` as Karpathy's ``vgg_feats.mat``, (F, N), which is
        turned: a column is an image. The latter needs SciPy.
    key : str
        Name of the array in a MATLAB file.

    Returns
    -------
    array, (N, F), float32

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ImportError
        A MATLAB file is to be read and SciPy is not there.
    ValueError
        The file is damaged or of MATLAB 7.3, has no such array, or the array is no finite numbers of two axes.
    """
    who, path = "read_features", Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"{who}: there is no file {path}")
    if path.suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as problem:
            raise ValueError(f"{who}: {path} is no array of numbers ({_first_line(problem)})") from None
    elif path.suffix == ".mat":
        array = _matlab(who, path, key).T
    else:
        raise ValueError(f"{who}: wanted a file .npy or .mat, got {path}")
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(f"{who}: {path} must hold numbers of two axes, got {array.dtype} of shape {array.shape}")
    found = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found).all(1)))
        raise ValueError(f"{who}: {path}: features must be finite, got NaN or inf for image {row}")
    return found


def _matlab(who: str, path: Path, key: str) -> np.ndarray:
    """Return an array of a MATLAB file as it lies there."""
    with path.open("rb") as opened:
        if opened.read(len(_MAT73)) == _MAT73:
            raise ValueError(
                f"{who}: {path} is a MATLAB 7.3 file (HDF5), which is not read; save it in MATLAB with -v7, or as .npy"
            )
    try:
        from scipy.io import loadmat
    except ImportError:
        raise ImportError(
            f"{who}: a .mat file needs SciPy: pip install tinyconv[captions]; or save the array as .npy"
        ) from None
    try:
        whole = loadmat(path)
    except Exception as problem:  # SciPy's reader raises whatever its parts do
        raise ValueError(f"{who}: {path} is no MATLAB file, or a damaged one ({_first_line(problem)})") from None
    if key not in whole:
        has = ", ".join(sorted(name for name in whole if not name.startswith("__"))) or "nothing"
        raise ValueError(f"{who}: {path} must hold an array {key!r}, it has {has}; say key=...")
    return np.asarray(whole[key])


def _first_line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]
