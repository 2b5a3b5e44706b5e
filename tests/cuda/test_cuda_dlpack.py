"""Device memory that other libraries share: DLPack and the CUDA array interface, both ways."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from on_device import home, kernels

import tinyconv as tc

pytestmark = pytest.mark.cuda


@pytest.fixture
def dlpack():
    return kernels("dlpack")


@pytest.fixture
def simulated(dlpack):
    if not dlpack.SIMULATED:
        pytest.skip("needs the simulator: there NumPy's arrays are device memory")
    return dlpack


def test_dlpack_shares_memory_both_ways():
    x = tc.arange(6).float().to("cuda").reshape(2, 3)
    if tc.cuda.device_name() != "simulator":
        torch = pytest.importorskip("torch")
        theirs = torch.from_dlpack(x.T)
        theirs[0, 1] = 30
        ours = tc.from_dlpack(theirs * 1)
        assert x[1, 0].item() == 30 and ours.tolist() == x.T.tolist()
        return
    theirs = np.from_dlpack(x.T)  # the simulator's memory is the host's
    x[1, 0] = 30
    assert theirs[0, 1] == 30 and not hasattr(x, "__cuda_array_interface__")
    from tinyconv_kernels.cuda import dlpack

    array = np.arange(6.0).reshape(2, 3)
    back = dlpack.from_capsule(array[:, ::2].__dlpack__())
    back[1, 1] = 50
    assert array[1, 2] == 50 and tc.Tensor(back).tolist() == [[0, 2], [3, 50]]
    del theirs, back
    gc.collect()
    x.__dlpack__()  # nobody takes it
    gc.collect()
    assert not dlpack._lent


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_foreign_memory_is_aligned_for_wide_loads(dtype, simulated):
    """Kernels read 16 bytes at once where offset % 4 == 0: an array that begins elsewhere must have another offset."""
    whole = np.arange(64).astype(dtype)
    assert whole.ctypes.data % 16 == 0
    for first in range(20):
        taken = simulated.from_capsule(whole[first:].__dlpack__())
        assert simulated.address(taken) == whole[first:].ctypes.data
        assert (simulated.address(taken) - taken.offset * taken.itemsize) % 16 == 0
        np.testing.assert_array_equal(home(taken), whole[first:])


def test_products_of_foreign_memory_read_wide_only_where_they_may(simulated):
    matmul = kernels("matmul")
    whole = np.random.default_rng(0).standard_normal(64 * 64 + 4).astype(np.float32)
    for first in range(4):
        a = whole[first : first + 64 * 64].reshape(64, 64)
        taken = simulated.from_capsule(a.__dlpack__())
        assert matmul._aligned(taken, -1) == (a.ctypes.data % 16 == 0)


def test_memory_between_two_elements_addresses(simulated):
    raw = np.zeros(33, np.uint8)
    interface = {"shape": (4,), "typestr": "<f4", "data": (raw.ctypes.data + 2, False), "strides": None, "version": 3}
    with pytest.raises(BufferError, match=r"float32 elements cannot begin at the address 0x.*; copy the array first"):
        simulated.from_interface(type("Theirs", (), {"__cuda_array_interface__": interface})())


def test_more_foreign_elements_than_indices_reach(simulated):
    one = np.zeros(1, np.float32)
    many = np.lib.stride_tricks.as_strided(one, (1 << 16, 1 << 16), (0, 0))
    with pytest.raises(BufferError, match=r"fewer than 2\^32 elements, got shape \(65536, 65536\)"):
        simulated.take(many.shape, (0, 0), one.ctypes.data, one.dtype, one)
    with pytest.raises(BufferError, match=r"fewer than 2\^32"):
        simulated.take((2,), (1 << 32,), one.ctypes.data, one.dtype, one)


def test_arrays_without_elements(simulated):
    for shape in ((0,), (3, 0)):
        taken = simulated.from_capsule(np.zeros(shape, np.float32).__dlpack__())
        assert taken.shape == shape and home(taken).shape == shape
        # Their address may be NULL.
        assert simulated.take(shape, (1,) * len(shape), None, np.dtype(np.float32), None).shape == shape
        assert np.from_dlpack(tc.zeros(shape, device="cuda")).shape == shape
    with pytest.raises(BufferError, match=r"an array of shape \(2,\) has no address"):
        simulated.take((2,), (1,), 0, np.dtype(np.float32), None)


def test_dtypes_that_no_kernel_knows(simulated):
    with pytest.raises(BufferError, match="dlpack: complex128 is no dtype of tinyconv; convert the array first"):
        simulated.from_capsule(np.zeros(2, complex).__dlpack__())
    with pytest.raises(BufferError, match="dlpack: float16 is no dtype"):
        simulated.from_capsule(np.zeros(2, np.float16).__dlpack__())
    interface = {"shape": (1,), "typestr": ">f4", "data": (16, False), "strides": None, "version": 3}
    with pytest.raises(BufferError, match="dlpack: >f4 is no dtype"):
        simulated.from_interface(type("Theirs", (), {"__cuda_array_interface__": interface})())
    torch = pytest.importorskip("torch")
    for capsule in (torch.zeros(2, dtype=torch.bfloat16).__dlpack__(),) * 2:  # refused, it can still be taken
        with pytest.raises(BufferError, match="dlpack: bfloat16 is no dtype of tinyconv; convert .* to float32"):
            simulated.from_capsule(capsule)


def test_another_device_is_refused(dlpack, monkeypatch):
    kind, number = dlpack.where()
    dlpack.check_device((kind, number))
    for other in ((kind, number + 1), (10, 0)):
        with pytest.raises(BufferError, match=r"kernels run on the device \(\d, 0\), and the array is on \("):
            dlpack.check_device(other)

    class Theirs:
        def __dlpack_device__(self):
            return (2, 7)

        def __dlpack__(self):
            raise AssertionError("must not be asked")

    with pytest.raises(BufferError, match=r"the array is on \(2, 7\)"):
        tc.from_dlpack(Theirs())


def test_what_a_receiver_asks_of_an_export(dlpack, monkeypatch):
    """The array API's arguments of ``__dlpack__``."""
    x = tc.arange(3).float().to("cuda")
    waited = []
    monkeypatch.setattr(dlpack.memory, "synchronize", lambda: waited.append(1))
    for stream, waits in ((None, 0), (1, 0), (-1, 0), (2, 1), (12345, 1)):
        waited.clear()
        x.__dlpack__(stream=stream)
        assert len(waited) == waits, stream
    for stream in (0, -2, "1"):
        with pytest.raises(BufferError, match="stream must be None, -1, 1, 2"):
            x.__dlpack__(stream=stream)
    own = dlpack.where()
    x.__dlpack__(dl_device=own, copy=False, max_version=(1, 0))
    with pytest.raises(BufferError, match=r"cannot be given to \(10, 0\)"):
        x.__dlpack__(dl_device=(10, 0))
    shared, copied = (dlpack.from_capsule(x.__dlpack__(copy=copy)) for copy in (None, True))
    x[0] = 9
    assert home(shared).tolist() == [9, 1, 2] and home(copied).tolist() == [0, 1, 2]


def test_a_copy_for_the_host(dlpack, monkeypatch):
    monkeypatch.setattr(dlpack, "where", lambda: (2, 0))  # as on a GPU
    x = tc.arange(3).float().to("cuda")
    capsule = x.__dlpack__(dl_device=(1, 0))
    with pytest.raises(BufferError, match=r"\(2, 0\) cannot be given to \(1, 0\) without a copy"):
        x.__dlpack__(dl_device=(1, 0), copy=False)
    monkeypatch.undo()
    assert home(dlpack.from_capsule(capsule)).tolist() == [0, 1, 2]
