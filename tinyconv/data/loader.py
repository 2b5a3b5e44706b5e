"""Batches of a dataset: order, random transforms, prefetching, resuming. See :class:`DataLoader`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np

from tinyconv.data.dataset import Dataset, ImageTransform, draw_sample, shuffled
from tinyconv.data.image import to_float
from tinyconv.random import generator

Collate = Callable[[list[tuple[np.ndarray, Any]]], tuple[Any, Any]]


class Batch(tuple):
    """The pair (images, labels), so that ``for images, labels in loader`` works, with where it came from.

    Attributes
    ----------
    images : Tensor, (N, C, H, W), float32
    labels : Tensor, (N,), int64
    indices : array, (N,), int64
        Which items of the dataset these are.
    global_size : int
        Number of samples of this step over all ranks: a sum over the ranks divided by it is the mean.
    """

    indices: np.ndarray
    global_size: int

    def __new__(cls, images: Any, labels: Any, indices: np.ndarray, global_size: int) -> Batch:
        self = super().__new__(cls, (images, labels))
        self.indices, self.global_size = indices, global_size
        return self

    @property
    def images(self) -> Any:
        """First of the pair."""
        return self[0]

    @property
    def labels(self) -> Any:
        """Second of the pair."""
        return self[1]

    def __repr__(self) -> str:
        return f"Batch({len(self.indices)} samples {np.array2string(self.indices, threshold=8)})"


class DataLoader:
    """Cut a dataset into batches.

    Order and random transforms are functions of (seed, epoch, index of the sample): the same images come whatever the
    batch size, the number of threads and the number of ranks. Every pass over the loader is one epoch further.

    Parameters
    ----------
    dataset : Dataset
        Items (image, label). uint8 images become float32 / 255.
    batch_size : int
        Samples per batch, of this rank.
    shuffle : bool
        A new order every epoch, else that of the dataset.
    drop_last : bool
        Leave out the last batch of an epoch if it is not full (on all ranks together).
    seed : int
    workers : int
        Threads that prepare batches in advance; 0 prepares each batch when it is asked for. Useful where reading and
        transforming files takes long; arrays in memory need none.
    transform : callable, optional
        (image, rng) -> image, after the dataset's own transform; see :mod:`tinyconv.data.transforms`.
    rank, world_size : int
        This process and the number of processes, for data-parallel training. Step b takes the same
        ``batch_size * world_size`` samples as one process with that batch size would; rank r gets samples r,
        r + world_size, ... of them. Every sample is seen once, so the last step may be uneven, even empty on a rank.
    collate_fn : callable, optional
        Makes (images, labels) from a list of items (image, label), for labels that are no plain numbers. Arrays in the
        pair become tensors.

    Raises
    ------
    ValueError
        A size is out of range, or the dataset is empty; while iterating: the images of a batch differ in shape.
    RuntimeError
        While iterating: reading a sample failed; the message names the sample.

    Examples
    --------
    >>> from tinyconv.data import ArrayDataset
    >>> loader = DataLoader(ArrayDataset(np.zeros((5, 1, 2, 2), np.float32), range(5)), batch_size=2)
    >>> [(images.shape, labels.numpy().tolist()) for images, labels in loader]
    [((2, 1, 2, 2), [0, 1]), ((2, 1, 2, 2), [2, 3]), ((1, 1, 2, 2), [4])]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        workers: int = 0,
        transform: ImageTransform | None = None,
        rank: int = 0,
        world_size: int = 1,
        collate_fn: Collate | None = None,
    ) -> None:
        sizes = {"batch_size": (batch_size, 1), "workers": (workers, 0), "world_size": (world_size, 1)}
        for name, (value, least) in sizes.items():
            if not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"DataLoader: {name} must be an int of at least {least}, got {value!r}")
        if not 0 <= rank < world_size:
            raise ValueError(f"DataLoader: rank must lie in 0..{world_size - 1}, got {rank!r}")
        if len(dataset) == 0:
            raise ValueError("DataLoader: the dataset must hold samples, got an empty one")
        if transform is not None and not callable(transform):
            raise TypeError(f"DataLoader: transform must be callable as transform(image, rng), got {transform!r}")
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, int(batch_size), shuffle, drop_last
        self.seed, self.workers, self.transform, self.collate_fn = seed, int(workers), transform, collate_fn
        self.rank, self.world_size = rank, world_size
        self._next = (0, 0)  # epoch and first batch of the next pass
        self._position = (0, 0)

    def __len__(self) -> int:
        """Number of batches in an epoch, the same on every rank."""
        samples, step = len(self.dataset), self.batch_size * self.world_size
        return samples // step if self.drop_last else -(-samples // step)

    @property
    def epoch(self) -> int:
        """Epoch of the running pass, or of the last one, or of the first one if none has begun."""
        return self._position[0]

    @property
    def position(self) -> dict[str, int]:
        """Return the epoch and the number of its batches handed out: ``start_at(**position)`` goes on from there."""
        return {"epoch": self._position[0], "batch": self._position[1]}

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that of ``epoch``; a batch set by ``start_at`` for this epoch is kept."""
        if epoch != self._next[0]:
            self.start_at(epoch, 0)

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Make the next pass begin with batch number ``batch`` of ``epoch``, without reading those before it."""
        if epoch < 0 or not 0 <= batch <= len(self):
            raise ValueError(
                f"DataLoader.start_at: wanted epoch >= 0 and batch in 0..{len(self)}, got {epoch} and {batch}"
            )
        self._next = self._position = (epoch + 1, 0) if batch == len(self) > 0 else (epoch, batch)

    def order(self, epoch: int) -> np.ndarray:
        """Return the indices of all samples in the order of an epoch, over all ranks, int64."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        return shuffled(len(self.dataset), generator(self.seed, "shuffle", epoch))

    def __iter__(self) -> Iterator[Batch]:
        epoch, first = self._next
        self._next, self._position = (epoch + 1, 0), (epoch, first)
        return self._run(epoch, first)

    def _run(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield the batches of one pass; leaving it early ends its threads."""
        order, step = self.order(epoch), self.batch_size * self.world_size
        steps = [order[b * step : (b + 1) * step] for b in range(first, len(self))]
        parts = [samples[self.rank :: self.world_size] for samples in steps]
        with closing(self._prepare(parts, epoch)) as prepared:
            for samples, indices, (images, labels) in zip(steps, parts, prepared, strict=True):
                first += 1
                self._position = (epoch, first)
                yield Batch(_as_tensor(images), _as_tensor(labels), indices, len(samples))

    def _prepare(self, parts: Sequence[np.ndarray], epoch: int) -> Generator[tuple[Any, Any], None, None]:
        """Yield (images, labels) of each part as arrays, in order, up to two batches per thread ahead."""
        stop = threading.Event()
        if self.workers == 0:
            yield from (self._load(indices, epoch, stop) for indices in parts)
            return
        # Jobs return, and never wait for the consumer; so there is no way to hang, however the loop is left.
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="tinyconv-loader")
        pending: deque[Future] = deque()
        try:
            for indices in parts:
                pending.append(pool.submit(self._load, indices, epoch, stop))
                if len(pending) > 2 * self.workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, indices: np.ndarray, epoch: int, stop: threading.Event) -> tuple[Any, Any]:
        """Return (images, labels) of the samples; runs in a thread."""
        at_once = None
        if self.transform is None and self.collate_fn is None and hasattr(self.dataset, "batch"):
            at_once = self.dataset.batch(indices)
        if at_once is not None:
            return at_once
        # An empty part (the last step of more ranks than samples) takes the shape of some sample.
        items = []
        for index in indices if len(indices) else [0]:
            if stop.is_set():
                return None, None
            items.append(self._sample(int(index), epoch))
        if self.collate_fn is not None:
            return self.collate_fn(items[: len(indices)])
        images, labels = _stack(items, indices)
        return images[: len(indices)], labels[: len(indices)]

    def _sample(self, index: int, epoch: int) -> tuple[np.ndarray, Any]:
        """Return one item, transformed with the generator of (seed, epoch, index)."""
        try:
            rng = generator(self.seed, "augment", epoch, index)
            image, label = draw_sample(self.dataset, index, rng)
            if self.collate_fn is None or self.transform is not None:  # a collate_fn alone gets items as they are
                image = np.asarray(image)
                image = image if image.dtype == np.float32 else to_float(image)
            return (image if self.transform is None else self.transform(image, rng)), label
        except Exception as error:
            raise RuntimeError(f"DataLoader: sample {index} failed: {type(error).__name__}: {error}") from error


