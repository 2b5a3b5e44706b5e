"""Lesson 08, what all steps share: scenes and what a detector sees of them, and the settings that all models learn by.

Nothing is trained: what would be is noted.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
from _exercises import LESSONS

from tinyconv import models
from tinyconv.captioning.regions import Regions, detected_regions, given_regions
from tinyconv.claims import import_step
from tinyconv.data import Normalize, captions
from tinyconv.data.captioned_scenes import CaptionedScenes
from tinyconv.text import Vocabulary

LESSON = LESSONS / "08_captioning"
READERS = ["read_flickr8k_tokens", "read_coco_captions", "read_karpathy"]


@pytest.fixture(scope="module")
def scenes08():
    return import_step(LESSON, "scenes08")


@pytest.fixture(scope="module")
def alignment08():
    return import_step(LESSON, "alignment08")


@pytest.fixture(scope="module")
def sentences08():
    return import_step(LESSON, "sentences08")


# -------------------------------------------------------------------------------------------------------------- scenes


def test_scenes_are_the_same_however_many(scenes08):
    few, more = scenes08.scenes("test", 3, 1), scenes08.scenes("test", 5, 1)
    np.testing.assert_array_equal(few.scenes.images, more.scenes.images[:3])
    assert few.sentences == more.sentences[:3]
    assert scenes08.scenes("test", 3, 1) is few, "drawn once"
    assert {len(few.scenes.truth(i).boxes) for i in range(3)} <= {2, 3}


def test_the_vocabulary_is_of_training_sentences(scenes08):
    wanted = Vocabulary.build([s for of in scenes08.scenes("train", 40, 2).sentences for s in of])
    assert scenes08.vocabulary(2, 40) == wanted and len(wanted) <= 25


def test_given_boxes_are_true_ones_and_three_that_show_nothing(scenes08):
    found = scenes08.scenes("train", 6, 3)
    boxes = scenes08.given_boxes(found, 3)
    for i, rows in enumerate(boxes):
        objects = found.scenes.truth(i).boxes
        np.testing.assert_array_equal(rows[:-3], objects)
        for box in rows[-3:]:
            shared = np.minimum(objects[:, 2:], box[2:]) - np.maximum(objects[:, :2], box[:2])
            share = np.maximum(shared, 0).prod(axis=1) / (objects[:, 2:] - objects[:, :2]).prod(axis=1)
            assert (share < 0.3).all()
    for a, b in zip(boxes, scenes08.given_boxes(scenes08.scenes("train", 3, 3), 3), strict=False):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(boxes, scenes08.given_boxes(found, 4), strict=True)), "the seed counts"
    other = copy.copy(found)  # the same objects
    other.split = "test"
    assert any((a != b).any() for a, b in zip(boxes, scenes08.given_boxes(other, 3), strict=True)), "and the split"


def test_regions_are_the_whole_scene_and_boxes(scenes08):
    found, model = scenes08.scenes("test", 4, 0), models.faster_rcnn(10, scale="lesson")
    given = scenes08.regions(model, found, 0)
    np.testing.assert_array_equal(given.counts, [len(b) + 1 for b in scenes08.given_boxes(found, 0)])
    np.testing.assert_array_equal(given.boxes[:, 0], [[0, 0, 64, 64]] * 4)
    assert given.features.shape[2] == 128 and given.counts.min() >= 6 and given.counts.max() <= 7
    assert scenes08.regions(model, found, 0, "detected").counts.max() <= 6
    for kind, look, where in (
        ("given", given_regions, scenes08.given_boxes(found, 0)), ("detected", detected_regions, 5)
    ):  # fmt: skip
        wanted = look(model, found.scenes.images, where, transform=Normalize(0.5, 0.25))
        for part, other in zip(scenes08.regions(model, found, 0, kind), wanted, strict=True):
            np.testing.assert_array_equal(part, other)
    with pytest.raises(ValueError, match="kind must be 'given' or 'detected', got 'true'"):
        scenes08.regions(model, found, 0, "true")


def test_the_detector_learns_boxes_only(scenes08, monkeypatch):
    """1,500 scenes, six epochs; a smoke run eight scenes, one epoch; a checkpoint for every seed."""
    seen, asked, learnt = [], [], []
    monkeypatch.setattr(
        scenes08, "train_detector", lambda model, data, **how: learnt.append(data) or seen.append((len(data), how))
    )
    monkeypatch.setattr(scenes08, "TRAIN", 12)

    class Lesson:
        smoke = False

        def load_or_train(self, build, train, *, name, short, step):
            asked.append((name, short, step))
            train(model := build())
            return model

    lesson, weights = Lesson(), []
    for seed in (0, 0, 7):
        weights.append(next(scenes08.detector(lesson, seed).parameters()).detach().numpy())
    lesson.smoke = True
    scenes08.detector(lesson)
    wanted = [(12, {"epochs": 6, "seed": s}) for s in (0, 0, 7)] + [(8, {"epochs": 1, "seed": 0})]
    assert seen == wanted
    for data, (n, how) in zip(learnt, wanted, strict=True):
        assert data.source is scenes08.scenes("train", n, how["seed"]).scenes and data.proposals is None
        np.testing.assert_array_equal(data[0][0], Normalize(0.5, 0.25)(data.source.images[0], None))
    assert [name for name, _, _ in asked] == ["detector", "detector", "detector-7", "detector"]
    assert {step for _, _, step in asked} == {""}, "no step trains it otherwise"
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


# ----------------------------------------------------------------------------------------------------------- alignment

WORDS = Vocabulary(["<end>", "a", "one", "two"], [12, 3, 2, 1])


def seen(alignment08, n):
    """Return n scenes with two regions and one sentence each."""
    regions = Regions(np.zeros((n, 3, 4)), np.ones((n, 3, 5), np.float32), np.full(n, 2))
    return alignment08.Seen(regions, [[np.array([1, 2])]] * n, np.tile([1, 2], (n, 1)), np.arange(n), [None] * n)


def noted(module, name, monkeypatch):
    """Put a function that notes what it is given, and leaves the model training, in the place of a recipe."""
    calls = []

    def train(model, pairs, *rest, **how):
        model.train()
        calls.append((model, pairs, *rest, how))
        return "history"

    monkeypatch.setattr(module, name, train)
    return calls


@pytest.mark.parametrize(("n", "batch"), [(12, 12), (60, 50)])
def test_how_an_alignment_learns(alignment08, monkeypatch, n, batch):
    """30 epochs, batches of 50; a smoke run has fewer pairs than that."""
    calls = noted(alignment08, "train_alignment", monkeypatch)
    scenes = seen(alignment08, n)
    model = alignment08.learn(WORDS, scenes, 4)
    own = alignment08.build(WORDS, 5, 4)
    assert alignment08.learn(WORDS, scenes, 3, epochs=7, model=own) is own
    assert not model.training and not own.training
    assert [call[0] for call in calls] == [model, own]
    wanted = {"batch_size": batch, "progress": False}
    assert [call[-1] for call in calls] == [wanted | {"epochs": 30, "seed": 4}, wanted | {"epochs": 7, "seed": 3}]
    pairs = calls[0][1]
    np.testing.assert_array_equal(pairs.rows, np.tile([2, 1, 2], (n, 1)))
    np.testing.assert_array_equal(pairs.features, scenes.regions.features)


def test_how_an_alignment_is_built(alignment08):
    """128 units, dropout .1, and its seed's weights; what is said otherwise goes before."""
    model, again, other = (alignment08.build(WORDS, 5, seed) for seed in (4, 4, 5))
    made = model.config["arguments"]
    assert (made["hidden"], made["embedding"], made["dropout"], made["features"]) == (128, 128, 0.1, 5)
    small = alignment08.build(WORDS, 5, 4, **alignment08.SMALL, dropout=0.0).config["arguments"]
    assert (small["hidden"], small["embedding"], small["dropout"]) == (64, 64, 0.0)
    first, second, third = (one.word.weight.detach().numpy() for one in (model, again, other))
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()


