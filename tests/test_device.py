"""Devices: names and errors, the shapes-only device from end to end, and kernels of one's own."""

from __future__ import annotations

import math
import tracemalloc
import types

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import device
from tinyconv.device import MetaArray
from tinyconv.nn import functional as F


def test_names():
    assert (
        device.check_name("cpu") == "cpu" and device.of(np.zeros(1)) == "cpu" and device.of(MetaArray((2,))) == "meta"
    )
    with pytest.raises(ValueError, match='device: wanted one of "cpu", "cuda", "meta", got \'gpu\''):
        tc.zeros(2, device="gpu")


@pytest.mark.parametrize(
    "use", [lambda: tc.zeros(2, device="cuda"), lambda: tc.zeros(2).to("cuda"), lambda: tc.rand(2, device="cuda")]
)
def test_cuda_without_a_gpu_says_what_to_do(use):
    with pytest.raises(RuntimeError, match='device "cuda": .*use device="cpu".*`tinyconv doctor` shows'):
        use()


def test_workspace_is_aligned():
    for nbytes in (1, 63, 4096):
        found = device.workspace(np.zeros(1), nbytes)
        assert found.dtype == np.uint8 and found.nbytes == nbytes and found.ctypes.data % 64 == 0
    assert device.workspace(np.zeros(1), 0) is None and device.workspace(MetaArray((1,)), 100) is None


def test_contiguous_copies_only_where_it_must():
    array = np.zeros((2, 3))
    assert device.contiguous(array) is array
    assert device.contiguous(array.T).flags.c_contiguous and device.contiguous(array[0, 0]).shape == ()
    frozen = np.broadcast_to(np.float64(1), (1,))
    assert device.contiguous(frozen).flags.writeable


# ----------------------------------------------------------------------------------- shapes only: meta


def allocated(work):
    """Return the peak of memory that ``work`` allocated, in bytes."""
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


