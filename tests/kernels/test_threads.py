"""Results do not depend on the number of threads, bit for bit, for every kernel that splits its work."""

import numpy as np
import pytest

from tinyconv_kernels.cpu import conv, elementwise, maxout, norm, optim, pool, random, resize, roi, sampler
from tinyconv_kernels.cpu._share import share, threads_for
from tinyconv_kernels.switches import switches

PAIRS = (3, 3), (2, 2), (1, 1)


def _max_pool(rng):
    x, y, switches, dx = (
        rng((8, 6, 61, 60)),
        rng((8, 6, 31, 30)),
        np.empty((8, 6, 31, 30), np.int64),
        rng((8, 6, 61, 60)),
    )
    pool.max_pool2d_forward(x, y, switches, *PAIRS, (1, 1))
    pool.max_pool2d_backward(y, switches, dx, *PAIRS, (1, 1))
    unpooled, back = rng(x.shape), rng(y.shape)
    pool.max_unpool2d_forward(y, switches, unpooled, False)
    pool.max_unpool2d_backward(x, switches, y, back, False)
    return y, switches, dx, unpooled, back


def _avg_pool(rng):
    x, y, dx, small = rng((8, 6, 61, 60)), rng((8, 6, 31, 30)), rng((8, 6, 61, 60)), rng((8, 6, 7, 5))
    pool.avg_pool2d_forward(x, y, *PAIRS, True, 0)
    pool.avg_pool2d_backward(y, dx, *PAIRS, True, 0)
    switches, wide, most = np.empty(small.shape, np.int64), rng(x.shape), rng(small.shape)
    pool.adaptive_avg_pool2d_forward(x, small)
    pool.adaptive_avg_pool2d_backward(small, wide)
    pool.adaptive_max_pool2d_forward(x, most, switches)
    return y, dx, small, wide, most, switches


def _lrn(rng):
    x, y, scale, dx = (rng((2, 24, 3025)) for _ in range(4))
    norm.local_response_norm_forward(x, y, scale, 5, 1e-2, 0.75, 2.0)
    norm.local_response_norm_backward(y, x, scale, dx, 5, 1e-2, 0.75)
    return y, scale, dx


def _batch_norm(rng):
    x, y, dx, (mean, var, dweight, dbias) = rng((4, 20, 2000)), rng((4, 20, 2000)), rng((4, 20, 2000)), rng((4, 20))
    norm.batch_norm_statistics(x, mean, var)
    norm.batch_norm_forward(x, mean, var, None, None, y)
    norm.batch_norm_backward(y, x, mean, var, None, dx, dweight, dbias, True)
    return mean, var, y, dx, dweight, dbias


def _curves(rng):
    x, y, dtanh, dsigmoid = (rng((200, 1000)) for _ in range(4))
    elementwise.sigmoid(x, y)
    elementwise.tanh_backward(x, y, dtanh)
    elementwise.sigmoid_backward(x, y, dsigmoid)
    return y, dtanh, dsigmoid


def _bias(rng):
    dbias = rng((23,))
    conv.conv2d_backward_bias(rng((8, 23, 31, 37)), dbias)
    return (dbias,)


def _relu(rng):
    x, y, dx, leaky = (rng((200, 1000)) for _ in range(4))
    elementwise.relu(x, y)
    elementwise.relu_backward(x, y, dx)
    elementwise.leaky_relu(x, leaky, 0.1)
    return y, dx, leaky


def _random(rng):
    x, y, out, mask = rng((50, 3000)), rng((50, 3000)), rng((50, 3000)), np.empty((50, 3000), bool)
    random.random_uniform(out, np.arange(50), 1, 2)
    random.dropout_forward(x, y, mask, np.arange(50), 0.5, 2.0, 1, 2)
    return out, y, mask


def _optim(rng):
    w, g, a, b, c = (rng((150_001,)) for _ in range(5))
    optim.sgd_step(w, g, a, 0.1, 0.9, 0.0, 0.1, True, False)
    optim.alexnet_sgd_step(w, g, a, 0.1, 0.9, 0.1)
    optim.adam_step(w, g, a, np.abs(b), 0.1, 0.9, 0.99, 1e-8, 0.1, False, 3)
    optim.rmsprop_step(w, g, np.abs(b), a, c, 0.1, 0.9, 1e-8, 0.1, 0.9, True)
    return w, a, c


