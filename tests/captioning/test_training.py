"""Training alignment and caption models: recipes, resuming bit by bit, checks after each epoch, bad input; snippets."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from tinyconv import models
from tinyconv.captioning.regions import Regions
from tinyconv.captioning.snippets import snippets
from tinyconv.captioning.training import PerplexityCheck, RetrievalCheck, train_alignment, train_caption
from tinyconv.data.pairs import SentencePairs
from tinyconv.models.alignment import Alignment
from tinyconv.models.caption import Caption
from tinyconv.text import Vocabulary, pad

SENTENCES = [["a two", "there is a two"], ["a three", "there is a three"], ["a two and a three"], ["a four", "four"]]
VOCABULARY = Vocabulary.build([s for of in SENTENCES for s in of], threshold=1)
IDS = [[VOCABULARY.encode(s) for s in of] for of in SENTENCES]
SEEN = [(2,), (3,), (2, 3), (4,)]  # what is in the images


def regions() -> Regions:
    """Region 0 is the sum of the others, which are one-hot."""
    features = np.zeros((4, 3, 5), np.float32)
    for n, digits in enumerate(SEEN):
        for i, digit in enumerate(digits, 1):
            features[n, i, digit] = 1
        features[n, 0] = features[n].sum(0) / 2
    boxes = np.zeros((4, 3, 4), np.float32)
    return Regions(boxes, features, np.array([1 + len(digits) for digits in SEEN]))


def aligned_pairs() -> SentencePairs:
    given = regions()
    return SentencePairs(given.features, IDS, given.counts)


def alignment(**options) -> Alignment:
    tinyconv.manual_seed(1)
    return models.alignment(VOCABULARY.words, features=5, scale="lesson", **options)


def captions() -> tuple[Caption, SentencePairs]:
    tinyconv.manual_seed(1)
    model = models.caption(VOCABULARY.words, features=5, hidden=24, scale="lesson")
    return model, SentencePairs(regions().features[:, 0], IDS)


def test_alignment_learns_and_points(tmp_path) -> None:
    pairs, model = aligned_pairs(), alignment(dropout=0.1)
    check = RetrievalCheck(pairs.features, pairs.counts, pairs.words, pairs.image_of)
    history = train_alignment(model, pairs, epochs=60, batch_size=4, lr=0.01, callbacks=[check], progress=False)
    assert history.rows[0]["train_loss"] > 2 * history.last["train_loss"]
    assert history.last["recall"] == 100.0 and history.last["lr"] == pytest.approx(0.002)
    found = model.match(pairs.features[[2]], pairs.counts[[2]], pad([VOCABULARY.encode("a two and a three")]))[0]
    assert found[1].argmax() == 1 and found[4].argmax() == 2  # nobody said so

    parts = snippets(model, regions(), pad([VOCABULARY.encode("a two and a three")]), np.array([2]), beta=0.0)
    assert parts.image.tolist() == [2] * len(parts.words)
    texts = [VOCABULARY.decode(ids).split() for ids in parts.words]
    for word, wanted in (("two", 1), ("three", 2)):
        assert [region for text, region in zip(texts, parts.region, strict=True) if word in text] == [wanted]
    np.testing.assert_array_equal(parts.features(regions()), regions().features[2, parts.region])


def test_snippets_by_hand() -> None:
    """Scores of the spec's Viterbi example, with the whole image as region 0, and of a sentence without words."""

    class Scores:
        def match(self, features, counts, words):
            table = np.array([[2, 0, 9], [0.9, 1, 9], [2, 0, 9], [0, 3, 9.0]])  # the image has two regions only
            return np.stack([table if ids[0] >= 0 else np.zeros((4, 3)) for ids in words])

    given = Regions(np.zeros((2, 3, 4)), np.arange(12.0).reshape(2, 3, 2), np.array([2, 2]))
    words = np.array([[5, 6, 7, 8], [-1, -1, -1, -1]])
    found = snippets(Scores(), given, words, np.array([1, 0]), beta=1.0)
    assert found.image.tolist() == [1] and found.region.tolist() == [1] and found.words[0].tolist() == [8]
    found = snippets(Scores(), given, words, np.array([1, 0]), beta=1.0, whole=True)
    assert found.region.tolist() == [0, 1] and [ids.tolist() for ids in found.words] == [[5, 6, 7], [8]]
    found = snippets(Scores(), given, words, np.array([1, 0]), beta=0.0, whole=True)
    assert [ids.tolist() for ids in found.words] == [[5], [6], [7], [8]]
    assert snippets(Scores(), given, words, np.array([1, 0]), beta=9.0).words == []
    np.testing.assert_array_equal(found.features(given), given.features[1, [0, 1, 0, 1]])


