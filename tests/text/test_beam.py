"""Beam search against the greedy choice and all sentences, its order, its tree, its limits, what it need not find."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.text import Beam, beam_search

seeds = st.integers(0, 2**32 - 1)


def chain(seed: int, words: int) -> np.ndarray:
    """Return log probabilities (V, V, V) of a word after the last two; START is 0, twice."""
    logits = 2 * np.random.default_rng(seed).standard_normal((words, words, words))
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def search(table: np.ndarray, **options: int) -> Beam:
    """Return the beam of a chain of second order; the word before the last one is the state."""

    def step(tokens: np.ndarray, state: tuple) -> tuple[np.ndarray, tuple]:
        (before,) = state
        return table[before, tokens], (tokens.copy(),)

    return beam_search(step, (np.zeros(1, np.int64),), **options)


def first_order(table: dict[int, dict[int, float]], words: int) -> Callable:
    """Return the step of a chain given by the probabilities that are not 0."""

    def step(tokens: np.ndarray, state: tuple) -> tuple[np.ndarray, tuple]:
        p = np.array([[table[int(token)].get(word, 0) for word in range(words)] for token in tokens], float)
        return np.log(p, out=np.full(p.shape, -np.inf), where=p > 0), state

    return step


def log_probability(table: np.ndarray, words: tuple[int, ...]) -> float:
    """Return that of a run of words, END included if it is there, from START."""
    return sum(table[a, b, c] for a, b, c in zip((0, 0, *words), (0, *words), words, strict=False))


def every_sentence(table: np.ndarray, limit: int) -> list[tuple[float, tuple[int, ...], bool]]:
    """Return (log probability, words, finished) of all finished sentences and all beginnings of the full length."""
    others = range(1, len(table))
    found = []
    for length in range(limit + 1):
        for words in itertools.product(others, repeat=length):
            if length < limit:
                found.append((log_probability(table, (*words, 0)), words, True))
            else:
                found.append((log_probability(table, words), words, False))
    return sorted(found, key=lambda row: -row[0])


@given(seeds, st.integers(1, 9))
def test_beam_of_one_is_greedy(seed: int, limit: int) -> None:
    table = chain(seed, 5)
    words, total, last = [], 0.0, (0, 0)
    for _ in range(limit):
        word = int(table[last].argmax())
        total += table[last][word]
        last = last[1], word
        words.append(word)
        if word == 0:
            break
    (found,) = search(table, beam=1, limit=limit).hypotheses
    assert found.words == tuple(words[:-1] if words[-1] == 0 else words) and found.finished == (words[-1] == 0)
    assert found.log_probability == pytest.approx(total, abs=1e-12)


@given(seeds, st.integers(2, 4), st.integers(1, 4))
def test_a_beam_that_drops_nothing_finds_all_sentences_in_order(seed: int, size: int, limit: int) -> None:
    table = chain(seed, size)
    wanted = every_sentence(table, limit)
    found = search(table, beam=len(wanted), limit=limit).hypotheses
    assert [(h.words, h.finished) for h in found] == [(words, finished) for _, words, finished in wanted]
    np.testing.assert_allclose([h.log_probability for h in found], [total for total, *_ in wanted], atol=1e-12)
    assert sum(np.exp(h.log_probability) for h in found) == pytest.approx(1)


@given(seeds, st.integers(1, 8))
def test_hypotheses_are_what_they_say(seed: int, beam: int) -> None:
    table = chain(seed, 3)
    found = search(table, beam=beam, limit=6)
    assert 1 <= len(found.hypotheses) <= beam and found.best is found.hypotheses[0]
    totals = [h.log_probability for h in found.hypotheses]
    assert totals == sorted(totals, reverse=True)
    assert len({(h.words, h.finished) for h in found.hypotheses}) == len(found.hypotheses)
    for h in found.hypotheses:
        run = (*h.words, 0) if h.finished else h.words
        assert h.log_probability == pytest.approx(log_probability(table, run), abs=1e-12)
        assert 0 not in h.words and (h.finished or len(h.words) == 6)
    assert found.best.log_probability <= every_sentence(table, 6)[0][0] + 1e-12


def test_wider_beams_are_mostly_better() -> None:
    """Of 300 chains of words; how often is chance's, that it is rarely worse is what beams are for."""
    worse = better = 0
    for seed in range(300):
        table = chain(seed, 8)
        greedy, wide = (search(table, beam=beam, limit=8).best.log_probability for beam in (1, 7))
        worse += wide < greedy - 1e-12
        better += wide > greedy + 1e-12
    assert better > 60 and worse < 6


