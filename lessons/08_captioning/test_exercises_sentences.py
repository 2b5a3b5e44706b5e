"""Tests of tasks 8.8 and 8.9: ``pytest lessons/08_captioning``, or one task with ``-k 8_8_``."""

import importlib.util
import math
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import text
from tinyconv.models.caption import caption, caption_loss
from tinyconv.tensor import Tensor

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_08_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

# ------------------------------------------------------------------------------------------------------- 8.8: the cost

paying = pytest.mark.task(
    id="8.8", points=2, minutes=25, difficulty=2, hint="softmax - onehot at every step up to END, over N; 0 behind it"
)


def cost_of(logits, words):
    """Return the student's cost and gradient, and see that nothing was changed and nothing warned."""
    logits, words = np.asarray(logits, float), np.asarray(words)
    before = logits.copy(), words.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = exercises.caption_cost(logits, words)
    assert found is not None, "caption_cost returns nothing yet (task 8.8)"
    cost, gradient = found
    np.testing.assert_array_equal(logits, before[0], err_msg="logits were changed")
    np.testing.assert_array_equal(words, before[1], err_msg="words were changed")
    assert np.shape(gradient) == logits.shape
    return cost, gradient


@paying
def test_8_8_by_hand():
    """A sentence of one word, three words: p(2) = 1/2 after START, p(END) = 1/4 after it."""
    logits = np.log([[[0.25, 0.25, 0.5], [0.25, 0.5, 0.25]]])
    cost, gradient = cost_of(logits, [[2]])
    assert cost == pytest.approx(math.log(2) + math.log(4))
    np.testing.assert_allclose(gradient, [[[0.25, 0.25, -0.5], [-0.75, 0.5, 0.25]]], atol=1e-12)


@paying
def test_8_8_knowing_nothing_costs_log_v_for_every_word_and_every_end():
    """Sentences of 2, 0 and 3 words of 5: 3 + 1 + 4 steps, over 3 sentences."""
    cost, gradient = cost_of(np.zeros((3, 4, 5)), [[1, 4, -1], [-1, -1, -1], [2, 2, 3]])
    assert cost == pytest.approx(8 * math.log(5) / 3)
    np.testing.assert_array_equal(gradient[0, 3], 0)
    np.testing.assert_array_equal(gradient[1, 1:], 0)
    np.testing.assert_allclose(gradient[2, 3], np.array([-0.8, 0.2, 0.2, 0.2, 0.2]) / 3)


@paying
def test_8_8_end_comes_where_the_sentence_ends():
    """Two sentences; each step is sure of something, and wrong only if it is sure of the wrong word."""
    sure = np.full((2, 3, 4), -50.0)
    for n, t, word in ((0, 0, 3), (0, 1, 0), (1, 0, 1), (1, 1, 2), (1, 2, 0)):
        sure[n, t, word] = 0
    assert cost_of(sure, [[3, -1], [1, 2]])[0] == pytest.approx(0, abs=1e-12)
    assert cost_of(sure, [[3, 1], [1, 2]])[0] > 20


@paying
def test_8_8_what_comes_after_the_end_does_not_matter():
    logits = np.random.default_rng(0).standard_normal((3, 5, 6))
    words = np.array([[1, 2, -1, -1], [-1, -1, -1, -1], [5, 4, 3, 2]])
    wanted = cost_of(logits, words)
    for rubbish in (7.0, np.nan, np.inf):
        after = logits.copy()
        after[0, 3:], after[1, 1:] = rubbish, rubbish
        cost, gradient = cost_of(after, words)
        assert cost == wanted[0]
        np.testing.assert_array_equal(gradient, wanted[1])


@paying
def test_8_8_large_scores():
    """A step sure of the wrong word by 3,000 costs 3,000; one that is sure of the right one nothing."""
    cost, gradient = cost_of([[[3000.0, 0], [5000.0, -5000]]], [[1]])
    assert cost == pytest.approx(3000)
    np.testing.assert_allclose(gradient, [[[1, -1], [0, 0]]], atol=1e-12)


