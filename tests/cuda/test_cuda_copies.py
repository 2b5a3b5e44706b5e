"""What a training copies between host and GPU: each copy waits until the GPU has done all that it was told before."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from on_device import kernels

import tinyconv as tc
from tinyconv import nn, optim
from tinyconv.nn import functional as F

pytestmark = pytest.mark.cuda


@pytest.fixture
def copies():
    """Return a function: (copies to the host, to the device) since it was called last."""
    memory = kernels("memory")
    last = list(memory.copies())

    def since():
        now = memory.copies()
        found = now[0] - last[0], now[1] - last[1]
        last[:] = now
        return found

    return since


@pytest.fixture
def training(rng):
    layers = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 3)
    model = nn.Sequential(*layers).to("cuda")
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    images = tc.tensor(rng.standard_normal((4, 1, 6, 6)).astype(np.float32), device="cuda")

    def step(labels, loss=F.cross_entropy):
        optimizer.zero_grad()
        value = loss(model(images), labels)
        value.backward()
        optimizer.step()
        return value

    return step


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_a_training_step_copies_nothing_but_the_loss(dtype, training, copies):
    labels = tc.tensor(np.array([0, 1, 2, 1], dtype), device="cuda")
    training(labels)  # tables of the convolutions and numbers of the samples, once
    copies()
    value = training(labels)
    assert copies() == (0, 0)
    value.item()
    assert copies() == (1, 0)


def test_dropout_copies_a_steps_sample_numbers_once(copies):
    x, samples = tc.ones(3, 4, device="cuda"), np.array([5, 9, 7])
    with tc.random.training_step(3, samples):
        copies()
        first = F.dropout(x)
        assert copies() == (0, 1)
        F.dropout(F.dropout(x))
        assert copies() == (0, 0)
    with tc.random.training_step(3, samples[::-1].copy()):
        other = F.dropout(x)
    assert first.tolist() == other.tolist()[::-1]
    del samples
    gc.collect()


def test_the_sample_numbers_go_with_the_step():
    before = len(tc.device._beside)
    with tc.random.training_step(0, [1, 2]):
        F.dropout(tc.ones(2, device="cuda"))
        assert len(tc.device._beside) == before + 1
    assert len(tc.device._beside) == before


def test_wrong_labels_are_still_seen(training, copies):
    with pytest.raises(IndexError, match=r"cross_entropy: target must be in \[0, 3\), got 3"):
        training(tc.tensor([0, 1, 3, 1], device="cuda"))
    labels = tc.tensor([0, 1, 2, 1], device="cuda")
    labels[1] = 7  # by a kernel: the host does not know any more
    copies()
    with pytest.raises(IndexError, match=r"got 7"):
        training(labels)
    assert copies()[0] == 1


def test_the_host_forgets_what_others_may_write():
    writes = lambda x: x.add_(1), lambda x: x[1:].fill_(0), lambda x: x.copy_(x[::-1])
    for share in (*writes, lambda x: x.__dlpack__()):
        x = tc.tensor([3, 4, 5], device="cuda")
        assert x.data.block.known is not None
        share(x)
        assert x.data.block.known is None
    assert tc.tensor([0.5], device="cuda").data.block.known is None
    assert tc.zeros(1 << 21, dtype=np.uint8).to("cuda").data.block.known is None  # too large to keep


def test_what_the_host_knows_is_what_is_there():
    array = np.arange(24).reshape(4, 6)
    x = tc.tensor(array, device="cuda")
    array[0, 0] = 100  # after the copy
    views = lambda a: a, lambda a: a.T, lambda a: a[1:, ::-2], lambda a: a[2], lambda a: a[3, 4], lambda a: a[:, :0]
    for view in views:
        assert view(x).tolist() == view(np.arange(24).reshape(4, 6)).tolist()
    x.tolist()
    found = kernels("memory").to_host(x.data)
    found[...] = 7  # a copy
    assert x[0, 1].item() == 1


def test_embeddings_and_indexing_sort_on_the_host_without_waiting(copies):
    table = tc.ones(5, 2, device="cuda").requires_grad_()
    words = tc.tensor([[1, 4], [1, 0]], device="cuda")
    copies()
    F.embedding(words, table).sum().backward()
    assert copies()[0] == 0 and table.grad.tolist() == [[1, 1], [2, 2], [0, 0], [0, 0], [1, 1]]
    copies()
    table[np.array([0, 0, 3])].sum().backward()
    assert copies()[0] == 0 and table.grad.tolist() == [[3, 3], [2, 2], [0, 0], [1, 1], [1, 1]]
    copies()
    F.embedding(words, table).sum().backward()
    assert copies() == (0, 0)  # the same words: they are sorted already
    words[0, 0] = 2
    F.embedding(words, table).sum().backward()
    assert copies()[0] == 2 and table.grad.tolist() == [[5, 5], [5, 5], [1, 1], [1, 1], [3, 3]]
    with pytest.raises(IndexError):
        F.embedding(tc.tensor([5], device="cuda"), table)


def test_filling_copies_nothing(copies):
    for value, dtype in ((0.0, np.float32), (1, np.int64), (True, np.bool_)):
        x = tc.full((3,), value, dtype=dtype, device="cuda")
        assert copies() == (0, 0)
        assert x.cpu().tolist() == [value] * 3
        copies()
    assert F.cross_entropy(tc.zeros(2, 3, device="cuda"), tc.zeros(2, dtype=np.int64, device="cuda")).device == "cuda"
    assert copies() == (0, 0)


def test_probabilities_are_not_fetched_to_be_checked(copies):
    x = tc.tensor([0.25, 1.5, -0.5, 0.5]).to("cuda")
    target = tc.tensor([1.0, 1.0, 0.0, 0.0]).to("cuda")
    copies()
    loss = F.binary_cross_entropy(x, target, reduction="none")
    assert copies() == (0, 0)
    np.testing.assert_array_equal(np.isnan(loss.tolist()), [False, True, True, False])
    with pytest.raises(ValueError, match="x must be probabilities"):
        F.binary_cross_entropy(x.cpu(), target.cpu())


@pytest.mark.parametrize("op,shape", [("affine_grid", (2, 3)), ("attention_grid", (3,)), ("projective_grid", (8,)),
                                      ("thin_plate_spline_grid", (16, 2))])  # fmt: skip
def test_positions_of_a_sampling_grid_are_copied_once(op, shape, copies):
    theta = tc.zeros(2, *shape, device="cuda", requires_grad=True)

    def step():
        getattr(F, op)(theta, (2, 1, 4, 4), align_corners=True).backward(upstream)

    upstream = tc.ones(2, 4, 4, 2, device="cuda")
    step()
    copies()
    step()
    assert copies() == (0, 0)
