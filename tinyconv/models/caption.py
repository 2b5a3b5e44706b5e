"""Karpathy & Fei-Fei 2015, sec. 3.2: a recurrent network that says what it is shown, word by word. See :func:`caption`.

h_t = f(W_hx x_t + W_hh h_{t-1} + b_h + [t = 1] W_hi image);  y_t = softmax(W_oh h_t + b_o)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import device as devices
from tinyconv import errors, nn
from tinyconv.function import no_grad
from tinyconv.models.alignment import vocabulary_size, word_ids
from tinyconv.models.recurrence import Recurrence
from tinyconv.models.registry import describe
from tinyconv.models.stack import check_scale, chosen, wide
from tinyconv.nn import functional as F
from tinyconv.nn import init
from tinyconv.nn.modes import kept_modes
from tinyconv.tensor import Tensor
from tinyconv.text.beam import Beam, beam_search
from tinyconv.text.vocabulary import Vocabulary, lengths_of

# fmt: off
SCALES = {
    #          features  word vectors  hidden  dropout
    "paper":  (4096,     256,          512,    0.5),
    "lesson": (128,      64,           128,    0.0),
}
# fmt: on
END = 0  # the id that begins every sentence on the input and ends it on the output
_BATCH = 100


class Caption(nn.Module):
    """See :func:`caption`.

    Attributes
    ----------
    image : Linear
        W_hi; of an LSTM, what makes the image into a first word.
    word, enter : Embedding, Linear
        The words' vectors, which are learnt, and W_hx (an LSTM has its own).
    hidden : Recurrence or LSTM
        W_hh and b_h.
    leave : Linear
        W_oh and b_o.
    look : {"first", "always"}
        Whether the image is added at the first step or at every one.
    words : list of str or None
        The vocabulary; None if only its size was given.
    """

    def __init__(self, parts: dict[str, nn.Module], look: str, words: list[str] | None) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.look, self.words = look, words

    @property
    def lstm(self) -> bool:
        """Whether the hidden units are an LSTM's."""
        return isinstance(self.hidden, nn.LSTM)

    def forward(self, features: Tensor, words: Any = None) -> Tensor:
        """Return the scores (N, T + 1, V) of every next word, the true words before it being given.

        Parameters
        ----------
        features : Tensor, (N, F)
        words : ints, (N, T)
            Word ids, -1 after a sentence's end; None: nothing is said yet (what a summary counts). Scores after the end
            have no meaning.
        """
        ids, lengths = self._checked(np.zeros((len(features), 0), int) if words is None else words, len(features))
        tokens = np.concatenate([np.zeros((len(ids), 1), np.int64), np.maximum(ids, 0)], axis=1)
        x, seen = self._entered(tokens), self.see(features)
        if self.lstm:
            states = self.hidden(F.cat([seen.unsqueeze(1), x], 1), lengths=lengths + 2)[0][:, 1:]
        else:
            first = x[:, :1] + seen.unsqueeze(1) if self.look == "first" else x + seen.unsqueeze(1)
            x = F.cat([first, x[:, 1:]], 1) if self.look == "first" else first
            states = self.hidden(x, lengths=lengths + 1)
        return self.leave(self.drop(states))

    def see(self, features: Tensor) -> Tensor:
        """Return what the hidden units get of images: b_v = W_hi features (N, H); an LSTM's is as long as a word."""
        wanted = self.image.in_features
        if features.ndim != 2 or features.shape[1] != wanted:
            raise ValueError(f"caption: features must be (N, {wanted}), got shape {features.shape}")
        return self.image(self.drop(features))

    def _entered(self, tokens: np.ndarray) -> Tensor:
        """Return W_hx x_t of word ids (N, T), of an LSTM x_t."""
        x = self.drop(self.word(Tensor(devices.move(tokens.astype(np.int64), self.leave.weight.device))))
        return x if self.lstm else self.enter(x)

    def _checked(self, words: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the word ids of n sentences and their lengths, or raise."""
        ids, lengths = word_ids("caption", words, self.word.num_embeddings)
        if len(ids) != n:
            raise ValueError(f"caption: wanted a sentence for each of {n} images, got words of shape {ids.shape}")
        return ids, lengths

    # -------------------------------------------------------------------------------------------------------- in use
    @no_grad()
    def generate(self, features: Any, beam: int = 7, limit: int = 20) -> list[Beam]:
        """Return the sentences that a beam search finds for each image, in evaluation mode.

        Parameters
        ----------
        features : array, (N, F)
        beam : int
            Unfinished sentences that are kept at every step, 1: always the most probable next word. 7 is the authors'.
        limit : int
            Steps at most; END takes one, so a sentence of ``limit`` words is an unfinished one.

        Returns
        -------
        list of Beam
            See :func:`tinyconv.text.beam.beam_search`; ``beam.hypotheses[0]`` is the most probable sentence found.
        """
        if not np.isfinite(features).all():
            raise ValueError("caption: features must be finite, got NaN or infinity")
        with kept_modes(self):
            self.eval()
            seen = devices.host(self.see(self._tensor(features)).data)
            return [beam_search(self._step, self._start(b[None]), beam=beam, limit=limit, end=END) for b in seen]

    def _start(self, seen: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the state before the first word: (h, what the image adds at the next step), or an LSTM's (h, c)."""
        if not self.lstm:
            return np.zeros((1, self.enter.out_features), seen.dtype), seen
        _, (h, c) = self.hidden(self._tensor(seen).unsqueeze(1))
        return devices.host(h.data)[0], devices.host(c.data)[0]

    def _step(self, tokens: np.ndarray, state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return the log probabilities (B, V) of the next word, and the state after these (B,)."""
        x, first, second = self._entered(tokens[:, None]), self._tensor(state[0]), self._tensor(state[1])
        after: tuple[np.ndarray, ...]
        if self.lstm:
            y, (h, c) = self.hidden(x, (first.unsqueeze(0), second.unsqueeze(0)))
            y, after = y[:, 0], (devices.host(h.data)[0], devices.host(c.data)[0])
        else:
            y = self.hidden(x + second.unsqueeze(1), first)[:, 0]
            after = devices.host(y.data), state[1] if self.look == "always" else np.zeros_like(state[1])
        return log_softmax(devices.host(self.leave(y).data)), after

    @no_grad()
    def log_probability(self, features: Any, words: Any) -> np.ndarray:
        """Return the log probability (N,), float64, of sentence n for image n, its end included, in evaluation mode."""
        found = []
        ids, _ = self._checked(words, len(features))
        with kept_modes(self):
            self.eval()
            for a in range(0, len(ids), _BATCH):
                some = slice(a, a + _BATCH)
                logits = log_softmax(devices.host(self(self._tensor(features[some]), ids[some]).data))
                targets = next_words(ids[some])
                each = np.take_along_axis(logits, np.maximum(targets, 0)[..., None], 2)[..., 0]
                found.append(np.where(targets >= 0, each, 0).sum(1))
        return np.concatenate(found) if found else np.zeros(0)

    def decode(self, words: Sequence[int]) -> str:
        """Return a sentence of ids as text."""
        if self.words is None:
            raise ValueError("caption: the model knows only how many words there are; build it with words=[...]")
        return Vocabulary(self.words, [1] * len(self.words)).decode(np.asarray(words, np.int64))

    def _tensor(self, array: Any) -> Tensor:
        weight = self.leave.weight
        return Tensor(devices.move(np.asarray(array).astype(weight.dtype, copy=False), weight.device))


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Return log softmax along the last axis in float64: the probabilities of many words are summed."""
    scores = scores.astype(np.float64)
    scores = scores - scores.max(-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def next_words(words: np.ndarray) -> np.ndarray:
    """Return what is to be said at every step (N, T + 1): the words, then END, then -1 for nothing."""
    targets = np.concatenate([words, np.full((len(words), 1), -1)], axis=1).astype(np.int64)
    targets[np.arange(len(words)), lengths_of(words)] = END
    return targets


def caption_loss(logits: Tensor, words: Any) -> Tensor:
    """Return the mean over sentences of -log probability, a sum over its words and its end (sec. 3.2).

    Parameters
    ----------
    logits : Tensor, (N, T + 1, V)
    words : ints, (N, T)
        Word ids, -1 after a sentence's end.
    """
    n, t, v = logits.shape
    ids, _ = word_ids("caption_loss", words, v)
    if ids.shape != (n, t - 1) or not n:
        raise ValueError(
            f"caption_loss: words must be ({n}, {t - 1}), at least one sentence, for scores {logits.shape}, "
            f"got {ids.shape}"
        )
    targets = Tensor(devices.move(next_words(ids).reshape(-1), logits.device))
    return F.cross_entropy(logits.reshape(n * t, v), targets, ignore_index=-1, reduction="sum") / n


@no_grad()
def bias_to_frequencies(model: Caption, vocabulary: Vocabulary) -> None:
    """Set b_o to the logarithms of the words' frequencies, as the authors' program does.

    Before anything is learnt, the network then says every word as often as the training sentences do, and its
    perplexity is that of the words' frequencies.

    Raises
    ------
    ValueError
        The vocabulary is of another size.
    """
    bias = model.leave.bias
    if len(vocabulary) != len(bias):
        raise ValueError(f"bias_to_frequencies: wanted a vocabulary of {len(bias)} words, got {len(vocabulary)}")
    bias.copy_(Tensor(devices.move(vocabulary.log_frequencies().astype(bias.dtype), bias.device)))


def caption(
    words: int | Sequence[str] = 2538,
    *,
    features: int | None = None,
    vectors: int | None = None,
    hidden: int | None = None,
    cell: str = "rnn",
    nonlinearity: str = "relu",
    look: str = "first",
    dropout: float | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> Caption:
    """Build the generator of Karpathy & Fei-Fei 2015, sec. 3.2, for whole images or for regions.

    Weights are drawn from U(-0.1, 0.1), those of the last layer from U(-0.01, 0.01), as in the authors' program; see
    :func:`bias_to_frequencies`. Train it with :func:`tinyconv.captioning.train_caption`.

    Parameters
    ----------
    words : int or list of str
        The vocabulary (:attr:`tinyconv.text.Vocabulary.words`), or its size V (Flickr8k's 2,538 words); id 0 begins and
        ends sentences.
    features : int
        F, numbers for an image: 4096 of fc7 ("lesson": 128).
    vectors, hidden : int
        Length of the words' vectors (256, the authors' program), and hidden units (512) ("lesson": 64 and 128).
    cell : {"rnn", "lstm"}
        The paper's units, or those of the released program, which sees the image as a word before the first.
    nonlinearity : {"relu", "tanh"}
        f of the paper's units.
    look : {"first", "always"}
        When the paper's units see the image: at the first step only ("works better"), or at every one.
    dropout : float
        Of features, words' vectors and hidden units before the last layer ("lesson": none).
    width : float
        Factor of ``hidden`` (rounded to even numbers).

    Raises
    ------
    ValueError
        An unknown scale, cell, nonlinearity or look.

    Examples
    --------
    >>> model = caption(["<end>", "a", "three", "seven"], features=8, scale="lesson")
    >>> logits = model(Tensor(np.zeros((2, 8), np.float32)), np.array([[1, 2], [3, -1]]))
    >>> logits.shape  # after the beginning and after each of two words
    (2, 3, 4)
    """
    name = "caption"
    check_scale(name, scale, width)
    errors.check_choice(name, "cell", cell, ("rnn", "lstm"))
    errors.check_choice(name, "nonlinearity", nonlinearity, ("relu", "tanh"))
    errors.check_choice(name, "look", look, ("first", "always"))
    if cell == "lstm" and (look, nonlinearity) != ("first", "relu"):
        raise ValueError(f"{name}: look and nonlinearity are for cell='rnn'; leave them out for an LSTM")
    inputs, length, states, rate = chosen((features, vectors, hidden, dropout), SCALES[scale])
    v, units = vocabulary_size(name, words), wide(states, width)
    place: dict[str, Any] = {"device": device, "dtype": dtype}
    parts: dict[str, nn.Module] = {
        "image": nn.Linear(inputs, length if cell == "lstm" else units, bias=cell == "lstm", **place),
        "word": nn.Embedding(v, length, **place),
    }
    if cell == "lstm":
        parts["hidden"] = nn.LSTM(length, units, batch_first=True, **place)
    else:
        parts["enter"] = nn.Linear(length, units, bias=False, **place)
        parts["hidden"] = Recurrence(units, nonlinearity, **place)
    parts |= {"leave": nn.Linear(units, v, **place), "drop": nn.Dropout(rate)}
    given = None if isinstance(words, (int, np.integer)) else list(words)
    model = Caption(parts, look, given)
    initialise(model)
    return describe(
        model, name, (inputs,), words=v if given is None else given, features=inputs, vectors=length, hidden=states,
        cell=cell, nonlinearity=nonlinearity, look=look, dropout=rate, scale=scale, width=width,
        dtype=np.dtype(dtype).name,
    )  # fmt: skip


def initialise(model: Caption) -> None:
    """Draw all weights as the authors' program does; biases 0."""
    for name, p in model.named_parameters():
        if p.ndim == 1:
            init.zeros_(p)
        else:
            edge = 0.01 if name == "leave.weight" else 0.1
            init.uniform_(p, -edge, edge)
