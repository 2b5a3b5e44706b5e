"""Recurrent kernels: reference = cpu over shapes and lengths, both directions, ends that nothing crosses, bits."""

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

from tinyconv_kernels.cpu import recurrent as cpu
from tinyconv_kernels.reference import recurrent as reference

modules = pytest.mark.parametrize("module", [reference, cpu])
directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
kinds = pytest.mark.parametrize("kind", ["tanh", "relu", "lstm"])


def arrays(shape, kind="tanh", dtype=np.float64, seed=0):
    """Return x, weight, first states and what arrives at the states, for (N, T, H)."""
    rng, (N, T, H) = np.random.default_rng(seed), shape
    rows, count = (4 * H, 2) if kind == "lstm" else (H, 1)
    sizes = (N, T, rows), (rows, H), *[(N, H)] * count, *[shape] * count
    x, weight, *rest = [rng.standard_normal(size).astype(dtype) for size in sizes]
    return x, weight, rest[:count], rest[count:]


def rubbish(shape, like):
    """An output that must be overwritten completely."""
    return np.full(shape, 77, like.dtype)


def run(module, kind, x, weight, starts, upstream, lengths, reverse):
    """Forward and backward; return {name: array}, y being all states and dx the inputs' gradient."""
    (N, T), H = x.shape[:2], weight.shape[1]
    shape, lengths = (N, T, H), np.asarray(lengths, np.int64)
    dx, before, dstarts = rubbish(x.shape, x), rubbish(shape, x), [rubbish(s.shape, x) for s in starts]
    if kind == "lstm":
        gates, c, y = rubbish(x.shape, x), rubbish(shape, x), rubbish(shape, x)
        module.lstm_forward(x, weight, *starts, lengths, reverse, gates, c, y)
        module.lstm_backward(*upstream, gates, c, starts[1], weight, lengths, reverse, dx, *dstarts)
        found = {"y": y, "dx": dx, "dh0": dstarts[0], "gates": gates, "c": c, "dc0": dstarts[1]}
    else:
        y, relu = rubbish(shape, x), kind == "relu"
        module.rnn_forward(x, weight, *starts, lengths, reverse, relu, y)
        module.rnn_backward(*upstream, y, weight, lengths, reverse, relu, dx, *dstarts)
        found = {"y": y, "dx": dx, "dh0": dstarts[0]}
    module.states_before(starts[0], y, lengths, reverse, before)
    return {**found, "before": before}


@given(data=st.data(), kind=st.sampled_from(["tanh", "relu", "lstm"]), reverse=st.booleans(), single=st.booleans())
def test_cpu_equals_reference(data, kind, reverse, single):
    shape = data.draw(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 9)))
    lengths = data.draw(st.lists(st.integers(0, shape[1]), min_size=shape[0], max_size=shape[0]))
    x, weight, starts, upstream = arrays(shape, kind, np.float32 if single else np.float64)
    weight /= np.sqrt(shape[2]).astype(weight.dtype)  # or six steps of ReLU multiply rounding errors
    both = [run(module, kind, x, weight, starts, upstream, lengths, reverse) for module in (reference, cpu)]
    for name, want in both[0].items():
        got = both[1][name]
        assert got.dtype == want.dtype == x.dtype
        near = (1e-5 if single else 1e-13) * max(1, np.abs(want).max(initial=0))
        np.testing.assert_allclose(got, want, rtol=0, atol=near, err_msg=name)


@modules
def test_by_hand(module):
    """H = relu(x + h / 2) of 1, 2, -4, 1, whose third is cut off; and from the end, where the first 1 comes last."""
    x, weight, lengths = np.array([1.0, 2, -4, 1]).reshape(1, 4, 1), np.array([[0.5]]), np.array([4])
    y, before = np.empty_like(x), np.empty_like(x)
    for reverse, want, was in (
        (False, [3, 3.5, 0, 1], [4, 3, 3.5, 0]),
        (True, [2, 2, 0, 3], [2, 0, 3, 4]),
    ):
        module.rnn_forward(x, weight, np.array([[4.0]]), lengths, reverse, True, y)
        module.states_before(np.array([[4.0]]), y, lengths, reverse, before)
        assert y.ravel().tolist() == want
        assert before.ravel().tolist() == was
    dx, dh0 = np.empty_like(x), np.empty((1, 1))
    module.rnn_backward(np.ones_like(x), y, weight, lengths, True, True, dx, dh0)
    # Taken: 3, 2 (cut off: nothing goes on), 1, 0; so from step 0 back to step 3.
    assert dx.ravel().tolist() == [1, 1.5, 0, 1]
    assert dh0.item() == 0.5