def _resize(rng):
    x, y, dx = rng((3, 5, 40, 40)), rng((3, 5, 95, 95)), rng((3, 5, 40, 40))
    near, back = rng(y.shape), rng(x.shape)
    resize.interpolate_bilinear_forward(x, y, False, (40 / 95, 40 / 95))
    resize.interpolate_bilinear_backward(y, dx, False, (40 / 95, 40 / 95))
    resize.interpolate_nearest_forward(x, near, (40 / 95, 40 / 95))
    resize.interpolate_nearest_backward(y, back, (40 / 95, 40 / 95))
    return y, dx, near, back


def _roi(rng):
    x, y, dx, corners = rng((2, 40, 19, 25)), rng((33, 40, 7, 7)), rng((2, 40, 19, 25)), 200 * abs(rng((33, 2)))
    rois = np.concatenate([np.arange(33)[:, None] % 2, corners, corners + 90], 1).astype(x.dtype)
    switches, mean, spread = np.empty(y.shape, np.int64), rng(y.shape), rng(x.shape)
    roi.roi_pool_forward(x, rois, y, switches, 1 / 16)
    roi.roi_pool_backward(y, rois, switches, dx, 1 / 16)
    roi.roi_align_forward(x, rois, mean, 1 / 16, 2, True)
    roi.roi_align_backward(y, rois, spread, 1 / 16, 2, True)
    return y, switches, dx, mean, spread


def _sampler(rng):
    results = []
    for channels in (3, 70):
        x, y, grid = rng((3, channels, 19, 22)), rng((3, channels, 17, 16)), rng((3, 17, 16, 2))
        near, dx, spread, dgrid = rng(y.shape), rng(x.shape), rng(x.shape), rng(grid.shape)
        sampler.grid_sample_bilinear_backward_input(y, grid, dx, 0, False)
        sampler.grid_sample_bilinear_backward_grid(y, x, grid, dgrid, 0, False)
        sampler.grid_sample_nearest_backward_input(y, grid, spread, 0, False)
        sampler.grid_sample_bilinear_forward(x, grid, y, 0, False)
        sampler.grid_sample_nearest_forward(x, grid, near, 0, False)
        results += [y, near, dx, spread, dgrid]
    return results


def _maxout(rng):
    results = []
    for shape in ((7, 11, 5, 1), (7, 11, 3, 20)):
        x, y = rng(shape), rng((7, 11, shape[3]))
        switches, dx = np.empty(y.shape, np.int64), rng(shape)
        maxout.maxout_forward(x, y, switches)
        maxout.maxout_backward(y, switches, dx)
        results += [y, switches, dx]
    return results


RUNS = [
    _max_pool, _avg_pool, _lrn, _batch_norm, _curves, _bias, _relu, _random, _optim, _resize, _roi, _sampler, _maxout,
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("run", RUNS)
def test_results_do_not_depend_on_threads(run, dtype, monkeypatch):
    shared = set()
    results = []
    for threads in (1, 2, 3):
        for kernels in (conv, elementwise, maxout, norm, optim, pool, random, resize, roi, sampler):
            monkeypatch.setattr(kernels, "threads_for", lambda work, n=threads: n)
            monkeypatch.setattr(kernels, "share", lambda n, *others: [shared.add(n), share(n, *others)])
        generator = np.random.default_rng(0)
        results.append(run(lambda shape, draw=generator: draw.standard_normal(shape).astype(dtype)))
    assert shared == {1, 2, 3}
    for more in results[1:]:
        for one, many in zip(results[0], more, strict=True):
            np.testing.assert_array_equal(one, many)


def test_large_work_gets_all_threads_small_work_one(monkeypatch):
    monkeypatch.setitem(switches, "threads", 7)
    assert threads_for(1 << 30) == 7 and threads_for(1000) == 1
