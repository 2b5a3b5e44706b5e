"""Karpathy & Fei-Fei 2015, sec. 3.1: sentences meet images where words meet regions. See :func:`alignment`.

regions -> v_i (linear);  words -> a bidirectional recurrent network -> s_t;  S = sum over words of the best v_i . s_t
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import device as devices
from tinyconv import errors, nn
from tinyconv.function import no_grad
from tinyconv.models.recurrence import Recurrence
from tinyconv.models.registry import describe
from tinyconv.models.stack import check_scale, chosen, wide
from tinyconv.nn import functional as F
from tinyconv.nn.modes import kept_modes
from tinyconv.tensor import Tensor
from tinyconv.text.vocabulary import END, lengths_of

# fmt: off
SCALES = {
    #          regions: number, features   word vectors  embedding  hidden  dropout
    "paper":  ((20, 4096),                 300,          1000,      300,    0.5),
    "lesson": ((6, 128),                   64,           128,       128,    0.1),
}
# fmt: on
_BATCH = 100  # images, or sentences, that are compared at a time


class Rows(NamedTuple):
    """What a batch's rows say.

    Attributes
    ----------
    counts : array, (N,)
        Regions of each image.
    words : array, (N, T)
        Word ids; -1 after a sentence's end.
    lengths : array, (N,)
        Words of each sentence.
    """

    counts: np.ndarray
    words: np.ndarray
    lengths: np.ndarray


def unpack_rows(rows: Any) -> Rows:
    """Return what rows (N, 1 + T) say: number of regions, word ids, -1 after the sentence's end."""
    array = devices.host(rows.data) if isinstance(rows, Tensor) else np.asarray(rows)
    if array.ndim != 2 or array.shape[1] < 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"alignment: rows must be ints (N, 1 + T), the number of regions and word ids, got {array.dtype} "
            f"{array.shape}"
        )
    words, lengths = word_ids("alignment", array[:, 1:])
    return Rows(array[:, 0].astype(np.int64), words, lengths)


