"""How far the GAN goes in half an hour: its Parzen log-likelihood on test digits, minute by minute.

``python lessons/07_gan/longer.py --minutes 30`` trains step 6's networks by the same recipe, but longer, and writes
``longer.json`` (figures), ``longer.png`` (the curve) and ``longer.npz`` (the networks) to ``--out``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

from matplotlib.figure import Figure

import tinyconv
from tinyconv import data
from tinyconv.files import write_text
from tinyconv.generative.parzen import parzen, references
from tinyconv.generative.training import train_gan
from tinyconv.models import gan
from tinyconv.models.gan import bias_to_mean

TRAIN = 4500  # digits to learn from; the others choose the windows' width
PAPER = 225  # Goodfellow et al. 2014, table 1: with 60,000 digits


class Judge:
    """A callback that estimates the log-likelihood every ``every`` epochs and stops the training in time."""

    def __init__(self, minutes: float, every: int, samples: int) -> None:
        self.left, self.every, self.samples = 60 * minutes, every, samples
        digits, test = data.mnist(), data.mnist("test")
        parts = (data.Subset(digits, range(TRAIN)), data.Subset(digits, range(TRAIN, 5000)), test)
        train, self.validation, self.test = (pixels(part) for part in parts)
        self.training_images = references(train, self.validation, self.test)["training images"].mean
        self.rows: list[dict[str, Any]] = []

    def measure(self, model: Any, epoch: int, step: int, seconds: float) -> None:
        """Add a row."""
        found = parzen(model.sample(self.samples, seed=1), self.validation, self.test)
        row = {"epoch": epoch, "step": step, "seconds": round(seconds), "log_likelihood": round(found.mean, 1)}
        row |= {"standard_error": round(found.standard_error, 1), "sigma": round(found.sigma, 3)}
        self.rows.append(row)
        print(row, flush=True)

    def on_epoch(self, state: Any) -> None:
        """Judge the samples of this epoch, if it is its turn."""
        seconds = sum(row["seconds"] for row in state.history)
        state.stop = seconds >= self.left
        if state.stop or state.epoch % self.every == 0:
            self.measure(state.model, state.epoch, state.step, seconds)


def pixels(part: Any) -> Any:
    """Return the images of a data set as one array."""
    return tinyconv.stack([tinyconv.tensor(part[i][0]) for i in range(len(part))]).numpy()


def main() -> None:
    """Train, judge, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of training (30)")
    parser.add_argument("--every", type=int, default=20, help="epochs from one estimate to the next (20)")
    parser.add_argument("--samples", type=int, default=10_000, help="windows of an estimate (10000)")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    parser.add_argument("--out", type=Path, default=Path("tinyconv-output", "07"), help="(./tinyconv-output/07)")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    tinyconv.manual_seed(given.seed)
    model, judge = gan(scale="lesson"), Judge(given.minutes, given.every, given.samples)
    bias_to_mean(model, pixels(data.Subset(data.mnist(), range(500))))  # as train_gan does first
    judge.measure(model, 0, 0, 0.0)
    began = perf_counter()
    train_gan(
        model, data.Subset(data.mnist(), range(TRAIN)), epochs=100_000, seed=given.seed, callbacks=[judge],
        print_every=100_000,
    )  # fmt: skip
    tinyconv.save(given.out / "longer.npz", model)
    record: dict[str, Any] = {"minutes": given.minutes, "seed": given.seed, "samples": given.samples}
    record |= {"with_estimates": round(perf_counter() - began), "threads": tinyconv.get_num_threads()}
    record |= {"training_images": round(judge.training_images, 1), "rows": judge.rows}
    write_text(given.out / "longer.json", json.dumps(record, indent=1) + "\n")
    curve(record).savefig(given.out / "longer.png", dpi=120)
    print(f"wrote {given.out / 'longer.json'}, longer.png and longer.npz")


def curve(record: dict[str, Any]) -> Figure:
    """Draw the log-likelihood against minutes of training, from the record in ``longer.json``."""
    rows = record["rows"]
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    minutes = [row["seconds"] / 60 for row in rows]
    axis.errorbar(minutes, [r["log_likelihood"] for r in rows], [r["standard_error"] for r in rows], fmt="o-", ms=3)
    axis.axhline(PAPER, color="0.5", linestyle="--", label=f"the paper's, with 60,000 digits: {PAPER}")
    best = record["training_images"]
    axis.axhline(best, color="0.5", linestyle=":", label=f"windows around the 4,500 digits themselves: {best}")
    axis.set(xlabel="minutes of training", ylabel="log-likelihood of test digits (nats)")
    axis.set(title="Parzen windows around samples; bars: one standard error")
    axis.grid(alpha=0.3)
    axis.legend(loc="center right")
    return figure


if __name__ == "__main__":
    main()
