"""The loader: what comes does not depend on how it is cut; threads end; errors name the sample; passes resume."""

import threading
import time

import numpy as np
import pytest

from tinyconv.data import ArrayDataset, Compose, DataLoader, ImageFolder, PCAColor, RandomCrop, RandomMirror, Subset
from tinyconv.random import generator
from tinyconv.tensor import Tensor

AUGMENT = Compose([RandomCrop(5, padding=2), RandomMirror(), PCAColor([0.2, 0.1, 0.1], np.eye(3))])


def make(n=23, transform=None):
    images = np.random.default_rng(5).integers(0, 256, (n, 3, 6, 7), dtype=np.uint8)
    return ArrayDataset(images, np.arange(n), transform)


class Plain:
    """A student's own dataset: two methods, nothing else."""

    def __init__(self, n=10, fail_at=None, delay=0.0):
        self.n, self.fail_at, self.delay, self.read = n, fail_at, delay, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i == self.fail_at:
            raise OSError("the disk is gone")
        time.sleep(self.delay)
        self.read.append(i)
        return np.full((1, 2, 2), i % 256, np.uint8), i % 3


def by_index(loader):
    """Return {sample index: (image, label)} of one pass."""
    return {
        int(index): (image, int(label))
        for batch in loader
        for index, image, label in zip(batch.indices, batch.images.numpy(), batch.labels.numpy(), strict=True)
    }


def assert_same(one, other):
    assert list(one) == list(other)
    for index in one:
        np.testing.assert_array_equal(one[index][0], other[index][0])
        assert one[index][1] == other[index][1]


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("tinyconv-loader")]


# ------------------------------------------------------------------------------------------------- batches
def test_batches_are_pairs_of_tensors():
    loader = DataLoader(make(), batch_size=5)
    batches = list(loader)
    assert len(loader) == len(batches) == 5
    for images, labels in batches:
        assert isinstance(images, Tensor) and images.dtype == np.float32 and images.shape[1:] == (3, 6, 7)
        assert isinstance(labels, Tensor) and labels.dtype == np.int64
    assert [len(batch.indices) for batch in batches] == [5, 5, 5, 5, 3]
    assert [batch.global_size for batch in batches] == [5, 5, 5, 5, 3]
    assert batches[1].labels.numpy().tolist() == batches[1].indices.tolist() == [5, 6, 7, 8, 9]
    assert len(batches[0]) == 2 and "Batch(5 samples" in repr(batches[0])
    assert len(list(DataLoader(make(), batch_size=5, drop_last=True))) == 4


def test_fast_path_equals_the_slow_one():
    fast = by_index(DataLoader(make(), batch_size=4))
    slow = by_index(DataLoader(make(transform=lambda image, rng: image), batch_size=4))
    assert_same(fast, slow)
    part = Subset(make(), [3, 1, 8])
    np.testing.assert_array_equal(
        next(iter(DataLoader(part, 3))).images.numpy(), np.stack([part[i][0] for i in range(3)])
    )


def test_uint8_images_of_a_plain_dataset_become_float32():
    images, labels = next(iter(DataLoader(Plain(), batch_size=3)))
    assert images.dtype == np.float32 and labels.numpy().tolist() == [0, 1, 2]
    np.testing.assert_array_equal(images.numpy()[:, 0, 0, 0], np.arange(3, dtype=np.float32) / np.float32(255))


def test_empty_labels_and_other_labels():
    class Attributes(Plain):
        def __getitem__(self, i):
            return np.zeros((1, 2, 2), np.float32), np.array([i, 0.5])

    labels = next(iter(DataLoader(Attributes(), batch_size=3)))[1]
    assert labels.shape == (3, 2) and labels.dtype == np.float32


def test_collate_fn():
    class Boxes(Plain):
        def __getitem__(self, i):
            return np.zeros((1, 2 + i, 2), np.float32), [{"box": i}] * i

    def collate(items):
        return np.stack([image[:, :2] for image, _ in items]), [label for _, label in items]

    images, labels = next(iter(DataLoader(Boxes(), batch_size=3, collate_fn=collate, workers=2)))
    assert isinstance(images, Tensor) and images.shape == (3, 1, 2, 2)
    assert labels == [[], [{"box": 1}], [{"box": 2}] * 2]


# ------------------------------------------------------------------------------------------------- order
def test_shuffle_is_a_permutation_that_changes_with_epoch_and_seed():
    orders = [
        [int(i) for batch in DataLoader(make(), 4, shuffle=True, seed=s) for i in batch.indices] for s in (0, 0, 1)
    ]
    assert sorted(orders[0]) == list(range(23)) != orders[0]
    assert orders[0] == orders[1] != orders[2]
    loader = DataLoader(make(), 4, shuffle=True)
    first, second = ([int(i) for batch in loader for i in batch.indices] for _ in range(2))
    assert first == orders[0] != second and sorted(second) == sorted(first)


