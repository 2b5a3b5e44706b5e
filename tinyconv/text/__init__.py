"""Sentences, on NumPy arrays: words and their numbers, searching for sentences, aligning and judging them."""

from tinyconv.text.beam import Beam, Hypothesis, Node, beam_search
from tinyconv.text.bleu import Bleu, bleu
from tinyconv.text.cider import cider_d
from tinyconv.text.meteor import meteor_exact
from tinyconv.text.ngrams import Scores, ngrams
from tinyconv.text.retrieval import Ranks, Retrieval, rank
from tinyconv.text.rouge import rouge_l
from tinyconv.text.segments import Segment, segments, viterbi
from tinyconv.text.tokens import tokenise
from tinyconv.text.vocabulary import END, PADDING, Vocabulary, lengths_of, pad

__all__ = [
    "END", "PADDING", "Beam", "Bleu", "Hypothesis", "Node", "Ranks", "Retrieval", "Scores", "Segment", "Vocabulary",
    "beam_search", "bleu", "cider_d", "lengths_of", "meteor_exact", "ngrams", "pad", "rank", "rouge_l", "segments",
    "tokenise", "viterbi",
]  # fmt: skip
