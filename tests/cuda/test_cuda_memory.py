"""Device memory: the pool, copies both ways, what runs out; and tensors that other libraries share."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tinyconv as tc

pytestmark = pytest.mark.cuda


@pytest.fixture
def memory():
    from tinyconv_kernels.cuda import memory

    gc.collect()
    memory.empty_cache()
    return memory


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_there_and_back(dtype, shape, rng):
    array = (rng.standard_normal(shape) * 3).astype(dtype)
    x = tc.tensor(array, device="cuda")
    assert (x.device, x.shape, x.dtype) == ("cuda", shape, np.dtype(dtype))
    np.testing.assert_array_equal(x.to("cpu").numpy(), array)
    assert x.to("cuda") is x


def test_freed_blocks_are_used_again(memory):
    before = memory.memory_allocated()
    first = tc.zeros(1000, device="cuda")
    address = first.data.block.raw
    assert memory.memory_allocated() == before + 4096
    del first
    assert memory.memory_allocated() == before and memory.memory_reserved() == before + 4096
    assert tc.ones(1010, device="cuda").data.block.raw is address  # of the same size class
    memory.empty_cache()
    assert memory.memory_reserved() == memory.memory_allocated()


def test_a_view_keeps_its_block(memory):
    x = tc.arange(6).to("cuda")
    view = x.reshape(2, 3)[:, 1]
    before = memory.memory_allocated()
    del x
    assert memory.memory_allocated() == before and view.tolist() == [1, 4]


@pytest.mark.parametrize("nbytes", [1, 511, 512, 513, 4096, 5000, 1 << 20, (1 << 20) + 1, 10**9])
def test_a_block_is_at_most_an_eighth_too_large(nbytes, memory):
    size = memory._rounded(nbytes)
    assert size >= nbytes and (size <= 512 or size <= nbytes * 1.125 + 512) and size % 512 == 0


def test_out_of_memory_says_what_was_asked_and_keeps_nothing_cached(memory, monkeypatch):
    tc.zeros(1000, device="cuda")
    assert memory.memory_reserved()

    class Full:
        @staticmethod
        def device_array(size, dtype):
            raise MemoryError

        @staticmethod
        def current_context():
            raise AssertionError

    monkeypatch.setattr(memory, "cuda", Full)
    monkeypatch.setattr(memory, "SIMULATED", True)
    with pytest.raises(MemoryError, match=r"^cuda: no room for 0.37 GiB: .* are free .* use a smaller batch"):
        memory.empty((10**8,), np.float32)
    assert memory.memory_reserved() == memory.memory_allocated()


def test_more_than_32_bits_of_elements(memory):
    with pytest.raises(MemoryError, match=r"fewer than 2\^32 elements .* got shape \(65536, 65536\)"):
        memory.empty((1 << 16, 1 << 16), np.float32)


def test_what_is_asked_of_the_device():
    assert tc.cuda.is_available() and tc.cuda.device_name()
    tc.cuda.synchronize()
    x = tc.zeros(300, device="cuda")
    assert tc.cuda.memory_allocated() >= x.numel() * 4 and tc.cuda.memory_reserved() >= tc.cuda.memory_allocated()
    tc.cuda.empty_cache()


def test_what_is_missing_for_a_gpu(memory, monkeypatch):
    """``numba.cuda.is_available()`` is False for lack of a GPU as for lack of a compiler."""
    from types import SimpleNamespace

    def fail():
        raise RuntimeError("no libnvrtc.so")

    def machine(driver, nvvm, nvrtc):
        monkeypatch.setattr(memory, "SIMULATED", False)
        drivers = SimpleNamespace(driver=SimpleNamespace(is_available=driver))
        found = SimpleNamespace(get_lowest_supported_cc=nvrtc)
        parts = SimpleNamespace(driver=drivers, nvvm=SimpleNamespace(is_available=lambda: nvvm), nvrtc=found)
        monkeypatch.setattr(memory, "cuda", SimpleNamespace(cudadrv=parts))
        return memory.why_not()

    assert machine(True, True, lambda: (7, 5)) == ""
    assert machine(False, True, fail) == "no NVIDIA GPU with a driver was found"
    both = machine(True, False, fail)
    assert both.startswith("there is a GPU, but not NVIDIA's libnvvm and libnvrtc, which") and "[cuda13]" in both
    assert "NVIDIA's libnvrtc, which" in machine(True, True, fail) and "LD_LIBRARY_PATH=DIR/nvidia/cu13/lib" in both
    assert "NVIDIA's libnvvm, which" in machine(True, False, lambda: (7, 5))


def test_numpy_may_not_share():
    x = tc.ones(2, device="cuda")
    for share in (lambda: x.numpy(), lambda: np.asarray(x)):
        with pytest.raises(RuntimeError, match=r'numpy: this tensor is on "cuda", .* use .to\("cpu"\) first'):
            share()
    assert x.tolist() == [1, 1] and x[0].item() == 1 and "device='cuda'" in repr(x)


def test_mixed_devices_are_one_clear_error():
    x, y = tc.ones(2, device="cuda"), tc.ones(2)
    for mix in (lambda: x + y, lambda: tc.cat([x, y]), lambda: x.add_(y), lambda: x @ y):
        with pytest.raises(RuntimeError, match="cuda.*cpu|cpu.*cuda"):
            mix()


def test_in_place_and_by_index():
    x = tc.arange(6).float().to("cuda").reshape(2, 3)
    x.mul_(2).add_(1.5)
    x[0, 1:] = 7
    x[:, 0] = np.array([8, 9])
    x[1] = tc.ones(3, device="cuda")
    assert x.tolist() == [[8, 7, 7], [1, 1, 1]]
    np.testing.assert_array_equal(x.clone().T.to("cpu").numpy(), [[8, 1], [7, 1], [7, 1]])


def _shifted(x):
    x[1:] = x[:-1]


@pytest.mark.parametrize(
    "write",
    [
        _shifted,
        lambda x: x[:-1].copy_(x[1:]),
        lambda x: x.copy_(x[::-1]),
        lambda x: x.add_(x[::-1]),
        lambda x: x.add_(x[0]),
        lambda x: x[2:].mul_(x[:-2]),
        lambda x: x[0].copy_(x[1]),
        lambda x: x.mul_(x),
        lambda x: x.copy_(x.reshape(3, 5, 2).permute(2, 0, 1).reshape(6, 5)),
        lambda x: x[:, 1:].sub_(x[:, :-1]),
    ],
)
def test_views_of_one_memory_in_place(write):
    """The value is what it was before the write, as with NumPy: a thread may not read what another has written."""
    found = []
    for device in ("cpu", "cuda"):
        x = tc.arange(30).float().reshape(6, 5).to(device)
        write(x)
        found.append(x.tolist())
    assert found[0] == found[1]


def test_a_model_moves_trains_and_is_saved(tmp_path, rng):
    from tinyconv import nn, optim

    images, labels = rng.standard_normal((4, 1, 6, 6)).astype(np.float32), np.array([0, 1, 2, 1])
    losses = {}
    for device in ("cpu", "cuda"):
        tc.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).to(device)
        optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
        history = tc.fit(model, [(images, labels)] * 2, optimizer=optimizer, epochs=2, progress=False)
        found = tc.evaluate(model, [(images, labels)])
        losses[device] = [history.last["train_loss"], found["loss"]]
        tc.save(tmp_path / "model.npz", model, optimizer)
        fresh = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).to(device)
        tc.load_into(fresh, tmp_path / "model.npz")
        assert tc.evaluate(fresh, [(images, labels)])["loss"] == found["loss"]
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=1e-5)


def test_a_training_on_the_device_is_saved_loaded_and_moved(tmp_path, rng):
    """Momentum and Adam's averages are arrays on the device, too."""
    from tinyconv import nn, optim

    x = tc.tensor(rng.standard_normal((4, 3)).astype(np.float32))
    for make in (lambda p: optim.SGD(p, 0.1, momentum=0.9), lambda p: optim.Adam(p, 0.1)):
        weights = {}
        for moves in ("cpu cpu", "cuda cuda", "cpu cuda", "cuda cpu"):
            first, second = moves.split()
            tc.manual_seed(0)
            model, fresh = nn.Linear(3, 2).to(first), nn.Linear(3, 2).to(second)
            optimizer, again = make(model.parameters()), make(fresh.parameters())

            def step(model, optimizer):
                optimizer.zero_grad()
                (model(x.to(model.weight.device)) ** 2).sum().backward()
                optimizer.step()

            step(model, optimizer)
            tc.save(tmp_path / "m.npz", model, optimizer)
            tc.load_into(fresh, tmp_path / "m.npz", again)
            step(fresh, again)
            step(model.to(second), optimizer)  # the optimizer's state follows
            np.testing.assert_array_equal(fresh.weight.detach().cpu().numpy(), model.weight.detach().cpu().numpy())
            weights[moves] = model.weight.detach().cpu().numpy()
            other = nn.Linear(3, 2).to(first)
            other.load_state_dict(model.state_dict())
            np.testing.assert_array_equal(other.weight.detach().cpu().numpy(), weights[moves])
        for found in weights.values():
            np.testing.assert_allclose(found, weights["cpu cpu"], rtol=1e-5)


def test_to_takes_pytorchs_arguments():
    x = tc.ones(2)
    for moved in (x.to("cuda", tc.float64), x.to(device="cuda", dtype="float64"), x.to(tc.float64).cuda()):
        assert (moved.device, moved.dtype) == ("cuda", np.float64) and moved.cpu().device == "cpu"
    with pytest.raises(ValueError, match=r'to: wanted a device \("cpu", "cuda", "meta"\) or a dtype .* got \'gpu\''):
        x.to("gpu")
    assert tc.nn.Linear(2, 2).cuda().weight.device == "cuda"
