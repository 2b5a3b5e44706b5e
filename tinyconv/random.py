"""Counter-based randomness: every number is a function of (seed, stream, step, sample, element).

Nothing here depends on batch size, thread count or order of calls: the same seed gives the same shuffling,
augmentation, initial weights and dropout however the work is cut up (Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3").
"""

from __future__ import annotations

import functools
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


class _Process:
    """The seed of ``manual_seed``, and how many unnamed draws there were since, in all threads together."""

    def __init__(self) -> None:
        self.seed, self.calls = 0, 0
        self.lock = threading.Lock()


class _Thread(threading.local):
    """What a training sets for its own thread, so that several may run at once: seed, step, draws, sample indices."""

    def __init__(self) -> None:
        self.seed: int | None = None
        self.step: int | None = None  # None outside of a training step
        self.calls = 0
        self.samples: np.ndarray | None = None


_process, _thread = _Process(), _Thread()


def manual_seed(seed: int) -> None:
    """Set the seed of initial weights, ``randn``/``rand`` and dropout, and start again from the first draw."""
    with _process.lock:
        _process.seed, _process.calls = int(seed), 0


def initial_seed() -> int:
    """Return the seed that ``manual_seed`` set (0 before)."""
    return _process.seed if _thread.seed is None else _thread.seed


def _next() -> tuple[int, int]:
    """Return (step, number of this draw in it); outside of training steps the step is 0."""
    if _thread.step is not None:
        _thread.calls += 1
        return _thread.step, _thread.calls
    with _process.lock:
        _process.calls += 1
        return 0, _process.calls


def next_generator(stream: str) -> np.random.Generator:
    """Return the generator of the next unnamed draw: the n-th one after ``manual_seed`` is always the same."""
    step, call = _next()
    return generator(initial_seed(), stream, step, call)


def dropout_key(batch: int) -> tuple[int, int, np.ndarray]:
    """Return (seed, stream, samples) of the next dropout call: the n-th dropout of a step has stream n.

    The step is folded into the seed, and row i of the batch is drawn by its global sample index, which the training
    loop announces through :func:`training_step`.
    """
    step, call = _next()
    samples = _thread.samples
    if samples is None or len(samples) != batch:
        samples = _numbers(batch)
    mixed = hashlib.blake2b(f"{initial_seed()}/dropout/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(mixed, "little"), call, samples


def sample_generators(stream: str, batch: int) -> list[np.random.Generator]:
    """Return a generator for each sample of a batch: as dropout, a function of step, draw and global sample index.

    For random choices inside a loss, such as which boxes of an image are learnt from.
    """
    step, call = _next()
    samples = _thread.samples
    if samples is None or len(samples) != batch:
        samples = _numbers(batch)
    return [generator(initial_seed(), f"{stream}/{call}", step, int(sample)) for sample in samples]


@functools.lru_cache(maxsize=8)
def _numbers(batch: int) -> np.ndarray:
    """Return 0, 1, ... as one and the same array, which a GPU then gets once."""
    return np.arange(batch, dtype=np.int64)


@contextmanager
def training_step(step: int, samples: Sequence[int] | np.ndarray | None) -> Iterator[None]:
    """Inside, dropout draws for this step and these global sample indices; a resumed run repeats the same masks."""
    before = _thread.step, _thread.calls, _thread.samples
    _thread.step, _thread.calls = int(step), 0
    _thread.samples = None if samples is None else np.asarray(samples, np.int64)
    try:
        yield
    finally:
        _thread.step, _thread.calls, _thread.samples = before


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, dropout draws by this seed; unnamed draws outside of training steps go on where they were."""
    before, _thread.seed = _thread.seed, seed
    try:
        yield
    finally:
        _thread.seed = before