def test_a_beam_of_two_can_be_worse_than_one() -> None:
    """Two continuations of the second best word crowd out the best word's only one, and then have no good end.

    By hand: 1, 3, END has .5 * .3 * 1 = .15. After the second step a beam of 2 holds 2, 4 and 2, 5, with
    .4 * .5 = .2 each; both end with .2 * .1 = .02, the rest of what follows having no probability. A beam of 3 keeps
    all three.
    """
    table = {0: {1: 0.5, 2: 0.4, 5: 0.1}, 1: {3: 0.3}, 2: {4: 0.5, 5: 0.5}, 3: {0: 1}, 4: {0: 0.1}, 5: {0: 0.1}}
    best = [beam_search(first_order(table, 6), (), beam=k).best for k in (1, 2, 3)]
    assert [h.words for h in best] == [(1, 3), (2, 4), (1, 3)]
    np.testing.assert_allclose(np.exp([h.log_probability for h in best]), [0.15, 0.02, 0.15])


def test_finished_ones_stay_in_the_pool_until_they_are_crowded_out() -> None:
    """END at once has .3; 1 has .7, and then 2 and 3 with .35 each, which both fall below .3 in the third step."""
    table = {0: {0: 0.3, 1: 0.7}, 1: {2: 0.5, 3: 0.5}, 2: {0: 0.5, 2: 0.5}, 3: {0: 0.5, 3: 0.5}}
    step = first_order(table, 4)
    three = beam_search(step, (), beam=3, limit=3).hypotheses
    assert three[0].words == () and three[0].finished and np.exp(three[0].log_probability) == pytest.approx(0.3)
    # Only two places: in the second step 1, 2 and 1, 3 take both, and the sentence without words is gone.
    two = beam_search(step, (), beam=2, limit=3)
    assert [h.words for h in two.hypotheses] == [(1, 2), (1, 2, 2)]
    assert [h.finished for h in two.hypotheses] == [True, False]
    gone = two.nodes[2]
    assert gone.kept and gone.finished and 2 not in [h.node for h in two.hypotheses]


def test_no_length_normalisation() -> None:
    """.5 for the short sentence, .5 * .9 for one of two words, though it has more per word."""
    table = {0: {0: 0.5, 1: 0.5}, 1: {2: 0.95, 1: 0.05}, 2: {0: 0.95, 2: 0.05}}
    found = beam_search(first_order(table, 3), (), beam=2).hypotheses
    assert [h.words for h in found] == [(), (1, 2)]


def test_ties_keep_their_order() -> None:
    """Everything equally probable: smaller words first, after the hypothesis that came first."""
    table = np.full((3, 3, 3), -np.log(3))
    found = search(table, beam=4, limit=2).hypotheses
    assert [(h.words, h.finished) for h in found] == [((), True), ((1,), True), ((1, 1), False), ((1, 2), False)]
    assert search(table, beam=4, limit=2) == search(table, beam=4, limit=2)