VGG16 = [64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool"]


def vgg16(x, parameters):
    """VGG's configuration D (Simonyan and Zisserman 2014, table 1), written with functions only."""

    def weight(*shape):
        parameters.append(tc.zeros(*shape, device="meta", requires_grad=True))
        return parameters[-1]

    for step in VGG16:
        if step == "pool":
            x = F.max_pool2d(x, 2)
        else:
            # A 3x3 convolution as its nine shifted products, so that this test needs no convolution.
            w, b = weight(step, x.shape[1], 3, 3), weight(step)
            padded = F.pad(x, (1, 1, 1, 1))
            shifted = padded[:, :, : x.shape[2], : x.shape[3]].permute(0, 2, 3, 1)
            x = (shifted @ w[:, :, 0, 0].T + b).relu().permute(0, 3, 1, 2)
    x = x.flatten(1)
    for size in (4096, 4096, 1000):
        x = F.linear(F.dropout(x), weight(size, x.shape[1]), weight(size)).relu()
    return F.log_softmax(x, 1)


def test_a_network_of_138_million_parameters_without_allocating():
    parameters = []
    bytes_used, (y, loss) = allocated(
        lambda: (y := vgg16(tc.zeros(8, 3, 224, 224, device="meta"), parameters), y.mean())
    )
    assert sum(p.numel() for p in parameters) == 138_357_544
    assert y.shape == (8, 1000) and y.device == "meta" and y.requires_grad
    assert bytes_used < 1e6
    bytes_used, _ = allocated(loss.backward)
    assert bytes_used < 1e6
    assert all(p.grad.shape == p.shape and p.grad.device == "meta" for p in parameters)


@pytest.mark.parametrize(
    "op",
    [
        lambda x: x.double(),
        lambda x: x.clone(),
        lambda x: x.contiguous(),
        lambda x: x * 2 + 1,
        lambda x: 2**x,
        lambda x: x**x,
        lambda x: x.sum(0),
        lambda x: x.max(),
        lambda x: x.max(1)[0],
        lambda x: x.std(),
        lambda x: x.norm(),
        lambda x: x.argmax(1),
        lambda x: x.T.reshape(-1),
        lambda x: x[:, ::2],
        lambda x: x[[0, 1, 1]],
        lambda x: x[tc.zeros(5, dtype=tc.int64, device="meta")],
        lambda x: tc.cat([x, x]),
        lambda x: tc.stack([x, x]),
        lambda x: x.expand(3, *x.shape),
        lambda x: tc.maximum(x, 0.5),
        lambda x: tc.where(x > 0, x, 0.0),
        lambda x: x == x,
        lambda x: ~(x > 0),
        lambda x: x.all(),
        lambda x: x.isnan(),
        lambda x: F.pad(x, (1, 1), "replicate"),
        lambda x: F.dropout(x),
        lambda x: F.softmax(x, 0),
        lambda x: x.clamp(0, 1),
        lambda x: x.detach().add_(1),
        lambda x: x.detach().fill_(1),
        lambda x: x.detach().copy_(tc.zeros(1, device="meta")),
        lambda x: F.embedding(tc.zeros(3, dtype=tc.int32, device="meta"), x),
        lambda x: x.log_softmax(-1),
        lambda x: x.sign(),
        lambda x: tc.zeros_like(x),
        lambda x: tc.ones_like(x),
        lambda x: x @ x.T,
        lambda x: x.split(1000)[0],
    ],
)
def test_no_operation_allocates_on_meta(op):
    x = tc.zeros(4096, 2048, device="meta", requires_grad=True)

    def work():
        y = op(x)
        if y.requires_grad:
            y.backward(tc.zeros(*y.shape, dtype=y.dtype, device="meta"))
        return y

    bytes_used, y = allocated(work)
    assert y.device == "meta" and bytes_used < 1e5


def test_meta_errors_are_those_of_the_cpu():
    x = tc.zeros(2, 3, device="meta")
    for call, error in [
        (lambda: x @ x, ValueError),
        (lambda: x.reshape(5), ValueError),
        (lambda: x[5], IndexError),
        (lambda: x[[5]], IndexError),
        (lambda: F.pad(x, (3, 3), "reflect"), ValueError),
        (lambda: x.__setitem__(0, np.zeros(7)), ValueError),
    ]:
        with pytest.raises(error):
            call()


@pytest.mark.parametrize(
    "op",
    [
        lambda a, b: a + b,
        lambda a, b: a == b,
        lambda a, b: a @ b,
        lambda a, b: tc.where(a > 0, a, b),
        lambda a, b: a.add_(b),
    ],
)
def test_devices_do_not_mix(op):
    for a, b in [(tc.ones(2, 2), tc.ones(2, 2, device="meta")), (tc.ones(2, 2, device="meta"), tc.ones(2, 2))]:
        with pytest.raises(RuntimeError, match="on one device, got"):
            op(a, b)


def test_meta_has_nothing_to_copy_back():
    with pytest.raises(RuntimeError, match='an array of shape \\(2, 3\\) has no elements to copy to "cpu"'):
        tc.zeros(2, 3, device="meta").cpu()


# -------------------------------------------------------------------------------- kernels of one's own


def module(**kernels):
    mine = types.ModuleType("mine")
    vars(mine).update(kernels)
    return mine


def test_backend_runs_on_the_definitions():
    x = tc.tensor(np.random.default_rng(0).standard_normal((1, 2, 5, 5)))
    wanted = F.max_pool2d(x, 3, 2).tolist()
    with tc.backend("reference"):
        assert device.kernels_for(x.data).__name__ == "tinyconv_kernels.reference"
        assert F.max_pool2d(x, 3, 2).tolist() == wanted
        with tc.backend("cpu"):
            assert device.kernels_for(x.data).__name__ == "tinyconv_kernels.cpu"
        assert device.kernels_for(x.data).__name__ == "tinyconv_kernels.reference"
    assert device.kernels_for(x.data).__name__ == "tinyconv_kernels.cpu"


def test_backend_replaces_only_what_the_module_defines():
    calls = []

    def relu(x, out):
        calls.append(x.shape)
        out[...] = 7

    x = tc.tensor([1.0, -1.0])
    with tc.backend(module(relu=relu, helper=lambda: None, max_pool2d_foward=len)) as replaced:
        assert replaced == ["relu"]
        assert F.relu(x).tolist() == [7, 7] and (x + 1).tolist() == [2, 0]
    assert F.relu(x).tolist() == [1, 0] and calls == [(2,)]


def test_backend_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), tc.backend("reference"):
        raise ZeroDivisionError
    assert device.kernels_for(np.zeros(1)).__name__ == "tinyconv_kernels.cpu"


def test_backend_leaves_meta_alone():
    def relu(x, out):
        raise AssertionError("a kernel ran on meta")

    with tc.backend(module(relu=relu)):
        assert F.relu(tc.zeros(2, device="meta")).shape == (2,)


@pytest.mark.parametrize(
    "which, message",
    [
        ("gpu", 'backend: wanted "cpu", "reference" or a module, got \'gpu\''),
        (None, "or a module, got None"),
        (module(conv2d_foward=len), "backend: module mine defines no kernel; expected names such as conv2d_forward"),
    ],
)
def test_backend_errors(which, message):
    with pytest.raises(ValueError) as caught, tc.backend(which):
        pass
    assert message in str(caught.value)


def test_kernel_names():
    names = device.kernel_names()
    assert {"conv2d_forward", "max_pool2d_backward", "relu", "sgd_step", "matmul"} <= names
    assert not any(name.startswith("_") for name in names) and "njit" not in names


def test_backend_ignores_what_the_module_imports():
    def relu(x, out):
        out[...] = 7

    mine = module(relu=relu, exp=math.exp, sqrt=np.sqrt, abs=abs, tanh=3)
    with tc.backend(mine) as replaced:
        assert replaced == ["relu"]
        assert F.exp(tc.zeros(2)).tolist() == [1, 1]


def test_helpers_of_the_kernels_are_no_kernels():
    names = device.kernel_names()
    assert not names & {"correlate", "outer_tile", "fill_window", "max_window", "threads_for"}
