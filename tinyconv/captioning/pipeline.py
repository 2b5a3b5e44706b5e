"""From pixels and sentences to a model that describes, all stages of the paper. See :func:`train_captioner`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.captioning.layout import layout_features
from tinyconv.captioning.regions import Regions, detected_regions
from tinyconv.captioning.snippets import BETA, Snippets, snippets
from tinyconv.captioning.training import BATCH_SIZE, train_alignment, train_caption
from tinyconv.data.captioned_scenes import CaptionedScenes
from tinyconv.data.detection import DetectionDataset
from tinyconv.data.pairs import SentencePairs
from tinyconv.detection.training import train_detector
from tinyconv.history import History
from tinyconv.models.alignment import Alignment, alignment
from tinyconv.models.captioner import LEAST, SAME, Captioner
from tinyconv.models.captioner import TOP as SPOKEN
from tinyconv.text import Vocabulary

TOP = 5  # regions beside the whole image
EPOCHS = {"detector": 6, "alignment": 15, "snippet": 10, "sentence": 20}
LIMIT = 20  # words of a sentence


@dataclass
class Learnt:
    """What the stages left.

    Attributes
    ----------
    alignment : Alignment
        Which is needed to make snippets, not to describe.
    histories : dict of History
        By stage: detector, alignment, snippet (if there are any), sentence.
    regions : Regions
        Of the training scenes, as the detector found them.
    snippets : Snippets
        With which the generator of regions was trained.
    features : array, (N, F)
        What the generator of sentences sees of the training scenes.
    """

    alignment: Alignment
    histories: dict[str, History]
    regions: Regions
    snippets: Snippets
    features: np.ndarray


def train_captioner(
    model: Captioner,
    scenes: CaptionedScenes,
    vocabulary: Vocabulary,
    transform: Any,
    *,
    epochs: dict[str, int] | None = None,
    top: int = TOP,
    beta: float = BETA,
    seed: int = 0,
    out: str | Path | None = None,
    say: Any = print,
    **how: Any,
) -> Learnt:
    """Train all stages, one after the other.

    detector (boxes and classes of objects, no sentence) -> regions of every scene, as it finds them -> alignment
    (sentences, no box) -> snippets of sentences for regions -> generator of regions; generator of whole scenes.
    After the detector, no true box is looked at.

    Parameters
    ----------
    model : Captioner
    scenes : CaptionedScenes
    vocabulary : Vocabulary
    transform : callable
        (image, rng) -> what the networks see of an image.
    epochs : dict of int, optional
        By stage, in the place of those in ``EPOCHS``.
    top : int
        Regions of a scene beside the whole image, at most (the paper: 19).
    beta : float
        See :func:`tinyconv.captioning.snippets.snippets`.
    seed : int
    out : str or Path, optional
        Folder with one folder for each stage. A run that was interrupted goes on with ``resume=True``;
        stages that it had not reached begin.
    say : callable
        Called with a line at the beginning of each stage.
    **how
        For ``fit``: resume, progress, resume_command ...
    """
    passes, folder = EPOCHS | (epochs or {}), None if out is None else Path(out)
    histories = {}

    def stage(name: str) -> dict[str, Any]:
        given = {"epochs": passes[name], "seed": seed, "out": None if folder is None else folder / name, **how}
        if name != "detector" and given.get("resume") is True and folder is not None and not (folder / name).exists():
            given["resume"] = False  # not reached before: there is nothing to miss
        return given

    say("1/4 detector")
    found = DetectionDataset(scenes.scenes, transform)
    histories["detector"] = train_detector(model.detector, found, **stage("detector"))
    model.eval()
    images = [transform(image, None) for image in scenes.scenes.images]  # as describe() is given them
    regions = detected_regions(model.detector, images, top)
    features = layout_features(model.detector, images, LEAST, top=SPOKEN, same=SAME)

    say("2/4 alignment of words and regions")
    sentences = [[vocabulary.encode(sentence) for sentence in of] for of in scenes.sentences]
    matcher = alignment(vocabulary.words, features=regions.features.shape[2], scale="lesson")
    matcher.to(next(model.parameters()).device)
    pairs = SentencePairs(regions.features, sentences, regions.counts, LIMIT)
    histories["alignment"] = train_alignment(matcher, pairs, **stage("alignment"))

    say("3/4 snippets for regions")
    parts = snippets(matcher, regions, pairs.words, pairs.image_of, beta)
    if model.snippet is not None and parts.words:  # a detector that has learnt little finds few regions, or none
        of_regions = SentencePairs(parts.features(regions), [[ids] for ids in parts.words])
        size = min(BATCH_SIZE, len(of_regions))
        # Snippets have other words, and sooner an end, than sentences; a word that none has counts once.
        counts = np.bincount(np.concatenate(parts.words), minlength=len(vocabulary))
        counts[0] = len(parts.words)
        spoken = Vocabulary(vocabulary.words, np.maximum(counts, 1).tolist())
        histories["snippet"] = train_caption(model.snippet, of_regions, spoken, batch_size=size, **stage("snippet"))
    elif model.snippet is not None:
        say("no word was given to a region: there will be no snippets; is the detector well trained?")
        model.forget_snippets()

    say("4/4 sentences for whole scenes")
    of_scenes = SentencePairs(features, sentences, limit=LIMIT)
    histories["sentence"] = train_caption(model.sentence, of_scenes, vocabulary, **stage("sentence"))
    model.eval()
    return Learnt(matcher, histories, regions, parts, features)
