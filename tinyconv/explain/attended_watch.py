"""What a network's transformers look at, epoch by epoch. See :class:`AttendedWatch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tinyconv import device
from tinyconv.epoch_pictures import EpochPictures, even
from tinyconv.evaluation import home
from tinyconv.explain.attended import as_array
from tinyconv.explain.attended_figures import labelled, picture
from tinyconv.files import atomic_write
from tinyconv.nn.modes import kept_modes
from tinyconv.tensor import Tensor

_ROWS, _FILM = 6, 100  # epochs of the strip, and of the film
_SECONDS, _HOLD = 0.25, 6  # of a frame; the last one stays that many times longer


class AttendedWatch:
    """A callback for ``tinyconv.fit`` that draws after every epoch where the transformers look in the same images.

    It writes ``epoch-0001.png`` and so on. A resumed run goes on in the same folder; pictures of later epochs, which an
    earlier run left there, are removed.

    Parameters
    ----------
    model : Module
        With ``attended(images) -> [(grid (N, OH, OW, 2), output (N, C, OH, OW)), ...]``, such as
        :class:`tinyconv.models.STNetwork`.
    folder : str or Path
        For the pictures.
    images : array or Tensor, (N, C, H, W), in [0, 1]
        About eight.

    Raises
    ------
    ValueError
        No images.
    OSError
        The folder cannot be written to.

    Examples
    --------
    >>> watch = AttendedWatch(model, "run/attended", images)  # doctest: +SKIP
    >>> tinyconv.fit(model, loader, optimizer=optimizer, epochs=20, callbacks=[watch])  # doctest: +SKIP
    >>> watch.finish()  # doctest: +SKIP
    """

    def __init__(self, model: Any, folder: str | Path, images: Any) -> None:
        if not hasattr(model, "attended"):
            raise TypeError(
                f"AttendedWatch: model must have attended(images), as STNetwork, got {type(model).__name__}"
            )
        self.model, self.images = model, as_array(images)
        if self.images.ndim != 4 or 0 in self.images.shape:
            raise ValueError(f"AttendedWatch: images must be (N, C, H, W), at least one, got shape {self.images.shape}")
        self.pictures = EpochPictures(folder, "AttendedWatch")
        self.folder = self.pictures.folder
        self._epoch: int | None = None  # the last one seen

    def before(self) -> None:
        """Draw epoch 0, where a training begins; pictures of an earlier one go."""
        self.pictures.forget(0)
        self._draw(0)

    def on_epoch(self, state: Any) -> None:
        """Draw where the transformers look now."""
        if self._epoch is None:
            self.pictures.forget(state.epoch)
        self._draw(state.epoch)

    def finish(self) -> list[Path]:
        """Write how it came to what is looked at now, and return the files.

        ``strip.png``: at most six epochs below each other, evenly chosen, the first and the last among them;
        ``attended.gif``: the film of all epochs (of a hundred at most).
        """
        from PIL import Image

        frames = []
        for epoch, path in even(self.pictures.files(), _FILM):
            try:
                with Image.open(path) as found:
                    frames.append(labelled(np.asarray(found.convert("RGB")), f"epoch {epoch}"))
            except OSError:  # it is damaged, or was just removed
                continue
        frames = [frame for frame in frames if frame.shape == frames[-1].shape]  # of other images, from before
        if not frames:
            return []
        strip = Image.fromarray(np.concatenate(even(frames, _ROWS)))
        first, *others = [Image.fromarray(frame) for frame in frames]
        times = [round(1000 * _SECONDS)] * len(others) + [round(1000 * _SECONDS * _HOLD)]
        film = {"save_all": True, "append_images": others, "duration": times, "loop": 0}
        return [
            atomic_write(self.folder / "strip.png", lambda file: strip.save(file, format="png")),
            atomic_write(self.folder / "attended.gif", lambda file: first.save(file, format="gif", **film)),
        ]

    def _draw(self, epoch: int) -> None:
        from PIL import Image

        where, dtype = home(self.model), next(self.model.parameters()).dtype
        with kept_modes(self.model):
            self.model.eval()
            looks = self.model.attended(Tensor(device.move(self.images.astype(dtype), where)))
        frame = Image.fromarray(picture(self.images, looks))
        atomic_write(self.pictures.path(epoch), lambda file: frame.save(file, format="png"))
        self._epoch = epoch
