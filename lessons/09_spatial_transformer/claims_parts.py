"""Claims about other transforms and warps, and about where transformers begin; ``claims.py`` measures them."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

from tinyconv.claims import Claims, Runs, import_step, numbers, percents

FOLDER = Path(__file__).resolve().parent
_step = cache(partial(import_step, FOLDER))
KINDS = ("projective", "tps")
NETWORKS = ("ST-FCN", "ST-CNN")


def _run(name: str, kind: str, seed: int, small: bool, **options: Any) -> dict[str, Any]:
    """Train one network; "ST-CNN tps" names the transform, "ST-CNN conv" the localisation network, too."""
    net, _, other = name.partition(" ")
    if other not in ("", "affine"):
        options["localisation" if other == "conv" else "transform"] = other
    kit = _step("claims_digits")
    return kit.run_one(net, kind, seed, small, kit.MORE if kind == "r" else kit.EPOCHS, **options)


def table_r(seed: int, small: bool = False) -> dict[str, Any]:
    """R as in S1, with projective transforms and thin-plate splines, and with convolutions that say where to look."""
    names = [*(f"{net} {kind}" for net in NETWORKS for kind in KINDS), "ST-CNN conv"]
    return {name: _run(name, "r", seed, small) for name in names}


def table_r_verdict(runs: Runs) -> tuple[None, str]:
    """Nothing: reported as measured, beside the paper's table."""
    text = _step("claims_digits").table(runs)
    return None, f"{text}; angle undone and true correlate, ST-CNN conv {numbers(runs, 'ST-CNN conv', 'angle')}"


def table_p(seed: int, small: bool = False) -> dict[str, Any]:
    """P: scaled by .75 to 1, every corner moved by N(0, 5 px), a projective warp; 20 epochs, 60,000 parameters."""
    names = ("FCN", "ST-FCN projective", "CNN", "ST-CNN affine", "ST-CNN projective")
    return {name: _run(name, "p", seed, small) for name in names}


def table_e(seed: int, small: bool = False) -> dict[str, Any]:
    """E: scaled by .75 to 1, 16 control points moved by N(0, 1.5 px), a thin-plate spline; 20 epochs, 60,000."""
    names = ("FCN", "ST-FCN tps", "CNN", "ST-CNN affine", "ST-CNN tps")
    return {name: _run(name, "e", seed, small) for name in names}


def table_verdict(runs: Runs) -> tuple[None, str]:
    """Nothing: reported as measured, beside the paper's table."""
    return None, _step("claims_digits").table(runs)


#: Beginnings and rates of the localisation network, of ST-CNN on cluttered digits.
BEGINNINGS: dict[str, dict[str, Any]] = {
    "start .6": {},
    "identity": {"start": 1.0},
    "random": {"start": None},
    "rate x .1": {"factor": 0.1},
    "conv": {"localisation": "conv"},
}


def beginnings(seed: int, small: bool = False) -> dict[str, Any]:
    """ST-CNN on TC, 21x21, 20 epochs: start scale .6, identity, random; a tenth of the rate; convolutions look."""
    return {name: _run("ST-CNN", "tc", seed, small, out_size=21, **options) for name, options in BEGINNINGS.items()}


def beginnings_verdict(runs: Runs) -> tuple[None, str]:
    """Nothing: reported as measured."""
    off = "; ".join(f"{name} {numbers(runs, name, 'centre', form='.1f')}" for name in BEGINNINGS)
    return None, f"{_step('claims_digits').table(runs)}; middle missed by {off} px"


def all_digits(seed: int, small: bool = False) -> dict[str, Any]:
    """S4 with digits 0 to 9 (sums 0 to 18); everything else alike, 40 epochs."""
    kit = _step("claims_digits")
    return {name: kit.run_one(name, "pairs10", seed, small, kit.MORE, factor=0.3) for name in kit.PAIRED}


CLUTTER = {"clean": 0, "16 pieces": 16}
DIGITS = (3, 7)


def together(seed: int, small: bool = False) -> dict[str, Any]:
    """Co-localisation, without labels: 100 images 42x42 of one class (threes, sevens), digit 14 px, 400 steps."""
    kit = _step("colocalise09")
    found: dict[str, Any] = {}
    for name, pieces in CLUTTER.items():
        steps = {"steps": 2, "n": 20, "small": True} if small else {}
        found[name] = {
            str(digit): float((kit.colocalise(digit, pieces, seed, **steps)["iou"] > 0.5).mean()) for digit in DIGITS
        }
    return found


def together_verdict(runs: Runs) -> tuple[None, str]:
    """Nothing: the share of images with IoU > .5, as measured. (The paper: 100 % clean, 75 to 93 % with clutter.)"""
    parts = [f"{name}, class {digit}: {percents(runs, name, str(digit))}" for name in CLUTTER for digit in DIGITS]
    return None, "; ".join(parts)


CLAIMS: Claims = {
    "R": (table_r, table_r_verdict),
    "P": (table_p, table_verdict),
    "E": (table_e, table_verdict),
    "S4, digits 0 to 9": (all_digits, table_verdict),
    "S5": (together, together_verdict),
    "S6": (beginnings, beginnings_verdict),
}