# ----------------------------------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(("n", "batch"), [(12, 12), (60, 50)])
def test_how_a_generator_learns(scenes08, sentences08, monkeypatch, n, batch):
    """40 epochs, batches of 50."""
    calls = noted(sentences08, "train_caption", monkeypatch)
    found = scenes08.scenes("train", n)
    pairs = sentences08.pairs_of(np.ones((n, 5), np.float32), found, WORDS)
    few = sentences08.SentencePairs(np.ones((n, 5), np.float32), [[np.array([1, 2])]] * n)
    model = sentences08.build(WORDS, 5, 4)
    for given, seed, how in ((pairs, 4, {}), (few, 0, {"epochs": 7})):
        assert sentences08.learn(model, given, WORDS, seed, **how) == "history"
        assert not model.training
    usual = {"epochs": 40, "batch_size": min(50, len(pairs)), "progress": False, "seed": 4}
    assert [call[:3] for call in calls] == [(model, pairs, WORDS), (model, few, WORDS)]
    assert [call[-1] for call in calls] == [usual, usual | {"epochs": 7, "batch_size": batch, "seed": 0}]


def test_how_generators_are_built(sentences08):
    assert sentences08.PASSES == {"first": 40, "always": 20, "lstm": 40}
    first, second, third = (sentences08.build(WORDS, 5, seed).word.weight.detach().numpy() for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()


# --------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("reader", READERS)
def test_files_are_read_as_they_were_written(sentences08, tmp_path, reader):
    few = CaptionedScenes(20, seed=1)
    files = import_step(LESSON, "files08").write_files(few, sentences08.true_layouts(few), tmp_path)
    found = getattr(captions, reader)(files[READERS.index(reader)])
    assert [[s.removesuffix(" .") for s in of] for of in found.sentences] == few.sentences
    if reader == "read_karpathy":
        assert found.splits == ["train"] * 18 + ["test"] * 2 and found.ids == list(range(20))
