"""Searching for a likely sentence, word by word. See :func:`beam_search`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinyconv.text.checks import check_whole

State = tuple[Any, ...]  # arrays whose first axis is the hypotheses
Step = Callable[[np.ndarray, State], tuple[np.ndarray, State]]


class Hypothesis(NamedTuple):
    """A sentence, or the beginning of one.

    Attributes
    ----------
    words : tuple of int
        Without START and END.
    log_probability : float
        Sum over the words, and over END if it is finished.
    finished : bool
        Whether it ended by END; if not, it reached the limit.
    node : int
        Its last node in the beam's tree, END's if it is finished.
    """

    words: tuple[int, ...]
    log_probability: float
    finished: bool
    node: int


class Node(NamedTuple):
    """A continuation that was weighed.

    Attributes
    ----------
    parent : int
        Number of the node that it continues; -1 for the root, which is START.
    word : int
    log_probability : float
        Of this word after its parent.
    total : float
        Sum from the root to here.
    step : int
        Number of words from the root to here; 0 for the root.
    kept : bool
        Whether it was among the best of its step. A finished one can still be crowded out in a later step: then no
        hypothesis ends in it.
    finished : bool
        Whether the word is END.
    """

    parent: int
    word: int
    log_probability: float
    total: float
    step: int
    kept: bool
    finished: bool


@dataclass(frozen=True)
class Beam:
    """What a search ended with, and all that it looked at.

    Attributes
    ----------
    hypotheses : tuple of Hypothesis
        The most probable first; at most as many as the beam is wide.
    nodes : tuple of Node
        The tree. The root comes first, a parent before its children, steps in their order.
    """

    hypotheses: tuple[Hypothesis, ...]
    nodes: tuple[Node, ...]

    @property
    def best(self) -> Hypothesis:
        """The most probable hypothesis."""
        return self.hypotheses[0]

    def path(self, node: int) -> list[int]:
        """Return the numbers of the nodes from the root to this one."""
        found = [node]
        while self.nodes[found[0]].parent >= 0:
            found.insert(0, self.nodes[found[0]].parent)
        return found

    def __repr__(self) -> str:
        best = f"{len(self.best.words)} words, log probability {self.best.log_probability:.3f}"
        return f"Beam({len(self.hypotheses)} hypotheses, the best has {best}; {len(self.nodes)} nodes)"


def beam_search(step: Step, state: State, *, beam: int = 7, limit: int = 20, end: int = 0) -> Beam:
    """Return probable sentences, found by continuing the best ``beam`` beginnings word by word.

    Every step continues each unfinished hypothesis by each of its ``beam`` most probable words. Of these and of the
    finished hypotheses, which stay in the pool, the best ``beam`` remain. The search ends when all are finished, or
    after ``limit`` steps. Hypotheses are compared by their log probabilities as they are, whatever their length, as in
    the authors' program; so short sentences have an advantage. Equal ones keep their order: that of the hypotheses they
    continue, then that of the words' numbers.

    A beam of 1 is the greedy choice. A wider beam mostly finds a sentence at least as probable, but need not: two
    continuations of the second best beginning can both crowd out the only one of the best, and lead nowhere
    afterwards. Here the words 1, 3 have probability .5 * .3 and 2, 4 only .4 * .5 * .1:

    >>> table = {0: {1: 0.5, 2: 0.4, 5: 0.1}, 1: {3: 0.3}, 2: {4: 0.5, 5: 0.5}, 3: {0: 1}, 4: {0: 0.1}, 5: {0: 0.1}}
    >>> def step(tokens, state):
    ...     p = np.array([[table[int(t)].get(word, 0) for word in range(6)] for t in tokens])
    ...     return np.log(p, out=np.full(p.shape, -np.inf), where=p > 0), state
    >>> [beam_search(step, (), beam=k).best.words for k in (1, 2, 3)]
    [(1, 3), (2, 4), (1, 3)]

    Parameters
    ----------
    step : callable
        ``step(tokens, state) -> log_probabilities, state``: from the last words of B hypotheses, (B,) int64, and their
        states the log probabilities of the next word, (B, V) float64, and the new states. The first call has B = 1 and
        the word ``end``, which as an input is START.
    state : tuple of arrays
        The first axis of each is the hypotheses: 1 at first. Rows are chosen by ``array[rows]``.
    beam : int
        Hypotheses kept: 7 for the paper's best results, sec. 4.2. It may be larger than the vocabulary.
    limit : int
        Steps at most; END takes one.
    end : int
        Number of the word END.

    Returns
    -------
    Beam

    Raises
    ------
    TypeError
        beam, limit or end is no whole number; step does not return two things, or state is no tuple.
    ValueError
        beam or limit is below 1; log probabilities are not (B, V) or do not contain ``end``, one is NaN or above 0, all
        words after all hypotheses have probability 0; an array of the state has not B rows.
    """
    check_whole("beam_search", "beam", beam)
    check_whole("beam_search", "limit", limit)
    check_whole("beam_search", "end", end, 0)
    nodes = [Node(-1, int(end), 0.0, 0.0, 0, True, False)]
    pool = [Hypothesis((), 0.0, False, 0)]
    for number in range(1, limit + 1):
        growing = [hypothesis for hypothesis in pool if not hypothesis.finished]
        if not growing:
            break
        state = _checked_state(state, len(growing))
        tokens = np.array([h.words[-1] if h.words else end for h in growing], np.int64)
        log_probabilities, state = _checked_step(step, tokens, state, number, end)
        candidates: list[tuple[Hypothesis, int]] = []  # and the row that it continues
        row = 0
        for hypothesis in pool:
            if hypothesis.finished:
                candidates.append((hypothesis, -1))
                continue
            for word in _best(log_probabilities[row], beam):
                gain = float(log_probabilities[row, word])
                total, finished = hypothesis.log_probability + gain, word == end
                words = hypothesis.words if finished else (*hypothesis.words, word)
                candidates.append((Hypothesis(words, total, finished, len(nodes)), row))
                nodes.append(Node(hypothesis.node, word, gain, total, number, False, finished))
            row += 1
        if not candidates:
            raise ValueError(f"beam_search: in step {number} every word after every hypothesis has probability 0")
        candidates.sort(key=lambda candidate: -candidate[0].log_probability)  # a stable sort
        del candidates[beam:]
        for hypothesis, _ in candidates:
            nodes[hypothesis.node] = nodes[hypothesis.node]._replace(kept=True)
        pool = [hypothesis for hypothesis, _ in candidates]
        rows = np.array([row for hypothesis, row in candidates if not hypothesis.finished], np.int64)
        state = tuple(part[rows] for part in state)
    return Beam(tuple(pool), tuple(nodes))


def _best(log_probabilities: np.ndarray, count: int) -> list[int]:
    """Return the numbers of the largest entries above -inf, the largest first, equal ones in their order."""
    least = -np.inf
    if count < len(log_probabilities):  # the others need no sorting
        least = np.partition(log_probabilities, -count)[-count]
    some = np.flatnonzero((log_probabilities >= least) & (log_probabilities > -np.inf))
    return some[np.argsort(-log_probabilities[some], kind="stable")][:count].tolist()


def _checked_state(state: State, rows: int) -> State:
    if not isinstance(state, tuple):
        raise TypeError(f"beam_search: state must be a tuple of arrays, got {type(state).__name__}")
    for i, part in enumerate(state):
        shape = getattr(part, "shape", ())
        if shape[:1] != (rows,):
            raise ValueError(f"beam_search: state {i} must have {rows} rows, one per hypothesis, got shape {shape}")
    return state


def _checked_step(step: Step, tokens: np.ndarray, state: State, number: int, end: int) -> tuple[np.ndarray, State]:
    """Return what a step says, or raise as :func:`beam_search` does."""
    found = step(tokens, state)
    if not isinstance(found, tuple) or len(found) != 2:
        raise TypeError(f"beam_search: step must return (log_probabilities, state), got {type(found).__name__}")
    log_probabilities = np.asarray(found[0], np.float64)
    if log_probabilities.ndim != 2 or len(log_probabilities) != len(tokens) or log_probabilities.shape[1] <= end:
        raise ValueError(
            f"beam_search: wanted log probabilities ({len(tokens)}, V) with V > end = {end}, "
            f"got shape {log_probabilities.shape}"
        )
    if np.isnan(log_probabilities).any():
        raise ValueError(f"beam_search: log probabilities are NaN in step {number}; has the training diverged?")
    if log_probabilities.max() > 1e-5:
        raise ValueError(
            f"beam_search: log probabilities must be at most 0, got {log_probabilities.max():g} in step {number}; "
            "turn logits into them by log_softmax"
        )
    return log_probabilities, _checked_state(found[1], len(tokens))
