"""Alignment: the paper's equations in plain NumPy, scores, who gets a gradient, the ranking loss."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import tinyconv
from tinyconv import models, nn
from tinyconv.gradcheck import gradcheck
from tinyconv.models.alignment import Alignment, ranking_loss, unpack_rows
from tinyconv.optim import Adam
from tinyconv.tensor import Tensor

WORDS = np.array([[3, 1, 4, 1], [5, 2, -1, -1], [6, -1, -1, -1]])
COUNTS = np.array([4, 2, 1])
RNG = np.random.default_rng(0)


def small(**options) -> Alignment:
    tinyconv.manual_seed(3)
    given = {"features": 7, "vectors": 6, "embedding": 8, "hidden": 10, "scale": "lesson", "dtype": np.float64}
    model = models.alignment(9, **given | options)
    model.eval()
    return model


def regions(rng: np.random.Generator, n: int = 3, r: int = 4) -> np.ndarray:
    return rng.standard_normal((n, r, 7))


def rows(counts: np.ndarray = COUNTS, words: np.ndarray = WORDS) -> np.ndarray:
    return np.concatenate([counts[:, None], words], axis=1)


def weights(model: Alignment) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy() for name, p in model.named_parameters()}


class Times(nn.Module):
    """In the place of dropout: a factor, so that equations say where it acts; notes the shapes of what it is given."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.shapes = factor, []

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(x.shape)
        return x * self.factor


def by_hand(model: Alignment, ids: list[int], kept: float = 1.0) -> np.ndarray:
    """s_t of one sentence, equation by equation; ``kept`` stands for dropout, of e_t and of hf_t + hb_t."""
    w = weights(model)
    e = [kept * np.maximum(w["enter.weight"] @ w["word.weight"][i] + w["enter.bias"], 0) for i in ids]
    states = [np.zeros(10)] * len(e) if model.text == "brnn" else e
    orders = {"ahead": range(len(e)), "back": range(len(e) - 1, -1, -1)} if model.text == "brnn" else {}
    for name, order in orders.items():
        h = np.zeros(10)
        for t in order:
            h = np.maximum(e[t] + w[f"{name}.weight"] @ h + w[f"{name}.bias"], 0)
            states[t] = states[t] + kept * h
    return np.array([np.maximum(w["leave.weight"] @ h + w["leave.bias"], 0) for h in states])


def test_words_are_the_papers_equations(rng: np.random.Generator) -> None:
    model = small()
    with tinyconv.no_grad():
        for name in ("ahead", "back", "enter", "leave"):  # biases that are not 0
            bias = model.get_submodule(name).bias
            bias.copy_(Tensor(rng.standard_normal(bias.shape)))
    s = model.embed_words(WORDS).detach().numpy()
    for n, ids in enumerate(([3, 1, 4, 1], [5, 2], [6])):
        np.testing.assert_allclose(s[n, : len(ids)], by_hand(model, ids), rtol=1e-12, atol=1e-14)
    words_only = small(text="words")
    s = words_only.embed_words(WORDS).detach().numpy()
    w = weights(words_only)
    e = np.maximum(w["word.weight"][4] @ w["enter.weight"].T + w["enter.bias"], 0)
    np.testing.assert_allclose(s[0, 2], np.maximum(w["leave.weight"] @ e + w["leave.bias"], 0), rtol=1e-12)
    assert not any(name.startswith(("ahead", "back")) for name in w)


def test_reversing_a_sentence_and_swapping_directions_reverses_its_words(rng: np.random.Generator) -> None:
    """Row "BRNN" of 5.7: exactly, for every length."""
    model, swapped = small(), small()
    state = model.state_dict()
    for part in ("weight", "bias"):
        noise = Tensor(rng.standard_normal(state[f"ahead.{part}"].shape) / 4)
        state[f"ahead.{part}"] = noise
    model.load_state_dict(state)
    other = dict(state)
    for part in ("weight", "bias"):
        other[f"ahead.{part}"], other[f"back.{part}"] = state[f"back.{part}"], state[f"ahead.{part}"]
    swapped.load_state_dict(other)
    turned = np.array([[1, 4, 1, 3], [2, 5, -1, -1], [6, -1, -1, -1]])
    s, back = model.embed_words(WORDS).detach().numpy(), swapped.embed_words(turned).detach().numpy()
    for n, length in enumerate((4, 2, 1)):
        np.testing.assert_array_equal(s[n, :length], back[n, :length][::-1])
    assert not np.array_equal(s[0], model.embed_words(turned).detach().numpy()[0, ::-1])  # the weights do differ


