"""A folder with a picture for each epoch of a training. See :class:`EpochPictures`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tinyconv.files import writable_folder


class EpochPictures:
    """The files ``epoch-0001.png`` and so on of a folder, which is made if it is missing.

    Parameters
    ----------
    folder : str or Path
    who : str
        Begins the error if the folder cannot be written to (OSError).
    """

    def __init__(self, folder: str | Path, who: str) -> None:
        self.folder = writable_folder(Path(folder), who, "choose another folder")

    def path(self, epoch: int) -> Path:
        """Return where an epoch's picture belongs."""
        return self.folder / f"epoch-{epoch:04d}.png"

    def files(self) -> list[tuple[int, Path]]:
        """Return the pictures that there are and their epochs, in order."""
        named = [(re.fullmatch(r"epoch-(\d{4,})\.png", path.name), path) for path in self.folder.iterdir()]
        return sorted((int(match.group(1)), path) for match, path in named if match)

    def forget(self, epoch: int) -> None:
        """Remove the pictures of later epochs than this one: an earlier run left them."""
        for number, path in self.files():
            if number > epoch:
                path.unlink(missing_ok=True)


def even(items: list[Any], most: int) -> list[Any]:
    """Return at most so many of the items, evenly chosen, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]
