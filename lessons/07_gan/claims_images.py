"""Claims about a discriminator's features, LAPGAN's sharpness and DCGAN's clothes; ``claims.py`` measures them."""

from __future__ import annotations

import math
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv
from tinyconv import data, models
from tinyconv.claims import Claims, Runs, import_step, mean, numbers
from tinyconv.generative.measures import sharpness, spread, verdict
from tinyconv.generative.training import Recipe, train_gan

FOLDER = Path(__file__).resolve().parent
DRAWS = 5  # of 100 labelled digits
KINDS = {"trained": "trained D", "random": "random D", "pixels": "pixels"}
KINDS |= {"trained, level": "trained D, level", "random, level": "random D, level"}
SAMPLES = 1000
LAPGAN = Recipe(2e-3, 1e-3, 0.5, batch_size=20, epochs=4, hold=0.4)  # what the library's was when it was measured
_step = cache(partial(import_step, FOLDER))


def _judge(images: np.ndarray) -> dict[str, float]:
    return {"sharpness": sharpness(images), "spread": spread(images)}


def _failed(rows: list[dict[str, Any]], samples: float, data: float) -> str | None:
    """Return what went wrong in a training, by the spread of its samples and of the data; None if nothing."""
    found = verdict([*rows[:-1], {**rows[-1], "sample_spread": samples}], data)
    return None if found is None else found.partition(":")[0]


def _outcomes(found: list[str | None]) -> str:
    """Return every seed's outcome, or that of all of them."""
    words = [one or "nothing wrong" for one in found]
    return words[0] if len(set(words)) == 1 else " / ".join(words)


# ------------------------------------------------------------------------------------------------------------- features


