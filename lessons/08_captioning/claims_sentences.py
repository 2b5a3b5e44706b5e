"""Claims about generated sentences, which ``claims.py`` measures with the others.

Those on true boxes, "perplexity" and "lstm" need no detector: scenes are told by their true boxes. The others share
one run of the whole pipeline for each seed.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinyconv
from tinyconv import models
from tinyconv.captioning.evaluation import nearest_neighbours, perplexity
from tinyconv.captioning.layout import layout_features
from tinyconv.captioning.pipeline import Learnt, train_captioner
from tinyconv.captioning.regions import given_regions
from tinyconv.claims import Claims, Runs, import_step, numbers, percents
from tinyconv.models.caption import Caption, bias_to_frequencies
from tinyconv.models.captioner import LEAST, SAME, TOP, Captioner
from tinyconv.text import bleu, lengths_of
from tinyconv.vision.layout import layout

FOLDER = Path(__file__).resolve().parent
SIZES = (1500, 200)  # scenes to learn, scenes to judge by
FEW = {"detector": 1, "alignment": 1, "snippet": 1, "sentence": 1}  # epochs of a trial run
_step = cache(partial(import_step, FOLDER))


class Piped(NamedTuple):
    """What the pipeline left, and what the test scenes are told by."""

    model: Captioner
    learnt: Learnt
    features: np.ndarray


def _scenes(seed: int, sizes: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Return training scenes, test scenes, and the vocabulary."""
    scenes = _step("scenes08").scenes
    words = _step("sentences08").words_of(seed, sizes[0])
    return scenes("train", sizes[0], seed), scenes("test", sizes[1], seed), words


@cache
def _pipeline(seed: int, sizes: tuple[int, int]) -> Piped:
    """Train all stages, as step 9 does."""
    train, test, words = _scenes(seed, sizes)
    transform = _step("scenes08").NORMAL
    tinyconv.manual_seed(seed)
    model = models.captioner(words.words, len(train.scenes.classes))
    epochs = None if sizes == SIZES else FEW
    learnt = train_captioner(
        model, train, words, transform, epochs=epochs, seed=seed, say=lambda line: None, progress=False
    )
    seen = layout_features(
        model.detector, test.scenes.images, LEAST, top=TOP, same=SAME, transform=transform
    )  # fmt: skip
    return Piped(model.eval(), learnt, seen)


