"""Indexing on the device: the reference's bits, positions that repeat included, and nothing else is touched."""

import numpy as np
import pytest
from on_device import home, kernels, moved

from tinyconv_kernels.reference import index as reference

pytestmark = pytest.mark.cuda
floats = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, bool])
@pytest.mark.parametrize("shape", [(7,), (3, 40), (), (0, 2)], ids=str)
def test_gather(dtype, shape):
    rng = np.random.default_rng(0)
    x, positions = rng.integers(0, 2, 10).astype(dtype), np.asarray(rng.integers(0, 10, shape))
    want, out = np.empty(shape, dtype), moved(np.zeros(shape, dtype))
    reference.gather(x, positions, want)
    kernels("index").gather(moved(x), moved(positions), out)
    np.testing.assert_array_equal(home(out), want)


@floats
@pytest.mark.parametrize("high", [1, 10, 1000], ids=["one element", "repeated", "mostly distinct"])
@pytest.mark.parametrize("shape", [(150,), (3, 4), (), (0,)], ids=str)
def test_scatter_add_has_the_bits_of_the_order(dtype, high, shape):
    rng = np.random.default_rng(1)
    # Sizes from 1e-6 to 1e6: another order of the sum would have other bits.
    dy = np.asarray(rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 7, shape), dtype)
    positions, want = np.asarray(rng.integers(0, high, shape)), np.ones(high, dtype)
    out = moved(want)
    reference.scatter_add(dy, positions, want)
    kernels("index").scatter_add(moved(dy), moved(positions), out)
    np.testing.assert_array_equal(home(out), want)


def test_scatter_add_by_hand():
    index, memory = kernels("index"), kernels("memory")
    whole = memory.to_device(np.array([7.0, 0, 0, 0, 0, 7]))
    index.scatter_add(moved(np.array([1.0, 2, 4])), moved(np.array([3, 0, 3])), whole[1:5])
    assert home(whole).tolist() == [7, 2, 0, 0, 5, 7]
    index.scatter_add(moved(np.array([np.nan, np.inf, -np.inf])), moved(np.array([1, 0, 0])), whole[1:5])
    np.testing.assert_array_equal(home(whole), [7, np.nan, np.nan, 0, 5, 7])


@floats
@pytest.mark.parametrize("shape", [(6,), (2, 30), (0, 3), ()], ids=str)
@pytest.mark.parametrize("width", [1, 3, 0])
def test_embedding(dtype, shape, width):
    rng, index = np.random.default_rng(2), kernels("index")
    weight, words = rng.standard_normal((5, width)).astype(dtype), np.asarray(rng.integers(0, 4, shape))
    dy = np.asarray(rng.standard_normal((*shape, width)), dtype)
    want, want_dweight = np.full((*shape, width), 77, dtype), np.full_like(weight, 77)
    out, dweight = moved(want), moved(want_dweight)
    reference.embedding_forward(weight, words, want)
    reference.embedding_backward(dy, words, want_dweight)
    index.embedding_forward(moved(weight), moved(words), out)
    index.embedding_backward(moved(dy), moved(words), dweight)
    np.testing.assert_array_equal(home(out), want)
    np.testing.assert_array_equal(home(dweight), want_dweight)
    assert (home(dweight)[4] == 0).all()  # never taken


@pytest.mark.parametrize(
    "key",
    [
        np.arange(12).reshape(3, 4) % 3 == 0,
        np.array([True, False, True]),
        np.array([2, 0, 2]),
        (slice(None), [1, 1, 3]),
        (np.array([0, 1]), np.array([1, 1])),
        (np.array([[0], [2]]), None, np.array([1, 3])),
        np.zeros((3, 4), bool),
    ],
    ids=lambda key: str(key)[:30].replace("\n", ""),
)
@pytest.mark.parametrize("kind", ["number", "array", "on the device", "row"])
def test_writing_by_mask_and_by_index_arrays(key, kind):
    import tinyconv as tc

    found = []
    for device in ("cpu", "cuda"):
        x = tc.arange(24).float().reshape(4, 6)[:3, 1:5].to(device)
        shape = np.zeros((3, 4))[key].shape
        array = 100 + np.arange(np.prod(shape, dtype=int), dtype=np.float64).reshape(shape)
        row = array[..., :1]
        x[key] = {"number": 7, "array": array, "on the device": tc.tensor(array).to(device), "row": row}[kind]
        found.append(x.tolist())
    assert found[0] == found[1]


def test_writing_by_mask_says_what_is_wrong():
    import tinyconv as tc

    x = tc.zeros(3, 4, device="cuda")
    with pytest.raises(IndexError, match=r"setitem: .* out of bounds .*; the tensor has shape \(3, 4\)"):
        x[np.array([3])] = 1
    with pytest.raises(IndexError, match=r"setitem: .*boolean"):
        x[np.array([True, False])] = 1
    with pytest.raises(ValueError, match="setitem: .* cannot be broadcast|setitem: .*broadcast"):
        x[x > 1] = np.ones(3)
    whole = tc.arange(6).float().to("cuda")
    whole[whole > 3] = 0
    view = whole[::2]
    view[view == 2] = tc.tensor(9.0).to("cuda")
    assert whole.tolist() == [0, 1, 9, 3, 0, 0]