def _stack(items: list[tuple[np.ndarray, Any]], indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images as one float32 array, the labels as one array (integers as int64)."""
    first = items[0][0].shape
    for (image, _), index in zip(items, indices, strict=False):
        if image.shape != first:
            raise ValueError(
                f"DataLoader: the images of a batch must have one shape, got {image.shape} for sample {index} "
                f"and {first} for sample {indices[0]}; give a transform such as Compose([Resize(s), CenterCrop(s)])"
            )
    try:
        labels = np.array([label for _, label in items])
    except ValueError:  # sequences of different lengths
        labels = np.array(None)
    if labels.dtype.kind not in "iufb":
        raise TypeError(
            f"DataLoader: labels must be numbers or arrays of one shape, got {items[0][1]!r}; give a collate_fn"
        )
    if labels.dtype.kind in "iub":
        labels = labels.astype(np.int64)
    elif labels.dtype != np.float32:
        labels = labels.astype(np.float32)
    return np.stack([image for image, _ in items]).astype(np.float32, copy=False), labels


def _as_tensor(value: Any) -> Any:
    """Return an array as a tensor, anything else as it is."""
    from tinyconv.tensor import Tensor  # here, so that datasets and transforms work without the engine

    return Tensor(value) if isinstance(value, np.ndarray) else value