@pytest.mark.parametrize("score", ["max", "defrag"])
def test_scores_are_sums_over_words(score: str, rng: np.random.Generator) -> None:
    model = small(score=score)
    x = regions(rng)
    found = model(Tensor(x), Tensor(rows())).detach().numpy()
    w = weights(model)
    v = x @ w["region.weight"].T + w["region.bias"]
    for k, count in enumerate(COUNTS):
        for n, ids in enumerate(([3, 1, 4, 1], [5, 2], [6])):
            products = by_hand(model, ids) @ v[k, :count].T
            wanted = products.max(1).sum() if score == "max" else np.maximum(products, 0).sum()
            assert found[k, n] == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(model.rate(x, COUNTS, WORDS), found, rtol=1e-12)


def test_what_an_image_or_a_sentence_has_not_changes_nothing(rng: np.random.Generator) -> None:
    x, other = regions(rng), regions(rng)
    for n, count in enumerate(COUNTS):
        other[n, :count] = x[n, :count]
    longer = np.concatenate([WORDS, np.full((3, 2), -1)], axis=1)
    for score in ("max", "defrag"):
        model = small(score=score)
        first = model(Tensor(x), Tensor(rows())).detach().numpy()
        np.testing.assert_allclose(model(Tensor(other), Tensor(rows())).detach().numpy(), first, rtol=1e-12)
        np.testing.assert_allclose(model(Tensor(x), Tensor(rows(words=longer))).detach().numpy(), first, rtol=1e-12)


def test_only_the_region_that_a_word_picks_gets_a_gradient(rng: np.random.Generator) -> None:
    """Row "score gradient" of 5.7."""
    model = small()
    v = Tensor(rng.standard_normal((1, 4, 8)), requires_grad=True)
    s = Tensor(np.abs(rng.standard_normal((1, 3, 8))), requires_grad=True)
    products = s.detach().numpy()[0] @ v.detach().numpy()[0].T
    winners = products.argmax(1)
    model.compare(v, np.array([4]), s, np.array([3])).sum().backward()
    wanted = np.zeros((4, 8))
    for t, i in enumerate(winners):
        wanted[i] += s.detach().numpy()[0, t]
    np.testing.assert_allclose(v.grad.numpy()[0], wanted, rtol=1e-12)
    assert (~wanted.any(1)).any()  # some region won nothing
    np.testing.assert_allclose(s.grad.numpy()[0], v.detach().numpy()[0, winners], rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"score": "defrag"}, {"text": "words"}])
def test_gradients_through_time(options: dict, rng: np.random.Generator) -> None:
    model = small(**options)
    parameters = [p for p in model.parameters() if p.requires_grad]
    x = Tensor(regions(rng), requires_grad=True)
    gradcheck(lambda x, *_: ranking_loss(model(x, Tensor(rows())), 3.0), [x, *parameters])


def test_word_ids_of_any_kind_of_int() -> None:
    model = small()
    wanted = model.embed_words(np.array([[3, 1]])).detach().numpy()
    for kind in (np.uint8, np.uint64, np.int32):
        np.testing.assert_array_equal(model.embed_words(np.array([[3, 1]], kind)).detach().numpy(), wanted)
    assert models.alignment(np.int64(9), scale="lesson").config["arguments"]["words"] == 9


def test_the_loss_by_hand() -> None:
    scores = np.array([[3.0, 2.5, 0.0], [1.0, 2.0, 4.0], [0.0, 0.5, 1.0]])
    wanted = 0.0
    for k in range(3):
        for n in range(3):
            if n != k:
                wanted += max(0, scores[k, n] - scores[k, k] + 1) + max(0, scores[n, k] - scores[k, k] + 1)
    assert ranking_loss(Tensor(scores), reduction="sum").item() == pytest.approx(wanted)
    assert ranking_loss(Tensor(scores)).item() == pytest.approx(wanted / 3)
    x = Tensor(scores, requires_grad=True)
    gradcheck(lambda x: ranking_loss(x, 0.9), [x])  # at 1.0 some hinges are at their kinks