@pytest.mark.parametrize("transform", [None, AUGMENT], ids=["plain", "augmented"])
@pytest.mark.parametrize(
    "settings", [{"batch_size": 1}, {"batch_size": 7, "workers": 3}, {"batch_size": 23, "workers": 1}]
)
def test_nothing_depends_on_batch_size_or_threads(settings, transform):
    for epoch in (0, 3):
        passes = []
        for kwargs in ({"batch_size": 4}, settings):
            loader = DataLoader(make(), shuffle=True, seed=7, transform=transform, **kwargs)
            loader.set_epoch(epoch)
            passes.append(by_index(loader))
        assert_same(*passes)


def test_augmentation_is_that_of_seed_epoch_and_index_whatever_the_order():
    shuffled = DataLoader(make(), 4, shuffle=True, seed=7, transform=AUGMENT)
    plain = DataLoader(make(transform=AUGMENT), 5, seed=7)  # in the dataset or in the loader: the same
    one, other = by_index(shuffled), by_index(plain)
    assert list(one) != list(other)
    assert_same(dict(sorted(one.items())), other)
    want = AUGMENT(make()[11][0], generator(7, "augment", 0, 11))
    np.testing.assert_array_equal(one[11][0], want)
    next_epoch = by_index(plain)
    assert not np.array_equal(next_epoch[11][0], want)


def test_a_part_of_an_augmented_set_gets_fresh_draws_every_epoch():
    loader = DataLoader(Subset(make(transform=AUGMENT), [4, 2]), 2, seed=1)
    first, second = (next(iter(loader)).images.numpy() for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first[0], AUGMENT(make()[4][0], generator(1, "augment", 0, 0)))


@pytest.mark.parametrize("n", [24, 23, 9])
def test_ranks_share_the_steps_of_one_process(n):
    whole = DataLoader(make(n), 8, shuffle=True, seed=2, transform=AUGMENT)
    ranks = [DataLoader(make(n), 2, shuffle=True, seed=2, transform=AUGMENT, rank=r, world_size=4) for r in range(4)]
    assert {len(loader) for loader in ranks} == {len(whole)}
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert sorted(batch.indices) == sorted(i for part in parts for i in part.indices)
        assert all(part.global_size == len(batch.indices) for part in parts)
        together = {int(i): image for part in parts for i, image in zip(part.indices, part.images.numpy(), strict=True)}
        for index, image in zip(batch.indices, batch.images.numpy(), strict=True):
            np.testing.assert_array_equal(together[int(index)], image)
    if n == 9:  # the last step has one sample: the other ranks get none, but arrays of the right shape
        assert [list(loader)[-1].images.shape[0] for loader in ranks] == [1, 0, 0, 0]
        assert list(ranks[3])[-1].images.shape == (0, 3, 5, 5) and list(ranks[3])[-1].labels.shape == (0,)


# ------------------------------------------------------------------------------------------------- epochs, resuming
def test_every_pass_is_one_epoch_further_also_when_left_early():
    loader = DataLoader(make(), 4, shuffle=True)
    assert loader.epoch == 0
    for epoch in range(3):
        for batch in loader:
            assert loader.epoch == epoch
            np.testing.assert_array_equal(batch.indices, loader.order(epoch)[:4])
            break
        assert loader.position == {"epoch": epoch, "batch": 1}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 3, 6])
def test_resuming_gives_the_rest(stop, workers):
    def fresh():
        return DataLoader(make(), 4, shuffle=True, seed=3, transform=AUGMENT, workers=workers)

    whole, loader = fresh(), fresh()
    uninterrupted = list(whole) + list(whole)
    for number, _ in enumerate(loader, 1):
        if number == stop:
            break
    position = dict(loader.position)
    assert position == {"epoch": 0, "batch": stop}
    resumed = fresh()
    resumed.start_at(**position)
    resumed.set_epoch(resumed.epoch)  # a training loop that sets the epoch does not lose the batch
    rest = list(resumed) + (list(resumed) if stop < 6 else [])  # all 6 batches done: goes on with the next epoch
    for want, got in zip(uninterrupted[stop:], rest, strict=True):
        np.testing.assert_array_equal(want.indices, got.indices)
        np.testing.assert_array_equal(want.images.numpy(), got.images.numpy())


def test_resuming_reads_nothing_it_skips():
    data = Plain()
    loader = DataLoader(data, 2)
    loader.start_at(0, 3)
    assert [batch.indices.tolist() for batch in loader] == [[6, 7], [8, 9]]
    assert data.read == [6, 7, 8, 9]
    loader.set_epoch(0)
    assert len(list(loader)) == 5


