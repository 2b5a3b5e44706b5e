"""Members of an archive, read without unpacking it. See :class:`Archive`."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from pathlib import Path
from types import TracebackType

_CHUNK = 1 << 20


class Archive:
    """A zip (a wheel is one) or tar file, open for reading; use it in a ``with`` block."""

    def __init__(self, path: Path) -> None:
        self._file: zipfile.ZipFile | tarfile.TarFile = (
            zipfile.ZipFile(path) if zipfile.is_zipfile(path) else tarfile.open(path)  # noqa: SIM115
        )

    def read(self, member: str) -> bytes:
        """Return the content of one member; KeyError if there is none of this name."""
        if isinstance(self._file, zipfile.ZipFile):
            return self._file.read(member)
        file = self._file.extractfile(member)
        if file is None:
            raise ValueError(f"{member} is no file")
        with file:
            return file.read()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


def is_archive(path: Path) -> bool:
    """Return whether the file is one that :class:`Archive` opens."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def sha256(path: Path) -> str:
    """Return a file's checksum."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()
