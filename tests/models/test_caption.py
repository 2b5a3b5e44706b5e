"""Caption: the paper's recurrence in plain NumPy, cost, perplexity at the beginning, the beam, LSTM, bad input."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

import tinyconv
from tinyconv import models, nn
from tinyconv.captioning.evaluation import perplexity
from tinyconv.gradcheck import gradcheck
from tinyconv.models.caption import Caption, bias_to_frequencies, caption_loss, initialise, log_softmax, next_words
from tinyconv.nn import init
from tinyconv.optim import Adam
from tinyconv.tensor import Tensor
from tinyconv.text import Vocabulary

WORDS = np.array([[3, 1, 4], [5, -1, -1], [-1, -1, -1]])
KINDS = [{}, {"look": "always"}, {"nonlinearity": "tanh"}, {"cell": "lstm"}]


def small(**options) -> Caption:
    tinyconv.manual_seed(4)
    given = {"features": 5, "vectors": 6, "hidden": 8, "scale": "lesson", "dtype": np.float64}
    model = models.caption(7, **given | options)
    for p in model.parameters():  # larger than the program's: everything matters
        init.uniform_(p, -0.6, 0.6)
    model.eval()
    return model


def images(rng: np.random.Generator, n: int = 3) -> np.ndarray:
    return rng.standard_normal((n, 5))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class Times(nn.Module):
    """In the place of dropout: a factor, so that equations say where it acts; notes the shapes of what it is given."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.shapes = factor, []

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(x.shape)
        return x * self.factor


