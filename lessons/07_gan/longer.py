"""How far the GAN goes in half an hour: its Parzen log-likelihood on test digits, minute by minute.

``python lessons/07_gan/longer.py --minutes 30`` trains step 6's networks by the same recipe, but longer, and writes
``longer.json`` (figures), ``longer.png`` (the curve) and ``longer.npz`` (the networks) to ``--out``. The record beside
this file is that of half an hour, and under "twice as wide" the one that ``--width 2 --minutes 2 --every 10`` wrote.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

from blurred07 import blurred
from digits07 import digits
from matplotlib.figure import Figure
from step6_train import TRAIN, judge, learn

import tinyconv
from tinyconv.files import write_text
from tinyconv.generative.measures import spread
from tinyconv.models import gan
from tinyconv.models.gan import bias_to_mean

PAPER = 225  # Goodfellow et al. 2014, table 1: with 60,000 digits


class Judge:
    """A callback that estimates the log-likelihood every ``every`` epochs and stops the training in time."""

    def __init__(self, minutes: float, every: int, samples: int) -> None:
        self.left, self.every, self.samples = 60 * minutes, every, samples
        self.rows: list[dict[str, Any]] = []

    def measure(self, model: Any, epoch: int, step: int, seconds: float) -> None:
        """Add a row."""
        found = judge(model.sample(self.samples, seed=1))
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


def compared(samples: int) -> dict[str, float]:
    """Return the log-likelihood with the training digits as if they were samples, and with means of three of them."""
    images = digits("train", TRAIN["gan"]).images
    found = {"training_images": images, "blurred": blurred(images, samples)}
    return {name: round(judge(centres).mean, 1) for name, centres in found.items()}


def main() -> None:
    """Train, judge, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of training (30)")
    parser.add_argument("--every", type=int, default=40, help="epochs from one estimate to the next (40)")
    parser.add_argument("--samples", type=int, default=10_000, help="windows of an estimate (10000)")
    parser.add_argument("--width", type=float, default=1.0, help="factor of both networks' hidden units (1)")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    parser.add_argument("--out", type=Path, default=Path("tinyconv-output", "07"), help="(./tinyconv-output/07)")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    tinyconv.manual_seed(given.seed)
    model, watch = gan(scale="lesson", width=given.width), Judge(given.minutes, given.every, given.samples)
    bias_to_mean(model, digits("train").images[:500])  # as train_gan does first
    watch.measure(model, 0, 0, 0.0)
    began = perf_counter()
    learn(model, "gan", epochs=100_000, seed=given.seed, callbacks=[watch], print_every=100_000)
    tinyconv.save(given.out / "longer.npz", model)
    record: dict[str, Any] = {"minutes": given.minutes, "every": given.every, "seed": given.seed, "width": given.width}
    record |= {"samples": given.samples, "with_estimates": round(perf_counter() - began)}
    record |= {"threads": tinyconv.get_num_threads(), **compared(given.samples)}
    record |= {"spread": round(spread(model.sample(given.samples, seed=1)), 3), "rows": watch.rows}
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
    known, means = record["training_images"], record["blurred"]
    axis.axhline(means, color="C1", linestyle="-.", label=f"means of a training digit and two neighbours: {means}")
    axis.axhline(known, color="0.5", linestyle=":", label=f"the 4,500 training digits themselves: {known}")
    axis.set(xlabel="minutes of training", ylabel="log-likelihood of test digits (nats)")
    axis.set(title="Parzen windows around samples; bars: one standard error", ylim=(None, 320))
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=9)
    return figure


if __name__ == "__main__":
    main()
