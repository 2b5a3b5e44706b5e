"""Array kernels of tinyconv: raw arrays in, raw arrays out; they know nothing of tensors.

The folder is ``kernels/``, the package ``tinyconv_kernels``: the import name ``kernels`` belongs to another project on
PyPI.
"""

import hashlib
import os
import tempfile
from pathlib import Path

import numba


def _source_hash() -> str:
    """Hash of every kernel source file.

    Numba's cache looks only at the file of the compiled function, so an edited helper in another file would leave its
    callers stale (numba#9483). A cache folder named by all sources makes that impossible.
    """
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where the compiled kernels of this version of the sources are kept."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(home) / "tinyconv" / f"numba-{numba.__version__}-{_source_hash()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # read-only home (containers): compiled kernels last as long as the temporary folder
        user = os.getuid() if hasattr(os, "getuid") else "user"
        folder = Path(tempfile.gettempdir()) / f"tinyconv-{user}" / folder.name
    return folder


if not os.environ.get("NUMBA_CACHE_DIR"):
    numba.config.CACHE_DIR = str(cache_folder())
