"""Training and judging caption models, and what they look at: what stands beside :mod:`tinyconv.models`.

See :func:`train_alignment`, :func:`train_caption`, :func:`train_captioner`, :func:`detected_regions`, :func:`snippets`,
:func:`evaluate_captions`, :func:`describe_in`.
"""

from tinyconv.captioning import figures, pages, tree
from tinyconv.captioning.describing import describe_in
from tinyconv.captioning.evaluation import CaptionScores, evaluate_captions, nearest_neighbours, perplexity
from tinyconv.captioning.layout import layout_features
from tinyconv.captioning.pipeline import train_captioner
from tinyconv.captioning.regions import Regions, detected_regions, distractors, given_regions, with_places
from tinyconv.captioning.snippets import Snippets, snippets
from tinyconv.captioning.training import PerplexityCheck, RetrievalCheck, train_alignment, train_caption

__all__ = [
    "CaptionScores", "PerplexityCheck", "Regions", "RetrievalCheck", "Snippets", "describe_in", "detected_regions",
    "distractors", "evaluate_captions", "figures", "given_regions", "layout_features", "nearest_neighbours", "pages",
    "perplexity", "snippets", "train_alignment", "train_caption", "train_captioner", "tree", "with_places",
]  # fmt: skip