@modules
def test_gates_by_hand(module):
    """With inputs of 0 all gates are a half and g is 0: the cell halves at each step, the state is half its tanh."""
    x, weight = np.zeros((1, 2, 4)), np.zeros((4, 1))
    gates, c, y = np.empty((1, 2, 4)), np.empty((1, 2, 1)), np.empty((1, 2, 1))
    module.lstm_forward(x, weight, np.zeros((1, 1)), np.ones((1, 1)), np.array([2]), False, gates, c, y)
    assert gates.tolist() == [[[0.5, 0.5, 0, 0.5]] * 2]
    assert c.ravel().tolist() == [0.5, 0.25]
    np.testing.assert_allclose(y.ravel(), np.tanh([0.5, 0.25]) / 2, rtol=1e-15)


@modules
@directions
@kinds
def test_nothing_behind_the_end_has_an_influence(module, reverse, kind):
    shape, lengths = (4, 5, 3), [0, 2, 5, 3]
    x, weight, starts, upstream = arrays(shape, kind)
    want = run(module, kind, x, weight, starts, upstream, lengths, reverse)
    for n, length in enumerate(lengths):
        for a in (x, *upstream):
            a[n, length:] = np.nan
    got = run(module, kind, x, weight, starts, upstream, lengths, reverse)
    for name, a in got.items():
        np.testing.assert_array_equal(a, want[name], err_msg=name)
        if a.ndim == 3:
            assert all(not a[n, length:].any() for n, length in enumerate(lengths)), name


@modules
@kinds
def test_a_sample_alone_is_cut_at_its_end(module, kind):
    """Sample n of a batch with lengths is the sample on its own, with only its steps."""
    lengths = [1, 4, 3]
    x, weight, starts, upstream = arrays((3, 4, 5), kind)
    for reverse in (False, True):
        batch = run(module, kind, x, weight, starts, upstream, lengths, reverse)
        for n, length in enumerate(lengths):
            one = slice(n, n + 1)
            cut = [np.ascontiguousarray(a[one, :length]) for a in (x, *upstream)]
            alone = run(module, kind, cut[0], weight, [s[one] for s in starts], cut[1:], [length], reverse)
            for name in ("y", "dx"):
                np.testing.assert_allclose(batch[name][one, :length], alone[name], rtol=1e-12, atol=1e-13)
            np.testing.assert_allclose(batch["dh0"][one], alone["dh0"], rtol=1e-12, atol=1e-13)


@modules
@kinds
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reverse_of_a_reversed_sequence_has_the_same_bits(module, kind, dtype):
    """Also in a batch of unequal lengths, where the steps meet other samples on their way back."""
    lengths = [7, 1, 0, 4, 6]
    x, weight, starts, upstream = arrays((5, 7, 33), kind, dtype)

    def turned(a):
        out = np.zeros_like(a)
        for n, length in enumerate(lengths):
            out[n, :length] = a[n, :length][::-1]
        return out

    there = run(module, kind, x, weight, starts, upstream, lengths, False)
    back = run(module, kind, turned(x), weight, starts, [turned(a) for a in upstream], lengths, True)
    for name, a in there.items():
        np.testing.assert_array_equal(turned(back[name]) if a.ndim == 3 else back[name], a, err_msg=name)


@kinds
@directions
def test_bits_do_not_depend_on_the_number_of_threads(kind, reverse):
    lengths = np.random.default_rng(0).integers(0, 10, 40)
    x, weight, starts, upstream = arrays((40, 9, 96), kind, np.float32)
    found = []
    for threads in (1, 2, 3):
        with threadpoolctl.threadpool_limits(threads, "blas"):
            found.append(run(cpu, kind, x, weight, starts, upstream, lengths, reverse))
    for other in found[1:]:
        for name, a in other.items():
            np.testing.assert_array_equal(a, found[0][name], err_msg=name)


@modules
@directions
def test_nan_goes_on_and_stays_in_its_sample(module, reverse):
    x, weight, starts, upstream = arrays((2, 4, 3))
    x[0, 1, 0] = np.nan
    y = run(module, "tanh", x, weight, starts, upstream, [4, 4], reverse)["y"]
    after = [0] if reverse else [2, 3]
    assert np.isnan(y[0, after]).all()
    assert np.isfinite(y[0, [2, 3] if reverse else [0]]).all() and np.isfinite(y[1]).all()


@modules
def test_gates_saturate_without_overflow(module):
    x, weight, starts, upstream = arrays((1, 3, 2), "lstm", np.float32)
    x[...] = np.float32([1000, -1000] * 4)
    found = run(module, "lstm", x, weight, starts, upstream, [3], False)
    assert all(np.isfinite(a).all() for a in found.values())
    assert set(np.unique(found["gates"])) == {-1, 0, 1}