@pytest.mark.parametrize("b", [1, 2, 50])
def test_the_loss_of_equal_scores(b: int) -> None:
    """Row "loss" of 5.7: 2 B (B - 1)."""
    assert ranking_loss(Tensor(np.full((b, b), 0.7)), reduction="sum").item() == pytest.approx(2 * b * (b - 1))


def test_matches_and_norms(rng: np.random.Generator) -> None:
    model = small()
    x = regions(rng)
    found = model.match(x, COUNTS, WORDS)
    assert found.shape == (3, 4, 4)
    v = model.embed_regions(Tensor(x)).detach().numpy()
    for n, ids in enumerate(([3, 1, 4, 1], [5, 2], [6])):
        s = by_hand(model, ids)
        np.testing.assert_allclose(found[n, : len(ids), : COUNTS[n]], s @ v[n, : COUNTS[n]].T, rtol=1e-12, atol=1e-14)
        assert np.isneginf(found[n, : len(ids), COUNTS[n] :]).all()
        assert not found[n, len(ids) :].any()
        np.testing.assert_allclose(model.norms(WORDS)[n, : len(ids)], np.linalg.norm(s, axis=1), rtol=1e-12)
        assert not model.norms(WORDS)[n, len(ids) :].any()


def test_in_use_nothing_is_dropped_and_modes_stay(rng: np.random.Generator) -> None:
    model = small(dropout=0.5)
    x = regions(rng)
    wanted = model.rate(x, COUNTS, WORDS)
    model.train()
    np.testing.assert_array_equal(model.rate(x, COUNTS, WORDS), wanted)
    assert model.training and model.drop.training
    assert not np.allclose(model(Tensor(x), Tensor(rows())).detach().numpy(), wanted)


@pytest.mark.parametrize("text", ["brnn", "words"])
def test_dropout_is_of_regions_of_words_and_of_the_states(text: str, rng: np.random.Generator) -> None:
    model, x = small(text=text), regions(rng)
    with tinyconv.no_grad():
        for p in model.parameters():  # biases that are not 0: else a factor before the network is one behind it
            if p.ndim == 1:
                p.copy_(Tensor(rng.standard_normal(p.shape)))
    model.drop = Times(0.7)
    v, w = model.embed_regions(Tensor(x)).detach().numpy(), weights(model)
    np.testing.assert_allclose(v, 0.7 * x @ w["region.weight"].T + w["region.bias"], rtol=1e-12)
    s = model.embed_words(WORDS).detach().numpy()
    for n, ids in enumerate(([3, 1, 4, 1], [5, 2], [6])):
        np.testing.assert_allclose(s[n, : len(ids)], by_hand(model, ids, 0.7), rtol=1e-12, atol=1e-14)
    assert model.drop.shapes == [(3, 4, 7), *[(3, 4, 10)] * (2 if text == "brnn" else 1)]
    assert models.alignment(9, device="meta").drop.p == 0.5 and small(dropout=0.25).drop.p == 0.25


def test_many_images_and_sentences_are_rated_in_parts(rng: np.random.Generator, monkeypatch) -> None:
    file = sys.modules["tinyconv.models.alignment"]  # the package's name of it is the builder
    model = small()
    x, counts = regions(rng, 5), np.array([4, 1, 2, 3, 4])
    words = np.array([[1, 2, -1], [3, -1, -1], [4, 5, 6], [7, 8, -1], [1, -1, -1], [2, 2, 2], [-1, -1, -1]])
    wanted = model.rate(x, counts, words)
    assert wanted.shape == (5, 7) and not wanted[:, 6].any()  # a sentence without a word fits everything equally
    monkeypatch.setattr(file, "_BATCH", 2)
    np.testing.assert_allclose(model.rate(x, counts, words), wanted, rtol=1e-12)