def by_hand(model: Caption, image: np.ndarray, ids: list[int], kept: float = 1.0) -> np.ndarray:
    """Scores (T + 1, V) after the beginning and after each word, equation by equation.

    ``kept`` stands for dropout: of the image, of words' vectors and of states on their way to the scores.
    """
    w = {name: p.detach().numpy() for name, p in model.named_parameters()}
    inputs, image = [kept * w["word.weight"][i] for i in (0, *ids)], kept * image
    states = []
    h, c = np.zeros(8), np.zeros(8)
    if model.lstm:
        for x in (w["image.weight"] @ image + w["image.bias"], *inputs):
            gates = w["hidden.weight_ih_l0"] @ x + w["hidden.weight_hh_l0"] @ h
            i, f, g, o = np.split(gates + w["hidden.bias_ih_l0"] + w["hidden.bias_hh_l0"], 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            states.append(h)
        states = states[1:]
    else:
        f = np.tanh if model.hidden.nonlinearity == "tanh" else lambda a: np.maximum(a, 0)
        for t, x in enumerate(inputs):
            seen = w["image.weight"] @ image if t == 0 or model.look == "always" else 0
            h = f(w["enter.weight"] @ x + w["hidden.weight"] @ h + w["hidden.bias"] + seen)
            states.append(h)
    return np.array([w["leave.weight"] @ (kept * h) + w["leave.bias"] for h in states])


@pytest.mark.parametrize("options", KINDS)
def test_scores_are_the_papers_equations(options: dict, rng: np.random.Generator) -> None:
    model = small(**options)
    x = images(rng)
    found = model(Tensor(x), WORDS).detach().numpy()
    assert found.shape == (3, 4, 7)
    for n, ids in enumerate(([3, 1, 4], [5], [])):
        np.testing.assert_allclose(found[n, : len(ids) + 1], by_hand(model, x[n], ids), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(model(Tensor(x)).detach().numpy(), found[:, :1], rtol=1e-12)  # nothing said yet


@pytest.mark.parametrize("options", KINDS)
def test_the_cost_and_the_probability_of_sentences(options: dict, rng: np.random.Generator) -> None:
    model = small(**options)
    x = images(rng)
    wanted = []
    for n, ids in enumerate(([3, 1, 4], [5], [])):
        scores = by_hand(model, x[n], ids)
        p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        wanted.append(sum(math.log(p[t, word]) for t, word in enumerate([*ids, 0])))
    np.testing.assert_allclose(model.log_probability(x, WORDS), wanted, rtol=1e-12)
    loss = caption_loss(model(Tensor(x), WORDS), Tensor(WORDS))
    assert loss.item() == pytest.approx(-np.mean(wanted), rel=1e-12)


@pytest.mark.parametrize("options", KINDS)
def test_gradients_through_time(options: dict, rng: np.random.Generator) -> None:
    model = small(**options)
    x = Tensor(images(rng), requires_grad=True)
    gradcheck(lambda x, *_: caption_loss(model(x, WORDS), WORDS), [x, *model.parameters()])


def test_the_last_words_target_is_the_end() -> None:
    assert next_words(WORDS).tolist() == [[3, 1, 4, 0], [5, 0, -1, -1], [0, -1, -1, -1]]


def test_what_comes_after_a_sentence_changes_nothing(rng: np.random.Generator) -> None:
    model, x = small(), images(rng)
    longer = np.concatenate([WORDS, np.full((3, 2), -1)], axis=1)
    np.testing.assert_array_equal(model.log_probability(x, longer), model.log_probability(x, WORDS))
    again = caption_loss(model(Tensor(x), longer), longer).item()
    assert again == pytest.approx(caption_loss(model(Tensor(x), WORDS), WORDS).item(), rel=1e-14)


def test_new_weights_with_the_frequencies_bias_have_the_perplexity_of_unigrams(rng: np.random.Generator) -> None:
    """Row "initial loss" of 5.7."""
    sentences = ["a big three is left of a seven", "there is a seven", "a three and a small seven", "a three"]
    vocabulary = Vocabulary.build(sentences, threshold=1)
    tinyconv.manual_seed(0)
    model = models.caption(vocabulary.words, features=5, scale="lesson")
    bias_to_frequencies(model, vocabulary)
    words = [vocabulary.encode(s) for s in sentences]
    ids = np.full((4, 8), -1)
    for n, row in enumerate(words):
        ids[n, : len(row)] = row
    counts = np.array(vocabulary.counts)
    unigrams = math.exp(-(counts * np.log(counts / counts.sum())).sum() / counts.sum())
    found = perplexity(model.log_probability(images(rng, 4).astype(np.float32), ids), (ids >= 0).sum(1))
    assert found == pytest.approx(unigrams, rel=0.01)
    for p in model.parameters():  # exactly, where nothing but the bias speaks
        if p is not model.leave.bias:
            init.zeros_(p)
    found = perplexity(model.log_probability(images(rng, 4).astype(np.float32), ids), (ids >= 0).sum(1))
    assert found == pytest.approx(unigrams, rel=1e-6)


@pytest.mark.parametrize("options", KINDS)
def test_a_beam_of_one_says_the_likeliest_word_each_time(options: dict, rng: np.random.Generator) -> None:
    """Row "beam" of 5.7, on the network."""
    model, x = small(**options), images(rng)
    for image, beam in zip(x, model.generate(x, beam=1, limit=6), strict=True):
        ids: list[int] = []
        while len(ids) < 6:
            word = int(by_hand(model, image, ids)[-1].argmax())
            if word == 0:
                break
            ids.append(word)
        assert list(beam.best.words) == ids and beam.best.finished == (len(ids) < 6)


@pytest.mark.parametrize("options", KINDS)
def test_the_beams_values_are_the_sentences_probabilities(options: dict, rng: np.random.Generator) -> None:
    model, x = small(**options), images(rng, 1)
    finished = [h for h in model.generate(x, beam=40, limit=5)[0].hypotheses if h.finished]
    assert len(finished) > 2
    for h in finished:
        ids = np.array([h.words], np.int64).reshape(1, -1)
        assert model.log_probability(x, ids)[0] == pytest.approx(h.log_probability, rel=1e-10)
    enumerated = model.generate(x, beam=7**3, limit=3)[0]  # all sentences of up to two words, and what is cut there
    every = [[], *([i] for i in range(1, 7)), *([i, j] for i in range(1, 7) for j in range(1, 7))]
    best = max(every, key=lambda ids: model.log_probability(x, np.array([ids], np.int64).reshape(1, -1))[0])
    assert list(next(h for h in enumerated.hypotheses if h.finished).words) == best


def test_dropout_is_off_in_use_and_modes_stay(rng: np.random.Generator) -> None:
    model, x = small(dropout=0.5), images(rng)
    wanted = model.log_probability(x, WORDS)
    model.train()
    np.testing.assert_array_equal(model.log_probability(x, WORDS), wanted)
    first, again = (model.generate(x, beam=2, limit=4)[0].best for _ in range(2))
    assert first == again and model.training
    assert not np.allclose(-caption_loss(model(Tensor(x), WORDS), WORDS).item(), wanted.mean())


@pytest.mark.parametrize("options", KINDS)
def test_dropout_is_of_images_of_words_and_of_the_states(options: dict, rng: np.random.Generator) -> None:
    model, x = small(**options), images(rng)
    model.drop = Times(0.7)
    found = model(Tensor(x), WORDS).detach().numpy()
    for n, ids in enumerate(([3, 1, 4], [5], [])):
        np.testing.assert_allclose(found[n, : len(ids) + 1], by_hand(model, x[n], ids, 0.7), rtol=1e-12, atol=1e-14)
    assert sorted(shape[-2:] for shape in model.drop.shapes) == [(3, 5), (4, 6), (4, 8)]  # each once
    assert models.caption(7, device="meta").drop.p == 0.5 and small(dropout=0.25).drop.p == 0.25


def test_many_sentences_are_looked_at_in_parts(rng: np.random.Generator, monkeypatch) -> None:
    model, x = small(), images(rng, 5)
    words = np.array([[3, 1, 4], [5, -1, -1], [-1, -1, -1], [2, 2, -1], [6, 1, -1]])
    wanted = model.log_probability(x, words)
    monkeypatch.setattr(sys.modules["tinyconv.models.caption"], "_BATCH", 2)  # the package's name is the builder
    np.testing.assert_allclose(model.log_probability(x, words), wanted, rtol=1e-12)
    assert len(set(wanted.round(6))) == 5
    assert model.log_probability(x[:0], words[:0]).shape == (0,)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_it_learns_to_say_what_it_is_shown(cell: str) -> None:
    tinyconv.manual_seed(0)
    model = models.caption(["<end>", "a", "two", "three"], features=2, hidden=16, cell=cell, scale="lesson")
    x, words = np.eye(2, dtype=np.float32), np.array([[1, 2, -1], [1, 3, 3]])
    optimizer = Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        loss = caption_loss(model(Tensor(x), words), words)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert [model.decode(beam.best.words) for beam in model.generate(x)] == ["a two", "a three three"]
    assert np.exp(model.log_probability(x, words)).min() > 0.9


def test_the_papers_sizes_and_the_programs_weights() -> None:
    model = models.caption()
    parameters = {name: p.shape for name, p in model.named_parameters()}
    assert parameters == {
        "image.weight": (512, 4096), "word.weight": (2538, 256), "enter.weight": (512, 256),
        "hidden.weight": (512, 512), "hidden.bias": (512,), "leave.weight": (2538, 512), "leave.bias": (2538,),
    }  # fmt: skip
    found = tinyconv.summary(model)
    assert found.total_params == 512 * 4096 + 2538 * 256 + 512 * 256 + 512 * 512 + 512 + 2538 * 512 + 2538
    assert found.total_macs == 512 * 4096 + 512 * 256 + 512 * 512 + 2538 * 512  # the first word
    for name, p in model.named_parameters():
        edge = 0.0 if p.ndim == 1 else 0.01 if name == "leave.weight" else 0.1
        assert np.abs(p.detach().numpy()).max() <= edge
        assert p.detach().numpy().std() == pytest.approx(edge / math.sqrt(3), rel=0.02)
    lstm = models.caption(cell="lstm", device="meta")
    assert dict(lstm.named_parameters())["hidden.weight_ih_l0"].shape == (4 * 512, 256)
    initialise(small(cell="lstm"))


@pytest.mark.parametrize("options", KINDS)
def test_a_checkpoint_keeps_it_and_its_words(options: dict, tmp_path, rng: np.random.Generator) -> None:
    tinyconv.manual_seed(0)
    model = models.caption(["<end>", "a", "dog"], features=5, scale="lesson", **options)
    tinyconv.save(tmp_path / "c.npz", model)
    again = tinyconv.load(tmp_path / "c.npz")
    x = images(rng).astype(np.float32)
    ids = np.array([[1, 2]] * 3)
    np.testing.assert_array_equal(again.log_probability(x, ids), model.log_probability(x, ids))
    assert again.decode([1, 2]) == "a dog"


def test_log_softmax_of_large_scores() -> None:
    np.testing.assert_allclose(log_softmax(np.array([[1000.0, 0.0], [0.0, 0.0]])), [[0, -1000], [-math.log(2)] * 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.caption(["a"]), "or their number, at least 2"),
        (lambda: models.caption(cell="gru"), "cell"),
        (lambda: models.caption(look="last"), "look"),
        (lambda: models.caption(nonlinearity="sigmoid"), "nonlinearity"),
        (lambda: models.caption(cell="lstm", look="always"), "look and nonlinearity are for cell='rnn'"),
        (lambda: small()(Tensor(np.zeros((2, 4)))), r"features must be \(N, 5\), got shape \(2, 4\)"),
        (lambda: small()(Tensor(np.zeros((2, 5))), [[1]]), "wanted a sentence for each of 2 images"),
        (lambda: small()(Tensor(np.zeros((1, 5))), [[7]]), "below 7.* got 7 to 7"),
        (lambda: small()(Tensor(np.zeros((1, 5))), [[1.0]]), "words must be ints"),
        (lambda: small().decode([1]), r"build it with words=\[...\]"),
        (lambda: caption_loss(Tensor(np.zeros((1, 3, 4))), [[1]]), r"words must be .*, for scores"),
        (lambda: bias_to_frequencies(small(), Vocabulary(["<end>", "a"], [1, 1])), "vocabulary of 7 words, got 2"),
        (lambda: small().generate(np.zeros((1, 5)), beam=0), "beam"),
        (lambda: small().generate(np.full((1, 5), np.nan)), "NaN"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