def test_the_best_words_of_many() -> None:
    """Ties at the border of those looked at: the smaller number, as sorting all of them would give."""
    p = np.array([0.1, 0.2, 0.1, 0.2, 0.1, 0.1, 0.2])
    found = beam_search(lambda tokens, state: (np.log(p)[None], state), (), beam=5, limit=1)
    assert [node.word for node in found.nodes[1:]] == [1, 3, 6, 0, 2]
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = rng.integers(1, 6, 50)
        row = np.log(p / p.sum())[None]
        found = beam_search(lambda tokens, state, row=row: (row, state), (), beam=9, limit=1)
        assert [n.word for n in found.nodes[1:]] == np.argsort(-row[0], kind="stable")[:9].tolist()


def test_limit_of_one() -> None:
    table = chain(0, 4)
    found = search(table, beam=2, limit=1)
    order = np.argsort(-table[0, 0])[:2].tolist()
    assert [h.words for h in found.hypotheses] == [(word,) if word else () for word in order]
    assert [h.finished for h in found.hypotheses] == [word == 0 for word in order]
    # END takes a step, so a sentence of limit words is never finished.
    sure = {0: {1: 1.0}, 1: {0: 1.0}}
    (one,) = beam_search(first_order(sure, 2), (), limit=1).hypotheses
    assert one.words == (1,) and not one.finished
    (one,) = beam_search(first_order(sure, 2), (), limit=2).hypotheses
    assert one.words == (1,) and one.finished


def test_beam_wider_than_the_vocabulary() -> None:
    table = chain(1, 3)
    found = search(table, beam=50, limit=3)
    assert len(found.hypotheses) == 1 + 2 + 4 + 8
    assert len(found.nodes) == 1 + 3 + 6 + 12


def test_stops_when_all_are_finished() -> None:
    calls = []

    def step(tokens: np.ndarray, state: tuple) -> tuple[np.ndarray, tuple]:
        calls.append(tokens.tolist())
        return np.log([[0.9, 0.1]] * len(tokens)), state

    assert beam_search(step, (), beam=1).best.words == () and calls == [[0]]
    # The sentence 1, 1, ..., is always unfinished, and there is a place for it: until the limit.
    calls.clear()
    beam_search(step, (), beam=30, limit=5)
    assert calls == [[0], [1], [1], [1], [1]]


def test_another_end() -> None:
    found = beam_search(first_order({2: {0: 1.0}, 0: {1: 1.0}, 1: {2: 1.0}}, 3), (), end=2)
    assert [h.words for h in found.hypotheses] == [(0, 1)] and found.nodes[0].word == 2


def test_impossible_words_are_no_candidates() -> None:
    table = {0: {1: 0.5, 2: 0.5}, 1: {0: 1.0}, 2: {}}
    found = beam_search(first_order(table, 3), (), beam=7)
    assert [h.words for h in found.hypotheses] == [(1,)]
    assert all(np.isfinite(node.log_probability) for node in found.nodes)
    with pytest.raises(ValueError, match="beam_search: in step 2 every word after every hypothesis has probability 0"):
        beam_search(first_order({0: {1: 1.0}, 1: {}}, 3), ())


@given(seeds, st.integers(1, 6))
def test_tree(seed: int, beam: int) -> None:
    found = search(chain(seed, 5), beam=beam, limit=4)
    root, *others = found.nodes
    assert root == (-1, 0, 0.0, 0.0, 0, True, False)
    for number, node in enumerate(others, 1):
        parent = found.nodes[node.parent]
        assert 0 <= node.parent < number and parent.kept and not parent.finished
        assert node.step == parent.step + 1 and node.finished == (node.word == 0)
        assert node.total == pytest.approx(parent.total + node.log_probability, abs=1e-12)
    for step in range(1, 5):
        of_step = [node for node in others if node.step == step]
        assert sum(node.kept for node in of_step) <= beam
        widths = [sum(node.parent == number for node in of_step) for number in range(len(found.nodes))]
        assert set(widths) <= {0, min(beam, 5)}
        # What was dropped is no better than what was kept.
        kept = [node.total for node in of_step if node.kept]
        dropped = [node.total for node in of_step if not node.kept]
        assert not kept or not dropped or max(dropped) <= min(kept)
    for h in found.hypotheses:
        path = found.path(h.node)
        assert path[0] == 0 and path[-1] == h.node
        run = tuple(found.nodes[number].word for number in path[1:])
        assert run == ((*h.words, 0) if h.finished else h.words)
        assert all(found.nodes[number].kept for number in path)
        assert found.nodes[h.node].total == h.log_probability