@paying
def test_8_8_the_gradient_is_that_of_the_cost():
    rng = np.random.default_rng(1)
    logits, words = rng.standard_normal((3, 4, 5)), np.array([[1, 4, 2], [3, -1, -1], [-1, -1, -1]])
    gradient, slope = cost_of(logits, words)[1], np.zeros(logits.shape)
    for place in np.ndindex(logits.shape):
        step = np.zeros(logits.shape)
        step[place] = 1e-5
        slope[place] = (cost_of(logits + step, words)[0] - cost_of(logits - step, words)[0]) / 2e-5
    np.testing.assert_allclose(gradient, slope, atol=1e-8)


@paying
def test_8_8_is_the_librarys():
    rng = np.random.default_rng(2)
    logits = rng.standard_normal((4, 6, 7))
    words = text.pad([rng.integers(1, 7, k) for k in (5, 0, 3, 1)])
    cost, gradient = cost_of(logits, words)
    given = Tensor(logits.copy(), requires_grad=True)
    loss = caption_loss(given, words)
    loss.backward()
    assert cost == pytest.approx(loss.item())
    np.testing.assert_allclose(gradient, given.grad.numpy(), atol=1e-12)


# ---------------------------------------------------------------------------------------------------- 8.9: beam search

searching = pytest.mark.task(
    id="8.9", points=3, minutes=40, difficulty=3, hint="note of each candidate which row of the states it continues"
)


def chain(table, calls=None):
    """Return a step whose next word depends on the last one: ``table[word]`` has the probabilities of the next."""
    with np.errstate(divide="ignore"):
        logs = np.log(np.asarray(table, float))

    def step(tokens, state):
        assert tokens.dtype == np.int64 and tokens.shape == (len(state),), (tokens, state)
        assert len(tokens), "there is nothing to continue"
        if calls is not None:
            calls.append(tokens.tolist())
        return logs[tokens], state

    return step


def search(step, beam, limit, state=None):
    """Return the student's list, each part of the kind that was wanted."""
    found = exercises.beam_search(step, np.zeros((1, 1)) if state is None else state, beam, limit)
    assert found is not None, "beam_search returns nothing yet (task 8.9)"
    for words, value, finished in found:
        assert isinstance(words, tuple), f"words must be a tuple, got {words!r}"
        assert isinstance(finished, bool | np.bool_), f"{words}: finished must be a bool, got {finished!r}"
        assert np.isfinite(value), f"{words}: log probability {value}; impossible words (-inf) are not taken"
    return [(tuple(int(word) for word in words), float(value), bool(finished)) for words, value, finished in found]


TRAP = [[0.0, 0.6, 0.4, 0.0], [0.2, 0.0, 0.0, 0.8], [1.0, 0.0, 0.0, 0.0], [0.3, 0.3, 0.3, 0.1]]


@searching
def test_8_9_one_is_greedy_and_two_see_further():
    """1 then 3 is the most probable word each time, .6 * .8 * ...; 2 and END together are more probable, .4."""
    words, value, finished = search(chain(TRAP), 1, 3)[0]
    assert (words, finished) == ((1, 3), True) and value == pytest.approx(math.log(0.6 * 0.8 * 0.3))
    words, value, finished = search(chain(TRAP), 2, 3)[0]
    assert (words, finished) == ((2,), True) and value == pytest.approx(math.log(0.4))