def measure_features(seed: int, size: tuple[int, int] = (4500, 33)) -> dict[str, Any]:
    """DCGAN of 16 and 32 maps, 4,500 digits without labels, 1,485 steps; D's maps, pooled to 4x4, for linear machines.

    Random D: the same weights at the start. Both have the batch statistics of 1,000 real digits. Machines learn 100
    labelled digits of the 4,500, five draws by the seed, or 1,000; costs 0.003, 0.01 or 0.03 by the 500 other training
    digits; error on 1,000 test digits. "Level", both layers' features with the same mean norm, was added when seed 0
    had been measured without.
    """
    step, (n, epochs) = _step("step9_features"), size
    whole = n == 4500
    sets, random, trained = step.parts(None if whole else n), step.build(seed), step.build(seed)
    began = time.perf_counter()
    step.learn(trained, epochs, n, seed)
    seconds = time.perf_counter() - began
    for model in (random, trained):
        step.settle(model, sets["learn"][0][:1000])
    kinds = {"trained": trained, "random": random, "pixels": None}
    given = {kind: step.features(model, sets) for kind, model in kinds.items()}
    given |= {f"{kind}, level": step.level(given[kind]) for kind in ("trained", "random")}
    found: dict[str, Any] = {"seconds": seconds}
    for name, count, draws in (("100", 100, DRAWS), ("1,000", 1000, 1)):
        errors = step.errors(given, sets, count if whole else n // 2, seed, draws if whole else 1)
        found[name] = {kind: float(np.mean(each)) for kind, each in errors.items()}
    return found


def verdict_features(runs: Runs) -> tuple[bool, str]:
    """In the mean, 100 labels: the trained D's features have a smaller error than the random D's, these than pixels."""
    means = [mean(runs, "100", kind) for kind in ("trained", "random", "pixels")]
    parts = []
    for count in ("100", "1,000"):
        each = [
            f"{title} {numbers(runs, count, kind, form='.1%')} (mean {mean(runs, count, kind):.1%})"
            for kind, title in KINDS.items()
        ]
        parts.append(f"{count} labels: {', '.join(each)}")
    return means[0] < means[1] < means[2], f"{'; '.join(parts)}; {numbers(runs, 'seconds', form='.0f')} s"


# --------------------------------------------------------------------------------------------------------------- LAPGAN


def measure_lapgan(seed: int, size: tuple[int, int, int, int] = (5000, 40, 4, 90)) -> dict[str, Any]:
    """LAPGAN, 5,000 digits: 7x7 alone, 2,000 steps of 100; all levels, 1,000 of 20; a GAN as large, 4,500 of 100.

    LAPGAN: Adam, rates 0.002 and 0.001, in the last 0.6 of all levels' steps falling to 0. The GAN: the library's
    recipe. 1,000 samples of each, and the training digits.
    """
    step, (n, coarse, epochs, single) = _step("step10_lapgan"), size
    tinyconv.manual_seed(seed)
    model, began = models.lapgan(scale="lesson"), time.perf_counter()
    rows = {"LAPGAN": step.learn(model, epochs, coarse, n, seed, recipe=LAPGAN).rows}
    seconds = {"LAPGAN": time.perf_counter() - began}
    count = sum(p.numel() for p in model.parameters())
    tinyconv.manual_seed(seed)
    other, began = step.rival(count), time.perf_counter()
    digits = _step("digits07").digits("train", n)
    rows["GAN"] = train_gan(other, digits, epochs=single, seed=seed, progress=False).rows
    seconds["GAN"] = time.perf_counter() - began
    found = {"data": _judge(digits.images), "LAPGAN": _judge(model.sample(SAMPLES, seed))}
    found["GAN"] = _judge(other.sample(SAMPLES, seed))
    counts = {"LAPGAN": count, "GAN": sum(p.numel() for p in other.parameters())}
    failed = {kind: _failed(rows[kind], found[kind]["spread"], found["data"]["spread"]) for kind in rows}
    return {**found, "verdict": failed, "seconds": seconds, "parameters": counts}


def verdict_lapgan(runs: Runs) -> tuple[bool, str]:
    """In the mean over the seeds, LAPGAN's sharpness is closer to the data's, as a ratio, than the GAN's."""

    def off(kind: str) -> float:
        return float(np.mean([abs(math.log(run[kind]["sharpness"] / run["data"]["sharpness"])) for run in runs]))

    parts = []
    for what, form in (("sharpness", ".4f"), ("spread", ".3f")):
        each = [f"{kind} {numbers(runs, kind, what, form=form)}" for kind in ("LAPGAN", "GAN")]
        parts.append(f"{what} of the data {runs[0]['data'][what]:{form}}, {', '.join(each)}")
    if all("verdict" in run for run in runs):  # the first runs did not store it
        parts += [f"{kind} {_outcomes([run['verdict'][kind] for run in runs])}" for kind in ("LAPGAN", "GAN")]
    counts = ", ".join(f"{runs[0]['parameters'][kind]:,}" for kind in ("LAPGAN", "GAN"))
    took = "; ".join(numbers(runs, "seconds", kind, form=".0f") for kind in ("LAPGAN", "GAN"))
    return off("LAPGAN") < off("GAN"), f"{'; '.join(parts)}; parameters {counts}; seconds {took}"


# ---------------------------------------------------------------------------------------------------------------- DCGAN


def measure_dcgan(seed: int, size: tuple[int, int | None] = (3000, None)) -> dict[str, Any]:
    """DCGAN (64 and 32 maps), 3,000 clothes, the library's recipe; 1,000 samples, and the training images."""
    n, epochs = size
    source = data.fashion_mnist()
    images = source.images[:n].astype(np.float32) / 255
    tinyconv.manual_seed(seed)
    model, began = models.dcgan(scale="lesson"), time.perf_counter()
    history = train_gan(model, data.Subset(source, range(n)), epochs=epochs, seed=seed, progress=False)
    seconds, samples = time.perf_counter() - began, model.sample(SAMPLES, seed)
    found = {"data": _judge(images), "samples": _judge(samples)}
    return {
        **found,
        "accuracy": history.last["discriminator_accuracy"],
        "verdict": _failed(history.rows, found["samples"]["spread"], found["data"]["spread"]),
        "steps": history.last["step"],
        "seconds": seconds,
    }


def verdict_dcgan(runs: Runs) -> tuple[bool, str]:
    """For every seed measures.verdict finds nothing wrong: D is not always right, nor are the samples all alike."""
    parts = [f"{what} {numbers(runs, 'samples', what, form=form)}, of the data {runs[0]['data'][what]:{form}}"
             for what, form in (("spread", ".3f"), ("sharpness", ".4f"))]  # fmt: skip
    failed = [run["verdict"] for run in runs]
    return all(one is None for one in failed), (
        f"{_outcomes(failed)}; {'; '.join(parts)}; D right {numbers(runs, 'accuracy')}; "
        f"{runs[0]['steps']:,} steps, {numbers(runs, 'seconds', form='.0f')} s"
    )


CLAIMS: Claims = {
    "features": (measure_features, verdict_features),
    "lapgan": (measure_lapgan, verdict_lapgan),
    "dcgan": (measure_dcgan, verdict_dcgan),
}
