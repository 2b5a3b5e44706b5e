"""Captioner: what it is told of an image, by hand; nothing found; one checkpoint; bad input."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from tinyconv import models
from tinyconv.data import Normalize, Scenes
from tinyconv.models.captioner import SAME, Captioner
from tinyconv.tensor import Tensor
from tinyconv.vision.detections import Detections
from tinyconv.vision.layout import layout

WORDS = ["<end>", "a", "big", "small", "three", "seven"]
FOUND = Detections(
    np.array([[2, 2, 30, 30], [40, 40, 56, 60], [3, 2, 30, 31], [5, 5, 5, 9]], np.float32), np.array([3, 7, 8, 1]),
    np.array([0.9, 0.8, 0.7, 0.6], np.float32),
)  # fmt: skip


def small(**options) -> Captioner:
    tinyconv.manual_seed(2)
    model = models.captioner(WORDS, hidden=12, **options)
    model.eval()
    return model


@pytest.fixture
def image() -> np.ndarray:
    return Normalize(0.5, 0.25)(Scenes(1, items=("mnist",))[0].image, None)


def test_the_generators_are_told_what_the_detector_found(image: np.ndarray) -> None:
    model, asked = small(), {}

    def detect(given: np.ndarray, **how) -> Detections:
        asked.update(how)
        return FOUND

    model.detector.detect = detect
    said = model.describe(image, beam=3, limit=5, least=0.4, top=6)
    assert asked == {"least": 0.4, "top": 6}
    # The third is the first once more, of another class; the last has no area.
    np.testing.assert_array_equal(said.boxes, FOUND.boxes[:2])
    assert said.labels.tolist() == [3, 7] and said.scores.tolist() == FOUND.scores[:2].tolist()
    told = layout(FOUND.boxes[:2], np.array([3, 7]), 10, (64, 64))
    wanted = model.sentence.generate(told[None], 3, 5)[0]
    assert said.beam == wanted and said.sentence == model.sentence.decode(wanted.best.words)

    maps = model.detector.maps(model.detector(Tensor(image[None])))
    features = model.detector.features(maps, [FOUND.boxes[:2]]).detach().numpy()
    snippets = model.snippet.generate(features, 3, 5)
    assert said.snippets == [model.snippet.decode(beam.best.words) for beam in snippets]
    np.testing.assert_array_equal(said.log_probabilities, [beam.best.log_probability for beam in snippets])
    assert len(model.describe(image, least=0.4, top=1).boxes) == 1
    assert 0 < SAME < 1


def test_an_image_in_which_nothing_is_found(image: np.ndarray) -> None:
    said = small().describe(image, least=1.0)
    assert said.boxes.shape == (0, 4) and said.snippets == [] and said.log_probabilities.shape == (0,)
    nothing = np.zeros((1, 460), np.float32)
    assert said.beam == small().sentence.generate(nothing)[0]


def test_without_a_model_for_regions(image: np.ndarray) -> None:
    model = small(snippets=False)
    model.detector.detect = lambda given, **how: FOUND
    said = model.describe(image)
    assert model.snippet is None and said.snippets == [] and len(said.boxes) == 2 and isinstance(said.sentence, str)


def test_modes_are_put_back(image: np.ndarray) -> None:
    model = small()
    model.train()
    model.sentence.eval()
    first = model.describe(image)
    assert model.detector.training and model.snippet.training and not model.sentence.training
    assert first.sentence == model.describe(image).sentence


@pytest.mark.parametrize("snippets", [True, False])
def test_one_checkpoint_holds_it_all(snippets: bool, tmp_path, image: np.ndarray) -> None:
    model = small(snippets=snippets)
    tinyconv.save(tmp_path / "c.npz", model)
    again = tinyconv.load(tmp_path / "c.npz")
    first, second = model.describe(image, least=0.05), again.describe(image, least=0.05)
    assert first.sentence == second.sentence and first.snippets == second.snippets
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert again.sentence.words == WORDS and again.config["arguments"]["snippets"] is snippets


def test_the_summary_counts_all_three() -> None:
    model = small()
    parts = (model.detector, model.sentence, model.snippet)
    wanted = sum(p.numel() for part in parts for p in part.parameters())
    assert tinyconv.summary(model).total_params == wanted
    head = 32 * 5 * 5 * 128 + 128 * 11 + 128 * 40
    assert tinyconv.summary(model).note.splitlines() == [
        f"(not run): the head, once for each region: {head:,} MACs",
        "(not run): the generators, once for each word; here for a vocabulary of 6 words, with which their parameters "
        "grow",
    ]
    assert model.sentence.image.in_features == 6 * 10 + 4 * 10 * 10 and model.snippet.image.in_features == 128


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"wanted one image \(C, H, W\), got shape \(64, 64\)"):
        small().describe(np.zeros((64, 64), np.float32))
    with pytest.raises(ValueError, match="words must be a Vocabulary's list of words"):
        models.captioner(["<end>"])
    with pytest.raises(ValueError, match="top must be at least 1"):
        small().describe(np.zeros((3, 64, 64), np.float32), top=0)
    with pytest.raises(ValueError, match="beam must be"):
        small().describe(np.zeros((3, 64, 64), np.float32), beam=0)