@searching
def test_8_9_what_has_ended_stays_but_can_be_crowded_out():
    """END at once has .3. Two continuations of 1 have .35 each, and leave no place for it in a beam of two."""
    table = [[0.3, 0.7, 0, 0], [0, 0, 0.5, 0.5], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert [words for words, _, _ in search(chain(table), 2, 1)] == [(1,), ()]
    assert [words for words, _, _ in search(chain(table), 2, 2)] == [(1, 2), (1, 3)]
    found = search(chain(table), 3, 3)
    assert [(words, finished) for words, _, finished in found] == [((1, 2), True), ((1, 3), True), ((), True)]
    assert [value for _, value, _ in found] == pytest.approx(np.log([0.35, 0.35, 0.3]))


@searching
def test_8_9_the_end_takes_a_step():
    """After two steps two words are there; only the third can say END."""
    table = [[0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0]]
    assert search(chain(table), 2, 2) == [((1, 2), 0.0, False)]
    assert search(chain(table), 2, 3) == [((1, 2), 0.0, True)]
    assert search(chain(table), 2, 9) == [((1, 2), 0.0, True)]


@searching
def test_8_9_no_step_without_beginnings_and_no_ended_ones_in_it():
    calls = []
    search(chain([[0.5, 0.5, 0], [0.4, 0, 0.6], [1, 0, 0]], calls), 3, 20)
    assert calls == [[0], [1], [2]], f"step was called with these last words: {calls}; what has ended is not passed on"


@searching
def test_8_9_equal_ones_keep_their_order():
    """All words are equally probable: END at once, 1, 2; then what has ended, and END after 1."""
    table = np.full((3, 3), 1 / 3)
    assert [words for words, _, _ in search(chain(table), 3, 1)] == [(), (1,), (2,)]
    found = search(chain(table), 3, 2)
    assert [(words, finished) for words, _, finished in found] == [((), True), ((1,), True), ((1, 1), False)]


@searching
def test_8_9_an_impossible_word_is_not_taken():
    """Two words are possible at first, then one each: a beam of seven holds two sentences."""
    table = [[0, 0.5, 0.5, 0], [1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    assert [words for words, _, _ in search(chain(table), 7, 5)] == [(1,), (2, 3)]


@searching
def test_8_9_the_states_follow_their_sentences():
    """The state counts the sum of the words said; the third word is 1 after an even sum, 2 after an odd one."""
    logs = np.log([[1e-9, 0.45, 0.55], [1e-9, 0.6, 0.4]])

    def step(tokens, state):
        state = state + tokens[:, None]
        return logs[state[:, 0].astype(int) % 2], state

    def brute(limit):
        said = []
        for words in product((1, 2), repeat=limit):
            sums = np.cumsum((0, *words))[:-1]
            said.append((sum(logs[int(s) % 2, word] for s, word in zip(sums, words, strict=True)), words))
        return [words for _, words in sorted(said, key=lambda pair: -pair[0])]

    found = search(step, 16, 4)
    assert [words for words, _, finished in found if not finished] == brute(4)


@searching
@pytest.mark.parametrize("beam", [1, 2, 3, 7])
@pytest.mark.parametrize("seed", range(6))
def test_8_9_is_the_librarys(beam, seed):
    rng = np.random.default_rng(seed)
    table = rng.dirichlet(np.full(5, 0.4), 5)
    state = np.zeros((1, 1))
    with np.errstate(divide="ignore"):
        logs = np.log(table)
    wanted = text.beam_search(lambda tokens, state: (logs[tokens], state), (state,), beam=beam, limit=6)
    found = search(chain(table), beam, 6)
    assert [(words, finished) for words, _, finished in found] == [(h.words, h.finished) for h in wanted.hypotheses]
    assert [value for _, value, _ in found] == pytest.approx([h.log_probability for h in wanted.hypotheses])


@searching
def test_8_9_speaks_for_a_network():
    """Through an LSTM of the engine, whose two states are one array here."""
    tinyconv.manual_seed(3)
    model = caption("<end> a three is left of seven".split(), features=5, cell="lstm", scale="lesson").eval()
    model.leave.weight.data[...] *= 80  # an opinion
    features = np.random.default_rng(4).standard_normal((1, 5)).astype(np.float32)
    wanted = model.generate(features, beam=4, limit=8)[0]
    with tinyconv.no_grad():
        h, c = model._start(model.see(Tensor(features)).numpy())

        def step(tokens, state):
            logs, (h, c) = model._step(tokens, (state[:, 0], state[:, 1]))
            return logs, np.stack([h, c], axis=1)

        found = search(step, 4, 8, np.stack([h, c], axis=1))
    assert [words for words, _, _ in found] == [h.words for h in wanted.hypotheses]