@pytest.mark.parametrize("workers", [0, 2])
def test_two_passes_at_once_do_not_disturb_each_other(workers):
    loader = DataLoader(make(), 4, shuffle=True, workers=workers)
    pairs = list(zip(loader, loader, strict=True))
    assert len(pairs) == 6
    for epoch in (0, 1):
        np.testing.assert_array_equal(np.concatenate([pair[epoch].indices for pair in pairs]), loader.order(epoch))


# ------------------------------------------------------------------------------------------------- threads, failures
@pytest.mark.parametrize("how", ["break", "exception", "close", "dropped"])
def test_leaving_early_ends_the_threads(how):
    data = Plain(n=400, delay=0.002)
    loader = DataLoader(data, 4, workers=3)
    if how == "break":
        for _ in loader:
            break
    elif how == "exception":
        with pytest.raises(KeyError):
            for _ in loader:
                raise KeyError
    elif how == "close":
        batches = iter(loader)
        next(batches)
        assert loader_threads()
        batches.close()
    else:
        next(iter(loader))
    assert not loader_threads()
    assert len(data.read) <= 7 * 4 + 1  # the batches begun: two per thread ahead, and the one handed out


def test_leaving_early_does_not_wait_for_whole_batches():
    data = Plain(n=400, delay=0.001)
    for _ in DataLoader(data, 100, workers=2):
        break
    assert len(data.read) < 300  # the two batches read at once, and a little of the next two


def test_threads_end_after_a_whole_pass_and_really_work_ahead():
    data = Plain(n=400, delay=0.001)
    batches = iter(DataLoader(data, 4, workers=2))
    next(batches)
    deadline = time.monotonic() + 5
    while len(data.read) < 12 and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(0.05)
    assert 12 <= len(data.read) <= 24  # ahead, but not without bound
    assert len(list(batches)) == 99 and not loader_threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failing_sample_is_named(workers):
    loader = DataLoader(Plain(fail_at=7), 2, workers=workers)
    got = []
    with pytest.raises(RuntimeError, match="DataLoader: sample 7 failed: OSError: the disk is gone") as caught:
        for _, labels in loader:
            got += labels.numpy().tolist()
    assert isinstance(caught.value.__cause__, OSError)
    assert got == [0, 1, 2, 0, 1, 2]  # everything before it came
    assert not loader_threads()


def test_a_failing_transform_and_an_unreadable_file_are_named(tmp_path):
    with pytest.raises(RuntimeError, match=r"sample 0 failed: ValueError: RandomCrop: the window 9x9 must fit"):
        list(DataLoader(make(), 2, transform=RandomCrop(9)))
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "broken.jpg").write_bytes(b"?")
    with pytest.raises(RuntimeError, match=r"sample 0 failed: ValueError: read_image: cannot read .*broken\.jpg"):
        list(DataLoader(ImageFolder(tmp_path), 2, workers=1))


def test_images_of_different_shapes():
    class Mixed(Plain):
        def __getitem__(self, i):
            return np.zeros((1, 2 + i // 5, 2), np.float32), 0

    with pytest.raises(
        ValueError, match=r"one shape, got \(1, 3, 2\) for sample 5 and \(1, 2, 2\) for sample 3; give a"
    ):
        list(DataLoader(Mixed(), 3))


def test_labels_that_are_no_numbers():
    class Named(Plain):
        def __getitem__(self, i):
            return np.zeros((1, 2, 2), np.float32), "cat"

    with pytest.raises(TypeError, match="labels must be numbers or arrays of one shape, got 'cat'; give a collate_fn"):
        list(DataLoader(Named(), 3))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be an int of at least 1, got 0"),
        ({"batch_size": 2.0}, ValueError, "batch_size must be an int of at least 1, got 2.0"),
        ({"workers": -1}, ValueError, "workers must be an int of at least 0, got -1"),
        ({"rank": 2, "world_size": 2}, ValueError, r"rank must lie in 0\.\.1, got 2"),
        ({"transform": 3}, TypeError, "transform must be callable"),
    ],
)
def test_errors_of_construction(kwargs, error, message):
    with pytest.raises(error, match=f"DataLoader: {message}"):
        DataLoader(make(), **kwargs)


def test_other_errors():
    with pytest.raises(ValueError, match="DataLoader: the dataset must hold samples, got an empty one"):
        DataLoader(Plain(0))
    with pytest.raises(ValueError, match=r"start_at: wanted epoch >= 0 and batch in 0\.\.3, got 0 and 4"):
        DataLoader(Plain(), 4).start_at(0, 4)
