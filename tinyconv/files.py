"""Writing files so that a crash leaves the old file or the new one, never half of one. See :func:`atomic_write`."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

_STALE = 3600.0  # seconds: a temporary file older than this was left by a process that was killed


def atomic_write(path: str | Path, write: Callable[[BinaryIO], Any]) -> Path:
    """Call ``write(file)`` on a temporary file in the same folder, then put it in the place of ``path``.

    The rename is atomic on POSIX and Windows, and the data is on the disk before it (fsync), so whoever opens ``path``
    sees a whole file, also after a crash or a power cut. Missing folders are made.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full; ``path`` is then what it was before.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: wanted the name of a file to write, got a folder; add a file name")
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):  # another process may just have renamed its own, or owns what is left
            if time.time() - left.stat().st_mtime > _STALE:
                left.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename itself must reach the disk too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return path


def writable_folder(path: Path, who: str, advice: str) -> Path:
    """Make the folder if it is not there, and raise OSError in one line if no file can be written to it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as problem:
        raise OSError(f"{who}: cannot write to the folder {path} ({problem.strerror}); {advice}") from None
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file (UTF-8) atomically."""
    return atomic_write(path, lambda file: file.write(text.encode("utf-8")))


def read_json(path: str | Path, default: Any) -> Any:
    """Return the JSON value in a file; ``default`` if there is no such file or it holds something else."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return default
