"""Counter-based randomness: every number is a function of (seed, stream, step, sample, element).

Nothing here depends on batch size, thread count or order of calls: the same seed gives the same shuffling,
augmentation, initial weights and dropout however the work is cut up (Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3").
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np


def stream_id(stream: str | int) -> int:
    """Map a stream's name to 32 bits that are the same in every process (Python's ``hash`` is salted)."""
    if isinstance(stream, int):
        return stream & 0xFFFFFFFF
    return int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=4).digest(), "little")


def generator(seed: int, stream: str | int, step: int = 0, index: int = 0) -> np.random.Generator:
    """Return NumPy's Philox generator at the counter of (step, index), keyed by (seed, stream).

    Examples
    --------
    >>> first, again = (generator(0, "shuffle", step=3).permutation(4) for _ in range(2))
    >>> first.tolist() == again.tolist()
    True
    """
    key = np.array([seed & 0xFFFFFFFFFFFFFFFF, stream_id(stream)], np.uint64)
    counter = np.array([0, 0, step, index], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


class _State(threading.local):
    """The seed, the training step and the global indices of the samples in the current batch; of each thread.

    Trainings in several threads do not draw each other's numbers. A new thread begins with the seed set last.
    """

    newest = 0

    def __init__(self) -> None:
        self.seed = _State.newest
        self.step = 0
        self.calls = 0
        self.samples: np.ndarray | None = None


_state = _State()


def manual_seed(seed: int) -> None:
    """Set the seed of initial weights, ``randn``/``rand`` and dropout, and start again from the first draw.

    It holds for this thread, and for threads that have not drawn yet.
    """
    _State.newest = int(seed)
    _state.seed, _state.step, _state.calls, _state.samples = int(seed), 0, 0, None


def initial_seed() -> int:
    """Return the seed that ``manual_seed`` set (0 before)."""
    return _state.seed


def next_generator(stream: str) -> np.random.Generator:
    """Return the generator of the next unnamed draw: the n-th one after ``manual_seed`` is always the same."""
    _state.calls += 1
    return generator(_state.seed, stream, _state.step, _state.calls)


def dropout_key(batch: int) -> tuple[int, int, np.ndarray]:
    """Return (seed, stream, samples) of the next dropout call: the n-th dropout of a step has stream n.

    The step is folded into the seed, and row i of the batch is drawn by its global sample index, which the training
    loop announces through :func:`training_step`.
    """
    _state.calls += 1
    samples = _state.samples
    if samples is None or len(samples) != batch:
        samples = np.arange(batch, dtype=np.int64)
    mixed = hashlib.blake2b(f"{_state.seed}/dropout/{_state.step}".encode(), digest_size=8).digest()
    return int.from_bytes(mixed, "little"), _state.calls, samples


@contextmanager
def training_step(step: int, samples: Sequence[int] | np.ndarray | None) -> Iterator[None]:
    """Inside, dropout draws for this step and these global sample indices; a resumed run repeats the same masks."""
    before = _state.step, _state.calls, _state.samples
    _state.step, _state.calls = int(step), 0
    _state.samples = None if samples is None else np.asarray(samples, np.int64)
    try:
        yield
    finally:
        _state.step, _state.calls, _state.samples = before


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, dropout draws by this seed; unnamed draws outside of training steps go on where they were."""
    before, _state.seed = _state.seed, seed
    try:
        yield
    finally:
        _state.seed = before
