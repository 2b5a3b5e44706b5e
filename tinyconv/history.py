"""What a training run reported, epoch by epoch, and its curves. See :class:`History`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyconv.files import atomic_write, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]


class History:
    """The rows of a training run, one per epoch.

    A row holds ``epoch`` (from 1), ``step`` (optimizer steps so far), ``lr`` (of the epoch's last step), ``train_loss``
    and ``train_accuracy`` (means over the epoch, while the weights change and dropout is on), ``test_loss`` and
    ``test_accuracy`` (after the epoch; only with a test loader), ``seconds``. Accuracies lie in [0, 1] and are left out
    where outputs are no class scores.

    Examples
    --------
    >>> history = History([{"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 1.5}])
    >>> len(history), history["train_loss"], history.last["epoch"]
    (2, [2.0, 1.5], 2)
    """

    def __init__(self, rows: list[Row] | None = None) -> None:
        self.rows: list[Row] = [] if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        """Return one column, such as ``history["test_accuracy"]``; None where a row lacks it."""
        names = sorted({name for row in self.rows for name in row})
        if self.rows and column not in names:
            raise KeyError(f"History: wanted one of {', '.join(names)}, got {column!r}")
        return [row.get(column) for row in self.rows]

    @property
    def last(self) -> Row:
        """The last epoch's row; an empty dict before the first epoch has ended."""
        return self.rows[-1] if self.rows else {}

    def __repr__(self) -> str:
        return "\n".join(["History:", *(describe(row) for row in self.rows)]) if self.rows else "History: no epoch yet"

    @classmethod
    def read(cls, path: str | Path) -> History:
        """Return the history of a ``train.jsonl`` that :func:`tinyconv.fit` wrote."""
        return cls([{k: v for k, v in row.items() if k != "kind"} for row in read_log(path) if row["kind"] == "epoch"])

    def plot(self, path: str | Path | None = None, title: str = "Training") -> Figure:
        """Draw loss and accuracy over epochs.

        Parameters
        ----------
        path : str or Path, optional
            Where to save the figure as PNG.
        title : str

        Returns
        -------
        matplotlib Figure
        """
        from matplotlib.figure import Figure  # not pyplot: works in any thread and needs no display

        present = {name for row in self.rows for name, value in row.items() if value is not None}
        curves = [
            ("loss", "Loss", 1.0, [("train_loss", "training (mean over the epoch)"), ("test_loss", "test")]),
            ("accuracy", "Accuracy (%)", 100.0, [("train_accuracy", "training"), ("test_accuracy", "test")]),
        ]
        if "discriminator_accuracy" in present:  # two networks against each other
            curves = [
                ("loss", "Loss", 1.0, [("train_loss", "discriminator"), ("generator_loss", "generator")]),
                ("accuracy", "Right (%)", 100.0, [("discriminator_accuracy", "discriminator")]),
            ]
        curves = [c for c in curves if present & {name for name, _ in c[3]}] or curves[:1]
        figure = Figure(figsize=(5.2 * len(curves), 3.8), layout="constrained")
        figure.suptitle(title)
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (kind, label, scale, lines) in zip(panels, curves, strict=True):
            for (name, text), marker in zip(lines, "os", strict=False):
                points = [(row["epoch"], scale * row[name]) for row in self.rows if row.get(name) is not None]
                if points:
                    axes.plot(*zip(*points, strict=True), marker=marker, markersize=4, label=text)
            axes.set_xlabel("Epoch")
            axes.set_ylabel(label)
            axes.set_title(f"{title}: {kind}" if len(curves) == 1 else kind.capitalize())
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)  # also for a single epoch
            axes.ticklabel_format(useOffset=False)
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend()
        if path is not None:
            atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=120))
        return figure


def describe(row: Row, epochs: int | None = None) -> str:
    """Return a row as one line of text."""
    of = f"/{epochs}" if epochs else ""
    parts = [f"epoch {row['epoch']}{of}", f"loss {row['train_loss']:.4f}"]
    if row.get("discriminator_accuracy") is not None:
        parts[-1] = f"losses D {row['train_loss']:.3f}"
        if row.get("generator_loss") is not None:
            parts[-1] += f", G {row['generator_loss']:.3f}"
        parts.append(f"D right {100 * row['discriminator_accuracy']:.1f} %")
    if row.get("sample_spread") is not None:
        parts.append(f"spread {row['sample_spread']:.3f}")
    if row.get("train_accuracy") is not None:
        parts.append(f"accuracy {100 * row['train_accuracy']:.1f} %")
    if row.get("test_loss") is not None:
        parts.append(f"test loss {row['test_loss']:.4f}")
    if row.get("test_accuracy") is not None:
        parts.append(f"test accuracy {100 * row['test_accuracy']:.1f} %")
    if row.get("map") is not None:
        parts.append(f"mAP {row['map']:.3f}")
    if row.get("lr") is not None and row.get("discriminator_accuracy") is None:  # of two rates the first says little
        parts.append(f"lr {row['lr']:.4g}")
    if row.get("seconds") is not None:
        parts.append(f"{row['seconds']:.1f} s")
    return "  ".join(parts)


class Log:
    """A file of JSON lines: one per epoch (``kind`` "epoch"), some in between (``kind`` "step"); flushed each time."""

    def __init__(self, path: Path | None, resumed_at: tuple[int, int] | None = None) -> None:
        """Open the log; ``resumed_at`` (epochs, steps) keeps the lines up to there, and drops what came after."""
        self._file = None
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if resumed_at is not None:
            done = {"epoch": resumed_at[0], "step": resumed_at[1]}
            kept = [row for row in read_log(path) if row[row["kind"]] <= done[row["kind"]]]
            write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = open(path, "w" if resumed_at is None else "a", encoding="utf-8")  # noqa: SIM115

    def write(self, kind: str, row: Row) -> None:
        """Append one line."""
        if self._file is not None:
            self._file.write(json.dumps({"kind": kind, **row}) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_log(path: str | Path) -> list[Row]:
    """Return the lines of a ``train.jsonl``; a last line cut off by a kill is left out, a missing file is empty."""
    rows: list[Row] = []
    try:
        text = Path(path).read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return rows
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and row.get("kind") in ("epoch", "step") and {"epoch", "step"} <= set(row):
            rows.append(row)
    return rows