def test_it_learns_whose_sentence_is_whose(rng: np.random.Generator) -> None:
    model = small(dropout=0.0)
    x, words = regions(rng), np.array([[1, 2], [3, 4], [5, 6]])
    optimizer = Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    before = model.word.weight.detach().numpy().copy()
    for _ in range(200):
        loss = ranking_loss(model(Tensor(x), Tensor(rows(words=words))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01
    assert (model.rate(x, COUNTS, words).argmax(1) == np.arange(3)).all()
    np.testing.assert_array_equal(model.word.weight.detach().numpy(), before)  # fixed, as in the paper


def test_the_papers_sizes() -> None:
    """Region: 1000 x 4096 + 1000; words: 8791 x 300; W_e, W_f, W_b, W_d and their biases."""
    model = models.alignment(device="meta")
    counted = {name: p.numel() for name, p in model.named_parameters()}
    assert counted["region.weight"] == 4096 * 1000 and counted["word.weight"] == 8791 * 300
    assert sum(counted.values()) == 4097 * 1000 + 8791 * 300 + 301 * 300 + 2 * 301 * 300 + 301 * 1000 == 7_306_200
    found = tinyconv.summary(models.alignment(24, scale="lesson"))
    assert found.total_params == 129 * 128 + 24 * 64 + 65 * 128 + 2 * 129 * 128 + 129 * 128
    by_hand_macs = 6 * 128 * 128 + 64 * 128 + 2 * 128 * 128 + 128 * 128 + 6 * 128  # one word
    assert found.total_macs == by_hand_macs


def test_a_checkpoint_keeps_it(tmp_path, rng: np.random.Generator) -> None:
    tinyconv.manual_seed(0)
    model = models.alignment(["<end>", "a", "dog"], features=7, scale="lesson", text="brnn", score="defrag")
    tinyconv.save(tmp_path / "a.npz", model)
    again = tinyconv.load(tmp_path / "a.npz")
    x, words = regions(rng).astype(np.float32), np.array([[1, 2, 2]])
    np.testing.assert_array_equal(again.rate(x, COUNTS, words), model.rate(x, COUNTS, words))
    assert again.config["arguments"]["words"] == ["<end>", "a", "dog"] and not again.word.weight.requires_grad


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.alignment(1), "or their number, at least 2, got 1"),
        (lambda: models.alignment(True), "words must be a Vocabulary's list of words"),
        (lambda: models.alignment(["<end>", 2]), "words must be a Vocabulary's list of words"),
        (lambda: models.alignment(text="lstm"), "text"),
        (lambda: models.alignment(score="sum"), "score"),
        (lambda: small()(Tensor(np.zeros((2, 4, 6)))), r"regions must be \(N, R, 7\), got shape \(2, 4, 6\)"),
        (lambda: small().embed_words(np.array([[1, 9]])), "words must be at least 0 and below 9, .* got 1 to 9"),
        (lambda: small().embed_words(np.array([[1.0]])), "words must be ints"),
        (lambda: small()(Tensor(regions(RNG)), Tensor(rows(np.array([4, 5, 1])))), r"counts must be 3 .* in 1\.\.4"),
        (lambda: small()(Tensor(regions(RNG)), Tensor(rows(np.array([4, 0, 1])))), r"counts must be 3 .* in 1\.\.4"),
        (lambda: small()(Tensor(regions(RNG, 2)), Tensor(rows())), "wanted a row for each of 2 images, got 3"),
        (lambda: small().rate(regions(RNG), [4, 4], WORDS), r"counts must be 3 numbers of regions"),
        (lambda: small().match(regions(RNG, 2), [4, 4], WORDS), "wants a sentence for each of 2 images, got 3"),
        (lambda: small().embed_words(np.array([[1, -1, 2]])), "-1 must come after all words"),
        (lambda: small().embed_words(np.array([[1, -7]])), "got -7 to 1"),
        (lambda: ranking_loss(Tensor(np.zeros((0, 0)))), "B >= 1"),
        (lambda: unpack_rows(np.zeros((2, 0), int)), r"rows must be ints \(N, 1 \+ T\)"),
        (lambda: unpack_rows(np.zeros((2, 3))), "rows must be ints"),
        (lambda: ranking_loss(Tensor(np.zeros((2, 3)))), r"scores must be \(B, B\).*got shape \(2, 3\)"),
        (lambda: ranking_loss(Tensor(np.zeros((2, 2))), reduction="none"), "reduction"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
