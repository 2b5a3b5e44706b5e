"""What a generator draws while it learns, epoch by epoch. See :class:`Watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.data.image import read_image
from tinyconv.epoch_pictures import EpochPictures, even
from tinyconv.files import atomic_write
from tinyconv.generative.figures import magnification, save_gif, save_png, square, strip
from tinyconv.generative.measures import spread, verdict

_MOST = 400  # samples of a picture
_ROWS, _FILM = 8, 100  # epochs of the strip, and of the film


class Watch:
    """A callback for ``tinyconv.fit`` that draws samples of the same latent points after every epoch.

    It writes ``epoch-0001.png`` and so on, adds ``sample_spread`` to the epoch's row (see
    :func:`tinyconv.generative.measures.spread`), and prints a line when :func:`tinyconv.generative.measures.verdict`
    finds that the training has gone wrong. A resumed run goes on in the same folder; files of later epochs, which an
    earlier run left there, are removed.

    Parameters
    ----------
    model
        With ``latent(n, seed)`` and ``sample(points)``, such as a :class:`tinyconv.models.gan.GAN`.
    folder : str or Path
        For the pictures.
    n : int
        Samples of a picture, 2 to 400.
    every : int
        Epochs from one picture to the next.
    data_spread : float, optional
        :func:`spread` of the training images, with which that of the samples is compared.
    seed : int
        Of the latent points.

    Raises
    ------
    ValueError
        ``n`` or ``every`` is out of range, or ``data_spread`` not positive.
    OSError
        The folder cannot be written to.

    Examples
    --------
    >>> watch = Watch(model, "run/samples", data_spread=spread(images))  # doctest: +SKIP
    >>> tinyconv.fit(model, loader, optimizer=optimizer, epochs=20, callbacks=[watch])  # doctest: +SKIP
    >>> watch.finish()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        folder: str | Path,
        n: int = 64,
        every: int = 1,
        data_spread: float | None = None,
        *,
        seed: int = 0,
    ) -> None:
        for name, value, least, most in (("n", n, 2, _MOST), ("every", every, 1, None)):
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not whole or value < least or (most is not None and value > most):
                limits = f"of at least {least}" if most is None else f"from {least} to {most}"
                raise ValueError(f"Watch: {name} must be an int {limits}, got {value!r}")
        verdict([], data_spread)  # raises now, not after an epoch
        self.model, self.every, self.data_spread = model, int(every), data_spread
        self.pictures = EpochPictures(folder, "Watch")
        self.folder = self.pictures.folder
        self.points = model.latent(int(n), seed)
        self._epoch: int | None = None  # the last one seen
        self._said: str | None = None

    def before(self, model: Any = None) -> None:
        """Draw the samples before training, as epoch 0, where a training begins; pictures of an earlier one go."""
        self.pictures.forget(0)
        self._draw(self.pictures.path(0), model)
        self._epoch = 0

    def on_epoch(self, state: Any) -> None:
        """Draw the samples, if this epoch is to be drawn, and say so if something has gone wrong."""
        if self._epoch is None:
            self.pictures.forget(state.epoch)
        self._epoch = state.epoch
        if state.epoch % self.every == 0:
            state.row["sample_spread"] = spread(self._draw(self.pictures.path(state.epoch)))
        found = verdict(state.history, self.data_spread)
        kind = None if found is None else found.partition(":")[0]
        if found is not None and kind != self._said:
            from tqdm import tqdm

            tqdm.write(f"epoch {state.epoch}: {found}")  # not through the bar
        self._said = kind

    def finish(self) -> list[Path]:
        """Write what the model draws now and how it came to it, and return the files.

        ``samples.png`` are the samples now; ``strip.png`` at most eight epochs, evenly chosen, the first and the last
        among them; ``samples.gif`` the film of all epochs whose pictures are in the folder (of a hundred at most).
        """
        images = self._draw(self.folder / "samples.png")
        written = [self.folder / "samples.png"]
        last = self._epoch  # with every=5, the 7th has no picture yet
        if last is not None and not self.pictures.path(last).exists():
            save_png(images, self.pictures.path(last))
        read = [(epoch, self._read(path, images.shape)) for epoch, path in self.pictures.files()]
        found = [(epoch, pixels) for epoch, pixels in read if pixels is not None]
        if found:
            chosen = even(found, _ROWS)
            labels = [f"epoch {epoch}" for epoch, _ in chosen]
            figure = strip([pixels for _, pixels in chosen], labels, title="the same latent points, while G learns")
            written.append(
                atomic_write(self.folder / "strip.png", lambda file: figure.savefig(file, format="png", dpi=120))
            )
            film = even(found, _FILM)
            names = [f"epoch {epoch}" for epoch, _ in film]
            written.append(save_gif([pixels for _, pixels in film], self.folder / "samples.gif", labels=names))
        return written

    def _draw(self, path: Path, model: Any = None) -> np.ndarray:
        """Write the samples as a PNG and return them."""
        images = np.asarray((self.model if model is None else model).sample(self.points))
        save_png(images, path)
        return images

    def _read(self, path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return the images (N, C, H, W) of a picture that :func:`save_png` wrote; None if it is none of this size."""
        count, channels, height, width = shape
        columns = square(count)
        rows = -(-count // columns)
        times = magnification((height, width), columns)
        try:
            whole = read_image(path, "L" if channels == 1 else "RGB")[:, ::times, ::times]
        except (OSError, ValueError):  # it is damaged, or was just removed
            return None
        if whole.shape != (channels, rows * (height + 1) - 1, columns * (width + 1) - 1):
            return None
        padded = np.pad(whole, ((0, 0), (0, 1), (0, 1)))
        cells = padded.reshape(channels, rows, height + 1, columns, width + 1)[:, :, :height, :, :width]
        return cells.transpose(1, 3, 0, 2, 4).reshape(rows * columns, channels, height, width)[:count]
