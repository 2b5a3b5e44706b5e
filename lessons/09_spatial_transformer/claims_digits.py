"""Claims about distorted digits, which ``claims.py`` measures: which network errs least, and what a transformer undoes."""

from __future__ import annotations

import time
from functools import cache, partial
from pathlib import Path
from typing import Any

from tinyconv.claims import Claims, Runs, import_step, mean, numbers, percents, values

FOLDER = Path(__file__).resolve().parent
EPOCHS = {"r": 40, "rts": 20, "p": 20, "e": 20, "tc": 20, "pairs": 20, "pairs10": 20}
_step = cache(partial(import_step, FOLDER))


@cache
def run_one(name: str, kind: str, seed: int, small: bool = False, **options: Any) -> dict[str, float]:
    """Train one network on a set; return its test error, what its transformer does, and the seconds it took.

    ``small`` is a trial of a second. Options: ``factor`` of the localisation network's rate, ``digits``, those of the
    network's builder.
    """
    kit = _step("digits09")
    options = dict(options)
    fit = {"factor": options.pop("factor")} if "factor" in options else {}
    train, test = (kit.digits(kind, part, seed, 128 if small else None) for part in ("train", "test"))
    model, began = kit.build(name, kind, seed, **options), time.perf_counter()
    kit.learn(model, train, 1 if small else EPOCHS[kind], seed, **fit)
    found = {"seconds": time.perf_counter() - began, "error": kit.judge(model, test)}
    found["parameters"] = sum(p.numel() for p in model.parameters())
    if len(model.transformers) and kind in ("r", "rts"):
        found["angle"] = kit.undone(model, test, min(len(test), 1000))
    if len(model.transformers) and kind == "tc":
        found["centre"] = kit.centre_error(model, test, min(len(test), 1000))
    return found


def rotated(seed: int, small: bool = False) -> dict[str, Any]:
    """R: digits turned by -90 to 90 degrees, anew in every epoch; 5,000 to learn from, 40 epochs, 60,000 parameters."""
    return {name: run_one(name, "r", seed, small) for name in ("FCN", "ST-FCN", "CNN", "ST-CNN")}


def rotated_verdict(runs: Runs) -> tuple[bool, str]:
    """FCN errs most and ST-CNN least, on every seed; ST-FCN's transformer turns digits back (correlation above .6)."""
    holds = all(_extremes(run, "FCN", "ST-CNN") and run["ST-FCN"]["angle"] > 0.6 for run in runs)
    turned = "; ".join(f"{name} {numbers(runs, name, 'angle')}" for name in ("ST-FCN", "ST-CNN"))
    return holds, f"{table(runs)}; angle undone and true correlate: {turned}"


def moved(seed: int, small: bool = False) -> dict[str, Any]:
    """RTS at 42x42: turned by -45 to 45 degrees, scaled by .7 to 1.2, anywhere; 20 epochs, 60,000 parameters."""
    return {name: run_one(name, "rts", seed, small) for name in ("FCN", "ST-FCN", "CNN", "ST-CNN")}


def moved_verdict(runs: Runs) -> tuple[None, str]:
    """Nothing: reported as measured. (The paper: FCN 5.2, CNN .8, ST-FCN .8, ST-CNN .5 %.)"""
    return None, table(runs)


def cluttered(seed: int, small: bool = False) -> dict[str, Any]:
    """TC at 42x42: a digit in a frame of 20 px, six pieces of 4x4 of others, 20 epochs, attention, start scale .6."""
    return {name: run_one(name, "tc", seed, small) for name in ("FCN", "ST-FCN", "CNN", "ST-CNN")}


def cluttered_verdict(runs: Runs) -> tuple[bool, str]:
    """FCN errs most and ST-CNN less than CNN on every seed; ST-CNN looks within 4 px of the digit's middle, mean."""
    holds = all(
        run["FCN"]["error"] == max(run[name]["error"] for name in run)
        and run["ST-CNN"]["error"] < run["CNN"]["error"]
        and max(run[name]["centre"] for name in ("ST-FCN", "ST-CNN")) < 4
        for run in runs
    )
    off = "; ".join(f"{name} {numbers(runs, name, 'centre', form='.1f')}" for name in ("ST-FCN", "ST-CNN"))
    return holds, f"{table(runs)}; middle missed by {off} px"


PAIRED = ("FCN", "ST-FCN", "2xST-FCN")


def added(seed: int, small: bool = False) -> dict[str, Any]:
    """Sums 0 to 8 of two digits 0 to 4, a channel each, 32x32, turned by +-30, scaled .7 to .9; 20 epochs, 101,000."""
    return {name: run_one(name, "pairs", seed, small, factor=0.3) for name in PAIRED}


def added_verdict(runs: Runs) -> tuple[bool, str]:
    """In the mean two transformers err less than one, and one less than none."""
    none, one, two = (mean(runs, name, "error") for name in PAIRED)
    return two < one < none, table(runs)


def _extremes(run: dict[str, Any], worst: str, best: str) -> bool:
    errors = {name: found["error"] for name, found in run.items()}
    return errors[worst] == max(errors.values()) and errors[best] == min(errors.values())


def table(runs: Runs) -> str:
    """Return "FCN 11.2% / 10.9% / 11.5%; CNN ..." of every network."""
    return "; ".join(f"{name} {' / '.join(f'{100 * e:.1f}' for e in values(runs, name, 'error'))} %" for name in runs[0])


CLAIMS: Claims = {
    "S1": (rotated, rotated_verdict),
    "S2": (moved, moved_verdict),
    "S3": (cluttered, cluttered_verdict),
    "S4": (added, added_verdict),
}