def word_ids(who: str, words: Any, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return word ids (N, T) as int64, and the sentences' lengths (N,).

    Raises
    ------
    ValueError
        They are no ints (N, T) from -1 to below ``size``, or a word follows a -1.
    """
    ids = devices.host(words.data) if isinstance(words, Tensor) else np.asarray(words)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise ValueError(f"{who}: words must be ints (N, T), got {ids.dtype} {ids.shape}")
    ids = ids.astype(np.int64)
    if ids.min(initial=0) < -1 or (size is not None and ids.max(initial=-1) >= size):
        limit = "" if size is None else f" and below {size}"
        raise ValueError(
            f"{who}: words must be at least 0{limit}, -1 after a sentence's end, got {ids.min()} to {ids.max()}"
        )
    return ids, lengths_of(ids)


class Alignment(nn.Module):
    """See :func:`alignment`.

    Attributes
    ----------
    region : Linear
        W_m, b_m of eq. 1.
    word, enter : Embedding, Linear
        The fixed vectors of words; W_e, b_e of eq. 3.
    ahead, back : Recurrence
        W_f, b_f and W_b, b_b of eq. 4 and 5; None with ``text="words"``.
    leave : Linear
        W_d, b_d of eq. 6.
    text : {"brnn", "words"}
        Whether a word's vector knows its neighbours.
    score : {"max", "defrag"}
        S = sum_t max_i v_i . s_t, or the older sum_t sum_i max(0, v_i . s_t).
    """

    def __init__(self, parts: dict[str, nn.Module], text: str, score: str) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.text, self.score = text, score

    def forward(self, regions: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the scores (N, N) of every image of a batch (row) with every sentence (column).

        Parameters
        ----------
        regions : Tensor, (N, R, F)
            Features, all finite; those after an image's last region change nothing.
        rows : Tensor of ints, (N, 1 + T)
            Number of regions of image n; word ids of sentence n, then -1. None stands for sentences of one word, which
            is what a summary counts.
        """
        n, r = regions.shape[:2]
        given = Rows(np.full(n, r), np.zeros((n, 1), int), np.ones(n, int)) if rows is None else unpack_rows(rows)
        v = self.embed_regions(regions)
        if len(given.counts) != n:
            raise ValueError(f"alignment: wanted a row for each of {n} images, got {len(given.counts)}")
        return self.compare(v, given.counts, self.embed_words(given.words, given.lengths), given.lengths)

    def embed_regions(self, regions: Tensor) -> Tensor:
        """Return v (N, R, h) of features (N, R, F): v = W_m x + b_m (eq. 1)."""
        if regions.ndim != 3 or regions.shape[-1] != self.region.in_features:
            raise ValueError(f"alignment: regions must be (N, R, {self.region.in_features}), got shape {regions.shape}")
        return self.region(self.drop(regions))

    def embed_words(self, words: np.ndarray, lengths: np.ndarray | None = None) -> Tensor:
        """Return s (N, T, h) of word ids (N, T), -1 after a sentence's end; what s is there has no meaning.

        e_t = f(W_e x_t + b_e);  hf_t = f(e_t + W_f hf_{t-1} + b_f);  hb_t = f(e_t + W_b hb_{t+1} + b_b);
        s_t = f(W_d (hf_t + hb_t) + b_d) with f = ReLU (eq. 2 to 6); with ``text="words"`` e_t stands for hf_t + hb_t.
        """
        words, found = word_ids("alignment", words, self.word.num_embeddings)
        lengths = found if lengths is None else lengths
        where = self.enter.weight.device
        x = self.word(Tensor(devices.move(np.maximum(words, 0), where)))
        states = e = self.drop(F.relu(self.enter(x)))
        if self.text == "brnn":
            states = self.drop(self.ahead(e, lengths=lengths) + self.back(e, lengths=lengths))
        return F.relu(self.leave(states))

    def compare(self, v: Tensor, counts: np.ndarray, s: Tensor, lengths: np.ndarray) -> Tensor:
        """Return the scores (I, S) of I images, v (I, R, h), with S sentences, s (S, T, h).

        S_kl = sum_{t in sentence l} max_{i in image k} v_i . s_t (eq. 8), or with the DeFrag score (eq. 7)
        sum_t sum_i max(0, v_i . s_t). Of a maximum the gradient goes to the region that won; the first of equal ones.
        """
        (i, r, h), (n, t) = v.shape, s.shape[:2]
        counts = _checked_counts(counts, i, r)
        products = F.matmul(v.reshape(i * r, h), s.reshape(n * t, h).transpose(0, 1)).reshape(i, r, n, t)
        there = _there(counts, r)[:, :, None, None]
        if self.score == "max":
            if not there.all():
                products = F.where(_like(there, v), products, Tensor(_filled(v, -np.inf)))
            best = products.max(dim=1)[0]
        else:
            positive = F.relu(products)
            best = (positive if there.all() else positive * _like(there.astype(v.dtype), v)).sum(1)
        return (best * _like(_there(lengths, t).astype(v.dtype), v)).sum(2)

    # -------------------------------------------------------------------------------------------------------- in use
    @no_grad()
    def match(self, regions: Any, counts: Any, words: np.ndarray) -> np.ndarray:
        """Return v_i . s_t of every word of sentence n with every region of image n: (N, T, R), in evaluation mode.

        -inf for regions that an image has not, 0 after a sentence's end.
        """
        words, _ = word_ids("alignment", words)
        counts = _checked_counts(counts, len(regions), np.shape(regions)[1])
        if len(words) != len(counts):
            raise ValueError(f"alignment: match wants a sentence for each of {len(counts)} images, got {len(words)}")
        with kept_modes(self):
            self.eval()
            v, s = self.embed_regions(self._tensor(regions)), self.embed_words(words)
        products = devices.host(F.matmul(s, v.transpose(1, 2)).data)
        products = np.where(_there(counts, v.shape[1])[:, None, :], products, -np.inf)
        return np.where((words >= 0)[:, :, None], products, 0)

    @no_grad()
    def rate(self, regions: Any, counts: Any, words: np.ndarray) -> np.ndarray:
        """Return the scores (I, S) of all images with all sentences, in evaluation mode.

        Parameters
        ----------
        regions : array, (I, R, F)
        counts : array, (I,)
        words : array, (S, T)
            Word ids, -1 after a sentence's end.
        """
        words, lengths = word_ids("alignment", words)
        counts = _checked_counts(counts, len(regions), np.shape(regions)[1])
        scores = np.empty((len(counts), len(words)), self.enter.weight.dtype)
        with kept_modes(self):
            self.eval()
            texts = [
                (slice(b, b + _BATCH), self.embed_words(words[b : b + _BATCH])) for b in range(0, len(words), _BATCH)
            ]
            for a in range(0, len(counts), _BATCH):
                some = slice(a, a + _BATCH)
                v = self.embed_regions(self._tensor(regions[some]))
                for those, s in texts:
                    scores[some, those] = devices.host(self.compare(v, counts[some], s, lengths[those]).data)
        return scores

    @no_grad()
    def norms(self, words: np.ndarray) -> np.ndarray:
        """Return |s_t| (N, T): how much a word can say about an image; 0 after a sentence's end."""
        words, _ = word_ids("alignment", words)
        with kept_modes(self):
            self.eval()
            s = devices.host(self.embed_words(words).data)
        return np.where(words >= 0, np.sqrt((s.astype(np.float64) ** 2).sum(2)), 0)

    def _tensor(self, regions: Any) -> Tensor:
        weight = self.region.weight
        return Tensor(devices.move(np.asarray(regions).astype(weight.dtype, copy=False), weight.device))


def _there(counts: Any, most: int) -> np.ndarray:
    """Return (N, most) bools: whether place i is one of the first counts[n]."""
    return np.arange(most) < np.asarray(counts)[:, None]


def _checked_counts(counts: Any, images: int, most: int) -> np.ndarray:
    """Return the numbers of regions (I,); ValueError unless each image has 1 to ``most`` of them."""
    found = np.asarray(counts)
    if found.shape != (images,) or (images and not 1 <= found.min() <= found.max() <= most):
        raise ValueError(
            f"alignment: counts must be {images} numbers of regions in 1..{most}, got {found.tolist()!s:.60}"
        )
    return found


def _like(array: np.ndarray, tensor: Tensor) -> Tensor:
    return Tensor(devices.move(np.ascontiguousarray(array), tensor.device))


def _filled(tensor: Tensor, value: float) -> Any:
    return devices.move(np.full((), value, tensor.dtype), tensor.device)


def ranking_loss(scores: Tensor, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """Hinge loss by which pairs that belong together score higher than others, in both directions (eq. 9).

    C = sum_k [ sum_{l != k} max(0, S_kl - S_kk + margin) + sum_{l != k} max(0, S_lk - S_kk + margin) ]

    The first sum ranks the sentences for an image, the second the images for a sentence. Two sentences of one image in
    a batch count as strangers.

    Parameters
    ----------
    scores : Tensor, (B, B)
        Of image k with sentence l; on the diagonal the pairs.
    reduction : {"mean", "sum"}
        "mean" divides by B.

    Raises
    ------
    ValueError
        Scores are not square, or there are none.
    """
    errors.check_choice("ranking_loss", "reduction", reduction, ("mean", "sum"))
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not len(scores):
        raise ValueError(
            f"ranking_loss: scores must be (B, B), images and their sentences, B >= 1, got shape {scores.shape}"
        )
    b = len(scores)
    pairs = scores[np.arange(b), np.arange(b)]
    sentences = F.relu(scores - pairs.reshape(b, 1) + margin)
    images = F.relu(scores - pairs.reshape(1, b) + margin)
    others = _like((1 - np.eye(b)).astype(scores.dtype), scores)
    total = ((sentences + images) * others).sum()
    return total / b if reduction == "mean" else total


def alignment_loss(scores: Tensor, rows: Tensor) -> Tensor:
    """Return :func:`ranking_loss`, as ``fit`` calls it."""
    return ranking_loss(scores)


def alignment(
    words: int | Sequence[str] = 8791,
    *,
    features: int | None = None,
    vectors: int | None = None,
    embedding: int | None = None,
    hidden: int | None = None,
    text: str = "brnn",
    score: str = "max",
    dropout: float | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> Alignment:
    """Build the alignment model of Karpathy & Fei-Fei 2015, sec. 3.1.

    Every region of an image and every word of a sentence become a vector of the same space; each word picks the region
    whose vector fits best. Nobody says which region a word belongs to: the network is only told which sentence belongs
    to which image. Train it with :func:`tinyconv.captioning.train_alignment`.

    Parameters
    ----------
    words : int or list of str
        The vocabulary, or its size V (COCO's 8,791 words); id 0 is the sentence's end, which no row has.
    features : int
        F, numbers for a region: 4096 of fc7 ("lesson": 128).
    vectors : int
        Length of the words' vectors: 300, as word2vec's; drawn from N(0, 1) and fixed. The paper says that random ones
        do as well.
    embedding, hidden : int
        h = 1000 (the paper: 1000 to 1600), and the recurrent network's 300 units (300 to 600) ("lesson": 128, 128).
    text : {"brnn", "words"}
        "words": no recurrent network; no word knows of its neighbours.
    score : {"max", "defrag"}
    dropout : float
        Of region features, e_t and hf_t + hb_t: 0.5 ("lesson": 0.1); not within the recurrent network.
    width : float
        Factor of ``embedding`` and ``hidden`` (rounded to even numbers).

    Raises
    ------
    ValueError
        An unknown scale, text or score.

    Examples
    --------
    >>> model = alignment(24, scale="lesson")
    >>> regions, rows = np.zeros((2, 6, 128), np.float32), np.array([[6, 3, 5, -1], [4, 2, 2, 7]])
    >>> model(Tensor(regions), Tensor(rows)).shape
    (2, 2)
    """
    name = "alignment"
    check_scale(name, scale, width)
    errors.check_choice(name, "text", text, ("brnn", "words"))
    errors.check_choice(name, "score", score, ("max", "defrag"))
    (regions, usual), *others = SCALES[scale]
    inputs, length, space, states, rate = chosen((features, vectors, embedding, hidden, dropout), (usual, *others))
    v, h, units = vocabulary_size(name, words), wide(space, width), wide(states, width)
    place: dict[str, Any] = {"device": device, "dtype": dtype}
    parts: dict[str, nn.Module] = {
        "region": nn.Linear(inputs, h, **place),
        "word": nn.Embedding(v, length, **place),
        "enter": nn.Linear(length, units, **place),
    }
    if text == "brnn":
        parts |= {"ahead": Recurrence(units, **place), "back": Recurrence(units, reverse=True, **place)}
    parts |= {"leave": nn.Linear(units, h, **place), "drop": nn.Dropout(rate)}
    model = Alignment(parts, text, score)
    model.word.weight.requires_grad_(False)
    given = v if isinstance(words, (int, np.integer)) else list(words)
    return describe(
        model, name, (regions, inputs), words=given, features=inputs, vectors=length, embedding=space, hidden=states,
        text=text, score=score, dropout=rate, scale=scale, width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip


def vocabulary_size(who: str, words: Any) -> int:
    """Return how many ids a vocabulary has: a number, or a list whose first word stands for the sentence's end."""
    size = words if isinstance(words, (int, np.integer)) and not isinstance(words, bool) else None
    if size is None and isinstance(words, (list, tuple)) and all(isinstance(word, str) for word in words):
        size = len(words) if words and words[0] == END else None
    if size is None or size < 2:
        raise ValueError(
            f"{who}: words must be a Vocabulary's list of words, {END!r} first, or their number, at least 2, "
            f"got {words!r:.60}"
        )
    return int(size)