@cache
def _true(seed: int, sizes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the true layouts of training and test scenes."""
    train, test, _ = _scenes(seed, sizes)
    return tuple(_step("sentences08").true_layouts(part) for part in (train, test))  # type: ignore[return-value]


@cache
def _generator(seed: int, sizes: tuple[int, int], kind: str) -> Caption:
    """Return a generator that has learnt the true layouts."""
    return _learnt(_true(seed, sizes)[0], seed, sizes, kind)


def _learnt(features: np.ndarray, seed: int, sizes: tuple[int, int], kind: str) -> Caption:
    """Return a generator that has learnt the training scenes, told by these layouts."""
    step, (train, _, words) = _step("sentences08"), _scenes(seed, sizes)
    model = step.build(words, features.shape[1], seed, kind)
    epochs = step.PASSES[kind] if sizes == SIZES else 1
    step.learn(model, step.pairs_of(features, train, words), words, seed, epochs=epochs)
    return model


def _judged(model: Caption, known: np.ndarray, seen: np.ndarray, seed: int, sizes: tuple[int, int]) -> dict[str, Any]:
    """Return what the claims on whole scenes need: scores with both beams, and of what is compared with them."""
    step, (train, test, words) = _step("sentences08"), _scenes(seed, sizes)
    training = step.known_sentences(train)
    found: dict[str, Any] = {}
    value = {}
    for beam in step.BEAMS:
        sentences, value[beam] = step.said(model, seen, beam)
        found[f"beam {beam}"] = _all(step.scores(sentences, test, training)) | {"log": float(value[beam].mean())}
        found[f"beam {beam}"]["true"] = float(step.are_true(sentences, test, seed).mean())
    found["lower"] = float((value[7] < value[1] - step.SAME).mean())
    found["higher"] = float((value[7] > value[1] + step.SAME).mean())
    nearest = [train.sentences[i][0] for i in nearest_neighbours(seen, known)]
    found["nearest"] = _all(step.scores(nearest, test, training))
    found["nearest"]["true"] = float(step.are_true(nearest, test, seed).mean())
    found["fresh"] = _all(step.scores(step.fresh(test, seed), test, training))
    pairs = step.pairs_of(seen, test, words)
    log = model.log_probability(seen[pairs.image_of], pairs.words)
    found["perplexity"] = perplexity(log, lengths_of(pairs.words))
    return found


def _all(scores: Any) -> dict[str, float]:
    """Return the scores by name."""
    named = {f"bleu {n}": float(score) for n, score in enumerate(scores.bleu, 1)}
    rest = {"cider": scores.cider, "rouge": scores.rouge, "meteor": scores.meteor, "novel": scores.novel}
    return named | {name: float(score) for name, score in rest.items()}


# --------------------------------------------------------------------------------------------------- against neighbours


def measure_sentences(seed: int, sizes: tuple[int, int] = SIZES) -> dict[str, Any]:
    """The pipeline on 1,500 scenes; sentences of 200 others from the layout of what the detector finds.

    The generator sees the layout at every step, which was chosen on seed 0. Beams of 7 and 1; the first sentence of the
    training scene with the nearest layout; a fresh sentence of the grammar. Corpus scores against the scenes' 3 to 5
    sentences.
    """
    piped = _pipeline(seed, sizes)
    return _judged(piped.model.sentence, piped.learnt.features, piped.features, seed, sizes)


def verdict_sentences(runs: Runs) -> tuple[bool, str]:
    """For every seed: with a beam of 7 BLEU-4 is not below that of the nearest layout's first sentence."""
    holds = all(run["beam 7"]["bleu 4"] >= run["nearest"]["bleu 4"] for run in runs)
    return holds, _compared(runs)


def _compared(runs: Runs) -> str:
    parts = [f"BLEU-4 {numbers(runs, 'beam 7', 'bleu 4', form='.3f')}"]
    for name, key in (("beam 1", "beam 1"), ("nearest", "nearest"), ("a fresh sentence", "fresh")):
        parts.append(f"{name} {numbers(runs, key, 'bleu 4', form='.3f')}")
    more = [f"{run['beam 7']['bleu 4'] - run['nearest']['bleu 4']:+.3f}" for run in runs]
    parts.append(f"more than nearest {' / '.join(more)}")
    for name, key in (("CIDEr-D", "cider"), ("ROUGE-L", "rouge"), ("METEOR (exact)", "meteor")):
        both = (numbers(runs, who, key) for who in ("beam 7", "nearest"))
        parts.append(f"{name} {' against '.join(both)}")
    parts.append(f"true in all they say {percents(runs, 'beam 7', 'true')} against {percents(runs, 'nearest', 'true')}")
    parts.append(f"perplexity of the true sentences {numbers(runs, 'perplexity')}")
    return ", ".join(parts)


def measure_true_boxes(seed: int, sizes: tuple[int, int] = SIZES) -> dict[str, Any]:
    """As ``sentences``, but training and test scenes are told by their true boxes and digits."""
    return _judged(_generator(seed, sizes, "always"), *_true(seed, sizes), seed, sizes)


def verdict_true_boxes(runs: Runs) -> tuple[None, str]:
    """Nothing is asserted: with seed 0 it had been seen that the nearest layout's sentence is better."""
    return None, _compared(runs)


def measure_true_first(seed: int, sizes: tuple[int, int] = SIZES) -> dict[str, Any]:
    """As ``true boxes``, but the generator sees the layout at the first step only, as in the paper; 40 epochs.

    It was the lesson's generator when this was measured first, with the same three seeds.
    """
    return _judged(_generator(seed, sizes, "first"), *_true(seed, sizes), seed, sizes)


# ------------------------------------------------------------------------------------------------------------ searching


def measure_beam(seed: int, sizes: tuple[int, int] = SIZES) -> dict[str, Any]:
    """The runs of ``sentences``: log probabilities with beams of 1 and 7, and sentences that were learnt as they are.

    Equal: within 0.0001.
    """
    found = measure_sentences(seed, sizes)
    return {
        "log": {beam: found[f"beam {beam}"]["log"] for beam in ("1", "7")},
        "known": {beam: 1 - found[f"beam {beam}"]["novel"] for beam in ("1", "7")},
        "lower": found["lower"],
        "higher": found["higher"],
    }


def verdict_beam(runs: Runs) -> tuple[bool, str]:
    """For every seed the mean log probability is higher with a beam of 7, and lower in fewer than 5 % of scenes."""
    holds = all(run["log"]["7"] > run["log"]["1"] and run["lower"] < 0.05 for run in runs)
    return holds, (
        f"mean log probability, beam 1 {numbers(runs, 'log', '1')}, beam 7 {numbers(runs, 'log', '7')}; higher in "
        f"{percents(runs, 'higher')}, lower in {percents(runs, 'lower')}; training sentences, beam 1 "
        f"{percents(runs, 'known', '1')}, beam 7 {percents(runs, 'known', '7')}"
    )


# ------------------------------------------------------------------------------------------------------------ variants


def measure_perplexity(seed: int, sizes: tuple[int, int] = SIZES) -> dict[str, Any]:
    """A new generator, with the words' frequencies in its last bias: perplexity of the training sentences.

    True boxes; the bias is set to the frequencies and nothing is learnt. Without it: all biases 0.
    """
    step, (train, _, words) = _step("sentences08"), _scenes(seed, sizes)
    features = _true(seed, sizes)[0]
    pairs = step.pairs_of(features, train, words)
    found = {"unigrams": step.unigram_perplexity(words)}
    model = step.build(words, features.shape[1], seed)
    for name in ("zero", "start"):
        if name == "start":
            bias_to_frequencies(model, words)
        log = model.log_probability(features[pairs.image_of], pairs.words)
        found[name] = perplexity(log, lengths_of(pairs.words))
    return found


def verdict_perplexity(runs: Runs) -> tuple[bool, str]:
    """For every seed, at the start, within 1 % of that of the unigrams."""
    holds = all(abs(run["start"] / run["unigrams"] - 1) < 0.01 for run in runs)
    return holds, (
        f"at the start {numbers(runs, 'start', form='.3f')}, unigrams {numbers(runs, 'unigrams', form='.3f')}, without "
        f"the bias {numbers(runs, 'zero', form='.3f')}"
    )


def _variants(runs: Runs, names: dict[str, str]) -> str:
    return "; ".join(
        f"{name} BLEU-4 {numbers(runs, kind, 'bleu 4', form='.3f')}, perplexity {numbers(runs, kind, 'perplexity')}, "
        f"true {percents(runs, kind, 'true')}"
        for kind, name in names.items()
    )


def measure_look(seed: int, sizes: tuple[int, int] = SIZES) -> dict[str, Any]:
    """The layouts of ``sentences``; its generator, and one that looks at the first step only (40 epochs)."""
    piped = _pipeline(seed, sizes)
    known, seen = piped.learnt.features, piped.features
    models = {"first": _learnt(known, seed, sizes, "first"), "always": piped.model.sentence}
    found = {kind: _judged(model, known, seen, seed, sizes) for kind, model in models.items()}
    nearest = found["first"]["nearest"]["bleu 4"]
    return {kind: _short(one) for kind, one in found.items()} | {"nearest": nearest}


def _short(judged: dict[str, Any]) -> dict[str, float]:
    """Return BLEU-4 with a beam of 7, what is true of it, and perplexity."""
    best = judged["beam 7"]
    return {"bleu 4": best["bleu 4"], "true": best["true"], "perplexity": judged["perplexity"]}


def verdict_look(runs: Runs) -> tuple[bool, str]:
    """For every seed BLEU-4 of what looks at every step is .05 above the nearest layout's, or more.

    In the paper the first step works better. With seeds 0 and 1 and other initial weights this had been seen: .067 and
    .044 above. With seed 0 on true boxes it had been .030 above.
    """
    holds = all(run["always"]["bleu 4"] >= run["nearest"] + 0.05 for run in runs)
    text = _variants(runs, {"first": "at the first step", "always": "at every step"})
    return holds, f"{text}; nearest {numbers(runs, 'nearest', form='.3f')}"


def measure_lstm(seed: int, sizes: tuple[int, int] = SIZES) -> dict[str, Any]:
    """On true boxes: the paper's units, and an LSTM of as many, which sees the scene as a word before the first."""
    layouts = _true(seed, sizes)
    return {
        kind: _short(_judged(_generator(seed, sizes, kind), *layouts, seed, sizes)) for kind in ("first", "lstm")
    }  # fmt: skip


def verdict_lstm(runs: Runs) -> tuple[None, str]:
    """Nothing is asserted."""
    return None, _variants(runs, {"first": "RNN", "lstm": "LSTM"})


# -------------------------------------------------------------------------------------------------------------- regions


def measure_regions(seed: int, sizes: tuple[int, int] = SIZES) -> dict[str, Any]:
    """Snippets for the true boxes of 200 scenes, by the pipeline's two generators, with a beam of 7.

    That of regions has learnt pieces of sentences that the alignment has cut out, and sees the detector's features of
    the box; that of whole scenes sees a layout in which the box is alone, with its true digit. References: the two
    ways in which the grammar mentions the digit in the box. Beside them the snippet of the nearest training region.
    """
    piped, step = _pipeline(seed, sizes), _step("sentences08")
    _, test, words = _scenes(seed, sizes)
    size, classes = test.scenes.images.shape[2:], len(test.scenes.classes)
    truths = [test.scenes.truth(i) for i in range(len(test))]
    regions = given_regions(
        piped.model.detector, test.scenes.images, [truth.boxes for truth in truths], transform=_step("scenes08").NORMAL
    )
    features = np.concatenate([rows[1:count] for rows, count in zip(regions.features, regions.counts, strict=True)])
    layouts = [
        layout(truth.boxes[i : i + 1], truth.labels[i : i + 1], classes, size)
        for truth in truths
        for i in range(len(truth.labels))
    ]
    references = [step.mentions(one) for of in test.attributes for one in of]
    assert piped.model.snippet is not None
    parts = piped.learnt.snippets
    near = nearest_neighbours(features, parts.features(piped.learnt.regions))
    sentences = {
        "regions": step.said(piped.model.snippet, features)[0],
        "whole": step.said(piped.model.sentence, np.array(layouts))[0],
        "nearest": [words.decode(parts.words[i]) for i in near],
    }
    found: dict[str, Any] = {"count": len(references), "snippets": len(parts.words)}
    for name, given in sentences.items():
        judged = bleu(given, references, 2)
        found[name] = {"bleu 1": float(judged.scores[0]), "bleu 2": float(judged.scores[1])}
        found[name]["words"] = judged.candidate_length / len(references)
        found[name]["exact"] = float(np.mean([a in b for a, b in zip(given, references, strict=True)]))
    return found


def verdict_regions(runs: Runs) -> tuple[bool, str]:
    """For every seed the region model has a higher BLEU-1, and a higher BLEU-2, than that of whole scenes."""
    holds = all(run["regions"][key] > run["whole"][key] for run in runs for key in ("bleu 1", "bleu 2"))
    names = {"regions": "region model", "whole": "whole scenes", "nearest": "nearest region"}
    parts = [
        f"{name} BLEU-1 {numbers(runs, key, 'bleu 1', form='.3f')}, BLEU-2 {numbers(runs, key, 'bleu 2', form='.3f')}, "
        f"{numbers(runs, key, 'words', form='.1f')} words, a mention {percents(runs, key, 'exact')}"
        for key, name in names.items()
    ]
    return holds, "; ".join(parts)


# ------------------------------------------------------------------------------------------------------------- pipeline


def measure_pipeline(seed: int, sizes: tuple[int, int] = SIZES) -> dict[str, Any]:
    """From the pixels of 200 scenes, by ``Captioner.describe`` with a beam of 7; no true box is looked at."""
    piped, step = _pipeline(seed, sizes), _step("sentences08")
    train, test, _ = _scenes(seed, sizes)
    transform = _step("scenes08").NORMAL
    found = [piped.model.describe(transform(image, None)) for image in test.scenes.images]
    sentences = [one.sentence for one in found]
    labels = [test.scenes.truth(i).labels.tolist() for i in range(len(test))]
    named = [step.shared_digits(text, there) for text, there in zip(sentences, labels, strict=True)]
    seen = [sorted(one.labels.tolist()) == sorted(there) for one, there in zip(found, labels, strict=True)]
    return {
        "scores": _all(step.scores(sentences, test, step.known_sentences(train))),
        "digits": float(np.mean(named)),
        "true": float(step.are_true(sentences, test, seed).mean()),
        "found": float(np.mean(seen)),
        "nothing": float(np.mean([not len(one.boxes) for one in found])),
    }


def verdict_pipeline(runs: Runs) -> tuple[None, str]:
    """Nothing is asserted."""
    new = [run["scores"]["novel"] for run in runs]
    return None, (
        f"digits are named, and all are there {percents(runs, 'digits')}, sizes and places too "
        f"{percents(runs, 'true')}; BLEU-4 "
        f"{numbers(runs, 'scores', 'bleu 4', form='.3f')}, CIDEr-D {numbers(runs, 'scores', 'cider')}; all objects "
        f"found, and nothing else {percents(runs, 'found')}; nothing found {percents(runs, 'nothing')}; new sentences "
        f"{' / '.join(f'{share:.0%}' for share in new)}"
    )


CLAIMS: Claims = {
    "sentences": (measure_sentences, verdict_sentences),
    "true boxes": (measure_true_boxes, verdict_true_boxes),
    "true boxes, first step": (measure_true_first, verdict_sentences),
    "beam": (measure_beam, verdict_beam),
    "perplexity": (measure_perplexity, verdict_perplexity),
    "look": (measure_look, verdict_look),
    "lstm": (measure_lstm, verdict_lstm),
    "regions": (measure_regions, verdict_regions),
    "pipeline": (measure_pipeline, verdict_pipeline),
}
