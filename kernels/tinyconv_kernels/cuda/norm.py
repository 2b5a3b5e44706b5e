"""Normalisation kernels; definition and sources: ``reference/norm.py``. x is (N, C, M).

A channel's N M values are cut into parts, a block of threads for each. Inside, a thread adds up every 256th value,
the block its threads' sums in a tree; a second kernel puts the parts together. All of it is in x's dtype: float64 is
slow on most GPUs, and trees of float32 sums are near enough if what they add is small, as differences from a mean are.
"""

import functools

from numba import from_dtype, uint32

from tinyconv_kernels.cuda import elementwise, launch, memory
from tinyconv_kernels.cuda._blocks import TEAM, places, split, tree
from tinyconv_kernels.cuda._cuda import cuda, device
from tinyconv_kernels.scalar import sqrt_of as sqrt

PART = 1 << 14  # values of a channel that a block adds up; more, if there would be more parts than threads in a block


# ------------------------------------------------------------------------------------------------ local response norm
def local_response_norm_forward(x, y, scale, size, alpha, beta, k):
    """One thread owns one output. Writes scale and y."""
    window, real = _window(size, x.shape[1]), x.dtype.type
    kernel = _lrn_kernel(x.dtype, beta == 0.75)
    launch.each(kernel, x.size, *places(x, y, scale), x.shape[1:], window, real(alpha), real(beta), real(k), x.size)


def _window(size, channels):
    """Return how many channels before and after its own a window reaches; all of them, where size says more."""
    size = min(size, 2 * channels + 1)
    return size // 2, (size - 1) // 2


@functools.cache
def _over_power(papers):
    """Return a device function (x, s, beta) -> x s^-beta.

    For the papers' exponent s^0.75 = sqrt(s) sqrt(sqrt(s)): a few instructions where a power takes dozens.
    """
    if papers:

        @device
        def divide(x, s, beta):
            root = sqrt(s)
            return x / (root * sqrt(root))

    else:

        @device
        def divide(x, s, beta):
            return x * s**-beta

    return divide


@functools.cache
def _over_window(dtype, term):
    """Return a device function: the sum of a term of each value in the window of element i's channel.

    Summed afresh for each channel, not as a running sum, which keeps the rounding error of every large activation that
    has passed through. Neighbouring threads read neighbours; the cache has what they share.
    """
    zero = dtype.type(0)

    @device
    def sums(array, a0, i, shape, window):
        C, M = shape
        n, c, m = split(i, C, M)
        j, end = uint32(max(c, window[0]) - window[0]), min(uint32(c + window[1] + 1), C)
        place, total = uint32(a0 + (n * C + j) * M + m), zero
        while j < end:
            total += term(array[place])
            place, j = uint32(place + M), uint32(j + 1)
        return total

    return sums


@device
def _itself(value):
    return value


@device
def _square(value):
    return value * value


@functools.cache
def _lrn_kernel(dtype, papers):
    squares, divide = _over_window(dtype, _square), _over_power(papers)

    @cuda.jit
    def kernel(x, x0, y, y0, scale, s0, shape, window, alpha, beta, k, count):
        i = uint32(cuda.grid(1))
        if i < count:
            s = k + alpha * squares(x, x0, i, shape, window)
            scale[s0 + i] = s
            y[y0 + i] = divide(x[x0 + i], s, beta)

    return kernel


def local_response_norm_backward(dy, x, scale, dx, size, alpha, beta):
    """One thread owns one input. Writes dx, in two passes, so that a power is worked out once for all its readers."""
    before, after = _window(size, x.shape[1])
    ratio, real = memory.empty(x.shape, x.dtype), x.dtype.type
    first, second = _lrn_ratio_kernel(x.dtype, beta == 0.75), _lrn_gradient_kernel(x.dtype)
    launch.each(first, x.size, *places(dy, x, scale, dx, ratio), real(beta), x.size)
    # Whose window holds j: j itself looks the other way round an even window.
    launch.each(second, x.size, *places(x, ratio, dx), x.shape[1:], (after, before), real(2 * alpha * beta), x.size)


@functools.cache
def _lrn_ratio_kernel(dtype, papers):
    divide = _over_power(papers)

    @cuda.jit
    def kernel(dy, dy0, x, x0, scale, s0, dx, dx0, ratio, r0, beta, count):
        i = uint32(cuda.grid(1))
        if i < count:
            s = scale[s0 + i]
            direct = divide(dy[dy0 + i], s, beta)
            dx[dx0 + i] = direct
            ratio[r0 + i] = direct * x[x0 + i] / s

    return kernel


@functools.cache
def _lrn_gradient_kernel(dtype):
    ratios = _over_window(dtype, _itself)

    @cuda.jit
    def kernel(x, x0, ratio, r0, dx, dx0, shape, window, slope, count):
        i = uint32(cuda.grid(1))
        if i < count:
            dx[dx0 + i] -= slope * x[x0 + i] * ratios(ratio, r0, i, shape, window)

    return kernel