def test_captions_learn(tmp_path) -> None:
    model, pairs = captions()
    check = PerplexityCheck(pairs.features[pairs.image_of], pairs.words)
    history = train_caption(
        model, pairs, VOCABULARY, epochs=100, batch_size=4, lr=0.01, callbacks=[check], progress=False
    )
    assert history.last["test_perplexity"] < history.rows[0]["test_perplexity"] / 2
    found = [model.decode(beam.best.words) for beam in model.generate(pairs.features)]
    assert all(sentence in of for sentence, of in zip(found, SENTENCES, strict=True)), found


def test_a_new_models_bias_is_the_words_frequencies() -> None:
    model, pairs = captions()
    rows = []
    train_caption(
        model, pairs, VOCABULARY, epochs=1, batch_size=4, lr=1e-9, progress=False,
        callbacks=[lambda state: rows.append(state.model.leave.bias.detach().numpy().copy())],
    )  # fmt: skip
    np.testing.assert_allclose(rows[0], VOCABULARY.log_frequencies(), atol=1e-6)
    with tinyconv.no_grad():
        model.leave.bias[0] = 5.0  # a model that has learnt keeps its own
    train_caption(model, pairs, VOCABULARY, epochs=1, batch_size=4, lr=1e-9, progress=False)
    assert model.leave.bias.detach().numpy()[0] == pytest.approx(5.0)


@pytest.mark.parametrize("kind", ["alignment", "caption"])
def test_a_resumed_run_ends_with_the_same_bits(kind: str, tmp_path) -> None:
    def run(epochs: int, **how):
        if kind == "alignment":
            model = alignment(dropout=0.2)
            train_alignment(model, aligned_pairs(), epochs=epochs, batch_size=3, progress=False, **how)
        else:
            model, pairs = captions()
            train_caption(model, pairs, VOCABULARY, epochs=epochs, batch_size=3, progress=False, **how)
        return {name: p.detach().numpy() for name, p in model.named_parameters()}

    whole = run(4, out=tmp_path / "whole")

    class Stop:
        def on_epoch(self, state):
            state.stop = state.epoch == 2

    run(4, out=tmp_path / "parts", callbacks=[Stop()])
    again = run(4, out=tmp_path / "parts", resume=True)
    for name, value in whole.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


def test_the_papers_optimizer() -> None:
    model = alignment()
    history = train_alignment(model, aligned_pairs(), epochs=2, batch_size=4, lr=1e-4, momentum=0.9, progress=False)
    assert len(history) == 2
    model = alignment()
    for p in model.parameters():
        if p.requires_grad:
            p.register_hook(lambda g: g * 1e4)
    before = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    train_alignment(model, aligned_pairs(), epochs=1, batch_size=7, lr=1e-4, momentum=0.9, progress=False)
    seen = [np.abs(p.detach().numpy() - before[name]).max() for name, p in model.named_parameters()]
    assert max(seen) == pytest.approx(5e-4, rel=1e-2)  # elements of gradients stay within +-5


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: train_alignment(captions()[0], aligned_pairs()), TypeError, "must be an alignment model, got Caption"),
        (lambda: train_alignment(alignment(), captions()[1]), ValueError, "how many regions an image has"),
        (lambda: train_alignment(alignment(), aligned_pairs()), ValueError, "a batch of 50 pairs, got 7"),
        (lambda: train_caption(alignment(), captions()[1], VOCABULARY), TypeError, "must be a caption model"),
        (lambda: train_caption(captions()[0], aligned_pairs(), VOCABULARY), ValueError, "give SentencePairs no counts"),
        (
            lambda: train_caption(*captions(), Vocabulary(["<end>", "a"], [1, 1]), batch_size=2), ValueError,
            "vocabulary of 8 words, got 2",
        ),
    ],
)  # fmt: skip
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