def test_printed() -> None:
    found = beam_search(first_order({0: {1: 0.5, 0: 0.5}, 1: {0: 0.5, 1: 0.5}}, 2), (), beam=1, limit=3)
    assert repr(found) == "Beam(1 hypotheses, the best has 0 words, log probability -0.693; 2 nodes)"


@given(seeds)
def test_state_follows_its_hypothesis(seed: int) -> None:
    """What is probable depends on all words so far, which only the state knows: two arrays of different ranks."""
    table = chain(seed, 6).reshape(36, 6)

    def step(tokens: np.ndarray, state: tuple) -> tuple[np.ndarray, tuple]:
        history, key = state
        assert len(history) == len(key) == len(tokens)
        key = (7 * key + tokens + 1) % 36
        return table[key], (np.concatenate([history, tokens[:, None, None]], 1), key)

    found = beam_search(step, (np.zeros((1, 0, 1), np.int64), np.zeros(1, np.int64)), beam=5, limit=6)
    for h in found.hypotheses:
        key, total = 0, 0.0
        run = (0, *h.words, 0) if h.finished else (0, *h.words)
        for before, word in itertools.pairwise(run):
            key = (7 * key + before + 1) % 36
            total += table[key, word]
        assert h.log_probability == pytest.approx(total, abs=1e-12)


def test_argument_errors() -> None:
    step = first_order({0: {0: 1.0}}, 2)
    for name, least in (("beam", 1), ("limit", 1), ("end", 0)):
        with pytest.raises(ValueError, match=f"beam_search: {name} must be at least {least}, got {least - 1}"):
            beam_search(step, (), **{name: least - 1})
        for wrong in (2.0, None, True, "7"):
            with pytest.raises(TypeError, match=f"beam_search: {name} must be a whole number, got "):
                beam_search(step, (), **{name: wrong})
    with pytest.raises(TypeError, match="beam_search: state must be a tuple of arrays, got ndarray"):
        beam_search(step, np.zeros((1, 2)))
    for part in (np.zeros((2, 3)), np.zeros(()), 5):
        with pytest.raises(ValueError, match="beam_search: state 0 must have 1 rows, one per hypothesis, got shape"):
            beam_search(step, (part,))


def test_step_errors() -> None:
    def returning(value: object, state: object = ()) -> Beam:
        return beam_search(lambda tokens, _: (value, state), ())

    for shape in ((2, 3), (3,), (1, 0), (1, 3, 1)):
        with pytest.raises(ValueError, match=r"wanted log probabilities \(1, V\) with V > end = 0, got shape"):
            returning(np.zeros(shape))
    with pytest.raises(ValueError, match="log probabilities are NaN in step 1; has the training diverged"):
        returning(np.array([[-1, np.nan]]))
    for wrong in (0.5, np.inf):
        with pytest.raises(
            ValueError, match=f"must be at most 0, got {wrong} in step 1; turn logits into them by log_"
        ):
            returning(np.array([[-1, wrong]]))
    with pytest.raises(TypeError, match="state must be a tuple of arrays, got list"):
        returning(np.log([[0.5, 0.5]]), [np.zeros(1)])
    with pytest.raises(ValueError, match=r"state 0 must have 1 rows, one per hypothesis, got shape \(3,\)"):
        returning(np.log([[0.5, 0.5]]), (np.zeros(3),))
    with pytest.raises(TypeError, match=r"step must return \(log_probabilities, state\), got ndarray"):
        beam_search(lambda tokens, state: np.zeros((1, 2)), ())
    # A rounding above 0 is no mistake.
    assert returning(np.array([[1e-7, -20]])).best.finished
