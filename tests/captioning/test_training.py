"""Training alignment and caption models: recipes, resuming bit by bit, checks after each epoch, bad input; snippets."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import tinyconv
from tinyconv import models, optim
from tinyconv.captioning.evaluation import perplexity
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


def captions(**options) -> tuple[Caption, SentencePairs]:
    tinyconv.manual_seed(1)
    model = models.caption(VOCABULARY.words, features=5, hidden=24, scale="lesson", **options)
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


def test_many_sentences_are_cut_in_parts(monkeypatch) -> None:
    pairs, given, model = aligned_pairs(), regions(), alignment()
    whole = snippets(model, given, pairs.words, pairs.image_of, beta=0.0, whole=True)
    monkeypatch.setattr(sys.modules["tinyconv.captioning.snippets"], "_BATCH", 3)  # the package's name is the function
    parts = snippets(model, given, pairs.words, pairs.image_of, beta=0.0, whole=True)
    np.testing.assert_array_equal(parts.image, whole.image)
    np.testing.assert_array_equal(parts.region, whole.region)
    assert [ids.tolist() for ids in parts.words] == [ids.tolist() for ids in whole.words]
    assert set(whole.image) == {0, 1, 2, 3} and len(set(whole.region)) > 1
    said = [list(ids[ids >= 0]) for ids in pairs.words]  # joined, the segments are the sentences
    assert np.concatenate(whole.words).tolist() == [i for ids in said for i in ids]


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


@pytest.mark.parametrize("kind", ["alignment", "caption"])
@pytest.mark.parametrize("what", ["order", "dropout"])
def test_the_seed_is_of_the_order_and_of_dropout(kind: str, what: str) -> None:
    """Equal pairs have no order; without dropout nothing but the order is drawn."""

    def run(seed: int) -> float:
        rate = 0.5 if what == "dropout" else 0.0
        given, ids = regions(), IDS
        features, counts = given.features, given.counts
        if what == "dropout":
            features, counts, ids = features[[2] * 4], counts[[2] * 4], [IDS[2]] * 4
        how = {"epochs": 2, "batch_size": 4 if what == "dropout" else 2, "seed": seed, "progress": False}
        if kind == "alignment":
            pairs = SentencePairs(features, ids, counts)
            return train_alignment(alignment(dropout=rate), pairs, **how).last["train_loss"]
        model, _ = captions(dropout=rate)
        return train_caption(model, SentencePairs(features[:, 0], ids), VOCABULARY, **how).last["train_loss"]

    first = run(1)
    assert run(1) == first and abs(run(2) - first) > 1e-4


def test_the_optimizers_of_the_recipes() -> None:
    seen = []
    how = {"epochs": 1, "batch_size": 4, "progress": False, "callbacks": [lambda state: seen.append(state.optimizer)]}
    model, pairs = captions()
    rates = [
        history.rows[0]["lr"]
        for history in (
            train_caption(model, pairs, VOCABULARY, **how),
            train_alignment(alignment(), aligned_pairs(), **how),
            train_alignment(alignment(), aligned_pairs(), momentum=0.8, **how),
        )
    ]
    assert [type(optimizer) for optimizer in seen] == [optim.RMSprop, optim.Adam, optim.SGD]
    assert rates == pytest.approx([0.003, 0.001, 0.001])
    assert seen[0].param_groups[0]["alpha"] == 0.99 and seen[2].param_groups[0]["momentum"] == 0.8


def test_alpha_is_the_recipes(monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["tinyconv.captioning.training"], "ALPHA", 0.5)  # RMSprop's own is 0.99, too
    seen = []
    model, pairs = captions()
    train_caption(
        model, pairs, VOCABULARY, epochs=1, batch_size=4, progress=False,
        callbacks=[lambda state: seen.append(state.optimizer.param_groups[0]["alpha"])],
    )  # fmt: skip
    assert seen == [0.5]


def test_the_perplexity_after_an_epoch_counts_the_ends() -> None:
    model, pairs = captions()
    features, words = pairs.features[pairs.image_of], pairs.words
    state = SimpleNamespace(model=model, row={})
    PerplexityCheck(features, words).on_epoch(state)
    found, lengths = model.log_probability(features, words), (words >= 0).sum(1)
    assert state.row == {"test_perplexity": pytest.approx(perplexity(found, lengths), rel=1e-12)}
    assert state.row["test_perplexity"] == pytest.approx(np.exp(-found.sum() / (lengths + 1).sum()), rel=1e-12)


def test_the_recall_after_an_epoch_is_of_annotation_at_1() -> None:
    scores = np.array([[3, 1, 2, 0], [1, 2, 3, 5], [2, 4, 1, 0.5]])
    given: list = []
    model = SimpleNamespace(rate=lambda *arguments: given.append(arguments) or scores)
    state, parts = SimpleNamespace(model=model, row={}), (object(), object(), object())
    RetrievalCheck(*parts, [0, 0, 1, 2]).on_epoch(state)
    assert given == [parts]
    # Only image 0 has its own sentence first; of four sentences, two have their image first; at 2 it is two images.
    assert state.row == {"recall": pytest.approx(100 / 3)}


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
        (
            lambda: train_alignment(alignment(), (regions().features, IDS)), TypeError,
            r"train_alignment: pairs must be tinyconv\.data\.SentencePairs, got tuple$",
        ),
        (
            lambda: train_caption(captions()[0], (regions().features[:, 0], IDS), VOCABULARY), TypeError,
            r"train_caption: pairs must be tinyconv\.data\.SentencePairs, got tuple$",
        ),
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
