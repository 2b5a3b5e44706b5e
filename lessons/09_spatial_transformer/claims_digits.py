"""Claims about distorted digits, which ``claims.py`` measures: who errs least, and what a transformer undoes."""

from __future__ import annotations

import time
from functools import cache, partial
from pathlib import Path
from typing import Any

from tinyconv.claims import Claims, Runs, import_step, mean, numbers, values

FOLDER = Path(__file__).resolve().parent
EPOCHS, MORE = 20, 40
NETWORKS = ("FCN", "ST-FCN", "CNN", "ST-CNN")
PAIRED = ("FCN", "ST-FCN", "2xST-FCN")
LOOKING = ("ST-FCN", "ST-CNN")
_step = cache(partial(import_step, FOLDER))


@cache
def run_one(
    name: str, kind: str, seed: int, small: bool = False, epochs: int = EPOCHS, **options: Any
) -> dict[str, float]:
    """Train one network on a set; return its test error, what its transformer does, and the seconds it took.

    ``small`` is a trial of a second. Options: ``factor`` of the localisation network's rate, and those of the network's
    builder.
    """
    kit = _step("digits09")
    fit = {"factor": options.pop("factor")} if "factor" in options else {}
    train, test = (kit.digits(kind, part, seed, 128 if small else None) for part in ("train", "test"))
    model, began = kit.build(name, kind, seed, **options), time.perf_counter()
    kit.learn(model, train, 1 if small else epochs, seed, **fit)
    found = {"seconds": time.perf_counter() - began, "error": kit.judge(model, test)}
    found["parameters"] = sum(p.numel() for p in model.parameters())
    if len(model.transformers) and kind in ("r", "rts"):
        found["angle"] = kit.undone(model, test, min(len(test), 1000))
    if len(model.transformers) and kind == "tc":
        found["centre"] = kit.centre_error(model, test, min(len(test), 1000))
    return found


def rotated(seed: int, small: bool = False) -> dict[str, Any]:
    """R: digits turned by -90 to 90 degrees, anew in every epoch; 5,000 to learn from, 40 epochs, 60,000 parameters."""
    return {name: run_one(name, "r", seed, small, MORE) for name in NETWORKS}


def rotated_verdict(runs: Runs) -> tuple[bool, str]:
    """FCN errs most on every seed, ST-CNN least in the mean; on every seed both undo the angle (correlation > .6)."""
    errors = {name: mean(runs, name, "error") for name in runs[0]}
    least = min(run[name]["angle"] for run in runs for name in LOOKING)
    holds = all(_worst(run) == "FCN" for run in runs) and min(errors, key=errors.get) == "ST-CNN" and least > 0.6
    turned = "; ".join(f"{name} {numbers(runs, name, 'angle')}" for name in LOOKING)
    return holds, f"{table(runs)}; angle undone and true correlate: {turned}"


def moved(seed: int, small: bool = False) -> dict[str, Any]:
    """RTS at 42x42: turned by -45 to 45 degrees, scaled by .7 to 1.2, anywhere; 20 epochs, 60,000 parameters."""
    return {name: run_one(name, "rts", seed, small) for name in NETWORKS}


def moved_verdict(runs: Runs) -> tuple[None, str]:
    """Nothing: reported as measured. (The paper: FCN 5.2, CNN .8, ST-FCN .8, ST-CNN .5 %.)"""
    return None, table(runs)


def cluttered(seed: int, small: bool = False) -> dict[str, Any]:
    """TC at 42x42: a digit in a frame of 20 px, six pieces of 4x4 of others, 40 epochs; attention, start scale .6."""
    return {name: run_one(name, "tc", seed, small, MORE) for name in NETWORKS}


def cluttered_coarse(seed: int, small: bool = False, epochs: int = MORE) -> dict[str, Any]:
    """S3 with transformers that put out 21x21 pixels instead of 28x28."""
    coarse = {name: run_one(name, "tc", seed, small, epochs, out_size=21) for name in LOOKING}
    return {name: run_one(name, "tc", seed, small, epochs) for name in ("FCN", "CNN")} | coarse


def cluttered_less(seed: int, small: bool = False) -> dict[str, Any]:
    """S3 with 21x21 pixels and half as many epochs, 20."""
    return cluttered_coarse(seed, small, EPOCHS)


def cluttered_verdict(runs: Runs) -> tuple[bool, str]:
    """On every seed FCN errs most, ST-CNN less than CNN, and both miss the digit's middle by < 4 px, in the mean."""
    holds = all(
        _worst(run) == "FCN"
        and run["ST-CNN"]["error"] < run["CNN"]["error"]
        and max(run[name]["centre"] for name in LOOKING) < 4
        for run in runs
    )
    off = "; ".join(f"{name} {numbers(runs, name, 'centre', form='.1f')}" for name in LOOKING)
    return holds, f"{table(runs)}; middle missed by {off} px"


def added(seed: int, small: bool = False) -> dict[str, Any]:
    """Sums 0 to 8 of two digits 0 to 4, a channel each, 32x32, turned by +-30, scaled .7 to .9; 40 epochs, 101,000."""
    return {name: run_one(name, "pairs", seed, small, MORE, factor=0.3) for name in PAIRED}


def added_less(seed: int, small: bool = False) -> dict[str, Any]:
    """S4 with half as many epochs, 20."""
    return {name: run_one(name, "pairs", seed, small, factor=0.3) for name in PAIRED}


def added_verdict(runs: Runs) -> tuple[bool, str]:
    """In the mean two transformers err less than one, and one less than none."""
    none, one, two = (mean(runs, name, "error") for name in PAIRED)
    return two < one < none, table(runs)


def _worst(run: dict[str, Any]) -> str:
    return max(run, key=lambda name: run[name]["error"])


def table(runs: Runs) -> str:
    """Return "FCN 11.2 / 10.9 / 11.5 %; CNN ..." of every network."""
    each = {name: [f"{100 * error:.1f}" for error in values(runs, name, "error")] for name in runs[0]}
    return "; ".join(f"{name} {' / '.join(errors)} %" for name, errors in each.items())


CLAIMS: Claims = {
    "S1": (rotated, rotated_verdict),
    "S2": (moved, moved_verdict),
    "S3": (cluttered, cluttered_verdict),
    "S3, 21x21": (cluttered_coarse, cluttered_verdict),
    "S3, 21x21, 20 epochs": (cluttered_less, cluttered_verdict),
    "S4": (added, added_verdict),
    "S4, 20 epochs": (added_less, added_verdict),
}
