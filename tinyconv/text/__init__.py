"""Sentences, on NumPy arrays: words and their numbers, searching for sentences, aligning and judging them."""

from tinyconv.text.beam import Beam, Hypothesis, Node, beam_search
from tinyconv.text.retrieval import Ranks, Retrieval, rank
from tinyconv.text.segments import Segment, segments, viterbi
from tinyconv.text.tokens import tokenise
from tinyconv.text.vocabulary import END, PADDING, Vocabulary, lengths_of, pad

__all__ = [
    "END", "PADDING", "Beam", "Hypothesis", "Node", "Ranks", "Retrieval", "Segment", "Vocabulary", "beam_search",
    "lengths_of", "pad", "rank", "segments", "tokenise", "viterbi",
]  # fmt: skip