# ------------------------------------------------------------------------------------------ sums over a channel's parts
def _parts(x, part, threads):
    """Return (values of a part, number of parts, arguments of the walk through one)."""
    _, C, M = x.shape
    count = x.shape[0] * M
    part = max(part, -(-count // threads))
    # From a thread's value to its next one: places in memory, places in the row, and what to add where a row ends.
    walk = (threads // M) * C * M + threads % M, threads % M, (C - 1) * M
    return part, -(-count // part), ((C, M), walk, part, count)


@functools.cache
def _walk(dtype, threads, term):
    """Return a device function: a thread's two sums over every ``threads``-th value of its block's part.

    ``term(x, xp, dy, yp, centre)`` gives what one value adds to each sum.
    """
    zero = dtype.type(0)

    @device
    def sums(x, x0, dy, dy0, centre, shape, walk, part, count):
        C, M = shape
        c, first = uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.y * part)
        j, end = uint32(first + cuda.threadIdx.x), min(uint32(first + part), count)
        n = uint32(j // M)
        m = uint32(j - n * M)
        place = uint32((n * C + c) * M + m)
        one, two = zero, zero
        while j < end:
            a, b = term(x, uint32(x0 + place), dy, uint32(dy0 + place), centre)
            one += a
            two += b
            j, m, place = uint32(j + threads), uint32(m + walk[1]), uint32(place + walk[0])
            if m >= M:
                m, place = uint32(m - M), uint32(place + walk[2])
        return one, two

    return sums


@device
def _value(x, xp, dy, yp, centre):
    return x[xp], centre


@device
def _deviation(x, xp, dy, yp, centre):
    d = x[xp] - centre
    return d, d * d


@device
def _gradient(x, xp, dy, yp, centre):
    g = dy[yp]
    return g, g * (x[xp] - centre)


# ------------------------------------------------------------------------------------------------- batch norm, forward
def batch_norm_statistics(x, mean, var):
    """Some blocks own one channel. Writes mean and the biased variance (both 0 for an empty batch).

    A block goes through its part twice (64 KiB, so the second time from a cache): sums of differences from the part's
    mean, and of their squares, lose no digits however far from zero the mean is.
    """
    _statistics(x, mean, var)


def _statistics(x, mean, var, size=PART, threads=TEAM):
    if x.size == 0:
        elementwise.fill(mean, 0)
        elementwise.fill(var, 0)
        return
    C = x.shape[1]
    part, parts, walk = _parts(x, size, threads)
    found = memory.empty((3, C, parts), x.dtype)
    launch.blocks(_part_moments(x.dtype, threads), (C, parts), threads, *places(x, found), *walk)
    launch.blocks(_moments(x.dtype, threads), (C,), threads, *places(found, mean, var), parts, *walk[2:])


@functools.cache
def _part_moments(dtype, threads):
    real, total = from_dtype(dtype), tree("add", dtype, threads)
    zero, plain, deviations = dtype.type(0), _walk(dtype, threads, _value), _walk(dtype, threads, _deviation)

    @cuda.jit
    def kernel(x, x0, found, f0, shape, walk, part, count):
        shared = cuda.shared.array(threads, real)
        t, c, p = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.y)
        size = real(min(part, uint32(count - p * part)))
        value, _ = plain(x, x0, x, x0, zero, shape, walk, part, count)
        base = total(shared, t, value / size)  # divided first: the sum of large numbers might be infinite
        one, two = deviations(x, x0, x, x0, base, shape, walk, part, count)
        rest = total(shared, t, one) / size
        squares = total(shared, t, two) - size * rest * rest
        if t == 0:
            all_parts = uint32(cuda.gridDim.x * cuda.gridDim.y)
            place = uint32(f0 + c * uint32(cuda.gridDim.y) + p)
            found[place] = base
            found[uint32(place + all_parts)] = rest
            found[uint32(place + 2 * all_parts)] = squares

    return kernel


@functools.cache
def _moments(dtype, threads):
    """Thread t has part t, whose mean is base + rest: two numbers, because one float32 would round it.

    The variance is that inside the parts and that between their means (Chan, Golub & LeVeque 1983).
    """
    real, total, zero = from_dtype(dtype), tree("add", dtype, threads), dtype.type(0)

    @cuda.jit
    def kernel(found, f0, mean, m0, var, v0, parts, part, count):
        shared = cuda.shared.array(threads, real)
        t, c = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
        place, all_parts = uint32(f0 + c * parts + t), uint32(uint32(cuda.gridDim.x) * parts)
        base, off, squares, share, start = zero, zero, zero, zero, found[uint32(f0 + c * parts)]
        if t < parts:
            share = real(min(part, uint32(count - t * part))) / real(count)
            base = found[place]
            off = (base - start) + found[uint32(place + all_parts)]
            squares = found[uint32(place + 2 * all_parts)] / real(count)
        middle = total(shared, t, off * share)
        plain = total(shared, t, base * share)
        spread = total(shared, t, squares + share * (off - middle) * (off - middle))
        if t == 0:
            finite = middle - middle == zero
            mean[m0 + c] = start + middle if finite else plain  # inf - inf is no mean, inf is
            var[v0 + c] = zero if spread < zero else spread  # rounding; a NaN stays

    return kernel


def batch_norm_forward(x, mean, invstd, weight, bias, y):
    """One thread owns one output. Writes y; weight and bias may be None."""
    kernel = _normalize(x.dtype, weight is not None, bias is not None)
    affine = [mean if a is None else a for a in (weight, bias)]  # mean stands in for what is not read
    launch.each(kernel, x.size, *places(x, mean, invstd, *affine, y), x.shape[1:], x.size)


@functools.cache
def _normalize(dtype, weighted, shifted):
    @cuda.jit
    def kernel(x, x0, mean, m0, invstd, i0, weight, w0, bias, b0, y, y0, shape, count):
        i = uint32(cuda.grid(1))
        if i < count:
            _, c, _ = split(i, shape[0], shape[1])
            value = (x[x0 + i] - mean[m0 + c]) * invstd[i0 + c]
            if weighted:
                value = value * weight[w0 + c]
            if shifted:
                value = value + bias[b0 + c]
            y[y0 + i] = value

    return kernel


# ------------------------------------------------------------------------------------------------ batch norm, backward
def batch_norm_backward(dy, x, mean, invstd, weight, dx, dweight, dbias, train):
    """Some blocks own one channel, one thread one input. Writes dx, dweight and dbias, each unless None."""
    channels = mean.shape[0]
    if dweight is not None or dbias is not None or train and dx is not None:
        sums = [memory.empty((channels,), x.dtype) if a is None else a for a in (dweight, dbias)]
        _gradient_sums(dy, x, mean, invstd, *sums)
    else:
        sums = mean, mean  # stand in for what is not read
    if dx is not None:
        kernel, factor = _gradient_kernel(x.dtype, weight is not None, bool(train)), mean if weight is None else weight
        inverse = x.dtype.type(1 / max(1, x.shape[0] * x.shape[2]))
        launch.each(kernel, x.size, *places(dy, x, mean, invstd, factor, *sums, dx), x.shape[1:], inverse, x.size)


def _gradient_sums(dy, x, mean, invstd, dweight, dbias, size=PART, threads=TEAM):
    if x.size == 0:
        elementwise.fill(dweight, 0)
        elementwise.fill(dbias, 0)
        return
    C = x.shape[1]
    part, parts, walk = _parts(x, size, threads)
    found = memory.empty((2, C, parts), x.dtype)
    launch.blocks(_part_gradients(x.dtype, threads), (C, parts), threads, *places(dy, x, mean, found), *walk)
    launch.blocks(_gradients(x.dtype, threads), (C,), threads, *places(found, invstd, dweight, dbias), parts)


@functools.cache
def _part_gradients(dtype, threads):
    real, total, gradients = from_dtype(dtype), tree("add", dtype, threads), _walk(dtype, threads, _gradient)

    @cuda.jit
    def kernel(dy, dy0, x, x0, mean, m0, found, f0, shape, walk, part, count):
        shared = cuda.shared.array(threads, real)
        t, c, p = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.y)
        one, two = gradients(x, x0, dy, dy0, mean[m0 + c], shape, walk, part, count)
        gradient, moment = total(shared, t, one), total(shared, t, two)
        if t == 0:
            place = uint32(f0 + c * uint32(cuda.gridDim.y) + p)
            found[place] = gradient
            found[uint32(place + cuda.gridDim.x * cuda.gridDim.y)] = moment

    return kernel


@functools.cache
def _gradients(dtype, threads):
    real, total, zero = from_dtype(dtype), tree("add", dtype, threads), dtype.type(0)

    @cuda.jit
    def kernel(found, f0, invstd, i0, dweight, w0, dbias, b0, parts):
        shared = cuda.shared.array(threads, real)
        t, c = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
        place, all_parts = uint32(f0 + c * parts + t), uint32(uint32(cuda.gridDim.x) * parts)
        gradient = total(shared, t, found[place] if t < parts else zero)
        moment = total(shared, t, found[uint32(place + all_parts)] if t < parts else zero)
        if t == 0:
            dbias[b0 + c] = gradient
            dweight[w0 + c] = moment * invstd[i0 + c]

    return kernel


@functools.cache
def _gradient_kernel(dtype, weighted, train):
    @cuda.jit
    def kernel(dy, dy0, x, x0, mean, m0, invstd, i0, weight, w0, dw, dw0, db, db0, dx, dx0, shape, inverse, count):
        i = uint32(cuda.grid(1))
        if i < count:
            _, c, _ = split(i, shape[0], shape[1])
            factor, g = invstd[i0 + c], dy[dy0 + i]
            if train:
                xhat = (x[x0 + i] - mean[m0 + c]) * factor
                g = g - (db[db0 + c] + xhat * dw[dw0 + c]) * inverse
            if weighted:
                factor = weight[w0 + c] * factor
            dx[dx0 + i] = factor * g

    return kernel
