"""Recurrent layers on the device = reference: lengths from 0 to all steps, both directions, more units than threads."""

import numpy as np
import pytest
from compared import assert_close, assert_equal, both, quick_barriers, rubbish  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("quick_barriers")]

# (N, T, H), lengths
SHAPES = [((3, 4, 5), (2, 4, 0)), ((1, 1, 1), (1,)), ((2, 3, 2), (3, 3)), ((0, 3, 2), ()), ((2, 0, 3), (0, 0))]
shapes = pytest.mark.parametrize(("shape", "lengths"), SHAPES, ids=str)
directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def _normal(seed, dtype, *sizes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(size).astype(dtype) for size in sizes]


@shapes
@directions
@dtypes
@pytest.mark.parametrize("relu", [False, True], ids=["tanh", "relu"])
def test_rnn(shape, lengths, reverse, dtype, relu):
    N, _, H = shape
    x, dy, weight, h0 = _normal(0, dtype, shape, shape, (H, H), (N, H))
    lengths = np.array(lengths, np.int64)
    results = both("recurrent", "rnn_forward", x, weight, h0, lengths, reverse, relu, rubbish(shape, dtype))
    assert_close(results)
    y = results[0][-1]
    out = rubbish(shape, dtype), rubbish((N, H), dtype)
    assert_close(both("recurrent", "rnn_backward", dy, y, weight, lengths, reverse, relu, *out))
    assert_equal(both("recurrent", "states_before", h0, y, lengths, reverse, rubbish(shape, dtype)))


@shapes
@directions
@dtypes
def test_lstm(shape, lengths, reverse, dtype):
    N, T, H = shape
    wide = (N, T, 4 * H)
    x, dy, dc, weight, h0, c0 = _normal(1, dtype, wide, shape, shape, (4 * H, H), (N, H), (N, H))
    lengths = np.array(lengths, np.int64)
    out = [rubbish(size, dtype) for size in (wide, shape, shape)]
    results = both("recurrent", "lstm_forward", x, weight, h0, c0, lengths, reverse, *out)
    assert_close(results)
    gates, c = results[0][-3:-1]
    out = [rubbish(size, dtype) for size in (wide, (N, H), (N, H))]
    assert_close(both("recurrent", "lstm_backward", dy, dc, gates, c, c0, weight, lengths, reverse, *out))


@directions
def test_what_lies_behind_the_end_is_not_read(reverse):
    """NaN there changes nothing; a device's kernel must not even multiply it by 0."""
    N, T, H = 2, 4, 3
    x, dy, weight, h0 = _normal(2, np.float64, (N, T, H), (N, T, H), (H, H), (N, H))
    lengths = np.array([1, 3])
    for n, length in enumerate(lengths):
        x[n, length:] = dy[n, length:] = np.nan
    results = both("recurrent", "rnn_forward", x, weight, h0, lengths, reverse, False, rubbish(x.shape))
    assert np.isfinite(results[1][-1]).all()
    out = rubbish(x.shape), rubbish(h0.shape)
    results = both("recurrent", "rnn_backward", dy, results[0][-1], weight, lengths, reverse, False, *out)
    assert all(np.isfinite(a).all() for a in results[1][-2:])
