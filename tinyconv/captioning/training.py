"""The recipes by which alignment and caption models are trained. See :func:`train_alignment`, :func:`train_caption`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np

from tinyconv import optim
from tinyconv.captioning.evaluation import perplexity
from tinyconv.data.loader import DataLoader
from tinyconv.data.pairs import SentencePairs
from tinyconv.history import History
from tinyconv.models.alignment import Alignment, alignment_loss
from tinyconv.models.caption import Caption, bias_to_frequencies, caption_loss
from tinyconv.nn.utils import clip_grad_value_
from tinyconv.tensor import Tensor
from tinyconv.text import Vocabulary, lengths_of, rank
from tinyconv.train import fit
from tinyconv.training_state import TrainState
from tinyconv.updates import PairedDescent

BATCH_SIZE = 50  # pairs of an image and a sentence per step (the paper: 100)
LARGEST = 5.0  # no element of a gradient is larger
FALL, FACTOR = 0.7, 0.2  # after this part of the epochs, the rate is so much of what it was
ALIGNMENT_LR, CAPTION_LR = 0.001, 0.003
ALPHA = 0.99  # of RMSprop


def train_alignment(
    model: Alignment,
    pairs: SentencePairs,
    *,
    epochs: int = 15,
    lr: float = ALIGNMENT_LR,
    momentum: float | None = None,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    **how: Any,
) -> History:
    """Train an alignment model by the ranking loss and :func:`tinyconv.fit`, which saves, resumes and draws curves.

    Every sentence of a batch is a wrong one for all images of the batch but its own. Adam, rate 0.001, a fifth of it
    for the last 30 % of the epochs, elements of gradients within +-5. The paper's SGD is ``momentum=0.9``; its rate
    must be small (0.0001 here): at 0.003 every ReLU of s_t dies, all scores are equal, the loss stays at 2 (B - 1).

    Parameters
    ----------
    model : Alignment
    pairs : tinyconv.data.SentencePairs
        With counts: rows begin with the number of an image's regions.
    epochs : int
        Passes over all sentences.
    lr : float
        Rate at first.
    momentum : float, optional
        SGD with this momentum in the place of Adam.
    batch_size : int
        Pairs per step; what is left at an epoch's end is not used in it.
    seed : int
        Of the order and of dropout.
    **how
        For ``fit``: callbacks (:class:`RetrievalCheck`), out, resume, progress ...

    Returns
    -------
    History
        A row per epoch.

    Raises
    ------
    TypeError
        The model is no alignment model, or pairs are no SentencePairs.
    ValueError
        The pairs have no counts, or there are fewer than a batch has.
    """
    if not isinstance(model, Alignment):
        raise TypeError(f"train_alignment: model must be an alignment model, got {type(model).__name__}")
    _check_pairs("train_alignment", pairs)
    if pairs.counts is None:
        raise ValueError("train_alignment: pairs must know how many regions an image has; give SentencePairs counts=")
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer: Any
    if momentum is None:
        optimizer = optim.Adam(parameters, lr=lr)
    else:
        optimizer = optim.SGD(parameters, lr=lr, momentum=momentum)
    return _fit("train_alignment", model, pairs, alignment_loss, optimizer, epochs, batch_size, seed, how)


def train_caption(
    model: Caption,
    pairs: SentencePairs,
    vocabulary: Vocabulary,
    *,
    epochs: int = 60,
    lr: float = CAPTION_LR,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    **how: Any,
) -> History:
    """Train a generator by the probability of the true sentences and :func:`tinyconv.fit`.

    RMSprop, rate 0.003, a fifth of it for the last 30 % of the epochs, elements of gradients within +-5. A new model's
    last bias is set to the words' frequencies first. Then ``model.generate`` says sentences.

    Parameters
    ----------
    model : Caption
    pairs : tinyconv.data.SentencePairs
        Features (F,) of an image or a region, and word ids.
    vocabulary : Vocabulary
        Of which the ids are.
    epochs : int
        Passes over all sentences.
    lr : float
        Rate of RMSprop at first.
    batch_size : int
        Pairs per step; what is left at an epoch's end is not used in it.
    seed : int
        Of the order and of dropout.
    **how
        For ``fit``: callbacks (:class:`PerplexityCheck`), out, resume, progress ...

    Returns
    -------
    History
        A row per epoch.

    Raises
    ------
    TypeError
        The model is no caption model, or pairs are no SentencePairs.
    ValueError
        The vocabulary is of another size, or there are fewer pairs than a batch has.

    Examples
    --------
    >>> features, sentences = np.eye(3), [["a dog", "the dog"], ["a cat"], ["a bird"]]
    >>> vocabulary = tinyconv.text.Vocabulary.build([s for of in sentences for s in of], threshold=1)
    >>> pairs = tinyconv.data.SentencePairs(features, [[vocabulary.encode(s) for s in of] for of in sentences])
    >>> model = tinyconv.models.caption(vocabulary.words, features=3, scale="lesson")
    >>> history = train_caption(model, pairs, vocabulary, epochs=20, batch_size=4, progress=False)
    >>> model.decode(model.generate(features[1:2])[0].best.words)
    'a cat'
    """
    if not isinstance(model, Caption):
        raise TypeError(f"train_caption: model must be a caption model, got {type(model).__name__}")
    _check_pairs("train_caption", pairs)
    if pairs.counts is not None:
        raise ValueError("train_caption: pairs must be of one vector and a sentence; give SentencePairs no counts")
    if len(vocabulary) != model.word.num_embeddings:
        raise ValueError(
            f"train_caption: wanted a vocabulary of {model.word.num_embeddings} words, got {len(vocabulary)}"
        )
    if not model.leave.bias.detach().to("cpu").numpy().any():  # new; a resumed run reads its own afterwards
        bias_to_frequencies(model, vocabulary)
    optimizer = optim.RMSprop(model.parameters(), lr=lr, alpha=ALPHA)
    return _fit("train_caption", model, pairs, caption_loss, optimizer, epochs, batch_size, seed, how)


def _check_pairs(who: str, pairs: Any) -> None:
    if not isinstance(pairs, SentencePairs):
        raise TypeError(f"{who}: pairs must be tinyconv.data.SentencePairs, got {type(pairs).__name__}")


def _fit(
    who: str, model: Any, pairs: SentencePairs, loss: Any, optimizer: Any, epochs: int, batch_size: int, seed: int,
    how: dict[str, Any],
) -> History:  # fmt: skip
    if len(pairs) < batch_size:
        raise ValueError(f"{who}: wanted at least a batch of {batch_size} pairs, got {len(pairs)}; lower batch_size")
    parameters: Iterable[Tensor] = [p for p in model.parameters() if p.requires_grad]
    optimizer.register_step_pre_hook(lambda *_: clip_grad_value_(parameters, LARGEST))
    schedule = optim.MultiStepLR(optimizer, [max(1, round(FALL * epochs))], FACTOR)
    loader = DataLoader(cast(Any, pairs), batch_size, shuffle=True, drop_last=True, seed=seed)
    return fit(
        model, loader, loss=loss, update=PairedDescent(loss), optimizer=optimizer, schedule=schedule, epochs=epochs,
        seed=seed, **how,
    )  # fmt: skip


class RetrievalCheck:
    """A callback that adds ``recall`` to every epoch's row: annotation R@1 in per cent on held-out images.

    Parameters
    ----------
    regions : array, (I, R, F)
    counts : array, (I,)
    words : array, (S, T)
        Word ids, -1 after a sentence's end.
    image_of : array, (S,)
        Which image a sentence is of.
    """

    def __init__(self, regions: np.ndarray, counts: np.ndarray, words: np.ndarray, image_of: Sequence[int]) -> None:
        self.given, self.image_of = (regions, counts, words), image_of

    def on_epoch(self, state: TrainState) -> None:
        """Rank all sentences for every image."""
        found = rank(state.model.rate(*self.given), self.image_of)
        state.row["recall"] = found.annotation.recall(1)


class PerplexityCheck:
    """A callback that adds ``test_perplexity`` to every epoch's row: of held-out sentences, per word.

    Parameters
    ----------
    features : array, (N, F)
    words : array, (N, T)
        Word ids, -1 after a sentence's end.
    """

    def __init__(self, features: np.ndarray, words: np.ndarray) -> None:
        self.features, self.words = features, words

    def on_epoch(self, state: TrainState) -> None:
        """exp(-log probability of all sentences / all words, ends included)."""
        found = state.model.log_probability(self.features, self.words)
        state.row["test_perplexity"] = perplexity(found, lengths_of(self.words))
